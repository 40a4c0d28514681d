"""`flowercolor train`."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from flowercolor import paths
from flowercolor.cli.console import (
    EXIT_INTERRUPTED,
    command,
    command_line,
    print_result,
    progress_of_leader,
    say,
    stop_on_interrupt,
)
from flowercolor.cli.settings import option, with_settings
from flowercolor.config import DeviceName, Precision
from flowercolor.files import storage_errors
from flowercolor.torchrun import ranks


@command
@with_settings
def train(
    data: Annotated[
        Path | None,
        option(
            "data",
            "Learn from this archive (.tgz) or folder of photos instead of the Oxford 102 flowers, "
            "which are downloaded where missing.",
            "PATH",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        option("data", "CSV table with the columns file and class, for --lambda-class.", "PATH"),
    ] = None,
    twins: Annotated[
        Path | None,
        option(
            "data",
            "Leave out the training photos that have a near copy in the test split; a text file "
            "of two names a line, a tab between them.",
            "PATH",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        option(
            "schedule",
            "Settings in place of the defaults here, which single options still change: faithful "
            "(the design), chroma (two color differences, L1 alone), pretrained (the same on an "
            "encoder from ImageNet, the lowest error), vivid (a short run to --start-from a "
            "chroma run, for livelier colors). [dim]\\[default: faithful][/dim]",
            "NAME",
        ),
    ] = None,
    start_from: Annotated[
        str | None,
        option(
            "run",
            "Begin with the generator of this checkpoint (bundled, a run, a path) instead of "
            "random weights, and with a network like it; a larger --base-channels makes it wider.",
            "CHECKPOINT",
        ),
    ] = None,
    resume: Annotated[
        str | None,
        option("run", "Go on with a run that was stopped: its name, its path, or last.", "RUN"),
    ] = None,
    out: Annotated[
        Path | None,
        option(
            "run",
            "The run's folder, instead of one named by the time in the data directory.",
            "FOLDER",
        ),
    ] = None,
    device: Annotated[
        DeviceName,
        option("run", "Where to compute: auto (a GPU where there is one), cpu, cuda, mps.", "NAME"),
    ] = "auto",
    precision: Annotated[
        Precision,
        option(
            "run",
            "auto, float32 or bf16; auto takes bf16 where the device is made for it: faster, as "
            "good.",
            "NAME",
        ),
    ] = "auto",
    compiled: Annotated[
        bool,
        option(
            "run",
            "Compile the networks first: takes half a minute on a GPU, minutes on a CPU, and a C++ "
            "compiler, and makes long runs on a GPU faster.",
            None,
            "--compile",
        ),
    ] = False,
    tensorboard: Annotated[
        bool,
        option(
            "run",
            "Also write for TensorBoard, into the run's folder; needs the extra "
            "flowercolor\\[tensorboard].",
            None,
            "--tensorboard",
        ),
    ] = False,
    **given: Any,
) -> None:
    """Train the U-Net against the discriminator.

    Leaves a run folder with the best and the last checkpoint, metrics.jsonl,
    the loss plot and a sheet of sample pictures per epoch. Ctrl-C saves, and
    --resume goes on exactly there. Under torchrun, several processes or
    machines share every batch.
    """
    from flowercolor.checkpoint import read_info
    from flowercolor.config import CONTINUING
    from flowercolor.config import recipe as named_recipe
    from flowercolor.data.dataset import get_data, split_validation, with_twins
    from flowercolor.data.oxford102 import download_archive
    from flowercolor.devices import pick_device
    from flowercolor.distributed import from_leader, in_turn, joined
    from flowercolor.errors import DataError, SettingError
    from flowercolor.runs import BEST, CONFIG, LAST, find_checkpoint, find_run, find_source
    from flowercolor.training.loop import check_beginning, check_folder, check_labels
    from flowercolor.training.loop import train as run_training

    place = ranks()
    progress = progress_of_leader()
    config = named_recipe("faithful" if recipe is None else recipe)
    left_out: list[str] = []
    run = out
    if resume is not None:
        if any(given is not None for given in (out, start_from, recipe)):
            raise SettingError(
                "--resume goes on in the run's own folder, with its own settings; leave out "
                "--out, --start-from and --recipe"
            )
        run = find_run(resume)
        info = read_info(run / LAST)
        config, left_out = info.config, info.data.get("left_out", [])
        data = data or find_source(run)
        if not data and (name := info.data.get("name")) != paths.ARCHIVE_NAME:
            raise DataError(
                f"{run}: learned from {name}, and no {CONFIG} there says where that is; say so by "
                "--data"
            )
        labels = labels or find_source(run, "labels")
    elif out:
        check_folder(out, data)
    origin = None if start_from is None else find_checkpoint(start_from)
    if recipe in CONTINUING and not origin and place.leads:
        say(
            f"WARNING: the recipe {recipe} is a short one to go on with from a trained network; "
            "without --start-from it begins with random weights"
        )
    parent = read_info(origin).config.network if origin else None

    if parent:
        config = replace(config, network=parent)
    config = config.changed(**{name: value for name, value in given.items() if value is not None})
    check_labels(config, labels)
    if resume is None:
        check_beginning(config, origin)
    with joined(pick_device(device)):
        with in_turn():
            source = data or download_archive(progress=progress).path
            train_set, test_set = get_data(source, config.size_px, progress)
        if twins:
            left_out = with_twins(twins, train_set, test_set)
        train_set = train_set.without(left_out)
        if config.validation:
            train_set, test_set = split_validation(train_set)
        run = run or Path(from_leader(lambda: str(_new_run())))
        if place.leads:
            say(
                f"{len(train_set):,} photos to learn from, {len(test_set):,} to test on; "
                f"run folder {run}"
            )
        with stop_on_interrupt("Stopping and saving; Ctrl-C again to drop it.") as stop:
            result = run_training(
                config,
                train_set,
                test_set,
                run,
                resume=resume is not None,
                start_from=origin,
                left_out=left_out,
                labels=labels,
                device=device,
                precision=precision,
                compiled=compiled,
                tensorboard=tensorboard,
                progress=progress,
                should_stop=stop,
            )
    if not place.leads:
        raise typer.Exit(0 if result.finished else EXIT_INTERRUPTED)
    if not result.finished:
        say(f"Stopped in epoch {result.epoch + 1} of {config.epochs}; saved. Go on with:")
        # What the run's folder does not bring back.
        how = [] if device == "auto" else ["--device", device]
        how += [] if precision == "auto" else ["--precision", precision]
        how += ["--compile"] * compiled + ["--tensorboard"] * tensorboard
        print_result(command_line("flowercolor", "train", "--resume", _short(run), *how))
        raise typer.Exit(EXIT_INTERRUPTED)
    unit = "epoch" if result.epoch == 1 else "epochs"
    say(
        f"{result.epoch} {unit} done. Test L1 {_score(result.test_l1)} at the end, "
        f"{_score(result.best_l1)} at its best ({run / BEST}). Use the result with:"
    )
    colorize = ("flowercolor", "colorize", "photo.jpg", "--checkpoint")
    print_result(command_line(*colorize, _short(run), "-o", "colored.jpg"))


def _new_run() -> Path:
    """A new folder named by the time, and by a number where another run began this second."""
    first = run = paths.runs_dir() / datetime.now().strftime("%Y-%m-%d-%H%M%S")
    number = 1
    with storage_errors(first):
        first.parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                run.mkdir()
                return run
            except FileExistsError:
                number += 1
                run = first.with_name(f"{first.name}-{number}")


def _short(run: Path) -> str:
    """The run's name where that is enough to find it, else its path."""
    return run.name if run.parent == paths.runs_dir() else str(run)


def _score(l1: float | None) -> str:
    return "unknown" if l1 is None else f"{l1:.4f}"
