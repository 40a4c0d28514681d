"""`flowercolor train`."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from flowercolor import paths
from flowercolor.cli.console import (
    EXIT_INTERRUPTED,
    Device,
    command,
    command_line,
    print_result,
    progress_of_leader,
    say,
    stop_on_interrupt,
)
from flowercolor.config import (
    Criterion,
    Encoder,
    LrDecay,
    NetworkConfig,
    Output,
    Precision,
    TrainConfig,
)
from flowercolor.files import storage_errors
from flowercolor.torchrun import ranks

_DESIGN = TrainConfig()

Config = TypeVar("Config", NetworkConfig, TrainConfig)


def _option(default: object, text: str, metavar: str) -> Any:
    # The options default to None, "not given": a resumed run keeps what it was started with.
    return typer.Option(help=f"{text} [dim]\\[default: {default}][/dim]", metavar=metavar)


@command
def train(
    data: Annotated[
        Path | None,
        typer.Option(
            help="Learn from this archive (.tgz) or folder of photos instead of the Oxford 102 "
            "flowers, which are downloaded where missing.",
            metavar="PATH",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Settings in place of the defaults below, which single options still change: "
            "faithful (the design), chroma (two color differences, L1 alone), pretrained (the "
            "same on an encoder that has learned from ImageNet, the lowest error), "
            "vivid (a short run to --start-from a chroma run, for livelier colors). "
            "[dim]\\[default: faithful][/dim]",
            metavar="NAME",
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        _option(_DESIGN.epochs, "Passes over the photos; more learn more, ever slower.", "N"),
    ] = None,
    batch_size: Annotated[
        int | None,
        _option(
            _DESIGN.batch_size,
            "Photos per step; larger is smoother and needs more memory.",
            "N",
        ),
    ] = None,
    lr: Annotated[
        float | None,
        _option(_DESIGN.lr, "Learning rate; higher is faster, too high never settles.", "RATE"),
    ] = None,
    lr_decay: Annotated[
        LrDecay | None,
        _option(
            _DESIGN.lr_decay,
            "cosine lets the learning rate fall to 0 over the run, along half a wave: smaller "
            "steps settle lower.",
            "none|cosine",
        ),
    ] = None,
    lambda_l1: Annotated[
        float | None,
        _option(
            _DESIGN.lambda_l1,
            "Weight of being close to the true colors; higher is safer and duller.",
            "WEIGHT",
        ),
    ] = None,
    lambda_adv: Annotated[
        float | None,
        _option(
            _DESIGN.lambda_adv,
            "Weight of fooling the discriminator; higher is livelier, 0 leaves it out.",
            "WEIGHT",
        ),
    ] = None,
    lambda_color: Annotated[
        float | None,
        _option(
            _DESIGN.lambda_color,
            "Weight of being as colorful as the true photo; higher is livelier, with no "
            "discriminator needed.",
            "WEIGHT",
        ),
    ] = None,
    lambda_class: Annotated[
        float | None,
        _option(
            _DESIGN.lambda_class,
            "Weight of telling the flower's class beside its colors, which helps to color; "
            "needs --labels.",
            "WEIGHT",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="CSV table with the columns file and class, for --lambda-class.",
            metavar="PATH",
        ),
    ] = None,
    size: Annotated[
        int | None,
        _option(
            _DESIGN.size_px,
            "Side of the training pictures in pixels, a multiple of 16; larger sees finer "
            "things and costs its square.",
            "PX",
        ),
    ] = None,
    base_channels: Annotated[
        int | None,
        _option(
            _DESIGN.network.base_channels,
            "Width of the network; half of it is four times faster and somewhat worse.",
            "N",
        ),
    ] = None,
    output: Annotated[
        Output | None,
        _option(
            _DESIGN.network.output,
            "What the network predicts: the three colors, or two color differences on the "
            "photo's own luma, which is steadier.",
            "rgb|chroma",
        ),
    ] = None,
    encoder: Annotated[
        Encoder | None,
        _option(
            _DESIGN.network.encoder,
            "The network's way down: the design's, or EfficientNet-Lite0, which has learned from "
            "ImageNet before; needs the extra flowercolor\\[pretrained].",
            "plain|efficientnet-lite0",
        ),
    ] = None,
    freeze_deep: Annotated[
        bool | None,
        typer.Option(
            "--freeze-deep/--no-freeze-deep",
            help="Train only the finer levels of the way up: faster, and `flowercolor join` makes "
            "a smaller file of both networks. [dim]\\[default: no-freeze-deep][/dim]",
        ),
    ] = None,
    flip: Annotated[
        bool | None,
        typer.Option(
            "--flip/--no-flip",
            help="Mirror half of the photos at random, so that few photos go further. "
            "[dim]\\[default: no-flip][/dim]",
        ),
    ] = None,
    crop: Annotated[
        float | None,
        _option(
            _DESIGN.crop,
            "Show another crop of a photo in each epoch, of at least this share of its area; "
            "1 shows it whole.",
            "SHARE",
        ),
    ] = None,
    degrade: Annotated[
        float | None,
        _option(
            _DESIGN.degrade,
            "Show this share of the photos, 0 to 1, to the generator as old ones: grainy, "
            "faded, soft, on another film. What it learns then colors such photos too.",
            "SHARE",
        ),
    ] = None,
    ema: Annotated[
        float | None,
        _option(
            _DESIGN.ema,
            "Test and save a running average of the generator's weights, which is steadier: "
            "0.998 averages over some 1 / (1 - 0.998) = 500 steps; 0 keeps none.",
            "DECAY",
        ),
    ] = None,
    criterion: Annotated[
        Criterion | None,
        _option(
            _DESIGN.criterion,
            "What the best epoch is chosen by: the test L1, which likes dull colors, or the sum "
            "of it and a thousandth of the distance in colorfulness from the true photos.",
            "l1|vivid",
        ),
    ] = None,
    patience: Annotated[
        int | None,
        _option(
            _DESIGN.patience,
            "Stop after so many epochs without a new best; 0 never does.",
            "EPOCHS",
        ),
    ] = None,
    validation: Annotated[
        bool | None,
        typer.Option(
            "--validation/--no-validation",
            help="Test on a twentieth of the training photos, kept apart, and leave the test "
            "photos alone: for choosing settings. [dim]\\[default: no-validation][/dim]",
        ),
    ] = None,
    twins: Annotated[
        Path | None,
        typer.Option(
            help="Leave out the training photos that have a twin in the test split. The file "
            "names a pair on each line, with a tab between the two.",
            metavar="PATH",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        _option(_DESIGN.seed, "Seed of the first weights and of the order of the photos.", "N"),
    ] = None,
    device: Device = "auto",
    precision: Annotated[
        Precision,
        typer.Option(help="auto uses bf16 where the device is made for it: faster, as good."),
    ] = "auto",
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Compile the networks first: takes half a minute on a GPU, minutes on a CPU, and "
            "a C++ compiler, and makes long runs on a GPU faster.",
        ),
    ] = False,
    tensorboard: Annotated[
        bool,
        typer.Option(
            "--tensorboard",
            help="Also write for TensorBoard, into the run's folder; needs the extra "
            "flowercolor\\[tensorboard].",
        ),
    ] = False,
    test_batch_size: Annotated[
        int | None,
        _option(
            _DESIGN.test_batch_size,
            "Photos per step when testing; changes speed only. Give a GPU 64.",
            "N",
        ),
    ] = None,
    start_from: Annotated[
        str | None,
        typer.Option(
            help="Begin with the generator of this checkpoint (bundled, a run, a path) "
            "instead of random weights, and with a network like it; a larger --base-channels "
            "makes it wider.",
            metavar="CHECKPOINT",
        ),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            help="Go on with a run that was stopped: its name, its path, or last.",
            metavar="RUN",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The run's folder, instead of one named by the time in the data directory.",
            metavar="FOLDER",
        ),
    ] = None,
) -> None:
    """Train the U-Net against the discriminator.

    Leaves a run folder with the best and the last checkpoint, metrics.jsonl, the loss plot
    and a sheet of sample pictures per epoch. Ctrl-C saves; --resume goes on exactly there.
    Under torchrun, several processes or machines share every batch.
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

    config = replace(
        config,
        network=_changed(
            parent or config.network, base_channels=base_channels, output=output, encoder=encoder
        ),
    )
    config = _changed(
        config,
        epochs=epochs,
        batch_size=batch_size,
        test_batch_size=test_batch_size,
        lr=lr,
        lr_decay=lr_decay,
        lambda_l1=lambda_l1,
        lambda_adv=lambda_adv,
        lambda_color=lambda_color,
        lambda_class=lambda_class,
        freeze_deep=freeze_deep,
        size_px=size,
        flip=flip,
        crop=crop,
        degrade=degrade,
        ema=ema,
        criterion=criterion,
        patience=patience,
        validation=validation,
        seed=seed,
    )
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


def _changed(config: Config, **given: Any) -> Config:
    """The settings with those that were given on the command line."""
    return replace(config, **{key: value for key, value in given.items() if value is not None})


def _short(run: Path) -> str:
    """The run's name where that is enough to find it, else its path."""
    return run.name if run.parent == paths.runs_dir() else str(run)


def _score(l1: float | None) -> str:
    return "unknown" if l1 is None else f"{l1:.4f}"
