"""What tests of several folders do alike."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from flowercolor.checkpoint import CheckpointInfo, named, save_checkpoint
from flowercolor.config import TrainConfig
from flowercolor.networks.unet import UNet
from flowercolor.progress import Task


@dataclass
class RecordedTask:
    """A piece of work, and what was reported of it."""

    label: str
    total: int | None
    unit: str
    done: int = 0
    statuses: list[str] = field(default_factory=list)

    def advance(self, amount: int = 1, status: str | None = None) -> None:
        self.done += amount
        self.statuses += [status] if status else []


class Recorder:
    """A `Progress` that keeps all that it is told."""

    def __init__(self) -> None:
        self.tasks: list[RecordedTask] = []
        self.notes: list[str] = []

    @contextmanager
    def task(self, label: str, total: int | None = None, unit: str = "") -> Iterator[Task]:
        self.tasks.append(RecordedTask(label, total, unit))
        yield self.tasks[-1]

    def note(self, message: str) -> None:
        self.notes.append(message)


@contextmanager
def blank_graphs() -> Iterator[None]:
    """Empty files in place of graphs, of which each takes longer than an epoch here."""
    from matplotlib.figure import Figure

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda *_, **__: None)
        yield


def be_rank(
    monkeypatch: pytest.MonkeyPatch, rank: int, size: int, local_rank: int | None = None
) -> None:
    """Have this process be one of several, as `torchrun` tells it."""
    local_rank = rank if local_rank is None else local_rank
    for name, value in (("RANK", rank), ("WORLD_SIZE", size), ("LOCAL_RANK", local_rank)):
        monkeypatch.setenv(name, str(value))


def no_home(*_: object, **__: object) -> Path:
    """In place of a function of platformdirs, as for a user without a home folder."""
    raise RuntimeError("could not determine the home directory")


def save_network(path: Path, network: UNet, **settings: Any) -> Path:
    """A checkpoint of a network alone."""
    info = CheckpointInfo(TrainConfig(network.config, **settings))
    save_checkpoint(path, info, named(network, "generator."))
    return path


def rgb_to_luma(rgb: Tensor) -> Tensor:
    """The luma [..., 1, H, W] of float RGB [..., 3, H, W], in the same range (ITU-R BT.601)."""
    r, g, b = rgb.unbind(-3)
    return (0.299 * r + 0.587 * g + 0.114 * b).unsqueeze(-3)


def assert_equal(tensors: dict[str, Tensor], others: dict[str, Tensor]) -> None:
    assert tensors.keys() == others.keys()
    different = [name for name in tensors if not torch.equal(tensors[name], others[name])]
    assert different == []
