import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from flowercolor.errors import ImageError
from flowercolor.photos import icc
from flowercolor.photos.pictures import colors_of, luma_of, mask_of
from flowercolor.photos.reader import read_photo
from tests.photos.test_color_space import exif_of_space
from tests.photos.test_icc import ADOBE_RGB
from tests.pictures import camera_exif, gray_of, noise, opened, saved, smooth


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
            image.save(tmp_path / "b.jpg", **image.info)  # as the docs have it
            with Image.open(tmp_path / "b.jpg") as again:
                assert {"icc_profile", "exif", "dpi"} <= set(again.info)


def linear_png() -> bytes:
    info = PngInfo()
    info.add(b"gAMA", struct.pack(">I", 100_000))
    return saved(smooth(), "PNG", pnginfo=info)


@pytest.mark.parametrize(
    "content", [linear_png(), saved(smooth(), "JPEG", exif=exif_of_space(0xFFFF, "R03"))]
)
def test_a_pillow_image_is_in_the_color_space_of_its_file(content: bytes) -> None:
    luma, _ = luma_of(opened(content))
    np.testing.assert_array_equal(luma, read_photo(content).luma)
    np.testing.assert_array_equal(luma_of(opened(content).copy())[0], luma)
    assert np.abs(luma.astype(int) - gray_of(np.asarray(opened(content)))).max() > 4


def test_what_is_wrong_with_the_file_of_a_pillow_image_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(saved(smooth(), "PNG"))
    with Image.open(path) as closed:
        pass
    with pytest.raises(ImageError, match=r"^image: is closed, and its pixels"):
        luma_of(closed)
    with Image.open(path) as loaded:
        loaded.load()
    np.testing.assert_array_equal(luma_of(loaded)[0], gray_of(smooth()))


@pytest.mark.parametrize(
    ("mode", "transparency"), [("L", b"\0\1"), ("RGB", b"\0\1"), ("RGB", 3), ("P", (1, 2, 3))]
)
def test_info_that_was_taken_from_another_image_is_left_out(mode: str, transparency: Any) -> None:
    image = Image.fromarray(smooth()).convert(mode)
    expected = luma_of(image)[0]
    image.info["transparency"] = transparency
    np.testing.assert_array_equal(luma_of(image)[0], expected)
    assert image.info["transparency"] == transparency, "the caller's image is as it was"


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


def test_what_a_resize_rounds_beyond_black_and_white_is_black_and_white() -> None:
    ours = torch.tensor([[-1e-7, 0.5, 1 + 2e-7], [-9e-4, 0.5, 1.0009]])
    luma, _ = luma_of(ours)
    assert luma.tolist() == [[0, 32768, 65535]] * 2


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
    with pytest.raises(ImageError, match=r"^image: (is|has) .*; expected"):
        luma_of(picture)


@pytest.mark.parametrize(
    ("picture", "said"),
    [
        (np.zeros((0, 3), np.uint8), r"is empty, of shape \(0, 3\)"),
        (torch.zeros(0, 3), r"is empty, of shape \(0, 3\)"),
        (np.zeros((4, 4)), r"array of float64; .*\(255 \* image\).round.* from 0 to 1$"),
        (np.zeros((4, 4), int), r"array of int64; .* image.astype\('uint8'\) where .* to 255$"),
        (b"\x89PNG", r"is a damaged PNG; expected a whole one$"),
        (io.BytesIO(), r"is of the type BytesIO; .*; give image\.getvalue\(\)$"),
        (bytearray(), r"is of the type bytearray; .*; give bytes\(image\)$"),
        (io.StringIO(), r"is of the type StringIO; .*; give its file's path or bytes$"),
        (np.zeros((9, 5, 4), np.uint8), r"gray \[H, W\] or RGB \[H, W, 3\]$"),
        (np.zeros((3, 9, 5), np.uint8), r"; use image.transpose\(1, 2, 0\) where .* channels$"),
        (torch.zeros(4, 5, 3), r"; use image.permute\(2, 0, 1\) where the 3 are its channels$"),
        (torch.full((4, 5), float("nan")), "has values that are NaN or infinite"),
        (torch.full((4, 5), 255.0), "from 255 to 255; expected float from 0 to 1, .* image / 255"),
        (torch.tensor([[-0.0011, 1.0011]]), r"from -0\.0011 to 1\.0011; .* image\.clamp\(0, 1\)"),
        (torch.zeros(4, 5).to_sparse(), r"is a sparse tensor; .*image.to_dense\(\)"),
        (torch.zeros(4, 5, device="meta"), "without values; expected"),
        (Image.new("I", (4, 4)), r"mode I, .*image.convert\('I;16'\)"),
        (Image.new("F", (4, 4)), r"mode F, .*image.convert\('L'\)"),
        (torch.tensor(3), r"is a tensor of shape \(\); expected"),
        (torch.zeros(4, 4, dtype=torch.bool), r"such as image\.float\(\)$"),
        (torch.zeros(4, 4, dtype=torch.int16), r"such as image\.to\(torch\.uint8\) where"),
        (np.array(3, np.uint8), r"is an array of shape \(\); expected"),
        ([1], r"is of the type list; .*, or a torch tensor [^;]*3, H, W\]$"),
        (5, "is of the type int; expected"),
    ],
)
def test_what_is_wrong_with_a_picture_is_said_with_its_cure(picture: Any, said: str) -> None:
    with pytest.raises(ImageError, match=rf"^picture: .*{said}"):
        luma_of(picture, "picture")


@pytest.mark.parametrize(
    ("picture", "said"),
    [
        (np.array([{}, {}]), "; give pictures of several sizes, or paths, as a list"),
        (np.zeros((3, 9, 5), np.uint8), r"channels, or give the .* batch as list\(image\)"),
        (np.zeros((2, 9, 5), np.uint8), r"; give the pictures of a batch as list\(image\)"),
        (np.zeros((2, 4, 5, 3), np.uint8), r"; give the .* batch as list\(image\)"),
        (torch.zeros(4, 5, 3), r"channels, or give the .* batch as list\(image\)"),
        (torch.zeros(2, 3, 4, 5), r"; give the pictures of a batch as list\(image\)"),
    ],
)
def test_a_batch_is_told_to_be_a_list_and_what_there_is_but_one_of_is_not(
    picture: Any, said: str
) -> None:
    with pytest.raises(ImageError, match=rf"^image: is .*{said}$"):
        luma_of(picture)
    with pytest.raises(ImageError, match=r"^mask: is .*; expected") as refused:
        mask_of(picture)
    assert "list" not in str(refused.value)


def test_an_array_of_another_byte_order_comes_back_as_such() -> None:
    deep = noise(20, 30).astype(np.uint16) * np.uint16(257)
    luma, picture_of = luma_of(deep.astype(">u2"))
    np.testing.assert_array_equal(luma, deep)
    assert picture_of(gray_rgb(luma)).dtype == np.dtype(">u2")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, bool])
def test_a_mask_of_zeros_and_ones_is_black_and_white(dtype: Any) -> None:
    mask = noise(20, 30) > 128
    np.testing.assert_array_equal(mask_of(mask.astype(dtype)), mask * np.uint8(255))
    if dtype != np.uint16:
        tensor = torch.from_numpy(mask.astype(dtype))
        np.testing.assert_array_equal(mask_of(tensor), mask * np.uint8(255))
    assert not mask_of(np.zeros((20, 30), dtype)).any()
    np.testing.assert_array_equal(mask_of(noise(20, 30)), noise(20, 30))


@pytest.mark.parametrize("rubbed_out", [0, 255])
def test_what_is_transparent_in_a_mask_is_not_painted(tmp_path: Path, rubbed_out: int) -> None:
    """An eraser leaves white without opacity."""
    layer = np.full((20, 30, 4), (rubbed_out, rubbed_out, rubbed_out, 0), np.uint8)
    layer[5:9, 5:9] = 255
    image = Image.fromarray(layer)
    image.save(tmp_path / "mask.png")
    expected = np.zeros((20, 30), np.uint8)
    expected[5:9, 5:9] = 255
    for mask in (image, tmp_path / "mask.png"):
        np.testing.assert_array_equal(mask_of(mask), expected)


def test_a_mask_and_a_reference_are_called_so() -> None:
    with pytest.raises(ImageError, match=r"^mask: is empty"):
        mask_of(np.zeros((0, 3), np.uint8))
    for wrong in (np.zeros((0, 3), np.uint8), Image.new("F", (4, 4))):
        with pytest.raises(ImageError, match=r"^like: is "):
            colors_of(wrong)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nothing.jpg", "^nothing.jpg: there is no such file or folder"),
        ("", "^'': is an empty name; expected that of a photo$"),
        ("a\0b.jpg", r"^a\\x00b.jpg: cannot be opened: embedded null"),
    ],
)
def test_a_path_to_nothing_is_refused(name: str, said: str) -> None:
    with pytest.raises(ImageError, match=said):
        luma_of(name)


def test_the_mask_of_an_array_is_not_heeded() -> None:
    gray = noise(20, 30)
    masked = np.ma.array(gray, mask=gray > 100)
    luma, _ = luma_of(masked)
    assert type(luma) is np.ndarray
    np.testing.assert_array_equal(luma, gray)
