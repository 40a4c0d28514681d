"""`flowercolor models`."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from flowercolor.cli.console import command, print_result, print_table, say


@command
def models(
    json_lines: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON for each checkpoint.")
    ] = False,
) -> None:
    """List the checkpoints that there are: the bundled one and your own runs.

    The names are what --checkpoint takes. A score marked val. was measured on a part of the
    training photos, that of a dial is its safe end's. Runs elsewhere than in the
    data directory are used by their path and not listed.
    """
    from rich.table import Table
    from rich.text import Text

    from flowercolor.checkpoint import read_info
    from flowercolor.errors import CheckpointError
    from flowercolor.runs import find_checkpoint, list_runs

    table = Table()
    table.add_column("name", overflow="fold")
    for column in ("trained", "best test L1", "network"):
        table.add_column(column)
    runs = ((run.name, str(run)) for run in list_runs())
    for name, spec in (("bundled", "bundled"), *runs):
        try:
            info = read_info(find_checkpoint(spec))
        except CheckpointError as error:
            say(f"Left out: {error}")
            continue
        network = info.config.network
        if json_lines:
            print_result(
                json.dumps(
                    {
                        "name": name,
                        "created": info.created,
                        "epoch": info.epoch,
                        "best_l1": info.best_l1,
                        "size_px": info.config.size_px,
                        "validation": info.config.validation,
                        "vividness": info.vividness,
                        "network": asdict(network),
                        "data": dict(info.data),
                        "note": info.note,
                    }
                )
            )
        scored = "" if info.best_l1 is None else f"{info.best_l1:.4f} at {info.config.size_px} px"
        if scored and info.config.validation:
            scored += ", val."
        if scored and info.vividness is not None:
            scored += ", safe end"
        kind = f"{network.base_channels} {network.output}"
        if network.encoder != "plain":
            kind += f", {network.encoder}"
        if info.vividness is not None:
            kind += ", dial"
        table.add_row(Text(name), info.created[:10], scored, kind)
    if not json_lines:
        print_table(table)
