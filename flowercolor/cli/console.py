"""What the person sees: progress and talk on stderr, results on stdout, errors in one line."""

import functools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column
from rich.text import Text

from flowercolor.config import DeviceName
from flowercolor.errors import FlowercolorError, one_line
from flowercolor.progress import Progress as AnyProgress
from flowercolor.progress import Silent
from flowercolor.ranks import ranks

__all__ = ["RichProgress", "command", "progress_of_leader", "say", "stop_on_interrupt"]

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130

stderr = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)

Device = Annotated[
    DeviceName, typer.Option(help="Where to compute; auto takes a GPU where there is one.")
]
"""The option that several commands have."""

# Set by the application's own --debug, before any command runs.
debug = False


def say(message: str) -> None:
    """Talk to the person, on stderr."""
    stderr.print(message, markup=False)


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Turn what a command raises into one line on stderr and the agreed exit code."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except (typer.Exit, BrokenPipeError):  # Typer ends quietly where nobody reads any more
            raise
        except KeyboardInterrupt:
            say("Interrupted.")
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except Exception as error:
            if debug:
                raise
            if isinstance(error, FlowercolorError):
                say(f"Error: {error}")
            else:
                say(
                    f"Error: unexpected {type(error).__name__}: {one_line(error)}; "
                    "`flowercolor --debug …` shows where"
                )
            raise typer.Exit(EXIT_FAILED) from None

    return run


@contextmanager
def stop_on_interrupt(message: str) -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether Ctrl-C was pressed; a second one interrupts at once.

    Args:
        message: What to say at the first.
    """
    pressed = False

    def note(_number: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, before)
        if ranks().leads:
            say(message)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)


class RichProgress:
    """Bars on a terminal; on a pipe only the notes."""

    def __init__(self) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            _AmountColumn(),
            TimeRemainingColumn(table_column=_whole()),
            TextColumn("{task.fields[status]}"),
            console=stderr,
            transient=True,
        )

    @contextmanager
    def task(self, label: str, total: int | None = None, unit: str = "") -> Iterator["_RichTask"]:
        """Show a bar while the block runs."""
        if not stderr.is_terminal:
            yield _RichTask(None, 0)
            return
        number = self._bars.add_task(label, total=total, unit=unit, status="")
        self._bars.start()
        try:
            yield _RichTask(self._bars, number)
        finally:
            self._bars.remove_task(number)
            if not self._bars.tasks:
                self._bars.stop()

    def note(self, message: str) -> None:
        """Say a line above the bars."""
        say(message)


def progress_of_leader() -> AnyProgress:
    """Bars and notes, of several processes in the leader alone."""
    return RichProgress() if ranks().leads else Silent()


class _RichTask:
    def __init__(self, bars: Progress | None, number: Any) -> None:
        self._bars = bars
        self._number = number

    def advance(self, amount: int = 1, status: str | None = None) -> None:
        if self._bars is None:
            return
        self._bars.advance(self._number, amount)
        if status is not None:
            self._bars.update(self._number, status=status)


def _whole() -> Column:
    """A column that a narrow terminal does not cut: the bar gives way."""
    return Column(no_wrap=True)


class _AmountColumn(ProgressColumn):
    """Bytes with their speed, or a plain count with its unit."""

    def __init__(self) -> None:
        super().__init__(table_column=_whole())
        self._bytes = (DownloadColumn(binary_units=False), TransferSpeedColumn())
        self._count = MofNCompleteColumn()

    def render(self, task: Task) -> Text:
        if task.fields["unit"] == "B":
            return Text(" ").join(column.render(task) for column in self._bytes)
        return Text(" ").join((self._count.render(task), Text(task.fields["unit"])))


def print_result(line: str) -> None:
    """Put a line of the result on stdout, unadorned."""
    # As bytes: a path may hold what the encoding of stdout does not.
    sys.stdout.buffer.write(os.fsencode(line + "\n"))
    sys.stdout.flush()
