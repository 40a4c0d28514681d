import io
import sys

import pytest

from flowercolor.cli import streams


class Failing(io.StringIO):
    """A stream that nobody reads, or that is in the midst of a line."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def write(self, _text: str) -> int:
        raise self.error

    def flush(self) -> None:
        raise self.error


@pytest.mark.parametrize("error", [BrokenPipeError(), RuntimeError("reentrant call")])
def test_what_nobody_can_be_told_is_dropped(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(sys, "stderr", Failing(error))
    assert streams.STDERR.write("four") == 4
    streams.STDERR.flush()


def test_it_is_the_stderr_of_the_moment(capsys: pytest.CaptureFixture[str]) -> None:
    streams.STDERR.write("now\n")
    assert capsys.readouterr().err == "now\n"
    assert streams.STDERR.isatty() is sys.stderr.isatty()
