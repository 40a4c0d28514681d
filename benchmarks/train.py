"""Training steps, and reading the data, against plain references.

    python benchmarks/train.py [ARCHIVE] [--compile]

The steps use made-up photos; with an archive, reading it is measured too. On a GPU the steps
are measured there.
"""

import itertools
import re
import resource
import subprocess
import sys
import tarfile
import tempfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import cv2
import numpy as np
import torch
from timing import compare
from torch.nn import functional as F  # noqa: N812
from torch.utils.flop_counter import FlopCounterMode

from flowercolor.config import TrainConfig
from flowercolor.data.dataset import FlowerDataset
from flowercolor.data.loader import batches, draw_epoch, to_device
from flowercolor.data.photo_cache import Photos
from flowercolor.devices import no_tf32, pick_device
from flowercolor.networks.discriminator import Discriminator
from flowercolor.networks.unet import UNet
from flowercolor.training.gan import GAN
from flowercolor.training.losses import adversarial_loss, discriminator_loss

STEPS = 3
# So many that filling its queue does not count.
GPU_STEPS = 30
CONVOLUTIONS = re.compile("conv|fprop|dgrad|wgrad|implicit_gemm")


def steps() -> None:
    """The design's own settings, both networks: our step against plain ones, NCHW, eager."""
    config = TrainConfig(epochs=1)
    device = pick_device()
    on_gpu = device.type == "cuda"
    step_count = GPU_STEPS if on_gpu else STEPS
    count, size = step_count * config.batch_size, config.size_px
    photos = Photos(
        source=Path(),
        names=tuple(map(str, range(count))),
        rgb=np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8),
        sizes_px=np.full((count, 2), size, np.int32),
        fingerprint="made up",
    )
    [train_set] = to_device(device, FlowerDataset(photos))
    engine = GAN(config, device, "auto", compiled="--compile" in sys.argv)
    epochs = itertools.count()

    def ours() -> None:
        plan = draw_epoch(config, count, next(epochs))
        for batch in batches(train_set, plan, config.batch_size, device):
            engine.step(batch, config.lr)
        engine.means()

    torch.manual_seed(config.seed)
    generator, discriminator = UNet(config.network), Discriminator(size)
    networks = generator.to(device), discriminator.to(device)
    optimizer_g, optimizer_d = (
        torch.optim.Adam(network.parameters(), config.lr) for network in networks
    )
    stored = [
        tuple(part.to(device).contiguous() for part in FlowerDataset(photos).batch(positions))
        for positions in torch.arange(count).split(config.batch_size)
    ]

    def reference() -> None:
        for gray, real in stored:
            fake = generator(gray)
            loss_d = discriminator_loss(discriminator(real), discriminator(fake.detach()))
            optimizer_d.zero_grad()
            loss_d.backward()
            optimizer_d.step()
            loss_g = config.lambda_l1 * F.l1_loss(fake, real)
            loss_g = loss_g + adversarial_loss(discriminator(fake))
            optimizer_g.zero_grad()
            loss_g.backward()
            optimizer_g.step()
            loss_d.item(), loss_g.item()

    sys.stdout.write(f"{step_count} steps of the design on {torch_name(device)}\n")
    precisions: dict[str, AbstractContextManager[object]] = {"float32": no_tf32()}
    if on_gpu:  # what torch's convolutions do there unless they are told otherwise
        precisions["TF32"] = nullcontext()
    for name, precision in precisions.items():
        with precision:
            own, other, ratio = compare(ours, reference, rounds=3)
        sys.stdout.write(
            f"ours {own / step_count * 1e3:.1f} ms a step, plain {name} "
            f"{other / step_count * 1e3:.1f} ms, {1 / ratio:.2f} times as fast\n"
        )
    with FlopCounterMode(display=False) as counter:
        GAN(config, device, "auto", compiled=False).step(
            next(batches(train_set, draw_epoch(config, count, 0), config.batch_size, device)), 0.0
        )
    operations = counter.get_total_flops()
    with torch.profiler.profile() as seen:
        ours()
    kind = "CUDA" if on_gpu else "CPU"
    time_of = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    spent_s = {
        work.key: getattr(work, time_of) / step_count / 1e6
        for work in seen.key_averages()
        if work.device_type.name == kind and "#" not in work.key  # spans, not work
    }
    convolving_s = sum(took_s for key, took_s in spent_s.items() if CONVOLUTIONS.search(key))
    sys.stdout.write(
        f"{operations / 1e12:.2f} Tflop a step: {operations * step_count / own / 1e12:.3g} Tflop/s "
        f"over the whole step, {operations / convolving_s / 1e12:.3g} while it convolves, "
        f"{convolving_s / sum(spent_s.values()):.0%} of the time\n"
    )
    sys.stdout.write(
        seen.key_averages().table(sort_by=time_of, row_limit=14, max_name_column_width=48)
    )


def torch_name(device: torch.device) -> str:
    """The device, and the torch that computes there."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU"
    return f"{name}, torch {torch.__version__}"


def reading(archive: Path, folder: Path) -> None:
    """Each way in a process of its own, so that its peak memory is its own."""
    for label, code in {
        "plain loop": "benchmark.plain(Path(sys.argv[1]))",
        "first time": "get_data(Path(sys.argv[1]))",
        "afterwards": "get_data(Path(sys.argv[1]))",
    }.items():
        script = (
            "import os, sys, time; from pathlib import Path; import train as benchmark\n"
            f"os.environ['FLOWERCOLOR_CACHE_DIR'] = {str(folder)!r}\n"
            "from flowercolor.data.dataset import get_data\n"
            f"start_s = time.perf_counter(); {code}\n"
            "print(f'{time.perf_counter() - start_s:.2f} s, ', end='')\n"
            "print(f'{benchmark.peak_bytes() / 1e9:.2f} GB resident at the most')"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, str(archive)],
            check=True,
            capture_output=True,
            text=True,
            cwd=Path(__file__).parent,
        )
        sys.stdout.write(f"{archive.name}, {label}: {done.stdout}")


def plain(archive: Path, size_px: int = 128) -> object:
    """Decode every member, and keep float32 tensors of RGB and gray in lists."""
    colors, grays = [], []
    with tarfile.open(archive) as tar:
        for member in tar:
            file = tar.extractfile(member)
            if file is None or not member.name.endswith(".jpg"):
                continue
            bgr = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR)
            assert bgr is not None
            bgr = cv2.resize(bgr, (size_px, size_px))
            rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
            colors.append(torch.from_numpy(rgb).permute(2, 0, 1).float() / 255)
            gray = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
            grays.append(torch.from_numpy(gray)[None].float() / 255)
    return colors, grays


def peak_bytes() -> int:
    """The most memory this process has held; the system counts in KB, on macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        for archive in sys.argv[1:]:
            if archive != "--compile":
                reading(Path(archive), Path(name))
    steps()
