"""Writing colored photos: RGB to the content of a file.

Pillow writes; OpenCV writes PNG three times as fast, and TIFF of 16-bit RGB is put together
here. No path ever reaches OpenCV, which cannot open every name on Windows.
"""

import io
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, PngImagePlugin, TiffImagePlugin

from flowercolor import files
from flowercolor._version import __version__
from flowercolor.config import QUALITY
from flowercolor.errors import ImageError, one_line
from flowercolor.photos import icc
from flowercolor.photos.formats import WRITABLE, output_format, with_depth
from flowercolor.photos.icc import Pixels
from flowercolor.photos.metadata import Metadata, output_exif


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
    pixels = with_depth(rgb, depth)
    if alpha is not None:
        alpha = with_depth(alpha, depth)
        on_paper = file_format in ("JPEG", "BMP")
        pixels = _on_white(pixels, alpha) if on_paper else np.dstack((pixels, alpha))

    options: dict[str, Any] = {
        "icc_profile": icc.srgb_profile(),
        "exif": output_exif(
            metadata, software, file_format, width_px=rgb.shape[1], height_px=rgb.shape[0]
        ),
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
