"""Reading and writing people's photos.

Whatever a photo is stored as, `read_photo` gives its luma upright and in sRGB, and
`write_photo` stores the coloured photo with what the source had: transparency, 16 bits a
channel, EXIF and DPI. Pillow reads and writes; OpenCV does what Pillow cannot: 16-bit RGB,
and PNG three times as fast. Pixels of both are equal. No path ever reaches OpenCV, which
cannot open every name on Windows.
"""

import io
import math
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import (
    ExifTags,
    Image,
    ImageCms,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
)

from flowercolor import files
from flowercolor._version import __version__
from flowercolor.errors import ImageError

__all__ = [
    "COLORED_CHROMA",
    "MAX_PIXELS",
    "SUFFIXES",
    "Metadata",
    "Photo",
    "encode_photo",
    "is_picture",
    "output_format",
    "read_photo",
    "write_photo",
]

MAX_PIXELS = 500_000_000
"""Photos with more pixels are refused: reading takes up to 5 bytes a pixel, 11 at 16 bits."""

COLORED_CHROMA = 12
"""How many of 255 levels a photo's chroma must stray from its toning to count as colour.

Of 700 photos of flowers 0.4 % stay below; sepia photos at JPEG quality 40 reach 10.8.
"""

# Pillow's names. What it can also open, such as PostScript, runs more code than a photo is
# worth. MPO is the JPEG of some phones; HEIF is there once a Pillow plugin has registered it.
_READABLE = ("JPEG", "MPO", "PNG", "TIFF", "WEBP", "BMP", "GIF", "AVIF", "HEIF")
_WRITABLE = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".avif": "AVIF",
}
SUFFIXES = frozenset({*_WRITABLE, ".gif", ".heic", ".heif"})
"""The endings that photos have, in lower case."""

_DEEP = ("PNG", "TIFF")  # what can hold 16 bits a channel
_OPAQUE = ("JPEG", "BMP")  # what cannot hold transparency
_JPEG_EXIF_BYTES = 65_533  # a JPEG segment holds no more

_BLOCK_PIXELS = 2**20
_SAMPLE_SIDE_PX = 128

_KEPT_TAGS = (
    ExifTags.Base.DocumentName,
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.XResolution,
    ExifTags.Base.YResolution,
    ExifTags.Base.ResolutionUnit,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.HostComputer,
    ExifTags.Base.Rating,
    ExifTags.Base.RatingPercent,
    ExifTags.Base.Copyright,
    ExifTags.Base.XPTitle,
    ExifTags.Base.XPComment,
    ExifTags.Base.XPAuthor,
    ExifTags.Base.XPKeywords,
    ExifTags.Base.XPSubject,
)

Pixels = NDArray[np.uint8] | NDArray[np.uint16]

_RELATIVE = ImageCms.Intent.RELATIVE_COLORIMETRIC
_BLACK_POINT = ImageCms.Flags.BLACKPOINTCOMPENSATION


@dataclass(frozen=True)
class Metadata:
    """What a photo says beside its pixels.

    Attributes:
        format: Pillow's name of the format it came in, such as "JPEG"; "" if unknown.
        exif: The EXIF block from "Exif\\0\\0" on, orientation 1, without the embedded
            thumbnail and without tags that describe how the source stored its pixels;
            b"" if there was none. XMP and IPTC are not kept.
        dpi: Dots per inch, across and down, of the upright photo.
    """

    format: str = ""
    exif: bytes = b""
    dpi: tuple[float, float] | None = None


@dataclass(frozen=True)
class Photo:
    """A photo as the colorizer takes it.

    Attributes:
        luma: The grey version, uint8 or uint16 [H, W], upright, gamma-encoded sRGB.
        alpha: The opacity, of the shape and dtype of `luma`, or None where all is opaque.
        colored: The photo had colours of its own. Sepia and other toning does not count:
            among the 1 % of the photo that strays most from the mean chroma of its
            brightness, all stray by more than `COLORED_CHROMA`.
        metadata: What to write back beside the pixels.
    """

    luma: Pixels
    alpha: Pixels | None
    colored: bool
    metadata: Metadata


def is_picture(path: Path) -> bool:
    """Whether the name ends like a photo's. Hidden files, such as macOS's `._a.jpg`, do not."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def read_photo(source: Path | bytes) -> Photo:
    """The photo in the file or the bytes `source`.

    The luma of an 8-bit photo equals OpenCV's `COLOR_RGB2GRAY` of its decoded RGB. A colour
    profile is converted to sRGB first: exactly for 8 bits, by its tone curve alone for 16
    bits, where Pillow can convert no colours; for greys both are the same. A broken profile
    counts as none. Photos at 16 bits a channel stay so, except CMYK and premultiplied
    alpha, read at 8 bits. Of several frames or pages the first is read. Safe in threads.

    Raises:
        ImageError: There is no such file, it is no photo, it is damaged, it has more than
            `MAX_PIXELS`, or its kind of pixels is not supported.
    """
    name = "the picture" if isinstance(source, bytes) else str(source)
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
            return _read(file, name)
    except OSError as error:
        raise ImageError(f"{name}: cannot be opened: {error.strerror or error}") from error


def _read(file: IO[bytes], name: str) -> Photo:
    head = file.read(12)
    if not head:
        raise ImageError(f"{name}: is empty; expected a photo")
    try:
        with _hushed():
            readable = [known for known in _READABLE if known in Image.OPEN]
            image = Image.open(file, formats=readable)
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{name}: is not a photo that can be read, it begins with {head!r}; "
            f"expected one of {', '.join(readable)}"
        ) from error
    except Exception as error:
        raise _damaged(name, "photo", error) from error
    with image:
        pixels = image.width * image.height
        if pixels > MAX_PIXELS:
            raise ImageError(
                f"{name}: has {pixels / 1e6:.0f} megapixels; "
                f"expected at most {MAX_PIXELS / 1e6:.0f}; reduce it first"
            )
        if image.mode in ("I", "F"):
            raise ImageError(
                f"{name}: has 32 bits a pixel; expected 8 or 16 bits a channel; "
                "save it as 16-bit grey first"
            )
        # Pillow's plugins raise whatever their parsing trips over: SyntaxError, struct.error,
        # ValueError, OverflowError, and more with each release.
        try:
            return _decode(image, file)
        except ImageError as error:
            raise ImageError(f"{name}: {error}") from error
        except Exception as error:
            raise _damaged(name, str(image.format), error) from error


def _damaged(name: str, kind: str, error: Exception) -> ImageError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return ImageError(f"{name}: is a damaged {kind}: {reason}; expected a whole one")


def _decode(image: Image.Image, file: IO[bytes]) -> Photo:
    """Decode once, then go over the pixels block by block, so that no second copy exists."""
    rawmode = _rawmode(image)
    white_is_zero = False
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        tags = image.tag_v2
        white_is_zero = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0
        planar = tags.get(TiffImagePlugin.PLANAR_CONFIGURATION) == 2
        if planar and max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (8,))) > 8:
            raise ImageError("keeps its 16-bit channels apart; save it as interleaved first")
    # A TIFF checks Pillow's size limit and reads its EXIF, with warnings, only while it loads.
    with _hushed() if image.format == "TIFF" else nullcontext():
        image.load()
    with _hushed():
        exif = image.getexif()
        orientation = int(exif.get(ExifTags.Base.Orientation, 1))
        metadata = Metadata(
            format="JPEG" if image.format == "MPO" else str(image.format),
            exif=_exif_bytes(exif, {}),
            dpi=_dpi(image.info.get("dpi")),
        )
    if orientation >= 5 and metadata.dpi:
        metadata = replace(metadata, dpi=metadata.dpi[::-1])

    if rawmode.startswith(("RGB;16", "RGBA;16", "RGBX;16", "LA;16")):
        # Pillow has kept the upper 8 bits only, but it has shown the file to be whole.
        deep = _decode_deep(image, file)
        curve, _ = _color_conversion(image, "RGB", deep=True)
        blocks = _slices(deep[..., :3] if image.mode == "RGBX" else deep)
    else:
        mode = _working_mode(image)
        curve, transform = _color_conversion(image, mode, deep=mode == "I;16")
        blocks = _converted(image, mode, transform)

    luma: Pixels | None = None
    alpha: Pixels | None = None
    samples = []
    for rows, block in blocks:
        color = block[..., :3] if block.ndim == 3 and block.shape[2] >= 3 else None
        tones = color if color is not None else block if block.ndim == 2 else block[..., 0]
        if curve is not None:
            tones = curve[tones]
        if luma is None:
            luma = np.empty((image.height, image.width), block.dtype)
        if color is None:
            luma[rows] = tones
        else:
            luma[rows] = cv2.cvtColor(tones, cv2.COLOR_RGB2GRAY)
            samples.append(_reduced(tones, min(image.size) // _SAMPLE_SIDE_PX))
        if block.ndim == 3 and block.shape[2] in (2, 4):
            if alpha is None:
                alpha = np.empty_like(luma)
            alpha[rows] = block[..., -1]
    assert luma is not None
    if rawmode.startswith("I;16"):
        if white_is_zero:  # which Pillow minds at 8 bits only
            np.subtract(65535, luma, out=luma)
        if "transparency" in image.info:
            alpha = np.where(luma == image.info["transparency"], 0, 65535).astype(np.uint16)
    return Photo(
        luma=_upright(luma, orientation),
        alpha=None if alpha is None else _upright(alpha, orientation),
        colored=bool(samples) and _is_colored(samples),
        metadata=metadata,
    )


def _rawmode(image: Image.Image) -> str:
    """How the file stores its pixels, in Pillow's words: "RGB;16B" for 16 bits a channel."""
    tiles = getattr(image, "tile", None)
    if not tiles:
        return ""
    args = tiles[0].args
    return str(args if isinstance(args, str) else args[0] if args else "")


def _working_mode(image: Image.Image) -> str:
    """The mode, of L, LA, RGB, RGBA and I;16, that holds all there is in `image`."""
    if image.mode.startswith("I;16"):
        return "I;16"
    base = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    return base + "A" if image.has_transparency_data else base


def _decode_deep(image: Image.Image, file: IO[bytes]) -> NDArray[np.uint16]:
    """Uint16 BGR or BGRA [H, W, C]; OpenCV turns a TIFF upright as Pillow does, no other."""
    file.seek(0)
    deep: Any = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    expected = (image.height, image.width)
    if deep is None or deep.dtype != np.uint16 or deep.ndim != 3 or deep.shape[:2] != expected:
        raise ImageError("has 16-bit channels in a layout that OpenCV cannot read")
    return deep  # type: ignore[no-any-return]


def _rows(width: int, height: int) -> Iterator[slice]:
    step = max(1, _BLOCK_PIXELS // width)
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def _slices(bgr: NDArray[np.uint16]) -> Iterator[tuple[slice, Pixels]]:
    code = cv2.COLOR_BGR2RGB if bgr.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
    for rows in _rows(bgr.shape[1], bgr.shape[0]):
        yield rows, cv2.cvtColor(bgr[rows], code)  # type: ignore[misc]


def _converted(
    image: Image.Image, mode: str, transform: ImageCms.ImageCmsTransform | None
) -> Iterator[tuple[slice, Pixels]]:
    for rows in _rows(*image.size):
        block = image.crop((0, rows.start, image.width, rows.stop))
        if mode == "I;16":
            yield rows, np.asarray(block).astype(np.uint16)
            continue
        if transform is None or transform.input_mode == mode:
            block = block if block.mode == mode else block.convert(mode)
        if transform is not None:
            block = transform.apply(block)
        yield rows, np.asarray(block)


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """The pixels turned as EXIF 2.32, tag 0x0112, asks."""
    turn: dict[int, Callable[[Any], Any]] = {
        2: lambda p: cv2.flip(p, 1),
        3: lambda p: cv2.rotate(p, cv2.ROTATE_180),
        4: lambda p: cv2.flip(p, 0),
        5: cv2.transpose,
        6: lambda p: cv2.rotate(p, cv2.ROTATE_90_CLOCKWISE),
        7: lambda p: cv2.rotate(cv2.transpose(p), cv2.ROTATE_180),
        8: lambda p: cv2.rotate(p, cv2.ROTATE_90_COUNTERCLOCKWISE),
    }
    return turn[orientation](pixels) if orientation in turn else pixels


def _reduced(rgb: Pixels, factor: int) -> NDArray[np.uint8]:
    """The block at 1/`factor` of its size, by averaging, which takes noise and JPEG blocks away."""
    factor = max(1, factor)
    size = (max(1, rgb.shape[1] // factor), max(1, rgb.shape[0] // factor))
    return _as_depth(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)  # type: ignore


def _is_colored(samples: list[NDArray[np.uint8]]) -> bool:
    sample = np.concatenate([block.reshape(-1, 1, 3) for block in samples])
    luma, *chroma = cv2.split(cv2.cvtColor(sample, cv2.COLOR_RGB2YCrCb))
    tone = luma.ravel() // 8
    count = np.maximum(np.bincount(tone), 1)
    strays = np.zeros(tone.size)
    for channel in chroma:
        values = channel.ravel().astype(np.float64)
        strays += (values - (np.bincount(tone, values) / count)[tone]) ** 2
    return bool(np.percentile(strays, 99) > COLORED_CHROMA**2)


@contextmanager
def _hushed() -> Iterator[None]:
    """Pillow without its warnings and its size limit, both settings of the whole process.

    The lock keeps threads from restoring each other's settings, so what runs here runs one
    at a time: headers, and TIFF.
    """
    with _HUSH, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Image.init()
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


_HUSH = threading.Lock()


# Colour profiles


def _color_conversion(
    image: Image.Image, mode: str, *, deep: bool
) -> tuple[Pixels | None, ImageCms.ImageCmsTransform | None]:
    """What leads from the photo's colour profile to sRGB: a tone curve, a transform or nothing.

    The curve is an array to index by the pixels; the transform takes blocks of its
    `input_mode` to `mode`.
    """
    icc = image.info.get("icc_profile")
    try:
        if image.mode == "LAB":
            profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        elif icc:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        else:
            return None, None
        if deep or mode in ("L", "LA") or profile.profile.xcolor_space.strip() == "GRAY":
            return _tone_curve(profile, deep), None
        source_mode = image.mode if image.mode in ("CMYK", "LAB") else mode
        transform = ImageCms.buildTransform(
            profile, _srgb(), source_mode, mode, _RELATIVE, _BLACK_POINT
        )
        if source_mode == mode:
            # Most profiles are sRGB itself. Sparing those the detour keeps their pixels
            # exact and halves the time of reading.
            lattice = np.stack(np.meshgrid(*[np.arange(0, 256, 15, dtype=np.uint8)] * 3), -1)
            before = Image.fromarray(lattice.reshape(1, -1, 3)).convert(mode)
            if _close(np.asarray(before), np.asarray(transform.apply(before)), levels=2):
                return None, None
        return None, transform
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        if image.mode == "LAB":
            raise
        return None, None


def _tone_curve(profile: ImageCms.ImageCmsProfile, deep: bool) -> Pixels | None:
    """The sRGB value of each grey of `profile`; None if that is the grey itself."""
    mode = "L" if profile.profile.xcolor_space.strip() == "GRAY" else "RGB"
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None]).convert(mode)
    grey_srgb = ImageCms.ImageCmsProfile(io.BytesIO(_grey_srgb()))
    exact = ImageCms.Flags.NOOPTIMIZE | _BLACK_POINT
    transform = ImageCms.buildTransform(profile, grey_srgb, mode, "I;16", _RELATIVE, exact)
    curve = np.asarray(transform.apply(ramp))[0].astype(np.uint16)
    levels = np.arange(256) * 257
    if _close(curve // 257, levels // 257, levels=1):
        return None
    if not deep:
        return _as_depth(curve, np.uint8)
    return np.interp(np.arange(65536), levels, curve).round().astype(np.uint16)


def _close(a: NDArray[Any], b: NDArray[Any], *, levels: int) -> bool:
    return bool(np.abs(a.astype(np.int32) - b).max() <= levels)


@cache
def _srgb_bytes() -> bytes:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # A fixed date in place of today's: equal photos make equal files.
    return icc[:24] + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + icc[36:]


def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(io.BytesIO(_srgb_bytes()))


@cache
def _grey_srgb() -> bytes:
    """A grey profile (ICC.1:2022) with the tone curve of sRGB, the only way to 16-bit output."""

    def fixed(*values: float) -> bytes:
        return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))

    d50 = fixed(0.9642, 1.0, 0.8249)
    curve = b"para" + bytes(4) + struct.pack(">HH", 3, 0)
    curve += fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    white = b"XYZ " + bytes(4) + d50
    start = 128 + 4 + 2 * 12
    tags = struct.pack(">I", 2)
    tags += struct.pack(">4sII", b"kTRC", start, len(curve))
    tags += struct.pack(">4sII", b"wtpt", start + len(curve), len(white))
    size = start + len(curve) + len(white)
    head = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x0400_0000, b"mntr", b"GRAY", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + d50
    return head.ljust(128, b"\0") + tags + curve + white


# EXIF


def _dpi(value: Any) -> tuple[float, float] | None:
    try:
        x, y = (float(number) for number in value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    usable = all(math.isfinite(number) and 1 <= number <= 65535 for number in (x, y))
    return (x, y) if usable else None


def _exif_bytes(source: Image.Exif, changes: dict[int, Any]) -> bytes:
    """The EXIF block of what is worth keeping of `source` and of `changes`; b"" if nothing is."""
    kept: dict[int, Any] = {tag: source[tag] for tag in _KEPT_TAGS if tag in source}
    for ifd in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        if tags := dict(source.get_ifd(ifd)):
            kept[ifd] = tags
    if camera := kept.get(ExifTags.IFD.Exif):
        camera.pop(ExifTags.IFD.Interop, None)  # says which colour space; it was AdobeRGB maybe
        camera[ExifTags.Base.ColorSpace] = 1  # sRGB
    kept |= changes
    if not kept:
        return b""
    kept[ExifTags.Base.Orientation] = 1
    exif = Image.Exif()
    for tag, value in kept.items():
        exif[tag] = _as_latin(value)
    try:
        return exif.tobytes()
    except Exception:  # Pillow reads some damaged tags that it cannot write
        return _exif_bytes(Image.Exif(), changes) if len(source) else b""


def _as_latin(value: Any) -> Any:
    """Text as the bytes that Pillow read it from: it would write "?" for all but ASCII."""
    if isinstance(value, dict):
        return {tag: _as_latin(item) for tag, item in value.items()}
    if isinstance(value, str) and not value.isascii():
        return value.encode("latin-1", "replace")
    return value


# Writing


def output_format(path: Path) -> str:
    """Pillow's name of the format that the ending of `path` stands for, such as "JPEG".

    Raises:
        ImageError: It stands for none that can be written.
    """
    Image.init()
    writable = {ending: kind for ending, kind in _WRITABLE.items() if kind in Image.SAVE}
    try:
        return writable[path.suffix.lower()]
    except KeyError:
        raise ImageError(
            f"{path}: photos cannot be written as {path.suffix or 'a file without ending'!r}; "
            f"expected one of {', '.join(writable)}"
        ) from None


def encode_photo(
    rgb: Pixels,
    format: str,
    *,
    alpha: Pixels | None = None,
    metadata: Metadata | None = None,
    software: str = f"flowercolor {__version__}",
    quality: int = 95,
    subsampling: str = "4:4:4",
) -> bytes:
    """The bytes of a picture file that embeds the sRGB profile and names its maker.

    Args:
        rgb: sRGB, uint8 or uint16 [H, W, 3]. PNG and TIFF keep 16 bits, the others 8.
        format: "JPEG", "PNG", "TIFF", "WEBP", "BMP" or, where Pillow has it, "AVIF".
        alpha: Opacity, uint8 or uint16 [H, W]. JPEG and BMP have none: there the picture
            is laid over white, the colour of paper.
        metadata: What the source said beside its pixels. BMP takes the DPI only.
        software: Who coloured the photo, in ASCII; goes into EXIF tag 0x0131, and into the
            text of a PNG.
        quality: 1 to 100, for JPEG, WebP and AVIF.
        subsampling: "4:4:4", "4:2:2" or "4:2:0", for JPEG and AVIF.

    Raises:
        ImageError: The pixels are of another kind, or the format cannot hold them.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype not in (np.uint8, np.uint16):
        raise ImageError(
            f"the picture is {rgb.dtype} {list(rgb.shape)}; expected uint8 or uint16 [H, W, 3]"
        )
    metadata = metadata or Metadata()
    depth = rgb.dtype if format in _DEEP else np.dtype(np.uint8)
    rgb = _as_depth(rgb, depth)
    if alpha is not None:
        alpha = _as_depth(alpha, depth)
        if format in _OPAQUE:
            rgb, alpha = _over_white(rgb, alpha), None

    options: dict[str, Any] = {"icc_profile": _srgb_bytes()}
    options["exif"] = _output_exif(metadata, rgb, software, format)
    if metadata.dpi:
        options["dpi"] = metadata.dpi
    if format in ("JPEG", "WEBP", "AVIF"):
        options["quality"] = quality
    if format in ("JPEG", "AVIF"):
        options["subsampling"] = subsampling
    if format == "AVIF":
        options["speed"] = 8  # 12 megapixels in 3 s; Pillow's 6 takes 10 s and saves 2 %
    try:
        if format == "PNG":
            return _encode_png(rgb, alpha, software, options)
        pixels = rgb if alpha is None else np.dstack((rgb, alpha))
        if format == "TIFF" and depth == np.uint16:
            return _encode_deep_tiff(pixels, options)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format, **options)
        return buffer.getvalue()
    except Exception as error:
        size = f"{rgb.shape[1]}x{rgb.shape[0]}"
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"a {size} picture cannot be written as {format}: {reason}") from error


def write_photo(path: Path, rgb: Pixels, *, format: str | None = None, **options: Any) -> None:
    """Write the file of `encode_photo` to `path`, whole or not at all.

    Args:
        path: Where to; its ending says the format.
        rgb: As for `encode_photo`.
        format: The format, whatever the ending says.
        options: The other arguments of `encode_photo`.

    Raises:
        ImageError: The ending cannot be written, or the format cannot hold the pixels.
        StorageError: The disk is full or writing is not allowed.
    """
    files.write_bytes(path, encode_photo(rgb, format or output_format(path), **options))


def _as_depth(pixels: Pixels, depth: Any) -> Pixels:
    if pixels.dtype == depth:
        return pixels
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint16) * 257
    return cv2.convertScaleAbs(pixels, alpha=1 / 257).reshape(pixels.shape)  # type: ignore


def _over_white(rgb: Pixels, alpha: Pixels) -> Pixels:
    opacity = alpha.astype(np.uint16)[..., None]
    return ((rgb * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)


def _output_exif(metadata: Metadata, rgb: Pixels, software: str, format: str) -> bytes:
    changes: dict[int, Any] = {ExifTags.Base.Software: software}
    if metadata.dpi:
        changes[ExifTags.Base.XResolution], changes[ExifTags.Base.YResolution] = metadata.dpi
        changes[ExifTags.Base.ResolutionUnit] = 2  # inch
    source = Image.Exif()
    with _hushed():
        if metadata.exif:
            source.load(metadata.exif)
        if camera := source.get_ifd(ExifTags.IFD.Exif):
            camera[ExifTags.Base.ExifImageWidth] = rgb.shape[1]
            camera[ExifTags.Base.ExifImageHeight] = rgb.shape[0]
        exif = _exif_bytes(source, changes)
        if format == "JPEG" and len(exif) > _JPEG_EXIF_BYTES:
            exif = _exif_bytes(Image.Exif(), changes)
    return exif


def _encode_png(rgb: Pixels, alpha: Pixels | None, software: str, options: dict[str, Any]) -> bytes:
    """OpenCV's PNG with Pillow's metadata chunks set in behind the header."""
    if alpha is None:
        bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    else:
        bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA)
        bgr[..., 3] = alpha
    _, encoded = cv2.imencode(".png", bgr)
    text = PngImagePlugin.PngInfo()
    text.add_text("Software", software)
    stub = Image.new("RGB", (1, 1))
    chunks = b"".join(
        struct.pack(">I", len(data)) + kind + data + checksum
        for kind, data, checksum in PngImagePlugin.getchunks(stub, pnginfo=text, **options)
        if kind not in (b"IHDR", b"IDAT", b"IEND")
    )
    header = 8 + 25  # the signature and IHDR
    content = memoryview(encoded)
    return b"".join((content[:header], chunks, content[header:]))


def _encode_deep_tiff(pixels: Pixels, options: dict[str, Any]) -> bytes:
    """An uncompressed 16-bit TIFF: Pillow has no such mode, OpenCV no metadata for TIFF."""
    height, width, channels = pixels.shape
    content = pixels.astype("<u2").tobytes()
    ifd = TiffImagePlugin.ImageFileDirectory_v2()
    exif = Image.Exif()
    exif.load(options["exif"])
    for tag in exif:
        ifd[tag] = exif.get_ifd(tag) if tag in iter(ExifTags.IFD) else exif[tag]
    ifd[TiffImagePlugin.IMAGEWIDTH] = width
    ifd[TiffImagePlugin.IMAGELENGTH] = height
    ifd[TiffImagePlugin.BITSPERSAMPLE] = (16,) * channels
    ifd[TiffImagePlugin.COMPRESSION] = 1
    ifd[TiffImagePlugin.PHOTOMETRIC_INTERPRETATION] = 2
    ifd[TiffImagePlugin.STRIPOFFSETS] = 0  # `save` adds where the directory ends
    ifd[TiffImagePlugin.SAMPLESPERPIXEL] = channels
    ifd[TiffImagePlugin.ROWSPERSTRIP] = height
    ifd[TiffImagePlugin.STRIPBYTECOUNTS] = len(content)
    ifd[TiffImagePlugin.PLANAR_CONFIGURATION] = 1
    ifd[TiffImagePlugin.ICCPROFILE] = options["icc_profile"]
    if channels == 4:
        ifd[TiffImagePlugin.EXTRASAMPLES] = 2  # alpha that is not multiplied in
    buffer = io.BytesIO()
    ifd.save(buffer)
    return buffer.getvalue() + content
