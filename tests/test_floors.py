"""The package is a house: a module knows only those on lower floors."""

import ast
import subprocess
import sys
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import flowercolor

PACKAGE = Path(flowercolor.__file__).parent
FLOORS = (
    ("__main__", "cli"),
    ("training", "doctor", "page"),
    ("inference", "evaluation", "vividness"),
    ("checkpoint",),
    ("networks", "photos", "data", "runs"),
    ("hints", "provenance"),
    ("color", "config", "csv_tables", "devices", "distributed", "files", "memory_budget", "paths"),
    ("_version", "errors", "installation", "progress", "torchrun"),
)
"""From the roof down: the folders and the modules beside them."""

FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
FILE_IDS = [path.relative_to(PACKAGE).as_posix() for path in FILES]
MODULES = [".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in FILES]
SCRIPTS = sorted((PACKAGE / "page").rglob("*.js"))
FOLDERS = [path.parent for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE]


def room_of(module: str) -> str:
    """The folder of a module, or the module itself where it stands beside the folders."""
    return module.partition(".")[0]


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


def modules_imported(path: Path) -> set[str]:
    """Which modules of the package a file imports."""
    found = set()
    for name in imports(ast.parse(path.read_text(encoding="utf-8"))):
        package, _, rest = name.partition(".")
        if package == "flowercolor":
            inside = (".".join(rest.split(".")[:parts]) for parts in (2, 1))
            found.update([module for module in inside if module in MODULES][:1])
    return found


@pytest.mark.parametrize(("module", "path"), list(zip(MODULES, FILES, strict=True)), ids=FILE_IDS)
def test_a_module_imports_nothing_from_higher_floors(module: str, path: Path) -> None:
    assert room_of(module) in FLOOR_OF, "a new folder or module needs a floor"
    for other in modules_imported(path):
        assert FLOOR_OF[room_of(other)] >= FLOOR_OF[room_of(module)], f"imports {other}"


def test_there_are_no_circles() -> None:
    graph = {module: modules_imported(path) for module, path in zip(MODULES, FILES, strict=True)}
    TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_folder_is_small_and_imports_nothing_by_itself(folder: Path) -> None:
    """`import flowercolor.data` alone must not load torch."""
    assert len(list(folder.glob("[!_]*.py"))) <= 10
    assert folder.name == "cli" or not imports(ast.parse((folder / "__init__.py").read_text()))


def test_a_folder_of_the_page_is_small() -> None:
    assert max(Counter(path.parent for path in SCRIPTS).values()) <= 10


def test_no_file_is_long() -> None:
    files = FILES + SCRIPTS
    lines = {str(path): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {name: count for name, count in lines.items() if count > 450} == {}


@pytest.mark.parametrize("path", FILES, ids=FILE_IDS)
def test_only_the_command_line_knows_typer_and_rich(path: Path) -> None:
    roots = {name.partition(".")[0] for name in imports(ast.parse(path.read_text("utf-8")))}
    assert "cli" in path.parts or not roots & {"typer", "rich"}


def test_every_room_on_a_floor_is_there() -> None:
    assert set(map(room_of, MODULES)) == set(FLOOR_OF)


def test_the_package_lists_what_it_offers() -> None:
    assert dir(flowercolor) == sorted(flowercolor.__all__)
    assert {*flowercolor._HOMES, "__version__"} == set(flowercolor.__all__)
    with pytest.raises(AttributeError, match="module 'flowercolor' has no attribute 'tint'"):
        flowercolor.tint  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("name", ["flowercolor", "flowercolor.cli.app"])
def test_importing_takes_no_heavy_libraries_along(name: str) -> None:
    """They take seconds, which `flowercolor --help` should not."""
    code = f"import sys, {name}; print({{'torch', 'cv2', 'matplotlib'}} & {{*sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "set()\n"
