"""`flowercolor colorize`."""

import json
import os
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flowercolor.cli.console import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    Device,
    command,
    print_result,
    progress_of_leader,
    say,
    stop_on_interrupt,
    write_result,
)
from flowercolor.ranks import ranks, share

if TYPE_CHECKING:
    from flowercolor.batch import Job
    from flowercolor.colorizer import Colorizer

__all__ = ["colorize"]

Format = Literal["jpg", "png", "tif", "webp", "bmp", "avif"]
Subsampling = Literal["4:4:4", "4:2:2", "4:2:0"]


@command
def colorize(
    photos: Annotated[
        list[str],
        typer.Argument(
            help="Photos, folders, or patterns such as '*.jpg'; - reads standard input.",
            metavar="PHOTO…",
            show_default=False,
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
    checkpoint: Annotated[
        str | None,
        typer.Option(
            help="Weights to use: bundled, a run's name, or a path. "
            "[dim]\\[default: the newest run, else bundled][/dim]",
            metavar="CHECKPOINT",
        ),
    ] = None,
    strength: Annotated[
        float, typer.Option(help="Strength of the colours, 0 to 1.5.", min=0, max=1.5)
    ] = 1.0,
    vividness: Annotated[
        float | None,
        typer.Option(
            help="From 0, the safest guess, to 1, the liveliest colours, which are more often "
            "others than the true ones. [dim]\\[default: as the weights say][/dim]",
            min=0,
            max=1,
            metavar="SHARE",
            show_default=False,
        ),
    ] = None,
    render_size: Annotated[
        int | None,
        typer.Option(
            help="The network sees the photo at this many pixels squared; smaller sees more "
            "of the whole, larger sees finer things. The output keeps the photo's own size.",
            min=16,
            metavar="PX",
            show_default=False,
        ),
    ] = None,
    variants: Annotated[
        int | None,
        typer.Option(
            help="Write a sheet of this many renderings of one photo to choose from, each "
            "labelled with the option that gives it.",
            min=2,
            max=12,
            metavar="N",
            show_default=False,
        ),
    ] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Look into the folders of folders.")
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite/--skip-existing",
            help="Replace outputs that are there already, or skip their photos.",
        ),
    ] = False,
    skip_colored: Annotated[
        bool, typer.Option("--skip-colored", help="Leave photos alone that are in colour.")
    ] = False,
    file_format: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="Format of the outputs. "
            "[dim]\\[default: the ending of -o, else the photo's own][/dim]",
        ),
    ] = None,
    quality: Annotated[
        int, typer.Option(help="Quality of JPEG, WebP and AVIF.", min=1, max=100)
    ] = 95,
    subsampling: Annotated[
        Subsampling, typer.Option(help="How finely JPEG and AVIF keep the colour.")
    ] = "4:4:4",
    device: Device = "auto",
    json_lines: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON for each photo.")
    ] = False,
) -> None:
    """Colour photos, at their own size and with their own luma, pixel for pixel.

    A photo that is there already in colour is skipped, so an interrupted batch goes on where
    it stopped. Inputs are never overwritten. The exit code is 1 if any photo failed. Under
    torchrun, several processes or machines share the photos.
    """
    import torch

    from flowercolor.batch import Writing, convert, plan, run
    from flowercolor.checkpoint import find_checkpoint, read_info
    from flowercolor.colorizer import RENDER_SIZE_PX, Colorizer
    from flowercolor.distributed import ending_together, joined
    from flowercolor.errors import SettingError
    from flowercolor.files import is_folder, is_there, write_bytes
    from flowercolor.images import WRITABLE, output_format

    place = ranks()
    progress = progress_of_leader()
    writing = Writing(quality, subsampling, overwrite=overwrite, skip_colored=skip_colored)
    ending = f".{file_format}" if file_format else None
    if "" in photos or output == "":
        raise SettingError(
            f"{'-o' if output == '' else 'PHOTO'}: an empty name; expected a file or a folder "
            "(the one you are in is called .)"
        )
    from_stdin = photos == ["-"]
    if "-" in photos and not from_stdin:
        raise SettingError("- (standard input) goes alone; leave out the other photos")
    if output == "-" and (len(photos) > 1 or is_folder(photos[0])):
        raise SettingError("-o - (standard output) takes one photo; give a folder for several")
    target = Path(output) if output not in (None, "-") else None
    if target and ending and not is_folder(target):
        meant = WRITABLE.get(target.suffix.lower())
        if meant not in (None, WRITABLE[ending]):
            raise SettingError(
                f"-o {target}: is no {file_format}; leave out --format, or rename it"
            )
    to_bytes = from_stdin or output == "-"
    if to_bytes and variants is not None:
        raise SettingError("--variants takes a photo by its path and writes a file; leave out -")
    if to_bytes and (skip_colored or json_lines):
        option = "--skip-colored" if skip_colored else "--json"
        raise SettingError(f"{option} is for photos by their paths, into files; leave out - or it")
    if variants is not None and render_size:
        raise SettingError(
            "--variants shows several working sizes; leave out --render-size, or --variants"
        )
    if variants is not None and (json_lines or skip_colored or file_format):
        raise SettingError(
            "--variants writes one sheet; leave out --json, --skip-colored and --format, or it"
        )
    jobs = [] if to_bytes else plan(photos, target, recursive=recursive, ending=ending)
    if to_bytes and target and is_folder(target):
        raise SettingError(
            f"-o {target}: is a folder; name a file for what comes by standard input"
        )
    if (to_bytes or variants is not None) and not place.leads:
        return  # one result, which the leader makes
    if from_stdin and target and _is_stdin(target):
        raise SettingError(f"-o {target}: is the photo itself; choose another output")
    if to_bytes and target and is_there(target) and not overwrite:
        say(f"Skipped: {target} is there already")
        return
    named = Path(f"photo{ending}") if ending else target
    wanted = output_format(named) if to_bytes and named else None
    if not (to_bytes or jobs):
        raise SettingError(f"{', '.join(photos)}: no pictures there; --recursive looks deeper")

    def colorizer_at(vividness: float | None) -> Colorizer:
        return Colorizer.from_checkpoint(
            checkpoint,
            vividness=vividness,
            render_size_px=render_size or RENDER_SIZE_PX,
            strength=strength,
            device=device,
            progress=progress,
        )

    colorizer = colorizer_at(vividness)
    if place.leads:
        say(f"Using the weights of {colorizer.name}.")

    if to_bytes:
        source = sys.stdin.buffer.read() if from_stdin else Path(photos[0])
        colored = convert(source, colorizer, wanted, writing)
        if target:
            write_bytes(target, colored)
        else:
            write_result(colored)
        return

    if variants is not None:
        sheet = jobs[0].target
        if sheet != target:  # which names no file of its own
            sheet = sheet.with_name(f"{jobs[0].source.stem}.variants.png")
        fixed = [] if vividness is None else [f"--vividness {vividness:g}"]
        fixed += [] if strength == 1 else [f"--strength {strength:g}"]
        colorizers = {" ".join(fixed): colorizer}
        if vividness is None and read_info(find_checkpoint(checkpoint)).vividness is not None:
            stops = (0, 0.5, 1) if variants > 2 else (0, 1)
            colorizers = {
                " ".join([f"--vividness {stop}", *fixed]): colorizer_at(stop) for stop in stops
            }
        _write_sheet(jobs, sheet, variants, colorizers, overwrite=overwrite)
        return

    mine = _shared(jobs)
    count: Counter[str] = Counter()
    with (
        joined(torch.device("cpu")),
        ending_together(),
        stop_on_interrupt("Stopping; Ctrl-C again to drop what is under way.") as stop,
        closing(run(mine, colorizer, writing, progress, among=jobs, should_stop=stop)) as outcomes,
    ):
        for outcome in outcomes:
            count[outcome.status] += 1
            if outcome.status == "failed":
                say(f"Failed: {outcome.message}")
            elif outcome.status == "skipped":
                say(f"Skipped: {outcome.message}")
            elif outcome.message:
                say(f"{outcome.job.source}: {outcome.message}")
            if json_lines:
                print_result(
                    json.dumps(
                        {
                            "source": str(outcome.job.source),
                            "target": str(outcome.job.target),
                            "status": outcome.status,
                            "message": outcome.message,
                            "width_px": outcome.width_px,
                            "height_px": outcome.height_px,
                        }
                    )
                )
            elif outcome.status == "done":
                print_result(str(outcome.job.target))
    stopped = stop() and count.total() < len(mine)
    if stopped:
        again = "begins anew, for --overwrite is given" if overwrite else "goes on with the rest"
        say(f"Stopped; the same command {again}.")
    if len(jobs) > 1:
        who = f"Process {place.rank + 1} of {place.size}: " if place.size > 1 else ""
        say(f"{who}{count['done']} done, {count['skipped']} skipped, {count['failed']} failed.")
    if stopped:
        raise typer.Exit(EXIT_INTERRUPTED)
    if count["failed"]:
        raise typer.Exit(EXIT_FAILED)


def _is_stdin(path: Path) -> bool:
    """Whether standard input is read from this file."""
    try:
        return os.path.samestat(os.fstat(sys.stdin.fileno()), path.stat())
    except (OSError, ValueError):  # there is no such file, or none behind standard input
        return False


def _shared(jobs: "list[Job]") -> "list[Job]":
    """This process's share of the jobs.

    Another process may have written results already that a pattern finds as photos here. The
    leader alone has those, so that the rest is the same list in all.
    """
    if ranks().size == 1:
        return jobs
    results = {job.target for job in jobs}
    photos = [job for job in jobs if job.source not in results]
    found = [job for job in jobs if job.source in results]
    return [*share(photos), *(found if ranks().leads else ())]


def _write_sheet(
    jobs: "list[Job]",
    sheet: Path,
    count: int,
    colorizers: "Mapping[str, Colorizer]",
    *,
    overwrite: bool,
) -> None:
    from flowercolor.errors import SettingError
    from flowercolor.images import read_photo, write_photo
    from flowercolor.variants import variants

    if len(jobs) != 1:
        raise SettingError(f"--variants shows one photo; {len(jobs)} were given")
    source = jobs[0].source
    if sheet.exists() and sheet.samefile(source):
        raise SettingError(f"{sheet}: is the photo itself; choose another output")
    if sheet.exists() and not overwrite:
        say(f"Skipped: {sheet} is there already")
        return
    write_photo(sheet, variants(read_photo(source).luma, colorizers, count))
    print_result(str(sheet))
