import dataclasses
import json
import math
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor

from flowercolor.checkpoint import load_generator, load_tensors, read_info, save_checkpoint
from flowercolor.config import NetworkConfig, TrainConfig
from flowercolor.data.dataset import FlowerDataset, split_validation
from flowercolor.data.photo_cache import Photos
from flowercolor.data.sources import merge
from flowercolor.errors import DeviceError, SettingError, TrainingError
from flowercolor.evaluation.scoring import score
from flowercolor.runs import BEST, LAST, read_metrics, read_source
from flowercolor.training.loop import TrainResult, train
from tests.helpers import Recorder, assert_equal, be_rank
from tests.training.helpers import (
    CONFIG,
    STEPS,
    Sets,
    after,
    assert_same_run,
    changed,
    files,
    go,
    initial,
    labeled,
    rows,
    saved,
)

Scored = Callable[[list[float], list[float]], None]
Written = list[tuple[str, int]]

SAVEFIG = Figure.savefig  # before any test blanks it


@pytest.mark.parametrize("output", [pytest.param("rgb", marks=pytest.mark.slow), "chroma"])
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
    del batches[0]  # all of them, of which the run's header has the checksum
    assert [len(batch) for batch in batches] == [4, 4, 2] * 4
    photos = list(chain.from_iterable(batches))
    epochs = [photos[first : first + 10] for first in range(0, len(photos), 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


@pytest.mark.parametrize("settings", [{"seed": 7}, {"flip": False}, {"lr": 2e-3}])
def test_equal_settings_give_equal_bits_and_others_do_not(
    sets: Sets, tmp_path: Path, settings: dict[str, Any]
) -> None:
    config = changed(epochs=1)
    for number, this in enumerate((config, config, dataclasses.replace(config, **settings))):
        torch.manual_seed(number)  # what the caller drew before must not matter
        before = torch.get_rng_state()
        go(this, sets, tmp_path / str(number))
        assert torch.equal(torch.get_rng_state(), before), "the caller's random numbers were used"
    assert_same_run(tmp_path / "0", tmp_path / "1")
    one, other = saved(tmp_path / "0", "generator."), saved(tmp_path / "2", "generator.")
    assert not torch.equal(one["head.weight"], other["head.weight"])


def test_bfloat16_trains_almost_alike(
    sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the CPU is not made for it, that is said."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    config, progress = changed(epochs=1), Recorder()
    exact = go(config, sets, tmp_path / "a")
    fast = go(config, sets, tmp_path / "b", precision="bf16", progress=progress)
    assert progress.notes[0].startswith("WARNING: this CPU is not made for bf16, and computes it")
    assert exact.test_l1 != fast.test_l1
    assert fast.test_l1 == pytest.approx(exact.test_l1, rel=0.05)
    assert saved(tmp_path / "b")["generator.head.weight"].dtype == torch.float32


def test_a_run_may_begin_with_the_weights_of_another(
    sets: Sets, run: Path, uninterrupted: Path
) -> None:
    settings = changed(epochs=1, lr=1e-9, seed=1)
    begun = uninterrupted / BEST
    result = train(settings, *sets, str(run), start_from=str(begun), device="cpu")
    assert result.start_l1 == pytest.approx(read_info(begun).test_l1, abs=1e-6)
    assert go(CONFIG, sets, run / "random").start_l1 is None
    after, start = saved(run, "generator."), saved(uninterrupted, "generator.", BEST)
    for name, _ in initial(CONFIG)[0].named_parameters():
        torch.testing.assert_close(after[name], start[name], atol=1e-6, rtol=0)


def test_a_run_may_learn_the_classes_too(sets: Sets, run: Path, tmp_path: Path) -> None:
    labels, config = labeled(tmp_path, sets), changed(epochs=1, lambda_class=0.5)
    go(config, sets, run, labels=labels)
    (row,) = read_metrics(run)
    assert row["loss_class"] > 0
    assert 0 <= row["class_accuracy"] <= 1
    assert read_source(run, "labels") == labels
    assert saved(run, "classifier.")["weight"].shape == (3, 32)
    assert not saved(run, "classifier.", BEST)


def test_a_run_leaves_its_folder(sets: Sets, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Figure, "savefig", SAVEFIG)
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
        run,
        True,
        2,
        second["test_l1"],
        min(first["test_l1"], second["test_l1"]),
        second["test_gray_l1"],
        second["step"],
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


def test_the_sheets_show_photos_of_each_source(photos: Photos, run: Path) -> None:
    train_set, test_set = (
        merge([FlowerDataset(photos, positions) for positions in parts])
        for parts in ((range(4), range(4, 8)), (range(9), [9, 10, 11]))
    )
    go(changed(epochs=1), (train_set, test_set), run)
    _, real = test_set.batch([0, 1, 2, 3, 4, 9, 10, 11])
    sheet = cv2.imread(str(run / "samples" / "epoch_0001.png"))
    assert sheet is not None
    shown = [sheet[2 + 18 * row : 18 + 18 * row, 38:54, ::-1] / 255 for row in range(8)]
    assert np.allclose(shown, real.permute(0, 2, 3, 1))


def test_the_graphs_of_a_run_on_the_validation_part_say_so(
    sets: Sets, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    go(changed(epochs=1, batch_size=5, validation=True), split_validation(sets[0]), run)
    named = [line.get_label() for line in drawn[-1].axes[-1].lines]
    assert "validation" in named
    assert "test" not in named


def test_the_best_checkpoint_scores_what_the_metrics_say(sets: Sets, uninterrupted: Path) -> None:
    best = min(read_metrics(uninterrupted), key=lambda row: row["test_l1"])
    generator, info = load_generator(uninterrupted / BEST)
    assert info.epoch == best["epoch"]
    assert info.test_l1 == info.best_l1 == best["test_l1"]
    assert score(generator, sets[1]).mean_l1 == pytest.approx(best["test_l1"], abs=1e-6)


@pytest.mark.parametrize(
    ("criterion", "best_epoch"),
    # 0.3 + 0.040, 0.31 + 0.029, 0.32 + 0.030, 0.33 + 0.005
    [("l1", 1), ("vivid", 4)],
)
def test_the_best_checkpoint_is_that_of_the_lowest_score(
    sets: Sets, run: Path, scored: Scored, criterion: Any, best_epoch: int
) -> None:
    """By L1 alone, or with a thousandth of how far the colorfulness is off, either way."""
    l1 = [0.3, 0.31, 0.32, 0.33]
    scored(l1, [10, 21, 80, 55])
    go(changed(criterion=criterion), sets, run)
    best, last = read_info(run / BEST), read_info(run / LAST)
    assert (best.epoch, best.best_epoch, last.best_epoch) == (best_epoch,) * 3
    assert best.test_l1 == best.best_l1 == last.best_l1 == l1[best_epoch - 1]
    assert best.best_score == pytest.approx({"l1": 0.3, "vivid": 0.335}[criterion])
    assert last.test_l1 == l1[-1]
    assert [row["colorfulness"] for row in read_metrics(run)] == [10, 21, 80, 55]


def test_patience_ends_a_run_that_no_longer_gets_better(
    sets: Sets, run: Path, scored: Scored
) -> None:
    """And it stays ended, unless one has more patience."""
    progress = Recorder()
    scored([0.5, 0.3, 0.4, 0.35, 0.31, 0.2], [1] * 6)
    config = changed(epochs=9, patience=2)
    result = go(config, sets, run, progress=progress)
    assert result == TrainResult(run, True, 4, 0.35, 0.3, 0.35, 4 * STEPS)
    said = "Stopped after epoch 4: none was better than epoch 2 for 2 epochs"
    assert [note for note in progress.notes if not note.startswith("Epoch")] == [said]
    before = (run / LAST).read_bytes()
    again = go(config, sets, run, resume=True, progress=progress)
    assert again == dataclasses.replace(result, gray_l1=again.gray_l1, was_finished=True)
    assert progress.notes[-1] == said
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
    config = changed(epochs=1, ema=0.5, batch_size=5, crop=0.3)
    many = sets[0].subset(torch.arange(10).repeat(7))
    go(config, (many, sets[1]), run)
    convolution, norm, *_ = load_generator(run / BEST)[0].stem
    before = convolution(sets[0].batch(range(10))[0])
    torch.testing.assert_close(norm.running_mean, before.mean(dim=(0, 2, 3)))


def test_with_few_photos_the_statistics_are_averaged_as_the_weights_are(
    sets: Sets, run: Path
) -> None:
    config = changed(epochs=1, ema=0.5, batch_size=5, crop=0.3)
    go(config, sets, run)
    go(config, sets, run.with_name("first"), should_stop=after(1))
    first, second = (saved(folder, "live.") for folder in (run.with_name("first"), run))
    average = saved(run, "generator.")
    for name in ("stem.1.running_mean", "stem.1.running_var", "stem.0.weight"):
        torch.testing.assert_close(average[name], (first[name] + second[name]) / 2)


def test_the_best_checkpoint_holds_the_generator_alone(uninterrupted: Path) -> None:
    assert all(name.startswith("generator.") for name in saved(uninterrupted, name=BEST))


def test_progress_counts_every_step_and_goes_on_where_a_run_stopped(sets: Sets, run: Path) -> None:
    whole, stopped = Recorder(), Recorder()
    go(CONFIG, sets, run, progress=whole)
    training, *testing = whole.tasks
    assert (training.label, training.done, training.total) == ("Training", 12, 12)
    assert [(task.label, task.done, task.total) for task in testing] == [("Testing", 2, 2)] * 4
    assert len(training.statuses) == 4
    assert training.statuses[0].startswith("epoch 1 ")

    other = run.with_name("other")
    go(CONFIG, sets, other, should_stop=after(5))
    go(CONFIG, sets, other, progress=stopped, resume=True)
    assert (stopped.tasks[0].label, stopped.tasks[0].done) == ("Training", 12)


def test_there_is_a_row_per_log_point_and_at_each_epochs_end(sets: Sets, run: Path) -> None:
    go(changed(epochs=2), sets, run, log_steps=2)
    written = rows(run)
    assert [row["step"] for row in written] == [2, 3, 5, 6]
    assert [row["epoch"] for row in written] == [0.6667, 1, 1.6667, 2]
    assert [{"test_l1", "colorfulness"} <= row.keys() for row in written] == [False, True] * 2
    measured = {"lr", "loss_g", "l1", "loss_d", "adversarial", "d_real", "d_fake"}
    for row in written:
        assert measured | {"grad_l1", "grad_adversarial"} <= row.keys()


@pytest.mark.parametrize("decay", ["none", "cosine"])
def test_the_learning_rate_stays_or_falls_along_half_a_wave(
    sets: Sets, run: Path, decay: Any
) -> None:
    go(changed(lr_decay=decay), sets, run, log_steps=1)
    used = [row["lr"] for row in read_metrics(run)]
    if decay == "none":
        assert used == [CONFIG.lr] * 12
    else:
        assert used[0] == CONFIG.lr
        assert used[6] == pytest.approx(CONFIG.lr / 2)
        assert 0 < used[11] < 0.02 * CONFIG.lr
        assert used == sorted(used, reverse=True)


@pytest.mark.parametrize("stop", [None, 3 * STEPS + 1])
def test_short_epochs_are_saved_together(
    sets: Sets, run: Path, scored: Scored, written: Written, stop: int | None
) -> None:
    """The first, so that there is something to go on from, and the last; the best with them."""
    l1, rarely = [0.3, 0.31, 0.2, 0.21], {"save_every_s": math.inf}
    scored(l1, [50] * 4)
    go(CONFIG, sets, run.with_name("each"), save_every_s=0)
    written.clear()

    scored(l1, [50] * 4)
    if stop:
        assert not go(CONFIG, sets, run, **rarely, should_stop=after(stop)).finished
        assert written == [(LAST, 1), (BEST, 1), (BEST, 3), (LAST, 3)]
        written.clear()
    go(CONFIG, sets, run, **rarely, resume=bool(stop))
    later = [(LAST, 4)] if stop else [(LAST, 1), (BEST, 1), (BEST, 3), (LAST, 4)]
    assert written == later
    assert_same_run(run, run.with_name("each"))


@pytest.mark.parametrize(
    ("doing", "setting"), [("training", "`batch_size`"), ("testing", "`test_batch_size`")]
)
def test_too_little_memory_names_the_settings_that_help(
    sets: Sets, run: Path, doing: str, setting: str
) -> None:
    class Full(Recorder):
        def task(self, label: str, total: int | None = None, unit: str = "") -> Any:
            if label.lower() == doing:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU")
            return super().task(label, total, unit)

    match = f"out of memory of the GPU while {doing}; give a smaller {setting}"
    with pytest.raises(DeviceError, match=match) as caught:
        go(CONFIG, sets, run, progress=Full())
    assert "\n" not in str(caught.value)


def test_the_best_is_saved_even_where_training_goes_off(
    sets: Sets, run: Path, scored: Scored, written: Written
) -> None:
    scored([0.3, 0.2, math.nan], [50] * 3)
    with pytest.raises(TrainingError, match=r"epoch 3 is not a finite number; .* start from its"):
        go(CONFIG, sets, run, save_every_s=math.inf)
    assert written == [(LAST, 1), (BEST, 1), (BEST, 2)]


def test_a_precision_that_there_is_not_leaves_nothing_behind(sets: Sets, run: Path) -> None:
    with pytest.raises(SettingError, match="precision is 'fp16'"):
        go(CONFIG, sets, run, precision="fp16")
    assert not run.exists()


@pytest.mark.parametrize("stop", [False, True])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_losses_that_are_no_numbers_end_the_run_and_spoil_nothing(
    sets: Sets, run: Path, stop: bool, value: float
) -> None:
    go(changed(epochs=1), sets, run)
    info, tensors = load_tensors(run / LAST)
    tensors["generator.head.bias"][0] = value
    save_checkpoint(run / LAST, info, tensors)
    before = (run / LAST).read_bytes(), (run / BEST).read_bytes(), rows(run)
    with pytest.raises(TrainingError, match="a loss of epoch 2 is not a finite number") as caught:
        go(CONFIG, sets, run, resume=True, should_stop=after(1) if stop else after(-1))
    assert str(caught.value).startswith(f"{run}: ")
    assert "\n" not in str(caught.value)
    assert ((run / LAST).read_bytes(), (run / BEST).read_bytes(), rows(run)) == before


def test_losses_that_are_no_numbers_before_the_first_checkpoint_name_none(
    sets: Sets, run: Path
) -> None:
    with pytest.raises(TrainingError, match="nothing was saved yet: begin again with a lower `lr`"):
        go(changed(lambda_l1=1e300), sets, run)
    assert not list(run.glob("*.safetensors"))


@pytest.mark.parametrize("name", ["run", "start_from", "labels", "by"])
def test_an_empty_name_is_refused_and_not_left_out(
    sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingError, match=f"^{name} is an empty name; expected a file or a fo"):
        train(CONFIG, *sets, **{"run": "run", name: ""})  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_device_that_is_not_there_is_refused_before_anything_is_written(
    sets: Sets, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError):
        go(CONFIG, sets, run, device="cuda")
    assert not run.exists()


@pytest.mark.cuda
def test_a_gpu_trains_almost_alike(sets: Sets, run: Path, uninterrupted: Path) -> None:
    result = go(CONFIG, sets, run, device="cuda")
    expected = read_info(uninterrupted / LAST).test_l1
    assert result.test_l1 == pytest.approx(expected, rel=0.1)


def test_processes_that_do_not_know_of_each_other_are_refused(
    sets: Sets, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_rank(monkeypatch, 0, 2)
    with pytest.raises(SettingError, match=r"one of 2 processes, .* within .*distributed\.joined"):
        go(CONFIG, sets, run)
    assert not run.exists()


# Hints


HINTS = changed(
    network=NetworkConfig(2, "chroma", hints=True), epochs=3, lambda_adv=0, ema=0.5, lr=0.01
)


@pytest.fixture(scope="module")
def trained(sets: Sets, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "before"
    go(changed(network=NetworkConfig(2, "chroma"), lambda_adv=0, epochs=1), sets, run)
    return run / BEST


def test_only_the_branch_for_hints_learns(sets: Sets, run: Path, trained: Path) -> None:
    """All that was there stays as it is, bit for bit, batch norm's statistics too."""
    progress = Recorder()
    result = go(HINTS, sets, run, start_from=trained, log_steps=1, progress=progress)
    assert f" {result.test_l1:.4f} with 5 hints a photo, " in progress.notes[-1]
    before, after = (saved(path.parent, "generator.", path.name) for path in (trained, run / BEST))
    assert {name for name in after if name not in before} == {
        name for name in after if name.startswith("hints.")
    }
    assert_equal(before, {name: after[name] for name in before})
    # That of L1 depends on how many hints a step draws.
    losses = [row["loss_bins"] for row in rows(run)]
    assert 0 < sum(losses[-3:]) < sum(losses[:3])
    assert result.best_l1 is not None


def test_a_run_of_hints_goes_on_to_the_bit(sets: Sets, run: Path, trained: Path) -> None:
    whole, parts = run / "whole", run / "parts"
    go(HINTS, sets, whole, start_from=trained)
    go(HINTS, sets, parts, start_from=trained, should_stop=after(4))
    go(HINTS, sets, parts, resume=True)
    assert_same_run(whole, parts)


def test_hints_are_learned_beside_a_trained_network_alone(
    sets: Sets, run: Path, trained: Path
) -> None:
    with pytest.raises(SettingError, match="`hints` needs a trained network"):
        go(HINTS, sets, run)
    with pytest.raises(SettingError, match="`hints` trains the branch for hints by L1 alone"):
        go(dataclasses.replace(HINTS, lambda_adv=1), sets, run, start_from=trained)


def test_a_run_without_hints_leaves_the_branch_behind(sets: Sets, run: Path, trained: Path) -> None:
    go(dataclasses.replace(HINTS, epochs=1), sets, run / "hints", start_from=trained)
    plain = dataclasses.replace(HINTS, network=NetworkConfig(2, "chroma"), epochs=1, ema=0)
    go(plain, sets, run / "plain", start_from=run / "hints" / BEST)
    assert not any(".hints." in name for name in saved(run / "plain"))
