import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image, TiffTags

from flowercolor.photos.metadata import Header, is_original, kept_exif, probe
from flowercolor.photos.reader import read_photo
from flowercolor.photos.writer import encode_photo, write_photo
from tests.pictures import (
    FORMATS,
    Array,
    camera_exif,
    deep_png,
    exif_with,
    no_photos,
    noise,
    opened,
    saved,
    smooth,
)

ORIENTATION = ExifTags.Base.Orientation
SOFTWARE = ExifTags.Base.Software


@pytest.mark.parametrize("file_format", [*FORMATS, "TIFF", "BMP"])
def test_a_file_says_that_it_was_made_here_where_it_has_room(
    file_format: str, tmp_path: Path
) -> None:
    written, foreign = tmp_path / "a.picture", tmp_path / "b.picture"
    write_photo(written, smooth(), file_format=file_format)
    foreign.write_bytes(saved(smooth(), file_format))
    header = probe(written)
    assert header
    assert (header.width_px, header.height_px) == (80, 60)
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


def test_the_size_is_known_from_the_header_alone(tmp_path: Path) -> None:
    headers = {name: probe(path) for name, path in no_photos(tmp_path).items()}
    for name in ("cut.jpg", "cut16.png", "cut.bmp"):
        header = headers[name]
        assert header and (header.width_px, header.height_px) == (50, 50)
    assert not any(headers[name] for name in ("folder", "missing", "empty.jpg", "text.jpg"))


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


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", FORMATS)
def test_a_header_has_the_sides_of_the_upright_photo(
    file_format: str, orientation: int, tmp_path: Path
) -> None:
    path = tmp_path / "a.picture"
    path.write_bytes(saved(noise(6, 8), file_format, exif=exif_with({ORIENTATION: orientation})))
    header = probe(path)
    assert header and (header.height_px, header.width_px) == read_photo(path).luma.shape


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize("file_format", FORMATS)
def test_metadata_is_kept_and_says_what_colored_the_photo(file_format: str, depth: Any) -> None:
    source = saved(noise(6, 8), "JPEG", exif=camera_exif(), dpi=(300, 150))
    photo = read_photo(source)
    assert photo.luma.shape == (8, 6)
    rgb = noise(8, 6, 3, dtype=depth)
    content = encode_photo(rgb, file_format, metadata=photo.metadata, software="me 2.0")
    again = read_photo(content).metadata

    exif = Image.Exif()
    exif.load(again.exif)
    assert exif[ORIENTATION] == 1
    assert exif[SOFTWARE] == "me 2.0"
    assert exif[ExifTags.Base.Artist].encode("latin-1").decode() == "Zoë Müller"
    assert ExifTags.Base.StripOffsets not in exif
    camera = exif.get_ifd(ExifTags.IFD.Exif)
    assert camera[ExifTags.Base.DateTimeOriginal] == "1931:05:17 12:00:00"
    assert camera[ExifTags.Base.MakerNote] == b"maker's own"
    comment = camera[ExifTags.Base.UserComment]
    assert comment == b"ASCII\0\0\0Grandma's garden"
    kind = TiffTags.UNDEFINED  # by which programs know that it is a text, and no numbers
    order = "<" if file_format == "TIFF" else ">"
    assert struct.pack(f"{order}HHI", ExifTags.Base.UserComment, kind, len(comment)) in content
    assert camera[ExifTags.Base.ExifImageWidth] == 6
    assert camera[ExifTags.Base.ColorSpace] == 1
    assert exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"
    assert exif[ExifTags.Base.XResolution] == 150  # turned with the photo
    assert exif[ExifTags.Base.YResolution] == 300
    if file_format in ("JPEG", "PNG", "TIFF"):
        assert again.dpi == pytest.approx((150, 300), abs=0.02)
    srgb = opened(encode_photo(noise(1, 1, 3), "JPEG")).info["icc_profile"]
    assert opened(content).info["icc_profile"] == srgb


def test_the_embedded_thumbnail_is_dropped() -> None:
    """It shows the gray photo, and file managers would show it."""
    thumbnail = b"\xff\xd8 gray \xff\xd9"
    ifd0 = struct.pack("<HHHIII", 1, ORIENTATION, 3, 1, 1, 26)
    ifd1 = struct.pack("<HHHIIHHIII", 2, 0x201, 4, 1, 56, 0x202, 4, 1, len(thumbnail), 0)
    block = b"Exif\0\0II*\0\x08\0\0\0" + ifd0 + ifd1 + thumbnail
    photo = read_photo(saved(noise(4, 4), "JPEG", exif=block))
    assert thumbnail not in encode_photo(noise(4, 4, 3), "JPEG", metadata=photo.metadata)


def test_exif_that_a_jpeg_cannot_hold_does_not_prevent_the_photo() -> None:
    exif = exif_with({ExifTags.IFD.Exif: {ExifTags.Base.UserComment: bytes(70_000)}})
    photo = read_photo(saved(noise(4, 4), "PNG", exif=exif))
    assert len(photo.metadata.exif) > 70_000
    content = encode_photo(noise(4, 4, 3), "JPEG", metadata=photo.metadata, software="me")
    assert opened(content).getexif()[SOFTWARE] == "me"


def test_of_more_exif_than_a_jpeg_holds_the_makers_note_goes_first() -> None:
    camera = {
        ExifTags.Base.MakerNote: bytes(65_400),
        ExifTags.Base.DateTimeOriginal: "1931:05:17 12:00:00",
    }
    exif = exif_with({ExifTags.Base.Copyright: "Zoë", ExifTags.IFD.Exif: camera})
    photo = read_photo(saved(noise(4, 4), "PNG", exif=exif))
    kept = opened(encode_photo(noise(4, 4, 3), "JPEG", metadata=photo.metadata)).getexif()
    assert ExifTags.Base.Copyright in kept
    assert ExifTags.Base.DateTimeOriginal in kept.get_ifd(ExifTags.IFD.Exif)
    assert ExifTags.Base.MakerNote not in kept.get_ifd(ExifTags.IFD.Exif)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("file_format", FORMATS)
def test_dpi_are_those_of_the_upright_photo(file_format: str, orientation: int) -> None:
    """Some formats state them in EXIF alone, where they may be dots per cm."""
    across, down = (100.0, 100.0 if file_format == "JPEG" else 50.0)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[ExifTags.Base.XResolution], exif[ExifTags.Base.YResolution] = across, down
    exif[ExifTags.Base.ResolutionUnit] = 3
    dpi = read_photo(saved(noise(6, 8), file_format, exif=exif)).metadata.dpi
    upright = (across, down) if orientation == 1 else (down, across)
    assert dpi == pytest.approx([2.54 * one for one in upright])
    assert read_photo(saved(noise(6, 8), file_format)).metadata.dpi is None


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize(
    ("stated", "dpi"),
    [
        ({282: 300.0, 283: 300.0}, (300, 300)),  # inches are meant where no unit is given
        ({282: 300.0, 283: 150.0, 296: 2}, (300, 150)),
        ({282: 118.0, 283: 59.0, 296: 3}, (299.72, 149.86)),
        ({282: 300.0, 283: 300.0, 296: 1}, None),  # of no unit: a ratio
        ({282: 300.0, 296: 2}, None),
        ({}, None),
    ],
)
def test_dpi_of_a_jpeg_may_stand_in_its_exif_alone(
    stated: dict[int, Any], dpi: tuple[float, float] | None, file_format: str
) -> None:
    """As of cameras, which write no JFIF header, and for which Pillow makes up 72."""
    whole = saved(noise(6, 8), "JPEG", exif=exif_with({**stated, ORIENTATION: 1}))
    jfif = whole.index(b"\xff\xe0")
    content = whole[:jfif] + whole[jfif + 18 :]
    assert opened(content).info.get("jfif") is None
    photo = read_photo(content)
    again = read_photo(encode_photo(noise(6, 8, 3), file_format, metadata=photo.metadata))
    for found in (photo.metadata.dpi, again.metadata.dpi):
        assert found == (dpi and pytest.approx(dpi, abs=0.3))  # of which JFIF has whole ones


def test_a_tag_that_cannot_be_written_costs_no_other() -> None:
    """Some scanners and cameras write them with other types than the standard's."""
    exif = Image.Exif()
    exif.load(camera_exif())
    camera, place = (exif.get_ifd(ifd) for ifd in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo))
    camera[ExifTags.Base.ExposureTime] = place[ExifTags.GPS.GPSLatitude] = object()
    _, content = kept_exif(exif, {ExifTags.Base.Copyright: object(), SOFTWARE: "me"})
    again = Image.Exif()
    again.load(content)
    assert again[SOFTWARE] == "me"
    assert ExifTags.Base.Copyright not in again
    date = again.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal]
    assert date == "1931:05:17 12:00:00"
    assert ExifTags.Base.ExposureTime not in again.get_ifd(ExifTags.IFD.Exif)
    assert again.get_ifd(ExifTags.IFD.GPSInfo) == {ExifTags.GPS.GPSLatitudeRef: "N"}


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_resolution_in_words_does_not_cost_the_date(file_format: str) -> None:
    """Such as of a scanner whose unit is text; the standard has a number there."""
    ifd0 = struct.pack("<HHHI4sHHIII", 2, 0x128, 2, 2, b"2", 0x132, 2, 20, 38, 0)
    block = b"Exif\0\0II*\0\x08\0\0\0" + ifd0 + b"1931:05:17 12:00:00\0"
    photo = read_photo(saved(noise(4, 4), "JPEG", exif=block))
    content = encode_photo(noise(4, 4, 3), file_format, metadata=photo.metadata)
    exif = Image.Exif()
    exif.load(read_photo(content).metadata.exif)
    assert exif[ExifTags.Base.DateTime] == "1931:05:17 12:00:00"


def test_damaged_exif_and_dpi_count_as_none() -> None:
    for exif in (b"Exif\0\0nonsense", camera_exif()[:60]):
        content = saved(noise(4, 4), "JPEG", exif=exif)
        assert read_photo(content).luma.shape[0] == 4
    content = saved(noise(4, 4), "TIFF", tiffinfo={282: 0.0, 283: 0.0, 296: 2})
    assert read_photo(content).metadata.dpi is None


def test_where_jfif_and_exif_differ_exif_is_meant() -> None:
    """JFIF's are mostly a program's default of 72."""
    stated: dict[int, Any] = {
        ExifTags.Base.XResolution: 600.0,
        ExifTags.Base.YResolution: 600.0,
        ExifTags.Base.ResolutionUnit: 2,
    }
    content = saved(noise(6, 8), "JPEG", exif=exif_with(stated), dpi=(72, 72))
    photo = read_photo(content)
    assert photo.metadata.dpi == (600, 600)
    again = encode_photo(noise(6, 8, 3), "JPEG", metadata=photo.metadata)
    assert read_photo(again).metadata.dpi == (600, 600)
    assert opened(again).info["jfif_density"] == (600, 600)


@pytest.mark.parametrize(
    ("said", "is_kept"),
    [
        ('{"shape": [6, 8]}', False),
        ("ImageJ=1.53t\nimages=10\nslices=10\n", False),
        ('<?xml version="1.0"?><OME xmlns="a"></OME>', False),
        ("Grandmother, OMEGA watch", True),
        ("The shape=round bed, by ImageJ", True),
    ],
)
def test_what_a_description_says_of_the_array_is_not_kept(said: str, is_kept: bool) -> None:
    stated: dict[int, Any] = {
        ExifTags.Base.ImageDescription: said,
        ExifTags.Base.Artist: "Grandmother",
    }
    photo = read_photo(saved(noise(6, 8), "TIFF", exif=exif_with(stated)))
    again = opened(encode_photo(noise(6, 8, 3), "TIFF", metadata=photo.metadata)).getexif()
    assert again.get(ExifTags.Base.ImageDescription) == (said if is_kept else None)
    assert again[ExifTags.Base.Artist] == "Grandmother"


def test_what_an_album_says_of_its_pages_is_kept_and_how_it_stores_them_is_not() -> None:
    kept: dict[int, Any] = {
        ExifTags.Base.ProcessingSoftware: "digiKam",
        ExifTags.Base.PageName: "p 7",
        ExifTags.Base.PageNumber: (3, 10),
        ExifTags.Base.TimeZoneOffset: 2,
        ExifTags.Base.ImageNumber: 17,
        ExifTags.Base.SecurityClassification: "U",
        ExifTags.Base.ImageHistory: "scanned",
        ExifTags.Base.CameraSerialNumber: "SN1",
        ExifTags.Base.LensModel: "none",
    }
    stored: dict[int, Any] = {ExifTags.Base.Compression: 7, ExifTags.Base.YCbCrPositioning: 1}
    photo = read_photo(saved(noise(6, 8), "JPEG", exif=exif_with(kept | stored)))
    again = opened(encode_photo(noise(6, 8, 3), "JPEG", metadata=photo.metadata)).getexif()
    assert {tag: again[tag] for tag in kept} == kept
    assert not stored.keys() & again.keys()
