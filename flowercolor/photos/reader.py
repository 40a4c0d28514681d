"""Reading and writing people's photos.

Whatever a photo is stored as, `read_photo` gives its luma upright and in sRGB, and
`write_photo` stores the colored photo with what the source had: transparency, 16 bits a
channel, EXIF and DPI. Pillow reads and writes; OpenCV does what Pillow cannot: 16-bit RGB,
and PNG three times as fast. No path ever reaches OpenCV, which cannot open every name on
Windows.
"""

import importlib
import io
import math
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
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
    ImageFile,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
)

from flowercolor import files
from flowercolor._version import __version__
from flowercolor.config import QUALITY
from flowercolor.errors import ImageError, SettingError, one_line
from flowercolor.photos import icc as profiles
from flowercolor.photos.icc import Pixels

MAX_PIXELS = 500_000_000
"""Larger photos are refused. Reading takes 5 bytes of memory a pixel, 16-bit RGB about 18."""

COLORED_CHROMA = 16
"""How many of 255 levels the chroma must stray from a photo's toning to count as color.

Of 1,500 photos of flowers 1.3 % stay below; sepia prints and cyanotypes reach 15.
"""

# Pillow's names. The rest of what Pillow opens, such as PostScript, runs more code than a
# photo is worth. HEIF needs the extra `heic`.
_READABLE = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF", "AVIF", "HEIF")
WRITABLE = {
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
SUFFIXES = frozenset({*WRITABLE, ".gif", ".heic", ".heif"})
"""The endings that photos have, in lower case."""

# How files of formats begin that Pillow does not know any more where they are damaged: what,
# and from which byte on.
_BEGINNINGS = (
    (b"II*\0", 0, "TIFF"),
    (b"MM\0*", 0, "TIFF"),
    (b"II+\0", 0, "TIFF"),
    (b"MM\0+", 0, "TIFF"),
    (b"WEBP", 8, "WEBP"),
    (b"ftypavif", 4, "AVIF"),
    (b"ftypheic", 4, "HEIF"),
    (b"ftypheix", 4, "HEIF"),
    (b"ftypmif1", 4, "HEIF"),
)

_BLOCK_PIXELS = 2**20
_SAMPLE_SIDE_PX = 128
_JPEG_EXIF_BYTES = 65_533  # what a JPEG segment can hold

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


@dataclass(frozen=True)
class Photo:
    """A photo as the colorizer takes it.

    Attributes:
        luma: The gray version, uint8 or uint16 [H, W], upright, gamma-encoded sRGB.
        alpha: The opacity, of the shape and dtype of `luma`; None if the file has none.
        colored: The photo has colors of its own: in more than 1 % of it the chroma strays
            by more than `COLORED_CHROMA` from the toning, the quadratic function of the
            luma that fits the chroma best. Sepia and yellowed paper are no colors.
        metadata: What to write back beside the pixels.
        pages: How many pages a TIFF has, of which this is the first; 1 of other formats.
    """

    luma: Pixels
    alpha: Pixels | None
    colored: bool
    metadata: Metadata
    pages: int = 1


def is_picture(path: Path) -> bool:
    """Whether the name ends like a photo's. Hidden files, such as macOS's `._a.jpg`, do not."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def made_here(path: Path) -> bool:
    """Whether the file says that flowercolor colored it. BMP has no room to say so."""
    if not files.is_file(path):  # a pipe's beginning can be read only once
        return False
    try:
        with _hushed(), Image.open(path, formats=_readable()) as image:
            if image.format == "PNG":  # without EXIF, Pillow decodes it all to look for some
                software = image.info.get("Software")
            else:
                software = image.getexif().get(ExifTags.Base.Software)
            return str(software).startswith("flowercolor ")
    except Exception:  # whatever is wrong with it, `read_photo` says it better
        return False


def is_original(path: Path) -> bool:
    """Whether it holds anything that flowercolor did not write, as far as can be told.

    A picture that cannot be read may be somebody's only one. No BMP counts as original.
    """
    if path.suffix.lower() == ".bmp" or not files.is_file(path):
        return False
    return path.stat().st_size > 0 and not made_here(path)


def peek_pixels(path: Path) -> int:
    """How many pixels the photo has, from its header alone; 0 for what is no photo, or a pipe."""
    if not files.is_file(path):
        return 0
    try:
        with _hushed(), Image.open(path, formats=_readable()) as image:
            return image.width * image.height
    except Exception:  # whatever is wrong with it, `read_photo` says it better
        return 0


def read_photo(source: Path | str | bytes) -> Photo:
    """The photo in the file or the bytes `source`. Safe to call from several threads.

    The luma of an 8-bit photo equals OpenCV's `COLOR_RGB2GRAY` of its decoded RGB. A color
    profile is converted to sRGB first, at 16 bits, where Pillow converts no colors, by its
    tone curve and primaries; of one that is made of tables, by the tone curve alone, which is
    exact for grays. A broken profile counts as none. 16 bits a channel stay 16 bits, except in
    CMYK and with premultiplied alpha. Of several frames or pages the first is read.

    Raises:
        ImageError: There is no such file, it is no photo, it is damaged, it has more than
            `MAX_PIXELS`, or its kind of pixels is not supported.
    """
    name = "the picture" if isinstance(source, bytes) else str(source)
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as file:
            return _read(file if file.seekable() else io.BytesIO(file.read()), name)
    except FileNotFoundError as error:
        raise ImageError(
            f"{name}: there is no such file; expected a photo, a folder, or a pattern of some"
        ) from error
    except OSError as error:
        raise ImageError(f"{name}: cannot be opened: {error.strerror or error}") from error


def _read(file: IO[bytes], name: str) -> Photo:
    head = file.read(12)
    if not head:
        raise ImageError(f"{name}: is empty; expected a photo")
    kind = "photo"
    # Pillow's plugins raise whatever their parsing trips over: SyntaxError, struct.error,
    # ValueError, OverflowError, and more with each release.
    try:
        with _hushed():
            image = Image.open(file, formats=_readable())
        with image:
            kind = str(image.format)
            _check_supported(image)
            return _decode(image, file)
    except UnidentifiedImageError as error:
        known = next((it for what, at, it in _BEGINNINGS if head[at:].startswith(what)), "")
        if known == "TIFF":  # Pillow knows not all that one may hold, and says the same of both
            raise ImageError(
                f"{name}: is a damaged TIFF or one of an unusual kind; expected a whole one, gray "
                "or RGB of 8 or 16 bits; save it as such anew"
            ) from error
        if known in _readable():
            raise ImageError(f"{name}: is a damaged {known}; expected a whole one") from error
        if known == "HEIF":
            raise ImageError(
                f"{name}: is a HEIC photo, and the package pillow-heif, which reads those, is "
                "not installed; run `pip install 'flowercolor[heic]'`"
            ) from error
        raise ImageError(
            f"{name}: is no photo that can be read, it begins with {head!r}; "
            f"expected one of {', '.join(_readable())}"
        ) from error
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk, not Pillow's
            raise ImageError(f"{name}: cannot be read: {error.strerror}") from error
        if isinstance(error, MemoryError) or getattr(error, "code", 0) == cv2.Error.StsNoMem:
            raise ImageError(
                f"{name}: takes more memory than there is; reduce it first, or close something"
            ) from error
        raise ImageError(
            f"{name}: is a damaged {kind}: {one_line(error)}; expected a whole one"
        ) from error


@cache
def _load_plugins() -> None:
    """Have Pillow know our formats: by itself it knows a few, or loads all of its forty."""
    for plugin in ("Avif", "Bmp", "Gif", "Jpeg", "Png", "Tiff", "WebP"):
        with suppress(ImportError):
            importlib.import_module(f"PIL.{plugin}ImagePlugin")
    with suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener()


def _readable() -> list[str]:
    _load_plugins()
    return [known for known in _READABLE if known in Image.OPEN]


def _check_supported(image: Image.Image) -> None:
    megapixels = image.width * image.height / 1e6
    if megapixels > MAX_PIXELS / 1e6:
        raise ImageError(
            f"has {megapixels:.0f} megapixels; expected at most {MAX_PIXELS / 1e6:.0f}; "
            "reduce it first"
        )
    if image.mode in ("I", "F"):
        raise ImageError(
            "has signed or 32-bit pixels; expected 8 or 16 bits a channel, from 0 up; save it as "
            "16-bit gray first"
        )
    # Neither Pillow nor OpenCV reads these right, and both say nothing.
    bits = _tiff_tag(image, TiffImagePlugin.BITSPERSAMPLE, (8,))
    if max(bits) > 8 and _tiff_tag(image, TiffImagePlugin.PLANAR_CONFIGURATION, 1) == 2:
        raise ImageError("keeps 16-bit channels apart; expected them interleaved; save it so first")


def _tiff_tag(image: Image.Image, tag: int, default: Any) -> Any:
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return image.tag_v2.get(tag, default)
    return default


@contextmanager
def _hushed() -> Iterator[None]:
    """Pillow without its warnings and its size limit, both settings of the whole process.

    The lock keeps threads from restoring each other's settings, so what runs in here runs
    one at a time: the reading of headers, and TIFF.
    """
    with _hushing, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


_hushing = threading.Lock()


def _decode(image: Image.Image, file: IO[bytes]) -> Photo:
    rawmode = _rawmode(image)
    stored = _tiff_tag(image, ExifTags.Base.Orientation, None)  # Pillow turns a TIFF as it loads
    # A TIFF checks the size limit and reads its EXIF, with warnings, only while it loads.
    with _hushed() if image.format == "TIFF" else nullcontext():
        image.load()
    with _hushed():
        exif = image.getexif()
        orientation = exif.get(ExifTags.Base.Orientation, 1)
        metadata = Metadata(
            # MPO is a JPEG with more pictures behind it, as some phones make them.
            file_format="JPEG" if image.format == "MPO" else str(image.format),
            exif=_kept_exif(exif)[1],
            dpi=_dpi(image, exif, turned=(stored or orientation) in (5, 6, 7, 8)),
        )
        pages = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1

    # Block by block, so that nothing but the luma is ever there at full size twice.
    luma: Pixels | None = None
    alpha: Pixels | None = None
    samples = []
    primaries: NDArray[np.float32] | None = None
    if rawmode.startswith(("RGB;16", "RGBA;16", "RGBX;16", "LA;16")):
        # Pillow has kept the upper 8 bits only, but its decoding has shown the file whole.
        blocks = _deep_blocks(image, file, opacity=not rawmode.startswith("RGBX"))
        curve, _ = profiles.to_srgb(image, "RGB", deep=True)
        primaries = profiles.primaries_to_srgb(image)
    else:
        mode = _working_mode(image)
        curve, transform = profiles.to_srgb(image, mode, deep=mode == "I;16")
        blocks = _blocks(image, mode, transform)
    for rows, block in blocks:
        channels = block.shape[2] if block.ndim == 3 else 1
        if luma is None:
            luma = np.empty((image.height, image.width), block.dtype)
            alpha = np.empty_like(luma) if channels in (2, 4) else None
        if alpha is not None:
            alpha[rows] = block[..., -1]
        tones = block[..., :3] if channels >= 3 else block.reshape(*block.shape[:2], -1)[..., 0]
        if curve is not None:
            tones = curve[tones]
        if primaries is not None:
            tones = profiles.with_primaries(tones, primaries)
        if channels >= 3:
            luma[rows] = cv2.cvtColor(tones, cv2.COLOR_RGB2GRAY)
            samples.append(_reduced(tones, min(image.size) // _SAMPLE_SIDE_PX))
        else:
            luma[rows] = tones
    assert luma is not None
    return Photo(
        luma=_upright(luma, orientation),
        alpha=None if alpha is None else _upright(alpha, orientation),
        colored=bool(samples) and _is_colored(samples),
        metadata=metadata,
        pages=pages,
    )


def _rawmode(image: Image.Image) -> str:
    """How the file stores its pixels, in Pillow's words: "RGB;16B" for 16 bits a channel."""
    args = image.tile[0].args if isinstance(image, ImageFile.ImageFile) and image.tile else ""
    return str(args[0] if isinstance(args, tuple) else args)


def _working_mode(image: Image.Image) -> str:
    """The mode, of L, LA, RGB, RGBA and I;16, that holds all there is in `image`."""
    if image.mode.startswith("I;16"):
        return "I;16"
    base = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    return base + "A" if image.has_transparency_data else base


def _row_blocks(width: int, height: int) -> Iterator[slice]:
    step = max(1, _BLOCK_PIXELS // width)
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def _blocks(
    image: Image.Image, mode: str, transform: ImageCms.ImageCmsTransform | None
) -> Iterator[tuple[slice, Pixels]]:
    """The pixels of a loaded image in `mode`, with where each block belongs."""
    white_is_zero = _tiff_tag(image, TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, 1) == 0
    white = 2 ** _tiff_tag(image, TiffImagePlugin.BITSPERSAMPLE, (16,))[0] - 1
    for rows in _row_blocks(*image.size):
        block = image.crop((0, rows.start, image.width, rows.stop))
        if mode == "I;16":
            gray = np.asarray(block).astype(np.uint16)
            if white < 65535:  # 12 bits, which Pillow takes for 16
                gray = (gray * (65535 / white)).round().astype(np.uint16)
            if white_is_zero:  # which Pillow minds at 8 bits only
                gray = 65535 - gray
            if "transparency" in image.info:
                opacity = np.where(gray == image.info["transparency"], 0, 65535)
                gray = np.dstack((gray, opacity.astype(np.uint16)))
            yield rows, gray
            continue
        if transform is None or transform.input_mode == mode:
            block = block.convert(mode) if block.mode != mode else block
        if transform is not None:
            block = transform.apply(block)
        yield rows, np.asarray(block)


def _deep_blocks(
    image: Image.Image, file: IO[bytes], *, opacity: bool
) -> Iterator[tuple[slice, Pixels]]:
    """The uint16 RGB or RGBA pixels of a file."""
    file.seek(0)
    # UNCHANGED turns a TIFF upright, as Pillow does, and nothing else.
    bgr: Any = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    if bgr is None or bgr.dtype != np.uint16 or bgr.shape[:2] != (image.height, image.width):
        raise ImageError("has 16-bit channels in a layout that is not supported")
    code = cv2.COLOR_BGRA2RGBA if bgr.shape[2] == 4 else cv2.COLOR_BGR2RGB
    for rows in _row_blocks(*image.size):
        block = cv2.cvtColor(bgr[rows], code)
        yield rows, block if opacity else block[..., :3]


def _upright(pixels: Pixels, orientation: Any) -> Pixels:
    """The pixels turned as EXIF 2.32 asks in tag 0x0112."""
    turns: dict[Any, Callable[[Any], Any]] = {
        2: lambda p: cv2.flip(p, 1),
        3: lambda p: cv2.rotate(p, cv2.ROTATE_180),
        4: lambda p: cv2.flip(p, 0),
        5: cv2.transpose,
        6: lambda p: cv2.rotate(p, cv2.ROTATE_90_CLOCKWISE),
        7: lambda p: cv2.rotate(cv2.transpose(p), cv2.ROTATE_180),
        8: lambda p: cv2.rotate(p, cv2.ROTATE_90_COUNTERCLOCKWISE),
    }
    turn = turns.get(orientation)
    return turn(pixels) if turn else pixels


def _reduced(rgb: Pixels, factor: int) -> Pixels:
    """The block as uint8 [N, 1, 3], averaged over squares: noise and JPEG blocks are gone."""
    factor = max(1, min(factor, *rgb.shape[:2]))
    height, width = rgb.shape[0] // factor, rgb.shape[1] // factor
    whole = rgb[: height * factor, : width * factor]  # OpenCV takes four times as long for parts
    small = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
    return _as_depth(small, np.uint8).reshape(-1, 1, 3)


def _is_colored(samples: list[Pixels]) -> bool:
    ycrcb = cv2.cvtColor(np.concatenate(samples), cv2.COLOR_RGB2YCrCb)
    luma, *chroma = (plane.ravel() for plane in cv2.split(ycrcb))
    # There are 256 lumas at most, so the weighted fit to the mean chroma of each is the fit to
    # all the pixels, in a fifth of the time.
    count = np.bincount(luma, minlength=256)
    sums = np.stack([np.bincount(luma, one, minlength=256) for one in chroma], axis=1)
    weight = np.sqrt(count)[:, None]
    powers = (np.arange(256)[:, None] / 255) ** np.arange(3)
    fit = np.linalg.lstsq(powers * weight, sums / np.maximum(weight, 1), rcond=None)[0]
    toning = (powers @ fit).astype(np.float32)
    # Planes, because NumPy takes several times as long for rows of two.
    strays = sum((one - toning[luma, k]) ** 2 for k, one in enumerate(chroma))
    return bool(np.mean(strays > COLORED_CHROMA**2) > 0.01)


def _as_depth(pixels: Pixels, depth: Any) -> Pixels:
    if pixels.dtype == depth:
        return pixels
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint16) * 257
    return cv2.convertScaleAbs(pixels, alpha=1 / 257).reshape(pixels.shape)


def _dpi(image: Image.Image, exif: Image.Exif, *, turned: bool) -> tuple[float, float] | None:
    stated: Any = image.info.get("dpi")
    # Without JFIF's, Pillow makes 72 of whatever it does not find or like in a JPEG's EXIF.
    if image.format in ("JPEG", "MPO") and image.info.get("jfif_unit") not in (1, 2):
        stated = None
    both = (ExifTags.Base.XResolution, ExifTags.Base.YResolution)
    if image.format == "TIFF" and not all(_tiff_tag(image, tag, None) for tag in both):
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


def _kept_exif(
    source: Image.Exif, changes: dict[int, Any] | None = None
) -> tuple[Image.Exif, bytes]:
    """What is worth keeping of `source`, with `changes`, and its bytes: b"" if that is nothing."""
    kept: dict[int, Any] = {tag: source[tag] for tag in _KEPT_TAGS if tag in source}
    for ifd in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        if tags := dict(source.get_ifd(ifd)):
            kept[ifd] = tags
    if camera := kept.get(ExifTags.IFD.Exif):
        camera.pop(ExifTags.IFD.Interop, None)  # names a color space too, perhaps AdobeRGB
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


def output_format(path: Path) -> str:
    """Pillow's name of the format that the ending of `path` stands for, such as "JPEG".

    Raises:
        SettingError: It stands for none that can be written.
    """
    _load_plugins()
    writable = {ending: known for ending, known in WRITABLE.items() if known in Image.SAVE}
    try:
        return writable[path.suffix.lower()]
    except KeyError:
        raise SettingError(
            f"{path}: has the ending {path.suffix!r}; expected one that can be written: "
            f"{', '.join(writable)}"
        ) from None


def encode_photo(
    rgb: Pixels,
    file_format: str,
    *,
    alpha: Pixels | None = None,
    metadata: Metadata | None = None,
    software: str = f"flowercolor {__version__}",
    quality: int = QUALITY,
    subsampling: str = "4:4:4",
) -> bytes:
    """The bytes of a picture file that embeds the sRGB profile and says what colored it.

    Args:
        rgb: sRGB, uint8 or uint16 [H, W, 3]. PNG and TIFF keep 16 bits, the others 8.
        file_format: "JPEG", "PNG", "TIFF", "WEBP", "BMP" or, if Pillow has it, "AVIF".
        alpha: Opacity, uint8 or uint16 [H, W]. JPEG and BMP have none: there the picture
            is laid on white, the color of paper.
        metadata: What the source says beside its pixels. BMP takes the DPI only.
        software: What colored the photo, in ASCII; becomes EXIF tag 0x0131 and, in a PNG,
            also a text.
        quality: 1 to 100, for JPEG, WebP and AVIF.
        subsampling: "4:4:4", "4:2:2" or "4:2:0", for JPEG and AVIF.

    Raises:
        ImageError: The pixels are of another kind, or the format cannot hold them or is none
            of these.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype not in (np.uint8, np.uint16):
        raise ImageError(
            f"the picture is {rgb.dtype} {list(rgb.shape)}; expected uint8 or uint16 [H, W, 3]"
        )
    if alpha is not None and (
        alpha.shape != rgb.shape[:2] or alpha.dtype not in (np.uint8, np.uint16)
    ):
        raise ImageError(
            f"the opacity is {alpha.dtype} {list(alpha.shape)} and the picture {list(rgb.shape)}; "
            "expected uint8 or uint16 of the same height and width"
        )
    if file_format not in WRITABLE.values():
        known = ", ".join(sorted(set(WRITABLE.values())))
        raise ImageError(f"the format is {file_format!r}; expected one of {known}")
    metadata = metadata or Metadata()
    depth = rgb.dtype if file_format in ("PNG", "TIFF") else np.dtype(np.uint8)
    pixels = _as_depth(rgb, depth)
    if alpha is not None:
        alpha = _as_depth(alpha, depth)
        on_paper = file_format in ("JPEG", "BMP")
        pixels = _on_white(pixels, alpha) if on_paper else np.dstack((pixels, alpha))

    options: dict[str, Any] = {
        "icc_profile": profiles.srgb_profile(),
        "exif": _output_exif(metadata, rgb, software, file_format),
    }
    if metadata.dpi:
        options["dpi"] = metadata.dpi
    if file_format in ("JPEG", "WEBP", "AVIF"):
        options["quality"] = quality
    if file_format in ("JPEG", "AVIF"):
        options["subsampling"] = subsampling
    if file_format == "AVIF":
        options["speed"] = 8  # 3 s for 12 megapixels; Pillow's 6 takes 10 s to save 2 %
    try:
        if file_format == "PNG":
            return _encode_png(pixels, software, options)
        if file_format == "TIFF":
            return _encode_tiff(pixels, options)
        # Never straight into the file: where the disk is nearly full, Pillow takes a JPEG of
        # which only a part was written for a whole one.
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, file_format, **options)
        return buffer.getvalue()
    except Exception as error:
        raise ImageError(
            f"a picture of {rgb.shape[1]}x{rgb.shape[0]} pixels cannot be written as "
            f"{file_format}: {one_line(error)}"
        ) from error


def write_photo(path: Path, rgb: Pixels, *, file_format: str | None = None, **options: Any) -> None:
    """Write what `encode_photo` gives, with its options, to `path`, whole or not at all.

    The ending of `path` says the format unless `file_format` does.

    Raises:
        SettingError: The ending cannot be written.
        ImageError: The format cannot hold the pixels.
        StorageError: The disk is full or writing is not allowed.
    """
    file_format = file_format or output_format(path)
    try:
        content = encode_photo(rgb, file_format, **options)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
    files.write_bytes(path, content)


def _on_white(rgb: Pixels, alpha: Pixels) -> Pixels:
    opacity = alpha.astype(np.uint16)[..., None]
    return ((rgb * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)


def _output_exif(metadata: Metadata, rgb: Pixels, software: str, file_format: str) -> Image.Exif:
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
        exif, content = _kept_exif(source, changes)
        if file_format == "JPEG" and len(content) > _JPEG_EXIF_BYTES:
            # Mostly the largest by far, and for the camera maker's programs alone.
            camera.pop(ExifTags.Base.MakerNote, None)
            exif, content = _kept_exif(source, changes)
            if len(content) > _JPEG_EXIF_BYTES:
                exif, _ = _kept_exif(Image.Exif(), changes)
    return exif


def _encode_png(pixels: Pixels, software: str, options: dict[str, Any]) -> bytes:
    """OpenCV's PNG with Pillow's metadata chunks set in behind the header."""
    code = cv2.COLOR_RGBA2BGRA if pixels.shape[2] == 4 else cv2.COLOR_RGB2BGR
    done, encoded = cv2.imencode(".png", cv2.cvtColor(pixels, code))
    if not done:
        raise ImageError("OpenCV refuses it")
    text = PngImagePlugin.PngInfo()
    text.add_text("Software", software)
    stub = Image.new("RGB", (1, 1))
    chunks = b"".join(
        struct.pack(">I", len(data)) + kind + data + checksum
        for kind, data, checksum in PngImagePlugin.getchunks(stub, pnginfo=text, **options)
        if kind not in (b"IHDR", b"IDAT", b"IEND")
    )
    header = 8 + 25  # the signature and IHDR
    return b"".join((encoded[:header].tobytes(), chunks, encoded[header:].data))


def _encode_tiff(pixels: Pixels, options: dict[str, Any]) -> bytes:
    """An uncompressed TIFF: Pillow has no 16-bit RGB, and OpenCV writes no EXIF or profile."""
    height, width, channels = pixels.shape
    content = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    ifd = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in options["exif"].items():
        ifd[tag] = value
    ifd[TiffImagePlugin.IMAGEWIDTH] = width
    ifd[TiffImagePlugin.IMAGELENGTH] = height
    ifd[TiffImagePlugin.BITSPERSAMPLE] = (8 * pixels.itemsize,) * channels
    ifd[TiffImagePlugin.COMPRESSION] = 1
    ifd[TiffImagePlugin.PHOTOMETRIC_INTERPRETATION] = 2
    ifd[TiffImagePlugin.STRIPOFFSETS] = 0  # `save` adds where the directory ends
    ifd[TiffImagePlugin.SAMPLESPERPIXEL] = channels
    ifd[TiffImagePlugin.ROWSPERSTRIP] = height
    ifd[TiffImagePlugin.STRIPBYTECOUNTS] = len(content)
    ifd[TiffImagePlugin.PLANAR_CONFIGURATION] = 1
    ifd[TiffImagePlugin.ICCPROFILE] = options["icc_profile"]
    if channels == 4:
        ifd[TiffImagePlugin.EXTRASAMPLES] = 2  # opacity that is not multiplied in
    buffer = io.BytesIO()
    ifd.save(buffer)
    buffer.write(content)
    return buffer.getvalue()
