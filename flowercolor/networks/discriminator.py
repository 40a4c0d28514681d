"""The discriminator: strided convolutions under spectral normalization."""

import math

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class Discriminator(nn.Module):
    """The discriminator: SN(C64)-SN(C128)-SN(C256)-SN(C512)-SN(C512)-SN(C1).

    4x4 convolutions under spectral normalization, W / sigma(W) with sigma(W) the largest
    singular value, estimated by one power iteration per pass in training (Miyato et al. 2018,
    equation 8 and algorithm 1). All but the last have stride 2 and are followed by
    BatchNorm2d and LeakyReLU of slope 0.2; the last takes the 4x4 that is left of a
    128x128 picture to one score. Larger pictures give a map of scores; smaller ones go
    through fewer of the strided convolutions, so that at least 4x4 is left.
    """

    def __init__(self, size_px: int = 128) -> None:
        super().__init__()
        widths = [64, 128, 256, 512, 512][: max(1, math.floor(math.log2(size_px / 4)))]
        layers: list[nn.Module] = []
        channels = 3
        for width in widths:
            layers += [
                spectral_norm(nn.Conv2d(channels, width, 4, stride=2, padding=1)),
                nn.BatchNorm2d(width),
                nn.LeakyReLU(0.2, inplace=True),
            ]
            channels = width
        layers.append(spectral_norm(nn.Conv2d(channels, 1, 4)))
        self.layers = nn.Sequential(*layers)

    def forward(self, rgb: Tensor) -> Tensor:
        """The logits of being real, [B, 1, h, w], of RGB [B, 3, H, W] in 0 to 1."""
        logits: Tensor = self.layers(rgb)
        return logits
