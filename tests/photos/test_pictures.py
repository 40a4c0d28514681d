from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from flowercolor.errors import ImageError
from flowercolor.photos import icc
from flowercolor.photos.pictures import luma_of
from flowercolor.photos.reader import read_photo
from tests.photos.test_icc import ADOBE_RGB
from tests.pictures import camera_exif, gray_of, noise, saved, smooth


def gray_rgb(luma: Any) -> Any:
    """What a network without an opinion makes of it."""
    return np.dstack((luma, luma, luma))


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF"])
def test_a_pillow_image_is_taken_as_its_file_is(file_format: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    options = {"exif": camera_exif(), "icc_profile": ADOBE_RGB, "dpi": (300, 150)}
    path.write_bytes(saved(smooth(), file_format, **options))
    photo = read_photo(path)
    with Image.open(path) as opened:
        for picture in (opened, path, str(path)):
            luma, picture_of = luma_of(picture)
            np.testing.assert_array_equal(luma, photo.luma)
            image = picture_of(gray_rgb(luma))
            assert (image.mode, image.size) == ("RGB", (60, 80))
            assert image.info["icc_profile"] == icc.srgb_profile()
            assert image.info["dpi"] == pytest.approx((150, 300), abs=0.1)
            assert image.getexif()[ExifTags.Base.Orientation] == 1
            assert image.getexif()[ExifTags.Base.Artist].startswith("Zo")


def test_a_pillow_image_of_no_file_has_no_more_info() -> None:
    image = Image.fromarray(smooth())
    luma, picture_of = luma_of(image)
    np.testing.assert_array_equal(luma, gray_of(smooth()))
    assert set(picture_of(gray_rgb(luma)).info) == {"icc_profile"}


@pytest.mark.parametrize("shape", [(20, 30), (1, 20, 30), (3, 20, 30)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64, torch.float16])
def test_a_tensor_comes_back_as_one_of_its_dtype(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    levels = torch.from_numpy(noise(*shape))
    tensor = levels if dtype == torch.uint8 else (levels / 255).to(dtype)
    luma, picture_of = luma_of(tensor)
    rgb = levels.reshape(-1, 20, 30).movedim(0, 2).numpy()
    expected = gray_of(rgb) if rgb.shape[2] == 3 else rgb[..., 0]
    top = 255 if dtype == torch.uint8 else 65535
    np.testing.assert_allclose(luma / top, expected / 255, atol=3e-3)
    colored = picture_of(gray_rgb(luma))
    assert (colored.dtype, colored.shape) == (dtype, (3, 20, 30))
    if len(shape) == 2:
        np.testing.assert_allclose(colored[0].double(), tensor.double(), atol=1e-3)


@pytest.mark.parametrize(
    "picture",
    [
        torch.zeros(4),
        torch.zeros(4, 20, 30),
        torch.zeros(20, 30, 3),
        torch.zeros(0, 3),
        torch.zeros(20, 30, dtype=torch.int64),
        torch.full((20, 30), 1.5),
        torch.full((20, 30), float("nan")),
        {"a": 1},
        None,
    ],
)
def test_what_is_no_picture_is_refused(picture: Any) -> None:
    with pytest.raises(ImageError, match=r"^image: a .*; expected"):
        luma_of(picture)


def test_a_path_to_nothing_is_refused() -> None:
    with pytest.raises(ImageError, match=r"^nothing.jpg: there is no such file"):
        luma_of("nothing.jpg")
