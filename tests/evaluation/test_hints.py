from pathlib import Path

import pytest
import torch

from flowercolor.config import NetworkConfig
from flowercolor.data.dataset import FlowerDataset
from flowercolor.data.simulated_hints import SimulatedHints
from flowercolor.errors import SettingError
from flowercolor.evaluation.hints import (
    ALONG_EDGES,
    BY_DISTANCE,
    hint_curve,
    spread,
    write_hint_curves,
)
from flowercolor.evaluation.scoring import generate, see, shown
from flowercolor.networks.hints import apply_hints
from flowercolor.networks.unet import UNet
from tests.helpers import blank_graphs

ONE = SimulatedHints(torch.tensor([[[8, 8]]]), torch.tensor([[[0.1, 0.3]]]))


@pytest.fixture
def with_hints() -> UNet:
    torch.manual_seed(0)
    return UNet(NetworkConfig(4, "chroma", hints=True)).eval()


def test_the_floors_spread_by_distance_and_stop_at_edges() -> None:
    luma = torch.full((1, 1, 32, 32), 0.5)
    luma[..., 16:] = 1
    plain, edges = (spread(luma, *ONE, along_edges=along_edges) for along_edges in (False, True))
    for chroma in (plain, edges):
        assert chroma[0, 1, 8, 8] > 0.25
        assert chroma[0, 1, 8, 8] > chroma[0, 1, 8, 12] > chroma[0, 1, 31, 31] >= 0
    assert plain[0, 1, 8, 18] > 0.01
    assert edges[0, 1, 8, 18] < 1e-3 < edges[0, 1, 8, 0]


def test_no_hint_is_the_automatic_picture(with_hints: UNet) -> None:
    gray = torch.rand(2, 1, 32, 32)
    none = SimulatedHints(torch.zeros(2, 0, 2, dtype=torch.long), torch.zeros(2, 0, 2))
    automatic = generate(with_hints, gray)  # by way of RGB, which rounds
    hinted = shown(gray, apply_hints(*see(with_hints, gray), gray, *none))
    assert torch.allclose(hinted, automatic, atol=1e-6)


@pytest.mark.parametrize("clicks", [False, True])
def test_the_curve_falls_with_hints_that_hold(
    with_hints: UNet, flowers: FlowerDataset, *, clicks: bool
) -> None:
    """Of random weights too: a hint holds at its own place, and nothing knows less than nothing."""
    curve = hint_curve(with_hints, flowers, counts=(0, 1, 20), clicks=clicks, batch_size=5)
    assert set(curve) == {"hints", BY_DISTANCE, ALONG_EDGES}
    for cells in curve.values():
        assert list(cells) == [0, 1, 20]
        assert cells[20]["psnr_db"].mean > cells[0]["psnr_db"].mean
    assert curve["hints"][20]["l1"].mean < curve["hints"][0]["l1"].mean
    floors = (curve[name][0]["l1"].mean for name in (BY_DISTANCE, ALONG_EDGES))
    assert len(set(floors)) == 1, "without hints both are the gray photo"


def test_curves_replace_earlier_ones_alone(
    with_hints: UNet, flowers: FlowerDataset, tmp_path: Path
) -> None:
    curves = {"mine": hint_curve(with_hints, flowers, counts=(0, 1), batch_size=5)}
    with blank_graphs():
        for _ in range(2):
            write_hint_curves(curves, tmp_path)
    for name, of_others in (
        ("hints.json", ['{"a.png": [[3, 4]]}', "[]", "{}"]),
        ("hints.png", ["mine"]),
    ):
        for text in of_others:
            folder = tmp_path / "own"
            folder.mkdir(exist_ok=True)
            (folder / name).write_text(text)
            with pytest.raises(SettingError, match=f"{name}: is there already, and no `eval` left"):
                write_hint_curves(curves, folder)
            assert (folder / name).read_text() == text
        (folder / name).unlink()
