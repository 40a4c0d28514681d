"""`flowercolor join`."""

from pathlib import Path
from typing import Annotated

import typer

from flowercolor.cli.console import command, print_result


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
        float, typer.Option(help="Where the dial stands unless one turns it.", min=0, max=1)
    ] = 0.5,
    note: Annotated[str, typer.Option(help="What a reader of the file should know.")] = "",
) -> None:
    """Make a dial of two checkpoints: `colorize --vividness` goes from one to the other.

    Both are stored in half precision, what they share once; between them all weights are
    interpolated.
    """
    from flowercolor import checkpoint, runs

    ends = runs.find_checkpoint(safe), runs.find_checkpoint(vivid)
    checkpoint.join(*ends, output, vividness=vividness, note=note)
    print_result(str(output))
