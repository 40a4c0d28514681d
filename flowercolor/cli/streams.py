"""Standard output and error of which nobody reads the other end any more."""

import os
import stat
import sys
from contextlib import suppress
from typing import Any, TextIO


class _Stderr:
    """Whatever `sys.stderr` is; what it cannot take is dropped, and the work goes on.

    Nobody listens where a terminal was closed, or where Ctrl-C ended `tee` too.
    """

    @property
    def _stream(self) -> TextIO:
        # While bars are drawn, Rich has one of its own there, which writes to this one again.
        stream: TextIO = getattr(sys.stderr, "rich_proxied_file", sys.stderr)
        return stream

    def __getattr__(self, name: str) -> Any:
        if name == "rich_proxied_file":
            raise AttributeError(name)
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            drop(self._stream)
        except RuntimeError:  # said by a signal's handler in the midst of another line
            pass
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            drop(self._stream)
        except RuntimeError:
            pass


STDERR: Any = _Stderr()


def drop(stream: TextIO) -> None:
    """Have what is written there, and still to be written as the process ends, go nowhere."""
    with suppress(OSError, ValueError):  # closed, or of a test
        silence(stream.fileno())


def leave_terminal() -> None:
    """Drop what goes to a terminal that is closed: writing there fails."""
    for descriptor in range(3):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode):
                silence(descriptor)


def flush() -> None:
    """Write what is still to be written, or drop it: the exit code is to stand."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            drop(stream)


def silence(descriptor: int) -> None:
    """Have what is written to a file descriptor go nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
