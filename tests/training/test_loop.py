import dataclasses
import errno
import json
import math
import multiprocessing
import os
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from flowercolor import runs
from flowercolor.checkpoint import (
    CheckpointInfo,
    load_generator,
    load_tensors,
    read_info,
    save_checkpoint,
)
from flowercolor.config import NetworkConfig, Precision, TrainConfig
from flowercolor.data.dataset import FlowerDataset, get_data
from flowercolor.data.photo_cache import Photos
from flowercolor.errors import (
    CheckpointError,
    DataError,
    DeviceError,
    SettingError,
    StorageError,
    TrainingError,
)
from flowercolor.evaluation import plots
from flowercolor.evaluation.scoring import Scores, score
from flowercolor.files import write_text
from flowercolor.networks.discriminator import Discriminator
from flowercolor.networks.unet import UNet
from flowercolor.paths import archive_path
from flowercolor.progress import Silent, Task
from flowercolor.runs import BEST, LAST, find_source, read_metrics, read_source
from flowercolor.training import gan as engine
from flowercolor.training import log
from flowercolor.training import loop as training
from flowercolor.training.loop import TrainResult, train

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


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    """Without plots, each of which takes longer than an epoch here, and with one thread.

    The threads of a convolution wait for each other in a busy loop: with networks this small
    they lose forty times what they gain wherever the machine has other work to do.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log, "plot_losses", lambda rows, path: write_text(path, f"{len(rows)}"))
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def sets(photos: Photos) -> Sets:
    return FlowerDataset(photos, range(10)), FlowerDataset(photos, [10, 11])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture(scope="module")
def uninterrupted(sets: Sets, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of `CONFIG` from its first to its last epoch."""
    run = tmp_path_factory.mktemp("runs") / "uninterrupted"
    result = go(CONFIG, sets, run)
    assert result.finished
    assert result.epoch == 4
    return run


def go(config: TrainConfig, sets: Sets, run: Path, **options: Any) -> TrainResult:
    return train(config, *sets, run, **{"device": "cpu", "precision": "float32", **options})


def changed(**settings: Any) -> TrainConfig:
    return dataclasses.replace(CONFIG, **settings)


KILLS = 6
LONGER = changed(epochs=2 * KILLS)


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


def assert_equal(tensors: dict[str, Tensor], others: dict[str, Tensor]) -> None:
    assert tensors.keys() == others.keys()
    different = [name for name in tensors if not torch.equal(tensors[name], others[name])]
    assert different == []


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
    return sorted(path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file())


# Learning


@pytest.mark.parametrize("output", ["rgb", "chroma"])
def test_a_batch_is_learned_by_heart(photos: Photos, run: Path, output: Any) -> None:
    class OneBatch(FlowerDataset):
        def pixels(self, positions: Any) -> Tensor:
            return super().pixels([0, 1, 2, 3] * (len(positions) // 4))

    config = changed(network=NetworkConfig(8, output), lambda_adv=0, lr=5e-3, epochs=1)
    four = FlowerDataset(photos, range(4))
    before = score(initial(config)[0], four)
    result = go(config, (OneBatch(photos, list(range(4)) * 120), four), run)
    assert result.test_l1 is not None
    assert result.test_l1 < 0.35 * min(before.mean_l1, before.mean_gray_l1)


def test_each_epoch_sees_every_photo_once_in_an_order_of_its_own(sets: Sets, run: Path) -> None:
    batches: list[list[int]] = []

    class Watched(FlowerDataset):
        def pixels(self, positions: Any) -> Tensor:
            batches.append(positions.tolist())
            return super().pixels(positions)

    go(CONFIG, (Watched(sets[0].photos, range(10)), sets[1]), run)
    assert [len(batch) for batch in batches] == [4, 4, 2] * 4
    photos = list(chain.from_iterable(batches))
    epochs = [photos[first : first + 10] for first in range(0, len(photos), 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_a_loss_is_the_mean_over_photos_not_over_batches(
    sets: Sets, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last batch is smaller. Here each batch's loss is its size."""
    monkeypatch.setattr(
        engine, "discriminator_loss", lambda real, fake: (real + fake).sum() * 0 + len(real)
    )
    go(changed(epochs=2), sets, run)
    expected = (4 * 4 + 4 * 4 + 2 * 2) / 10
    assert [row["loss_d"] for row in read_metrics(run)] == pytest.approx([expected] * 2)


def test_photos_of_another_size_are_refused(sets: Sets, run: Path) -> None:
    with pytest.raises(SettingError, match=r"size_px is 32, and the photos of .* read at 16 px; "):
        go(changed(size_px=32), sets, run)
    assert not run.exists()


@pytest.mark.parametrize("settings", [{"seed": 7}, {"flip": False}, {"lr": 2e-3}])
def test_equal_settings_give_equal_bits_and_others_do_not(
    sets: Sets, tmp_path: Path, settings: dict[str, Any]
) -> None:
    config = changed(epochs=1)
    for number, this in enumerate((config, config, dataclasses.replace(config, **settings))):
        torch.manual_seed(number)  # what the caller drew before must not matter
        go(this, sets, tmp_path / str(number))
    assert_same_run(tmp_path / "0", tmp_path / "1")
    one, other = saved(tmp_path / "0", "generator."), saved(tmp_path / "2", "generator.")
    assert not torch.equal(one["head.weight"], other["head.weight"])


def test_bfloat16_trains_almost_alike(sets: Sets, tmp_path: Path) -> None:
    config = changed(epochs=1)
    exact = go(config, sets, tmp_path / "a")
    fast = go(config, sets, tmp_path / "b", precision="bf16")
    assert exact.test_l1 != fast.test_l1
    assert fast.test_l1 == pytest.approx(exact.test_l1, rel=0.05)
    assert saved(tmp_path / "b")["generator.head.weight"].dtype == torch.float32


def test_a_run_may_begin_with_the_weights_of_another(
    sets: Sets, run: Path, uninterrupted: Path
) -> None:
    go(changed(epochs=1, lr=1e-9, seed=1), sets, run, start_from=uninterrupted / BEST)
    after, start = saved(run, "generator."), saved(uninterrupted, "generator.", BEST)
    for name, _ in initial(CONFIG)[0].named_parameters():
        torch.testing.assert_close(after[name], start[name], atol=1e-6, rtol=0)


def test_a_run_may_be_wider_than_what_it_begins_with(
    sets: Sets, run: Path, uninterrupted: Path
) -> None:
    config = changed(epochs=1, lr=1e-9, network=NetworkConfig(3))
    go(config, sets, run, start_from=uninterrupted / BEST)
    after, start = saved(run, "generator."), saved(uninterrupted, "generator.", BEST)
    head = after["head.weight"]
    torch.testing.assert_close(head[:, :2], start["head.weight"], atol=1e-6, rtol=0)
    torch.testing.assert_close(head[:, 2:], torch.zeros(3, 1, 1, 1), atol=1e-6, rtol=0)


def test_a_folder_that_holds_a_run_takes_no_other(
    sets: Sets, run: Path, uninterrupted: Path
) -> None:
    """Its best network would pass for that of the new run until that has one."""
    for name in (BEST, LAST):
        run.mkdir(exist_ok=True)
        (run / name).write_bytes((uninterrupted / name).read_bytes())
        with pytest.raises(SettingError, match="holds a run already"):
            go(changed(epochs=1), sets, run)
        assert (run / name).read_bytes() == (uninterrupted / name).read_bytes()
        (run / name).unlink()
    assert list(run.iterdir()) == []


def test_a_run_does_not_lie_among_the_photos_that_it_learns_from(tmp_path: Path) -> None:
    """What it draws would be learned from by the next, and could not be resumed itself."""
    rng = np.random.default_rng(0)
    for number in range(12):
        plots.save_picture(
            torch.from_numpy(rng.random((3, 20, 20), np.float32)),
            tmp_path / "garden" / f"{number}.jpg",
        )
    sets = get_data(tmp_path / "garden", CONFIG.size_px)
    for run in (tmp_path / "garden" / "run", tmp_path / "x" / ".." / "garden"):
        with pytest.raises(SettingError, match=r"lies among the photos of .*garden, and"):
            go(changed(epochs=1), sets, run)
        assert len(list((tmp_path / "garden").iterdir())) == 12
    assert go(changed(epochs=1), sets, tmp_path / "garden run").finished


class Notes(Silent):
    """Keeps what is noted."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_a_beginning_that_knows_the_validation_part_is_noted(
    sets: Sets, photos: Photos, tmp_path: Path
) -> None:
    """Unless it learned from other photos."""
    others = dataclasses.replace(photos, fingerprint="others")
    other_sets = FlowerDataset(others, range(10)), FlowerDataset(others, [10, 11])

    def noted(name: str, validation: bool, parent: str | None = None, data: Sets = sets) -> bool:
        start_from = tmp_path / parent / BEST if parent else None
        notes = Notes()
        config = changed(epochs=1, validation=validation)
        go(config, data, tmp_path / name, start_from=start_from, progress=notes)
        return any("has learned from the validation part" in note for note in notes.notes)

    assert not noted("whole", validation=False)
    assert not noted("part", validation=True)
    assert noted("child", validation=True, parent="whole")
    assert not noted("brother", validation=True, parent="part")
    assert not noted("stranger", validation=True, parent="whole", data=other_sets)


def test_a_run_tells_what_it_began_with(sets: Sets, run: Path, uninterrupted: Path) -> None:
    config = changed(epochs=1)
    go(config, sets, run, start_from=uninterrupted / BEST, should_stop=after(1))
    go(config, sets, run, resume=True)
    said = "Begun with the generator of uninterrupted."
    assert read_info(run / BEST).note == read_info(run / LAST).note == said
    assert json.loads((run / "config.json").read_text())["note"] == said


def test_weights_of_another_network_are_refused(sets: Sets, run: Path, uninterrupted: Path) -> None:
    with pytest.raises(
        CheckpointError, match="a network of base_channels 2, output rgb and encoder plain"
    ) as caught:
        go(changed(network=NetworkConfig(1)), sets, run, start_from=uninterrupted / BEST)
    assert "\n" not in str(caught.value)


def labeled(folder: Path, sets: Sets, shift: int = 0) -> Path:
    """A table that gives the photos three classes in turn."""
    table = folder / f"labels{shift}.csv"
    names = sets[0].photos.names
    rows = [f"{name},{'abc'[(number + shift) % 3]}" for number, name in enumerate(names)]
    table.write_text("\n".join(["file,class", *rows]) + "\n")
    return table


def test_a_run_may_learn_the_classes_too(sets: Sets, run: Path, tmp_path: Path) -> None:
    labels, config = labeled(tmp_path, sets), changed(epochs=1, lambda_class=0.5)
    go(config, sets, run, labels=labels)
    (row,) = read_metrics(run)
    assert row["loss_class"] > 0
    assert 0 <= row["class_accuracy"] <= 1
    assert read_source(run, "labels") == labels
    assert saved(run, "classifier.")["weight"].shape == (3, 32)
    assert not saved(run, "classifier.", BEST)


def test_a_supervised_run_goes_on_with_the_same_classes_only(
    sets: Sets, run: Path, tmp_path: Path
) -> None:
    labels, config = labeled(tmp_path, sets), changed(epochs=2, lambda_class=0.5)
    go(config, sets, tmp_path / "straight", labels=labels)
    go(config, sets, run, labels=labels, should_stop=after(4))
    with pytest.raises(CheckpointError, match="other photos or classes"):
        go(config, sets, run, labels=labeled(tmp_path, sets, shift=1), resume=True)
    go(config, sets, run, labels=labels, resume=True)
    assert_same_run(run, tmp_path / "straight")


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_classes_and_their_weight_come_together(
    sets: Sets, run: Path, tmp_path: Path, weight: float
) -> None:
    labels = None if weight else labeled(tmp_path, sets)
    with pytest.raises(SettingError, match=f"lambda_class is {weight}, and there are .*labels"):
        go(changed(lambda_class=weight), sets, run, labels=labels)
    assert not run.exists()


# What a run leaves behind


def test_a_run_leaves_its_folder(sets: Sets, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "plot_losses", plots.plot_losses)
    config = changed(epochs=2)
    result = go(config, sets, run)
    assert files(run) == [
        "best.safetensors",
        "config.json",
        "last.safetensors",
        "losses.png",
        "metrics.jsonl",
        "samples/epoch_0001.png",
        "samples/epoch_0002.png",
    ]
    about = json.loads((run / "config.json").read_text())
    assert TrainConfig.from_dict(about["config"]) == config
    how = [about[name] for name in ("device", "precision", "compiled", "processes")]
    assert how == ["cpu", "float32", False, 1]
    assert read_source(run) == sets[0].photos.source
    assert cv2.imread(str(run / "losses.png")) is not None

    first, second = read_metrics(run)
    assert (first["epoch"], second["epoch"]) == (1, 2)
    assert 0 <= first["seconds"] <= second["seconds"]
    assert result == TrainResult(
        run, True, 2, second["test_l1"], min(first["test_l1"], second["test_l1"])
    )


def test_the_sheets_show_the_test_photos_and_what_became_of_them(
    sets: Sets, uninterrupted: Path
) -> None:
    """Gray, generated, truth; the gray and the true ones the same in every epoch."""
    gray, real = sets[1].batch(range(2))
    sheets = [cv2.imread(str(path)) for path in sorted((uninterrupted / "samples").iterdir())]
    assert len(sheets) == 4
    for sheet in sheets:
        assert sheet is not None
        for number in range(2):
            top = 2 + 18 * number
            shown = sheet[top : top + 16, :, ::-1] / 255
            assert np.allclose(shown[:, 2:18], gray[number].permute(1, 2, 0))
            assert np.allclose(shown[:, 38:54], real[number].permute(1, 2, 0))
            # The generated one is that of the epoch, so it changes.
    assert not np.array_equal(sheets[0][:, 20:36], sheets[-1][:, 20:36])  # type: ignore[index]


def test_the_best_checkpoint_scores_what_the_metrics_say(sets: Sets, uninterrupted: Path) -> None:
    best = min(read_metrics(uninterrupted), key=lambda row: row["test_l1"])
    generator, info = load_generator(uninterrupted / BEST)
    assert info.epoch == best["epoch"]
    assert info.test_l1 == info.best_l1 == best["test_l1"]
    assert score(generator, sets[1]).mean_l1 == pytest.approx(best["test_l1"], abs=1e-6)


def pretend(monkeypatch: pytest.MonkeyPatch, l1: list[float], colorful: list[float]) -> None:
    """Tests come to these scores, one after the other; the true photos have colorfulness 50."""
    scores = iter(list(zip(l1, colorful, strict=True)))

    def pretended(*_: object) -> Scores:
        of_l1, of_color = (torch.tensor([value], dtype=torch.float64) for value in next(scores))
        return Scores(["a"], of_l1, of_l1, of_color, torch.tensor([50.0]))

    monkeypatch.setattr(training, "score", pretended)


@pytest.mark.parametrize(
    ("criterion", "best_epoch"),
    # 0.3 + 0.040, 0.31 + 0.029, 0.32 + 0.030, 0.33 + 0.005
    [("l1", 1), ("vivid", 4)],
)
def test_the_best_checkpoint_is_that_of_the_lowest_score(
    sets: Sets, run: Path, monkeypatch: pytest.MonkeyPatch, criterion: Any, best_epoch: int
) -> None:
    """By L1 alone, or with a thousandth of how far the colorfulness is off, either way."""
    l1 = [0.3, 0.31, 0.32, 0.33]
    pretend(monkeypatch, l1, [10, 21, 80, 55])
    go(changed(criterion=criterion), sets, run)
    best, last = read_info(run / BEST), read_info(run / LAST)
    assert (best.epoch, best.best_epoch, last.best_epoch) == (best_epoch,) * 3
    assert best.test_l1 == best.best_l1 == last.best_l1 == l1[best_epoch - 1]
    assert best.best_score == pytest.approx({"l1": 0.3, "vivid": 0.335}[criterion])
    assert last.test_l1 == l1[-1]
    assert [row["colorfulness"] for row in read_metrics(run)] == [10, 21, 80, 55]


def test_patience_ends_a_run_that_no_longer_gets_better(
    sets: Sets, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it stays ended, unless one has more patience."""
    progress = Notes()
    pretend(monkeypatch, [0.5, 0.3, 0.4, 0.35, 0.31, 0.2], [1] * 6)
    config = changed(epochs=9, patience=2)
    result = go(config, sets, run, progress=progress)
    assert result == TrainResult(run, True, 4, 0.35, 0.3)
    said = "Stopped after epoch 4: none was better than epoch 2 for 2 epochs"
    assert progress.notes == [said]
    before = (run / LAST).read_bytes()
    assert go(config, sets, run, resume=True, progress=progress) == result
    assert progress.notes == [said, said]
    assert (run / LAST).read_bytes() == before
    longer = dataclasses.replace(config, epochs=6, patience=4)
    assert go(longer, sets, run, resume=True).epoch == 6
    assert read_info(run / BEST).best_epoch == 6


def test_the_average_is_what_is_tested_and_saved(sets: Sets, run: Path) -> None:
    go(changed(epochs=1, ema=0.5), sets, run)
    average, live = saved(run, "generator."), saved(run, "live.")
    assert_equal(average, saved(run, "generator.", BEST))
    assert average.keys() == live.keys()
    assert not torch.equal(average["head.weight"], live["head.weight"])
    [row] = read_metrics(run)
    tested = score(load_generator(run / BEST)[0], sets[1]).mean_l1
    assert tested == pytest.approx(row["test_l1"], abs=1e-6)


def test_the_average_is_saved_with_the_statistics_of_whole_photos(sets: Sets, run: Path) -> None:
    go(changed(epochs=1, ema=0.5, batch_size=5, crop=0.3), sets, run)
    convolution, norm, *_ = load_generator(run / BEST)[0].stem
    before = convolution(sets[0].batch(range(10))[0])
    torch.testing.assert_close(norm.running_mean, before.mean(dim=(0, 2, 3)))


def test_the_best_checkpoint_holds_the_generator_alone(uninterrupted: Path) -> None:
    assert all(name.startswith("generator.") for name in saved(uninterrupted, name=BEST))


def test_progress_counts_every_step_and_goes_on_where_a_run_stopped(sets: Sets, run: Path) -> None:
    class Counting(Silent):
        done: dict[str, tuple[int, int | None]]
        statuses: list[str]

        def __init__(self) -> None:
            self.done, self.statuses = {}, []

        @contextmanager
        def task(self, label: str, total: int | None = None, unit: str = "") -> Iterator[Task]:
            progress = self

            class Counted:
                def advance(self, amount: int = 1, status: str | None = None) -> None:
                    progress.done[label] = (progress.done.get(label, (0, None))[0] + amount, total)
                    progress.statuses += [status] if status else []

            yield Counted()

    whole, stopped = Counting(), Counting()
    go(CONFIG, sets, run, progress=whole)
    assert whole.done == {"Training": (12, 12), "Testing": (2 * 4, 2)}
    assert len(whole.statuses) == 4
    assert whole.statuses[0].startswith("epoch 1 ")

    other = run.with_name("other")
    go(CONFIG, sets, other, should_stop=after(5))
    go(CONFIG, sets, other, progress=stopped, resume=True)
    assert stopped.done["Training"] == (12, 12)


# The rows of metrics.jsonl


def test_there_is_a_row_per_log_point_and_at_each_epochs_end(
    sets: Sets, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "LOG_STEPS", 2)
    go(changed(epochs=2), sets, run)
    written = rows(run)
    assert [row["step"] for row in written] == [2, 3, 5, 6]
    assert [row["epoch"] for row in written] == [0.6667, 1, 1.6667, 2]
    assert [{"test_l1", "colorfulness"} <= row.keys() for row in written] == [False, True] * 2
    measured = {"lr", "loss_g", "l1", "loss_d", "adversarial", "d_real", "d_fake"}
    for row in written:
        assert measured | {"grad_l1", "grad_adversarial"} <= row.keys()


@pytest.mark.parametrize("step", [1, 2, 3, 4, 6])
def test_a_stopped_run_leaves_the_same_rows(
    sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """With everything on that going on could lose; between, at and after log points."""
    monkeypatch.setattr(training, "LOG_STEPS", 2)
    config = changed(epochs=2, ema=0.9, crop=0.5, degrade=0.7)
    config = dataclasses.replace(config, lr_decay="cosine", criterion="vivid")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    go(config, sets, whole)
    assert not go(config, sets, parts, should_stop=after(step)).finished
    assert go(config, sets, parts, resume=True).finished
    assert len(rows(whole)) == 4
    assert_same_run(parts, whole)


@pytest.mark.parametrize("decay", ["none", "cosine"])
def test_the_learning_rate_stays_or_falls_along_half_a_wave(
    sets: Sets, run: Path, monkeypatch: pytest.MonkeyPatch, decay: Any
) -> None:
    monkeypatch.setattr(training, "LOG_STEPS", 1)
    used: list[float] = []
    step = engine.GAN.step

    def watched(self: engine.GAN, batch: Any, lr: float, **options: Any) -> dict[str, float]:
        used.append(lr)
        return step(self, batch, lr, **options)

    monkeypatch.setattr(engine.GAN, "step", watched)
    go(changed(lr_decay=decay), sets, run)
    assert [row["lr"] for row in read_metrics(run)] == used
    if decay == "none":
        assert used == [CONFIG.lr] * 12
    else:
        assert used[0] == CONFIG.lr
        assert used[6] == pytest.approx(CONFIG.lr / 2)
        assert 0 < used[11] < 0.02 * CONFIG.lr
        assert used == sorted(used, reverse=True)


# Going on


def after(steps: int) -> Callable[[], bool]:
    """A `should_stop` that says so after this many steps."""
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked == steps

    return should_stop


def test_two_epochs_and_two_more_equal_four(sets: Sets, run: Path, uninterrupted: Path) -> None:
    """Also shows that a run may be made longer."""
    assert go(changed(epochs=2), sets, run).epoch == 2
    assert go(CONFIG, sets, run, resume=True).finished
    assert read_info(run / LAST).config == CONFIG
    assert_same_run(run, uninterrupted)


def test_bits_are_equal_with_as_many_threads_as_there_are(sets: Sets, tmp_path: Path) -> None:
    torch.set_num_threads(os.cpu_count() or 1)
    try:
        go(changed(epochs=2), sets, tmp_path / "whole")
        go(changed(epochs=1), sets, tmp_path / "parts")
        go(changed(epochs=2), sets, tmp_path / "parts", resume=True)
    finally:
        torch.set_num_threads(1)
    assert_same_run(tmp_path / "parts", tmp_path / "whole")


def test_a_run_stopped_after_every_single_step_equals_one_that_was_not(
    sets: Sets, run: Path, uninterrupted: Path
) -> None:
    for step in range(STEPS * CONFIG.epochs):
        result = go(CONFIG, sets, run, resume=step > 0, should_stop=after(1))
        assert not result.finished
        assert result.epoch == step // STEPS
        info = read_info(run / LAST)
        assert (info.epoch, info.step) == (step // STEPS, step % STEPS + 1)
    assert go(CONFIG, sets, run, resume=True).finished
    assert_same_run(run, uninterrupted)


def test_a_finished_run_stays_as_it_is(sets: Sets, run: Path, uninterrupted: Path) -> None:
    go(CONFIG, sets, run)
    expected = go(CONFIG, sets, run, resume=True)
    assert expected.finished
    assert expected.best_l1 == read_info(run / BEST).best_l1
    assert_same_run(run, uninterrupted)


class Killed(BaseException):
    """Stands for the process's end."""


def test_an_end_between_any_two_files_loses_nothing(
    sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file is put in place by one rename; the run ends before the first, the second, ..."""
    config = changed(epochs=2, batch_size=10)
    renames = 0
    survived = 1000
    replace = Path.replace

    def counted(path: Path, target: Path) -> Path:
        nonlocal renames
        renames += 1
        if renames > survived:
            raise Killed
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", counted)
    go(config, sets, tmp_path / "whole")
    for survived in range(renames):
        run, renames = tmp_path / str(survived), 0
        with pytest.raises(Killed):
            go(config, sets, run)
        renames = -1000
        resume = (run / LAST).exists()
        if not resume and (run / BEST).exists():  # between the two of the first save
            with pytest.raises(SettingError, match=rf"delete its {BEST}, or name another"):
                go(config, sets, run)
            (run / BEST).unlink()
        go(config, sets, run, resume=resume)
        assert_same_run(run, tmp_path / "whole")


def saves(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Which checkpoints are written, and after which epoch, from now on, none for its age."""
    written = []

    def save(path: Path, info: CheckpointInfo, tensors: Mapping[str, Tensor]) -> None:
        written.append((path.name, info.epoch))
        save_checkpoint(path, info, tensors)

    monkeypatch.setattr(training, "SAVE_EVERY_S", math.inf)
    monkeypatch.setattr(training, "save_checkpoint", save)
    return written


@pytest.mark.parametrize("stop", [None, 3 * STEPS + 1])
def test_short_epochs_are_saved_together(
    sets: Sets, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int | None
) -> None:
    """The first, so that there is something to go on from, and the last; the best with them."""
    l1 = [0.3, 0.31, 0.2, 0.21]
    monkeypatch.setattr(training, "SAVE_EVERY_S", 0)
    pretend(monkeypatch, l1, [50] * 4)
    go(CONFIG, sets, tmp_path / "each")

    written = saves(monkeypatch)
    pretend(monkeypatch, l1, [50] * 4)
    if stop:
        assert not go(CONFIG, sets, run, should_stop=after(stop)).finished
        assert written == [(BEST, 1), (LAST, 1), (BEST, 3), (LAST, 3)]
        written.clear()
    go(CONFIG, sets, run, resume=bool(stop))
    later = [(LAST, 4)] if stop else [(BEST, 1), (LAST, 1), (BEST, 3), (LAST, 4)]
    assert written == later
    assert_same_run(run, tmp_path / "each")


def test_too_little_memory_names_the_options_that_help(
    sets: Sets, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has")

    monkeypatch.setattr(engine.GAN, "step", full)
    with pytest.raises(DeviceError, match=r"out of memory while training: .*--batch-size") as told:
        go(CONFIG, sets, run)
    assert "\n" not in str(told.value)


def test_too_little_memory_to_test_names_the_option_that_helps(
    sets: Sets, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = UNet.forward

    def full(network: UNet, *args: Any) -> Any:
        if network.training:
            return forward(network, *args)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has")

    monkeypatch.setattr(UNet, "forward", full)
    match = "out of memory while testing: .*; give a smaller --test-batch-size"
    with pytest.raises(DeviceError, match=match):
        go(CONFIG, sets, run)


def test_a_graph_that_cannot_be_drawn_costs_nothing_that_was_learned(
    sets: Sets, run: Path, uninterrupted: Path
) -> None:
    (run / "losses.png").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"losses\.png: cannot be written"):
        go(CONFIG, sets, run, should_stop=after(4))
    (run / "losses.png").rmdir()
    go(CONFIG, sets, run, resume=True)
    assert_same_run(run, uninterrupted)


def test_the_best_is_saved_even_where_training_goes_off(
    sets: Sets, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = saves(monkeypatch)
    pretend(monkeypatch, [0.3, 0.2, math.nan], [50] * 3)
    with pytest.raises(TrainingError, match=r"epoch 3 is not a finite number; .* start from its"):
        go(CONFIG, sets, run)
    assert written == [(BEST, 1), (LAST, 1), (BEST, 2)]


def test_what_a_killed_process_was_writing_goes_when_it_is_resumed(
    sets: Sets, run: Path, uninterrupted: Path
) -> None:
    go(CONFIG, sets, run, should_stop=after(4))
    for folder in (run, run / "samples"):
        (folder / ".flowercolor-0.tmp").touch()
    go(CONFIG, sets, run, resume=True)
    assert not list(run.rglob("*.tmp"))
    assert_same_run(run, uninterrupted)


def test_a_precision_that_there_is_not_leaves_nothing_behind(sets: Sets, run: Path) -> None:
    with pytest.raises(SettingError, match="precision is 'fp16'"):
        go(CONFIG, sets, run, precision="fp16")
    assert not run.exists()


def test_a_kill_between_saves_loses_what_came_after_the_one_before(
    sets: Sets, run: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saves(monkeypatch)
    stopping = after(3 * STEPS + 1)

    def should_stop() -> bool:
        if stopping():
            raise Killed
        return False

    with pytest.raises(Killed):
        go(CONFIG, sets, run, should_stop=should_stop)
    assert read_info(run / LAST).epoch == 1
    assert read_metrics(run)[-1]["epoch"] == 3
    go(CONFIG, sets, run, resume=True)
    assert_same_run(run, uninterrupted)


def go_on(sets: Sets, run: Path, began: Event) -> None:
    """Train `LONGER` in a process of its own, from where the last one was killed."""
    torch.set_num_threads(1)
    training.SAVE_EVERY_S = 0  # the more there is to be killed
    began.set()
    go(LONGER, sets, run, resume=(run / LAST).exists())


def saved_ns(run: Path) -> int:
    """When the last checkpoint was written, 0 for never."""
    return (run / LAST).stat().st_mtime_ns if (run / LAST).exists() else 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_run_killed_at_random_equals_one_that_was_not(
    sets: Sets, run: Path, tmp_path: Path
) -> None:
    """Killed from outside while it computes and writes, and with the real plots."""
    # A server that has imported torch once forks each process in no time.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["flowercolor.training.loop", "matplotlib.figure"])
    rng = random.Random(0)
    kills = 0
    go(LONGER, sets, tmp_path / "whole")
    for _ in range(3 * KILLS):
        began = context.Event()
        process = context.Process(target=go_on, args=(sets, run, began))
        process.start()
        try:
            assert began.wait(60)
            if kills < KILLS:
                # After a checkpoint, so that there is something to go on from.
                before = saved_ns(run)
                while process.is_alive() and saved_ns(run) == before:
                    process.join(0.01)
                process.join(rng.uniform(0, 0.2))
                kills += process.is_alive()
                process.kill()
            process.join(60)
            if process.exitcode == 0:
                break
            assert process.exitcode == -9, "it failed by itself"
        finally:
            process.kill()
            process.join()
    assert kills >= KILLS // 2  # a fast machine is done before
    assert not list(run.rglob(".*.tmp")), "what a killed process was writing stays"
    assert_same_run(run, tmp_path / "whole")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"lr": 2e-3}, r"with other settings than those given now: lr 0.001, not 0.002; "),
        (
            {"seed": 1, "network": NetworkConfig(3)},
            r"than those given now: seed 42, not 1, base_channels 2, not 3; ",
        ),
    ],
)
def test_going_on_with_other_settings_is_refused(
    sets: Sets, uninterrupted: Path, settings: dict[str, Any], reason: str
) -> None:
    assert_resume_refused(changed(**settings), sets, uninterrupted, reason)


def assert_resume_refused(config: TrainConfig, sets: Sets, run: Path, reason: str) -> None:
    """In one line that names the checkpoint; the run stays as it is."""
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(CheckpointError, match=reason) as caught:
        go(config, sets, run, resume=True)
    assert str(caught.value).startswith(f"{run / LAST}: ")
    assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_going_on_with_other_photos_is_refused(sets: Sets, uninterrupted: Path) -> None:
    photos = dataclasses.replace(sets[0].photos, fingerprint="another")
    others = FlowerDataset(photos, range(10)), FlowerDataset(photos, [10, 11])
    assert_resume_refused(CONFIG, others, uninterrupted, "trained on other photos")


def test_photos_that_were_moved_are_the_same(sets: Sets, run: Path) -> None:
    config = changed(epochs=1)
    go(config, sets, run, should_stop=after(1))
    moved = [
        FlowerDataset(dataclasses.replace(one.photos, source=Path("elsewhere")), one.indices)
        for one in sets
    ]
    assert go(config, (moved[0], moved[1]), run, resume=True).finished
    assert read_info(run / LAST).data["name"] == "elsewhere"


def test_going_on_from_weights_alone_is_refused(sets: Sets, run: Path, uninterrupted: Path) -> None:
    run.mkdir()
    (run / LAST).write_bytes((uninterrupted / BEST).read_bytes())
    assert_resume_refused(CONFIG, sets, run, "holds weights only; resuming needs the last")


@pytest.mark.parametrize(
    ("changed_to", "named"),
    [
        ({"optimizer_d.": None}, r"optimizer_d\.0\.exp_avg"),
        ({"optimizer_g.0.exp_avg": torch.zeros(1)}, r"optimizer_g\.0\.exp_avg"),
        ({"optimizer_g.more": torch.zeros(1)}, r"optimizer_g\.more"),
        ({"totals": torch.zeros(1)}, "totals"),
    ],
)
def test_going_on_from_half_a_state_is_refused(
    sets: Sets, run: Path, uninterrupted: Path, changed_to: dict[str, Any], named: str
) -> None:
    """Without its moments an optimizer would begin anew, and nothing would tell."""
    info, tensors = load_tensors(uninterrupted / LAST)
    for name, value in changed_to.items():
        if value is None:
            tensors = {key: kept for key, kept in tensors.items() if not key.startswith(name)}
        else:
            tensors[name] = value
    run.mkdir()
    save_checkpoint(run / LAST, info, tensors)
    assert_resume_refused(CONFIG, sets, run, f"of the optimizers does not fit .*: {named}; resum")


def test_going_on_from_a_run_of_an_older_version_is_refused(
    sets: Sets, run: Path, uninterrupted: Path
) -> None:
    """Its sums are others, and its metrics have no steps."""
    info, tensors = load_tensors(uninterrupted / LAST)
    data = {name: value for name, value in info.data.items() if name != "photos_crc32"}
    run.mkdir()
    save_checkpoint(run / LAST, dataclasses.replace(info, data=data, version="0.0.1"), tensors)
    assert_resume_refused(CONFIG, sets, run, "flowercolor 0.0.1 wrote it in a form that")


def test_going_on_from_nothing_is_refused(sets: Sets, run: Path) -> None:
    assert_resume_refused(CONFIG, sets, run, "no such file; expected a checkpoint")


# What goes wrong


def test_a_full_disk_keeps_the_last_checkpoint_and_the_run_can_go_on(
    sets: Sets, run: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if b"optimizer_g." in content and (run / LAST).exists():
            write(path, content[:100])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(StorageError, match=r"last\.safetensors: .* the disk is full"):
            go(CONFIG, sets, run)
    assert load_tensors(run / LAST)[0].epoch == 1
    go(CONFIG, sets, run, resume=True)
    assert_same_run(run, uninterrupted)


@pytest.mark.parametrize("stop", [False, True])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_losses_that_are_no_numbers_end_the_run_and_spoil_nothing(
    sets: Sets, run: Path, monkeypatch: pytest.MonkeyPatch, stop: bool, value: float
) -> None:
    go(changed(epochs=1), sets, run)
    before = (run / LAST).read_bytes(), (run / BEST).read_bytes(), rows(run)
    monkeypatch.setattr(engine, "adversarial_loss", lambda logits: logits.mean() * value)
    with pytest.raises(TrainingError, match="a loss of epoch 2 is not a finite number") as caught:
        go(CONFIG, sets, run, resume=True, should_stop=after(1) if stop else after(-1))
    assert str(caught.value).startswith(f"{run}: ")
    assert "\n" not in str(caught.value)
    assert ((run / LAST).read_bytes(), (run / BEST).read_bytes(), rows(run)) == before


def test_losses_that_are_no_numbers_before_the_first_checkpoint_name_none(
    sets: Sets, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "adversarial_loss", lambda logits: logits.mean() * math.nan)
    with pytest.raises(TrainingError, match="nothing was saved yet: begin again with a lower lr"):
        go(CONFIG, sets, run)
    assert not list(run.glob("*.safetensors"))


def test_a_device_that_is_not_there_is_refused_before_anything_is_written(
    sets: Sets, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError):
        go(CONFIG, sets, run, device="cuda")
    assert not run.exists()


@pytest.mark.parametrize(("what", "option"), [("source", "--data"), ("labels", "--labels")])
def test_what_a_run_learned_from_has_to_be_there(run: Path, what: Any, option: str) -> None:
    assert find_source(run, what) is None
    write_text(run / "config.json", json.dumps({"data": {what: str(archive_path())}}))
    assert find_source(run, what) is None  # it can be fetched anew
    write_text(run / "config.json", json.dumps({"data": {what: str(run / "gone")}}))
    assert read_source(run, what) == run / "gone"
    with pytest.raises(DataError, match=rf"gone: is there no more, and .* by {option} where"):
        find_source(run, what)
    (run / "gone").touch()
    assert find_source(run, what) == run / "gone"


def test_a_run_without_files_has_no_metrics_and_no_source(run: Path) -> None:
    assert read_metrics(run) == []
    assert read_source(run) is None


@pytest.mark.cuda
def test_a_gpu_trains_almost_alike(sets: Sets, run: Path, uninterrupted: Path) -> None:
    result = go(CONFIG, sets, run, device="cuda")
    expected = read_info(uninterrupted / LAST).test_l1
    assert result.test_l1 == pytest.approx(expected, rel=0.1)


@pytest.mark.cuda
@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize(
    "network", [NetworkConfig(32), NetworkConfig(32, "chroma", "efficientnet-lite0")]
)
def test_bits_are_equal_on_a_gpu_after_a_stop_too(
    sets: Sets, tmp_path: Path, network: NetworkConfig, precision: Precision
) -> None:
    """With channels enough for the kernels that GPUs are made for."""
    config = changed(network=network, crop=0.6, degrade=0.5, ema=0.9)
    once, twice = tmp_path / "once", tmp_path / "twice"
    on_gpu = {"device": "cuda", "precision": precision}
    go(config, sets, once, **on_gpu)
    assert not go(config, sets, twice, **on_gpu, should_stop=after(4)).finished
    go(config, sets, twice, **on_gpu, resume=True)
    assert_same_run(twice, once)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"data": {}}', '{"data": {"source": 3}}'])
def test_a_foreign_config_tells_no_source(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    assert runs.read_source(tmp_path) is None


def test_a_run_goes_on_with_the_photos_that_it_has_learned_from(
    photos: Photos, sets: Sets, run: Path
) -> None:
    """As many others would do as well, were they not told from them."""
    go(CONFIG, sets, run, should_stop=after(1))
    others = FlowerDataset(photos, [*range(9), 11]), FlowerDataset(photos, [10, 9])
    for train_set, test_set in ((others[0], sets[1]), (sets[0], others[1])):
        with pytest.raises(CheckpointError, match="trained on other photos or classes"):
            go(CONFIG, (train_set, test_set), run, resume=True)
    assert go(CONFIG, sets, run, resume=True).finished


def test_a_run_is_not_resumed_and_begun_from_another_at_once(
    sets: Sets, run: Path, uninterrupted: Path
) -> None:
    go(CONFIG, sets, run, should_stop=after(1))
    with pytest.raises(SettingError, match="resumed or begun from a checkpoint, not both"):
        go(CONFIG, sets, run, resume=True, start_from=uninterrupted / BEST)


def test_processes_that_do_not_know_of_each_other_are_refused(
    sets: Sets, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("RANK", 0), ("WORLD_SIZE", 2), ("LOCAL_RANK", 0)):
        monkeypatch.setenv(name, str(value))
    with pytest.raises(SettingError, match=r"one of 2 processes, .* within .*distributed\.joined"):
        go(CONFIG, sets, run)
    assert not run.exists()


def test_a_resumed_run_may_test_faster(sets: Sets, tmp_path: Path) -> None:
    """The batch size of testing decides nothing that is learned."""
    once = dataclasses.replace(CONFIG, epochs=1)
    train(once, *sets, tmp_path, device="cpu")
    faster = dataclasses.replace(once, epochs=2, test_batch_size=once.test_batch_size + 1)
    assert train(faster, *sets, tmp_path, device="cpu", resume=True).epoch == 2


@pytest.mark.parametrize("left", [(10, 0), (0, 2)])
def test_a_set_without_photos_is_refused(sets: Sets, run: Path, left: tuple[int, int]) -> None:
    few = sets[0].subset(range(left[0])), sets[1].subset(range(left[1]))
    with pytest.raises(DataError, match=r"photos to learn from and .* to test on; ") as caught:
        train(CONFIG, *few, run, device="cpu")
    assert "\n" not in str(caught.value)
    assert not run.exists()


def test_freezing_random_weights_is_refused(sets: Sets, run: Path, uninterrupted: Path) -> None:
    config = changed(freeze_deep=True, epochs=1)
    wider = dataclasses.replace(config, network=NetworkConfig(CONFIG.network.base_channels + 1))
    for frozen, parent in ((config, None), (wider, uninterrupted / BEST)):
        with pytest.raises(SettingError, match="at random; start from a trained"):
            go(frozen, sets, run, start_from=parent)
        assert not run.exists()
    assert go(config, sets, run, start_from=uninterrupted / BEST).finished


@pytest.mark.parametrize("batch_size", [1, 3, 9])
def test_a_batch_of_one_photo_at_the_smallest_size_is_refused(
    sets: Sets, tmp_path: Path, batch_size: int
) -> None:
    config = dataclasses.replace(CONFIG, size_px=16, batch_size=batch_size)
    with pytest.raises(SettingError, match="leave a batch of one"):
        train(config, *sets, tmp_path, device="cpu")
    assert not list(tmp_path.iterdir())
