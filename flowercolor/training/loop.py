"""The training of the two networks against each other (Isola et al. 2017, section 3).

`train` is one loop, readable from top to bottom. What it leaves behind is a run folder:

    config.json         the settings, the data and the machine
    best.safetensors    the generator of the best epoch, by the test
    last.safetensors    all that resuming needs; also a generator
    metrics.jsonl       a row per log point; the last of an epoch has the test's figures too
    losses.png          the losses, what the discriminator says, L1
    samples/            a sheet per epoch: gray, generated, truth, always the same photos
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from flowercolor.config import Precision, TrainConfig, texts
from flowercolor.data.dataset import FlowerDataset
from flowercolor.data.loader import batches, draw_epoch, to_device
from flowercolor.data.sources import epoch_length, some_of_each
from flowercolor.devices import compute_dtype, pick_device, warn_of_slow
from flowercolor.distributed import any_rank, check_joined
from flowercolor.errors import counted
from flowercolor.evaluation.scoring import TEST_HINTS, Scores, generate_for_test, score, score_gray
from flowercolor.files import named_path, remove_leftovers
from flowercolor.memory_budget import memory_errors
from flowercolor.progress import Progress, Silent
from flowercolor.runs import LAST, SAMPLES
from flowercolor.torchrun import ranks
from flowercolor.training.gan import GAN
from flowercolor.training.log import RunLog, epoch_line, grouped_metrics, score_metrics
from flowercolor.training.resume import RunState, Saver, saying_how_to_go_on
from flowercolor.training.setup import (
    RunData,
    load_first_weights,
    notes_on_beginning,
    prepare,
    restore_run,
    score_groups,
    write_config,
)

SAMPLE_COUNT = 8
RECALIBRATION_PHOTOS = 1024
VIVID_WEIGHT = 1e-3


@dataclass(frozen=True)
class TrainResult:
    """What a run came to.

    Attributes:
        finished: False where `should_stop` ended it.
        test_l1: The test score after the last of them; None before the first.
        best_l1: The test score of the best epoch; None where it is lost and none came after it.
        gray_l1: What leaving the photos gray would score; None where stopped before a test.
        steps: How many it has made in all.
        was_finished: It was resumed, and there was nothing left to do.
        start_l1: The test score of what it began with; None of random weights.
    """

    run: Path
    finished: bool
    epoch: int
    test_l1: float | None
    best_l1: float | None
    gray_l1: float | None = None
    steps: int = 0
    was_finished: bool = False
    start_l1: float | None = None


@memory_errors("training", "`batch_size`, then `base_channels`, then `size_px`")
def train(
    config: TrainConfig,
    train_set: FlowerDataset,
    test_set: FlowerDataset,
    run: str | Path,
    *,
    resume: bool = False,
    start_from: str | Path | None = None,
    left_out: str | Sequence[str] = (),
    labels: str | Path | None = None,
    shares: Sequence[float | None] = (),
    by: str | Path | None = None,
    device: str | torch.device = "auto",
    precision: Precision = "auto",
    compiled: bool = False,
    tensorboard: bool = False,
    log_steps: int = 50,
    save_every_s: float = 60.0,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainResult:
    """Train a generator against a discriminator and leave a run folder behind.

    Under `torchrun` all processes call it alike, within `distributed.joined`; each learns from
    its share of every batch, and the leader alone writes and reports.

    Args:
        train_set: Photos to learn from.
        test_set: Photos to score on after each epoch.
        run: The run's folder; made where missing. Unless resumed it must hold no run yet.
        resume: Go on from the folder's `last.safetensors`, exactly where it stopped.
        start_from: A checkpoint of the same network whose generator to begin with, instead of
            random weights. Of a joined pair, at its default vividness.
        left_out: Photos that were taken out of the training set, for the record.
        labels: The table of classes, as for `dataset.read_labels`, which `lambda_class` needs.
        shares: Of each source in an epoch, as for `sources.epoch_pools`.
        by: A table with the column `kind`, as for `dataset.read_column`, to score each apart.
        device: "auto", "cpu", "cuda", one of several GPUs, such as "cuda:1", "mps", or torch's.
        precision: "auto" trains in bfloat16 where the device is made for it.
        compiled: Let `torch.compile` make the networks faster, at the price of a slow start.
        log_steps: Steps from one row of `metrics.jsonl` to the next.
        save_every_s: The least time between two saves at epochs' ends.
        should_stop: Asked after each step; at True, in any process, the run is saved and ends.

    Raises:
        SettingError: The settings, photos and arguments do not go together, or want what is not
            installed; the folder holds a run already, or lies among the photos; there are several
            processes, and this is not within `distributed.joined`.
        DataError: There is no photo to learn from or to score on, or this process has other
            photos than the leader; a table cannot be read, or is one of other photos.
        CheckpointError: There is nothing to resume, or nothing to begin with, or it does not fit
            these settings.
        DeviceError: The device is not there, or has too little memory.
        StorageError: The run folder cannot be written; the last checkpoint stays whole.
        TrainingError: The losses are no longer finite; the last checkpoint stays whole.
    """
    run = named_path(run, "run")
    start_from, labels, by = (
        None if path is None else named_path(path, name)
        for name, path in (("start_from", start_from), ("labels", labels), ("by", by))
    )
    leads = ranks().leads
    target = pick_device(device)
    compute_dtype(target, precision)  # refuses one that there is not
    if leads:
        warn_of_slow(target, precision, progress)
    progress = (progress if leads else None) or Silent()
    check_joined()

    # The photos, and whether all goes together.
    data = RunData(train_set, test_set, [*texts(left_out)], shares)
    header, classes, pools = prepare(
        config, data, run, resume=resume, start_from=start_from, labels=labels, progress=progress
    )
    groups = score_groups(test_set, by, progress)
    steps = -(-epoch_length(train_set, pools) // config.batch_size)

    # The networks and their optimizers, from the seed; then where the run begins.
    sources = [photos.source for photos in train_set.sources]
    class_count = 0 if classes is None else int(classes.max()) + 1
    state = RunState()
    # The one place of global random numbers: the caller's are left as they were.
    with torch.random.fork_rng([target] if target.type == "cuda" else []):
        gan = GAN(config, target, precision, compiled, class_count)
        if resume:
            header, state = restore_run(gan, run / LAST, header, sources)
        else:
            load_first_weights(gan.generator, start_from)
    train_set, test_set = to_device(target, train_set, test_set)
    samples = test_set.batch(some_of_each(test_set, SAMPLE_COUNT))

    # What the run leaves: the leader alone writes.
    done = state.epoch * steps + state.step
    log = None
    if leads:
        log = RunLog(run, progress, done, part=config.test_part, tensorboard=tensorboard)
    saver = Saver(run, header, save_every_s, leads)
    if resume and (lost := saver.recover_best(state, gan.evaluated)):
        progress.note(lost)
    if leads:
        for folder in (run, run / SAMPLES):
            remove_leftovers(folder)
        name = torch.cuda.get_device_name(target) if target.type == "cuda" else target.type
        how = {"device": name, "precision": precision, "compiled": compiled}
        write_config(run, header, sources, {"labels": labels, "by": by}, how)

    def save() -> None:
        tensors = gan.state()
        state.check_finite(run, config.lr, tensors["totals"].tolist())
        saver.save_best()
        try:
            if log:
                log.draw()
        finally:
            saver.save_last(state, tensors)

    for note in notes_on_beginning(header, start_from) if start_from else ():
        progress.note(note)
    gray_l1 = None
    if start_from and not config.network.hints:
        state.start_l1 = score(gan.generator, test_set, config.test_batch_size, progress).mean_l1
    began_s = time.monotonic()
    with (
        saying_how_to_go_on(run),
        closing(log) if log else nullcontext(),
        progress.task("Training", config.epochs * steps, "steps") as task,
        ExitStack() as at_the_end,
    ):
        at_the_end.callback(saver.save_best)  # after an error too, such as losses of NaN
        task.advance(done)
        for epoch in range(state.epoch + 1, config.epochs + 1):
            if state.out_of_patience(config):
                progress.note(
                    f"Stopped after epoch {state.epoch}: none was better than epoch "
                    f"{state.best_epoch} for {counted(config.patience, 'epoch')}"
                )
                break

            plan = draw_epoch(config, len(train_set), epoch, pools)
            epoch_batches = batches(
                train_set,
                plan,
                config.batch_size,
                target,
                skip=state.step,
                classes=classes,
                with_hints=config.network.hints,
            )
            for step, batch in enumerate(epoch_batches, state.step + 1):
                at_log_point = step % log_steps == 0 or step == steps
                done = state.epoch * steps + step
                lr = _lr(config, (done - 1) / (config.epochs * steps))
                norms = gan.step(batch, lr, gradient_norms=at_log_point)
                state.step = step
                task.advance()
                if at_log_point:
                    metrics = {**gan.means(), **norms}
                    state.check_finite(run, config.lr, metrics.values())
                    task.advance(0, _status(epoch, metrics, state))
                    if log:
                        seconds = round(time.monotonic() - began_s, 1)
                        about = {"epoch": round(done / steps, 4), "step": done, "lr": lr}
                        log.log({**about, **metrics, "seconds": seconds})
                if any_rank(should_stop()):
                    gan.sync_buffers()
                    save()
                    any_rank(True)  # who ends first has `torchrun` end the one that still writes
                    return TrainResult(
                        run, False, state.epoch, state.test_l1, state.best_l1, gray_l1, done
                    )

            gan.recalibrate(train_set, plan.order[:RECALIBRATION_PHOTOS].tolist())
            gan.sync_buffers()
            scores = score(gan.evaluated, test_set, config.test_batch_size, progress)
            metrics, gray_l1 = score_metrics(scores), scores.mean_gray_l1
            state.check_finite(run, config.lr, metrics.values())
            if state.finish_epoch(scores.mean_l1, _criterion(config, scores)):
                saver.keep_best(state, gan.evaluated)
            if log:
                fake = generate_for_test(gan.evaluated, *(part.to(target) for part in samples))
                sheet = (samples[0].cpu(), fake.cpu(), samples[1].cpu())
                log.close_epoch(epoch, done, metrics | grouped_metrics(scores, groups), sheet)
                hints = TEST_HINTS if config.network.hints else 0
                progress.note(epoch_line(epoch, metrics, hints, part=config.test_part))
            is_last = epoch == config.epochs or state.out_of_patience(config)
            if is_last or any_rank(saver.is_due):
                save()
    was_finished = gray_l1 is None
    if gray_l1 is None:
        gray_l1 = score_gray(test_set, config.test_batch_size)
    return TrainResult(
        run,
        True,
        state.epoch,
        state.test_l1,
        state.best_l1,
        gray_l1,
        done,
        was_finished,
        state.start_l1,
    )


def _lr(config: TrainConfig, done: float) -> float:
    """The learning rate where this share of the run's steps is done."""
    if config.lr_decay == "none":
        return config.lr
    return config.lr * (1 + math.cos(math.pi * done)) / 2


def _criterion(config: TrainConfig, scores: Scores) -> float:
    """What the best epoch is chosen by, the lower the better."""
    if config.criterion == "l1":
        return scores.mean_l1
    off = abs(scores.mean_colorfulness - scores.mean_real_colorfulness)
    return scores.mean_l1 + VIVID_WEIGHT * off


def _status(epoch: int, metrics: Mapping[str, float], state: RunState) -> str:
    loss_d = f"  D {metrics['loss_d']:.2f}" if "loss_d" in metrics else ""
    tested = "" if state.test_l1 is None else f"  test {state.test_l1:.4f}"
    return f"epoch {epoch}  G {metrics['loss_g']:.2f}{loss_d}{tested}"
