"""What a photo's file says beside its pixels: its header, EXIF and dots per inch."""

import math
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image, TiffImagePlugin, TiffTags

from flowercolor.files import is_file
from flowercolor.photos import tiff
from flowercolor.photos.formats import counts_twice, quiet_pillow, readable, tiff_tag
from flowercolor.provenance import is_record

_JPEG_EXIF_BYTES = 65_533  # what a JPEG segment can hold

# All of the first directory that do not say how the source stores its pixels, or for which
# program. Some writers put there what belongs into the camera's own directory.
_KEPT_TAGS = frozenset(
    getattr(ExifTags.Base, name)
    for name in """
        ProcessingSoftware DocumentName ImageDescription Make Model XResolution YResolution
        PageName ResolutionUnit PageNumber Software DateTime Artist HostComputer
        TargetPrinter Rating RatingPercent ImageID BatteryLevel Copyright ExposureTime
        FNumber ExposureProgram ISOSpeedRatings TimeZoneOffset SelfTimerMode
        DateTimeOriginal DateTimeDigitized OffsetTime OffsetTimeOriginal OffsetTimeDigitized
        ShutterSpeedValue ApertureValue BrightnessValue ExposureBiasValue MaxApertureValue
        SubjectDistance MeteringMode LightSource Flash FocalLength ImageNumber
        SecurityClassification ImageHistory UserComment SubsecTime SubsecTimeOriginal
        SubsecTimeDigitized AmbientTemperature XPTitle XPComment XPAuthor XPKeywords
        XPSubject FocalLengthIn35mmFilm ImageUniqueID CameraOwnerName BodySerialNumber
        LensSpecification LensMake LensModel LensSerialNumber UniqueCameraModel
        LocalizedCameraModel CameraSerialNumber LensInfo RawDataUniqueID OriginalRawFileName
    """.split()  # noqa: SIM905
) | {0x011E, 0x011F}  # XPosition and YPosition, for which Pillow has no names

# A description that tifffile, ImageJ or OME writes of the array in the file.
_OF_ARRAY = re.compile(r'^(\{"shape": |shape=|ImageJ=)|<OME\b')

# Pillow writes bytes of tags whose type it does not know as numbers (EXIF 2.32, tables 7 and 8).
for _tag in """
        OECF ComponentsConfiguration MakerNote UserComment SpatialFrequencyResponse FileSource
        SceneType CFAPattern DeviceSettingDescription
    """.split():  # noqa: SIM905
    _number = ExifTags.Base[_tag].value
    _info = TiffTags.TagInfo(_number, _tag, TiffTags.UNDEFINED, 1)
    TiffTags.TAGS_V2_GROUPS[ExifTags.IFD.Exif].setdefault(_number, _info)


@dataclass(frozen=True)
class Header:
    """What the header of a photo's file says.

    Attributes:
        width_px: Of the upright photo, and so is `height_px`.
        software: What EXIF, or a PNG's text, says that made it; "" if nothing.
    """

    width_px: int
    height_px: int
    software: str = ""
    counts_twice: bool = False

    @property
    def made_here(self) -> bool:
        """Whether the file says that flowercolor colored it. BMP has no room to say so."""
        return is_record(self.software)

    @property
    def usual_pixels(self) -> int:
        """How many pixels of 8 bits, without opacity, take as much memory."""
        return self.width_px * self.height_px * (2 if self.counts_twice else 1)

    def has_size_of(self, other: "Header") -> bool:
        """Whether the two photos have the same sides."""
        return (self.width_px, self.height_px) == (other.width_px, other.height_px)


def probe(path: Path) -> Header | None:
    """The header of a photo's file; None of what is no photo, or is a pipe.

    It opens the file once and decodes no pixels. Of a TIFF's pages it is that of the one read.
    """
    if not is_file(path):  # a pipe's beginning can be read only once
        return None
    try:
        with path.open("rb") as file:
            with quiet_pillow():
                image = Image.open(file, formats=readable())
            tiff.select_page(image, file)
            tags = exif_of(image)
            width = tiff_tag(image, TiffImagePlugin.IMAGEWIDTH, image.width)
            height = tiff_tag(image, TiffImagePlugin.IMAGELENGTH, image.height)
            if tags.get(ExifTags.Base.Orientation) in (5, 6, 7, 8):
                width, height = height, width
            return Header(width, height, software_of(image), counts_twice(image))
    except Exception:  # whatever is wrong with it, `read_photo` says it better
        return None


def software_of(image: Image.Image) -> str:
    """What the text of an opened PNG, or the EXIF of another image, says that made it; or ""."""
    if image.format == "PNG":
        return str(image.info.get("Software") or "")
    return str(exif_of(image).get(ExifTags.Base.Software) or "")


def exif_of(image: Image.Image) -> Image.Exif:
    """The EXIF of an opened image, which decodes none of its pixels; of damaged EXIF nothing."""
    with quiet_pillow(), suppress(Exception):
        return Image.Image.getexif(image)  # a PNG's own decodes it all to look for some
    return Image.Exif()


def is_original(path: Path, header: Header | None) -> bool:
    """Whether a file holds anything that flowercolor did not write, as far as can be known.

    A picture that cannot be read may be somebody's only one. No BMP counts as original.
    """
    if path.suffix.lower() == ".bmp" or not is_file(path):
        return False
    return path.stat().st_size > 0 and not is_result(header)


def is_result(header: Header | None) -> bool:
    """Whether a file with this header, None of what is no photo, says that flowercolor made it."""
    return bool(header and header.made_here)


@dataclass(frozen=True)
class Metadata:
    """What a photo says beside its pixels.

    Attributes:
        file_format: Pillow's name of the format it came in, such as "JPEG"; "" if unknown.
        exif: The EXIF block with its "Exif" header, orientation 1, without the embedded
            thumbnail and without tags that say how the source stored its pixels; b"" if
            there was none. XMP and IPTC are not kept.
        dpi: Dots per inch, across and down, of the upright photo.
    """

    file_format: str = ""
    exif: bytes = b""
    dpi: tuple[float, float] | None = None


def dpi_of(image: Image.Image, exif: Image.Exif, *, turned: bool) -> tuple[float, float] | None:
    """Dots per inch, across and down, of the upright photo; None if it does not say.

    Args:
        turned: Upright, it has the height that the file states as its width.
    """
    stated: Any = image.info.get("dpi")
    both = (ExifTags.Base.XResolution, ExifTags.Base.YResolution)
    if image.format in ("JPEG", "MPO"):
        # Without JFIF's, Pillow makes 72 of whatever it does not find or like in a JPEG's EXIF.
        # With both, JFIF's is mostly a default of 72.
        in_exif = all(tag in exif for tag in (*both, ExifTags.Base.ResolutionUnit))
        if image.info.get("jfif_unit") not in (1, 2) or in_exif:
            stated = None
    if image.format == "TIFF" and not all(tiff_tag(image, tag, None) for tag in both):
        return None  # for which Pillow says 1
    unit = {2: 1, 3: 2.54}.get(exif.get(ExifTags.Base.ResolutionUnit, 2))
    try:
        if stated is None and unit:
            stated = [float(exif[tag]) * unit for tag in both]
        x, y = (float(number) for number in stated)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    if not all(math.isfinite(number) and 1 <= number <= 65535 for number in (x, y)):
        return None
    return (y, x) if turned else (x, y)


def kept_exif(
    source: Image.Exif, changes: dict[int, Any] | None = None
) -> tuple[Image.Exif, bytes]:
    """What is worth keeping of `source`, with `changes`, and its bytes: b"" if that is nothing."""
    kept: dict[int, Any] = {tag: source[tag] for tag in sorted(_KEPT_TAGS) if tag in source}
    if _OF_ARRAY.search(str(kept.get(ExifTags.Base.ImageDescription, ""))):
        del kept[ExifTags.Base.ImageDescription]
    for ifd in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        if tags := dict(source.get_ifd(ifd)):
            kept[ifd] = tags
    if camera := kept.get(ExifTags.IFD.Exif):
        camera.pop(ExifTags.IFD.Interop, None)  # names a color space too, perhaps AdobeRGB
        camera.pop(ExifTags.Base.Gamma, None)
        camera[ExifTags.Base.ColorSpace] = 1  # sRGB
    kept |= changes or {}
    exif = Image.Exif()
    if not kept:
        return exif, b""
    kept[ExifTags.Base.Orientation] = 1
    content = _exif_bytes(kept)
    if content is None:  # Pillow reads some damaged tags that it cannot write
        kept = _sound(kept)
        content = _exif_bytes(kept) or b""
    exif.update(_writable(kept))
    return exif, content


def output_exif(
    metadata: Metadata, software: str, file_format: str, *, width_px: int, height_px: int
) -> Image.Exif:
    """The EXIF of a colored photo of this size: the source's, with what colored it.

    What a JPEG cannot hold is left out of one: the maker's note first, then all of the source's.
    """
    changes: dict[int, Any] = {ExifTags.Base.Software: software}
    if metadata.dpi:
        changes[ExifTags.Base.XResolution], changes[ExifTags.Base.YResolution] = metadata.dpi
        changes[ExifTags.Base.ResolutionUnit] = 2  # inch
    source = Image.Exif()
    with quiet_pillow():
        if metadata.exif:
            source.load(metadata.exif)
        if camera := source.get_ifd(ExifTags.IFD.Exif):
            camera[ExifTags.Base.ExifImageWidth] = width_px
            camera[ExifTags.Base.ExifImageHeight] = height_px
        exif, content = kept_exif(source, changes)
        if file_format == "JPEG" and len(content) > _JPEG_EXIF_BYTES:
            # Mostly the largest by far, and for the camera maker's programs alone.
            camera.pop(ExifTags.Base.MakerNote, None)
            exif, content = kept_exif(source, changes)
            if len(content) > _JPEG_EXIF_BYTES:
                exif, _ = kept_exif(Image.Exif(), changes)
    return exif


def _exif_bytes(tags: dict[int, Any]) -> bytes | None:
    """The tags as an EXIF block; None where one of them cannot be written."""
    exif = Image.Exif()
    try:
        exif.update(_writable(tags))
        return exif.tobytes()
    except Exception:  # ValueError, struct.error, TypeError and more
        return None


def _sound(tags: dict[int, Any]) -> dict[int, Any]:
    """Those of the tags that can be written, of a directory of tags likewise."""
    sound: dict[int, Any] = {}
    for tag, value in tags.items():
        if isinstance(value, dict):
            items = {k: v for k, v in value.items() if _exif_bytes({tag: {k: v}}) is not None}
            sound |= {tag: items} if items else {}
        elif _exif_bytes({tag: value}) is not None:
            sound[tag] = value
    return sound


def _writable(value: Any) -> Any:
    """Text as the bytes that Pillow read it from: it would write "?" for all but ASCII."""
    if isinstance(value, dict):
        return {tag: _writable(item) for tag, item in value.items()}
    if isinstance(value, str) and not value.isascii():
        return value.encode("latin-1", "replace")
    return value
