"""The training of the two networks against each other (Isola et al. 2017, section 3).

`train` is one loop, readable from top to bottom. What it leaves behind is a run folder:

    config.json         the settings, the data and the machine
    best.safetensors    the generator of the best epoch, by the test
    last.safetensors    everything that going on needs; also a generator
    metrics.jsonl       a row per log point; the last of an epoch has the test's figures too
    losses.png          generator loss, discriminator loss, test L1
    samples/            a sheet per epoch: gray, generated, truth, always the same photos
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from zlib import crc32

import torch
from torch import Tensor

from flowercolor._version import __version__
from flowercolor.checkpoint import (
    CheckpointInfo,
    load_generator,
    load_tensors,
    named,
    read_info,
    save_checkpoint,
)
from flowercolor.config import STRIDE, Precision, TrainConfig
from flowercolor.data.dataset import FlowerDataset, read_labels
from flowercolor.data.loader import batches, draw_epoch, to_device
from flowercolor.data.photo_cache import check_outside
from flowercolor.devices import compute_dtype, memory_errors, pick_device
from flowercolor.distributed import any_rank, check_alike, check_joined
from flowercolor.errors import CheckpointError, DataError, SettingError, TrainingError
from flowercolor.evaluation.scoring import Scores, generate, score
from flowercolor.files import is_there, remove_leftovers, write_text
from flowercolor.networks.efficientnet_lite import check_pretrained, load_pretrained
from flowercolor.networks.unet import check_growth
from flowercolor.progress import Progress, Silent
from flowercolor.runs import BEST, CONFIG, LAST, SAMPLES, name_of
from flowercolor.torchrun import ranks
from flowercolor.training.gan import GAN
from flowercolor.training.log import RunLog

SAMPLE_COUNT = 8
LOG_STEPS = 50
SAVE_EVERY_S = 60.0
RECALIBRATION_PHOTOS = 1024
VIVID_WEIGHT = 1e-3


@dataclass(frozen=True)
class TrainResult:
    """What a run came to.

    Attributes:
        run: Its folder.
        finished: False where `should_stop` ended it.
        epoch: Epochs done.
        test_l1: The test score after the last of them; None before the first.
        best_l1: The test score of the best epoch.
    """

    run: Path
    finished: bool
    epoch: int
    test_l1: float | None
    best_l1: float | None


@memory_errors("training", "--batch-size, then --base-channels, then --size")
def train(
    config: TrainConfig,
    train_set: FlowerDataset,
    test_set: FlowerDataset,
    run: Path,
    *,
    resume: bool = False,
    start_from: Path | None = None,
    left_out: Sequence[str] = (),
    labels: Path | None = None,
    device: str = "auto",
    precision: Precision = "auto",
    compiled: bool = False,
    tensorboard: bool = False,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainResult:
    """Train a generator against a discriminator and leave a run folder behind.

    Under `torchrun` all processes call it alike, within `distributed.joined`; each learns from
    its share of every batch, and the leader alone writes and reports.

    Args:
        config: The settings.
        train_set: Photos to learn from.
        test_set: Photos to score on after each epoch.
        run: The run's folder; made where missing. Unless resumed it must hold no run yet.
        resume: Go on from the folder's `last.safetensors`, exactly where it stopped.
        start_from: A checkpoint whose generator to begin with, instead of random weights; of
            the same output and encoder, and as wide or narrower. Of a dial, where it stands.
        left_out: Photos that were taken out of the training set, for the record.
        labels: The table of the photos' classes, as for `dataset.read_labels`, which
            `lambda_class` needs.
        device: "auto", "cpu", "cuda" or "mps".
        precision: "auto" trains in bfloat16 where the device is made for it.
        compiled: Let `torch.compile` make the networks faster, at the price of a slow start.
        tensorboard: Write the metrics and the sheets for TensorBoard too.
        progress: Told of each step and each epoch.
        should_stop: Asked after each step; when it says True, in one of the processes, the
            state is saved and the function returns.

    Raises:
        SettingError: The folder holds a run already, or lies among the photos; a run is to be
            resumed and begun from a checkpoint; the photos were read at another size; at 16 px a
            process would have a batch of one photo; random weights would be frozen; there is no
            such device or precision; TensorBoard or the weights of the encoder are not installed;
            there is no compiler; there are labels and no `lambda_class`, or no labels for one;
            there are several processes, and this is not within `distributed.joined`.
        DataError: There is no photo to learn from or to score on, or this process has other
            photos than the leader; the labels cannot be read or leave photos without a class.
        CheckpointError: There is nothing to resume, or nothing to begin with, or it does not fit
            these settings.
        DeviceError: The device is not there, or has too little memory.
        StorageError: The run folder cannot be written; the last checkpoint stays whole.
        TrainingError: The losses are no longer finite; the last checkpoint stays whole.
    """
    leads = ranks().leads
    progress = (progress if leads else None) or Silent()
    target = pick_device(device)
    compute_dtype(target, precision)  # refuses one that there is not
    check_joined()
    _check_photos(config, train_set, test_set)
    check_labels(config, labels)
    if not resume:
        check_folder(run, train_set.photos.source)
        check_beginning(config, start_from)
    elif start_from:
        raise SettingError(f"{run}: a run is resumed or begun from a checkpoint, not both")
    classes = read_labels(labels, train_set.photos)[train_set.indices] if labels else None
    count = 0 if classes is None else int(classes.max()) + 1
    steps = -(-len(train_set) // config.batch_size)
    info = CheckpointInfo(
        config,
        data={
            "name": train_set.photos.source.resolve().name,
            "fingerprint": train_set.photos.fingerprint,
            "train_photos": len(train_set),
            "test_photos": len(test_set),
            "photos_crc32": _crc32_of(train_set, test_set),
            "left_out": list(left_out),
            **({} if classes is None else {"classes_crc32": crc32(classes.numpy().tobytes())}),
        },
        note=_beginning(config, start_from),
    )
    check_alike(json.dumps({**info.data, "name": ""}), train_set.photos.source)
    engine = GAN(config, target, precision, compiled, count)
    if resume:
        info = _resumed(engine, run / LAST, info)
    elif start_from:
        engine.generator.grow_from(load_generator(start_from)[0])
    elif config.network.encoder != "plain":
        load_pretrained(engine.generator.downs)
    done = info.epoch * steps + info.step
    log = RunLog(run, progress, done, tensorboard=tensorboard) if leads else None
    if leads:
        for folder in (run, run / SAMPLES):
            remove_leftovers(folder)
        sources = {"source": train_set.photos.source, "labels": labels}
        name = torch.cuda.get_device_name(target) if target.type == "cuda" else target.type
        how = {"device": name, "precision": precision, "compiled": compiled}
        _describe(run, info, sources, how)

    best: tuple[CheckpointInfo, dict[str, Tensor]] | None = None  # not on disk yet
    saved_s = -math.inf

    def save_best() -> None:
        nonlocal best
        if log and best:
            save_checkpoint(run / BEST, *best)
        best = None

    def save() -> None:
        nonlocal saved_s
        state = engine.state()
        _check_finite(run, info, state["totals"].tolist())
        save_best()
        if log:
            try:
                log.draw()
            finally:
                # Last of all: whatever is missing after a kill, resuming makes again.
                save_checkpoint(run / LAST, info, state)
        saved_s = time.monotonic()

    train_set, test_set = to_device(target, train_set, test_set)
    samples = test_set.batch(range(min(SAMPLE_COUNT, len(test_set))))
    if config.validation and start_from and _knows_photos(start_from, info):
        progress.note(
            "What this run began with has learned from the validation part: the test score, which "
            "is taken there, will be too good"
        )
    began_s = time.monotonic()
    with (
        closing(log) if log else nullcontext(),
        progress.task("Training", config.epochs * steps, "steps") as task,
        ExitStack() as at_the_end,
    ):
        at_the_end.callback(save_best)  # after an error too, such as losses that are no numbers
        task.advance(done)
        for epoch in range(info.epoch + 1, config.epochs + 1):
            if _out_of_patience(info):
                progress.note(
                    f"Stopped after epoch {info.epoch}: none was better than epoch "
                    f"{info.best_epoch} for {config.patience} epochs"
                )
                break

            plan = draw_epoch(config, len(train_set), epoch)
            epoch_batches = batches(
                train_set, plan, config.batch_size, target, skip=info.step, classes=classes
            )
            for step, batch in enumerate(epoch_batches, info.step + 1):
                at_log_point = step % LOG_STEPS == 0 or step == steps
                done = (epoch - 1) * steps + step
                lr = _lr(config, (done - 1) / (config.epochs * steps))
                norms = engine.step(batch, lr, gradient_norms=at_log_point)
                info = replace(info, step=step)
                task.advance()
                if at_log_point:
                    figures = {**engine.means(), **norms}
                    _check_finite(run, info, figures.values())
                    task.advance(0, _status(epoch, figures, info))
                    if log:
                        seconds = round(time.monotonic() - began_s, 1)
                        about = {"epoch": round(done / steps, 4), "step": done, "lr": lr}
                        log.log({**about, **figures, "seconds": seconds})
                if any_rank(should_stop()):
                    engine.sync_buffers()
                    save()
                    any_rank(True)  # who ends first has `torchrun` end the one that still writes
                    return TrainResult(run, False, info.epoch, info.test_l1, info.best_l1)

            engine.recalibrate(train_set, plan.order[:RECALIBRATION_PHOTOS].tolist())
            engine.sync_buffers()
            tested = score(engine.evaluated, test_set, config.test_batch_size, progress)
            figures = {"test_l1": tested.mean_l1, "colorfulness": tested.mean_colorfulness}
            _check_finite(run, info, figures.values())
            info = replace(info, epoch=epoch, step=0, test_l1=tested.mean_l1)
            value = _criterion(config, tested)
            if info.best_score is None or value < info.best_score:
                info = replace(info, best_l1=info.test_l1, best_score=value, best_epoch=epoch)
                weights = named(engine.evaluated, "generator.")
                best = info, {name: value.clone() for name, value in weights.items()}
            if log:
                shown = generate(engine.evaluated, samples[0].to(target)).cpu()
                log.close_epoch(epoch, done, figures, (samples[0].cpu(), shown, samples[1].cpu()))
            # Writing half a gigabyte takes half as long as an epoch on a good GPU.
            due = time.monotonic() - saved_s >= SAVE_EVERY_S
            if epoch == config.epochs or _out_of_patience(info) or any_rank(due):
                save()
    return TrainResult(run, True, info.epoch, info.test_l1, info.best_l1)


def check_labels(config: TrainConfig, labels: Path | None) -> None:
    """Make sure that there are labels where they have a weight, and only there.

    Raises:
        SettingError: There is one without the other.
    """
    if bool(config.lambda_class) != bool(labels):
        raise SettingError(
            f"lambda_class is {config.lambda_class}, and there are "
            f"{f'labels, {labels}' if labels else 'no labels'}; give both or neither"
        )


def check_folder(run: Path, source: Path | None = None) -> None:
    """Make sure that a new run may begin in this folder.

    Args:
        run: The folder.
        source: The archive or folder of photos that it is to learn from, where that is known.

    Raises:
        SettingError: It holds one already, whose best network would pass for the new one's; or
            it lies among the photos, for which its sheets and graphs would pass.
    """
    if source:
        check_outside(run, source)
    there = [name for name in (LAST, BEST) if is_there(run / name)]
    if there:
        way = "go on with it by --resume" if LAST in there else f"delete its {BEST}"
        raise SettingError(f"{run}: holds a run already; {way}, or name another folder")


def check_beginning(config: TrainConfig, start_from: Path | None) -> None:
    """Make sure that a run has the weights that it needs to begin with.

    Args:
        config: The run's settings.
        start_from: The checkpoint that it begins with; None where all weights begin at random,
            but for those of an encoder that has learned before.

    Raises:
        SettingError: Weights that begin at random would stay so, or the encoder's are missing.
        CheckpointError: There is no such checkpoint, or its network cannot go on as this one.
    """
    parent = read_info(start_from).config.network if start_from else None
    if parent:
        try:
            check_growth(parent, config.network)
        except SettingError as error:
            raise CheckpointError(f"{start_from}: {error}") from error
    if config.freeze_deep and parent != config.network:
        raise SettingError(
            "freeze_deep keeps most weights as they begin, and some would begin at random; "
            "start from a trained network of the same width, or leave freeze_deep out"
        )
    if config.network.encoder != "plain" and parent is None:
        check_pretrained()


def _beginning(config: TrainConfig, start_from: Path | None) -> str:
    if start_from:
        return f"Begun with the generator of {name_of(start_from)}."
    if config.network.encoder != "plain":
        return f"Begun with the published weights of {config.network.encoder}."
    return ""


def _knows_photos(start_from: Path, info: CheckpointInfo) -> bool:
    """Whether what the run begins with has learned from the validation part of the same photos."""
    parent = read_info(start_from)
    same = parent.data.get("fingerprint") == info.data["fingerprint"]
    return same and not parent.config.validation


def _check_photos(config: TrainConfig, train_set: FlowerDataset, test_set: FlowerDataset) -> None:
    """Make sure that the settings can learn from these photos."""
    if not (len(train_set) and len(test_set)):
        raise DataError(
            f"{train_set.photos.source}: leaves {len(train_set)} photos to learn from and "
            f"{len(test_set)} to test on; expected one of each or more"
        )
    for photos in (train_set.photos, test_set.photos):
        if (side_px := photos.rgb.shape[1]) != config.size_px:
            raise SettingError(
                f"size_px is {config.size_px}, and the photos of {photos.source} were read at "
                f"{side_px} px; read them at the size of the settings"
            )
    sizes = {config.batch_size, len(train_set) % config.batch_size} - {0}
    if config.size_px == STRIDE and min(sizes) // ranks().size <= 1:
        # The lowest level is 1x1 there: one value a channel, of which no variance can be had.
        shared = f" shared by {ranks().size} processes" if ranks().size > 1 else ""
        raise SettingError(
            f"size_px is {STRIDE}, and {len(train_set)} photos in batches of {config.batch_size}"
            f"{shared} leave a batch of one, too little for batch norm; choose another size or "
            "batch size"
        )


def _crc32_of(train_set: FlowerDataset, test_set: FlowerDataset) -> int:
    """Which photos they are, and in which order."""
    names = [[one.photos.fingerprint, *one.names] for one in (train_set, test_set)]
    return crc32(json.dumps(names).encode())


def _check_finite(run: Path, info: CheckpointInfo, values: Iterable[float]) -> None:
    """Refuse to save a state that nothing can be learned from any more."""
    if not all(map(math.isfinite, values)):
        way = f"what was saved before is whole: start from its {BEST}"
        if not is_there(run / BEST):
            way = "nothing was saved yet: begin again"
        raise TrainingError(
            f"{run}: a loss of epoch {info.epoch + 1} is not a finite number; {way} with a lower "
            f"lr than {info.config.lr}"
        )


def _out_of_patience(info: CheckpointInfo) -> bool:
    patience = info.config.patience
    return bool(patience) and info.epoch - info.best_epoch >= patience


def _lr(config: TrainConfig, done: float) -> float:
    """The learning rate where this share of the run's steps is done."""
    if config.lr_decay == "none":
        return config.lr
    return config.lr * (1 + math.cos(math.pi * done)) / 2


def _criterion(config: TrainConfig, tested: Scores) -> float:
    """What the best epoch is chosen by, the lower the better."""
    if config.criterion == "l1":
        return tested.mean_l1
    off = abs(tested.mean_colorfulness - tested.mean_real_colorfulness)
    return tested.mean_l1 + VIVID_WEIGHT * off


def _status(epoch: int, figures: Mapping[str, float], info: CheckpointInfo) -> str:
    against = f"  D {figures['loss_d']:.2f}" if "loss_d" in figures else ""
    tested = "" if info.test_l1 is None else f"  test {info.test_l1:.4f}"
    return f"epoch {epoch}  G {figures['loss_g']:.2f}{against}{tested}"


def _describe(
    run: Path,
    info: CheckpointInfo,
    sources: Mapping[str, Path | None],
    how: Mapping[str, object],
) -> None:
    """Write `config.json`."""
    about = {
        "config": asdict(info.config),
        "data": {
            **info.data,
            **{what: str(path.resolve()) for what, path in sources.items() if path},
        },
        "note": info.note,
        **how,
        "processes": ranks().size,
        "torch": torch.__version__,
        "flowercolor": __version__,
    }
    write_text(run / CONFIG, json.dumps(about, indent=1) + "\n")


def _resumed(engine: GAN, path: Path, fresh: CheckpointInfo) -> CheckpointInfo:
    """Put what was saved in `path` into the engine, if it may go on from there as `fresh` says."""
    info, tensors = load_tensors(path)
    if "photos_crc32" not in info.data:
        raise CheckpointError(
            f"{path}: flowercolor {info.version} wrote it in a form that this version cannot go "
            f"on from; begin another run with --start-from it"
        )
    # A run may be made longer, and tested faster; all else decides what is learned.
    free = {name: getattr(fresh.config, name) for name in ("epochs", "patience", "test_batch_size")}
    if (own := replace(info.config, **free)) != fresh.config:
        settings = [{**asdict(config), **asdict(config.network)} for config in (own, fresh.config)]
        others = ", ".join(
            f"{name} {was}, not {settings[1][name]}"
            for name, was in settings[0].items()
            if name != "network" and was != settings[1][name]
        )
        raise CheckpointError(
            f"{path}: written with other settings than those given now: {others}; "
            "resume with the run's own, or start another run"
        )
    if {**info.data, "name": ""} != {**fresh.data, "name": ""}:
        raise CheckpointError(
            f"{path}: trained on other photos or classes than those given now; resume with the "
            "run's own --data, --labels and --twins, or start another run"
        )
    engine.restore(tensors, path)
    return replace(info, config=fresh.config, data=fresh.data, version=fresh.version)
