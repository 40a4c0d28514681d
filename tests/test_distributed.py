import os
import pickle
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from flowercolor.checkpoint import load_tensors, named, read_info, save_checkpoint
from flowercolor.cli.app import app
from flowercolor.config import NetworkConfig, TrainConfig
from flowercolor.data.dataset import FlowerDataset
from flowercolor.data.loader import batches, draw_epoch
from flowercolor.data.photo_cache import Photos
from flowercolor.distributed import (
    all_reduce_sum,
    any_rank,
    average_buffers,
    ending_together,
    from_leader,
    in_turn,
    joined,
)
from flowercolor.errors import DataError, FlowercolorError
from flowercolor.runs import LAST, read_metrics
from flowercolor.torchrun import ranks
from flowercolor.training import log, resume
from flowercolor.training import loop as training
from flowercolor.training.gan import GAN
from flowercolor.training.loop import TrainResult, train
from tests.helpers import assert_equal

InRanks = Callable[..., list[Any]]
StartRanks = Callable[..., AbstractContextManager[list[Any]]]

CPU = torch.device("cpu")
# Batches of 5 and 5 photos, of which two processes have 3 and 2: enough for batch norm.
CONFIG = TrainConfig(NetworkConfig(2), epochs=2, batch_size=5, lr=1e-3, size_px=16, ema=0.5)


def test_alone_everything_stays_as_it_is() -> None:
    norm = nn.BatchNorm2d(1)
    with joined(CPU), in_turn(), ending_together():
        assert all_reduce_sum(torch.tensor(3)) == 3
        assert not any_rank(False)
        assert any_rank(True)
        assert from_leader(lambda: "said") == "said"
        average_buffers(norm)
    assert norm.running_var == 1


def talk(left: Path) -> dict[str, Any]:
    """What each process hears from the other."""
    rank = ranks().rank
    norm = nn.BatchNorm2d(1)
    assert norm.running_mean is not None
    norm.running_mean.fill_(rank)
    with joined(CPU):
        with in_turn():
            if rank == 0:
                time.sleep(0.3)
                left.write_text("found")
            found = left.read_text()
        with ending_together():
            if rank == 1:
                time.sleep(0.3)
                left.write_text("found later")
        found_later = left.read_text()
        average_buffers(norm)
        return {
            "found": [found, found_later],
            "sum": all_reduce_sum(torch.tensor([1.0 + rank])).item(),
            "agreed": [any_rank(rank == 1), any_rank(False)],
            "said": from_leader(lambda: f"from {rank}"),
            "mean": norm.running_mean.item(),
            "batches": norm.num_batches_tracked.item() if norm.num_batches_tracked else 0,
        }


def test_what_the_processes_tell_each_other(in_ranks: InRanks, tmp_path: Path) -> None:
    heard = in_ranks(2, talk, tmp_path / "left")
    expected = {"found": ["found", "found later"], "sum": 3, "agreed": [True, False]}
    assert heard == [{**expected, "said": "from 0", "mean": 0.5, "batches": 0}] * 2


def gradients(photos: Photos, config: TrainConfig) -> list[dict[str, Tensor]]:
    """Of each step of an epoch, with weights that hardly move; and the figures told of it.

    Batch norm over a share of a batch is another function than over the whole, so here it is in
    evaluation mode throughout, where it is the same for both.
    """
    nn.BatchNorm2d.train = lambda self, mode=True: nn.Module.train(self, False)  # type: ignore[method-assign]
    with joined(CPU):
        engine = GAN(config, CPU, "float32", compiled=False)
        engine.discriminator.train()
        dataset = FlowerDataset(photos, range(11))
        told = []
        for batch in batches(dataset, draw_epoch(config, 11, 1), config.batch_size, CPU):
            norms = engine.step(batch, lr=1e-12, gradient_norms=True)
            figures = {name: torch.tensor(value) for name, value in norms.items()}
            figures |= {name: torch.tensor(value) for name, value in engine.means().items()}
            for network in (engine.generator, engine.discriminator):
                for name, parameter in network.named_parameters():
                    assert parameter.grad is not None
                    figures[f"{type(network).__name__}.{name}"] = parameter.grad.clone()
            told.append(figures)
        return told


def test_gradients_are_those_of_one_process_on_the_joined_batch(
    in_ranks: InRanks, photos: Photos
) -> None:
    """Batches of 5, 5 and 1: shared by two as 3 and 2, and 1 and none. Batch norm aside."""
    config = replace(CONFIG, degrade=0.5)
    (alone,) = in_ranks(1, gradients, photos, config)
    assert len(alone) == 3
    for told in in_ranks(2, gradients, photos, config):
        for expected, figures in zip(alone, told, strict=True):
            assert expected.keys() == figures.keys()
            for name, value in expected.items():
                scale = value.abs().max().item()
                torch.testing.assert_close(
                    figures[name].float(), value.float(), rtol=1e-3, atol=1e-5 * scale + 1e-9
                )


def run_in(
    photos: Photos,
    config: TrainConfig,
    runs: list[Path],
    resume: bool = False,
    stop: int = 0,
    **options: Any,
) -> tuple[TrainResult, dict[str, Tensor]]:
    """Train, the last process being asked to stop after so many steps; the weights at the end."""
    engines = []
    place = ranks()
    asked = 0

    class Kept(GAN):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            engines.append(self)

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked == stop and place.rank == place.size - 1

    vars(training)["GAN"] = Kept
    vars(log)["plot_losses"] = lambda *_: None  # takes longer than an epoch here
    sets = FlowerDataset(photos, range(10)), FlowerDataset(photos, [10, 11])
    options |= {"resume": resume, "should_stop": should_stop, "device": "cpu"}
    with joined(CPU):
        result = train(config, *sets, runs[place.rank], **options)
    engine = engines[0]
    tensors = named(engine.evaluated, "judged.") | named(engine.generator, "live.")
    return result, tensors | named(engine.discriminator, "discriminator.")


@pytest.fixture(scope="module")
def of_two(
    in_ranks: InRanks, photos: Photos, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Any]]:
    """A run by two processes, of which each was told another folder; and what they returned."""
    folder = tmp_path_factory.mktemp("runs")
    runs = [folder / "0", folder / "1"]
    return folder, in_ranks(2, run_in, photos, CONFIG, runs)


def test_two_processes_end_with_the_same_weights_and_statistics(
    of_two: tuple[Path, list[Any]],
) -> None:
    """Also that the discriminator's two passes before it goes back do not break batch norm."""
    (first, weights), (second, others) = of_two[1]
    assert first.finished
    assert replace(second, run=first.run) == first
    live = {name for name in weights if not name.startswith("judged.")}
    # Of the live weights no one asks for the statistics but training, and it after each epoch.
    assert_equal({n: weights[n] for n in live}, {n: others[n] for n in live})
    assert_equal(weights, others)


def test_one_process_writes_for_all(of_two: tuple[Path, list[Any]]) -> None:
    folder, ((_, weights), _) = of_two
    assert [path.name for path in folder.iterdir()] == ["0"]
    _, saved = load_tensors(folder / "0" / LAST)
    for name, prefix in (("generator.", "judged."), ("discriminator.", "discriminator.")):
        own = {k.removeprefix(name): v for k, v in saved.items() if k.startswith(name)}
        assert_equal(own, {k.removeprefix(prefix): v for k, v in weights.items() if prefix in k})
    assert len(read_metrics(folder / "0")) == 2


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_a_run_goes_on_with_another_number_of_processes(
    in_ranks: InRanks, photos: Photos, tmp_path: Path, before: int, after: int
) -> None:
    """Stopped in the middle of an epoch because one of the processes was asked to."""
    runs = [tmp_path / "run"] * 2
    stopped = in_ranks(before, run_in, photos, CONFIG, runs, False, 1)
    assert [result.finished for result, _ in stopped] == [False] * before
    assert_equal(stopped[0][1], stopped[-1][1])
    info, tensors = load_tensors(runs[0] / LAST)
    assert (info.epoch, info.step) == (0, 1)
    assert tensors["totals"][-1] == 5, "the sums over the photos of all"

    resumed = in_ranks(after, run_in, photos, CONFIG, runs, True)
    assert [(result.finished, result.epoch) for result, _ in resumed] == [(True, 2)] * after
    assert_equal(resumed[0][1], resumed[-1][1])
    assert [row["step"] for row in read_metrics(runs[0])] == [2, 4]


def stop_and_look(photos: Photos, run: Path) -> bool:
    """Whether the state is there once this process is done."""

    def save(*args: Any) -> None:
        time.sleep(1)
        save_checkpoint(*args)

    vars(resume)["save_checkpoint"] = save
    run_in(photos, CONFIG, [run, run], False, 1)
    return (run / LAST).exists()


@pytest.mark.slow
def test_a_stopped_run_ends_once_its_state_is_written(
    in_ranks: InRanks, photos: Photos, tmp_path: Path
) -> None:
    """With the first that ends by Ctrl-C, `torchrun` ends the others of its machine."""
    assert in_ranks(2, stop_and_look, photos, tmp_path / "run") == [True, True]


def with_other_photos(photos: Photos, run: Path, of_classes: bool) -> str:
    config, labels = CONFIG, None
    if of_classes:  # one more in one of the processes, so that its classifier is larger
        config = replace(CONFIG, lambda_class=0.5)
        labels = run.with_name(f"labels-{ranks().rank}.csv")
        count = 2 + ranks().rank
        lines = [f"{name},{at % count}" for at, name in enumerate(photos.names)]
        labels.write_text("\n".join(["file,class", *lines]))
    elif ranks().rank == 1:
        photos = replace(photos, rgb=photos.rgb[::-1].copy())
    try:
        run_in(photos, config, [run, run], labels=labels)
    except FlowercolorError as error:
        return f"{type(error).__name__}: {error}"
    return ""


def unconnected() -> str:
    os.environ["GLOO_SOCKET_IFNAME"] = "nosuch0"
    try:
        with joined(CPU):
            return ""
    except FlowercolorError as error:
        return str(error)


def test_who_cannot_meet_the_others_is_not_told_that_they_died(in_ranks: InRanks) -> None:
    for rank, said in enumerate(in_ranks(2, unconnected)):
        assert said.startswith(f"rank {rank} of 2: cannot be connected with the others: ")
        assert "nosuch0" in said
        assert "[" not in said, "where in the library"


@pytest.mark.parametrize("of_classes", [False, True])
def test_a_process_with_other_photos_is_refused_and_the_other_does_not_wait(
    in_ranks: InRanks, photos: Photos, tmp_path: Path, of_classes: bool
) -> None:
    """Or with other classes of the same photos."""
    first, second = in_ranks(2, with_other_photos, photos, tmp_path / "run", of_classes)
    assert second.startswith(f"{DataError.__name__}: {photos.source}: not the photos that rank 0")
    assert first == (
        "TrainingError: rank 0 of 2: another process has died or left, so this one stops too; see "
        "what that one says, then start again, `train` with `resume`"
    ), "and nothing of what the library says of it"


def train_for_long(archive: Path, run: Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(
        app,
        [
            *("train", "--data", str(archive), "--out", str(run), "--epochs", "100000"),
            *("--base-channels", "2", "--size", "16", "--batch-size", "5", "--device", "cpu"),
        ],
    )
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("victim", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_where_one_process_is_killed_the_other_ends_in_one_line(
    start_ranks: StartRanks, archive: Path, tmp_path: Path, victim: int
) -> None:
    run = tmp_path / "run"
    with start_ranks(2, train_for_long, archive, run) as started:
        deadline = time.monotonic() + 60
        while not (run / LAST).exists():
            assert time.monotonic() < deadline, "it never came to an end of an epoch"
            time.sleep(0.05)
        process, _ = started[victim]
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        _, receives = started[1 - victim]
        assert receives.poll(20), "it hangs"
        code, stdout, stderr = pickle.loads(receives.recv_bytes())
    assert code == 1
    assert stdout == ""
    said = stderr.splitlines()
    assert said[-1].startswith(f"Error: rank {1 - victim} of 2: another process has died or left")
    if victim == 1:  # the leader names the run, and says how each epoch did beside gray
        assert "run folder" in said[0]
    assert sum("Error" in line for line in said) == 1
    assert victim == 1 or len(said) == 1
    assert read_info(run / LAST).epoch > 0
    load_tensors(run / LAST)
