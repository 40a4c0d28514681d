"""`flowercolor models`, `join` and `export`: what is done with checkpoints."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowercolor.cli import console
from flowercolor.cli.console import Checkpoint, Vividness, command

if TYPE_CHECKING:
    from flowercolor.checkpoint import CheckpointInfo


@command
def models(
    json_lines: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON for each checkpoint.")
    ] = False,
) -> None:
    """List the checkpoints that there are: the bundled one and your own runs.

    The names are what --checkpoint takes. A score marked val. was measured on a part of the
    training photos; one marked safe end is that of --vividness 0. Runs elsewhere than in the
    data directory are used by their path and not listed.
    """
    console.check_stdout()
    from rich.table import Table
    from rich.text import Text

    from flowercolor.checkpoint import missing_in_run, read_info
    from flowercolor.errors import CheckpointError, printable
    from flowercolor.runs import find_checkpoint, list_runs, runs_in_words

    table = Table()
    table.add_column("name", overflow="fold")
    for column in ("trained", "best test L1", "network"):
        table.add_column(column)
    runs = ((run.name, str(run)) for run in list_runs())
    for name, spec in (("bundled", "bundled"), *runs):
        try:
            path = find_checkpoint(spec)
            info, missing = read_info(path), missing_in_run(path)
        except CheckpointError as error:
            console.say(f"Left out: {error}")
            continue
        if json_lines:
            console.print_result(json.dumps({"name": name, **_as_json(info)}))
        score = "; ".join(text for text in (_score(info), missing) if text)
        texts = (name, info.created[:10], score, _network(info))
        table.add_row(*(Text(printable(text)) for text in texts))
    if not json_lines:
        console.print_table(table)
    console.say(f"Looked for {runs_in_words()}; others are used by their path.")


def _as_json(info: "CheckpointInfo") -> dict[str, object]:
    return {
        "created": info.created,
        "epoch": info.epoch,
        "best_l1": info.best_l1,
        "size_px": info.config.size_px,
        "validation": info.config.validation,
        "vividness": info.vividness,
        "network": asdict(info.config.network),
        "data": dict(info.data),
        "note": info.note,
    }


def _score(info: "CheckpointInfo") -> str:
    if info.best_l1 is None:
        return ""
    score = f"{info.best_l1:.4f} at {info.config.size_px} px"
    score += ", val." if info.config.validation else ""
    return score + (", safe end" if info.vividness is not None else "")


def _network(info: "CheckpointInfo") -> str:
    network = info.config.network
    kind = f"{network.base_channels} {network.output}"
    kind += f", {network.encoder}" if network.encoder != "plain" else ""
    return kind + (", joined" if info.vividness is not None else "")


def _say_default(path: Path) -> None:
    from flowercolor.checkpoint import default_taken
    from flowercolor.runs import name_of

    if taken := default_taken(path):
        console.say(f"{name_of(path)} {taken}.")


@command
def join(
    safe: Annotated[
        str, typer.Argument(help="What --vividness 0 is to give: a run's name, or a path.")
    ],
    vivid: Annotated[
        str, typer.Argument(help="What --vividness 1 is to give; trained on from the same parent.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The checkpoint to write.", metavar="FILE")
    ],
    vividness: Annotated[
        float, typer.Option(help="The vividness that it has by default.", min=0, max=1)
    ] = 0.5,
    note: Annotated[str, typer.Option(help="What a reader of the file should know.")] = "",
    hints: Annotated[
        str | None,
        typer.Option(help="A run whose branch for hints serves both.", metavar="CHECKPOINT"),
    ] = None,
) -> None:
    """Join two checkpoints: `colorize --vividness` goes from one to the other.

    Both are stored in half precision, what they share once; between them all weights are
    interpolated.
    """
    console.check_output(output)
    from flowercolor import runs
    from flowercolor import vividness as joining

    ends = runs.find_checkpoint(safe), runs.find_checkpoint(vivid)
    branch = runs.find_checkpoint(hints) if hints is not None else None
    joining.join(*ends, output, vividness=vividness, note=note, hints=branch)
    for end in ends:
        _say_default(end)
    for not_kept in joining.notes_on_ends(*ends, branch):
        console.say(f"{not_kept}.")
    console.say_missing(*ends, *filter(None, [branch]))
    console.print_result(str(output))


@command
def export(
    target: Annotated[
        Path,
        typer.Argument(
            help="What to write: model.onnx; page.html, a page that colors photos in any browser; "
            "or another name, a folder of that page for a web server.",
            metavar="TARGET",
        ),
    ],
    checkpoint: Checkpoint = None,
    vividness: Vividness = None,
) -> None:
    """Write a generator as one file that stands alone: ONNX, or a page that colors photos.

    The page works from disk and without a network. ONNX, for other programs, is checked against
    torch before it is kept; its metadata say what goes in and out.
    """
    console.check_output(target)
    from flowercolor.runs import find_checkpoint, name_of

    path = find_checkpoint(checkpoint)
    if target.suffix.lower() == ".onnx":
        console.say_at_start("Loading torch, which takes some seconds.")
        from flowercolor.inference.export import export_onnx

        export_onnx(path, target, vividness=vividness)
        if vividness is None:
            _say_default(path)
        written, use = "the network", "its metadata say what goes in and out"
    else:
        from flowercolor.page.build import export_page

        export_page(path, target, vividness=vividness)
        written, use = "the page", "put the folder on a web server; from disk it does not open"
        if target.suffix:
            use = "open it in a browser, also without a network, and pass it on as it is"
    files = [target, *target.rglob("*")]
    size_mb = sum(file.stat().st_size for file in files if file.is_file()) / 1e6
    console.say(f"Wrote {written} with the weights of {name_of(path)}, {size_mb:.1f} MB: {use}.")
    console.say_missing(path)
    console.print_result(str(target))
