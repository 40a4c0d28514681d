import cv2
import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from flowercolor.color import fit_gamut, luma_u8, rgb_to_chroma, to_rgb
from tests.helpers import rgb_to_luma

SEEDS = st.integers(0, 2**32 - 1)


def random_rgb(seed: int) -> Tensor:
    """Float [2, 3, 5, 7], a third of its values at the ends of the range."""
    rng = torch.Generator().manual_seed(seed)
    return (torch.rand(2, 3, 5, 7, generator=rng) * 1.5 - 0.25).clamp(0, 1)


def test_the_gray_version_of_every_color_equals_opencvs() -> None:
    green, blue = np.meshgrid(np.arange(256), np.arange(256), indexing="ij")
    for red in range(256):
        rgb = np.stack((np.full_like(green, red), green, blue), axis=-1).astype(np.uint8)
        expected = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        assert np.array_equal(luma_u8(torch.from_numpy(rgb).permute(2, 0, 1))[0], expected)


def test_the_gray_version_of_random_pictures_equals_opencvs() -> None:
    """Of any leading dimensions, and of odd sizes, where OpenCV leaves its vector code."""
    rgb = np.random.default_rng(0).integers(0, 256, (2, 3, 37, 53, 3), dtype=np.uint8)
    gray = luma_u8(torch.from_numpy(rgb).movedim(-1, -3))
    assert gray.shape == (2, 3, 1, 37, 53)
    assert gray.dtype == torch.uint8
    for row, column in np.ndindex(2, 3):
        expected = cv2.cvtColor(rgb[row, column], cv2.COLOR_RGB2GRAY)
        assert np.array_equal(gray[row, column, 0], expected)


def test_the_float_luma_agrees_with_the_8_bit_one_within_rounding() -> None:
    rgb = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (3, 99, 99), dtype=np.uint8))
    assert (rgb_to_luma(rgb.float()) - luma_u8(rgb)).abs().max() <= 0.505


@settings(deadline=None, max_examples=25)
@given(SEEDS)
def test_luma_and_chroma_hold_all_of_a_color(seed: int) -> None:
    rgb = random_rgb(seed)
    again = to_rgb(rgb_to_luma(rgb), rgb_to_chroma(rgb))
    torch.testing.assert_close(again, rgb, atol=1e-6, rtol=0)


def test_the_chroma_of_saturated_colors_lies_at_its_bounds() -> None:
    """Blue has the largest Cb and red the largest Cr, 0.5; yellow and cyan the lowest."""
    colors = torch.tensor([[0, 0, 1], [1, 1, 0], [1, 0, 0], [0, 1, 1.0]])[..., None, None]
    chroma = rgb_to_chroma(colors)[..., 0, 0]
    torch.testing.assert_close(chroma[:2, 0], torch.tensor([0.5, -0.5]))
    torch.testing.assert_close(chroma[2:, 1], torch.tensor([0.5, -0.5]))


@settings(deadline=None, max_examples=25)
@given(SEEDS)
def test_chroma_stays_within_half(seed: int) -> None:
    assert rgb_to_chroma(random_rgb(seed)).abs().max() <= 0.5 + 1e-6


def test_gray_has_no_chroma() -> None:
    gray = torch.linspace(0, 1, 256).expand(3, 1, 256)
    assert rgb_to_chroma(gray).abs().max() < 1e-6


@settings(deadline=None, max_examples=25)
@given(SEEDS, st.sampled_from([1.0, 1e3]))
def test_fitting_the_gamut_keeps_luma_and_hue(seed: int, strength: float) -> None:
    rng = torch.Generator().manual_seed(seed)
    luma = (torch.rand(2, 1, 5, 7, generator=rng) * 1.2 - 0.1).clamp(0, 1)
    chroma = torch.randn(2, 2, 5, 7, generator=rng) * strength
    fitted = fit_gamut(luma, chroma)
    rgb = to_rgb(luma, fitted)
    assert rgb.min() >= -1e-6
    assert rgb.max() <= 1 + 1e-6
    torch.testing.assert_close(rgb_to_luma(rgb), luma, atol=1e-6, rtol=0)
    # The same direction and never longer: the cross product of old and new is 0.
    cb, cr = chroma.unbind(-3)
    fitted_cb, fitted_cr = fitted.unbind(-3)
    assert ((cb * fitted_cr - cr * fitted_cb) / strength).abs().max() < 1e-6
    assert (cb * fitted_cb + cr * fitted_cr >= 0).all()
    assert (fitted.norm(dim=-3) <= chroma.norm(dim=-3) + 1e-6).all()


@settings(deadline=None, max_examples=25)
@given(SEEDS)
def test_fitting_the_gamut_goes_up_to_its_edge(seed: int) -> None:
    """A chroma that is too strong is lowered until one channel is 0 or 1, not further."""
    rng = torch.Generator().manual_seed(seed)
    luma = torch.rand(1, 1, 5, 7, generator=rng) * 0.8 + 0.1
    direction = torch.nn.functional.normalize(torch.randn(1, 2, 5, 7, generator=rng), dim=1)
    rgb = to_rgb(luma, fit_gamut(luma, 3 * direction))
    edge = torch.minimum(rgb.amin(1), 1 - rgb.amax(1))
    assert edge.abs().max() < 1e-5


@settings(deadline=None, max_examples=25)
@given(SEEDS)
def test_fitting_the_gamut_leaves_colors_that_fit(seed: int) -> None:
    rgb = random_rgb(seed)
    chroma = rgb_to_chroma(rgb)
    torch.testing.assert_close(fit_gamut(rgb_to_luma(rgb), chroma), chroma, atol=1e-6, rtol=0)
