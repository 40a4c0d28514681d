"""The command line as a person calls it."""

import json
import os
import re
import shlex
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from flowercolor.cli import console
from flowercolor.cli.app import app
from tests.helpers import be_rank


class Site(NamedTuple):
    """A web site on loopback, and the folder that it shows."""

    folder: Path
    url: str


COMMANDS = ("colorize", "web", "download", "train", "eval", "join", "models", "export", "doctor")
TINY = ["--base-channels", "2", "--size", "16", "--batch-size", "4", "--device", "cpu"]


def tiny(*options: str) -> list[str]:
    """The options, and those of `TINY` that are not among them."""
    pairs = zip(TINY[::2], TINY[1::2], strict=True)
    return [word for pair in pairs if pair[0] not in options for word in pair] + [*options]


backend: str | None = None
"""What `colorize` is to compute with, where the fixture of that name asks for each in turn."""


def flowercolor(*args: str | Path, stdin: bytes = b"") -> Any:
    """What the command line answers, in this process; stdout and stderr apart."""
    more = ["--backend", backend] if backend and args[:1] == ("colorize",) else []
    return CliRunner().invoke(app, [*(str(arg) for arg in args), *more], input=stdin)


def succeed(*args: str | Path, stdin: bytes = b"") -> Any:
    result = flowercolor(*args, stdin=stdin)
    assert result.exit_code == 0, result.stderr
    return result


def plain(text: str) -> str:
    """The text without the codes of a terminal, which Typer forces for some robots."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def last_line(text: str) -> str:
    return text.splitlines()[-1]


def environment() -> dict[str, str]:
    """What a process of its own needs to find the same package."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


def run_printed(line: str, *more: str) -> Any:
    """Run a command that was printed for the person to run."""
    name, *args = shlex.split(line)
    assert name == "flowercolor"
    return succeed(*args, *more)


def metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def gray_photo(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.random.default_rng(seed).integers(60, 200, (20, 30), np.uint8)
    Image.fromarray(picture).save(path)
    return path


@dataclass(frozen=True)
class Trained:
    """A finished run, with what the command that made it said."""

    run: Path
    result: Any


def assert_one_line_of_error(result: Any, *said: str, code: int = 1) -> None:
    assert result.exit_code == code
    assert result.stdout == ""
    [line] = [line for line in result.stderr.splitlines() if not line.startswith("Using")]
    assert line.startswith("Error: ")
    for words in said:
        assert words in line


def stopped_when(should_stop: Callable[[], bool], *args: str | Path) -> Any:
    """What a command answers for which Ctrl-C is pressed."""

    class Pressed(console.Stop):
        def __call__(self) -> bool:
            return should_stop()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(console, "stop_on_interrupt", lambda _message: nullcontext(Pressed()))
        return flowercolor(*args)


def stopped_at_once(*args: str | Path) -> Any:
    """What `train` answers that is asked to stop after its first step."""
    return stopped_when(lambda: True, *args)


def write_labels(folder: Path) -> Path:
    """Two classes, in turn, for the photos of `archive`."""
    table = folder / "labels.csv"
    lines = [f"jpg/image_{number:05}.jpg,{number % 2}" for number in range(1, 13)]
    table.write_text("\n".join(["file,class", *lines]))
    return table


def be_one_of_two(monkeypatch: pytest.MonkeyPatch, rank: int) -> None:
    """One of two processes, as `torchrun` tells it; it does not wait for the other."""
    monkeypatch.setattr("flowercolor.distributed.joined", lambda _device: nullcontext())
    be_rank(monkeypatch, rank, 2)


def in_rank(*args: str) -> tuple[int, str, str]:
    result = flowercolor(*args)
    return result.exit_code, result.stdout, result.stderr
