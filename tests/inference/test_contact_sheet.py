import numpy as np
import pytest
import torch

from flowercolor.config import NetworkConfig
from flowercolor.errors import SettingError
from flowercolor.inference.colorizer import Colorizer
from flowercolor.inference.contact_sheet import variants
from flowercolor.networks.unet import UNet
from tests.inference.helpers import as_backend

pytestmark = pytest.mark.usefixtures("backend")


def colorizer(seed: int = 0) -> Colorizer:
    torch.manual_seed(seed)
    return Colorizer(as_backend(UNet(NetworkConfig(2))))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_sheet_holds_each_rendering_at_its_size(dtype: type[np.generic]) -> None:
    """Of one colorizer, the tiles are its own renderings, in rows, from small to large."""
    luma = np.random.default_rng(0).integers(0, 256, (40, 60)).astype(np.uint8)
    ours = colorizer()

    deep = luma.astype(dtype) * (257 if dtype == np.uint16 else 1)
    sheet = variants(deep, {"": ours}, 3)

    assert sheet.dtype == np.uint8
    assert len(sheet) == 2 * (40 + 28)
    wide = sheet.shape[1] // 2
    for (top, left), size_px in zip([(0, 0), (0, wide), (68, 0)], (96, 136, 192), strict=True):
        rendered = ours.render(luma, render_size_px=size_px)
        assert np.array_equal(sheet[top : top + 40, left : left + 60], rendered)
    assert (sheet[68:, wide:] == 255).all()
    label = sheet[40:68, :wide]
    assert (label[:, -8:] == 255).all(), "no label is cut, however narrow the photo"
    assert (label < 128).any()


@pytest.mark.parametrize(("count", "sizes_px"), [(2, [128]), (3, [96, 192]), (4, [96, 192])])
def test_several_colorizers_stand_beside_each_other(count: int, sizes_px: list[int]) -> None:
    """A row for each working size; their own where one row is enough."""
    luma = np.random.default_rng(0).integers(0, 256, (40, 60)).astype(np.uint8)
    pair = {"--vividness 0": colorizer(0), "--vividness 1": colorizer(1)}
    sheet = variants(luma, pair, count)
    assert len(sheet) == len(sizes_px) * (40 + 28)
    wide = sheet.shape[1] // 2
    for number in range(count):
        row, column = divmod(number, 2)
        ours = list(pair.values())[column]
        rendered = ours.render(luma, render_size_px=sizes_px[row])
        top, left = row * (40 + 28), column * wide
        assert np.array_equal(sheet[top : top + 40, left : left + 60], rendered)


def test_large_photos_are_shown_reduced() -> None:
    sheet = variants(np.zeros((2000, 1000), np.uint8), {"": colorizer()}, 2)
    assert sheet.shape == (480 + 28, 2 * 240, 3)


@pytest.mark.parametrize("count", [0, 1, 13])
def test_a_count_out_of_range_is_refused(count: int) -> None:
    with pytest.raises(SettingError, match="expected 2 to 12"):
        variants(np.zeros((20, 20), np.uint8), {"": colorizer()}, count)
