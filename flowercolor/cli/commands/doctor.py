"""`flowercolor doctor`."""

import typer

from flowercolor.cli.console import EXIT_FAILED, Device, check_stdout, command, print_result
from flowercolor.errors import counted


@command
def doctor(device: Device = "auto") -> None:
    """Look at what coloring depends on here, color a small picture, and say what is wrong.

    The lines are what one pastes into a bug report: they hold no path and no name of yours.
    """
    check_stdout()
    from flowercolor.doctor import examine

    problems = 0
    for finding in examine(device):
        print_result(f"{finding.topic}: {finding.found}")
        if finding.problem:
            print_result(f"  problem: {finding.problem}")
            problems += 1
    print_result(f"{counted(problems, 'problem') if problems else 'no problems'} found")
    if problems:
        raise typer.Exit(EXIT_FAILED)
