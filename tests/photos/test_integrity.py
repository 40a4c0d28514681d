import io
import struct
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from flowercolor.errors import ImageError
from flowercolor.photos.integrity import check_avif_size
from flowercolor.photos.reader import read_photo
from tests.pictures import noise, saved, smooth

pytestmark = pytest.mark.skipif("AVIF" not in Image.SAVE, reason="Pillow was built without AVIF")


@pytest.mark.parametrize("size", [(64, 80), (1, 1), (33, 1000)])
def test_a_picture_of_the_size_that_it_claims_passes(size: tuple[int, int]) -> None:
    content = saved(smooth(*size), "AVIF")
    assert read_photo(content).luma.shape == size
    with pytest.raises(ValueError, match=f"has {size[1]}x{size[0]} pixels"):
        check_avif_size(io.BytesIO(content), 5 * size[0] * size[1])


def test_a_small_picture_that_claims_to_be_large_is_refused() -> None:
    content = saved(smooth(64, 80), "AVIF")
    claiming = content.replace(struct.pack(">II", 80, 64), struct.pack(">II", 16000, 16000))
    with pytest.raises(ImageError, match="is a damaged AVIF: its picture has 80x64 pixels"):
        read_photo(claiming)


@pytest.mark.parametrize("content", [b"", b"no AVIF", b"\x12\x00\x0a\x09\x00" + bytes(20)])
def test_what_cannot_be_known_passes(content: bytes) -> None:
    check_avif_size(io.BytesIO(content), 10**9)


@pytest.mark.parametrize(("side_px", "refused"), [(2000, False), (16_000, True)])
def test_a_gif_of_few_bytes_promises_few_pixels(side_px: int, refused: bool) -> None:
    content = saved(Image.new("L", (side_px // 10, side_px // 10)), "GIF") + bytes(2000)
    size = (side_px // 10).to_bytes(2, "little") * 2
    claiming = content.replace(size, side_px.to_bytes(2, "little") * 2, 1)  # of the screen
    if refused:
        with pytest.raises(ImageError, match="bytes cannot hold 16000x16000 pixels"):
            read_photo(claiming)
    else:
        assert read_photo(claiming).luma.shape == (side_px, side_px)


@pytest.mark.parametrize("subsampling", [0, 2])
def test_a_jpeg_whose_end_comes_too_early_is_damaged(subsampling: int) -> None:
    """The decoder fills it up with gray and says nothing."""
    for picture in (smooth(200, 300), noise(200, 300), noise(100, 300, 3)):
        content = saved(picture, "JPEG", subsampling=subsampling)
        read_photo(content)
        for cut in (len(content) // 3, len(content) // 2):
            with pytest.raises(ImageError, match="is a damaged JPEG: its pixels end too early"):
                read_photo(content[:-cut] + b"\xff\xd9")


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_a_jpeg_that_lost_a_block_of_the_disk_is_damaged(
    options: dict[str, Any], channels: tuple[int, ...]
) -> None:
    """What decoders make of it is as many pixels as before, of which the later ones are moved."""
    content = saved(noise(200, 300, *channels), "JPEG", quality=90, **options)
    read_photo(content)
    for at in range(2048, len(content) // 3, 2048):
        lost = content[:at] + bytes(512) + content[at + 512 :]
        with pytest.raises(ImageError, match="is a damaged JPEG: a part of its pixels is zeros"):
            read_photo(lost)


@pytest.mark.parametrize("kind", ["WEBP", "AVIF"])
@pytest.mark.parametrize("kept", [0.5, 0.6])
def test_what_ends_in_zeros_is_damaged_however_flat_it_looks(kind: str, kept: float) -> None:
    texture = cv2.GaussianBlur(noise(400, 600, 3), (0, 0), 1)
    content = saved(texture, kind, quality=80)
    read_photo(content)
    whole = int(kept * len(content))
    with pytest.raises(ImageError, match=f"is a damaged {kind}: "):
        read_photo(content[:whole] + bytes(len(content) - whole))
    for level in (0, 128, 255):
        read_photo(saved(Image.new("RGB", (3000, 2000), (level,) * 3), kind))


def test_libtiff_prints_nothing_of_a_damaged_file(capfd: pytest.CaptureFixture[str]) -> None:
    content = saved(noise(100, 120), "TIFF", compression="tiff_lzw")
    half = len(content) // 2
    with pytest.raises(ImageError, match="is a damaged TIFF"):
        read_photo(content[:half] + bytes(2000) + content[half + 2000 :])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("zeros", [1, 4])
def test_a_jpeg_that_was_cut_at_a_zero_ends_too_early(zeros: int) -> None:
    content = saved(noise(200, 300), "JPEG")
    with pytest.raises(ImageError, match="the file ends before the picture does"):
        read_photo(content[: len(content) // 2] + b"\x01" + bytes(zeros))
    with pytest.raises(ImageError, match="it ends in zeros"):
        read_photo(content[: len(content) // 2] + bytes(512))


def test_the_same_is_checked_of_the_jpegs_in_a_tiff() -> None:
    content = saved(noise(200, 300), "TIFF", compression="jpeg")
    read_photo(content)
    for at in range(len(content) // 4, len(content) // 2, 4096):
        with pytest.raises(ImageError, match="is a damaged TIFF: a part of its pixels is zeros"):
            read_photo(content[:at] + bytes(512) + content[at + 512 :])
    read_photo(saved(Image.new("RGB", (1200, 1200), "white"), "TIFF", compression="jpeg"))


@pytest.mark.parametrize("options", [{"optimize": True}, {"progressive": True}])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_jpeg_may_have_zeros_where_they_are_flat_or_no_pixels(
    mode: str, options: dict[str, Any]
) -> None:
    page = Image.new("RGB", (1200, 1200), "white")
    page.paste(Image.fromarray(smooth()), (500, 600))
    content = saved(page.convert(mode), "JPEG", **options)
    assert bytes(64) in content
    read_photo(content)
    read_photo(saved(page, "JPEG", comment=bytes(500)) + bytes(500))


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("quality", [1, 75, 100])
def test_a_progressive_jpeg_cut_between_its_scans_is_damaged(
    subsampling: int, quality: int
) -> None:
    for picture in (noise(40, 56, 3), smooth(40, 56), np.zeros((1, 1, 3), np.uint8)):
        content = saved(picture, "JPEG", progressive=True, quality=quality, subsampling=subsampling)
        for behind in (b"", b"\0\xff\xc2 a film \xff\xda"):
            assert read_photo(content + behind).luma.shape == picture.shape[:2]
        parts = content.removesuffix(b"\xff\xd9").split(b"\xff\xda")
        assert len(parts) > 6
        for scans in range(2, len(parts)):
            with pytest.raises(ImageError, match="damaged JPEG: some of its scans are missing"):
                read_photo(b"\xff\xda".join(parts[:scans]) + b"\xff\xd9")


def test_a_progressive_jpeg_may_spare_gray_components_their_scans() -> None:
    """All of chroma but its means is nothing; an encoder need not say so."""
    content = saved(np.full((40, 56, 3), 90, np.uint8), "JPEG", progressive=True)
    head, *scans = content.removesuffix(b"\xff\xd9").split(b"\xff\xda")
    chroma_alone = (b"\0\x08\x01\x02", b"\0\x08\x01\x03")
    kept = [scan for scan in scans if not scan.startswith(chroma_alone)]
    assert len(kept) == len(scans) - 4
    assert read_photo(b"\xff\xda".join([head, *kept]) + b"\xff\xd9").luma.shape == (40, 56)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_whole_jpeg_may_end_in_one_color(level: int) -> None:
    plain = noise(64, 80, 3)
    plain[40:] = level
    for pixels in (plain, plain[48:], plain[..., 0]):
        for more in (b"", b"more"):
            read_photo(saved(pixels, "JPEG") + more)


def test_a_jpeg_of_scans_without_number_is_not_decoded() -> None:
    """It would take half an hour for 150 KB."""
    content = saved(np.full((2000, 2000), 100, np.uint8), "JPEG", progressive=True)
    last = content[content.rindex(b"\xff\xda") : -2]
    read_photo(content[:-2] + 10 * last + b"\xff\xd9")
    with pytest.raises(ImageError, match=r"is a damaged JPEG: it has 10.* scans"):
        read_photo(content[:-2] + 10_000 * last + b"\xff\xd9")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "AVIF", "HEIF"])
def test_of_a_file_that_was_cut_it_is_said_that_it_ends_too_early(kind: str) -> None:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    content = saved(noise(40, 56, 3), kind)
    with pytest.raises(ImageError, match=f"is a damaged {kind}: the file ends before the picture"):
        read_photo(content[: len(content) * 9 // 10])
