"""Training steps, and reading the data, against plain references.

    python tests/benchmarks/train.py [ARCHIVE]

The steps use made-up photos; with an archive, reading it is measured too.
"""

import resource
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch
from timing import compare
from torch.nn import functional as F  # noqa: N812

from flowercolor.config import TrainConfig
from flowercolor.dataset import FlowerDataset, Photos
from flowercolor.losses import adversarial_loss, discriminator_loss
from flowercolor.networks import Discriminator, UNet
from flowercolor.training import train

STEPS = 3


def steps(folder: Path) -> None:
    """The design's own settings, both networks: our loop against float32, NCHW, eager."""
    config = TrainConfig(epochs=1)
    rng = np.random.default_rng(0)
    count = STEPS * config.batch_size
    size = config.size_px
    photos = Photos(
        source=folder,
        names=tuple(map(str, range(count))),
        rgb=rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8),
        sizes_px=np.full((count, 2), size, np.int32),
        fingerprint="made up",
    )
    runs = iter(range(1000))
    train_set, test_set = FlowerDataset(photos), FlowerDataset(photos, [0])

    def ours() -> None:
        train(config, train_set, test_set, folder / f"run{next(runs)}")

    def reference() -> None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        generator, discriminator = (
            network.to(device) for network in (UNet(config.network), Discriminator(size))
        )
        optimizer_g, optimizer_d = (
            torch.optim.Adam(network.parameters(), config.lr, foreach=False)
            for network in (generator, discriminator)
        )
        for start in range(0, count, config.batch_size):
            grey, real = (
                pictures.to(device).contiguous()
                for pictures in train_set.batch(range(start, start + config.batch_size))
            )
            fake = generator(grey)
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

    own, other, ratio = compare(ours, reference, rounds=3)
    sys.stdout.write(
        f"{STEPS} steps of the design, our loop with its checkpoint and plot {own:.2f} s, "
        f"plain float32 {other:.2f} s, ratio {ratio:.2f}\n"
    )


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
            "from flowercolor.dataset import get_data\n"
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
    """Decode every member, and keep float32 tensors of RGB and grey in lists."""
    colors, greys = [], []
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
            grey = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
            greys.append(torch.from_numpy(grey)[None].float() / 255)
    return colors, greys


def peak_bytes() -> int:
    """The most memory this process has held; the system counts in KB, on macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        if len(sys.argv) > 1:
            reading(Path(sys.argv[1]), Path(name))
        steps(Path(name))
