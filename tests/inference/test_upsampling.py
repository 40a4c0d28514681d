import tracemalloc
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flowercolor.color import fit_gamut, rgb_to_chroma, to_rgb
from flowercolor.errors import ImageError, SettingError
from flowercolor.inference.upsampling import render, shrink

Array = npt.NDArray[Any]
SIDES = st.integers(1, 40)
DTYPES = st.sampled_from([np.uint8, np.uint16])


def random_luma(rng: np.random.Generator, shape: tuple[int, int], dtype: Any) -> Array:
    """A third of it black or white, where the gamut leaves no room for color."""
    top = np.iinfo(dtype).max
    return (rng.uniform(-0.25, 1.25, shape).clip(0, 1) * top).round().astype(dtype)


def random_chroma(rng: np.random.Generator, height: int, width: int, strength: float) -> Array:
    return (rng.standard_normal((2, height, width)) * strength).astype(np.float32)


def flat(small: Array) -> Array:
    """What guides nothing: the chroma is enlarged by plain interpolation."""
    return np.zeros_like(small)


def differences(rgb: Array, luma: Array) -> Array:
    """How far the gray version of `rgb` is from `luma`, in levels."""
    gray: Array = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).reshape(luma.shape)
    if rgb.dtype == np.uint16:  # of which OpenCV's own is off by up to two
        gray = rgb @ np.array([0.299, 0.587, 0.114])
    return np.asarray(np.abs(gray - luma.astype(float)))


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(SIDES, SIDES),
    small_shape=st.tuples(SIDES, SIDES),
    dtype=DTYPES,
    chroma_strength=st.sampled_from([0.05, 0.3, 3, 1e4]),
    strength=st.floats(0, 1.5),
    guided=st.booleans(),
)
def test_the_luma_is_kept_within_one_level(
    *,
    seed: int,
    shape: tuple[int, int],
    small_shape: tuple[int, int],
    dtype: Any,
    chroma_strength: float,
    strength: float,
    guided: bool,
) -> None:
    """Of photos of any size and depth, whatever chroma is put on them."""
    rng = np.random.default_rng(seed)
    luma = random_luma(rng, shape, dtype)
    small = shrink(luma, *small_shape)
    chroma = random_chroma(rng, *small_shape, chroma_strength)
    rgb = render(luma, small if guided else flat(small), chroma, strength=strength)
    assert rgb.shape == (*shape, 3)
    assert rgb.dtype == dtype
    assert differences(rgb, luma).max() <= 1


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.tuples(SIDES, SIDES), DTYPES)
def test_strength_0_gives_the_gray_photo(seed: int, shape: tuple[int, int], dtype: Any) -> None:
    rng = np.random.default_rng(seed)
    luma = random_luma(rng, shape, dtype)
    rgb = render(luma, shrink(luma, 8, 8), random_chroma(rng, 8, 8, 1), strength=0)
    assert np.array_equal(rgb, np.repeat(luma[..., None], 3, axis=2))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("small_shape", [(7, 9), (90, 70)])
def test_a_plain_rendering_is_the_chroma_enlarged_by_opencv(
    dtype: Any, small_shape: tuple[int, int]
) -> None:
    """And fitted into the gamut as `flowercolor.color` does it."""
    rng = np.random.default_rng(0)
    luma = random_luma(rng, (61, 47), dtype)
    chroma = random_chroma(rng, *small_shape, 0.3)
    rgb = render(luma, np.zeros(small_shape, np.float32), chroma, strength=0.7)
    enlarged = np.stack([cv2.resize(one, (47, 61)) for one in 0.7 * chroma])
    top = np.iinfo(dtype).max
    y = torch.from_numpy(luma.astype(np.float32) / top)[None]
    expected = to_rgb(y, fit_gamut(y, torch.from_numpy(enlarged))).permute(1, 2, 0).numpy() * top
    # OpenCV's weights have 11 bits.
    assert np.abs(rgb - expected).max() <= 0.51 + top * 5e-4


def test_a_small_color_difference_is_not_lost() -> None:
    """A chroma of one level in the blue channel shows in the result."""
    luma = np.full((20, 20), 128, np.uint8)
    chroma = np.zeros((2, 5, 5), np.float32)
    chroma[0] = 1 / 255 / 1.772
    rgb = render(luma, shrink(luma, 5, 5), chroma)
    assert (rgb == (128, 128, 129)).all()


@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("small_shape", [(13, 11), (80, 60)])
def test_the_strips_leave_no_seams(guided: bool, small_shape: tuple[int, int]) -> None:
    """Of a photo for which several threads are worth it."""
    rng = np.random.default_rng(0)
    luma = random_luma(rng, (1500, 1400), np.uint8)
    small, chroma = shrink(luma, *small_shape), random_chroma(rng, *small_shape, 0.2)

    def with_strips(pixels: int) -> Array:
        return render(luma, small if guided else flat(small), chroma, strip_pixels=pixels)

    whole = with_strips(1 << 30)
    for rows in (7, 32, 700):
        assert np.array_equal(with_strips(1400 * rows), whole)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (1, 300), (300, 1), (2, 3), (3000, 1)])
@pytest.mark.parametrize("small_shape", [(1, 1), (1, 40), (40, 1), (16, 16)])
@pytest.mark.parametrize("guided", [False, True])
def test_thin_and_tiny_photos_are_colored(
    shape: tuple[int, int], small_shape: tuple[int, int], guided: bool
) -> None:
    luma = np.full(shape, 128, np.uint8)
    chroma = np.empty((2, *small_shape), np.float32)
    chroma[0], chroma[1] = -0.1, 0.1
    small = shrink(luma, *small_shape)
    rgb = render(luma, small if guided else flat(small), chroma)
    expected = np.rint(128 + 255 * np.array([0.1402, -0.037, -0.1772]))
    assert np.abs(rgb - expected).max() <= 1


def test_a_photo_taller_than_its_strips_needs_little_memory() -> None:
    """The weights of a strip's rows must not grow with the square of the height."""
    luma = np.full((20_000, 1), 128, np.uint8)
    chroma = np.zeros((2, 15_000, 1), np.float32)
    tracemalloc.start()
    try:
        render(luma, shrink(luma, 15_000, 1), chroma)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 100e6


def test_less_color_bleeds_over_an_edge_when_guided() -> None:
    """A dark red petal on bright leaves, its edge inside a pixel of the small copy."""
    height, width, edge = 120, 160, 84
    luma = np.full((height, width), 180, np.uint8)
    luma[:, :edge] = 60
    truth = np.empty((2, height, width), np.float32)
    truth[:, :, :edge] = np.array([-0.05, 0.15])[:, None, None]
    truth[:, :, edge:] = np.array([-0.15, -0.1])[:, None, None]
    small = shrink(luma, 15, 20)
    chroma: Array = np.stack(
        [cv2.resize(one, (20, 15), interpolation=cv2.INTER_AREA) for one in truth]
    )
    y = torch.from_numpy(luma.astype(np.float32) / 255)[None]
    expected = to_rgb(y, torch.from_numpy(truth)).permute(1, 2, 0).numpy() * 255

    def error(guided: bool) -> float:
        rgb = render(luma, small if guided else flat(small), chroma)
        return float(np.abs(rgb - expected)[:, edge - 8 : edge + 8].mean())

    assert error(guided=True) < 0.5 * error(guided=False)


def test_reduced_again_the_colors_are_those_that_went_in() -> None:
    """Fine structure of the luma must not shift the colors of an area, guided or not."""
    rng = np.random.default_rng(0)
    luma = rng.integers(90, 166, (160, 120)).astype(np.uint8)
    small = shrink(luma, 20, 15)
    across, down = np.meshgrid(np.linspace(-0.1, 0.1, 15), np.linspace(-0.1, 0.1, 20))
    chroma = np.stack((across, down)).astype(np.float32)
    for guided in (False, True):
        rgb = render(luma, small if guided else flat(small), chroma)
        reduced = cv2.resize(rgb, (15, 20), interpolation=cv2.INTER_AREA) / 255
        again = rgb_to_chroma(torch.from_numpy(reduced).permute(2, 0, 1)).numpy()
        # One level of rounding, and the outermost half pixel, which has no neighbor.
        assert np.abs(again - chroma)[:, 1:-1, 1:-1].max() < 1 / 255


def test_what_is_given_is_not_changed() -> None:
    rng = np.random.default_rng(0)
    luma = random_luma(rng, (40, 30), np.uint8)
    small, chroma = shrink(luma, 16, 12), random_chroma(rng, 16, 12, 1)
    before = luma.copy(), small.copy(), chroma.copy()
    for guided in (False, True):
        render(luma, small if guided else flat(small), chroma)
    for now, then in zip((luma, small, chroma), before, strict=True):
        assert np.array_equal(now, then)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_shrinking_takes_the_mean_of_what_a_pixel_covers(dtype: Any) -> None:
    top = np.iinfo(dtype).max
    luma = random_luma(np.random.default_rng(0), (24, 16), dtype)
    small = shrink(luma, 6, 4)
    assert small.dtype == np.float32
    expected = luma.reshape(6, 4, 4, 4).mean(axis=(1, 3)) / top
    assert np.abs(small - expected).max() <= 0.51 / top + 1e-6


def test_a_small_photo_is_enlarged_within_its_range() -> None:
    luma = np.tile(np.array([[0, 255]], np.uint8), (3, 2))
    large = shrink(luma, 30, 40)
    assert large.shape == (30, 40)
    assert large.min() == 0
    assert large.max() == 1


@pytest.mark.parametrize("strength", [-0.1, 2, float("nan")])
def test_a_strength_out_of_range_is_refused(strength: float) -> None:
    luma, small = np.zeros((4, 4), np.uint8), np.zeros((2, 2), np.float32)
    chroma = np.zeros((2, 2, 2), np.float32)
    with pytest.raises(SettingError, match=f"^strength is {strength}; expected 0 to 1.5"):
        render(luma, small, chroma, strength=strength)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("luma", np.zeros((4, 4))),
        ("luma", None),
        ("small", np.zeros((2, 3))),  # of another size than the chroma
        ("small", np.zeros((2, 2), np.uint8)),
        ("small", np.zeros((0, 2))),
        ("small", np.full((2, 2), 128.0)),
        ("chroma", np.zeros((2, 2))),
        ("chroma", np.full((2, 2, 2), np.nan)),
        ("chroma", None),
        ("colored", np.zeros((4, 3), np.uint8)),
    ],
)
def test_what_does_not_fit_is_refused(name: str, value: Any) -> None:
    arrays: dict[str, Any] = {
        "luma": np.zeros((4, 4), np.uint8),
        "small": np.zeros((2, 2)),
        "chroma": np.zeros((2, 2, 2)),
    }
    with pytest.raises(ImageError, match=r"^(luma|small|chroma|colored): .*; expected"):
        render(**arrays | {name: value})
