"""Which packages an install may lack, and how to get them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

NOT_IN_LIGHT = ("torch", "torchvision", "requests", "urllib3", "matplotlib")
"""What flowercolor-light leaves out."""


def lacking(package: str) -> str:
    """What to say where flowercolor-light lacks one of `NOT_IN_LIGHT`."""
    return (
        f"this needs the package {package}, which flowercolor-light leaves out; "
        f"run {install_command(full=True)}"
    )


@contextmanager
def needed_for(name: str) -> Iterator[None]:
    """Have what is imported for `name` say what to install, where flowercolor-light lacks it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in NOT_IN_LIGHT:
            raise
        raise ModuleNotFoundError(f"{name}: {lacking(error.name)}", name=error.name) from error


def install_command(extra: str = "", *, full: bool = False, path: list[str] | None = None) -> str:
    """How to install what is missing: from a clone, as no package index has flowercolor.

    Args:
        extra: The extra wanted.
        full: What flowercolor-light leaves out is wanted.
        path: Where to look for which of the two is installed; None is `sys.path`.
    """
    light, whole = installed(path)
    light_stays = light and not whole and not full
    folder = "./light" if light_stays else "."
    what = f'"{folder}[{extra}]"' if extra else folder
    # The two share their files: of both, the one uninstalled later would take the other's along.
    first = "`pip uninstall flowercolor-light`, then " if light and not light_stays else ""
    return f"{first}`pip install {what}` in the folder of flowercolor"


def installed(path: list[str] | None = None) -> tuple[bool, bool]:
    """Whether flowercolor-light is installed, and whether flowercolor, as for `install_command`."""
    from importlib.metadata import distributions  # noqa: PLC0415 - takes 20 ms

    light, whole = (
        any(distributions(name=name, path=path or sys.path))
        for name in ("flowercolor-light", "flowercolor")
    )
    return light, whole
