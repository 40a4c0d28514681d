"""The package is a house: a module knows only those on lower floors."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import flowercolor

PACKAGE = Path(flowercolor.__file__).parent
FLOORS: tuple[set[str], ...] = (
    {"_version", "errors", "progress", "torchrun"},
    {
        "color",
        "config",
        "distributed",
        "networks.efficientnet_lite",
        "files",
        "training.losses",
        "evaluation.metrics",
        "paths",
        "photos.icc",
        "training.diagnosis",
    },
    {
        "data.degradation",
        "devices",
        "photos.reader",
        "networks.unet",
        "data.photo_cache",
        "evaluation.plots",
        "recipes",
        "inference.upsampling",
        "training.cuda_graphs",
    },
    {"checkpoint", "data.dataset", "data.oxford102", "training.log"},
    {"inference.colorizer", "evaluation.scoring", "data.loader", "evaluation.classifier"},
    {"inference.batch", "training.gan", "evaluation.report", "inference.contact_sheet"},
    {"training.loop"},
    {"cli"},
    {"__main__"},
)
FLOOR_OF = {name: number for number, names in enumerate(FLOORS) for name in names}

FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
FILE_IDS = [path.relative_to(PACKAGE).as_posix() for path in FILES]
MODULES = [
    ".".join(("flowercolor", *path.relative_to(PACKAGE).with_suffix("").parts))
    for path in FILES
    if not path.name.startswith("_")
]


def part_of(path: Path) -> str:
    """The module, by its name within the package; the command line is one."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return "cli" if parts[0] == "cli" else ".".join(parts)


def imports(tree: ast.AST) -> set[str]:
    """Dotted names of what is imported anywhere in it, also inside of functions."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "an import says where from"
            assert node.module is not None
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", FILES, ids=FILE_IDS)
def test_a_module_imports_only_from_lower_floors(path: Path) -> None:
    """So there are no circles either."""
    own = part_of(path)
    assert own in FLOOR_OF, "a new module needs a floor"
    for name in imports(ast.parse(path.read_text(encoding="utf-8"))):
        package, *rest = name.split(".")
        other = next((part for part in (".".join(rest[:2]), *rest[:1]) if part in FLOOR_OF), own)
        if package == "flowercolor" and other != own:
            assert FLOOR_OF[other] < FLOOR_OF[own], f"{own} imports {other}"


@pytest.mark.parametrize("path", FILES, ids=FILE_IDS)
def test_only_the_command_line_knows_typer_and_rich(path: Path) -> None:
    roots = {name.partition(".")[0] for name in imports(ast.parse(path.read_text("utf-8")))}
    assert part_of(path) == "cli" or not roots & {"typer", "rich"}


def test_every_module_on_a_floor_is_there() -> None:
    assert {part_of(path) for path in FILES} == set(FLOOR_OF)


@pytest.mark.parametrize("name", ["flowercolor", *MODULES])
def test_what_a_module_offers_is_there(name: str) -> None:
    """Each thing once, and under a public name."""
    module = importlib.import_module(name)
    assert len(set(module.__all__)) == len(module.__all__)
    for offered in module.__all__:
        assert hasattr(module, offered), offered
        assert not offered.startswith("_") or offered == "__version__"


def test_the_package_lists_what_it_offers() -> None:
    assert dir(flowercolor) == sorted(flowercolor.__all__)
    assert {*flowercolor._HOMES, "__version__"} == set(flowercolor.__all__)
    with pytest.raises(AttributeError, match="module 'flowercolor' has no attribute 'color'"):
        flowercolor.color  # noqa: B018


@pytest.mark.parametrize("name", ["flowercolor", "flowercolor.cli.app"])
def test_importing_takes_no_heavy_libraries_along(name: str) -> None:
    """They take seconds, which `flowercolor --help` should not."""
    code = f"import sys, {name}; print({{'torch', 'cv2', 'matplotlib'}} & {{*sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "set()\n"
