"""The training of the two networks against each other (Isola et al. 2017, section 3).

`train` is one loop, readable from top to bottom. What it leaves behind is a run folder:

    config.json         the settings, the data and the machine
    best.safetensors    the generator at the lowest test L1
    last.safetensors    everything that going on needs; also a generator
    metrics.jsonl       a row per epoch
    losses.png          generator loss, discriminator loss, test L1
    samples/            a sheet per epoch: grey, generated, truth, always the same photos
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.optim import Adam

from flowercolor._version import __version__
from flowercolor.checkpoint import (
    BEST,
    LAST,
    CheckpointInfo,
    load_into,
    load_tensors,
    save_checkpoint,
)
from flowercolor.config import STRIDE, NetworkConfig, Precision, TrainConfig
from flowercolor.dataset import FlowerDataset
from flowercolor.devices import autocast, pick_device
from flowercolor.errors import CheckpointError, SettingError, TrainingError
from flowercolor.evaluation import generate, score
from flowercolor.files import write_text
from flowercolor.losses import adversarial_loss, discriminator_loss
from flowercolor.networks import Discriminator, UNet
from flowercolor.plots import plot_losses, save_grid
from flowercolor.progress import Progress, Silent

__all__ = ["TrainResult", "read_metrics", "read_source", "train"]

SAMPLE_COUNT = 8
LOG_STEPS = 20
CONFIG = "config.json"
METRICS = "metrics.jsonl"
LOSSES = "losses.png"

_WATCHED = ("loss_g", "loss_d", "l1", "adversarial", "d_real", "d_fake")


@dataclass(frozen=True)
class TrainResult:
    """What a run came to.

    Attributes:
        run: Its folder.
        finished: False where it was stopped before its last epoch.
        epoch: Epochs done.
        test_l1: The test score after the last of them; None before the first.
        best_l1: The lowest test score.
    """

    run: Path
    finished: bool
    epoch: int
    test_l1: float | None
    best_l1: float | None


def train(
    config: TrainConfig,
    train_set: FlowerDataset,
    test_set: FlowerDataset,
    run: Path,
    *,
    resume: bool = False,
    start_from: Path | None = None,
    device: str = "auto",
    precision: Precision = "auto",
    progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainResult:
    """Train a generator against a discriminator and leave a run folder behind.

    Args:
        config: The settings.
        train_set: Photos to learn from.
        test_set: Photos to score on after each epoch.
        run: The run's folder; made where missing.
        resume: Go on from the folder's `last.safetensors`, exactly where it stopped.
        start_from: A checkpoint whose generator to begin with, instead of random weights.
        device: "auto", "cpu", "cuda" or "mps".
        precision: "auto" trains in bfloat16 where the device is made for it.
        progress: Told of each step and each epoch.
        should_stop: Asked after each step; when it says True, the state is saved and the
            function returns.

    Raises:
        SettingError: At 16 px a batch of one photo would be left.
        CheckpointError: There is nothing to resume, or it does not fit these settings.
        DeviceError: The device is not there.
        StorageError: The run folder cannot be written; the last checkpoint stays whole.
        TrainingError: The losses are no longer finite; the last checkpoint stays whole.
    """
    progress = progress or Silent()
    place = pick_device(device)
    if config.size_px == STRIDE and 1 in (config.batch_size, len(train_set) % config.batch_size):
        # The lowest level is 1x1 there: one value a channel, of which no variance can be had.
        raise SettingError(
            f"size_px is {STRIDE}, and {len(train_set)} photos in batches of {config.batch_size} "
            "leave a batch of one, too little for batch norm; choose another size or batch size"
        )

    torch.manual_seed(config.seed)
    generator = UNet(config.network).to(place).to(memory_format=torch.channels_last)
    discriminator = Discriminator(config.size_px).to(place).to(memory_format=torch.channels_last)
    optimizer_g = Adam(generator.parameters(), config.lr)
    optimizer_d = Adam(discriminator.parameters(), config.lr)
    modules = {"generator.": generator, "discriminator.": discriminator}
    optimizers = {"optimizer_g.": optimizer_g, "optimizer_d.": optimizer_d}
    totals = torch.zeros(len(_WATCHED), device=place)

    info = CheckpointInfo(
        config,
        data={
            "name": train_set.photos.source.name,
            "fingerprint": train_set.photos.fingerprint,
            "train_photos": len(train_set),
            "test_photos": len(test_set),
        },
    )
    rows: list[dict[str, Any]] = []
    if resume:
        info = _restore(run / LAST, info, modules, optimizers, totals)
        rows = [row for row in read_metrics(run) if row["epoch"] <= info.epoch]
    elif start_from:
        origin, tensors = load_tensors(start_from)
        if origin.config.network != config.network:
            raise CheckpointError(
                f"{start_from}: holds a network of {_described(origin.config.network)}; expected "
                f"that of this run, {_described(config.network)}: give both the same settings"
            )
        load_into(generator, tensors, "generator.", start_from)

    about = {
        "config": config.to_dict(),
        "data": {**info.data, "source": str(train_set.photos.source.resolve())},
        "device": torch.cuda.get_device_name(place) if place.type == "cuda" else place.type,
        "precision": precision,
        "torch": torch.__version__,
        "flowercolor": __version__,
    }
    write_text(run / CONFIG, json.dumps(about, indent=1) + "\n")

    def save(name: str, *, everything: bool) -> None:
        tensors = _state(modules, optimizers, totals)
        if not everything:
            tensors = {k: v for k, v in tensors.items() if k.startswith("generator.")}
        save_checkpoint(run / name, info, tensors)

    steps = -(-len(train_set) // config.batch_size)
    samples = test_set.batch(range(min(SAMPLE_COUNT, len(test_set))))
    began_s = time.monotonic()

    with progress.task("Training", config.epochs * steps, "steps") as task:
        task.advance(info.epoch * steps + info.step)
        for epoch in range(info.epoch + 1, config.epochs + 1):
            # Order and flips follow from the seed and the epoch alone: a resumed run needs
            # no random state to see the same pictures again.
            rng = torch.Generator().manual_seed(config.seed + 1_000_003 * epoch)
            order = torch.randperm(len(train_set), generator=rng)
            flips = torch.rand(len(train_set), generator=rng) < (0.5 if config.flip else 0.0)

            generator.train()
            for step in range(info.step, steps):
                chosen = order[step * config.batch_size : (step + 1) * config.batch_size]
                grey, real = (
                    pictures.to(place, non_blocking=True)
                    for pictures in train_set.batch(chosen, flips[chosen])
                )
                with autocast(place, precision):
                    fake = generator(grey)

                # The discriminator's step: the fake is detached, so only D learns.
                loss_d = logits_real = logits_fake = adversarial = torch.zeros((), device=place)
                if config.lambda_adv:
                    with autocast(place, precision):
                        logits_real = discriminator(real).float()
                        logits_fake = discriminator(fake.detach()).float()
                    loss_d = discriminator_loss(logits_real, logits_fake)
                    optimizer_d.zero_grad(set_to_none=True)
                    loss_d.backward()
                    optimizer_d.step()

                    # The generator's step: the fake is NOT detached. D is frozen, but the
                    # gradient goes through it into the picture and on into the generator.
                    discriminator.requires_grad_(False)
                    with autocast(place, precision):
                        logits = discriminator(fake).float()
                    adversarial = adversarial_loss(logits)
                    discriminator.requires_grad_(True)

                l1 = F.l1_loss(fake.float(), real)
                loss_g = config.lambda_l1 * l1 + config.lambda_adv * adversarial
                optimizer_g.zero_grad(set_to_none=True)
                loss_g.backward()
                optimizer_g.step()

                # Summed on the device; reading them at every step would make it wait.
                d_real, d_fake = logits_real.sigmoid().mean(), logits_fake.sigmoid().mean()
                watched = (loss_g, loss_d, l1, adversarial, d_real, d_fake)
                totals += torch.stack([value.detach() for value in watched]) * len(real)

                info = replace(info, step=step + 1)
                at_log_point = step % LOG_STEPS == 0
                task.advance(1, _status(epoch, loss_g, loss_d, info) if at_log_point else None)
                if should_stop():
                    _check_finite(run, info, totals.tolist())
                    save(LAST, everything=True)
                    return TrainResult(run, False, info.epoch, info.test_l1, info.best_l1)

            means = dict(zip(_WATCHED, (totals / len(train_set)).tolist(), strict=True))
            totals.zero_()
            test_l1 = score(generator, test_set, config.test_batch_size, progress).mean_l1
            _check_finite(run, info, [*means.values(), test_l1])
            improved = info.best_l1 is None or test_l1 < info.best_l1
            info = replace(
                info,
                epoch=epoch,
                step=0,
                test_l1=test_l1,
                best_l1=test_l1 if improved else info.best_l1,
            )
            seconds = round(time.monotonic() - began_s, 1)
            rows.append({"epoch": epoch, **means, "test_l1": test_l1, "seconds": seconds})
            if improved:
                save(BEST, everything=False)
            write_text(run / METRICS, "".join(json.dumps(row) + "\n" for row in rows))
            plot_losses(rows, run / LOSSES)
            shown = generate(generator, samples[0].to(place)).cpu()
            save_grid(samples[0], shown, samples[1], run / "samples" / f"epoch_{epoch:04d}.png")
            # Last of all: whatever is missing after a kill, resuming makes again.
            save(LAST, everything=True)
    return TrainResult(run, True, info.epoch, info.test_l1, info.best_l1)


def _described(network: NetworkConfig) -> str:
    return f"base_channels {network.base_channels} and output {network.output}"


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The rows of a run's `metrics.jsonl`, one per epoch; none where there is no such file."""
    path = run / METRICS
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [json.loads(line) for line in lines]


def read_source(run: Path) -> Path | None:
    """The archive or folder that a run learned from; None where no `config.json` tells."""
    try:
        about = json.loads((run / CONFIG).read_text(encoding="utf-8"))
        return Path(about["data"]["source"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _check_finite(run: Path, info: CheckpointInfo, values: Iterable[float]) -> None:
    """Refuse to save a state that nothing can be learned from any more."""
    if not all(map(math.isfinite, values)):
        raise TrainingError(
            f"{run}: a loss of epoch {info.epoch + 1} is not a finite number; what was saved "
            f"before is whole: start from its {BEST} with a lower lr than {info.config.lr}"
        )


def _status(epoch: int, loss_g: Tensor, loss_d: Tensor, info: CheckpointInfo) -> str:
    tested = "" if info.test_l1 is None else f"  test L1 {info.test_l1:.4f}"
    return f"epoch {epoch}  G {loss_g.item():.3f}  D {loss_d.item():.3f}{tested}"


def _state(
    modules: Mapping[str, nn.Module], optimizers: Mapping[str, Adam], totals: Tensor
) -> dict[str, Tensor]:
    """All that going on needs, as named tensors."""
    tensors = {"totals": totals}
    for prefix, module in modules.items():
        tensors |= {prefix + name: value for name, value in module.state_dict().items()}
    for prefix, optimizer in optimizers.items():
        for number, values in optimizer.state_dict()["state"].items():
            tensors |= {f"{prefix}{number}.{name}": value for name, value in values.items()}
    return tensors


def _restore(
    path: Path,
    fresh: CheckpointInfo,
    modules: Mapping[str, nn.Module],
    optimizers: Mapping[str, Adam],
    totals: Tensor,
) -> CheckpointInfo:
    """Put the state saved in `path` into all of these, and return how far it had come."""
    info, tensors = load_tensors(path)
    # A run may be made longer, and tested faster; all else decides what is learned.
    free = {name: getattr(fresh.config, name) for name in ("epochs", "test_batch_size")}
    if replace(info.config, **free) != fresh.config:
        raise CheckpointError(
            f"{path}: written with other settings than those given now; "
            "resume with the run's own, or start another run"
        )
    if info.data["fingerprint"] != fresh.data["fingerprint"]:
        raise CheckpointError(
            f"{path}: trained on other photos than those given now; resume with the run's own "
            "--data, or start another run"
        )
    if "totals" not in tensors:
        raise CheckpointError(f"{path}: holds weights only; resuming needs the {LAST} of a run")
    for prefix, module in modules.items():
        load_into(module, tensors, prefix, path)
    for prefix, optimizer in optimizers.items():
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith(prefix):
                number, key = name.removeprefix(prefix).split(".")
                state.setdefault(int(number), {})[key] = value
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    totals.copy_(tensors["totals"])
    return replace(info, config=fresh.config)
