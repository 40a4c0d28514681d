"""`flowercolor download`."""

from pathlib import Path
from typing import Annotated

import typer

from flowercolor.cli.console import command, print_result, progress_of_leader, say


@command
def download(
    url: Annotated[
        str | None,
        typer.Option("--url", help="Fetch from another address, a mirror.", metavar="URL"),
    ] = None,
    from_file: Annotated[
        Path | None,
        typer.Option(help="Take a copy that is already on this machine.", metavar="PATH"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Fetch again, whatever is there.")] = False,
) -> None:
    """Fetch the Oxford 102 flowers, 345 MB, verified, into the cache.

    A transfer that broke off goes on where it stopped. FLOWERCOLOR_CACHE_DIR moves the cache.
    """
    from flowercolor.data.oxford102 import download_archive

    got = download_archive(url=url, from_file=from_file, force=force, progress=progress_of_leader())
    how = "its published MD5" if got.verified_by == "md5" else "each photo's published SHA-256"
    state = "Already there" if got.already_there else "Downloaded"
    say(f"{state}: {got.size_bytes / 1e6:,.0f} MB, verified by {how}.")
    print_result(str(got.path))
