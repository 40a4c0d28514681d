"""Where things lie on this machine.

The cache holds what can be made or fetched again; the data directory holds what a person
made: the training runs.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import platformdirs

from flowercolor.errors import StorageError

ARCHIVE_NAME = "102flowers.tgz"

OXFORD = Path("oxford102")
"""Names the downloaded Oxford 102 flowers among the sources, unless there is such a path."""

_CACHE, _DATA = "FLOWERCOLOR_CACHE_DIR", "FLOWERCOLOR_DATA_DIR"


def cache_dir() -> Path:
    """The platform's cache directory, or `FLOWERCOLOR_CACHE_DIR`. Not created here.

    Raises:
        StorageError: There is none: the variable is not set, and the user has no home folder.
    """
    return _place(_CACHE, platformdirs.user_cache_path)


def data_dir() -> Path:
    """The platform's data directory, or `FLOWERCOLOR_DATA_DIR`. Not created here.

    Raises:
        StorageError: As for `cache_dir`.
    """
    return _place(_DATA, platformdirs.user_data_path)


def _place(variable: str, usual: Callable[..., Path]) -> Path:
    moved = os.environ.get(variable)
    try:
        return Path(moved) if moved else usual("flowercolor", appauthor=False)
    except RuntimeError as error:
        raise StorageError(
            f"{variable}: the user has no home folder; set it to a folder"
        ) from error


def way_elsewhere(path: Path) -> str:
    """How to have what cannot be written at this path written elsewhere, in words."""
    for place, ways in ((cache_dir, _CACHE), (data_dir, f"`out` or {_DATA}")):
        with suppress(StorageError):
            if path.is_relative_to(place()):
                return f"choose another place by {ways}"
    return "choose another place"


def archive_path() -> Path:
    """Where `flowercolor download` puts the archive."""
    return cache_dir() / ARCHIVE_NAME


def runs_dir() -> Path:
    """The folder that holds a folder for each training run."""
    return data_dir() / "runs"
