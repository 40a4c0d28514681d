import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from flowercolor import paths
from flowercolor.checkpoint import (
    load_tensors,
    save_checkpoint,
)
from flowercolor.cli import main
from flowercolor.hints.hint import Hint, Leave
from flowercolor.inference import batch
from flowercolor.inference.batch import CHUNK_PHOTOS
from flowercolor.inference.colorizer import Colorizer
from tests.cli import helpers
from tests.cli.helpers import (
    Trained,
    assert_one_line_of_error,
    be_one_of_two,
    environment,
    flowercolor,
    gray_photo,
    last_line,
    stopped_when,
    succeed,
)

pytestmark = pytest.mark.usefixtures("backend")


def test_ctrl_c_in_colorize_leaves_whole_photos_only(
    weights: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        gray_photo(here / "box" / f"{number:02}.png", number)
    printed = []
    pressed = threading.Event()
    replace = Path.replace

    def pressed_at_the_third(line: str) -> None:
        printed.append(line)
        if len(printed) == 3:
            pressed.set()
            signal.raise_signal(signal.SIGINT)

    def waiting(temporary: Path, target: Path) -> Path:
        if int(target.stem) >= CHUNK_PHOTOS:
            assert pressed.wait(60)
        return replace(temporary, target)

    with monkeypatch.context() as patch:
        patch.setattr("flowercolor.cli.console.print_result", pressed_at_the_third)
        patch.setattr(Path, "replace", waiting)
        patch.setitem(batch.run.__kwdefaults__ or {}, "workers", 1)
        result = flowercolor("colorize", "box", "--checkpoint", weights)
    assert result.exit_code == 130
    written = list((here / "box_color").iterdir())
    assert {path.suffix for path in written} == {".png"}
    assert 3 <= len(written) < 20
    assert sorted(printed) == sorted(f"box_color/{path.name}" for path in written), "all are told"
    assert last_line(result.stderr) == f"{len(written)} done, 0 skipped, 0 failed."

    again = succeed("colorize", "box", "--checkpoint", weights)
    assert last_line(again.stderr) == f"{20 - len(written)} done, {len(written)} skipped, 0 failed."


def test_colorize_says_whose_weights_it_uses(trained: Trained, here: Path) -> None:
    newer = paths.runs_dir() / "my roses"
    shutil.copytree(trained.run, newer)
    for path in newer.glob("*.safetensors"):
        os.utime(path, (time.time() + 10, time.time() + 10))
    gray_photo(here / "a.png")
    assert (
        "Using the weights of my roses."
        in succeed("colorize", "a.png", "--checkpoint", "last").stderr
    )
    named = succeed("colorize", "a.png", "--checkpoint", trained.run.name, "--overwrite")
    assert f"Using the weights of {trained.run.name}." in named.stderr
    last = succeed("colorize", "a.png", "--checkpoint", newer / "last.safetensors", "--overwrite")
    assert "Using the last weights of my roses." in last.stderr
    assert "bundled" in succeed("colorize", "a.png", "--overwrite").stderr


def test_stdout_holds_the_written_files_only(weights: Path, here: Path) -> None:
    for name in ("box/a.png", "box/b.png", "box/deep/c.png", "out/a.png"):
        gray_photo(here / name)
    (here / "box" / "broken.jpg").write_bytes(b"no photo")
    options: list[str | Path] = ["-r", "-o", "out", "--checkpoint", weights]
    result = flowercolor("colorize", "box", *options)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [str(Path("out/b.png")), str(Path("out/deep/c.png"))]
    assert "Skipped: out/a.png is there already" in result.stderr.replace("\\", "/")
    assert "Failed: box/broken.jpg: is no photo" in result.stderr.replace("\\", "/")
    assert last_line(result.stderr) == "2 done, 1 skipped, 1 failed."
    assert "\x1b" not in result.output


def test_json_tells_of_each_photo(weights: Path, here: Path) -> None:
    gray_photo(here / "a.png")
    (here / "b.png").write_bytes(b"no photo")
    result = flowercolor("colorize", "a.png", "b.png", "--json", "--checkpoint", weights)
    assert result.exit_code == 1
    done, failed = (json.loads(line) for line in result.stdout.splitlines())
    assert done == {
        "source": "a.png",
        "target": "a_color.png",
        "status": "done",
        "message": "",
        "width_px": 30,
        "height_px": 20,
    }
    assert failed["status"] == "failed"
    assert "b.png: is no photo" in failed["message"]


def test_too_little_memory_for_a_photo_from_stdin_is_one_line(
    weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Full(io.BytesIO):
        def read(self, _size: int | None = -1) -> bytes:
            raise MemoryError("Unable to allocate 561. MiB")

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Full()))
    monkeypatch.setattr(sys, "argv", ["flowercolor", "colorize", "-", "--checkpoint", str(weights)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    said = (
        "Error: the picture: takes more memory than there is; reduce it first, or close something"
    )
    assert last_line(capsys.readouterr().err) == said


def test_a_photo_goes_from_stdin_to_stdout(weights: Path, here: Path) -> None:
    content = gray_photo(here / "a.png").read_bytes()
    options: list[str | Path] = ["--checkpoint", weights]
    for args in (["-"], ["-", "-o", "-"], ["a.png", "-o", "-"], ["*.png", "-o", "-"]):
        result = succeed("colorize", *args, *options, stdin=content)
        with Image.open(io.BytesIO(result.stdout_bytes)) as image:
            assert (image.format, image.size, image.mode) == ("PNG", (30, 20), "RGB")
    result = succeed("colorize", "-", "--format", "jpg", *options, stdin=content)
    assert result.stdout_bytes.startswith(b"\xff\xd8")
    assert [path.name for path in here.iterdir()] == ["a.png"]


def test_a_photo_goes_from_stdin_to_a_file_that_is_not_there(weights: Path, here: Path) -> None:
    content = gray_photo(here / "a.png").read_bytes()
    args: list[str | Path] = ["colorize", "-", "-o", "b.jpg", "--checkpoint", weights]
    assert succeed(*args, stdin=content).stdout == "b.jpg\n"
    first = (here / "b.jpg").read_bytes()
    assert first.startswith(b"\xff\xd8")
    other = gray_photo(here / "other.png", seed=1).read_bytes()
    assert "b.jpg is there already" in succeed(*args, stdin=other).stderr
    assert (here / "b.jpg").read_bytes() == first
    succeed(*args, "--overwrite", stdin=other)
    assert (here / "b.jpg").read_bytes() != first


def test_what_is_to_be_known_of_a_photo_is_told_wherever_its_colors_go(
    hint_weights: Path, here: Path
) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)).save("a.png")
    content = (here / "a.png").read_bytes()
    told = "was in color; colored anew from its luma"
    for args, name in (
        (["a.png", "-o", "b.png", "--recolor"], "a.png"),
        (["a.png", "-o", "-"], "a.png"),
        (["-"], "The photo"),
        (["a.png", "--variants", "2"], "a.png"),
    ):
        result = succeed("colorize", *args, "--checkpoint", hint_weights, stdin=content)
        assert f"{name}: {told}" in result.stderr.splitlines()


@pytest.mark.parametrize("args", [["a.png"], ["-"], ["a.png", "--variants", "2"]])
def test_a_picture_that_was_not_made_here_is_not_written_over(
    weights: Path, here: Path, args: list[str]
) -> None:
    content = gray_photo(here / "a.png").read_bytes()
    before = gray_photo(here / "b.png", seed=1).read_bytes()
    command = ["colorize", *args, "-o", "b.png", "--overwrite", "--checkpoint", str(weights)]
    result = flowercolor(*command, stdin=content)
    assert result.exit_code == 1
    assert "b.png: holds what flowercolor did not make" in result.stderr
    assert (here / "b.png").read_bytes() == before


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text on other systems")
def test_any_file_name_can_be_told(weights: Path, here: Path) -> None:
    """Latin-1 of an old disk, and what Rich would take for markup or an emoji."""
    for name in (os.fsdecode(b"bl\xfcte.png"), ":rose:.png", "[b]x.png"):
        gray_photo(here / name)
    result = succeed("colorize", ".", "-o", "out", "--checkpoint", weights)
    told = sorted(result.stdout_bytes.splitlines())
    assert told == [b"out/:rose:.png", b"out/[b]x.png", b"out/bl\xfcte.png"]
    again = succeed("colorize", ".", "-o", "out", "--checkpoint", weights)
    assert re.search(r"Skipped: 3 there already by name and size \(\S+, \S+, \S+\)", again.stderr)
    alone = succeed("colorize", "[b]x.png", "-o", "out", "--checkpoint", weights)
    assert "out/[b]x.png is there already" in alone.stderr


def test_options_reach_the_coloring(weights: Path, here: Path) -> None:
    gray_photo(here / "a.png")
    succeed("colorize", "a.png", "--strength", "0", "-o", "gray.png", "--checkpoint", weights)
    with Image.open("gray.png") as image:
        assert np.ptp(np.asarray(image), axis=2).max() == 0
    sizes = []
    for size in ("16", "64"):
        args = ["--render-size", size, "--format", "bmp", "-o", size]
        succeed("colorize", "a.png", *args, "--checkpoint", weights)
        sizes.append((here / size / "a.bmp").read_bytes())
    assert sizes[0] != sizes[1]


def test_writing_options_reach_the_files(weights: Path, here: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save("a.png")
    sizes = []
    for options in ([], ["--subsampling", "4:2:0"], ["--subsampling", "4:2:0", "--quality", "20"]):
        args = ["-o", "b.jpg", "--overwrite", "--recolor", *options]
        succeed("colorize", "a.png", *args, "--checkpoint", weights)
        sizes.append((here / "b.jpg").stat().st_size)
    assert sizes[0] > sizes[1] > sizes[2]
    skipped = succeed("colorize", "a.png", "--checkpoint", weights)
    assert skipped.stdout == ""
    assert "Skipped: a.png is in color already" in skipped.stderr
    again = succeed("colorize", "a.png", "-o", "b.jpg", "--checkpoint", weights)
    assert "Skipped: b.jpg is there already" in again.stderr


def test_formats_are_taken_as_people_spell_them(weights: Path, here: Path) -> None:
    gray_photo(here / "a.png")
    for name, made in (("JPG", "a_color.jpg"), ("Jpeg", "a_color.jpeg"), ("TIFF", "a_color.tiff")):
        result = succeed("colorize", "a.png", "--format", name, "--checkpoint", weights)
        assert result.stdout == f"{made}\n"


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("b.png", "--quality changes nothing: it is for JPEG, WEBP, AVIF\n"),
        ("b.webp", "--subsampling changes nothing: it is for JPEG, AVIF\n"),
        ("b.jpg", ""),
    ],
)
def test_a_note_says_which_options_the_format_has_no_use_for(
    weights: Path, here: Path, *, name: str, note: str
) -> None:
    gray_photo(here / "a.png")
    options = ["--quality", "50", "--subsampling", "4:2:0", "--checkpoint", str(weights)]
    stderr = succeed("colorize", "a.png", "-o", name, *options).stderr
    assert note in stderr
    assert stderr.count("changes nothing") == {"b.png": 2, "b.webp": 1, "b.jpg": 0}[name]


def test_a_result_beside_its_photo_needs_another_name(weights: Path, here: Path) -> None:
    gray_photo(here / "a.png")
    result = flowercolor("colorize", "a.png", "-o", ".", "--checkpoint", weights)
    assert result.exit_code == 1
    assert (
        "Failed: a.png: the result would replace the photo; leave out --output, or name another "
        "folder\n"
    ) in result.stderr


def test_writing_options_reach_a_sheet_of_variants(hint_weights: Path, here: Path) -> None:
    gray_photo(here / "a.png")
    sizes = []
    for options in ([], ["--subsampling", "4:2:0"], ["--subsampling", "4:2:0", "--quality", "20"]):
        args = ["--variants", "2", "-o", "b.jpg", "--overwrite", *options]
        succeed("colorize", "a.png", *args, "--checkpoint", hint_weights)
        sizes.append((here / "b.jpg").stat().st_size)
    assert sizes[0] > sizes[1] > sizes[2]


@pytest.mark.parametrize(
    ("done", "options", "said"),
    [
        (False, [], "Stopped; the same command goes on with the rest."),
        (
            False,
            ["--overwrite"],
            "Stopped; the same command begins anew, for --overwrite is given.",
        ),
        (True, [], None),
    ],
)
def test_stopping_says_what_the_same_command_does(
    weights: Path, here: Path, *, done: bool, options: list[str], said: str | None
) -> None:
    """Where nothing is left, nothing was stopped."""
    photos = [gray_photo(here / f"{number}.png", number) for number in range(2)]
    results = [here / f"{number}_color.png" for number in range(2)]

    def should_stop() -> bool:
        return not done or all(result.exists() for result in results)

    args: list[str | Path] = ["colorize", *photos, "--checkpoint", weights, *options]
    result = stopped_when(should_stop, *args)
    assert result.exit_code == (130 if said else 0)
    assert (said in result.stderr.splitlines()) if said else ("Stopped" not in result.stderr)


def test_a_sheet_of_variants_lies_beside_the_photo(hint_weights: Path, here: Path) -> None:
    photo = gray_photo(here / "a.png")
    args = ["colorize", "--variants", "2", "--checkpoint", str(hint_weights)]
    assert succeed(*args, photo.name).stdout == "a.png.variants.png\n"
    sheet = (here / "a.png.variants.png").read_bytes()
    with Image.open("a.png.variants.png") as image:
        assert image.width >= 2 * 30
    assert "is there already" in succeed(*args, photo.name).stderr
    assert succeed(*args, photo.name, "-o", "sheet.png").stdout == "sheet.png\n"
    assert (here / "sheet.png").read_bytes() == sheet
    missing = flowercolor(*args, "c.png", "-o", "sheet.png")
    assert_one_line_of_error(missing, "c.png", code=1)
    (here / "box").mkdir()
    assert succeed(*args, photo.name, "-o", "box").stdout == "box/a.png.variants.png\n"
    gray_photo(here / "one" / "b.png")
    assert succeed(*args, "one").stdout == "one_color/b.png.variants.png\n"
    gray_photo(here / "two" / "b.png")
    gray_photo(here / "two" / "b.jpg")
    assert "Called otherwise" not in succeed(*args, "two/b.png").stderr
    assert succeed(*args, "one", "-o", "sheet.jpg").stdout == "sheet.jpg\n", "of its one photo"
    assert "cannot be written" in flowercolor(*args, gray_photo(here / f"{'x' * 245}.png")).stderr
    itself = flowercolor(*args, photo.name, "-o", photo.name, "--overwrite")
    assert_one_line_of_error(itself, "is the photo itself", code=2)
    gray_photo(here / "b.png")
    assert_one_line_of_error(flowercolor(*args, "a.png", "b.png"), "2 were given", code=2)


def test_vividness_reaches_the_weights(weights: Path, here: Path) -> None:
    """Here toward blue: the vivid end has that much more of it and less of red."""
    info, tensors = load_tensors(weights)
    tensors["generator.head.bias"] = tensors["generator.head.bias"] + torch.tensor([-0.1, 0, 0.1])
    save_checkpoint(here / "blue.safetensors", info, tensors)
    succeed("join", weights, "blue.safetensors", "-o", "both.safetensors")
    gray_photo(here / "a.png")
    redness = []
    for share in ("0", "0.5", "1"):
        options = ["--vividness", share, "--checkpoint", "both.safetensors"]
        succeed("colorize", "a.png", "-o", f"{share}.png", *options)
        with Image.open(f"{share}.png") as image:
            red, _, blue = np.asarray(image, int).reshape(-1, 3).mean(axis=0)
        redness.append(red - blue)
    assert redness[0] - 10 > redness[1] > redness[2] + 10


@pytest.mark.parametrize(
    ("options", "by_library"),
    [
        (["--hint", "15,10=crimson"], {"hints": [Hint(15, 10, "crimson")]}),
        (["--hints", "hints.csv"], {"hints": [Hint("50%", "50%", "gold")]}),
        (["--palette", "crimson, ivory"], {"palette": ["crimson", "ivory"]}),
        (["--palette", "crimson; ivory"], {"palette": ["crimson", "ivory"]}),
        (["--like", "red.png"], {"like": "red.png"}),
        (["--leave", "15,10,4"], {"leave": [Leave(15, 10, 4)]}),
        (["--leave", "15,10"], {"leave": [Leave(15, 10)]}),
        (["--mask", "mask.png"], {"mask": "mask.png"}),
    ],
)
def test_what_is_said_of_the_colors_reaches_the_picture(
    hint_weights: Path, here: Path, *, options: list[str], by_library: dict[str, Any]
) -> None:
    photo = gray_photo(here / "a.png")
    gray_photo(here / "b.png", 1)
    Image.new("RGB", (8, 8), "red").save("red.png")
    Image.linear_gradient("L").resize((8, 8)).save("mask.png")
    (here / "hints.csv").write_text("file,x,y,color\na.png,50%,50%,gold\n")
    succeed("colorize", "a.png", "b.png", "-o", "box", "--checkpoint", hint_weights, *options)
    colorizer = Colorizer.from_checkpoint(hint_weights, backend=helpers.backend)  # type: ignore[arg-type]
    expected = colorizer(photo, **by_library)
    with Image.open("box/a.png") as made:
        assert np.array_equal(np.asarray(made), np.asarray(expected))
    alone = succeed("colorize", "a.png", "-o", "c.png", "--checkpoint", hint_weights, *options)
    assert alone.stdout == "c.png\n"
    assert (here / "c.png").read_bytes() == (here / "box/a.png").read_bytes()


@pytest.mark.parametrize(
    ("level", "said"),
    [(0, "has nothing white, so it leaves nothing gray"), (255, "is white all over")],
)
def test_a_mask_that_tells_no_places_apart_is_told(
    weights: Path, here: Path, level: int, said: str
) -> None:
    gray_photo(here / "a.png")
    Image.new("L", (8, 8), level).save("mask.png")
    told = succeed("colorize", "a.png", "--mask", "mask.png", "--checkpoint", weights).stderr
    assert f"--mask mask.png: {said}" in told


@pytest.mark.parametrize(
    ("options", "words", "code"),
    [
        (
            ["--hint", "1,1=red", "--hint", "1,1=blue"],
            ["another color than 1,1=red; expected on"],
            2,
        ),
        (["--hint", "15,10=red", "--leave", "15,10,4"], ["lies in what a place to leave, or"], 1),
        (["--hint", "900,10=red"], ["outside the photo of", "such as 40%,60%=#c02040"], 1),
        (["--hint", "1,1=redd"], ["'redd' is no color", "crimson"], 2),
        (["--hint", "1=red"], ["expected X,Y=COLOR", "412,300=crimson"], 2),
        (["--hints", "none.csv"], ["none.csv: no such file"], 1),
        (["--hints", "-"], ["--hints -: is not read from standard input; expected a file"], 1),
        (["--leave", "1"], ["expected X,Y or X,Y,RADIUS"], 2),
        (["--like", "a.png"], ["--like a.png: has no colors"], 1),
        (["--palette", ""], ["palette: '' is no color"], 2),
        (["--like", "a.png", "--palette", "red"], ["--like and --palette are both given"], 2),
        (
            ["--mask", "no.png"],
            ["--mask no.png: there is no such file or folder; expected a photo"],
            1,
        ),
        (
            ["--like", "no.png"],
            ["--like no.png: there is no such file or folder; expected a photo"],
            1,
        ),
        (["--like", "."], ["--like .: is a folder; expected a photo"], 1),
        (["--hints", "no.json"], ["--hints no.json: no such file; expected a JSON or CSV"], 1),
    ],
)
@pytest.mark.parametrize("way", [["-o", "b.png"], ["-o", "-"], ["--variants", "2"]])
def test_what_cannot_be_meant_is_refused_in_one_line(
    hint_weights: Path,
    here: Path,
    *,
    options: list[str],
    words: list[str],
    code: int,
    way: list[str],
) -> None:
    gray_photo(here / "a.png")
    args = ["colorize", "a.png", *way, "--checkpoint", str(hint_weights), *options]
    result = flowercolor(*args)
    assert result.exit_code == code
    [line] = [line for line in result.stderr.splitlines() if not line.startswith("Using")]
    assert all(word in line for word in words), line
    assert [path.name for path in here.glob("*.png")] == ["a.png"]


def test_hints_for_photos_that_are_not_there_are_named(hint_weights: Path, here: Path) -> None:
    gray_photo(here / "a.png")
    both = '{"rose.png": [{"x": 1, "y": 1, "color": "red"}], "a.png": []}'
    (here / "hints.json").write_text(both.replace("[]", '[{"x": 2, "y": 2, "color": "red"}]'))
    done = succeed("colorize", "a.png", "--hints", "hints.json", "--checkpoint", hint_weights)
    assert "hints.json: has hints for rose.png, which is none of the photos" in done.stderr
    (here / "near.csv").write_text("file,x,y,color\nA,1,1,red\na.png,1,1,red\n")
    args = ["colorize", "a.png", "-o", "n.png", "--hints", "near.csv"]
    done = succeed(*args, "--checkpoint", hint_weights)
    assert "has hints for A (perhaps a.png), which is none" in done.stderr
    gray_photo(here / "rose.png")
    (here / "near.csv").write_text("file,x,y,color\nRosa.jpg,1,1,red\n")
    refused = flowercolor("colorize", "a.png", "rose.png", *args[4:], "--checkpoint", hint_weights)
    said = "Rosa.jpg (perhaps rose.png), and none of the 2 photos is one of them"
    assert_one_line_of_error(refused, said)
    (here / "hints.json").write_text('{"rose.png": [{"x": 1, "y": 1, "color": "red"}]}')
    args = ["colorize", "a.png", "-o", "b.png", "--hints", "hints.json"]
    refused = flowercolor(*args, "--checkpoint", str(hint_weights))
    assert_one_line_of_error(refused, "has hints for rose.png", "a.png is not one of them")
    args[1:4] = ["-"]
    content = (here / "a.png").read_bytes()
    refused = flowercolor(*args, "--checkpoint", str(hint_weights), stdin=content)
    assert_one_line_of_error(refused, "and - is not one of them")
    (here / "hints.json").write_text('{"-": [{"x": 1, "y": 1, "color": "red"}]}')
    succeed(*args, "--checkpoint", str(hint_weights), stdin=content)


def test_other_hints_are_another_result(hint_weights: Path, here: Path) -> None:
    gray_photo(here / "a.png")
    args = ["colorize", "a.png", "--checkpoint", str(hint_weights)]
    succeed(*args, "--hint", "1,1=red")
    assert "--overwrite" in succeed(*args, "--hint", "1,1=red").stderr
    others = succeed(*args, "--hint", "1,1=blue", "--palette", "ivory").stderr
    assert (
        "colored with other settings (other hints; no palette or photo to be like, now some)"
        in others
    )


def test_results_of_other_settings_are_counted_in_one_line(weights: Path, here: Path) -> None:
    for name in ("a.png", "b.png"):
        gray_photo(here / "box" / name)
    args = ["colorize", "box", "--checkpoint", str(weights)]
    succeed(*args)
    again = succeed(*args, "--strength", "0.5").stderr
    changed = "2 colored with other settings (strength 1, now 0.5)"
    assert f"\nSkipped: {changed} (box/a.png, box/b.png); --overwrite replaces" in again


def test_processes_share_the_photos_of_colorize(
    weights: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is colored once, though the second finds the first one's results by the pattern."""
    for number in range(5):
        gray_photo(here / f"{number}.png", number)
    for rank, done in ((0, [0, 2, 4]), (1, [1, 3])):
        be_one_of_two(monkeypatch, rank)
        result = succeed("colorize", "*.png", "--checkpoint", weights)
        assert result.stdout.splitlines() == [f"{number}_color.png" for number in done]
        summary = f"Process {rank + 1} of 2: {len(done)} done, 0 skipped, 0 failed."
        assert last_line(result.stderr) == summary
        assert ("Using the weights" in result.stderr) == (rank == 0)
    assert len(list(here.iterdir())) == 10


def test_no_process_writes_over_a_photo_of_another(
    weights: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["x.png", "a.png", "a_color.png"]
    photos = [gray_photo(here / name) for name in names]
    before = photos[2].read_bytes()
    be_one_of_two(monkeypatch, 1)
    result = flowercolor("colorize", *names, "--overwrite", "--checkpoint", weights)
    assert result.exit_code == 1
    assert "Failed: a_color.png: is one of the photos" in result.stderr
    assert last_line(result.stderr) == "Process 2 of 2: 0 done, 0 skipped, 1 failed."
    assert photos[2].read_bytes() == before


def test_the_leader_alone_makes_what_there_is_one_of(
    weights: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = gray_photo(here / "a.png").read_bytes()
    be_one_of_two(monkeypatch, 1)
    for args, stdin in ((["a.png", "--variants", "2"], b""), (["-", "-o", "-"], content)):
        result = succeed("colorize", *args, "--checkpoint", weights, stdin=stdin)
        assert result.output == ""
    assert [path.name for path in here.iterdir()] == ["a.png"]


@pytest.mark.parametrize(("broken", "again"), [("00", True), ("02", False)])
def test_what_failed_is_said_again_at_the_end_where_it_is_out_of_sight(
    weights: Path, here: Path, *, broken: str, again: bool
) -> None:
    for number in range(23):
        gray_photo(here / "box" / f"{number:02}.png", number)
    for name in (broken, "21", "22"):
        (here / "box" / f"{name}.png").write_bytes(b"no photo")
    result = flowercolor("colorize", "box", "--checkpoint", weights)
    failed = [line for line in result.stderr.splitlines() if line.startswith("Failed: ")]
    assert (failed == sorted({*failed}) * 2) == again
    assert (len(failed) == 3) != again
    assert ("3 of 23 photos failed:" in result.stderr.splitlines()) == again


@pytest.mark.skipif(os.name == "nt", reason="no such names on Windows")
def test_a_file_is_named_on_one_line_whatever_its_name(weights: Path, here: Path) -> None:
    (here / "a\n\x1b[2J.png").write_bytes(b"no photo")
    gray_photo(here / "b\nc.png")
    args = ["colorize", "box", ".", "-o", "out", "--exclude", "x\ny", "--checkpoint", str(weights)]
    gray_photo(here / "box" / "d.png")
    first = flowercolor(*args)
    assert "Failed: a\\n\\x1b[2J.png: is no photo" in first.stderr
    assert "--exclude x\\ny: no photo" in first.stderr
    assert first.stdout.splitlines() == ["out/d.png", "out/b\\nc.png"]
    told = flowercolor(*args, "--json").stdout.splitlines()
    assert [json.loads(line)["target"] for line in told][-1] == "out/b\nc.png"
    again = flowercolor(*args).stderr
    assert (
        "Skipped: 2 there already by name and size (box/d.png, b\\nc.png); "
        "--overwrite replaces the results, another -o keeps them\n"
    ) in again


def test_a_folders_call_keeps_what_was_put_right_by_hand(hint_weights: Path, here: Path) -> None:
    for name in ("a.png", "b.png"):
        gray_photo(here / "box" / name)
    args = ["colorize", "box", "-o", "out", "--checkpoint", str(hint_weights), "--overwrite"]
    succeed(*args)
    alone = ["colorize", "box/a.png", *args[2:]]
    succeed(*alone, "--hint", "1,1=red")
    by_hand, plain = ((here / "out" / name).read_bytes() for name in ("a.png", "b.png"))
    again = succeed(*args, "--strength", "0.5")
    remedy = (
        "to replace one, name photo and result, with hints or the like in the place of …: "
        f"flowercolor colorize box/a.png -o out/a.png --overwrite --checkpoint {hint_weights}"
    )
    told = f"Skipped: 1 colored with hints, now none (box/a.png); {remedy} --strength 0.5"
    assert told in again.stderr, "so that it comes out like the rest"
    (here / "b.csv").write_text("file,x,y,color\nb.png,1,1,red\n")
    told = succeed(*args[:-1], "--hints", "b.csv", "--palette", "red,blue", "--json").stderr
    [line] = [line for line in told.splitlines() if line.endswith(" …")]
    assert "--palette red,blue" in line
    assert "b.csv" not in line, "which may have none for it"
    as_it_is = shlex.split(line.partition(": flowercolor ")[2])
    assert flowercolor(*as_it_is).exit_code == 2
    assert "Replaced: 1 of other settings (strength 1, now 0.5): out/b.png\n" in again.stderr
    told = succeed(*[word for word in args if word != "--overwrite"]).stderr
    assert f"(hints, now none) (box/a.png); {remedy}" in told
    [line, _] = succeed(*args[:-1], "--json").stdout.splitlines()
    assert "alone, with that as --output and with --overwrite" in json.loads(line)["message"]
    assert (here / "out" / "a.png").read_bytes() == by_hand
    assert (here / "out" / "b.png").read_bytes() != plain
    succeed(*args, "--hint", "1,1=blue")
    assert (here / "out" / "a.png").read_bytes() != by_hand, "other hints are meant"
    assert "a.png: replaced what was colored with hints" in succeed(*alone).stderr
    assert (here / "out" / "a.png").read_bytes() == plain, "and so is one photo's call"
    onto = ["-o", "out/a.png", *args[4:]]
    for source, *more in (["box/a.png", "--variants", "2"], ["-"]):
        succeed("colorize", "box/a.png", *onto, "--hint", "1,1=red")
        told = succeed("colorize", source, *more, *onto, stdin=plain).stderr
        assert "out/a.png: replaced what was colored with hints" in told


def test_a_result_of_another_size_is_not_replaced_in_silence(weights: Path, here: Path) -> None:
    gray_photo(here / "a.png")
    with Image.open(here / "a.png") as photo:
        photo.transpose(Image.Transpose.ROTATE_90).save(here / "a.bmp")  # of as many pixels
    args = ["--checkpoint", str(weights), "-o", "out/a.png"]
    succeed("colorize", "a.png", *args)
    kept = succeed("colorize", "a.bmp", *args)
    assert (
        "of a photo of another size; --overwrite replaces it, another --output keeps it"
        in kept.stderr
    )
    done = succeed("colorize", "a.bmp", *args, "--overwrite")
    assert "a.bmp: replaced the result of a photo of another size" in done.stderr
    assert "replaced" not in succeed("colorize", "a.bmp", *args, "--overwrite").stderr


def test_of_a_scan_in_black_and_white_there_are_no_variants(hint_weights: Path, here: Path) -> None:
    with Image.open(gray_photo(here / "a.png")) as photo:
        photo.convert("1").save(here / "scan.png")
    args = ["colorize", "scan.png", "--variants", "3", "--checkpoint", str(hint_weights)]
    refused = flowercolor(*args)
    assert_one_line_of_error(refused, "scan.png: is only black and white, which leaves no room")
    assert not (here / "scan.png.variants.png").exists()


def test_weights_that_a_run_has_learned_since_are_other_settings(
    trained: Trained, here: Path
) -> None:
    gray_photo(here / "a.png")
    args = ["colorize", "a.png", "-o", "out.png", "--checkpoint"]
    info, _ = load_tensors(trained.run / "best.safetensors")
    succeed(*args, str(trained.run))
    name = trained.run.name
    with Image.open(here / "out.png") as image:
        assert f"by the model {name} epoch {info.epoch}" in image.getexif()[0x0131]
    later = replace(info, epoch=info.epoch + 3)
    path = here / name / "best.safetensors"
    path.parent.mkdir()
    save_checkpoint(path, later, load_tensors(trained.run / "best.safetensors")[1])
    said = succeed(*args, str(path.parent)).stderr
    assert f"(weights {name} epoch {info.epoch}, now {name} epoch {later.epoch})" in said


def test_of_results_that_may_be_deleted_nobody_reads_the_names_of_photos(
    weights: Path, here: Path
) -> None:
    for name in ("a.png", "b.png"):
        gray_photo(here / "box" / name)
    args = ["colorize", "box", "-o", "out", "--format", "bmp", "--checkpoint", str(weights)]
    succeed(*args)
    assert (
        "2 there already as BMP, which does not say what made it (out/a.bmp, out/b.bmp); delete "
        "these results first, or choose another -o\n"
    ) in succeed(*args).stderr


def test_what_fails_every_photo_alike_is_told_once(weights: Path, here: Path) -> None:
    for name in "ab":
        gray_photo(here / "box" / f"{name}.png")
    args = ["colorize", "box", "--hint", "1,1=red", "--checkpoint", str(weights)]
    refused = flowercolor(*args)
    assert refused.stderr.count("has no branch for hints") == 1
    assert "0 done, 0 skipped, 2 failed." in refused.stderr
    assert refused.exit_code == 1


def test_hints_by_a_name_of_several_photos_are_refused(hint_weights: Path, here: Path) -> None:
    for folder in ("1962", "1971"):
        gray_photo(here / "box" / folder / "a.png")
    (here / "hints.csv").write_text("file,x,y,color\na.png,1,1,red\n")
    args = ["colorize", "box", "-r", "--hints", "hints.csv", "--checkpoint", str(hint_weights)]
    assert_one_line_of_error(
        flowercolor(*args), "a.png is 2 of the photos", "write its folder before it"
    )
    (here / "hints.csv").write_text("file,x,y,color\n1962/a.png,1,1,red\n")
    succeed(*args)


def test_results_that_would_share_a_name_are_told(weights: Path, here: Path) -> None:
    for name in ("a.png", "a.bmp", "b.png"):
        gray_photo(here / "box" / name)
    args = ["colorize", "box", "--format", "png", "--checkpoint", str(weights)]
    told = "would share a result: a.bmp.png, a.png.png\n"
    assert told in succeed(*args).stderr
    gray_photo(here / "box" / "b.bmp")
    result = succeed(*args)
    assert f"would share stays: {Path('box_color/b.png')}\n" in result.stderr
    assert sorted(result.stdout.split()) == ["box_color/b.bmp.png", "box_color/b.png.png"]


def test_results_that_go_into_folders_for_the_sake_of_others_are_told(
    weights: Path, here: Path
) -> None:
    gray_photo(here / "a" / "rose.png")
    args = ["-r", "-o", "out", "--checkpoint", str(weights)]
    succeed("colorize", "a", *args)
    gray_photo(here / "b" / "rose.png")
    result = succeed("colorize", "a", "b", *args)
    both = [str(Path(folder, "rose.png")) for folder in "ab"]
    assert f"would share a result: {', '.join(both)}\n" in result.stderr
    assert f"would share stays: {Path('out', 'rose.png')}\n" in result.stderr
    assert result.stdout.split() == [str(Path("out", name)) for name in both]
    for folder in "ab":
        gray_photo(here / folder / "1962" / "tulip.png")
    told = succeed("colorize", "a", "b", *args).stderr
    assert str(Path("a", "1962", "tulip.png")) in told
    assert ".." not in told


@pytest.mark.parametrize("pattern", ["*", "box"])
def test_a_folder_without_pictures_among_others_is_told(
    weights: Path, here: Path, pattern: str
) -> None:
    gray_photo(here / "box" / "a.png")
    for name in ("disk", "letters"):
        (here / name).mkdir()
        (here / name / "mail.txt").touch()
    folders = ["*"] if pattern == "*" else ["disk", "box", "letters"]
    result = succeed("colorize", *folders, "-o", "../out", "--checkpoint", weights)
    assert "No pictures in: disk, letters\n" in result.stderr
    gray_photo(here / "disk" / "1962" / "b.png")
    result = succeed("colorize", *folders, "-o", "../out", "--checkpoint", weights)
    assert "No pictures in: letters\n" in result.stderr
    assert "1 photo in 1 subfolder not looked at: -r looks" in result.stderr


def test_a_name_in_two_words_is_told_to_want_quotes(weights: Path, here: Path) -> None:
    gray_photo(here / "Family Photos" / "a.png")
    for words in (["Family", "Photos/a.png"], ["Family", "Photos/b.png"]):
        result = flowercolor("colorize", *words, "-o", "out.png")
        said = f"Family, {words[1]}: there"
        assert_one_line_of_error(result, said, "no such file", "in quotes", code=2)


def test_scans_in_a_pdf_are_counted(weights: Path, here: Path) -> None:
    gray_photo(here / "box" / "a.png")
    (here / "box" / "Album.PDF").write_bytes(b"%PDF-1.4")
    said = succeed("colorize", "box", "--checkpoint", weights).stderr
    assert "1 file of kinds that are not read, left out: .pdf" in said


@pytest.mark.skipif(os.name == "nt", reason="has no pseudo-terminals")
def test_no_picture_is_written_on_a_terminal_or_read_from_one(here: Path) -> None:
    gray_photo(here / "a.png")
    ours, theirs = os.openpty()
    for args, stdin, named in (
        (["-"], subprocess.DEVNULL, b"output"),
        (["a.png", "-o", "-"], subprocess.DEVNULL, b"output"),
        (["-", "-o", "out.png"], theirs, b"input"),
    ):
        result = subprocess.run(
            [sys.executable, "-m", "flowercolor", "colorize", *args],
            stdin=stdin,
            stdout=theirs,
            stderr=subprocess.PIPE,
            env=environment(),
            check=False,
            timeout=60,
        )
        assert result.returncode == 2
        assert b"Error: standard %s is this terminal" % named in result.stderr
    os.close(theirs)
    os.close(ours)


def test_debug_shows_where_a_photo_failed(here: Path) -> None:
    quiet = flowercolor("colorize", "a.png")
    assert len(quiet.stderr.splitlines()) == 2
    loud = flowercolor("--debug", "colorize", "a.png")
    assert "Traceback (most recent call last):" in loud.stderr
    assert loud.exit_code == quiet.exit_code == 1


def test_a_place_that_takes_no_results_is_told_once(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "b.png"):
        gray_photo(here / "box" / name)
    (here / "shut").mkdir()
    allowed = os.access  # to root all is
    monkeypatch.setattr(
        os, "access", lambda path, mode: "shut" not in str(path) and allowed(path, mode)
    )
    result = flowercolor("colorize", "box", "-o", "shut/out")
    assert_one_line_of_error(result, "shut/out: cannot be written: writing there is not allowed")
    assert "cannot be written" not in flowercolor("colorize", "box", "box/a.png").stderr


def test_words_that_are_meant_otherwise_are_told_before_any_is_colored(here: Path) -> None:
    for folder in ("My Box", "box"):
        gray_photo(here / folder / "a.png")
    assert_one_line_of_error(
        flowercolor("colorize", "My", "Box", "-r", "-o", "out"), "in quotes: ", "My Box", code=2
    )
    assert_one_line_of_error(
        flowercolor("colorize", "box/a.png", "b.png"), "to name the result, put -o before", code=2
    )
    assert not (here / "box" / "a_color.png").exists()
