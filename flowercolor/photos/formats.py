"""Which formats of photos there are: their endings, their plugins, how they store pixels."""

import ctypes
import importlib
import logging
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageFile, PngImagePlugin, TiffImagePlugin

from flowercolor.errors import SettingError
from flowercolor.memory_budget import lacks_memory
from flowercolor.photos.icc import Pixels

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
SUFFIXES = frozenset({*WRITABLE, ".apng", ".dib", ".gif", ".heic", ".heif", ".mpo"})
"""The endings that photos have, in lower case."""

UNREAD = frozenset(
    """
    .jp2 .j2k .jpx .jxl .jxr .dng .cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .orf .rw2 .raf .pef .srw
    .3fr .iiq .x3f .erf .mrw .mef .mos .dcr .kdc .rwl .gpr .fff .hif .jpf .jpm .j2c .jls .wdp .hdp
    .psd .psb .xcf .tga .ppm .pgm .pbm .pnm .exr .hdr .pcx .dcm .qoi .sgi .ras .pdf
    """.split()  # noqa: SIM905
)
"""Endings of pictures, and of scans in a PDF, that are not read."""
SIDECARS = frozenset({".xmp", ".aae", ".thm", ".pp3", ".dop"})
"""Endings of what programs put beside photos."""

# Of NAS, waste bins, archives and photo programs. Hidden folders are passed over anyway.
_NO_PHOTOS = frozenset(
    {
        *("@eadir", "@recycle", "#recycle", "#snapshot", "@recently-snapshot", "$recycle.bin"),
        *("recycler", "system volume information", "lost+found", "__macosx"),
    }
)
_PREVIEWS = (".lrdata", ".cocatalogdb")

# How files of formats begin that Pillow does not know any more where they are damaged: what,
# and from which byte on.
BEGINNINGS = (
    (b"\xff\xd8\xff", 0, "JPEG"),
    (b"\x89PNG", 0, "PNG"),
    (b"GIF8", 0, "GIF"),
    (b"BM", 0, "BMP"),
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

# And of pictures that are not read: how they begin, from which byte on, and what they are.
_RAW = "the raw file of a camera"
UNREADABLE = (
    *((start, 0, _RAW) for start in (b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"IIII", b"MMMM")),
    *((start, 0, _RAW) for start in (b"FUJIFILMCCD", b"FOVb", b"\0MRM")),
    (b"HEAPCC", 6, _RAW),
    (b"ftypcrx", 4, _RAW),
    (b"jP  ", 4, "a JPEG 2000"),
    (b"\xff\x4f\xff\x51", 0, "a JPEG 2000"),
    (b"JXL ", 4, "a JPEG XL"),
    (b"\xff\x0a", 0, "a JPEG XL"),
    (b"II\xbc\x01", 0, "a JPEG XR"),
    (b"8BPS", 0, "a file of Photoshop"),
    (b"gimp xcf", 0, "a file of GIMP"),
    (b"%PDF", 0, "a PDF"),
    (b"\x76\x2f\x31\x01", 0, "an OpenEXR"),
)

_PNG_TEXT_BYTES = 1 << 26  # of a text, XMP or color profile, unpacked


def begins_like(head: bytes, kinds: Iterable[tuple[bytes, int, str]]) -> str:
    """Which of the kinds a file is of by its first bytes; empty where of none."""
    return next((kind for start, at, kind in kinds if head[at:].startswith(start)), "")


def is_picture(path: Path) -> bool:
    """Whether the name ends like a photo's. Hidden files, such as macOS's `._a.jpg`, do not."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def holds_no_photos(folder_name: str) -> bool:
    """Whether a folder of this name holds waste or previews."""
    name = folder_name.lower()
    return name in _NO_PHOTOS or name.endswith(_PREVIEWS)


def output_format(path: Path) -> str:
    """Pillow's name of the format that the ending of `path` stands for, such as "JPEG".

    Raises:
        SettingError: It stands for none that can be written.
    """
    load_plugins()
    writable = {ending: known for ending, known in WRITABLE.items() if known in Image.SAVE}
    try:
        return writable[path.suffix.lower()]
    except KeyError:
        raise SettingError(
            f"{path}: has the ending {path.suffix!r}; expected one that can be written: "
            f"{', '.join(writable)}"
        ) from None


@cache
def load_plugins() -> None:
    """Have Pillow know our formats: by itself it knows a few, or loads all of its forty."""
    for plugin in ("Avif", "Bmp", "Gif", "Jpeg", "Png", "Tiff", "WebP"):
        try:
            importlib.import_module(f"PIL.{plugin}ImagePlugin")
        except ImportError as error:
            if lacks_memory(error):  # or the format would be missing from here on
                raise MemoryError from error
    with suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener()
    # What the libraries have to say, an error says in one line.
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    if "OPENCV_LOG_LEVEL" not in os.environ:
        # Before OpenCV 4.13 it stood elsewhere.
        getattr(cv2.utils, "logging", cv2).setLogLevel(0)  # LOG_LEVEL_SILENT


def readable() -> list[str]:
    """The formats that can be read here, by Pillow's names."""
    load_plugins()
    return [known for known in _READABLE if known in Image.OPEN]


def tiff_tag(image: Image.Image, tag: int, default: Any) -> Any:
    """What a TIFF's directory says; `default` where it says nothing, or of another format."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return image.tag_v2.get(tag, default)
    return default


def deep_rawmode(image: Image.Image) -> str:
    """How the file stores 16 bits a channel, in Pillow's words: "RGB;16B"; "" where it has 8.

    Nor does 16-bit gray count, which Pillow keeps.
    """
    args = image.tile[0].args if isinstance(image, ImageFile.ImageFile) and image.tile else ""
    rawmode = str(args[0] if isinstance(args, tuple) else args)
    return rawmode if rawmode.startswith(("RGB;16", "RGBA;16", "RGBX;16", "LA;16")) else ""


def counts_twice(image: Image.Image) -> bool:
    """Whether each pixel takes twice the usual memory: 16 bits of RGB, or opacity."""
    return bool(deep_rawmode(image)) or image.has_transparency_data


def usual_pixels(image: Image.Image) -> int:
    """How many pixels of 8 bits, without opacity, take as much memory."""
    return image.width * image.height * (2 if counts_twice(image) else 1)


@cache
def _libtiff() -> Any:
    """Pillow's own, where it is a library beside it, as in its files for Linux and macOS."""
    library = ctypes.CDLL(importlib.import_module("PIL._imaging").__file__)
    library.TIFFSetErrorHandler.argtypes = [ctypes.c_void_p]
    library.TIFFSetErrorHandler.restype = ctypes.c_void_p
    return library


def _lead_libtiff_errors(handler: int | None) -> int | None:
    """What printed them before; None prints none. They reach Pillow as codes all the same."""
    with suppress(OSError, AttributeError):
        before: int | None = _libtiff().TIFFSetErrorHandler(handler)
        return before
    return None


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Pillow without its warnings, libtiff's errors, and size limits: of the whole process, all.

    The lock keeps threads from restoring each other's settings, so what runs in here runs
    one at a time: the reading of headers, and TIFF.
    """
    with _hushing, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limits = Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK
        Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK = None, _PNG_TEXT_BYTES
        libtiff_errors = _lead_libtiff_errors(None)
        try:
            yield
        finally:
            _lead_libtiff_errors(libtiff_errors)
            Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK = limits


def allow_long_texts(image: Image.Image) -> None:
    """Have texts behind a PNG's pixels that are beyond Pillow's limits count as none."""
    if chunks := getattr(image, "png", None):
        for name in ("chunk_tEXt", "chunk_zTXt", "chunk_iTXt"):
            setattr(chunks, name, partial(_read_or_pass, getattr(chunks, name)))


def _read_or_pass(read: Callable[[int, int], bytes], position: int, length: int) -> bytes:
    try:
        return read(position, length)
    except ValueError:
        return b""


_hushing = threading.RLock()


def native(pixels: Any) -> Pixels:
    """The same array in the byte order of this computer: OpenCV takes no other."""
    array: Pixels = np.asarray(pixels)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def with_depth(pixels: Pixels, depth: Any) -> Pixels:
    """The pixels as uint8 or uint16, whichever `depth` is."""
    if pixels.dtype == depth:
        return pixels
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint16) * 257
    return cv2.convertScaleAbs(pixels, alpha=1 / 257).reshape(pixels.shape)
