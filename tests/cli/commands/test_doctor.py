from collections.abc import Iterator

import pytest

from flowercolor.doctor import Finding
from tests.cli.helpers import flowercolor


@pytest.mark.parametrize(
    ("problem", "code", "last"),
    [("", 0, "no problems found"), ("it is full", 1, "1 problem found")],
)
def test_doctor_prints_what_it_finds(
    monkeypatch: pytest.MonkeyPatch, problem: str, code: int, last: str
) -> None:
    def examine(device: str) -> Iterator[Finding]:
        yield Finding("device", device, problem)

    monkeypatch.setattr("flowercolor.doctor.examine", examine)
    result = flowercolor("doctor", "--device", "cpu")
    lines = result.stdout.splitlines()
    assert lines[0] == "device: cpu"
    assert lines[-1] == last
    assert (f"  problem: {problem}" in lines) == bool(problem)
    assert result.exit_code == code
