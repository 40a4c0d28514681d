"""A run that is stopped, or killed at any point, goes on to the same bits."""

import dataclasses
import errno
import math
import multiprocessing
import os
import random
import sys
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest
import torch

from flowercolor.checkpoint import load_tensors, read_info, save_checkpoint
from flowercolor.config import NetworkConfig, Precision
from flowercolor.errors import CheckpointError, StorageError
from flowercolor.runs import BEST, LAST, read_metrics
from flowercolor.training.run_plan import plan_run
from tests.helpers import Recorder
from tests.training.helpers import (
    CONFIG,
    STEPS,
    Sets,
    after,
    assert_resume_refused,
    assert_same_run,
    changed,
    go,
    rows,
)

KILLS = 6


LONGER = changed(epochs=2 * KILLS)


def test_a_stopped_run_leaves_the_same_rows(sets: Sets, tmp_path: Path) -> None:
    """With everything on that going on could lose; between, at and after log points."""
    config = changed(epochs=2, ema=0.9, crop=0.5, degrade=0.7)
    config = dataclasses.replace(config, lr_decay="cosine", criterion="vivid")
    whole = tmp_path / "whole"
    go(config, sets, whole, log_steps=2)
    assert len(rows(whole)) == 4
    for step in (1, 2, 3, 4, 6):
        parts = tmp_path / str(step)
        assert not go(config, sets, parts, should_stop=after(step), log_steps=2).finished
        assert go(config, sets, parts, resume=True, log_steps=2).finished
        assert_same_run(parts, whole)


def test_two_epochs_and_two_more_equal_four(sets: Sets, run: Path, uninterrupted: Path) -> None:
    """Also shows that a run may be made longer."""
    assert go(changed(epochs=2), sets, run).epoch == 2
    assert go(CONFIG, sets, run, resume=True).finished
    assert read_info(run / LAST).config == CONFIG
    assert_same_run(run, uninterrupted)


@pytest.mark.slow
def test_bits_are_equal_with_as_many_threads_as_there_are(sets: Sets, tmp_path: Path) -> None:
    torch.set_num_threads(os.cpu_count() or 1)
    try:
        go(changed(epochs=2), sets, tmp_path / "whole")
        go(changed(epochs=1), sets, tmp_path / "parts")
        go(changed(epochs=2), sets, tmp_path / "parts", resume=True)
    finally:
        torch.set_num_threads(1)
    assert_same_run(tmp_path / "parts", tmp_path / "whole")


@pytest.mark.slow
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


@pytest.mark.slow
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
        assert resume or not (run / BEST).exists()
        go(config, sets, run, resume=resume)
        assert_same_run(run, tmp_path / "whole")


def test_a_graph_that_cannot_be_drawn_costs_nothing_that_was_learned(
    sets: Sets, run: Path, uninterrupted: Path
) -> None:
    (run / "losses.png").mkdir(parents=True)
    (run / "config.json").write_bytes(
        (uninterrupted / "config.json").read_bytes()
    )  # else not begun
    with pytest.raises(StorageError, match=r"losses\.png: cannot be written"):
        go(CONFIG, sets, run, should_stop=after(4))
    (run / "losses.png").rmdir()
    go(CONFIG, sets, run, resume=True)
    assert_same_run(run, uninterrupted)


@pytest.mark.parametrize("kept_bytes", [None, 5000])
def test_where_the_best_is_lost_the_best_from_there_on_takes_its_place(
    sets: Sets,
    run: Path,
    scored: Callable[[list[float], list[float]], None],
    kept_bytes: int | None,
) -> None:
    """Deleted, or cut; not one of the later epochs is as good as the lost one was."""
    scored([0.1, 0.2, 0.4, 0.3], [50.0] * 4)
    go(changed(epochs=2), sets, run)
    content = (run / BEST).read_bytes()
    (run / BEST).unlink()
    if kept_bytes:
        (run / BEST).write_bytes(content[:kept_bytes])
    notes = Recorder()
    result = go(changed(epochs=2), sets, run, resume=True, progress=notes)
    assert (result.test_l1, result.best_l1) == (0.2, None)
    [note] = notes.notes
    found = "damaged" if kept_bytes else "missing"
    assert note == (
        f"{run / BEST}: is {found}, and with it epoch 1, the best so far; the best from here on "
        "takes its place"
    )
    result = go(CONFIG, sets, run, resume=True, progress=Recorder())
    assert (result.test_l1, result.best_l1) == (0.3, 0.3)
    assert (read_info(run / BEST).epoch, read_info(run / LAST).best_epoch) == (4, 4)


@pytest.mark.parametrize("kept_bytes", [None, 5000])
def test_a_best_that_is_the_last_epoch_is_written_anew(
    sets: Sets, run: Path, uninterrupted: Path, kept_bytes: int | None
) -> None:
    go(changed(epochs=1), sets, run)
    content = (run / BEST).read_bytes()
    (run / BEST).write_bytes(content[:kept_bytes])
    if kept_bytes is None:
        (run / BEST).unlink()
    notes = Recorder()
    assert go(changed(epochs=1), sets, run, resume=True, progress=notes).best_l1 is not None
    assert notes.notes[0].endswith(f"; it is written anew from {LAST}, which is the best epoch")
    go(CONFIG, sets, run, resume=True)
    assert_same_run(run, uninterrupted)


def test_what_a_killed_process_was_writing_goes_when_it_is_resumed(
    sets: Sets, run: Path, uninterrupted: Path
) -> None:
    go(CONFIG, sets, run, should_stop=after(4))
    for folder in (run, run / "samples"):
        (folder / ".flowercolor-0.tmp").touch()
    go(CONFIG, sets, run, resume=True)
    assert not list(run.rglob("*.tmp"))
    assert_same_run(run, uninterrupted)


def test_a_kill_between_saves_loses_what_came_after_the_one_before(
    sets: Sets, run: Path, uninterrupted: Path
) -> None:
    stopping = after(3 * STEPS + 1)

    def should_stop() -> bool:
        if stopping():
            raise Killed
        return False

    with pytest.raises(Killed):
        go(CONFIG, sets, run, should_stop=should_stop, save_every_s=math.inf)
    assert read_info(run / LAST).epoch == 1
    assert read_metrics(run)[-1]["epoch"] == 3
    go(CONFIG, sets, run, resume=True)
    assert_same_run(run, uninterrupted)


def go_on(sets: Sets, run: Path, began: Event) -> None:
    """Train `LONGER` in a process of its own, from where the last one was killed."""
    began.set()
    # The more often it saves, the more there is to be killed.
    go(LONGER, sets, run, resume=(run / LAST).exists(), save_every_s=0)


def saved_ns(run: Path) -> int:
    """When the last checkpoint was written, 0 for never."""
    return (run / LAST).stat().st_mtime_ns if (run / LAST).exists() else 0


@pytest.mark.slow
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
    ("room", "said"),
    [
        (0, rf"{LAST}: .* the disk is full; .*, then begin again: nothing was saved yet"),
        (1, rf"{BEST}: .* the disk is full; .*, then go on by `resume`"),
        (2, rf"{LAST}: .* the disk is full; .*, then go on by `resume`"),
    ],
)
def test_after_a_full_disk_the_run_can_go_on_or_begin_again(
    sets: Sets,
    run: Path,
    uninterrupted: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    room: int,
    said: str,
) -> None:
    """At the first checkpoint that is written, the second and the third."""
    write, written = Path.write_bytes, 0

    def full(path: Path, content: bytes) -> int:
        nonlocal written
        if b"generator." in content:
            if written >= room:
                write(path, content[:100])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written += 1
        return write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(StorageError, match=said):
            go(changed(epochs=4), sets, run, save_every_s=math.inf if room == 2 else 0)
    assert (run / LAST).exists() == bool(room)
    assert (run / BEST).exists() == (room == 2)
    go(CONFIG, sets, run, resume=bool(room))
    assert_same_run(run, uninterrupted)


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


def test_going_on_from_weights_alone_is_refused(sets: Sets, run: Path, uninterrupted: Path) -> None:
    run.mkdir()
    (run / LAST).write_bytes((uninterrupted / BEST).read_bytes())
    assert_resume_refused(CONFIG, sets, run, "holds weights only; resuming needs the last")


@pytest.mark.parametrize("best", [True, False])
def test_where_the_last_is_damaged_the_way_out_is_named(
    sets: Sets, run: Path, uninterrupted: Path, *, best: bool
) -> None:
    run.mkdir()
    (run / LAST).write_bytes((uninterrupted / LAST).read_bytes()[:5000])
    way = "nothing else was saved there: begin again"
    if best:
        (run / BEST).write_bytes((uninterrupted / BEST).read_bytes())
        way = f"begin another with its {BEST} by `start_from`"
    assert_resume_refused(CONFIG, sets, run, f"not a whole safetensors file .* wrote; {way}$")
    with pytest.raises(CheckpointError, match=f"wrote; {way}$"):
        plan_run(resume=str(run))


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
