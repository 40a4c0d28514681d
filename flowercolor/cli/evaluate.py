"""`flowercolor eval`."""

from pathlib import Path
from typing import Annotated

import typer

from flowercolor.cli.console import RichProgress, command, print_result, say
from flowercolor.config import DeviceName

__all__ = ["evaluate"]


@command
def evaluate(
    results: Annotated[
        Path,
        typer.Option(help="Folder to write the pictures, the scores and the graphs into."),
    ] = Path("results"),
    checkpoint: Annotated[
        str | None,
        typer.Option(
            help="What to judge: bundled, a run's name, or a path. "
            "[dim]\\[default: the newest run, else bundled][/dim]",
            metavar="CHECKPOINT",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Archive or folder whose test split to use. "
            "[dim]\\[default: what the run learned from, else the downloaded archive][/dim]",
            metavar="PATH",
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(help="Photos per step; changes the speed, not the scores.", min=1)
    ] = 1,
    device: Annotated[
        DeviceName, typer.Option(help="Where to compute; auto takes a GPU where there is one.")
    ] = "auto",
) -> None:
    """Score a checkpoint on the test split, and write every test picture.

    The score is the mean over the test photos of the L1 between generated and true picture,
    RGB in 0 to 1 at the training size.
    """
    from rich.console import Console
    from rich.table import Table

    from flowercolor.checkpoint import find_checkpoint, load_generator
    from flowercolor.dataset import get_data
    from flowercolor.devices import pick_device
    from flowercolor.download import download_archive
    from flowercolor.evaluation import write_results
    from flowercolor.plots import plot_losses
    from flowercolor.training import LOSSES, read_metrics, read_source

    progress = RichProgress()
    path = find_checkpoint(checkpoint)
    generator, info = load_generator(path, pick_device(device))
    say(f"Judging {path}")
    source = data or read_source(path.parent) or download_archive(progress=progress).path
    _, test_set = get_data(source, info.config.size_px, progress)
    scores = write_results(
        generator,
        test_set,
        results,
        about={
            "checkpoint": str(path),
            "epoch": info.epoch,
            "data": str(source),
            "size_px": info.config.size_px,
        },
        batch_size=batch_size,
        progress=progress,
    )
    rows = read_metrics(path.parent)
    if rows:
        plot_losses(rows, results / LOSSES)
    else:
        say("No graph of the losses: this checkpoint does not lie in the folder of a run.")

    table = Table(title=f"{len(scores.names):,} test photos at {info.config.size_px} px")
    table.add_column("")
    table.add_column("L1, mean", justify="right")
    table.add_column("median", justify="right")
    table.add_column("worst", justify="right")
    for name, l1 in (("generated", scores.l1), ("grey photo", scores.grey_l1)):
        figures = (l1.double().mean(), l1.median(), l1.max())
        table.add_row(name, *(f"{figure.item():.4f}" for figure in figures))
    Console().print(table)
    print_result(str(results / "scores.json"))
