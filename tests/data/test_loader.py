from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flowercolor.config import TrainConfig
from flowercolor.data.dataset import FlowerDataset, to_pairs
from flowercolor.data.degradation import DRAWS
from flowercolor.data.loader import Batch, EpochPlan, batches, draw_epoch, to_device
from flowercolor.data.photo_cache import Photos
from flowercolor.data.sources import Pool
from tests.helpers import be_rank

CONFIG = TrainConfig(flip=True, crop=0.5, degrade=0.5)
CPU = torch.device("cpu")


def fed(photos: Photos, batch_size: int, skip: int = 0) -> list[Batch]:
    plan = draw_epoch(CONFIG, len(photos.names), epoch=1)
    return list(batches(FlowerDataset(photos), plan, batch_size, CPU, skip=skip))


def same(one: EpochPlan, other: EpochPlan) -> list[bool]:
    return [
        bool(torch.as_tensor(a).equal(torch.as_tensor(b))) for a, b in zip(one, other, strict=True)
    ]


def test_an_epoch_follows_from_seed_and_number_alone() -> None:
    first = draw_epoch(CONFIG, 50, 3)
    torch.manual_seed(1)  # what was plan elsewhere must not matter, nor other settings
    again = draw_epoch(replace(CONFIG, lr=0.1, batch_size=3), 50, 3)
    assert same(first, again) == [True] * 5


@pytest.mark.parametrize("other", [(replace(CONFIG, seed=1), 3), (CONFIG, 4)])
def test_another_seed_or_epoch_is_another_draw(other: tuple[TrainConfig, int]) -> None:
    another = draw_epoch(other[0], 50, other[1])
    assert same(draw_epoch(CONFIG, 50, 3), another) == [False] * 5


def test_the_order_is_the_same_with_and_without_augmentation() -> None:
    plain = draw_epoch(TrainConfig(), 50, 3)
    assert torch.equal(plain.order, draw_epoch(CONFIG, 50, 3).order)
    assert plain.flips is None
    assert plain.crops is None
    assert plain.degradations is None


def test_each_photo_has_its_turn_and_half_are_mirrored() -> None:
    plan = draw_epoch(CONFIG, 1000, 1)
    assert plan.order.sort().values.tolist() == list(range(1000))
    assert plan.flips is not None
    assert 400 < plan.flips.sum() < 600


@given(st.floats(0.01, 0.99), st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_a_crop_keeps_at_least_its_share_of_the_area(crop: float, seed: int) -> None:
    crops = draw_epoch(replace(CONFIG, crop=crop, seed=seed), 100, 1).crops
    assert crops is not None
    assert torch.equal(crops[:, 0], crops[:, 1])
    area = crops[:, 0].double() ** 2
    assert area.min() > crop - 1e-5
    assert area.max() <= 1
    assert crops[:, 2:].min() >= 0
    assert crops[:, 2:].max() <= 1
    # Areas are uniform between the share and all: so is their mean, within 5 sigma.
    assert abs(area.mean() - (1 + crop) / 2) < 5 * (1 - crop) / 12**0.5 / 10


def test_crops_are_stretched_by_up_to_the_aspect_either_way() -> None:
    for crop in (0.5, 1):
        crops = draw_epoch(replace(CONFIG, crop=crop, aspect=2), 2000, 1).crops
        assert crops is not None
        width, height = crops[:, 0].double(), crops[:, 1].double()
        assert crops[:, :2].max() <= 1
        octaves = (width / height).log2()
        assert 0.95 < octaves.abs().max() <= 1
        # Uniform from -1 to 1: so are its mean and its spread, within 5 sigma.
        assert abs(octaves.mean()) < 5 * 0.58 / 2000**0.5
        assert octaves.abs().mean() == pytest.approx(0.5, abs=5 * 0.29 / 2000**0.5)


def test_photos_drawn_by_shares_come_in_turns_of_their_own(photos: Photos) -> None:
    """One that comes twice is cropped twice, each time in another way."""
    pools = [Pool(torch.arange(2), 10), Pool(torch.arange(2, 12), 5)]
    plan = draw_epoch(replace(CONFIG, degrade=0), 12, 1, pools)
    assert len(plan.order) == 15
    assert (plan.order < 2).sum() == 10
    assert plan.crops is not None
    assert len(plan.crops.unique(dim=0)) == 15
    shown = list(batches(FlowerDataset(photos), plan, 4, CPU))
    assert [batch.photos for batch in shown] == [4, 4, 4, 3]
    again = draw_epoch(replace(CONFIG, degrade=0), 12, 1, pools)
    assert torch.equal(plan.order, again.order)


def test_a_batch_is_its_photos_as_drawn(photos: Photos) -> None:
    plan = draw_epoch(CONFIG, 12, 1)
    assert plan.flips is not None
    assert plan.crops is not None
    second = fed(photos, 5)[1]
    pixels = torch.from_numpy(photos.rgb)[plan.order[5:10]]
    luma, real = to_pairs(pixels, plan.flips[5:10], plan.crops[5:10])
    assert torch.equal(second.luma, luma)
    assert torch.equal(second.real, real)
    assert second.classes is None
    assert (second.photos, second.weight) == (5, 1)


def test_the_share_of_photos_that_is_worn_is_shown_so() -> None:
    plan = draw_epoch(replace(CONFIG, degrade=0.3), 1000, 1)
    assert plan.degradations is not None
    assert 250 < plan.degradations[:, 0].sum() < 350
    assert 0.45 < plan.degradations[:, 1:].mean() < 0.55


def test_only_what_the_generator_sees_is_worn(photos: Photos) -> None:
    plan = draw_epoch(CONFIG, 12, 1)
    assert plan.degradations is not None
    fed_batches = fed(photos, 5)
    changed = torch.cat([(batch.gray != batch.luma).flatten(1).any(1) for batch in fed_batches])
    assert 0 < changed.sum() < 12
    assert torch.equal(changed, plan.degradations[:, 0] > 0)
    plain = draw_epoch(replace(CONFIG, degrade=0), 12, 1)
    for batch, clean in zip(
        fed_batches, batches(FlowerDataset(photos), plain, 5, CPU), strict=True
    ):
        assert clean.gray is clean.luma
        assert torch.equal(batch.luma, clean.luma)
        assert torch.equal(batch.real, clean.real)


def test_grain_differs_from_photo_to_photo_and_from_step_to_step() -> None:
    same_photo = np.full((8, 16, 16, 3), 128, np.uint8)
    photos = Photos(Path("x"), tuple("abcdefgh"), same_photo, np.ones((8, 2), np.int32), "")
    plan = EpochPlan(torch.arange(8), None, None, torch.ones(8, DRAWS), 0)
    shown = torch.cat([batch.gray for batch in batches(FlowerDataset(photos), plan, 4, CPU)])
    assert len(shown.flatten(1).unique(dim=0)) == 8


def test_a_photos_class_comes_with_it(photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    classes = torch.arange(12) % 7
    plan = draw_epoch(TrainConfig(), 12, 1)
    be_rank(monkeypatch, 1, 2)
    shown = list(batches(FlowerDataset(photos), plan, 5, CPU, classes=classes))
    own = [part[1::2] for part in plan.order.split(5)]
    for batch, of in zip(shown, own, strict=True):
        assert batch.classes is not None
        assert torch.equal(batch.classes, classes[of])
        assert torch.equal(batch.real, FlowerDataset(photos).batch(of)[1])


@pytest.mark.parametrize("skip", [0, 1, 3])
def test_skipped_steps_are_those_at_the_beginning(photos: Photos, skip: int) -> None:
    fed_batches = fed(photos, 5)
    assert [batch.photos for batch in fed_batches] == [5, 5, 2]
    rest = fed(photos, 5, skip)
    assert len(rest) == 3 - skip
    for one, other in zip(fed_batches[skip:], rest, strict=True):
        assert torch.equal(one.real, other.real)
        assert torch.equal(one.gray, other.gray)


@pytest.mark.parametrize(("size", "batch_size"), [(2, 4), (2, 5), (3, 5), (4, 11)])
def test_the_processes_share_each_batch(
    photos: Photos, monkeypatch: pytest.MonkeyPatch, size: int, batch_size: int
) -> None:
    """Each photo once; weights that average to 1 and make means of means those over photos."""
    whole = fed(photos, batch_size)
    by_rank = []
    for rank in range(size):
        be_rank(monkeypatch, rank, size)
        by_rank.append(fed(photos, batch_size))
    for batch, *shares in zip(whole, *by_rank, strict=True):
        for rank, one in enumerate(shares):
            assert torch.equal(one.real[: one.photos], batch.real[rank::size])
            torch.testing.assert_close(one.gray[: one.photos], batch.gray[rank::size])
        weights = torch.tensor([one.weight for one in shares])
        means = torch.stack([one.real.mean() for one in shares])
        torch.testing.assert_close(weights.mean(), torch.tensor(1.0))
        torch.testing.assert_close((weights * means).mean(), batch.real.mean())


def test_who_gets_no_photo_takes_part_with_one_that_does_not_count(
    photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_rank(monkeypatch, 1, 2)
    last = fed(photos, 11)[-1]
    assert (last.photos, last.weight, len(last.real)) == (0, 0, 1)


def test_on_a_cpu_pictures_stay_where_they_are(photos: Photos) -> None:
    sets = [FlowerDataset(photos, [1, 2]), FlowerDataset(photos, [3])]
    kept = to_device(CPU, *sets)
    assert all(one is other for one, other in zip(kept, sets, strict=True))


@pytest.mark.cuda
def test_a_gpu_is_fed_the_same_streamed_or_resident(photos: Photos) -> None:
    gpu = torch.device("cuda")
    plan = draw_epoch(CONFIG, 12, 1)
    (moved,) = to_device(gpu, FlowerDataset(photos))
    assert moved.device.type == "cuda"
    resident_ones = batches(moved, plan, 5, gpu)
    streamed = batches(FlowerDataset(photos), plan, 5, gpu)
    on_cpu = batches(FlowerDataset(photos), plan, 5, CPU)
    for one, other, expected in zip(resident_ones, streamed, on_cpu, strict=True):
        for name in ("gray", "luma", "real"):
            assert torch.equal(getattr(one, name), getattr(other, name))
        # Cutting rounds, and not everywhere alike; grain is another on another device.
        assert (one.real.cpu() - expected.real).abs().max() <= 1.01 / 255
