"""The generator: a U-Net from gray to color."""

import copy
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from flowercolor.color import rgb_to_chroma, to_rgb
from flowercolor.config import NetworkConfig
from flowercolor.hints.attention import HINT_CHANNELS
from flowercolor.networks.efficientnet_lite import LITE0_CHANNELS, lite0_levels, prepared
from flowercolor.networks.hints import HintBranch, apply_hints

_LEVELS = 4


class UNet(nn.Module):
    """The generator: gray in, color out (Ronneberger et al. 2015, figure 1).

    Five levels of `base_channels` times 1, 2, 4, 8 and 16 channels. A level is two 3x3
    convolutions, each followed by batch norm and ReLU. Max pooling leads down, 2x2
    transposed convolutions lead up, the skip connections are concatenated, and a 1x1
    convolution closes. It is fully convolutional: any size divisible by 16 goes through.

    With the encoder "efficientnet-lite0" the four levels below the first are those of that
    network, `efficientnet_lite.lite0_levels`, which read the gray picture itself, enlarged.

    Attributes:
        hints: The branch that hints go by; None without one. What it gives changes nothing that
            `forward` does.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.base_channels * 2**level for level in range(_LEVELS)]
        self.stem = _double_conv(1, widths[0])
        if config.encoder == "plain":
            below = [2 * width for width in widths]
            self.downs = nn.ModuleList(
                nn.Sequential(nn.MaxPool2d(2), _double_conv(width, 2 * width)) for width in widths
            )
        else:
            below = list(LITE0_CHANNELS)
            self.downs = nn.ModuleList(lite0_levels())
        self.bottleneck_channels = below.pop()
        ups = list(
            zip(widths, (widths[0], *below), (*widths[1:], self.bottleneck_channels), strict=True)
        )
        self.lifts = nn.ModuleList(
            nn.ConvTranspose2d(lower, width, 2, stride=2) for width, _, lower in reversed(ups)
        )
        self.ups = nn.ModuleList(
            _double_conv(skipped + width, width) for width, skipped, _ in reversed(ups)
        )
        self.head = nn.Conv2d(widths[0], 3 if config.output == "rgb" else 2, 1)
        self.hints = HintBranch(widths[::-1]) if config.hints else None

    def forward(self, gray: Tensor, luma: Tensor | None = None) -> Tensor:
        """Color a batch of gray pictures.

        Args:
            gray: Float [B, 1, H, W] in 0 to 1, H and W divisible by 16.
            luma: What the "chroma" output puts its colors on, like `gray`, in place of it.

        Returns:
            RGB [B, 3, H, W], meant to lie in 0 to 1 but not bounded. With the "chroma" output
            its luma is `gray` or `luma` itself, in its own precision.
        """
        return self.forward_with_bottleneck(gray, luma)[0]

    def forward_with_bottleneck(
        self, gray: Tensor, luma: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What `forward` gives, and the features of the lowest level, [B, C, H/16, W/16]."""
        predicted, bottleneck, _ = self.predict(gray)
        if self.config.output == "chroma":
            predicted = to_rgb(gray if luma is None else luma, predicted)
        return predicted, bottleneck

    def predict(self, gray: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """RGB [B, 3, H, W] or chroma [B, 2, H, W], by the output; the lowest level; those above it.

        The latter are the features on the way up, the coarsest first.
        """
        cast = gray.to(self.head.weight.dtype)
        # One channel lies in memory as it lies: here the strides say that it is the last. Otherwise
        # the way back through the stem turns its 64 channels over, a fortieth of a step on an H200.
        x = self.stem(cast.squeeze(1).unsqueeze(-1).permute(0, 3, 1, 2))
        skips = [x]
        if self.config.encoder != "plain":
            x = prepared(cast)
        for down in self.downs:
            x = down(x)
            skips.append(x)
        bottleneck = skips.pop()
        levels = []
        for lift, up in zip(self.lifts, self.ups, strict=True):
            x = up(torch.cat((skips.pop(), lift(x)), dim=1))
            levels.append(x)
        return self.head(x), bottleneck, levels

    def predict_with_hint_features(self, gray: Tensor) -> tuple[Tensor, Tensor]:
        """What `predict` gives first, and what hints spread by, [B, C, H, W]; see `HintBranch`.

        Nothing flows back from the second into the network before the branch.
        """
        assert self.hints is not None, "NetworkConfig.hints says whether there is a branch"
        predicted, _, levels = self.predict(gray)
        return predicted, self.hints([level.detach() for level in levels])

    def freeze_deep(self) -> None:
        """Keep the weights on the way down and of the first level on the way up as they are.

        Not batch norm's running statistics, which go on where the network is in training mode.
        """
        for part in (self.stem, self.downs, self.lifts[0], self.ups[0]):
            part.requires_grad_(False)

    def freeze_all_but_hints(self) -> None:
        """Keep all weights as they are but those of the branch for hints."""
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name.startswith("hints."))


class Hinted(nn.Module):
    """A generator that is shown hints. For training only.

    The network has a branch for hints, and stays in evaluation mode.
    """

    def __init__(self, generator: UNet) -> None:
        super().__init__()
        self.generator = generator

    def forward(
        self, gray: Tensor, luma: Tensor, points: Tensor, hint_chroma: Tensor
    ) -> tuple[Tensor, Tensor]:
        """RGB [B, 3, H, W], perhaps out of gamut, and the logits of the bins, [B, bins, H, W].

        `gray` and `luma` are as for `UNet`, `points` and `hint_chroma` as for `apply_hints`.
        """
        predicted, features = self.generator.eval().predict_with_hint_features(gray)
        features = features.float()
        chroma = predicted.float()
        if self.generator.config.output == "rgb":
            chroma = rgb_to_chroma(chroma)
        hinted = apply_hints(features, chroma, luma, points, hint_chroma)
        return to_rgb(luma, hinted), features[:, HINT_CHANNELS:]


class Supervised(nn.Module):
    """A generator with an auxiliary classifier on the mean of its lowest level.

    For training only: the features that classification needs help to color (Iizuka et al. 2016,
    section 3.3, with one linear layer in place of two).
    """

    def __init__(self, generator: UNet, classes: int) -> None:
        super().__init__()
        self.generator = generator
        self.classifier = nn.Linear(generator.bottleneck_channels, classes)

    def forward(self, gray: Tensor, luma: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """RGB [B, 3, H, W], and the logits of the classes, [B, classes], of `UNet`'s input."""
        fake, bottleneck = self.generator.forward_with_bottleneck(gray, luma)
        return fake, self.classifier(bottleneck.mean(dim=(2, 3)))


def fuse_batch_norm(generator: UNet) -> UNet:
    """A copy for inference, each batch norm folded into the convolution before it.

    In evaluation mode batch norm is a scale and a shift per channel, so the result is the
    same but for rounding, with a pass over memory less. Cannot be trained.
    """
    fused = copy.deepcopy(generator).eval()
    for block in fused.modules():
        if isinstance(block, nn.Sequential):
            for position, (layer, next_layer) in enumerate(pairwise(list(block))):
                if isinstance(layer, nn.Conv2d) and isinstance(next_layer, nn.BatchNorm2d):
                    block[position] = fuse_conv_bn_eval(layer, next_layer)
                    block[position + 1] = nn.Identity()
    return fused


def _double_conv(channels_in: int, channels_out: int) -> nn.Sequential:
    # Batch norm has a shift of its own, so the convolutions go without bias. It does not need
    # its result on the way back, so ReLU may write over it: a twentieth of a step on a CPU.
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )
