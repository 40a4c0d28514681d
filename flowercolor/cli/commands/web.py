"""`flowercolor web`."""

import webbrowser
from typing import Annotated

import typer

from flowercolor.cli.console import (
    Checkpoint,
    check_stdout,
    command,
    print_result,
    quiet_libraries,
    say,
    say_missing,
)
from flowercolor.errors import SettingError
from flowercolor.installation import install_command


@command
@quiet_libraries()
def web(
    checkpoint: Checkpoint = None,
    host: Annotated[
        str,
        typer.Option(
            help="The address to listen at; 0.0.0.0 is all, for a network at home. Any but this "
            "computer's needs --i-know.",
            metavar="ADDRESS",
        ),
    ] = "127.0.0.1",
    i_know: Annotated[
        bool,
        typer.Option(
            "--i-know",
            help="Whoever in that network has the page's address may use it, and photos go there "
            "unencrypted.",
        ),
    ] = False,
    port: Annotated[
        int,
        typer.Option(
            help="The port to listen at. [dim]\\[default: a free one][/dim]",
            min=0,
            max=65535,
            metavar="N",
            show_default=False,
        ),
    ] = 0,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in the browser.")
    ] = True,
) -> None:
    """Open the page that colors photos, served by this computer to itself alone.

    Saved photos come from the library, as from `flowercolor colorize`: TIFF, HEIC, 16 bits and
    metadata too. Nothing is kept. Ctrl-C ends it. Needs the extra `web`.
    """
    if not open_browser:
        check_stdout()
    try:
        from flowercolor.page.server import EVERYWHERE, is_local, serve
    except ModuleNotFoundError as error:
        raise SettingError(
            f"the page's server needs the package {error.name}, which is not installed; run "
            + install_command("web")
        ) from error
    from flowercolor.runs import find_checkpoint

    if not is_local(host) and not i_know:
        raise SettingError(
            f"--host {host}: lets others in that network use the page, and photos go there "
            "unencrypted; leave it out, or add --i-know"
        )

    def started(address: str) -> None:
        print_result(address)
        others = ""
        if ours := EVERYWHERE.get(host):
            others = f"; others put this computer's name or address in the place of {ours}"
        say(f"The page is there until Ctrl-C{others}.")
        if open_browser:
            webbrowser.open(address)

    path = find_checkpoint(checkpoint)
    say_missing(path)
    serve(path, host=host, port=port, on_start=started)
