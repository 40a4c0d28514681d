from pathlib import Path

import pytest

from tests.cli.helpers import flowercolor


@pytest.mark.parametrize("wrong", [False, True])
def test_doctor_prints_what_it_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: bool
) -> None:
    if wrong:
        (tmp_path / "file").touch()
        monkeypatch.setenv("FLOWERCOLOR_DATA_DIR", str(tmp_path / "file"))
    result = flowercolor("doctor", "--device", "cpu")
    *lines, last = result.stdout.splitlines()
    assert lines[0].startswith("flowercolor: ")
    problems = [line for line in lines if line.startswith("  problem: ")]  # also of this machine
    count = len(problems)
    assert last == f"{count or 'no'} problem{'' if count == 1 else 's'} found"
    assert result.exit_code == min(count, 1)
    folder = "`train` can write nothing there: set FLOWERCOLOR_DATA_DIR to another folder"
    assert (f"  problem: {folder}" in problems) == wrong
