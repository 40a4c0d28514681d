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
from PIL import Image, PngImagePlugin

Array = NDArray[Any]


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
