"""Baselines: methods that learn next to nothing, for the rows beside the generators'.

A generator that does not beat them has learned nothing.
"""

from functools import partial

import torch
from torch import Tensor

from flowercolor.color import fit_gamut, rgb_to_chroma, to_rgb
from flowercolor.data.dataset import FlowerDataset
from flowercolor.distributed import all_reduce_sum, shard
from flowercolor.evaluation.scoring import GRAY, TRUTH, Method, batches
from flowercolor.progress import Progress

LUMA_BINS = 20

MEDIAN_CHROMA = "median chroma"
MEDIAN_CHROMA_BY_LUMA = "median chroma by luma"
ROWS = frozenset({GRAY, MEDIAN_CHROMA, MEDIAN_CHROMA_BY_LUMA, TRUTH})
"""The names of the rows that are no checkpoint's."""


def baselines(
    train_set: FlowerDataset | None = None, progress: Progress | None = None
) -> dict[str, Method]:
    """The gray photo itself and, of a training set, its median chroma and that by luma."""
    methods: dict[str, Method] = {GRAY: lambda gray: gray.expand(-1, 3, -1, -1)}
    if train_set:
        overall, by_luma = median_chroma(train_set, progress)
        methods[MEDIAN_CHROMA] = partial(paint_chroma, overall)
        methods[MEDIAN_CHROMA_BY_LUMA] = partial(paint_chroma, by_luma)
    return methods


def median_chroma(
    train_set: FlowerDataset, progress: Progress | None = None
) -> tuple[Tensor, Tensor]:
    """The median Cb and Cr of all pixels, [1, 2], and of those of like luma, [20, 2].

    The luma is cut into 20 bins of one width; a bin without pixels has the median of all.
    Rounded to 1/510, half a level of an 8-bit picture.
    """
    levels = 511  # -0.5 to 0.5, with one for 0
    counts = torch.zeros(2, LUMA_BINS, levels, dtype=torch.int64)
    cpu = torch.device("cpu")
    positions = shard(len(train_set))
    label = "Looking for medians"
    for _, gray, real in batches(train_set, positions, 32, cpu, progress=progress, label=label):
        level = ((rgb_to_chroma(real) + 0.5) * (levels - 1)).round().long()
        places = level + levels * _bins(gray, LUMA_BINS)
        for channel, place in enumerate(places.unbind(1)):
            found = torch.bincount(place.flatten(), minlength=LUMA_BINS * levels)
            counts[channel] += found.view(LUMA_BINS, levels)
    all_reduce_sum(counts)

    def medians(counts: Tensor) -> Tensor:
        below = counts.cumsum(-1)
        level = (2 * below < below[..., -1:]).sum(-1)
        return (level / (levels - 1) - 0.5).T

    overall = medians(counts.sum(1, keepdim=True))
    return overall, torch.where(counts.sum((0, 2))[:, None] > 0, medians(counts), overall)


def paint_chroma(chromas: Tensor, gray: Tensor) -> Tensor:
    """Give each pixel the chroma of its luma, weakened where it does not fit; RGB [B, 3, H, W].

    Args:
        chromas: Cb and Cr for K bins of luma of one width, [K, 2].
        gray: Float [B, 1, H, W] in 0 to 1.
    """
    chroma = chromas.to(gray)[_bins(gray, len(chromas)).squeeze(1)].movedim(-1, 1)
    return to_rgb(gray, fit_gamut(gray, chroma))


def _bins(gray: Tensor, count: int) -> Tensor:
    """The bin of each pixel's luma, int64 of the shape of `gray`."""
    return (gray * count).long().clamp_max(count - 1)
