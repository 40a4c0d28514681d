"""The branch of the generator that hints go by."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from flowercolor.hints.attention import HINT_CHANNELS, KEY_CHANNELS, propagate
from flowercolor.hints.palette import COLOR_CHANNELS

_CHANNELS = 32
_FIRST_BIAS = -2.0


class HintBranch(nn.Module):
    """From the features on the way up to what hints spread by.

    Each level is brought to a few channels, enlarged and added to the next finer one (Lin et al.
    2017, figure 3); two convolutions follow. A twelfth of the bundled network's time.

    Args:
        widths: Channels of the levels, the coarsest first, each twice the size of the one before.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(width, _CHANNELS, 1) for width in widths)
        self.smooth = nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1)
        self.head = head = nn.Conv2d(_CHANNELS, HINT_CHANNELS + COLOR_CHANNELS, 1)
        with torch.no_grad():
            # Hints reach little at first, and the picture is left as it is.
            head.weight[KEY_CHANNELS:] *= 0.1
            bias = torch.zeros(len(head.weight))
            bias[KEY_CHANNELS : HINT_CHANNELS - 1] = _FIRST_BIAS
            head.bias = nn.Parameter(bias)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Features [B, C, H, W] of the levels, [B, width, h, w] each, the last of H x W pixels.

        The first `HINT_CHANNELS` are as `propagate` takes them, the others the logits of the
        `COLOR_CHANNELS` bins of chroma.
        """
        x = self.laterals[0](levels[0])
        for lateral, level in zip(self.laterals[1:], levels[1:], strict=True):
            x = F.interpolate(x, scale_factor=2, mode="bilinear") + lateral(level)
        features: Tensor = self.head(F.relu(self.smooth(F.relu(x))))
        return features


def apply_hints(
    features: Tensor, chroma: Tensor, luma: Tensor, points: Tensor, hint_chroma: Tensor
) -> Tensor:
    """The chroma where hints lead it, [B, 2, H, W].

    Args:
        features: Float [B, C, H, W], of `HintBranch`.
        chroma: Float [B, 2, H, W], Cb before Cr, without hints.
        luma: Float [B, 1, H, W] in 0 to 1.
        points: int64 [B, K, 2], row and column of each hint.
        hint_chroma: Float [B, K, 2].
    """
    height, width = luma.shape[-2:]
    rows, columns = points.unbind(-1)
    index = (rows * width + columns)[:, None]
    flat = [values.flatten(2) for values in (features, chroma, luma)]
    at_hints = [values.gather(2, index.expand(-1, values.shape[1], -1)) for values in flat]
    down, right = (
        torch.arange(side, device=luma.device, dtype=luma.dtype) for side in (height, width)
    )
    down2 = (rows[..., None, None] - down[:, None]).square()
    right2 = (columns[..., None, None] - right).square()
    distance2 = (down2 + right2).flatten(2)
    at_hints.append(hint_chroma.swapaxes(1, 2))
    moved: Tensor = propagate(torch.exp, flat, at_hints, distance2, height * width)
    return moved.view_as(chroma)
