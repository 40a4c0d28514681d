"""How long work tells that it goes on, without knowing who listens.

The core reports to a `Progress`; the command line passes one that draws bars, a library
user passes nothing and `Silent` swallows it all.
"""

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
