from pathlib import Path

import pytest

from flowercolor import paths


def test_the_environment_moves_cache_and_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWERCOLOR_CACHE_DIR", str(tmp_path / "c"))
    monkeypatch.setenv("FLOWERCOLOR_DATA_DIR", str(tmp_path / "d"))
    assert paths.archive_path() == tmp_path / "c" / "102flowers.tgz"
    assert paths.runs_dir() == tmp_path / "d" / "runs"


@pytest.mark.parametrize("value", [None, ""])
def test_the_platform_decides_where_nothing_is_moved(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    for name in ("FLOWERCOLOR_CACHE_DIR", "FLOWERCOLOR_DATA_DIR"):
        if value is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, value)
    assert paths.cache_dir().is_absolute()
    assert "flowercolor" in paths.cache_dir().parts
    assert "flowercolor" in paths.data_dir().parts
    assert paths.cache_dir() != paths.data_dir(), "a cleared cache must not take runs along"


def test_asking_for_a_place_does_not_make_it() -> None:
    paths.archive_path()
    paths.runs_dir()
    assert not paths.cache_dir().exists()
    assert not paths.data_dir().exists()
