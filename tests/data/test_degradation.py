import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from flowercolor.data.degradation import DRAWS, NEUTRAL, degrade
from tests.helpers import rgb_to_luma


def draws(**changed: float) -> Tensor:
    """Draws that leave a picture as it is, but for these."""
    assert changed.keys() <= NEUTRAL.keys()
    return torch.tensor([list({**NEUTRAL, **changed}.values())])


def pictures(count: int = 1) -> tuple[Tensor, Tensor]:
    rgb = torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return rgb_to_luma(rgb), rgb


def noise(count: int = 1, side: int = 16) -> Tensor:
    return torch.randn(count, 1, side, side, generator=torch.Generator().manual_seed(1))


def degraded(**changed: float) -> Tensor:
    return degrade(*pictures(), draws(**changed), noise())


def test_as_many_numbers_as_there_are_things_to_decide() -> None:
    assert draws().shape == (1, DRAWS)


def test_neutral_draws_change_nothing() -> None:
    torch.testing.assert_close(degraded(), pictures()[0], atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=2 * DRAWS, max_size=2 * DRAWS))
def test_whatever_is_drawn_the_result_is_a_picture(drawn: list[float]) -> None:
    gray, rgb = pictures(2)
    result = degrade(gray, rgb, torch.tensor(drawn).view(2, DRAWS), noise(2))
    assert result.shape == gray.shape
    assert 0 <= result.min() <= result.max() <= 1


def test_a_picture_that_is_not_degraded_stays_bit_for_bit() -> None:
    """Beside one that is, which its neighbor does not change."""
    gray, rgb = pictures(2)
    chance = torch.rand(2, DRAWS, generator=torch.Generator().manual_seed(2))
    chance[:, 0] = torch.tensor([0, 1])
    result = degrade(gray, rgb, chance, noise(2))
    assert torch.equal(result[0], gray[0])
    alone = degrade(gray[1:], rgb[1:], chance[1:], noise(2)[1:])
    torch.testing.assert_close(result[1:], alone)
    assert (result[1] - gray[1]).abs().mean() > 0.01


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_film_sees_the_colors_by_other_weights(channel: int) -> None:
    """All of one of them here: of the others the logarithm is 0."""
    color = ("red", "green", "blue")[channel]
    result = degraded(mixed=1, **{color: 1 / math.e})
    torch.testing.assert_close(result[:, 0], pictures()[1][:, channel], atol=1e-4, rtol=0)
    half = degraded(mixed=0.5, **{color: 1 / math.e})
    torch.testing.assert_close(half, (result + pictures()[0]) / 2, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("focus", "share"), [(1.0, 1.0), (2 / 3, 0.5), (0.0, -0.5)])
def test_the_focus_is_softer_or_sharpened(focus: float, share: float) -> None:
    tap = np.array([1, 4, 6, 4, 1]) / 16
    gray = pictures()[0][0, 0].numpy()
    soft = cv2.sepFilter2D(gray, -1, tap, tap, borderType=cv2.BORDER_REPLICATE)
    expected = np.clip(gray + share * (soft - gray), 0, 1)
    np.testing.assert_allclose(degraded(focus=focus)[0, 0].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(("gamma", "exponent"), [(0, 2**-0.8), (1, 2**0.8)])
def test_the_gamma_is_lighter_or_darker(gamma: float, exponent: float) -> None:
    torch.testing.assert_close(degraded(gamma=gamma), pictures()[0] ** exponent, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("black", "white", "low", "high"),
    [(1, 0.375, 0.25, 1), (0.375, 1, 0, 0.75), (0, 0, -0.15, 1.15), (1, 1, 0.25, 0.75)],
)
def test_blacks_and_whites_fade_or_are_clipped(
    black: float, white: float, low: float, high: float
) -> None:
    expected = (low + (high - low) * pictures()[0]).clamp(0, 1)
    torch.testing.assert_close(degraded(black=black, white=white), expected, atol=1e-5, rtol=0)


def grain_on_gray(**changed: float) -> Tensor:
    gray = torch.full((1, 1, 128, 128), 0.5)
    rgb = gray.expand(1, 3, 128, 128)
    return degrade(gray, rgb, draws(**changed), noise(side=128)) - gray


def test_grain_is_noise_of_at_most_a_twelfth() -> None:
    for coarse in (0.5, 1):
        result = grain_on_gray(grain=coarse)
        torch.testing.assert_close(result, 0.08 * coarse**2 * noise(side=128))


def test_clumped_grain_is_as_strong_and_alike_from_pixel_to_pixel() -> None:
    fine, clumped = (grain_on_gray(grain=1, clumped=share) for share in (0, 1))
    assert clumped.std().item() == pytest.approx(fine.std().item(), rel=0.05)
    for picture, expected in ((fine, 0), (clumped, 0.8)):
        together = torch.stack((picture[..., :-1].flatten(), picture[..., 1:].flatten()))
        correlation = torch.corrcoef(together)[0, 1].item()
        assert correlation == pytest.approx(expected, abs=0.03)


def test_a_print_screen_is_strongest_in_the_middle_tones() -> None:
    for tone, strongest in ((0.0, 0.0), (0.5, 0.3), (1.0, 0.0)):
        gray = torch.full((1, 1, 64, 64), tone)
        result = degrade(gray, gray.expand(1, 3, 64, 64), draws(screen=1), noise(side=64)) - gray
        assert result.abs().max().item() == pytest.approx(strongest, abs=0.02)
        assert abs(result.mean()) < 0.01


def test_of_degraded_photos_half_have_no_screen_and_half_no_blocks() -> None:
    torch.testing.assert_close(degraded(screen=0.5, jpeg=0.5), pictures()[0], atol=1e-5, rtol=0)


def test_compression_leaves_blocks_of_8_and_their_means_nearly() -> None:
    """Of detail that is finer than its steps nothing is left."""
    gray, rgb = pictures()
    result = degrade(0.5 + 0.05 * (gray - 0.5), rgb, draws(jpeg=1), noise())
    blocks = result.unfold(2, 8, 8).unfold(3, 8, 8)
    assert (blocks - blocks.mean(dim=(4, 5), keepdim=True)).abs().max() < 1e-4
    means = degrade(gray, rgb, draws(jpeg=1), noise()).unfold(2, 8, 8).unfold(3, 8, 8)
    expected = gray.unfold(2, 8, 8).unfold(3, 8, 8).mean(dim=(4, 5))
    assert (means.mean(dim=(4, 5)) - expected).abs().max() < 0.05


def test_weak_compression_changes_little() -> None:
    assert 0 < (degraded(jpeg=0.51) - pictures()[0]).abs().max() < 0.02
