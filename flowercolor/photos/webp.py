"""What Pillow does not tell of a WebP (RFC 9649): its size, and a first frame as a still one.

libwebp keeps three whole canvases for an animation, whatever its frames fill of them: 4 GB and
20 s for a file of 6 KB.
"""

import io
import struct
from collections.abc import Iterator
from typing import IO

from flowercolor.errors import ImageError

_MOST_CANVAS_PIXELS = 25_000_000
_ICC, _ALPHA, _EXIF = 0x20, 0x10, 0x08


def first_frame(file: IO[bytes]) -> bytes | None:
    """A file of the first frame, with the color profile and EXIF; None of what has no frames.

    Nor of one whose first frame fills a part only of a canvas, which the decoder may draw.

    Raises:
        ImageError: That canvas is large.
    """
    head, frame = b"", b""
    kept: dict[bytes, bytes] = {}
    for kind, length in _chunks(file):
        if kind == b"VP8X":
            head = file.read(length)
        elif kind == b"ANMF" and not frame:
            frame = file.read(length)
        elif kind in (b"ICCP", b"EXIF"):
            kept[kind] = file.read(length)
    if len(head) < 10 or len(frame) < 16:
        return None
    size = frame[6:12]
    if size != head[4:10]:
        pixels = _number(head[4:7]) * _number(head[7:10])
        if pixels > _MOST_CANVAS_PIXELS:
            raise ImageError(
                f"is an animation of {pixels / 1e6:.0f} megapixels whose first frame does not fill "
                f"it; expected at most {_MOST_CANVAS_PIXELS / 1e6:.0f} of such; save one frame "
                "as a picture first"
            )
        return None
    flags = head[0] & (_ICC | _ALPHA | _EXIF)
    chunks = {b"VP8X": bytes((flags, 0, 0, 0)) + size} | kept
    body = b"".join(_packed(kind, chunks[kind]) for kind in (b"VP8X", b"ICCP") if kind in chunks)
    body += frame[16:] + (_packed(b"EXIF", kept[b"EXIF"]) if b"EXIF" in kept else b"")
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def pixels(file: IO[bytes]) -> int:
    """How many pixels its header states, for Pillow asks for their memory as it opens one."""
    for kind, length in _chunks(file):
        head = file.read(min(length, 10)).ljust(10, b"\0")
        if kind == b"VP8X":
            return _number(head[4:7]) * _number(head[7:10])
        if kind == b"VP8L":
            sides = int.from_bytes(head[1:5], "little")
            return ((sides & 0x3FFF) + 1) * ((sides >> 14 & 0x3FFF) + 1)
        if kind == b"VP8 ":
            width, height = struct.unpack_from("<HH", head, 6)
            return int((width & 0x3FFF) * (height & 0x3FFF))
    return 0


def _chunks(file: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """Kind and length, as far as there is so much, of each chunk; the file stands at its start."""
    end = file.seek(0, io.SEEK_END)
    at = 12
    while at + 8 <= end:
        file.seek(at)
        kind, length = struct.unpack("<4sI", file.read(8))
        yield kind, min(length, end - at - 8)
        at += 8 + length + length % 2


def _number(less_one: bytes) -> int:
    return int.from_bytes(less_one, "little") + 1


def _packed(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
