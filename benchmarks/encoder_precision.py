"""Training steps of the pretrained encoder's network in bfloat16 on a CPU, two ways.

    python benchmarks/encoder_precision.py [SIZE_PX [BATCH_SIZE]]

Some of its convolutions train in float32 (`efficientnet_lite._Float32Conv2d`): with them, and
with all in bfloat16. The result is a ratio of both in one run.
"""

import sys

import torch
from timing import compare
from torch.nn import functional as F  # noqa: N812

from flowercolor.config import NetworkConfig
from flowercolor.networks import efficientnet_lite
from flowercolor.networks.unet import UNet


def main(size_px: int = 128, batch_size: int = 16) -> None:
    """Print photos a second of both ways, and how many times as fast ours is."""
    torch.manual_seed(0)
    config = NetworkConfig(32, "chroma", "efficientnet-lite0")
    mixed = UNet(config).to(memory_format=torch.channels_last)
    bf16 = UNet(config).to(memory_format=torch.channels_last)
    for module in bf16.modules():
        if isinstance(module, efficientnet_lite._Float32Conv2d):
            module.__class__ = torch.nn.Conv2d  # type: ignore[assignment]
    rgb = torch.rand(batch_size, 3, size_px, size_px).to(memory_format=torch.channels_last)
    gray = rgb.mean(dim=1, keepdim=True)

    def step(generator: UNet) -> None:
        generator.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            fake = generator(gray)
        F.l1_loss(fake.float(), rgb).backward()

    ours_s, bf16_s, ratio = compare(lambda: step(mixed), lambda: step(bf16), rounds=3)
    sys.stdout.write(
        f"{batch_size} photos of {size_px} px, torch {torch.__version__}: "
        f"{batch_size / ours_s:.1f} photos/s, all in bfloat16 {batch_size / bf16_s:.1f}; "
        f"{1 / ratio:.2f} times as fast\n"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
