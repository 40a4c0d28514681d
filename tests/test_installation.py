import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from flowercolor.installation import install_command

ROOT = Path(__file__).parents[1]
LACKING = "this needs the package torch, which flowercolor-light leaves out; run `pip install "
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


@pytest.mark.slow
def test_a_type_checker_without_torch_knows_what_comes_back(tmp_path: Path) -> None:
    """Where torch is not found, its names are `Any`, which would make all of it `Any`."""
    (tmp_path / "mypy.ini").write_text("""
[mypy]
strict = True
[mypy-torch.*]
follow_imports = skip
[mypy-flowercolor.*]
follow_imports = silent
""")
    (tmp_path / "script.py").write_text("""
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import numpy.typing as npt
from PIL import Image

from flowercolor import Colorizer, colorize

gray: npt.NDArray[np.uint8] = np.zeros((4, 4), np.uint8)
photo, path = Image.new("L", (4, 4)), Path("a.png")
for one in (photo, path, "a.png", b""):
    assert_type(colorize(one), Image.Image)
assert_type(colorize(gray), npt.NDArray[np.uint8])
height, width, channels = colorize(np.zeros((4, 6), np.uint8)).shape
assert_type(colorize([gray, gray]), list[npt.NDArray[np.uint8]])
assert_type(colorize((photo, photo)), list[Image.Image])
assert_type(colorize(["a.png"]), list[Image.Image])
assert_type(colorize([b"", b""]), list[Image.Image])
assert_type(colorize([gray, photo, path]), list[Any])
def of_several_kinds(either: list[npt.NDArray[np.uint8] | Image.Image]) -> None:
    assert_type(colorize(either), list[Any])
    assert_type(colorizer(either), list[Any])
    pictures = [gray, photo]
    colorize(pictures)
colorizer = Colorizer.from_checkpoint()
assert_type(colorizer(gray, palette="red"), npt.NDArray[np.uint8])
assert_type(colorizer([photo]), list[Image.Image])
assert_type(colorizer.render(gray), npt.NDArray[np.uint8])
photo.save("a.jpg", **{str(key): value for key, value in photo.info.items()})  # as the docs have it
colorize(5)  # type: ignore[call-overload]
colorizer({})  # type: ignore[call-overload]
""")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "script.py"],
        cwd=tmp_path,
        env=os.environ | {"MYPYPATH": str(ROOT)},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.stdout == "Success: no issues found in 1 source file\n"


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
    from flowercolor import train
except ImportError as error:
    print(error)
""").splitlines()
    for line, name in zip(printed, ["train", "UNet", "get_data", "train"], strict=True):
        assert line.startswith(f"flowercolor.{name}: {LACKING}"), line


def test_a_function_that_the_light_distribution_cannot_run_says_what_to_install() -> None:
    printed = without_torch("""
from flowercolor.checkpoint import load_generator
try:
    load_generator("a.safetensors")
except ModuleNotFoundError as error:
    print(error.name, error)
""")
    assert printed.startswith(f"torch load_generator: {LACKING}")


def test_what_looks_at_all_names_finds_those_that_there_are() -> None:
    printed = without_torch("""
import inspect
import flowercolor
print(*[name for name, _ in inspect.getmembers(flowercolor) if name[0] != "_"])
from flowercolor import *
print(*sorted(name for name in flowercolor.__all__ if name in globals()))
""").splitlines()
    assert printed[0] == "Colorizer FlowercolorError Hint Leave NetworkConfig TrainConfig colorize"
    assert printed[1] == printed[0].replace("colorize", "__version__ colorize")


def test_a_wrong_device_is_none_that_torch_would_give() -> None:
    printed = without_torch("""
from flowercolor import Colorizer, FlowercolorError
for device in ("CPU", "gpu", "", None, 0, "meta", "cpu:1", "cpu:0"):
    try:
        print(Colorizer.from_checkpoint(device=device).network.device)
    except FlowercolorError as error:
        print(error)
""").splitlines()
    named = ("CPU", "gpu", "", None, 0, "meta", "cpu:1")
    kinds = "expected one of auto, cpu, cuda, mps, or one of several GPUs, such as cuda:1"
    assert printed == [*(f"device is {name!r}; {kinds}" for name in named), "cpu"]


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_a_gpu_that_a_light_install_cannot_use_is_a_device_that_is_not_there(backend: str) -> None:
    printed = without_torch(f"""
from flowercolor import Colorizer
from flowercolor.errors import DeviceError
for device in ("cuda", "cuda:1", "mps"):
    try:
        Colorizer.from_checkpoint(device=device, backend={backend!r})
    except DeviceError as error:
        print(error)
""").splitlines()
    for line, device in zip(printed, ("cuda", "cuda:1", "mps"), strict=True):
        said = f"device {device}: needs the package torch, which is not installed; run `pip "
        assert line.startswith(said)
