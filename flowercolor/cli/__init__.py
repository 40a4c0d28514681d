"""The command line: the only part that knows Typer and Rich, thin over the library."""

import signal
import sys
import threading
from types import FrameType

interrupted = False
"""Whether Ctrl-C was pressed: a library that is being loaded may turn it into an `ImportError`."""


def main() -> None:
    """Run the command line."""
    global interrupted  # noqa: PLW0603 - a process has one handler
    interrupted = False
    before = signal.getsignal(signal.SIGINT)
    hears = threading.current_thread() is threading.main_thread()
    try:
        if hears and before is signal.default_int_handler:
            signal.signal(signal.SIGINT, _interrupt)
        from flowercolor.cli.app import main as run

        run()
    except KeyboardInterrupt:  # pressed before there was anybody to hear it
        sys.exit(130)
    finally:
        if hears and before is signal.default_int_handler:
            # Whoever was interrupted ends now, where one more would be a traceback of threading's.
            signal.signal(signal.SIGINT, signal.SIG_IGN if interrupted else before)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    global interrupted  # noqa: PLW0603
    interrupted = True
    raise KeyboardInterrupt
