"""`flowercolor train`, with an option for each setting that `config` describes."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowercolor.cli import console
from flowercolor.cli.console import command
from flowercolor.config import (
    MAX_MEGAPIXELS,
    PANELS,
    DeviceName,
    Precision,
    Setting,
    TrainConfig,
    settings,
)
from flowercolor.errors import SettingError, counted
from flowercolor.runs import BEST, LAST, runs_place
from flowercolor.torchrun import ranks

if TYPE_CHECKING:
    from flowercolor.training.loop import TrainResult


def option(
    panel: str, text: str, metavar: str | None = None, *names: str, least: int | None = None
) -> Any:
    """An option of `train` in one of the groups that its help shows."""
    group = panel.capitalize()
    return typer.Option(*names, help=text, metavar=metavar, min=least, rich_help_panel=group)


def _with_settings(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each setting, in the place of its last parameter, `**given`.

    They default to None, "not given": a resumed run keeps what it was started with.
    """
    signature = inspect.signature(function)
    *own, _given = signature.parameters.values()
    made = [
        inspect.Parameter(
            setting.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[setting.kind | None, _option_of(setting)],
        )
        for setting in settings()
    ]
    panels = [panel.capitalize() for panel in PANELS]

    def place(parameter: inspect.Parameter) -> int:
        return panels.index(parameter.annotation.__metadata__[0].rich_help_panel)

    keywords = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own]
    # Typer shows the groups in the order in which it meets them.
    ordered = sorted([*keywords, *made], key=place)
    function.__signature__ = signature.replace(parameters=ordered)  # type: ignore[attr-defined]
    return function


def _option_of(setting: Setting) -> Any:
    name, default = setting.option, setting.default
    if setting.kind is bool:
        off = name.replace("--", "--no-", 1)
        name, default = f"{name}/{off}", name if default else off
    elif setting.kind is float:
        default = f"{default:g}"
    text = setting.help.replace("[", "\\[")  # which Rich would take for its own
    text = f"{text} [dim]\\[default: {default}][/dim]"
    return option(setting.panel, text, setting.metavar or None, name)


@command
@_with_settings
def train(
    data: Annotated[
        list[str] | None,
        option(
            "data",
            "Learn from this archive (tar) or folder instead of the Oxford 102 flowers, which are "
            "downloaded where missing. May be repeated (oxford102 for those); PATH:0.3 lets that "
            "share of an epoch's photos come from it.",
            "PATH",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        option(
            "data",
            "CSV table with the columns file and class, for --lambda-class; may leave photos out.",
            "PATH",
        ),
    ] = None,
    by: Annotated[
        Path | None,
        option(
            "data",
            "CSV table with the columns file and kind: score each kind apart.",
            "PATH",
        ),
    ] = None,
    twins: Annotated[
        Path | None,
        option(
            "data",
            "Leave out training photos with a near copy in the test split; a text file of two "
            "names a line, a tab between them.",
            "PATH",
        ),
    ] = None,
    max_megapixels: Annotated[
        int, option("run", "Leave out larger photos.", "N", least=1)
    ] = MAX_MEGAPIXELS,
    recipe: Annotated[
        str | None,
        option(
            "schedule",
            "Other defaults: faithful (the design), chroma (two color differences, L1 alone), "
            "pretrained (an encoder from ImageNet, the lowest error), hints (a branch for them) "
            "and vivid (livelier), both to --start-from a run. [dim]\\[default: faithful][/dim]",
            "NAME",
        ),
    ] = None,
    start_from: Annotated[
        str | None,
        option(
            "run",
            "Begin with the generator of this checkpoint (bundled, a run, a path), and a network "
            "like it.",
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
        option("run", "auto (a GPU if any), cpu, cuda or mps.", "NAME"),
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
            "Compile the networks first, in a minute or more and with a C++ compiler; makes long "
            "runs on a GPU faster.",
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
    """Teach a network to color gray photos, by showing it photos in color.

    flowercolor train --recipe pretrained                     the lowest error
    flowercolor train --recipe pretrained --data my-photos --start-from bundled
    flowercolor train --resume last                           go on after Ctrl-C (without --out)

    Leaves a run folder: checkpoints, metrics, a graph and sample pictures.
    """
    console.say_at_start("Loading torch, which takes some seconds.")
    from flowercolor.config import CONTINUING
    from flowercolor.data.sources import epoch_length, epoch_pools, parse_source
    from flowercolor.devices import pick_device
    from flowercolor.distributed import from_leader, joined
    from flowercolor.training.log import summary_writer
    from flowercolor.training.loop import train as run_training
    from flowercolor.training.run_plan import new_run_folder, plan_run, read_run_data

    console.check_output(out)
    if tensorboard:  # before the photos are read, which takes long
        summary_writer()
    place = ranks()
    progress = console.progress_of_leader()
    plan = plan_run(
        recipe_name=recipe,
        settings={name: value for name, value in given.items() if value is not None},
        out=out,
        start_from=start_from,
        resume=resume,
        sources=[parse_source(text) for text in data or ()],
        labels=labels,
        by=by,
    )
    if recipe in CONTINUING and not plan.start_from and place.leads:
        console.say(
            f"WARNING: the recipe {recipe} is a short one to go on with from a trained network; "
            "without --start-from it begins with random weights"
        )
    for note in plan.notes if place.leads else ():
        console.say(note)
    with joined(pick_device(device)):
        with console.quiet_libraries():
            train_set, test_set, left_out, shares = read_run_data(
                plan, twins, progress, max_pixels=max_megapixels * 1_000_000
            )
        run = plan.run or Path(from_leader(lambda: str(new_run_folder())))
        if place.leads:
            count = f"{counted(len(train_set), 'photo')} to learn from"
            if any(share is not None for share in shares):
                count += f", {epoch_length(train_set, epoch_pools(train_set, shares)):,} an epoch"
            use = "to validate on" if plan.config.validation else "to test on"
            console.say(f"{count}, {len(test_set):,} {use}; run folder {run}")
        with console.stop_on_interrupt("Stopping and saving; Ctrl-C again to drop it.") as stop:
            try:
                result = run_training(
                    plan.config,
                    train_set,
                    test_set,
                    run,
                    resume=plan.resume,
                    start_from=plan.start_from,
                    left_out=left_out,
                    labels=plan.labels,
                    shares=shares,
                    by=plan.by,
                    device=device,
                    precision=precision,
                    compiled=compiled,
                    tensorboard=tensorboard,
                    progress=progress,
                    should_stop=stop,
                )
            except SettingError:
                # Ctrl-C ends a compiler that runs, which looks as if there were none.
                if not stop():
                    raise
                if place.leads:
                    console.say("Interrupted before the first step: there was nothing to save.")
                raise typer.Exit(stop.exit_code) from None
    if not place.leads:
        raise typer.Exit(0 if result.finished else stop.exit_code)
    if not result.finished:
        console.say(
            f"Stopped in epoch {result.epoch + 1} of {plan.config.epochs}; saved. Go on with:"
        )
        # What the run's folder does not bring back.
        how = [] if device == "auto" else ["--device", device]
        how += [] if precision == "auto" else ["--precision", precision]
        if max_megapixels != MAX_MEGAPIXELS:
            how += ["--max-megapixels", str(max_megapixels)]
        how += ["--compile"] * compiled + ["--tensorboard"] * tensorboard
        console.print_result(
            console.command_line("flowercolor", "train", "--resume", _short(run), *how)
        )
        raise typer.Exit(stop.exit_code)
    console.say(closing(result, plan.config, recipe, len(train_set.sources)))
    colorize = ("flowercolor", "colorize", "photo.jpg", "--checkpoint")
    weights = str(run / LAST) if result.best_l1 is None else _short(run)
    console.print_result(console.command_line(*colorize, weights, "-o", "colored.jpg"))


def closing(
    result: "TrainResult", config: TrainConfig, recipe: str | None = None, sources: int = 1
) -> str:
    """What a finished run of these settings came to, and what to do with it."""
    from flowercolor.evaluation.scoring import TEST_HINTS

    network = config.network
    part = config.test_part.capitalize()
    shown = f" with {TEST_HINTS} hints a photo" if network.hints else ""
    epochs = counted(result.epoch, "epoch")
    done = f"{epochs} done"
    if result.was_finished:
        more = f"--epochs {2 * result.epoch}"
        if result.epoch < config.epochs:
            more = f"--patience {2 * config.patience}"
        done = f"Nothing was left to do after {epochs}: {more} makes the run longer"
    then = "Use the result with:"
    begun = result.start_l1 is not None
    l1, best = result.best_l1, f"{_score(result.best_l1)} at its best ({result.run / BEST}), "
    if l1 is None:
        l1, best = result.test_l1, ""
    if (l1 or 0) > (result.gray_l1 or 0):
        remedy = "train longer, or on more photos"
        if network.encoder == "plain" and not network.hints and (begun or recipe != "pretrained"):
            anew = "begin anew, without --start-from," if begun else "begin anew"
            remedy = f"train longer, on more photos, or {anew} with --recipe pretrained"
        if result.steps < 1 / (1 - config.ema) and not begun:
            made = counted(result.steps, "step")
            span = f"it made {made}, fewer than --ema {config.ema:g} averages over"
            remedy = f"{span}, and its first weights still count; give more --epochs"
        then = f"That is worse than gray: {remedy}. See it with:"
    began = ""
    if result.start_l1 is not None:
        began = f", {_score(result.start_l1)} for what it began with"
        # Of a run for livelier colors a higher L1 is the price, and says nothing.
        for_l1 = config.criterion == "l1" and not config.lambda_color
        if for_l1 and round(l1 or 0, 4) > round(result.start_l1, 4):
            remedy = "give a lower --lr, and more --epochs"
            if sources == 1:
                remedy += "; photos of one kind are learned beside many others, by a second --data"
            then = f"That is worse than what it began with: {remedy}. See it with:"
    return (
        f"{done}. {part} L1{shown} {_score(result.test_l1)} at the end, {best}"
        f"{_score(result.gray_l1)} for leaving the photos gray{began}. {then}"
    )


def _short(run: Path) -> str:
    """The run's name where that is enough to find it, else its path."""
    return run.name if run.parent == runs_place() else str(run)


def _score(l1: float | None) -> str:
    return "unknown" if l1 is None else f"{l1:.4f}"
