import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from rich.table import Table

from flowercolor import cli
from flowercolor.cli import console
from flowercolor.errors import ImageError, StorageError
from tests.cli.helpers import environment, gray_photo, plain
from tests.helpers import be_rank


def test_a_command_is_quoted_for_the_shell_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    words = "flowercolor", "colorize", "a photo.jpg", r"runs\try"
    assert console.command_line(*words) == r"flowercolor colorize 'a photo.jpg' 'runs\try'"
    monkeypatch.setattr(os, "name", "nt")
    assert console.command_line(*words) == r'flowercolor colorize "a photo.jpg" runs\try'


STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As before, after what was interrupted and would have ended."""
    monkeypatch.setattr(cli, "interrupted", False)
    before = {number: signal.getsignal(number) for number in STOPPING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_the_second_signal_drops_what_is_under_way_and_no_third_is_heard(
    capsys: pytest.CaptureFixture[str], number: int, raised: type[BaseException]
) -> None:
    with console.stop_on_interrupt("Stopping.") as pressed:
        assert not pressed()
        signal.raise_signal(number)
        assert pressed()
        with pytest.raises(raised) as caught:
            signal.raise_signal(number)
        for each in STOPPING:
            signal.raise_signal(each)
    assert raised is KeyboardInterrupt or caught.value.args == (143,)
    for each in STOPPING:
        signal.raise_signal(each)
    assert capsys.readouterr().err == "Stopping.\n"


def test_what_was_stopped_by_one_ctrl_c_hears_the_next_as_before() -> None:
    before = signal.getsignal(signal.SIGINT)
    with console.stop_on_interrupt("Stopping."):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_is_an_interruption_whatever_a_library_makes_of_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An onnxruntime that is interrupted while it is loaded raises an `ImportError`."""

    def load() -> None:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise ImportError("initialization failed")

    monkeypatch.setattr(cli.app, "main", console.command(load))
    with pytest.raises(typer.Exit) as ended:
        cli.main()
    assert ended.value.exit_code == 130
    assert capsys.readouterr().err == "Interrupted.\n"
    signal.raise_signal(signal.SIGINT)  # ignored: the process ends
    called: list[bool] = []
    monkeypatch.setattr(cli.app, "main", lambda: called.append(cli.interrupted))
    thread = Thread(target=cli.main)  # where no handler can be set
    thread.start()
    thread.join()
    assert called == [False]


def test_sigterm_stops_as_ctrl_c_does_with_its_exit_code() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with console.stop_on_interrupt("Stopping.") as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop()
        assert stop.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_sigterm_ends_one_of_several_processes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With it `torchrun` ends those whose neighbor has died."""
    be_rank(monkeypatch, 1, 2)
    before = signal.getsignal(signal.SIGTERM)
    with console.stop_on_interrupt("Stopping."):
        assert signal.getsignal(signal.SIGTERM) is before


_WORKING = """
import os, pathlib, signal, sys, time
from flowercolor.cli import console
with console.stop_on_interrupt("Stopping.") as stop:
    console.say("Working.")
    while not stop():
        time.sleep(0.01)
    if stop.exit_code == 129:
        os.kill(os.getpid(), signal.SIGHUP)  # as the shell does, after the terminal
    console.say("Saved.")
    pathlib.Path(sys.argv[1]).write_text("all of it")
sys.exit(stop.exit_code)
"""


def test_a_terminal_that_is_closed_lets_the_work_be_saved(tmp_path: Path) -> None:
    pty = pytest.importorskip("pty")
    saved = tmp_path / "saved"
    pid, terminal = pty.fork()
    if not pid:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which `nohup pytest` has ignored
        os.execv(sys.executable, [sys.executable, "-c", _WORKING, str(saved)])
    assert os.read(terminal, 100).startswith(b"Working.")
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 129
    assert saved.read_text() == "all of it"


def test_where_nobody_listens_any_more_the_work_goes_on_and_is_saved(tmp_path: Path) -> None:
    """As with `flowercolor train 2>&1 | tee log`, where Ctrl-C ends `tee` too."""
    saved = tmp_path / "saved"
    command = [sys.executable, "-c", _WORKING, str(saved)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    assert process.stderr
    assert process.stderr.readline() == b"Working.\n"
    process.stderr.close()
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    assert saved.read_text() == "all of it"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_was_ignored_before_is_ignored(number: int) -> None:
    """As `nohup` has it, and a shell for what it starts in the background."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with console.stop_on_interrupt("Stopping.") as stop:
            os.kill(os.getpid(), number)
            assert not stop()
    finally:
        signal.signal(number, before)


class Screen(io.StringIO):
    """What somebody sees on stderr, be it a terminal."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_draws_bars_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    screen, long = Screen(terminal), "a word " * 30
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    progress: Any = console.progress_of_leader()
    with progress.task("Training", 4, "steps") as training:
        training.advance(2, "epoch 1")
        with progress.task("Fetching", 2_000_000, "B") as fetching:
            fetching.advance(1_000_000)
            if terminal:
                progress._bars.refresh()
        progress.note(long)
        progress.note("a\nb")
        console.say("said")
        if terminal:
            console.print_result("result.png")
    text = screen.getvalue()
    if not terminal:
        assert text == f"{long}\na\\nb\nsaid\n"
        return
    assert not progress._bars.tasks, "a bar goes when its task ends"
    for words in ("Training", "2/4 steps", "epoch 1", "Fetching", "1.0/2.0 MB"):
        assert words in plain(text)
    for line in (long, "a\\nb", "said", "result.png"):
        assert line in plain(text).splitlines(), "above the bars, and not broken to their width"


def test_a_table_reaches_a_terminal_that_lacks_its_letters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(content, encoding="latin-1"))
    table = Table("L1", "95 %")
    table.add_row("0.1", "0.1…0.2")
    console.print_table(table)
    sys.stdout.flush()
    assert b"0.1?0.2" in content.getvalue()


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell closes the streams")
@pytest.mark.parametrize("closing", ["<&-", ">&-", "2>&-"])
def test_a_stream_that_is_closed_is_none_that_is_needed(
    weights: Path, here: Path, closing: str
) -> None:
    gray_photo(here / "a.png")
    line = f'"$1" -m flowercolor colorize a.png --checkpoint "$2" {closing}'
    result = subprocess.run(
        ["sh", "-c", line, "sh", sys.executable, str(weights)],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert (here / "a_color.png").is_file()
    assert "unexpected" not in result.stderr


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell closes the stream")
@pytest.mark.parametrize(
    "words", ["models", "models --json", "doctor", "web --no-open", "--version"]
)
def test_what_would_be_lost_with_a_stdout_that_is_closed_fails(words: str) -> None:
    result = subprocess.run(
        ["sh", "-c", f'"$1" -m flowercolor {words} >&-', "sh", sys.executable],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
        timeout=60,
    )
    assert result.returncode == 1
    assert result.stderr == "Error: standard output: is closed; open it, or lead it into a file\n"


def test_a_photo_that_comes_by_standard_input_is_not_written_over(
    weights: Path, here: Path
) -> None:
    photo = gray_photo(here / "a.png")
    before = photo.read_bytes()
    command = [sys.executable, "-m", "flowercolor", "colorize", "-", "--checkpoint", str(weights)]
    for target in ("a.png", "b.png"):
        with photo.open("rb") as stdin:
            result = subprocess.run(
                [*command, "-o", target, "--overwrite"],
                stdin=stdin,
                capture_output=True,
                check=False,
            )
        assert photo.read_bytes() == before
        if target == "a.png":
            assert result.returncode == 2
            assert b"Error: -o a.png: is the photo itself" in result.stderr
    assert (here / "b.png").is_file()


@pytest.mark.parametrize(
    ("words", "last"),
    [
        ((".", "-o", "out"), "1 done"),
        (("-", "-o", "-"), "Error:"),
        (("a.tif", "--variants", "2"), "Error:"),
    ],
)
def test_what_libraries_log_of_a_damaged_photo_stays_off_stderr(
    words: tuple[str, ...], last: str, weights: Path, here: Path
) -> None:
    """Libtiff's own line of a code that is not in its table, written to the descriptor."""
    buffer = io.BytesIO()
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (40, 50), np.uint8))
    picture.save(buffer, "TIFF", compression="tiff_lzw")
    content = bytearray(buffer.getvalue())
    content[200:240] = b"\xff" * 40
    (here / "a.tif").write_bytes(content)
    gray_photo(here / "b.png")
    done = subprocess.run(
        [sys.executable, "-m", "flowercolor", "colorize", *words, "--checkpoint", weights],
        input=bytes(content),
        capture_output=True,
        env=environment(),
        check=False,
        timeout=60,
    )
    first, *failed, end = done.stderr.decode().splitlines()
    assert first.startswith("Using the weights")
    assert end.startswith(last)
    assert all(line.startswith("Failed: a.tif: is a damaged TIFF") for line in failed)
    assert len(failed) == (last == "1 done")
    assert done.returncode == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_half_a_result_is_a_failure(tmp_path: Path, unbuffered: str) -> None:
    """Unbuffered, a disk that is full takes a part, and says so only at the next."""
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
        "from flowercolor.cli import console;"
        "console.guarded(lambda: console.write_result(bytes(5000)))"
    )
    with (tmp_path / "out").open("wb") as out:
        process = subprocess.run(
            [sys.executable, "-c", script],
            stdout=out,
            stderr=subprocess.PIPE,
            env=environment() | {"PYTHONUNBUFFERED": unbuffered},
            check=False,
        )
    assert process.returncode != 0
    assert b"standard output: cannot be written" in process.stderr


def test_a_picture_for_a_stdout_that_is_closed_is_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Path(os.devnull).open("w") as closed:  # what stands for it
        monkeypatch.setattr(sys, "stdout", closed)
        with pytest.raises(StorageError, match="standard output: is closed"):
            console.write_result(b"picture")
        console.print_result("a line of a list")


def test_a_standard_input_that_cannot_be_read_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one that is closed, or open for writing alone."""
    writing = os.open(tmp_path / "a", os.O_WRONLY | os.O_CREAT)
    for file, found in ((os.devnull, "is closed"), (writing, "cannot be read: Bad")):
        with open(file) as stream:  # noqa: PTH123 - a descriptor is one of them
            monkeypatch.setattr(sys, "stdin", stream)
            with pytest.raises(ImageError, match=f"^standard input: {found}.*; expected a photo; "):
                console.read_input(10)
