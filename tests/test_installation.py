import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from flowercolor.installation import install_command

ROOT = Path(__file__).parents[1]
UNINSTALL = "`pip uninstall flowercolor-light`, then "


@pytest.mark.parametrize(
    ("installed", "full", "what"),
    [
        (["flowercolor_light"], False, '`pip install "./light[heic]"`'),
        (["flowercolor_light"], True, f'{UNINSTALL}`pip install ".[heic]"`'),
        (["flowercolor"], False, '`pip install ".[heic]"`'),
        (["flowercolor"], True, '`pip install ".[heic]"`'),
        (["flowercolor", "flowercolor_light"], False, f'{UNINSTALL}`pip install ".[heic]"`'),
    ],
)
def test_what_is_missing_is_installed_from_a_clone(
    tmp_path: Path, *, installed: list[str], full: bool, what: str
) -> None:
    for name in installed:
        (tmp_path / f"{name}-0.1.0.dist-info").mkdir()
    command = install_command("heic", full=full, path=[str(tmp_path)])
    assert command == f"{what} in the folder of flowercolor"


def project(folder: Path) -> Any:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_full_distribution_needs_all_that_the_light_one_does() -> None:
    """Above all the same OpenCV: of two, each would overwrite the other's files."""
    full, light = project(ROOT), project(ROOT / "light")
    assert {*light["dependencies"]} < {*full["dependencies"]}
    for extra, needed in light["optional-dependencies"].items():
        assert full["optional-dependencies"][extra] == needed


def without_torch(code: str) -> str:
    """What Python code prints where flowercolor-light is installed."""
    code = f"import sys; sys.modules['torch'] = None\n{code}"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout


def test_a_name_that_the_light_distribution_lacks_says_what_to_install() -> None:
    printed = without_torch("""
import flowercolor
for name in ("train", "UNet", "get_data"):
    try:
        getattr(flowercolor, name)
    except ImportError as error:
        print(error)
try:
    from flowercolor import *
except ImportError as error:
    print(error)
""").splitlines()
    said = "this needs the package torch, which flowercolor-light leaves out; run `pip install "
    assert len(printed) == 4
    for line, name in zip(printed, ["train", "UNet", "get_data", "Discriminator"], strict=True):
        assert line.startswith(f"flowercolor.{name}: {said}"), line


def test_a_wrong_device_is_none_that_torch_would_give() -> None:
    printed = without_torch("""
from flowercolor import Colorizer, FlowercolorError
for device in ("CPU", "gpu", "", None, 0, "meta", "cpu:1", "cpu:0"):
    try:
        print(Colorizer.from_checkpoint(device=device).network.device)
    except FlowercolorError as error:
        print(error)
""").splitlines()
    named = ("CPU", "gpu", "", "None", "0", "meta", "cpu:1")
    kinds = "expected one of auto, cpu, cuda, mps"
    assert printed == [*(f"device is {name!r}; {kinds}" for name in named), "cpu"]
