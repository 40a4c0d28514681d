"""The command line: the only part that knows Typer and Rich, thin over the library."""

from flowercolor.cli.app import main

__all__ = ["main"]
