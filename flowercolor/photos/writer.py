"""Writing colored photos: RGB to the content of a file.

Pillow writes, but for PNG and TIFF: those are put together here, block by block, so that a
large scan needs no second copy. It takes a third of Pillow's time, and TIFF has 16-bit RGB.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin, TiffImagePlugin

from flowercolor import files
from flowercolor.config import QUALITY, Subsampling, in_range, one_of
from flowercolor.errors import ImageError, SettingError, StorageError, one_line
from flowercolor.memory_budget import codec_memory_errors, lack_of
from flowercolor.photos import icc
from flowercolor.photos.formats import WRITABLE, native, output_format, with_depth
from flowercolor.photos.icc import Pixels
from flowercolor.photos.metadata import Metadata, output_exif
from flowercolor.provenance import PROGRAM

_BLOCK_PIXELS = 1 << 20
_DEPTHS = (np.uint8, np.uint16)

# libjpeg, which takes less than the format, prints to stderr where it is asked for more.
_MOST_SIDE_PX = {"JPEG": 65_500, "WEBP": 16_383, "AVIF": 65_536}


def encode_photo(rgb: Pixels, file_format: str, **options: Any) -> bytes:
    """The bytes of a picture file: what `photo_parts` gives, with its options, in one piece."""
    return b"".join(photo_parts(rgb, file_format, **options))


def write_photo(
    path: str | Path,
    rgb: Pixels,
    *,
    file_format: str | None = None,
    overwrite: bool = True,
    **options: Any,
) -> None:
    """Write what `photo_parts` gives, with its options, to `path`, whole or not at all.

    The ending of `path` says the format unless `file_format` does. What is there is replaced,
    whatever made it, but without `overwrite`.

    Raises:
        SettingError: The ending cannot be written, or an option is out of its range.
        ImageError: The format cannot hold the pixels.
        StorageError: The disk is full, writing is not allowed, or, without `overwrite`, a file is
            there.
    """
    path = Path(path)
    if not overwrite and files.is_there(path):
        raise StorageError(
            f"{path}: is there already; expected a name that is free; `overwrite` replaces it"
        )
    try:
        parts = photo_parts(rgb, file_format or output_format(path), **options)
        first = next(parts)
        with (
            files.replacing(path, overwrite=overwrite) as temporary,
            temporary.open("wb") as file,
        ):
            file.write(first)
            file.writelines(parts)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error


def photo_parts(
    rgb: Pixels,
    file_format: str,
    *,
    alpha: Pixels | None = None,
    metadata: Metadata | None = None,
    software: str = PROGRAM,
    quality: int = QUALITY,
    subsampling: str = "4:4:4",
) -> Iterator[bytes | memoryview]:
    """A picture file, piece by piece, that embeds the sRGB profile and says what colored it.

    What is wrong is raised ahead of the first piece.

    Args:
        rgb: sRGB, uint8 or uint16 [H, W, 3]. PNG and TIFF keep 16 bits, the others 8.
        file_format: "JPEG", "PNG", "TIFF", "WEBP", "BMP" or, if Pillow has it, "AVIF"; also in
            lower case, or an ending without its dot, such as "jpg".
        alpha: Opacity, uint8 or uint16 [H, W]. JPEG and BMP have none: there the picture
            is laid on white, the color of paper.
        metadata: What the source says beside its pixels. BMP takes the DPI only.
        software: What colored the photo, in ASCII; becomes EXIF tag 0x0131 and, in a PNG,
            also a text.
        quality: 1 to 100, for JPEG, WebP and AVIF.
        subsampling: "4:4:4", "4:2:2" or "4:2:0", for JPEG and AVIF.

    Raises:
        ImageError: The pixels are of another kind, none, or the format cannot hold them.
        SettingError: The format is none of these, or a setting is out of its range.
    """
    check_settings(quality, subsampling)
    if not isinstance(software, str):
        raise SettingError(f"software is {software!r}; expected a text")
    if metadata is not None and not isinstance(metadata, Metadata):
        raise SettingError(
            f"metadata is of the type {type(metadata).__name__}; expected a `Metadata`, as "
            "`read_photo` gives in its `metadata`"
        )
    if isinstance(rgb, Image.Image):  # of which NumPy takes the pixels alone
        raise ImageError(
            "the picture is a Pillow image, whose EXIF and DPI would be lost; give its array, or "
            "save it by image.save(...)"
        )
    rgb, alpha = native(rgb), None if alpha is None else native(alpha)
    if rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size or rgb.dtype not in _DEPTHS:
        raise ImageError(
            f"the picture is {rgb.dtype} {list(rgb.shape)}; expected uint8 or uint16 [H, W, 3], "
            "of one pixel at least"
        )
    if alpha is not None and (alpha.shape != rgb.shape[:2] or alpha.dtype not in _DEPTHS):
        raise ImageError(
            f"the opacity is {alpha.dtype} {list(alpha.shape)} and the picture {list(rgb.shape)}; "
            "expected uint8 or uint16 of the same height and width"
        )
    if (ending := f".{file_format}".lower()) not in WRITABLE:
        known = ", ".join(sorted(set(WRITABLE.values())))
        raise SettingError(f"file_format is {file_format!r}; expected one of {known}")
    file_format = WRITABLE[ending]
    side_px = max(rgb.shape[:2])
    if side_px > (most_px := _MOST_SIDE_PX.get(file_format, side_px)):
        raise ImageError(
            f"a picture of {rgb.shape[1]}x{rgb.shape[0]} pixels cannot be written as "
            f"{file_format}: that holds at most {most_px} on a side; choose another format"
        )
    metadata = metadata or Metadata()
    deep = rgb.dtype == np.uint16 and file_format in ("PNG", "TIFF")
    blocks = _Blocks(rgb, alpha, deep=deep, on_paper=file_format in ("JPEG", "BMP"))
    options: dict[str, Any] = {
        "icc_profile": icc.srgb_profile(),
        "exif": output_exif(
            metadata, software, file_format, width_px=rgb.shape[1], height_px=rgb.shape[0]
        ),
    }
    if metadata.dpi:
        options["dpi"] = metadata.dpi
    if file_format in ("JPEG", "WEBP", "AVIF"):
        options["quality"] = int(quality)  # Pillow takes none of NumPy's
    if file_format in ("JPEG", "AVIF"):
        options["subsampling"] = subsampling
    if file_format == "AVIF":
        options["speed"] = 8  # 3 s for 12 megapixels; Pillow's 6 takes 10 s to save 2 %
    try:
        if file_format == "PNG":
            yield from _png_parts(blocks, software, options)
        elif file_format == "TIFF":
            yield from _tiff_parts(blocks, options)
        else:
            # Never straight into the file: where the disk is nearly full, Pillow takes a JPEG
            # of which only a part was written for a whole one.
            buffer = io.BytesIO()
            with codec_memory_errors(len(rgb) * rgb.shape[1]):
                Image.fromarray(blocks.joined()).save(buffer, file_format, **options)
            yield buffer.getbuffer()
    except Exception as error:
        reason = lack_of(error) or f"{one_line(error)}; choose another format"
        raise ImageError(
            f"a picture of {rgb.shape[1]}x{rgb.shape[0]} pixels cannot be written as "
            f"{file_format}: {reason}"
        ) from error


def check_settings(quality: int, subsampling: str) -> None:
    """Refuse what `photo_parts` does not take, for any format.

    Raises:
        SettingError: A setting is out of its range.
    """
    in_range("quality", quality, int, 1, 100)
    one_of("subsampling", subsampling, Subsampling)


class _Blocks:
    """The rows of a picture, uint8 or uint16 [n, W, 3], or [n, W, 4] with its opacity."""

    def __init__(self, rgb: Pixels, alpha: Pixels | None, *, deep: bool, on_paper: bool) -> None:
        channels = 4 if alpha is not None and not on_paper else 3
        self.shape = (*rgb.shape[:2], channels)
        self.dtype = np.dtype(np.uint16 if deep else np.uint8)
        self._rgb, self._alpha = rgb, alpha

    def __iter__(self) -> Iterator[Pixels]:
        rows = max(1, _BLOCK_PIXELS // self.shape[1])
        for top in range(0, self.shape[0], rows):
            block = with_depth(self._rgb[top : top + rows], self.dtype)
            if self._alpha is not None:
                alpha = with_depth(self._alpha[top : top + rows], self.dtype)
                if self.shape[2] == 4:
                    block = np.dstack((block, alpha))
                else:  # on white, the color of paper
                    opacity = alpha.astype(np.uint16)[..., None]
                    white = 255 * (255 - opacity)
                    block = ((block * opacity + white + 127) // 255).astype(np.uint8)
            yield block

    def joined(self) -> Pixels:
        """The whole picture."""
        if self._alpha is None and self._rgb.dtype == self.dtype:
            return self._rgb
        pixels = np.empty(self.shape, self.dtype)
        top = 0
        for block in self:
            pixels[top : top + len(block)] = block
            top += len(block)
        return pixels


def _png_parts(blocks: _Blocks, software: str, options: dict[str, Any]) -> Iterator[bytes]:
    """A PNG whose rows say how each pixel differs from the one before (PNG 3, filter 1)."""
    height, width, channels = blocks.shape
    bits = 8 * blocks.dtype.itemsize
    color_type = 6 if channels == 4 else 2
    yield b"\x89PNG\r\n\x1a\n"
    yield _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0))
    text = PngImagePlugin.PngInfo()
    text.add_text("Software", software)
    stub = Image.new("RGB", (1, 1))
    for kind, data, _ in PngImagePlugin.getchunks(stub, pnginfo=text, **options):
        if kind not in (b"IHDR", b"IDAT", b"IEND"):
            yield _chunk(kind, data)
    step = channels * blocks.dtype.itemsize
    # Of noise, which all photos have, other ways of packing make less by a seventh at most, and
    # at 16 bits take twice the time.
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_RLE)
    for block in blocks:
        stored = block.astype(block.dtype.newbyteorder(">")).view(np.uint8)
        row_bytes = stored.reshape(len(block), -1)
        rows = np.empty((len(block), 1 + row_bytes.shape[1]), np.uint8)
        rows[:, 0] = 1
        rows[:, 1 : 1 + step] = row_bytes[:, :step]
        np.subtract(row_bytes[:, step:], row_bytes[:, :-step], out=rows[:, 1 + step :])
        if packed := packer.compress(rows.data):
            yield _chunk(b"IDAT", packed)
    yield _chunk(b"IDAT", packer.flush())
    yield _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(data, zlib.crc32(kind))
    return struct.pack(">I4s", len(data), kind) + data + struct.pack(">I", checksum)


def _tiff_parts(blocks: _Blocks, options: dict[str, Any]) -> Iterator[bytes]:
    """An uncompressed TIFF: Pillow has no 16-bit RGB, and OpenCV writes no EXIF or profile."""
    height, width, channels = blocks.shape
    itemsize = blocks.dtype.itemsize
    ifd = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in options["exif"].items():
        ifd[tag] = value
    ifd[TiffImagePlugin.IMAGEWIDTH] = width
    ifd[TiffImagePlugin.IMAGELENGTH] = height
    ifd[TiffImagePlugin.BITSPERSAMPLE] = (8 * itemsize,) * channels
    ifd[TiffImagePlugin.COMPRESSION] = 1
    ifd[TiffImagePlugin.PHOTOMETRIC_INTERPRETATION] = 2
    ifd[TiffImagePlugin.STRIPOFFSETS] = 0  # `save` adds where the directory ends
    ifd[TiffImagePlugin.SAMPLESPERPIXEL] = channels
    ifd[TiffImagePlugin.ROWSPERSTRIP] = height
    ifd[TiffImagePlugin.STRIPBYTECOUNTS] = height * width * channels * itemsize
    ifd[TiffImagePlugin.PLANAR_CONFIGURATION] = 1
    ifd[TiffImagePlugin.ICCPROFILE] = options["icc_profile"]
    if channels == 4:
        ifd[TiffImagePlugin.EXTRASAMPLES] = 2  # opacity that is not multiplied in
    buffer = io.BytesIO()
    ifd.save(buffer)
    yield buffer.getvalue()
    for block in blocks:
        yield block.astype(block.dtype.newbyteorder("<")).tobytes()
