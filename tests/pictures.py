"""Pictures to try things on, and files of them."""

import io
import struct
import tarfile
import zlib
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, PngImagePlugin

from flowercolor.photos.writer import encode_photo

Array = NDArray[Any]

Image.init()
FORMATS = [kind for kind in ("JPEG", "PNG", "TIFF", "WEBP", "AVIF") if kind in Image.SAVE]
"""Those that hold EXIF and can be written here."""


def noise(*shape: int, dtype: Any = np.uint8, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape, dtype)


def smooth(height: int = 60, width: int = 80) -> Array:
    """A colorful uint8 RGB picture that JPEG keeps nearly as it is."""
    y, x = np.mgrid[0:height, 0:width]
    return np.dstack((x * 255 // width, y * 255 // height, 255 - x * 255 // width)).astype(np.uint8)


def gray_of(rgb: Array) -> Array:
    return cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY)


def saved(image: Image.Image | Array, file_format: str, **options: Any) -> bytes:
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def deep_png(samples: Array, **chunks: bytes) -> bytes:
    """A PNG of uint16 [H, W, C]; Pillow can make only some of them."""
    height, width, channels = samples.shape
    color_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    buffer = io.BytesIO()
    buffer.write(b"\x89PNG\r\n\x1a\n")
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    parts = {"IHDR": header, **chunks, "IDAT": zlib.compress(raw), "IEND": b""}
    for kind, data in parts.items():
        PngImagePlugin.putchunk(buffer, kind.encode(), data)
    return buffer.getvalue()


def tar_of(contents: dict[str, bytes], path: Path, mode: Literal["w", "w:gz"] = "w") -> Path:
    """A tar archive of these files, by name."""
    with tarfile.open(path, mode) as packed:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    return path


def plainly_decoded(content: bytes, size_px: int) -> NDArray[np.uint8]:
    """RGB, one step of OpenCV after the other."""
    bgr = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert bgr is not None
    return cv2.cvtColor(cv2.resize(bgr, (size_px, size_px)), cv2.COLOR_BGR2RGB).astype(np.uint8)


def opened(content: bytes) -> Image.Image:
    """Decoded by Pillow."""
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def exif_with(tags: dict[int, Any]) -> bytes:
    """An EXIF block of these tags."""
    exif = Image.Exif()
    for tag, value in tags.items():
        exif[tag] = value
    return exif.tobytes()


def camera_exif() -> bytes:
    """As a scanner and a camera write it, with what must not be kept."""
    return exif_with(
        {
            ExifTags.Base.Orientation: 6,
            ExifTags.Base.Artist: "Zoë Müller".encode(),
            ExifTags.Base.Software: "scanner 1.0",
            ExifTags.Base.StripOffsets: 12345,
            ExifTags.IFD.Exif: {
                ExifTags.Base.DateTimeOriginal: "1931:05:17 12:00:00",
                ExifTags.Base.ExifImageWidth: 4000,
                ExifTags.Base.ColorSpace: 0xFFFF,
                ExifTags.Base.MakerNote: b"maker's own",
                ExifTags.Base.UserComment: b"ASCII\0\0\0Grandma's garden",
            },
            ExifTags.IFD.GPSInfo: {ExifTags.GPS.GPSLatitudeRef: "N"},
        }
    )


def no_photos(folder: Path) -> dict[str, Path]:
    """Files in a folder that are no whole photos, and two paths that are no files, by name."""
    whole = {
        "cut.jpg": saved(noise(50, 50, 3), "JPEG"),
        "cut.png": saved(noise(50, 50, 3), "PNG"),
        "cut16.png": deep_png(noise(50, 50, 3, dtype=np.uint16)),
        "cut16.tif": encode_photo(noise(50, 50, 3, dtype=np.uint16), "TIFF"),
        "cut.webp": saved(noise(50, 50, 3), "WEBP"),
        "cut.tif": saved(noise(50, 50, 3), "TIFF"),
        "cut.bmp": saved(noise(50, 50, 3), "BMP"),
    }
    contents = {name: content[: len(content) * 2 // 3] for name, content in whole.items()}
    tiff16 = whole["cut16.tif"]
    planar = struct.pack("<HHI", 284, 3, 1)
    contents |= {
        "empty.jpg": b"",
        "text.jpg": b"Dear Zoe, the roses are out.",
        "page.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n",
        "float.tif": saved(np.zeros((3, 3), np.float32), "TIFF"),
        "planar16.tif": tiff16.replace(planar + b"\1", planar + b"\2"),
    }
    paths = {"folder": folder, "missing": folder / "nothing here.jpg"}
    for name, content in contents.items():
        paths[name] = folder / name
        paths[name].write_bytes(content)
    return paths
