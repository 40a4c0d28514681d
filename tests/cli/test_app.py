import contextlib
import glob
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import ExifTags, Image
from typer.main import get_command
from typer.testing import CliRunner

from flowercolor import paths
from flowercolor._version import __version__
from flowercolor.cli import main
from flowercolor.cli.app import PATHS, app
from flowercolor.data.oxford102 import Archive
from tests.cli.helpers import (
    COMMANDS,
    TINY,
    Trained,
    assert_one_line_of_error,
    environment,
    flowercolor,
    gray_photo,
    in_rank,
    last_line,
    plain,
    succeed,
)
from tests.helpers import be_rank


def test_from_the_archive_to_a_colored_photo(archive: Path, published: Archive, here: Path) -> None:
    """download, train, eval and colorize, one after the other, as a person would."""
    downloaded = succeed("download", "--from-file", archive)
    assert downloaded.stdout == f"{paths.archive_path()}\n"
    assert "verified by each photo's published SHA-256" in downloaded.stderr
    assert "Already there" in succeed("download").stderr

    succeed("train", "--epochs", "1", *TINY)
    [run] = paths.runs_dir().iterdir()
    source = json.loads((run / "config.json").read_text())["data"]["source"]
    assert source == str(paths.archive_path())

    succeed("eval", "--checkpoint", "last")
    assert len(list((here / "results" / "pictures").rglob("*.png"))) == 2

    gray_photo(here / "rose.png")
    colored = succeed("colorize", "rose.png", "--checkpoint", "last")
    assert colored.stdout == "rose_color.png\n"
    with Image.open("rose_color.png") as image:
        assert image.size == (30, 20)
        assert f"the model {run.name}" in str(image.getexif()[ExifTags.Base.Software])


@pytest.mark.parametrize(
    "args",
    [
        ["train", "--data", "nowhere", "--start-from", ""],
        ["train", "--data", "nowhere", "--recipe", ""],
        ["train", "--resume", ""],
        ["join", "last", "last", "-o", "a.safetensors", "--hints", ""],
        ["eval", "--data", "nowhere", "--checkpoint", ""],
        ["eval", "--data", "nowhere", "--checkpoint", "", "--compare", "a", "--compare", "b"],
    ],
)
def test_an_empty_name_is_none_and_not_left_out(args: list[str], trained: Trained) -> None:
    """As of a variable of the shell that is not set, also in the folder of a run."""
    with contextlib.chdir(trained.run):
        refused = flowercolor(*args)
    code = 2 if "--recipe" in args else 1
    assert_one_line_of_error(refused, "there" if code == 2 else ": no ", code=code)


def test_a_name_that_is_too_long_is_told_of(here: Path) -> None:
    gray_photo(here / "a.png")
    refused = flowercolor("colorize", "a.png", "--checkpoint", "x" * 300)
    assert_one_line_of_error(refused, "no such checkpoint")


@pytest.mark.parametrize(
    ("code", "args", "said"),
    [
        (1, ["train", "--data", "missing.tgz"], ["missing.tgz", "no such file or folder"]),
        (1, ["train", "--data", "notes.txt"], ["notes.txt", "is no archive; expected a tar"]),
        (2, ["train", "--epochs", "0"], ["Error: --epochs is 0; expected 1 or more"]),
        (2, ["train", "--size", "100"], ["Error: --size is 100; expected a multiple of 16"]),
        (2, ["train", "--crop", "0"], ["crop is 0", "at most 1"]),
        (1, ["eval", "--checkpoint", "nowhere"], ["nowhere", "no such checkpoint"]),
        (1, ["eval", "--checkpoint", "notes.txt"], ["notes.txt", "safetensors"]),
        (1, ["download", "--from-file", "missing.tgz"], ["missing.tgz", "not a file"]),
        (1, ["colorize", "notes.txt", "--checkpoint", "nowhere"], ["nowhere"]),
        (2, ["colorize", "empty"], ["empty", "no pictures there", "expected .apng"]),
        (2, ["colorize", "empty", "-r"], ["empty: no pictures there or below; expected .apng, "]),
        (
            2,
            ["colorize", "a.png", "b.png", "-o", "c.png"],
            ["a.png, b.png: there is no such", "c.png"],
        ),
        (2, ["colorize", "a.png", "b.png", "-o", "-"], ["standard output", "one photo; 2 "]),
        (2, ["colorize", "a.png", "-"], ["standard input", "alone"]),
        (2, ["colorize", "-", "--variants", "4"], ["--variants", "by its path"]),
        (2, ["colorize", "empty", "-o", "-"], ["empty: no pictures there", "expected .apng"]),
        (2, ["colorize", "a.png", "-o", "b.txt"], ["b.txt: has the ending '.txt'; expected one "]),
        (2, ["colorize", "-", "--json"], ["--json is for photos by their paths"]),
        (2, ["colorize", "-", "--keep-date"], ["--keep-date is for photos by their paths"]),
        (2, ["colorize", "-", "-o", "a.gif"], ["a.gif: has the ending '.gif'"]),
        (2, ["colorize", "a.png", "--variants", "4", "--json"], ["writes one sheet", "--json"]),
        (2, ["colorize", "a.png", "--variants", "4", "--format", "jpg"], ["writes one sheet"]),
        (2, ["colorize", "a.png", "--variants", "4", "--keep-date"], ["writes one sheet"]),
        (2, ["colorize", "-", "-o", "empty"], ["empty", "is a folder"]),
        (2, ["colorize", "-", "-o", "new/"], ["-o new/: is a folder; name a file for what comes"]),
        (2, ["colorize", "a.png", "-o", "b.jpg", "--format", "png"], ["b.jpg", "--format"]),
        (
            1,
            ["colorize", "missing.png", "-o", "-"],
            ["missing.png", "there is no such file or folder"],
        ),
        (
            2,  # before the weights are looked for
            ["colorize", "a.png", "b.png", "--variants", "4", "--checkpoint", "nowhere"],
            ["--variants takes one photo; 2 were given"],
        ),
        (
            2,  # likewise
            ["colorize", "a.png", "--hint", "-1,3=red", "--checkpoint", "nowhere"],
            ["hint -1,3=red: -1.0 is no place; expected a number of pixels from 0"],
        ),
    ],
)
def test_an_error_is_one_line(
    code: int, args: list[str], said: list[str], weights: Path, here: Path
) -> None:
    (here / "notes.txt").write_text("only words, longer than any header of a file that is known")
    (here / "empty").mkdir()
    if args[0] == "colorize" and "--checkpoint" not in args:
        args = [*args, "--checkpoint", str(weights)]
    assert_one_line_of_error(flowercolor(*args), *said, code=code)
    assert sorted(path.name for path in here.iterdir()) == ["empty", "notes.txt"]


def test_a_missing_photo_fails_alone(weights: Path, here: Path) -> None:
    gray_photo(here / "a.png")
    result = flowercolor("colorize", "missing.png", "a.png", "--checkpoint", weights)
    assert result.exit_code == 1
    assert result.stdout == "a_color.png\n"
    assert "Failed: missing.png: there is no such file or folder" in result.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep the current folder")
@pytest.mark.parametrize("args", [["colorize", "../a.png"], ["export", "page.html"]])
def test_a_current_folder_that_is_gone_is_told_of(
    args: list[str], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gray_photo(here / "a.png")
    (here / "gone").mkdir()
    monkeypatch.chdir("gone")
    (here / "gone").rmdir()
    assert_one_line_of_error(flowercolor(*args), "the current folder was deleted or moved away")


def test_patterns_that_leave_out_all_photos_are_told_of(here: Path) -> None:
    gray_photo(here / "box" / "a.png")
    gray_photo(here / "box" / "deep" / "b.png")
    result = flowercolor("colorize", "box", "-r", "--exclude", "*.png", "-o", "out")
    assert result.exit_code == 2
    assert last_line(result.stderr) == (
        "Error: box: --exclude leaves out all pictures there or below, 2; expected patterns that "
        "leave some"
    )


def test_what_nobody_foresaw_is_one_line_too(
    weights: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(*_: object, **__: object) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(glob, "glob", odd)
    result = flowercolor("colorize", "*.png")
    assert_one_line_of_error(result, "unexpected RuntimeError: two lines", "--debug")
    with pytest.raises(RuntimeError, match="two\nlines"):
        CliRunner().invoke(app, ["--debug", "colorize", "*.png"], catch_exceptions=False)


def test_debug_shows_where_an_error_comes_from(tmp_path: Path) -> None:
    """In a process of its own, as only there a traceback is printed."""
    command = [sys.executable, "-m", "flowercolor", "--debug", "download", "--from-file", "no.tgz"]
    result = subprocess.run(
        command, capture_output=True, text=True, env=environment(), cwd=tmp_path, check=False
    )
    assert result.returncode == 1
    assert result.stderr.startswith("Traceback")
    assert "in download_archive" in result.stderr
    assert "DownloadError: no.tgz: is not a file" in last_line(result.stderr)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["colorize"], "Missing argument 'PHOTO…'"),
        (["paint", "a.png"], "No such command 'paint'"),
        (["train", "--epochs", "many"], "--epochs is many; expected a whole number"),
        (["train", "--lr", "low"], "--lr is low; expected a number"),
        (
            ["colorize", "a.png", "--palette"],
            "Option '--palette' requires an argument; put ",
        ),
        (["colorize", "a.png", "--variants"], "Option '--variants' requires an argument; see `"),
        (["train", "--output", "lab"], "--output is lab; expected one of rgb, chroma"),
        (["colorize", "a.png", "--quality", "101"], "--quality is 101; expected 1 to 100"),
        (["colorize", "a.png", "--strength", "2"], "--strength is 2; expected 0 to 1.5"),
        (["colorize", "a.png", "--vividness", "7"], "--vividness is 7; expected 0 to 1"),
        (["colorize", "a.png", "--variants", "1"], "--variants is 1; expected 2 to 12"),
        (["colorize", "a.png", "--format", "gif"], "--format is gif; expected one of jpg, jpeg, "),
        (["eval", "--batch-size", "0"], "--batch-size is 0; expected 1 or more"),
        (["eval", "--vividness", "full"], "--vividness is full; expected a number, 0 to 1"),
        (["eval", "--vividness", "1", "--vividness", "7"], "--vividness is 7; expected 0 to 1"),
        (["eval", "--results", "a", "--results=b"], "--results: given a and b; expected one"),
        (["train", "--out", "a", "--out", "b"], "--out: given a and b; expected one"),
        (["colorize", "a.png", "-o", "a", "--output", "b"], "--output: given a and b; expected"),
        (["join", *"ab", "-o", "c", *["--note", "x"] * 2, "--note", "y"], "--note: given x and y;"),
        (["eval", "--device", "abacus"], "--device is abacus; expected one of auto, cpu, "),
    ],
)
def test_wrong_usage_is_told_in_one_line_and_exits_with_2(args: list[str], said: str) -> None:
    result = flowercolor(*args)
    assert result.stdout == ""
    where = ["flowercolor", *args[:1]] if args[0] in COMMANDS else ["flowercolor"]
    assert_one_line_of_error(result, f"Error: {said}", f"; see `{' '.join(where)} --help`", code=2)


def test_a_file_whose_name_begins_like_an_option_is_told_how_to_name(here: Path) -> None:
    (here / "-strich.jpg").touch()
    refused = flowercolor("colorize", "-strich.jpg", "-o", "out")
    said = "-strich.jpg: is no option; to name the file, put ./ before it, as in ./-strich.jpg"
    assert_one_line_of_error(refused, said, code=2)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["colorize"], "is a stream; expected a file, or - for standard input"),
        (["colorize", "-", "-o"], "is a stream; expected a file or a folder, or - for standard o"),
        (["export"], "a stream cannot hold this; name a file or a folder"),
        (["join", "a", "b", "-o"], "a stream cannot hold this; name a file or a folder"),
        (["train", "--out"], "a stream cannot hold this; name a file or a folder"),
        (["eval", "--results"], "a stream cannot hold this; name a file or a folder"),
    ],
)
def test_a_stream_is_refused_by_what_to_do(here: Path, args: list[str], said: str) -> None:
    """Also where a file is behind it, as of `< photo.jpg`: a result has no place beside it."""
    with (here / "file").open("w+") as file:
        stream = f"/dev/fd/{file.fileno()}"
        assert_one_line_of_error(flowercolor(*args, stream), f"{stream}: {said}", code=2)
    assert [path.name for path in here.iterdir()] == ["file"]


EMPTY = [
    (["colorize"], "PHOTO"),
    (["colorize", "a.png"], "PHOTO"),
    (["colorize", "a.png", "--hints"], "--hints"),
    (["colorize", "a.png", "--output"], "-o"),
    (["export"], "TARGET"),
    (["join", "a", "b", "-o"], "-o"),
    (["train", "--out"], "--out"),
    (["train", "--data", "a", "--data"], "--data"),
    (["eval", "--results"], "--results"),
    (["eval", "--by"], "--by"),
]


@pytest.mark.parametrize(("args", "name"), EMPTY)
def test_an_empty_name_is_no_path(here: Path, args: list[str], name: str) -> None:
    """Of `Path` it is the folder that one is in."""
    said = f"Error: {name}: an empty name; expected a file or a folder (the one you are in is ca"
    assert_one_line_of_error(flowercolor(*args, ""), said, code=2)
    assert list(here.iterdir()) == []


def test_every_path_is_shown_as_one() -> None:
    """By which `_Command` knows it."""
    application: Any = get_command(app)
    for command in application.commands.values():
        kinds = inspect.signature(command.callback).parameters
        for param in command.params:
            assert "Path" not in str(kinds[param.name].annotation) or param.metavar in PATHS


def test_every_command_refuses_two_values_for_one_as_those_do() -> None:
    application: Any = get_command(app)
    assert len({type(command) for command in application.commands.values()}) == 1


@pytest.mark.parametrize("more", [["--data", "a", "--data", "b", "--help"], ["--whole"] * 2])
def test_what_may_stand_twice_passes(more: list[str]) -> None:
    """The same again, a switch again, and whatever else where help is asked for."""
    again = ["--results", "here", "--results", "here"]
    said = flowercolor("eval", "--data", "nowhere", *again, *more)
    assert "Usage: flowercolor eval" in plain(said.stdout) or said.exit_code == 1


def test_an_interrupt_while_it_is_still_starting_ends_it_quietly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Interrupted:
        def find_spec(self, name: str, *_: Any) -> None:
            if name == "flowercolor.cli.app":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "flowercolor.cli.app")
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130


def test_nothing_at_all_shows_the_help() -> None:
    result = flowercolor()
    assert "Usage: " in plain(result.stdout + result.stderr)
    assert all(name in result.stdout + result.stderr for name in COMMANDS)
    assert "Error" not in result.stdout + result.stderr


def test_a_reader_that_went_away_ends_it_quietly(weights: Path, here: Path) -> None:
    """As in `flowercolor colorize … | head -1`."""
    for name in ("a.png", "b.png"):
        gray_photo(here / name)
    reading, writing = os.pipe()
    os.close(reading)
    unfinished = "Stopped: nobody reads standard output; the same command goes on with the rest.\n"
    for photos, said in ((["a.png"], ""), (["a.png", "b.png", "-o", "out"], unfinished)):
        command = [sys.executable, "-m", "flowercolor", "colorize", *photos, "--checkpoint"]
        result = subprocess.run(
            [*command, weights],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            timeout=60,
            check=False,
        )
        assert result.returncode == 1
        assert result.stderr == f"Using the weights of garden.\n{said}"
    os.close(writing)


def test_version_and_help_do_not_load_torch() -> None:
    """It takes seconds."""
    script = (
        "import sys\n"
        "from flowercolor.cli import main\n"
        "for args in (['--version'], ['--help'], ['train', '--help'], ['colorize', '--help']):\n"
        "    sys.argv = ['flowercolor', *args]\n"
        "    try:\n"
        "        main()\n"
        "    except SystemExit as end:\n"
        "        assert not end.code, end.code\n"
        "slow = {'torch', 'torchvision', 'cv2', 'matplotlib', 'requests', 'PIL'}\n"
        "print(sorted(slow & set(sys.modules)))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env=environment(),
        check=True,
    )
    lines = result.stdout.splitlines()
    assert lines[0] == f"flowercolor {__version__}"
    assert lines[-1] == "[]"
    assert result.stderr == ""


def test_help_names_every_command() -> None:
    for args in ([], ["--help"], ["-h"]):
        result = flowercolor(*args)
        text = plain(result.stdout + result.stderr)
        for command in COMMANDS:
            assert re.search(rf"\b{command}\b", text)


def test_the_options_of_train_fit_a_small_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """In groups, with whole words: in 80 columns Rich would cut a long one, or break it."""
    monkeypatch.setenv("COLUMNS", "80")
    text = plain(succeed("train", "--help").stdout)
    assert len(text.splitlines()) <= 150
    assert "…" not in text
    assert re.findall(r"╭─ (\w+) ─", text) == [
        "Options",
        "Data",
        "Network",
        "Losses",
        "Schedule",
        "Run",
    ]
    words = set(re.findall(r"[\w.'\[\]-]+", text))
    for parameter in get_command(app).commands["train"].params:  # type: ignore[attr-defined]
        said = re.sub(r"\[/?dim\]|\\", "", parameter.help)
        names = [*parameter.opts, *parameter.secondary_opts, parameter.metavar or "", said]
        missing = set(re.findall(r"[\w.'\[\]-]+", " ".join(names))) - words
        assert not missing, parameter.name


def test_every_option_is_explained() -> None:
    group: Any = get_command(app)
    assert set(group.commands) == set(COMMANDS)
    for command in (group, *group.commands.values()):
        for parameter in command.params:
            assert parameter.name and parameter.help, f"{command.name}: {parameter.name}"


@pytest.mark.parametrize(
    "args",
    [
        ["models"],
        ["join", "a", "b", "-o", "c"],
        ["export", "nowhere/page.html"],
        ["download", "--from-file", "nowhere"],
        ["web", "--host", "elsewhere"],
        ["doctor"],
    ],
)
def test_what_processes_do_not_share_the_leader_does_alone(
    here: Path, monkeypatch: pytest.MonkeyPatch, args: list[str]
) -> None:
    """The others would write the same file, or listen at the same port."""
    be_rank(monkeypatch, 1, 2)
    assert succeed(*args).output == ""
    if args[0] != "doctor":  # which takes long
        be_rank(monkeypatch, 0, 2)
        assert flowercolor(*args).output


@pytest.mark.parametrize(
    ("args", "missing"),
    [
        (["train", "--data", "x"], "torch"),
        (["eval"], "torch"),
        (["download"], "requests"),
        (["export", "x.onnx"], "torch"),
    ],
)
def test_the_light_distribution_says_what_to_install(args: list[str], missing: str) -> None:
    """Where flowercolor-light is installed there is no torch."""
    script = f"""
import sys
class Absent:
    def find_spec(self, name, *_):
        if name == {missing!r}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Absent())
from flowercolor.cli import main
sys.argv = ["flowercolor", *{args!r}]
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"Error: this needs the package {missing}, which flowercolor-light leaves out; "
        "run `pip install .` in the folder of flowercolor\n"
    )


@pytest.mark.parametrize(
    ("args", "asked"),
    [
        (["--backend", "torch"], "backend torch"),
        (["--device", "cuda"], "device cuda"),
        (["--device", "mps"], "device mps"),
    ],
)
def test_the_light_distribution_says_which_option_needs_torch(
    here: Path, weights: Path, args: list[str], asked: str
) -> None:
    gray_photo(here / "a.png")
    words = ["colorize", "a.png", "--checkpoint", str(weights), *args]
    script = (
        "import sys; sys.modules['torch'] = None; from flowercolor.cli import main; "
        f"sys.argv = ['flowercolor', *{words!r}]; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr == (
        f"Error: {asked}: needs the package torch, which is not installed; "
        "run `pip install .` in the folder of flowercolor\n"
    )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_help_is_printed_where_the_encoding_lacks_letters(encoding: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flowercolor", "colorize", "--help"],
        env=environment() | {"PYTHONIOENCODING": encoding},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "--strength" in plain(done.stdout)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no device that is always full")
@pytest.mark.parametrize("args", [["--help"], ["train", "--help"], ["--version"], ["models"]])
def test_a_full_disk_behind_stdout_is_one_line(args: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "flowercolor", *args],
            stdout=full, stderr=subprocess.PIPE, text=True, env=environment(), check=False,
            timeout=60,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == (
        "Error: standard output: cannot be written: the disk is full; free some space or choose "
        "another place\n"
    )


def test_ctrl_c_while_options_are_read_ends_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("typer.core.TyperGroup.invoke", pressed)
    result = flowercolor("models")
    assert (result.exit_code, result.stderr) == (130, "")


def test_coloring_on_a_cpu_does_not_load_torch(weights: Path, here: Path) -> None:
    """Which takes longer than all the rest."""
    gray_photo(here / "a.png")
    script = (
        "import sys; from flowercolor.cli.app import app\n"
        f"app(['colorize', 'a.png', '--checkpoint', {str(weights)!r}], standalone_mode=False)\n"
        "print({'torch', 'torchvision', 'matplotlib', 'requests'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
        timeout=60,
    )
    assert done.stdout.splitlines() == ["a_color.png", "set()"]


def test_a_photo_that_fails_does_not_end_the_other_process(
    weights: Path, here: Path, in_ranks: Callable[..., list[Any]]
) -> None:
    photos = [here / f"{number}.png" for number in range(4)]
    for photo in photos[1:]:
        gray_photo(photo)
    photos[0].write_bytes(b"no photo")
    told = in_ranks(2, in_rank, "colorize", *map(str, photos), "--checkpoint", str(weights))
    assert [code for code, _, _ in told] == [1, 0]
    assert last_line(told[0][2]) == "Process 1 of 2: 1 done, 0 skipped, 1 failed."
    assert last_line(told[1][2]) == "Process 2 of 2: 2 done, 0 skipped, 0 failed."
    assert len(list(here.glob("*_color.png"))) == 3


def test_home_is_meant_by_a_tilde_that_the_shell_left(
    weights: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(here / "home"))
    monkeypatch.setenv("USERPROFILE", str(here / "home"))
    gray_photo(here / "home" / "my photos" / "a.png")
    for option in (["-o", "~/out"], ["--output=~/out"]):
        result = succeed("colorize", "~/my photos/a.png", *option, "--checkpoint", weights)
        assert (here / "home" / "out" / "a.png").is_file(), result.stderr
    assert not (here / "~").exists()


def test_a_folder_in_place_of_a_command_is_to_be_colored(here: Path) -> None:
    (here / "Family Photos").mkdir()
    result = flowercolor("Family Photos")
    said = "Family Photos: is no command; to color it: `flowercolor colorize 'Family Photos'`"
    assert_one_line_of_error(result, said, code=2)


def test_an_option_without_its_value_points_to_its_command() -> None:
    assert_one_line_of_error(
        flowercolor("colorize", "a.png", "-o"), "see `flowercolor colorize --help`", code=2
    )
