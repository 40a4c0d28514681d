import torch

from flowercolor.color import rgb_to_chroma
from flowercolor.data.dataset import FlowerDataset
from flowercolor.data.photo_cache import Photos
from flowercolor.evaluation.baselines import ROWS, baselines, median_chroma, paint_chroma
from flowercolor.evaluation.scoring import GRAY, TRUTH
from tests.helpers import rgb_to_luma


def test_without_a_training_set_the_gray_photo_stands_alone(photos: Photos) -> None:
    assert list(baselines()) == [GRAY]
    assert {*baselines(FlowerDataset(photos)), TRUTH} == ROWS


def test_median_chroma_is_the_median_of_the_pixels(photos: Photos) -> None:
    train_set = FlowerDataset(photos, range(8))
    overall, by_luma = median_chroma(train_set)
    gray, real = train_set.batch(range(8))
    chroma = rgb_to_chroma(real).movedim(1, 0).flatten(1)
    half_a_level = 0.5 / 510 + 1e-6
    torch.testing.assert_close(overall[0], chroma.median(1).values, atol=half_a_level, rtol=0)
    bins = (gray.flatten() * 20).long()
    assert 3 < len(bins.unique()) < 20, "bins with and without pixels"
    for number, found in enumerate(by_luma):
        pixels = chroma[:, bins == number]
        expected = pixels.median(1).values if pixels.numel() else overall[0]
        torch.testing.assert_close(found, expected, atol=half_a_level, rtol=0)


def test_painting_keeps_the_luma_and_looks_up_the_chroma() -> None:
    gray = torch.tensor([0.0, 0.3, 0.6, 1.0]).view(1, 1, 2, 2)
    table = torch.tensor([[0.1, -0.05], [-0.02, 0.1]])
    painted = paint_chroma(table, gray)
    assert painted.shape == (1, 3, 2, 2)
    assert painted.min() >= 0
    assert painted.max() <= 1
    torch.testing.assert_close(rgb_to_luma(painted), gray)
    chroma = rgb_to_chroma(painted).flatten(2)[0].T
    torch.testing.assert_close(chroma[1], table[0])
    torch.testing.assert_close(chroma[2], table[1])
    # There is no room for any in black and white.
    torch.testing.assert_close(chroma[[0, 3]], torch.zeros(2, 2))
