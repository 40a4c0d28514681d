import math

import numpy as np
import pytest
import torch

from flowercolor.evaluation.intervals import bootstrap
from flowercolor.evaluation.report import table


def test_the_interval_is_that_of_plain_resampling() -> None:
    rng = np.random.default_rng(5)
    values = rng.gamma(2.0, size=60)
    [interval] = bootstrap(torch.from_numpy(values)[:, None])
    means = [rng.choice(values, 60).mean() for _ in range(4000)]
    low, high = np.percentile(means, [2.5, 97.5])
    assert interval.mean == pytest.approx(values.mean())
    assert interval.low == pytest.approx(low, abs=0.04)
    assert interval.high == pytest.approx(high, abs=0.04)


def test_the_interval_does_not_depend_on_how_many_are_drawn_at_once() -> None:
    values = torch.rand(31, 2, generator=torch.Generator().manual_seed(0))
    expected = bootstrap(values)
    for size in (7, 5000):
        blocks = bootstrap(values, block_resamples=size)
        for interval, other in zip(blocks, expected, strict=True):
            assert tuple(interval) == pytest.approx(tuple(other), rel=1e-12)


def test_columns_are_resampled_alike() -> None:
    """So the difference of two columns has the interval of a constant where it is one."""
    values = torch.rand(30, generator=torch.Generator().manual_seed(0))
    first, second, difference = bootstrap(torch.stack((values, values + 1, values * 0 + 1), 1))
    assert tuple(second) == pytest.approx([figure + 1 for figure in first])
    assert tuple(difference) == pytest.approx((1, 1, 1))
    assert bootstrap(values[:, None]) == [first]


def test_what_is_missing_is_left_out_of_the_interval() -> None:
    values = torch.tensor([[1.0, math.nan], [math.nan, math.nan], [3.0, math.nan]])
    some, none = bootstrap(values)
    assert some == (2, 1, 3)
    assert all(map(math.isnan, none))
    assert all(map(math.isnan, bootstrap(torch.empty(0, 1))[0]))


def test_a_single_picture_has_no_interval() -> None:
    [interval] = bootstrap(torch.tensor([[0.25]]))
    assert interval.mean == 0.25
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
    for untold in (interval, interval._replace(low=0.1), interval._replace(high=0.3)):
        assert table("one", {"mine": {"l1": untold}}).rows["mine"][0] == ("0.2500", "")


def test_a_figure_of_several_means_has_the_interval_of_its_resamples() -> None:
    """Of a ratio: not the ratio of the bounds, as both means move with the same pictures."""
    values = torch.rand(50, 1, generator=torch.Generator().manual_seed(2)) * torch.tensor([1.0, 3])
    [ratio, first] = bootstrap(
        values, figures_of=lambda m: torch.stack((m[..., 1] / m[..., 0], m[..., 0]), -1)
    )
    assert tuple(ratio) == pytest.approx((3, 3, 3))
    assert first == bootstrap(values)[0]
