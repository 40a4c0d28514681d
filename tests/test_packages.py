from pathlib import Path

import pytest

from flowercolor.packages import install_command


@pytest.mark.parametrize(
    ("installed", "full", "what"),
    [
        (["flowercolor_light"], False, '"./light[heic]"'),
        (["flowercolor_light"], True, '".[heic]"'),
        (["flowercolor"], False, '".[heic]"'),
        (["flowercolor", "flowercolor_light"], False, '".[heic]"'),
    ],
)
def test_what_is_missing_is_installed_from_a_clone(
    tmp_path: Path, *, installed: list[str], full: bool, what: str
) -> None:
    for name in installed:
        (tmp_path / f"{name}-0.1.0.dist-info").mkdir()
    command = install_command("heic", full=full, path=[str(tmp_path)])
    assert command == f"`pip install {what}` in the folder of flowercolor"
