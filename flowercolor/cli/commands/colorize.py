"""`flowercolor colorize`."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from flowercolor.cli import console, guidance
from flowercolor.cli.console import Checkpoint, Device, MaxMegapixels, Vividness, command
from flowercolor.cli.option_names import with_options
from flowercolor.cli.request import Request
from flowercolor.cli.summary import Summary
from flowercolor.config import (
    MAX_MEGAPIXELS,
    MAX_RENDER_SIZE_PX,
    MAX_STRENGTH,
    MAX_VARIANTS,
    QUALITY,
    RENDER_SIZE_PX,
    STRIDE,
    BackendName,
    Subsampling,
)
from flowercolor.errors import ImageError, SettingError
from flowercolor.torchrun import ranks

if TYPE_CHECKING:
    from flowercolor.hints.guidance import Guidance
    from flowercolor.inference.batch import Writing
    from flowercolor.inference.colorizer import Colorizer
    from flowercolor.inference.planning import Job
    from flowercolor.progress import Progress

_OF_MANY = (
    "photos",
    "output",
    "file_format",
    "overwrite",
    "recursive",
    "exclude",
    "json_lines",
    "hints",
)
"""What a command that names one photo and its result has no use for, or of its own; a file of hints
may have none for it."""

Format = Literal["jpg", "jpeg", "png", "tif", "tiff", "webp", "bmp", "avif"]


@command
@console.quiet_libraries()
def colorize(
    context: typer.Context,
    photos: Annotated[
        list[str],
        typer.Argument(
            help="Photos, folders, or patterns such as '*.jpg'; - reads standard input.",
            metavar="PHOTO…",
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="File to write, for one photo; else a folder; - is standard output. "
            "[dim]\\[default: beside the photo, with _color in the name][/dim]",
            metavar="PATH",
        ),
    ] = None,
    checkpoint: Checkpoint = None,
    strength: Annotated[
        float,
        typer.Option(
            help=f"Strength of the guessed colors, 0 to {MAX_STRENGTH}; hints keep theirs.",
            min=0,
            max=MAX_STRENGTH,
        ),
    ] = 1.0,
    vividness: Vividness = None,
    render_size: Annotated[
        int,
        typer.Option(
            help="The network sees the photo at this many pixels squared, of which 100 to 250 are "
            "useful; smaller sees more of the whole, larger sees finer things. The output keeps "
            "the photo's own size.",
            min=STRIDE,
            max=MAX_RENDER_SIZE_PX,
            metavar="PX",
        ),
    ] = RENDER_SIZE_PX,
    variants: Annotated[
        int | None,
        typer.Option(
            help="Write a sheet of one photo in up to this many likely colors of what is least "
            "certain, each labeled with the option to add for it.",
            min=2,
            max=MAX_VARIANTS,
            metavar="N",
        ),
    ] = None,
    hint: guidance.Hints = None,
    hints: guidance.HintsFile = None,
    like: guidance.Like = None,
    palette: guidance.PaletteColors = None,
    leave: guidance.Leaves = None,
    mask: guidance.Mask = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Look into the folders of folders.")
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite/--skip-existing", help="Replace earlier results, or skip their photos."
        ),
    ] = False,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            help="Leave out files and folders of such names, such as '*_proof.*'; may be repeated.",
            metavar="PATTERN",
        ),
    ] = None,
    recolor: Annotated[
        bool,
        typer.Option(
            "--recolor",
            help="Color photos anew that are in color already, as - and --variants always do.",
        ),
    ] = False,
    keep_date: Annotated[
        bool, typer.Option("--keep-date", help="Give results the dates of their photos' files.")
    ] = False,
    max_megapixels: MaxMegapixels = MAX_MEGAPIXELS,
    file_format: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="Format of the outputs. "
            "[dim]\\[default: the ending of -o, else the photo's][/dim]",
            case_sensitive=False,
        ),
    ] = None,
    quality: Annotated[
        int, typer.Option(help="Quality of JPEG, WebP and AVIF.", min=1, max=100)
    ] = QUALITY,
    subsampling: Annotated[
        Subsampling, typer.Option(help="How finely JPEG and AVIF keep the color.")
    ] = "4:4:4",
    device: Device = "auto",
    backend: Annotated[
        BackendName,
        typer.Option(
            help="What computes: auto takes onnxruntime on a CPU, where it is installed, and "
            "torch on a GPU."
        ),
    ] = "auto",
    json_lines: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON for each photo.")
    ] = False,
) -> None:
    """Color photos, at their own size and with their own luma, pixel for pixel.

    A photo whose result is there already is skipped, so an interrupted batch goes on where
    it stopped, and so is one that is in color. Inputs are never overwritten. The exit code is
    1 if any photo failed. Under torchrun, several processes or machines share the photos.
    """
    _say_weights(checkpoint, at_start=True)
    from flowercolor.inference.batch import Writing
    from flowercolor.inference.colorizer import Colorizer
    from flowercolor.inference.photo_search import SHEET
    from flowercolor.inference.planning import target_is_free

    progress = console.progress_of_leader()
    writing = Writing(
        quality, subsampling, overwrite=overwrite, recolor=recolor, keep_date=keep_date
    )
    request = Request(photos, output, file_format, sheet=variants is not None)
    request.check(keep_date=keep_date, json_lines=json_lines)
    if json_lines:
        console.check_stdout()
    jobs = request.find(exclude or (), progress, recursive=recursive)
    one_result = request.by_stream or request.sheet
    if one_result and not ranks().leads:
        return
    to_file = request.path if request.by_stream else None
    if to_file and not target_is_free(to_file, progress, overwrite=overwrite):
        return
    formats = request.formats(jobs)
    for option, given, meant in (
        ("--quality", quality != QUALITY, ("JPEG", "WEBP", "AVIF")),
        ("--subsampling", subsampling != "4:4:4", ("JPEG", "AVIF")),
    ):
        if given and formats and not formats & {*meant}:
            progress.note(f"{option} changes nothing: it is for {', '.join(meant)}")
    guide = guidance.read_guidance(
        jobs,
        progress,
        hint=hint,
        hints=hints,
        like=like,
        palette=palette,
        leave=leave,
        mask=mask,
    )
    colorizer = Colorizer.from_checkpoint(
        checkpoint,
        vividness=vividness,
        render_size_px=render_size,
        strength=strength,
        backend=backend,
        device=device,
        progress=progress,
    )
    _say_weights(checkpoint, at_start=False)
    how = _How(colorizer, writing, guide, max_megapixels * 1_000_000)
    if variants is not None:
        sheet = request.file or jobs[0].target.with_name(f"{jobs[0].source.name}{SHEET}")
        _write_sheet(jobs[0], sheet, variants, how, progress)
    elif request.by_stream:
        _color_stream(request, jobs[0].source if jobs else None, how)
    else:
        options = console.options_given(context, *_OF_MANY)
        _color_files(jobs, how, progress, options, json_lines=json_lines)


class _How(NamedTuple):
    """What is the same for each photo."""

    colorizer: "Colorizer"
    writing: "Writing"
    guide: "Callable[[Path], Guidance]"
    max_pixels: int


def _say_weights(checkpoint: str | None, *, at_start: bool) -> None:
    """A line before all that takes time to load; on a pipe only once nothing was refused."""
    from flowercolor.checkpoint import missing_in_run
    from flowercolor.runs import LAST, find_checkpoint, name_of

    if ranks().leads and at_start == sys.stderr.isatty():
        path = find_checkpoint(checkpoint)
        name, missing = name_of(path), missing_in_run(path)
        which = "last weights" if path.name == LAST else "weights"
        of_run = f"Using the {which} of {name}" + (f": {missing}." if missing else ".")
        console.say("Using the bundled weights." if name == "bundled" else of_run)


@contextmanager
def _not_fitting(photo: Path | str) -> Iterator[None]:
    """Have a place outside of a photo be an error of that photo, as it is one among several."""
    try:
        yield
    except SettingError as error:
        raise ImageError(f"{photo}: {error}") from error


def _write_sheet(job: "Job", sheet: Path, variants: int, how: _How, progress: "Progress") -> None:
    """Write the sheet of a photo in several likely colors."""
    from flowercolor.files import is_there
    from flowercolor.inference import contact_sheet
    from flowercolor.inference.batch import remarks
    from flowercolor.inference.planning import colored_by_hand, target_is_free
    from flowercolor.inference.upsampling import without_grays
    from flowercolor.memory_budget import photo_memory_errors
    from flowercolor.photos.metadata import probe
    from flowercolor.photos.reader import read_photo
    from flowercolor.photos.writer import write_photo

    source = job.source
    if not job.header:  # missing, or no photo: no sheet that is there makes up for that
        read_photo(source, max_pixels=how.max_pixels)
    if is_there(sheet) and sheet.samefile(source):
        raise SettingError(f"{sheet}: is the photo itself; choose another output")
    if not target_is_free(sheet, progress, overwrite=how.writing.overwrite):
        return
    with photo_memory_errors(source), progress.task("Coloring"):
        photo = read_photo(source, max_pixels=how.max_pixels)
        if extreme := without_grays(photo.luma):
            raise ImageError(f"{source}: is {extreme}")
        if remark := remarks(photo):
            console.say(f"{source}: {remark}")
        guidance = how.guide(source)
        with _not_fitting(source):
            rgb = contact_sheet.variants(
                photo.luma, how.colorizer, variants, guidance, progress=progress
            )
        if lost := colored_by_hand(probe(sheet)):
            console.say(f"{sheet}: replaced what was {lost}")
        write_photo(
            sheet,
            rgb,
            overwrite=how.writing.overwrite,
            quality=how.writing.quality,
            subsampling=how.writing.subsampling,
        )
    console.print_result(str(sheet))


def _color_stream(request: Request, source: Path | None, how: _How) -> None:
    """Color the photo of a path, or without one that of standard input; its result is a stream."""
    from flowercolor.files import write_bytes
    from flowercolor.inference.batch import convert, remarks
    from flowercolor.inference.planning import colored_by_hand
    from flowercolor.memory_budget import max_file_bytes, photo_memory_errors
    from flowercolor.photos.metadata import probe
    from flowercolor.photos.reader import read_photo

    with photo_memory_errors(source or "the picture"):
        content = source or console.read_input(max_file_bytes(how.max_pixels) + 1)
        photo = read_photo(content, max_pixels=how.max_pixels)
        guidance = how.guide(source or Path("-"))
        with _not_fitting(source or "the picture"):
            colored = convert(
                photo, how.colorizer, request.stream_format, how.writing, guidance=guidance
            )
    if remark := remarks(photo):
        console.say(f"{source or 'The photo'}: {remark}")
    if request.path:
        if lost := colored_by_hand(probe(request.path), how.colorizer.software(guidance)):
            console.say(f"{request.path}: replaced what was {lost}")
        write_bytes(request.path, colored, overwrite=how.writing.overwrite)
        console.print_result(str(request.path))
    else:
        console.write_result(colored)


def _color_files(
    jobs: "list[Job]", how: _How, progress: "Progress", options: list[str], *, json_lines: bool
) -> None:
    """Color this process's share of the photos, and tell of each."""
    from flowercolor.inference.batch import run
    from flowercolor.inference.planning import shard_of

    mine = shard_of(jobs)
    summary = Summary(options, several=len(jobs) > 1)
    again = (
        "begins anew, for --overwrite is given"
        if how.writing.overwrite
        else "goes on with the rest"
    )
    with (
        console.process_group(),
        console.stop_on_interrupt("Stopping; Ctrl-C again to drop what is under way.") as stop,
        closing(
            run(
                mine,
                how.colorizer,
                how.writing,
                progress,
                among=jobs,
                should_stop=stop,
                guide=how.guide,
                max_pixels=how.max_pixels,
            )
        ) as outcomes,
    ):
        try:
            for outcome in outcomes:
                summary.add(outcome)
                if json_lines:
                    record = outcome.record() | {"message": with_options(outcome.message)}
                    console.print_result(json.dumps(record))
                elif outcome.status == "done":
                    console.print_result(str(outcome.job.target))
        except BrokenPipeError:
            if summary.count.total() < len(mine):
                console.say(f"Stopped: nobody reads standard output; the same command {again}.")
            raise
    stopped = stop() and summary.count.total() < len(mine)
    summary.say(f"Stopped; the same command {again}." if stopped else "")
    if stopped:
        raise typer.Exit(stop.exit_code)
    if summary.count["failed"]:
        raise typer.Exit(console.EXIT_FAILED)
