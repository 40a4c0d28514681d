import numpy as np
import pytest
import torch

from flowercolor.config import NetworkConfig
from flowercolor.errors import CheckpointError, ImageError, SettingError
from flowercolor.hints.attention import HINT_CHANNELS, KEY_CHANNELS
from flowercolor.hints.guidance import Guidance
from flowercolor.hints.hint import Hint
from flowercolor.inference.colorizer import Colorizer
from flowercolor.inference.contact_sheet import variants
from flowercolor.networks.unet import UNet
from tests.helpers import Recorder
from tests.inference.helpers import as_backend, gray

pytestmark = pytest.mark.usefixtures("backend")


def colorizer(*, hints: bool = True) -> Colorizer:
    torch.manual_seed(0)
    generator = UNet(NetworkConfig(2, hints=hints))
    if generator.hints is not None:
        head = generator.hints.head
        bias = torch.zeros(head.out_channels)
        bias[KEY_CHANNELS : HINT_CHANNELS - 1] = 6  # hints reach far, and every color is as likely
        head.load_state_dict({"weight": torch.zeros_like(head.weight), "bias": bias})
    return Colorizer(as_backend(generator))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_automatic_picture_comes_first_and_the_others_differ(dtype: type[np.generic]) -> None:
    """Each is labeled, at the photo's size; these weights hold every color likely."""
    luma = gray(40, 60)
    ours = colorizer()
    deep = luma.astype(dtype) * (257 if dtype == np.uint16 else 1)
    sheet = variants(deep, ours, 3)
    assert sheet.dtype == np.uint8
    assert sheet.flags.writeable
    assert len(sheet) == 2 * (40 + 28)
    wide = sheet.shape[1] // 2
    tiles = [sheet[top : top + 40, left : left + 60] for top, left in ((0, 0), (0, wide), (68, 0))]
    assert np.array_equal(tiles[0], ours.render(luma))
    for number, tile in enumerate(tiles):
        others = tiles[:number]
        assert all(np.abs(tile.astype(int) - other).mean() > 2 for other in others)
    assert (sheet[68:, wide:] == 255).all()
    label = sheet[40:68, :wide]
    assert (label[:, -4:] == 255).all(), "no label is cut, however narrow the photo"
    assert (label < 128).any()


def test_what_is_said_of_the_photo_holds_in_every_tile() -> None:
    luma, ours = gray(40, 60), colorizer()
    guidance = Guidance([Hint(30, 20, "crimson")])
    sheet = variants(luma, ours, 2, guidance)
    assert np.array_equal(sheet[:40, :60], ours.render(luma, guidance=guidance))


def test_of_black_and_white_alone_there_is_no_sheet() -> None:
    """Reduced it would have grays, and colors on them that the photo cannot have."""
    scan = 255 * (gray(600, 500) > 120).astype(np.uint8)
    with pytest.raises(ImageError, match=r"^luma: is only black and white, "):
        variants(scan, colorizer(), 2)


def test_large_photos_are_shown_reduced_and_of_dark_ones_there_is_one_variant() -> None:
    progress = Recorder()
    dark = np.zeros((2000, 1000), np.uint8)
    dark[:30] = 17
    sheet = variants(dark, colorizer(), 2, progress=progress)
    assert progress.notes == ["Variants: 1 of 2, for no other color is likely there"]
    assert sheet.shape[0] == 480 + 28
    assert sheet.shape[1] % 240 == 0 or sheet.shape[1] > 240


@pytest.mark.parametrize("count", [1, 13])
def test_a_sheet_has_2_to_12_tiles(count: int) -> None:
    with pytest.raises(SettingError, match=f"variants is {count}; expected 2 to 12"):
        variants(gray(), colorizer(), count)


def test_a_network_without_the_branch_is_told_how_to_get_one() -> None:
    with pytest.raises(CheckpointError, match=r"no branch for hints.*--recipe hints"):
        variants(gray(), colorizer(hints=False), 2)
