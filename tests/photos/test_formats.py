from pathlib import Path

import cv2
import numpy as np
import pytest

from flowercolor.errors import SettingError
from flowercolor.photos.formats import Header, is_original, is_picture, output_format, probe
from flowercolor.photos.writer import write_photo
from tests.pictures import FORMATS, Array, deep_png, no_photos, noise, saved, smooth


@pytest.mark.parametrize("file_format", [*FORMATS, "TIFF", "BMP"])
def test_a_file_says_that_it_was_made_here_where_it_has_room(
    file_format: str, tmp_path: Path
) -> None:
    written, foreign = tmp_path / "a.picture", tmp_path / "b.picture"
    write_photo(written, smooth(), file_format=file_format)
    foreign.write_bytes(saved(smooth(), file_format))
    header = probe(written)
    assert header
    assert (header.width_px, header.height_px, header.pixels) == (80, 60, 4800)
    assert header.made_here == (file_format != "BMP")
    assert probe(foreign) == Header(80, 60)
    assert probe(tmp_path / "missing") is None


def test_an_original_is_what_was_not_made_here(tmp_path: Path) -> None:
    """Whether it can be read or not."""
    made, foreign, empty = (tmp_path / name for name in ("a.png", "b.png", "c.png"))
    write_photo(made, smooth())
    foreign.write_bytes(saved(smooth(), "PNG"))
    empty.touch()
    (tmp_path / "d.bmp").write_bytes(saved(smooth(), "BMP"))
    cv2.imwrite(str(tmp_path / "e.tif"), np.full((4, 6, 3), 0.5, np.float32))
    (tmp_path / "f.png").write_bytes(b"damaged")
    (tmp_path / "g.png").mkdir()
    told = {path.name: is_original(path, probe(path)) for path in tmp_path.iterdir()}
    originals = {name for name, original in told.items() if original}
    assert originals == {"b.png", "e.tif", "f.png"}


def test_an_ending_that_cannot_be_written_is_refused_with_those_that_can() -> None:
    assert output_format(Path("A.JPG")) == "JPEG"
    assert output_format(Path("a.b.tif")) == "TIFF"
    for name in ("a.gif", "a", "a.xcf"):
        with pytest.raises(SettingError, match=rf"^{name}: .*\.jpg, .*\.png"):
            output_format(Path(name))


def test_the_size_is_known_from_the_header_alone(tmp_path: Path) -> None:
    headers = {name: probe(path) for name, path in no_photos(tmp_path).items()}
    for name in ("cut.jpg", "cut16.png", "cut.bmp"):
        header = headers[name]
        assert header and header.pixels == 2500
    assert not any(headers[name] for name in ("folder", "missing", "empty.jpg", "text.jpg"))


def test_pictures_are_told_by_their_ending() -> None:
    names = ["a.jpg", "B.JPEG", "c.d.Tiff", "x.heic", ".hidden.jpg", "._a.jpg", "a.txt", "jpg"]
    assert [name for name in names if is_picture(Path(name))] == names[:4]


@pytest.mark.parametrize(
    ("picture", "twice"),
    [
        (noise(4, 5, 3), False),
        (noise(4, 5, 4), True),
        (noise(4, 5, dtype=np.uint16), False),
        (noise(4, 5, 3, dtype=np.uint16), True),
    ],
)
def test_deep_colors_and_opacity_count_twice(picture: Array, twice: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(deep_png(picture.reshape(4, 5, -1)) if picture.dtype == np.uint16 else b"")
    if picture.dtype == np.uint8:
        path.write_bytes(saved(picture, "PNG"))
    header = probe(path)
    assert header
    assert (header.counts_twice, header.usual_pixels) == (twice, 40 if twice else 20)
