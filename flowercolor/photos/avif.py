"""Whether an AVIF holds a picture of the size that it claims.

libavif enlarges a smaller one to that size: a file of 500 bytes becomes 256 megapixels of nothing.
"""

from typing import IO

_HEAD_BYTES = 1 << 16
_BEGINNING = b"\x12\x00\x0a"
"""Of a still picture in AV1: the delimiter, and the kind of what follows, its header."""
_MOST_ENLARGED = 4


def check_size(file: IO[bytes], pixels: int) -> None:
    """Check the claim against the header of the AV1 picture (AV1 specification, 5.5.1).

    Pictures of parts, and headers beyond the plainest kind, pass.

    Raises:
        ValueError: The picture is far smaller.
    """
    file.seek(0)
    head, found, coded = file.read(_HEAD_BYTES).partition(_BEGINNING)
    if not found or b"grid" in head or b"thmb" in head or len(coded) < 10:
        return
    header = int.from_bytes(coded[1:10], "big")
    left = 72

    def number(bits: int) -> int:
        nonlocal left
        left -= bits
        return header >> left & ((1 << bits) - 1)

    _profile, _still, reduced = number(3), number(1), number(1)
    if not reduced:
        return
    number(5)  # the level
    width_bits, height_bits = number(4) + 1, number(4) + 1
    width_px, height_px = number(width_bits) + 1, number(height_bits) + 1
    if width_px * height_px * _MOST_ENLARGED < pixels:
        raise ValueError(f"its picture has {width_px}x{height_px} pixels, and it claims more")
