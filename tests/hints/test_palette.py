import numpy as np
import pytest
import torch

from flowercolor.errors import SettingError
from flowercolor.hints.guidance import Guidance
from flowercolor.hints.hint import chroma_of, rgb_of
from flowercolor.hints.palette import (
    COLOR_CHANNELS,
    Palette,
    bins_of,
    probabilities,
    regions,
    with_palette,
)
from flowercolor.hints.spreading import Placed, spread
from tests.hints.helpers import HEIGHT, WIDTH, two_halves


def bin_of(color: str) -> int:
    return int(bins_of(np, np.array(chroma_of(rgb_of(color, "")))[None, :, None])[0, 0])


def test_bins_tell_gray_hues_and_strengths_apart() -> None:
    colors = ["gray", "red", "pink", "orange", "yellow", "green", "blue", "blueviolet"]
    assert len({bin_of(color) for color in colors}) == len(colors)
    assert bin_of("gray") == bin_of("white") == 0
    chroma = torch.rand(1, 2, 50, 50) - 0.5
    by_numpy = bins_of(np, chroma.numpy())
    assert np.array_equal(by_numpy, bins_of(torch, chroma).numpy())
    assert set(np.unique(by_numpy)) <= set(range(COLOR_CHANNELS))


def test_probabilities_sum_to_one() -> None:
    likely = probabilities(two_halves(noise=3))
    assert np.allclose(likely.sum(axis=0), 1, atol=1e-5)


def test_regions_are_what_a_hint_colors_as_one() -> None:
    found = regions(two_halves())
    assert len(found) == 2
    for point, member in found:
        half = slice(0, WIDTH // 2) if point[1] < WIDTH // 2 else slice(WIDTH // 2, WIDTH)
        assert member[:, half].min() > 0.7
        assert member.sum() < 1.01 * HEIGHT * WIDTH / 2


def test_a_palette_puts_each_color_where_it_is_likeliest() -> None:
    red, blue = bin_of("crimson"), bin_of("royalblue")
    palette = Palette.of_colors(["royalblue", "crimson"])
    for bins in ((red, blue), (blue, red)):
        seen = two_halves(bins=bins)
        led = spread(seen, palette.hints(seen))
        for half, one in zip((led[:, :, 5], led[:, :, -5]), bins, strict=True):
            assert set(bins_of(np, half[None])[0]) == {one}


def test_where_no_color_of_it_is_likely_a_region_keeps_its_own() -> None:
    seen = two_halves(bins=(bin_of("crimson"), bin_of("forestgreen")))
    seen.features[-COLOR_CHANNELS:] *= 4  # surer
    led = spread(seen, Palette.of_colors(["crimson"]).hints(seen))
    assert led[1, 16, 5] > 0.2
    assert np.allclose(led[:, 16, -5], 0.05, atol=0.01)


def test_a_dark_part_takes_the_darker_of_two_likely_colors() -> None:
    seen = two_halves(bins=(bin_of("yellow"), bin_of("yellow")))
    seen.features[-COLOR_CHANNELS + bin_of("green")] = 5  # as likely
    seen.luma[:, : WIDTH // 2] = 0.25
    seen.luma[:, WIDTH // 2 :] = 0.9
    palette = Palette.of_colors(["green", "yellow"])
    hints = palette.hints(seen)
    by_side = {column < WIDTH // 2: chroma for (_, column), chroma in zip(*hints, strict=True)}
    hue_of = {name: np.arctan2(*chroma_of(rgb_of(name, ""))) for name in ("green", "yellow")}
    assert np.arctan2(*by_side[True]) == pytest.approx(hue_of["green"], abs=0.05)
    assert np.arctan2(*by_side[False]) == pytest.approx(hue_of["yellow"], abs=0.05)


def test_a_strong_color_is_weak_where_all_that_is_likely_is() -> None:
    """Leaves are not as green as the color green."""
    weak_green = bin_of("green") - 12
    for likeliest, weak in ((weak_green, True), (bin_of("green"), False)):
        seen = two_halves(bins=(likeliest, likeliest))
        asked = Palette.of_colors(["green"]).hints(seen).chroma[0]
        assert (np.hypot(*asked) < 0.13) == weak


def test_near_colors_are_mixed_by_their_likelihood_so_that_near_copies_agree() -> None:
    """Two bins, either of which may be a bit likelier."""
    pink, salmon = bin_of("hotpink"), bin_of("salmon")
    near = np.array([chroma_of(rgb_of(color, "")) for color in ("hotpink", "salmon")], np.float32)
    assert pink != salmon
    assert np.hypot(*(near[0] - near[1])) < 0.16
    palette = Palette(near, np.full(2, 0.5, np.float32), np.full(2, 0.5, np.float32))
    asked = []
    for likelier in (pink, salmon):
        seen = two_halves(bins=(pink, pink))
        seen.features[-COLOR_CHANNELS + salmon] = 4.95
        seen.features[-COLOR_CHANNELS + pink] = 4.95
        seen.features[-COLOR_CHANNELS + likelier] = 5
        asked.append(palette.hints(seen).chroma[0])
    assert np.allclose(asked[0], asked[1], atol=0.01)
    assert np.allclose(asked[0], near.mean(axis=0), atol=0.01)
    far = Palette.of_colors(["hotpink", "gold"]).hints(two_halves(bins=(pink, pink)))
    assert np.allclose(far.chroma, near[0], atol=1e-6), "colors of other hues are not"


def test_the_palette_of_a_photo_is_its_chroma_by_share() -> None:
    rgb = np.zeros((40, 40, 3), np.uint8)
    rgb[:30] = rgb_of("crimson", "")
    rgb[30:] = rgb_of("ivory", "")
    palette = Palette.of_pixels(rgb)
    assert sorted(palette.shares.tolist()) == [0.25, 0.75]
    crimson = palette.chroma[palette.shares.argmax()]
    assert np.allclose(crimson, chroma_of(rgb_of("crimson", "")), atol=1e-3)
    deep = Palette.of_pixels(rgb.astype(np.uint16) * 257)
    assert np.allclose(deep.chroma, palette.chroma, atol=1e-5)


def test_a_hint_beside_a_palette_is_kept() -> None:
    seen = two_halves(bins=(bin_of("crimson"), bin_of("crimson")))
    gray = Placed(np.array([[16, 5]]), np.zeros((1, 2), np.float32))
    led = spread(seen, with_palette(seen, Palette.of_colors(["crimson"]), gray))
    assert np.abs(led[:, :, : WIDTH // 2 - 1]).max() < 0.03
    assert led[1, 16, -5] > 0.2


def test_palettes_that_differ_in_luma_alone_make_other_pictures() -> None:
    of_white, of_black = (
        Guidance(palette=Palette.of_colors([color])).digests for color in ("white", "black")
    )
    assert of_white != of_black


def test_a_palette_of_what_is_no_color_is_refused() -> None:
    with pytest.raises(SettingError, match="palette: 'rde' is no color"):
        Palette.of_colors(["red", "rde"])
