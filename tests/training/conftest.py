"""Runs of a few steps on made-up photos."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from flowercolor.checkpoint import read_info
from flowercolor.data.dataset import FlowerDataset
from flowercolor.data.photo_cache import Photos
from flowercolor.evaluation.scoring import Scores
from flowercolor.training import loop
from tests.helpers import blank_graphs
from tests.training.helpers import CONFIG, Sets, go


@pytest.fixture(scope="package", autouse=True)
def _without_graphs() -> Iterator[None]:
    with blank_graphs():
        yield


@pytest.fixture(scope="package")
def sets(photos: Photos) -> Sets:
    return FlowerDataset(photos, range(10)), FlowerDataset(photos, [10, 11])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture(scope="package")
def uninterrupted(sets: Sets, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of `CONFIG` from its first to its last epoch."""
    run = tmp_path_factory.mktemp("runs") / "uninterrupted"
    result = go(CONFIG, sets, run)
    assert result.finished
    assert result.epoch == 4
    return run


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[float], list[float]], None]:
    """Let tests come to these scores; the true photos have colorfulness 50."""

    def set_scores(l1: list[float], colorfulness: list[float]) -> None:
        scores = iter(list(zip(l1, colorfulness, strict=True)))

        def next_scores(*_: object) -> Scores:
            values = [torch.tensor([value], dtype=torch.float64) for value in next(scores)]
            return Scores(["a"], values[0], values[0], values[1], torch.tensor([50.0]))

        monkeypatch.setattr(loop, "score", next_scores)

    return set_scores


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Which checkpoints are written, and after which epoch."""
    names = []
    replace = Path.replace

    def watched(temporary: Path, target: Path) -> Path:
        if target.suffix == ".safetensors":
            names.append((target.name, read_info(temporary).epoch))
        return replace(temporary, target)

    monkeypatch.setattr(Path, "replace", watched)
    return names
