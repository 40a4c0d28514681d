"""Bootstrap intervals of scores."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

RESAMPLES = 2000


class Interval(NamedTuple):
    """A mean over pictures, and between what it lies in 95 % of the resamples."""

    mean: float
    low: float
    high: float


def bootstrap(
    values: Tensor,
    *,
    figures_of: Callable[[Tensor], Tensor] | None = None,
    block_resamples: int = 100,
) -> list[Interval]:
    """The mean of each column with its 95 % percentile interval (Efron and Tibshirani 1993).

    Pictures are drawn with replacement, under a fixed seed and alike in every column. Values
    that are NaN are left out; a column of nothing else has NaN for all three. Of a single picture
    nothing tells how far its score may lie off: the bounds are NaN.

    Args:
        values: [N, M], M scores of N pictures.
        figures_of: From the means of the columns, [..., M], the figures to give instead, [..., K];
            resamples where one is NaN do not count for it.
        block_resamples: How many are drawn at once; all would fill the memory.
    """
    count = len(values)
    exact = values.double().cpu()
    known, is_known = exact.nan_to_num(0), (~exact.isnan()).double()
    rng = np.random.default_rng(0)
    blocks = []
    for start in range(0, RESAMPLES, block_resamples):
        drawn = rng.integers(max(1, count), size=(min(block_resamples, RESAMPLES - start), count))
        times = torch.zeros(drawn.shape, dtype=torch.float64)
        times.scatter_add_(1, torch.from_numpy(drawn), torch.ones_like(times))
        blocks.append((times @ known) / (times @ is_known))
    means = torch.cat(blocks)
    mean = exact.nanmean(dim=0)
    if figures_of:
        mean, means = figures_of(mean), figures_of(means)
    bounds = means.nanquantile(torch.tensor([0.025, 0.975], dtype=torch.float64), dim=0)
    if count == 1:
        bounds = torch.full_like(bounds, math.nan)
    figures = torch.stack((mean, *bounds), dim=1)
    return [Interval(*row) for row in figures.tolist()]
