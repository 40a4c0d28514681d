"""What the person sees: progress and talk on stderr, results on stdout, errors in one line."""

import errno
import functools
import inspect
import io
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowercolor import cli
from flowercolor.cli import option_names, streams
from flowercolor.config import DeviceName
from flowercolor.errors import (
    FlowercolorError,
    ImageError,
    SettingError,
    StorageError,
    one_line,
    printable,
)
from flowercolor.files import names_stream, storage_errors
from flowercolor.installation import NOT_IN_LIGHT, lacking
from flowercolor.memory_budget import lack_of
from flowercolor.progress import Progress, Silent
from flowercolor.torchrun import ranks

if TYPE_CHECKING:
    from rich.table import Table

    from flowercolor.cli.progress_bars import Bars

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

_HANGUP: int | None = getattr(signal, "SIGHUP", None)  # which Windows lacks

# Options that several commands have.
Checkpoint = Annotated[
    str | None,
    typer.Option(
        "--checkpoint",  # Typer 0.27 has no option of its own accord whose metavar is its name
        help="Weights: bundled, last (the newest run in the data directory), a run's name, or a "
        "path. [dim]\\[default: bundled][/dim]",
        metavar="CHECKPOINT",
    ),
]
Vividness = Annotated[
    float | None,
    typer.Option(
        help="From 0, the safest guess, to 1, the liveliest colors, which are more often others "
        "than the true ones. [dim]\\[default: as the weights say][/dim]",
        min=0,
        max=1,
        metavar="SHARE",
    ),
]
MaxMegapixels = Annotated[
    int,
    typer.Option(
        help="Refuse larger photos, or of half that with 16-bit color or opacity: some 10 MB of "
        "memory each.",
        min=1,
        metavar="N",
    ),
]
Device = Annotated[
    DeviceName, typer.Option(help="Where to compute; auto takes a GPU where there is one.")
]

# Set by the application's own --debug, before any command runs.
debug = False

# What draws on the terminal, if anything does: it has to put the lines above what it draws.
_bars: "Bars | None" = None


def say(message: str) -> None:
    """Talk to the person, on stderr; where there are bars, above them.

    Control characters, such as those in a file's name or in what a server says, are shown as
    escapes, and so are line breaks: it is one line.
    """
    if _bars:
        _bars.note(message)
        return
    streams.STDERR.write(printable(option_names.with_options(message)) + "\n")
    streams.STDERR.flush()


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Turn what a command raises into one line on stderr and the agreed exit code."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        option_names.parameters = frozenset(inspect.signature(function).parameters)
        try:
            function(*args, **kwargs)
        except (typer.Exit, BrokenPipeError):  # Typer ends quietly where nobody reads any more
            raise
        except (KeyboardInterrupt, Exception) as error:
            if cli.interrupted or isinstance(error, KeyboardInterrupt):
                say("Interrupted.")
                raise typer.Exit(EXIT_INTERRUPTED) from None
            if debug:
                raise
            missing = error.name if isinstance(error, ImportError) else None
            if isinstance(error, FlowercolorError):
                say(f"Error: {error}")
            elif isinstance(error, FileNotFoundError) and not _is_anywhere():
                say("Error: the current folder was deleted or moved away; change to another one")
            elif missing and missing in NOT_IN_LIGHT:
                say(f"Error: {lacking(missing)}")
            elif lack := lack_of(error):
                say(f"Error: {lack} here; close something, or raise the limits")
            else:
                say(
                    f"Error: unexpected {type(error).__name__}: {one_line(error)}; "
                    "`flowercolor --debug …` shows where"
                )
            usage = isinstance(error, SettingError) or missing in NOT_IN_LIGHT
            raise typer.Exit(EXIT_USAGE if usage else EXIT_FAILED) from None

    return run


def _is_anywhere() -> bool:
    """Whether the current folder is there, from which paths are resolved."""
    try:
        return bool(Path.cwd())
    except FileNotFoundError:
        return False


class Stop:
    """Tells whether a signal asked the command to end, and by which exit code."""

    asked = False
    exit_code = EXIT_INTERRUPTED

    def __call__(self) -> bool:
        """Whether it did."""
        return self.asked


@contextmanager
def stop_on_interrupt(message: str) -> Iterator[Stop]:
    """Yield what tells of Ctrl-C, SIGTERM and a closed terminal; a second drops what is under way.

    What comes after that is not heard any more: it would end the process amid its cleaning up.

    Args:
        message: What to say at the first.
    """
    stop = Stop()

    def note(number: int, _frame: FrameType | None) -> None:
        if stop.asked:
            cli.interrupted = True
            for each in before:
                signal.signal(each, signal.SIG_IGN)
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
        stop.asked, stop.exit_code = True, 128 + number
        if number == _HANGUP:
            signal.signal(number, signal.SIG_IGN)  # the shell repeats that of the terminal
            streams.leave_terminal()
        if ranks().leads:
            say(message)

    # By SIGTERM `torchrun` ends those whose neighbor died, which cannot save without it.
    more = [signal.SIGTERM, _HANGUP] if ranks().size == 1 else []
    before = {
        number: signal.signal(number, note)
        for number in (signal.SIGINT, *more)
        if number and signal.getsignal(number) is not signal.SIG_IGN  # as nohup has it
    }
    try:
        yield stop
    finally:
        if not cli.interrupted:
            for number, handler in before.items():
                signal.signal(number, handler)


class _Notes(Silent):
    """On a pipe: no bars, the notes only."""

    def note(self, message: str) -> None:
        say(message)


def progress_of_leader() -> Progress:
    """Bars and notes, of several processes in the leader alone."""
    global _bars  # noqa: PLW0603 - there is one terminal
    _bars = None
    if not ranks().leads:
        return Silent()
    if not sys.stderr.isatty():
        return _Notes()
    from flowercolor.cli.progress_bars import Bars

    _bars = Bars()
    return _bars


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep off stderr what C libraries log of damaged files, but with --debug.

    libtiff and libpng write to the descriptor, in whichever thread they are.
    """
    ours = sys.stderr
    try:
        is_real = ours.fileno() == 2
    except (AttributeError, OSError, ValueError):  # closed, or of a test
        is_real = False
    if not is_real or debug:
        yield
        return
    ours.flush()
    kept = os.dup(2)
    streams.silence(2)
    sys.stderr = os.fdopen(
        kept, "w", buffering=1, encoding=ours.encoding, errors=ours.errors, closefd=False
    )
    try:
        yield
    finally:
        streams.STDERR.flush()
        sys.stderr = ours
        os.dup2(kept, 2)
        os.close(kept)


def command_line(*words: str) -> str:
    """A command as the person's shell takes it."""
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def options_given(context: typer.Context, *but: str) -> list[str]:
    """The options of this call as its command line has them, but for the parameters named."""
    words: list[str] = []
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name in but or not source or source.name != "COMMANDLINE":
            continue
        value, option = context.params[parameter.name or ""], parameter.opts[0]
        for each in value if isinstance(value, (list, tuple)) else [value]:
            words += [option] if each is True else [option, str(each)]
    return words


def say_at_start(message: str) -> None:
    """Say it on a terminal, before what takes time to load; on a pipe nobody waits."""
    if ranks().leads and sys.stderr.isatty():
        say(message)


def say_missing(*checkpoints: Path) -> None:
    """Say of each that is a run's last weights, not its best, what the run lacks.

    Raises:
        CheckpointError: One cannot be read.
    """
    from flowercolor.checkpoint import missing_in_run
    from flowercolor.runs import name_of

    for path in checkpoints:
        if missing := missing_in_run(path):
            say(f"{name_of(path)}: {missing}.")


def check_output(path: Path | None) -> None:
    """Refuse what elsewhere means standard output, and here would be a file of that name.

    Raises:
        SettingError: It is "-", or a stream such as /dev/stdout.
    """
    if path and (str(path) == "-" or names_stream(path)):
        stream = "standard output" if str(path) == "-" else "a stream"
        raise SettingError(f"{path}: {stream} cannot hold this; name a file or a folder")


def is_stdin(path: Path) -> bool:
    """Whether standard input is read from this file."""
    try:
        return os.path.samestat(os.fstat(sys.stdin.fileno()), path.stat())
    except (OSError, ValueError):  # there is no such file, or none behind standard input
        return False


def read_input(max_bytes: int) -> bytes:
    """What comes by standard input, at most so much of it.

    Raises:
        ImageError: It is closed, or cannot be read.
    """
    if getattr(sys.stdin, "name", "") == os.devnull:  # which stands for one that is closed
        raise ImageError("standard input: is closed; expected a photo; open it, or name a file")
    try:
        return sys.stdin.buffer.read(max_bytes)
    except OSError as error:  # open for writing alone
        raise ImageError(
            f"standard input: cannot be read: {error.strerror}; expected a photo; name its file"
        ) from error


def print_result(line: str) -> None:
    """Put a line of the result on stdout, unadorned; above the bars, where both are drawn."""
    if _bars and sys.stdout.isatty():
        _bars.note(line)
        return
    if sys.stdout.isatty():
        line = printable(line)
    # As bytes: a path may hold what the encoding of stdout does not. Who reads the list there takes
    # each line for a path: half of one might be another file's.
    _write(os.fsencode(line.replace("\n", r"\n") + "\n"))


def write_result(content: bytes) -> None:
    """Put the result itself on stdout.

    Raises:
        StorageError: What stdout goes to is full, or it is closed.
    """
    check_stdout("name a file by -o")
    _write(content)


def check_stdout(otherwise: str = "lead it into a file") -> None:
    """Refuse work whose result would be lost.

    Raises:
        StorageError: Stdout is closed.
    """
    if getattr(sys.stdout, "name", "") == os.devnull:  # which stands for one that is closed
        raise StorageError(f"standard output: is closed; open it, or {otherwise}")


def _write(content: bytes) -> None:
    with _stdout_errors():
        try:
            left = memoryview(content)
            while left:  # unbuffered, it may take a part at a time
                left = left[sys.stdout.buffer.write(left) :]
            sys.stdout.flush()
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            streams.drop(sys.stdout)  # a terminal that is closed: SIGHUP tells what to do


@contextmanager
def _stdout_errors() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        streams.drop(sys.stdout)
        with storage_errors(Path("standard output")):
            raise error


def print_table(table: "Table") -> None:
    """Put a table on stdout, as wide as the terminal, and on a pipe as wide as it is."""
    from rich.console import Console

    allow_all_letters()
    with _stdout_errors():
        Console(width=None if sys.stdout.isatty() else 1000).print(table)


def allow_all_letters() -> None:
    """Have a stdout whose encoding lacks some letters show a mark in their places."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def guarded(run: Callable[[], None]) -> None:
    """Run what may print help or the version; one line where stdout cannot take them."""
    try:
        with _stdout_errors():
            run()
    except FlowercolorError as error:
        if debug:
            raise
        say(f"Error: {error}")
        sys.exit(EXIT_FAILED)


@contextmanager
def process_group() -> Iterator[None]:
    """The processes that `torchrun` started; of one alone nothing, which spares loading torch."""
    if ranks().size == 1:
        yield
        return
    import torch

    from flowercolor.distributed import ending_together, joined

    with joined(torch.device("cpu")), ending_together():
        yield
