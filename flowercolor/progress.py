"""How long work tells that it goes on, without knowing who listens.

The core reports to a `Progress`; the command line passes one that draws bars, a library
user passes nothing and `Silent` swallows it all.
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Task(Protocol):
    """One piece of work under way."""

    def advance(self, amount: int = 1, status: str | None = None) -> None:
        """Report that `amount` more units are done; `status` is shown beside the bar."""


class Progress(Protocol):
    """Where long work reports to."""

    @contextmanager
    def task(self, label: str, total: int | None = None, unit: str = "") -> Iterator[Task]:
        """Open a piece of work of `total` units (None: unknown); "B" as unit means bytes."""
        ...

    def note(self, message: str) -> None:
        """Tell one line that the person should know now."""


class _SilentTask:
    def advance(self, amount: int = 1, status: str | None = None) -> None:
        pass


class Silent:
    """A `Progress` that says nothing."""

    @contextmanager
    def task(self, label: str, total: int | None = None, unit: str = "") -> Iterator[Task]:
        """Open a task that ignores what it is told."""
        yield _SilentTask()

    def note(self, message: str) -> None:
        """Swallow the line."""


def warn(message: str, progress: Progress | None) -> None:
    """Tell what costs a person much time: `progress`, or without one Python's own warnings."""
    if progress:
        progress.note(f"WARNING: {message}")
        return
    # As of the line that called the package: Python 3.12 has `skip_file_prefixes` for that.
    level, frame = 1, sys._getframe()
    while frame.f_back and frame.f_globals["__name__"].startswith(("flowercolor.", "contextlib")):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)
