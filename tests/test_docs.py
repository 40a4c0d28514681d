"""The docs point at what is there: links, headings, files of this repository, names to import."""

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])
TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"`((?:flowercolor|tests|benchmarks|scripts)/[\w./-]*)`")


def anchors(text: str) -> set[str]:
    """The names that a web page gives to the headings."""
    headings = re.findall(r"^#+ (.+)$", CODE.sub("", text), re.MULTILINE)
    return {
        re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


def test_there_are_pages() -> None:
    assert {"README.md", "CONTRIBUTING.md", "docs/usage.md", "docs/library.md"} <= {*NAMES}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_resolves(page: Path) -> None:
    for link in LINK.findall(CODE.sub("", TEXTS[page])):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_file_of_the_repository_that_a_page_names_is_there(page: Path) -> None:
    assert [name for name in FILE.findall(TEXTS[page]) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_name_that_a_page_imports_is_there(page: Path) -> None:
    for language, code in CODE.findall(TEXTS[page]):
        for node in ast.walk(ast.parse(code)) if language == "python" else ():
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("flowercolor"):
                module = importlib.import_module(node.module or "")
                for alias in node.names:
                    name = f"{node.module}.{alias.name}"
                    assert hasattr(module, alias.name) or importlib.import_module(name), name


def test_the_docs_are_not_longer_than_people_read() -> None:
    pages = [page for page in PAGES if page.parent != ROOT / "benchmarks"]
    assert sum(len(TEXTS[page].splitlines()) for page in pages if page.parent != ROOT) <= 1500
