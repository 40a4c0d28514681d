"""Bars on a terminal. Apart, so that who pipes does not wait for Rich to be imported."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column
from rich.text import Text

from flowercolor.cli.option_names import with_options
from flowercolor.cli.streams import STDERR
from flowercolor.errors import printable


class Bars:
    """A bar for each task, and the lines that are said above them."""

    def __init__(self) -> None:
        self._console = Console(file=STDERR, highlight=False, soft_wrap=True, emoji=False)
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=28),
            _AmountColumn(),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),  # a bar gives way instead
            TextColumn("{task.fields[status]}"),
            console=self._console,
            transient=True,
        )

    @contextmanager
    def task(self, label: str, total: int | None = None, unit: str = "") -> Iterator["_Bar"]:
        """Show a bar while the block runs."""
        number = self._bars.add_task(label, total=total, unit=unit, status="")
        self._bars.start()
        try:
            yield _Bar(self._bars, number)
        finally:
            self._bars.remove_task(number)
            if not self._bars.tasks:
                self._bars.stop()

    def note(self, message: str) -> None:
        """Say a line above the bars, of any length."""
        self._console.print(printable(with_options(message)), markup=False)


class _Bar:
    def __init__(self, bars: Progress, number: TaskID) -> None:
        self._bars = bars
        self._number = number

    def advance(self, amount: int = 1, status: str | None = None) -> None:
        self._bars.advance(self._number, amount)
        if status is not None:
            self._bars.update(self._number, status=status)


class _AmountColumn(ProgressColumn):
    """Bytes with their speed, or a plain count with its unit."""

    def __init__(self) -> None:
        super().__init__(table_column=Column(no_wrap=True))
        self._bytes = (DownloadColumn(binary_units=False), TransferSpeedColumn())
        self._count = MofNCompleteColumn()

    def render(self, task: Task) -> Text:
        if task.fields["unit"] == "B":
            return Text(" ").join(column.render(task) for column in self._bytes)
        return Text(" ").join((self._count.render(task), Text(task.fields["unit"])))
