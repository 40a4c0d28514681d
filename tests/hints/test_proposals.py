import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest

from flowercolor.hints.attention import HEAD_CHANNELS, KEY_CHANNELS
from flowercolor.hints.palette import COLOR_CHANNELS, bins_of
from flowercolor.hints.proposals import LEAST_APART_LEVELS, propose
from flowercolor.hints.spreading import Placed, Seen, spread
from flowercolor.inference.colorizer import Colorizer
from flowercolor.photos.reader import read_photo
from tests.hints.helpers import WIDTH, two_halves
from tests.hints.test_palette import bin_of

DAHLIA = Path(__file__).parents[2] / "docs" / "images" / "dahlia_gray.jpg"


def uncertain_left(*colors: str) -> Seen:
    """The left half may be any of the colors, the first likeliest; the right is surely green."""
    seen = two_halves()
    logits = seen.features[-COLOR_CHANNELS:]
    logits[:] = -10
    for rank, color in enumerate(colors):
        logits[bin_of(color), :, : WIDTH // 2] = 5 - rank / 2
    logits[bin_of("forestgreen"), :, WIDTH // 2 :] = 10
    return seen


def test_it_proposes_what_the_network_holds_likely_of_the_unsure_part() -> None:
    colors = ("crimson", "gold", "royalblue")
    seen = uncertain_left(*colors)
    proposals = propose(seen, 5)
    bins = [
        int(bins_of(np, np.array([hint.chroma()])[:, :, None])[0, 0]) for hint in proposals.hints
    ]
    assert bins == [bin_of(color) for color in colors], "no leaf is proposed a petal's color"
    assert proposals.region[:, : WIDTH // 2].mean() > 0.9
    assert all(float(str(hint.x).rstrip("%")) < 50 for hint in proposals.hints)


def test_no_two_proposals_look_alike() -> None:
    seen = uncertain_left("crimson", "red", "firebrick", "gold", "yellow", "pink")
    proposals = propose(seen, 8)
    assert len(proposals.hints) > 1
    at = (16, 10)
    shown = [seen.chroma]
    for hint in proposals.hints:
        hints = Placed(np.array([at]), np.array([hint.chroma()], np.float32))
        shown.append(spread(seen, hints))
    for one, other in itertools.combinations(shown, 2):
        blue, red = 255 * np.abs(one - other)[:, :, : WIDTH // 2].mean(axis=(1, 2))
        assert 1.772 * blue + 1.402 * red > LEAST_APART_LEVELS


def test_what_the_photo_has_there_already_is_not_proposed() -> None:
    seen = uncertain_left("crimson")
    own = int(bins_of(np, seen.chroma[None])[0, 16, 10])
    seen.features[-COLOR_CHANNELS + own, :, : WIDTH // 2] = 9
    bins = [
        bins_of(np, np.array([hint.chroma()])[:, :, None])[0, 0] for hint in propose(seen, 5).hints
    ]
    assert bins == [bin_of("crimson")]


def test_a_place_may_be_chosen_and_what_is_settled_is_left() -> None:
    seen = uncertain_left("crimson", "gold")
    at_right = propose(seen, 3, (16, WIDTH - 5))
    assert at_right.region[:, -1].min() > 0.9
    seen.features[-COLOR_CHANNELS:, :, WIDTH // 2 :] = 0
    settled = propose(seen, 3, settled=[(16, WIDTH - 5)])
    assert settled.region[:, 0].min() > 0.85
    settled = propose(seen, 3, settled=[(16, 5)])
    assert settled.region[:, -1].min() > 0.85


def test_a_flower_is_proposed_colors_and_not_its_less_certain_eye() -> None:
    seen = uncertain_left("crimson", "gold")
    eye = np.s_[12:20, 8:16]
    logits = seen.features[-COLOR_CHANNELS:]
    logits[bin_of("crimson"), :, : WIDTH // 2] = 7  # of the petals it is rather sure
    for color in ("crimson", "gold"):
        logits[(bin_of(color), *eye)] = 5
    seen.features[(slice(0, KEY_CHANNELS, HEAD_CHANNELS), *eye)] = -6  # keys unlike the petals'
    region = propose(seen, 3).region
    assert region[2, 2] > 0.9
    assert region[eye].mean() < 0.2


@pytest.mark.parametrize("exposure", [0.9, 1.0])
@pytest.mark.parametrize("vividness", [0.0, 0.5, 1.0])
def test_the_bundled_weights_are_asked_of_the_petals(vividness: float, exposure: float) -> None:
    luma = cv2.convertScaleAbs(read_photo(DAHLIA).luma, alpha=exposure)
    colorizer = Colorizer.from_checkpoint(vividness=vividness, backend="onnxruntime", device="cpu")
    proposals = propose(colorizer.see(luma), 3)
    assert len(proposals.hints) == 3
    height, width = proposals.region.shape
    rows, columns = np.mgrid[:height, :width]
    radius = np.hypot(rows - 0.51 * height, columns - 0.48 * width) / height
    assert proposals.region[(radius > 0.18) & (radius < 0.26)].mean() > 0.5, "petals"
    assert proposals.region[radius > 0.45].mean() < 0.1, "leaves, and the next flower"


def test_foliage_is_proposed_nothing_that_leaves_hardly_are() -> None:
    seen = two_halves()
    logits = seen.features[-COLOR_CHANNELS:]
    logits[:] = -10
    for color, share in (("forestgreen", 0.5), ("olive", 0.3), ("gray", 0.17), ("blue", 0.03)):
        logits[bin_of(color)] = np.log(share)
    bins = {
        int(bins_of(np, np.array([hint.chroma()])[:, :, None])[0, 0])
        for hint in propose(seen, 8, (16, 5)).hints
    }
    assert bin_of("forestgreen") in bins
    assert bin_of("blue") not in bins
    logits[bin_of("forestgreen")] = -10
    logits[bin_of("crimson")] = np.log(0.5)
    assert any(hint.chroma()[0] > 0.1 for hint in propose(seen, 8, (16, 5)).hints)
