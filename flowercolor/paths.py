"""Where things lie on this machine.

The cache holds what can be made or fetched again; the data directory holds what a person
made: the training runs.
"""

import os
from pathlib import Path

import platformdirs

ARCHIVE_NAME = "102flowers.tgz"

OXFORD = Path("oxford102")
"""Names the downloaded Oxford 102 flowers among the sources, unless there is such a path."""


def cache_dir() -> Path:
    """The platform's cache directory, or `FLOWERCOLOR_CACHE_DIR`. Not created here."""
    moved = os.environ.get("FLOWERCOLOR_CACHE_DIR")
    return Path(moved) if moved else platformdirs.user_cache_path("flowercolor", appauthor=False)


def data_dir() -> Path:
    """The platform's data directory, or `FLOWERCOLOR_DATA_DIR`. Not created here."""
    moved = os.environ.get("FLOWERCOLOR_DATA_DIR")
    return Path(moved) if moved else platformdirs.user_data_path("flowercolor", appauthor=False)


def archive_path() -> Path:
    """Where `flowercolor download` puts the archive."""
    return cache_dir() / ARCHIVE_NAME


def runs_dir() -> Path:
    """The folder that holds a folder for each training run."""
    return data_dir() / "runs"
