"""The command line: the only part that knows Typer and Rich, thin over the library."""

import sys


def main() -> None:
    """Run the command line."""
    try:
        from flowercolor.cli.app import main as run

        run()
    except KeyboardInterrupt:  # pressed before there was anybody to hear it
        sys.exit(130)
