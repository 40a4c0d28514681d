"""Runs of a few steps, and what they leave."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from flowercolor.checkpoint import load_tensors, read_info
from flowercolor.config import NetworkConfig, TrainConfig
from flowercolor.data.dataset import FlowerDataset
from flowercolor.errors import CheckpointError
from flowercolor.networks.discriminator import Discriminator
from flowercolor.networks.unet import UNet
from flowercolor.runs import BEST, LAST, read_metrics
from flowercolor.training.loop import TrainResult, train
from tests.helpers import assert_equal

Sets = tuple[FlowerDataset, FlowerDataset]


STEPS = 3  # of an epoch: 4, 4 and 2 photos


CONFIG = TrainConfig(
    NetworkConfig(2),
    epochs=4,
    batch_size=4,
    test_batch_size=2,
    lr=1e-3,
    size_px=16,
    flip=True,
)


def go(config: TrainConfig, sets: Sets, run: Path, **options: Any) -> TrainResult:
    return train(config, *sets, run, **{"device": "cpu", "precision": "float32", **options})


def changed(**settings: Any) -> TrainConfig:
    return dataclasses.replace(CONFIG, **settings)


def initial(config: TrainConfig) -> tuple[UNet, Discriminator]:
    """The two networks as a run begins with them."""
    torch.manual_seed(config.seed)
    return UNet(config.network), Discriminator(config.size_px)


def saved(run: Path, prefix: str = "", name: str = LAST) -> dict[str, Tensor]:
    """Tensors of a checkpoint whose names begin with `prefix`, without it."""
    _, tensors = load_tensors(run / name)
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def rows(run: Path) -> list[dict[str, Any]]:
    """What the run measured, without the clock."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(run)]


def assert_same_run(run: Path, other: Path) -> None:
    """Bit for bit: both checkpoints with all optimizer state, and every other file."""
    for name in (BEST, LAST):
        assert_equal(saved(run, name=name), saved(other, name=name))
        assert progress_of(run / name) == progress_of(other / name)
    assert rows(run) == rows(other)
    assert files(run) == files(other)
    for sheet in (run / "samples").iterdir():
        assert sheet.read_bytes() == (other / "samples" / sheet.name).read_bytes()


def progress_of(checkpoint: Path) -> dict[str, Any]:
    """What it says of itself, without its date and how long the run was meant to be."""
    info = dataclasses.asdict(read_info(checkpoint))
    info.pop("created")
    info["config"].pop("epochs")
    return info


def files(run: Path) -> list[str]:
    """The files of a run but for its lock."""
    found = (path for path in run.rglob("[!.]*") if path.is_file())
    return sorted(path.relative_to(run).as_posix() for path in found)


def labeled(folder: Path, sets: Sets, shift: int = 0) -> Path:
    """A table that gives the photos three classes in turn."""
    table = folder / f"labels{shift}.csv"
    names = sets[0].photos.names
    rows = [f"{name},{'abc'[(number + shift) % 3]}" for number, name in enumerate(names)]
    table.write_text("\n".join(["file,class", *rows]) + "\n")
    return table


def after(steps: int) -> Callable[[], bool]:
    """A `should_stop` that says so after this many steps."""
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked == steps

    return should_stop


def assert_resume_refused(config: TrainConfig, sets: Sets, run: Path, reason: str) -> None:
    """In one line that names the checkpoint; the run stays as it is."""
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(CheckpointError, match=reason) as caught:
        go(config, sets, run, resume=True)
    assert str(caught.value).startswith(f"{run / LAST}: ")
    assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
