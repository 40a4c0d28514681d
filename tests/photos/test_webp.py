import io
import struct

import numpy as np
import pytest
from PIL import Image

from flowercolor.errors import ImageError
from flowercolor.photos.reader import read_photo
from flowercolor.photos.webp import first_frame
from tests.pictures import camera_exif, gray_of, noise, opened, saved, smooth

SIZE_BITS = struct.pack("<I", 79)[:3] + struct.pack("<I", 59)[:3]


def animation(**options: object) -> bytes:
    """Three frames, each of the whole size."""
    frames = [Image.fromarray(noise(60, 80, 4, seed=k)) for k in range(3)]
    return saved(
        frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True, **options
    )


def test_the_first_frame_of_an_animation_is_read_with_its_metadata() -> None:
    content = animation(exif=camera_exif())
    photo = read_photo(content)
    with Image.open(io.BytesIO(content)) as image:
        rgb, alpha = np.split(np.asarray(image.convert("RGBA")), [3], 2)
    np.testing.assert_array_equal(np.rot90(photo.luma), gray_of(rgb))
    assert photo.alpha is not None
    np.testing.assert_array_equal(np.rot90(photo.alpha), alpha[..., 0])
    assert b"Zo" in photo.metadata.exif


def test_an_animation_damaged_behind_its_first_frame_is_read() -> None:
    content = animation()
    second = content.index(b"ANMF", content.index(b"ANMF") + 4)
    damaged = content[: second + 60] + bytes(len(content) - second - 60)
    np.testing.assert_array_equal(read_photo(damaged).luma, read_photo(content).luma)


@pytest.mark.parametrize("content", [saved(smooth(), "WEBP"), b"RIFF", b"", animation()[:40]])
def test_what_has_no_frames_has_no_first(content: bytes) -> None:
    assert first_frame(io.BytesIO(content)) is None


@pytest.mark.parametrize(("side_px", "refused"), [(4000, False), (6000, True)])
def test_a_frame_that_fills_a_part_of_a_small_canvas_only_is_read(
    side_px: int, refused: bool
) -> None:
    content = animation()
    size = (side_px - 1).to_bytes(3, "little") * 2
    content = content.replace(SIZE_BITS, size, 1)  # of the canvas, not of the frames
    if refused:
        with pytest.raises(ImageError, match="an animation of 36 megapixels whose first frame"):
            read_photo(content)
    else:
        assert read_photo(content).luma.shape == opened(content).size == (side_px, side_px)
