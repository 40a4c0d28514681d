"""Whether a file is whole, as far as its format lets one check.

The decoders check less: they read past checksums that do not fit, and fill up what is missing.
What is found here is raised as ValueError, whose text goes behind "is a damaged …".
"""

import io
import math
import re
import struct
import zlib
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from flowercolor.errors import one_line
from flowercolor.photos.formats import quiet_pillow

_CUT = "the file ends before the picture does"
_WORDS_OF_CUT = ("truncated", "unexpected end of file")  # Pillow's and libavif's, libheif's
_PIECE_BYTES = 1 << 20
_MOST_SCANNED_PIXELS = 2 * 10**10  # some 12 s; 300 megapixels in ten scans take 2
_ZEROS, _ZEROS_OF_FLAT = 32, 512  # at the end of what an arithmetic coder wrote
_DEFLATE = (8, 32946)
_AVIF_HEAD_BYTES = 1 << 16
_STILL = b"\x12\x00\x0a"  # begins a picture in AV1: the delimiter, and what its header is
_MOST_ENLARGED = 4
_JPEG_IN_TIFF, _END_ALONE = 7, b"\xff\xd8\xff\xd9"
_LOST, _NO_TAIL = bytes(64), bytes(8)
_SKIP = 0xF0  # 16 coefficients
_UNSENT = 16  # bits of a coefficient of which no scan has come


def check_whole(image: Image.Image, file: IO[bytes]) -> None:
    """Check what the decoder of an opened image does not.

    Raises:
        ValueError: The file is damaged or cut.
    """
    at = file.tell()
    length = file.seek(0, io.SEEK_END)
    try:
        _check_plausible(image, length)
        if image.format == "PNG":
            for _ in png_chunks(file):
                pass
        elif image.format in ("JPEG", "MPO"):
            _check_jpeg(image, file)
        elif isinstance(image, TiffImagePlugin.TiffImageFile):
            _check_tiff(image, file)
        elif image.format == "AVIF":
            check_avif_size(file, image.width * image.height)
    finally:
        file.seek(at)


def damage(error: Exception, file: IO[bytes] | None = None) -> str:
    """What a decoder's error says of a file, in words that do not mislead."""
    if any(words in str(error).lower() for words in _WORDS_OF_CUT):
        return _CUT
    if file:
        length = file.seek(0, io.SEEK_END)
        file.seek(0)
        kind, stated = struct.unpack("<4sI", file.read(8).ljust(8, b"\0"))
        if kind == b"RIFF" and length < stated + 8:  # of a WebP, of which libwebp says nothing
            return _CUT
    return one_line(error)


def _check_plausible(image: Image.Image, length: int) -> None:
    """That so few bytes can hold so many pixels at all, before memory is given to them."""
    # The densest codes: Deflate makes 1032 bytes of one, a JPEG has 2 bits a block at least,
    # which stand for 16x16 pixels, and 12 bits of a GIF for 4096.
    most = {"JPEG": 1024, "MPO": 1024, "PNG": 8 * 1040, "GIF": 2731}.get(str(image.format))
    side = 16 if image.format in ("JPEG", "MPO") else 1
    pixels = -(-image.width // side) * -(-image.height // side) * side * side
    if most and pixels > most * length:
        raise ValueError(f"{length} bytes cannot hold {image.width}x{image.height} pixels")


def png_chunks(file: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each chunk of a PNG (PNG 3, section 5.3), that of pixels left out.

    Raises:
        ValueError: A checksum does not fit, or the file ends within the pixels.
    """
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if not kind.isalpha():
            return  # what is missing then is missed by the decoder
        checksum = zlib.crc32(kind)
        kept = b""
        left = length
        while left and (piece := file.read(min(left, _PIECE_BYTES))):
            checksum = zlib.crc32(piece, checksum)
            left -= len(piece)
            if kind != b"IDAT" and length <= _PIECE_BYTES:
                kept += piece
        stated = file.read(4)
        if kind[:1].isupper() and kind != b"IEND" and struct.pack(">I", checksum) != stated:
            fault = f"the checksum of its {kind.decode()} chunk does not fit"
            raise ValueError(fault if len(stated) == 4 else _CUT)
        yield kind, kept
        if kind == b"IEND":
            return


def bare_png(file: IO[bytes]) -> bytes:
    """The PNG without what is beside its pixels, of which libpng would talk on stderr."""
    file.seek(0)
    content = file.read()
    parts, at = [content[:8]], 8
    while at + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        if kind[:1].isupper() or kind == b"tRNS":
            parts.append(content[at : at + 12 + length])
        at += 12 + length
    return b"".join(parts)


def _check_jpeg(image: Image.Image, file: IO[bytes]) -> None:
    """That zeros are behind the picture, not in place of a part.

    And that it does not go over all its pixels for hours: a scan may take 14 bytes.
    """
    file.seek(0)
    content = file.read()
    if image.info.get("progressive"):
        scans = content.count(b"\xff\xda")
        if scans * image.width * image.height > _MOST_SCANNED_PIXELS:
            raise ValueError(f"it has {scans} scans")
        if _lacks_scans(content):
            raise ValueError("some of its scans are missing")
    if content.endswith(_NO_TAIL) and content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda"):
        raise ValueError("it ends in zeros")
    _check_lost(content)


def check_decoded(image: Image.Image, file: IO[bytes]) -> None:
    """Check of a decoded image what its file alone does not tell.

    A lossy WebP has no checksums, nor have AVIF and HEIC. Zeros at the end are what was lost, but
    those few that stand for plain black or white. Where the pixels of a JPEG end too early,
    decoders fill it up with middle gray.

    Raises:
        ValueError: The file is damaged.
    """
    if image.format in ("JPEG", "MPO"):
        _check_filled(image, file)
    if image.format not in ("WEBP", "AVIF", "HEIF"):
        return
    most = _ZEROS_OF_FLAT + image.width * image.height // 64
    file.seek(-min(most + 1, file.seek(0, io.SEEK_END)), io.SEEK_END)
    end = file.read()
    zeros = len(end) - len(end.rstrip(b"\0"))
    if zeros > most:
        raise ValueError("it ends in zeros")
    if image.format != "WEBP" or zeros < _ZEROS:
        return
    bottom = image.crop((0, max(0, image.height - 8), image.width, image.height)).convert("RGB")
    if np.ptp(np.asarray(bottom), axis=(0, 1)).max() > 2:
        raise ValueError("it ends in zeros")


def _check_filled(image: Image.Image, file: IO[bytes]) -> None:
    last = _last_block(image)
    if not _is_middle_gray(last):
        return
    file.seek(0)
    content, end, rest = file.read().rpartition(b"\xff\xd9")
    # Enough for all blocks, of whatever codes, of usual photos.
    noise = np.random.default_rng(0).bytes(3 * min(image.width * image.height + 64, 24_000_000))
    filling = noise.replace(b"\xff", b"\x7f")  # which would begin a marker
    with quiet_pillow():
        other = Image.open(io.BytesIO(content + filling + end + rest), formats=["JPEG"])
    with other:
        if not np.array_equal(_last_block(other), last):
            raise ValueError("its pixels end too early")


def has_gray_corner(pixels: NDArray[Any]) -> bool:
    """Whether a corner of [H, W, C] is as where a decoder filled it up."""
    ends = (slice(8), slice(-8, None))
    return any(_is_middle_gray(pixels[y, x]) for y in ends for x in ends)


def _is_middle_gray(pixels: NDArray[Any]) -> bool:
    return bool((np.abs(pixels.astype(np.int16) - 128) <= 2).all())


def _last_block(image: Image.Image) -> NDArray[Any]:
    left, top = max(0, image.width - 8), max(0, image.height - 8)
    return np.asarray(image.crop((left, top, *image.size)))


def check_avif_size(file: IO[bytes], pixels: int) -> None:
    """Check an AVIF's size against the header of its AV1 picture (AV1 specification, 5.5.1).

    libavif enlarges a small one: a file of 500 bytes becomes 256 megapixels of nothing.
    Pictures of parts, and headers beyond the plainest kind, pass.

    Raises:
        ValueError: The picture is far smaller.
    """
    file.seek(0)
    head, found, coded = file.read(_AVIF_HEAD_BYTES).partition(_STILL)
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


def _check_tiff(image: TiffImagePlugin.TiffImageFile, file: IO[bytes]) -> None:
    tags: Any = image.tag_v2
    # Not those of the image, which Pillow states as they will be when upright.
    width, height = tags[TiffImagePlugin.IMAGEWIDTH], tags[TiffImagePlugin.IMAGELENGTH]
    tiled = TiffImagePlugin.TILEOFFSETS in tags
    offsets = tags.get(TiffImagePlugin.TILEOFFSETS if tiled else TiffImagePlugin.STRIPOFFSETS, ())
    counts = tags.get(
        TiffImagePlugin.TILEBYTECOUNTS if tiled else TiffImagePlugin.STRIPBYTECOUNTS, ()
    )
    if tiled:
        across = math.ceil(width / tags[TiffImagePlugin.TILEWIDTH])
        needed = across * math.ceil(height / tags[TiffImagePlugin.TILELENGTH])
    else:
        rows = tags.get(TiffImagePlugin.ROWSPERSTRIP, height)
        needed = math.ceil(height / max(1, min(rows, height)))
    planes = len(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
    if tags.get(TiffImagePlugin.PLANAR_CONFIGURATION, 1) == 2:
        needed *= planes
    kind = "tiles" if tiled else "strips"
    if len(offsets) < needed:
        raise ValueError(f"it has {len(offsets)} {kind} of {needed}")
    reversed_bits = tags.get(TiffImagePlugin.FILLORDER, 1) == 2
    compression = tags.get(TiffImagePlugin.COMPRESSION, 1)
    left = file.seek(0, io.SEEK_END)  # strips that claim to lie in one place are read once
    for at, count in dict(zip(offsets, counts, strict=False)).items():
        if compression in _DEFLATE and not reversed_bits:
            _check_deflated(file, at, count)
        elif compression == _JPEG_IN_TIFF:
            file.seek(at)
            strip = file.read(min(count, left))
            left -= len(strip)
            _check_lost(tags.get(TiffImagePlugin.JPEGTABLES, _END_ALONE)[:-2] + strip[2:])


def _check_deflated(file: IO[bytes], at: int, count: int) -> None:
    """That a zlib stream ends with the checksum of what it holds."""
    file.seek(at)
    stream = zlib.decompressobj()
    try:
        left: bytes | None = file.read(count)
        while left and not stream.eof:
            stream.decompress(left, _PIECE_BYTES)
            left = stream.unconsumed_tail
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not stream.eof:
        raise ValueError("its compressed pixels end too early")


def complete_jpeg(file: IO[bytes]) -> bytes | None:
    """A JPEG with the end that it lacks, where not one pixel depends on what else is lost.

    Whatever else would follow, the pixels must come out the same, and each component must have
    been coded to its last bit.
    """
    file.seek(0)
    content = file.read()
    end = b"\xff\xd9"
    zeros = content.endswith(b"\0") and not content.endswith(b"\xff\0")
    if content.endswith(end) or zeros or not _all_scans(content):
        return None
    content = content.removesuffix(b"\xff")
    checksums: set[int] = set()
    for filling in (b"", bytes(64), b"\x55" * 64, b"\xa7" * 64):
        try:
            with Image.open(io.BytesIO(content + filling + end), formats=["JPEG"]) as image:
                checksums.add(zlib.crc32(np.asarray(image).tobytes()))
        except Exception:
            return None
        if len(checksums) > 1:
            return None
    return content + end


def unusual_jpeg(file: IO[bytes]) -> str:
    """That a JPEG is of a kind that decoders lack, in words; empty where it is not."""
    kind = _unusual_kind(file)
    return kind and (
        f"is a JPEG {kind}, which is not read; expected the usual kind, of 8 bits; save it as "
        "such anew"
    )


def _unusual_kind(file: IO[bytes]) -> str:
    file.seek(0)
    for marker, body in _segments(file.read()):
        if marker in _FRAMES and body:
            if marker in _LOSSLESS:
                return "without loss"
            return f"of {body[0]} bits" if body[0] != 8 else ""
        if marker == _JPEG_LS:
            return "of the kind JPEG-LS"
    return ""


_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_LOSSLESS = (0xC3, 0xC7, 0xCB, 0xCF)
_HUFFMAN = frozenset((0xC0, 0xC1, 0xC2))
_TABLES, _JPEG_LS, _SCAN, _END = 0xC4, 0xF7, 0xDA, 0xD9
_MARKER = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")


def _segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and content of each segment of a JPEG (ITU-T T.81, B.1), without the pixels."""
    return ((marker, body) for marker, body, _ in _segments_with_ends(content))


def _check_lost(content: bytes) -> None:
    if _LOST in content and _has_lost_part(content):
        raise ValueError("a part of its pixels is zeros")


def _has_lost_part(content: bytes) -> bool:
    """Whether a JPEG has zeros within its pixels that are no picture, as of a lost block of a disk.

    They are one where the code of zeros stands for no difference of DC, and for the end of a block
    or of several of AC: flat. In other tables (ITU-T T.81, C.2), as in those of annex K, they are
    the same difference or coefficient on and on. Of bits that refine a scan nothing can be said.
    """
    symbols: dict[int, int] = {}  # by table, what zeros stand for
    for marker, body, end in _segments_with_ends(content):
        if marker in _FRAMES - _HUFFMAN:
            return False
        if marker == _TABLES:
            at = 0
            while at + 17 < len(body):
                symbols[body[at]] = body[at + 17]
                at += 17 + sum(body[at + 1 : at + 17])
        elif marker == _SCAN and len(body) >= 4 + 2 * body[0]:
            first, last, precision = body[1 + 2 * body[0] : 4 + 2 * body[0]]
            tables = body[2 : 2 + 2 * body[0] : 2]
            dc = {symbols.get(table >> 4, 0) for table in tables} if first == 0 else set()
            ac = {symbols.get(0x10 | table & 15, 0) for table in tables} if last else set()
            is_flat = not any(dc) and not any(symbol & 15 or symbol == _SKIP for symbol in ac)
            if is_flat or precision >> 4:
                continue
            found = _MARKER.search(content, end)
            if _LOST in content[end : found.start() if found else None].rstrip(b"\0"):
                return True
    return False


def _segments_with_ends(content: bytes) -> Iterator[tuple[int, bytes, int]]:
    """The same, and where each ends."""
    at = 2
    while found := _MARKER.search(content, at):
        at = found.end()
        marker = content[at - 1]
        if marker == _END or at + 2 > len(content):
            yield marker, b"", at
            return  # what follows may be another picture, or a film
        (length,) = struct.unpack_from(">H", content, at)
        yield marker, content[at + 2 : at + length], at + length
        at += length


def _all_scans(content: bytes) -> bool:
    """Whether scans have begun of all bits of all components (ITU-T T.81, B.2)."""
    missing, _ = _missing_bits(content)
    return bool(missing) and not any(map(any, missing.values()))


def _lacks_scans(content: bytes) -> bool:
    """Whether a progressive JPEG ends before all its scans.

    Of components after the first, luma, no AC coefficient needs to come: one that is gray may
    have been spared them. The standard demands none at all, and encoders bring them all.
    """
    missing, ended = _missing_bits(content)
    return ended and any(
        any(bits) and not (number and set(bits[1:]) == {_UNSENT} and not bits[0])
        for number, bits in enumerate(missing.values())
    )


def _missing_bits(content: bytes) -> tuple[dict[int, list[int]], bool]:
    """Of each component, the bits to come of each of 64 coefficients; and whether it has ended."""
    missing: dict[int, list[int]] = {}
    for marker, body in _segments(content):
        if marker == _END:
            return missing, True
        if marker in _FRAMES and len(body) > 5:
            missing = {number: [_UNSENT] * 64 for number in body[6::3][: body[5]]}
        elif marker == _SCAN and body:
            count = body[0]
            if len(body) < 4 + 2 * count:
                return {}, False
            first, last, precision = body[1 + 2 * count : 4 + 2 * count]
            for number in body[1 : 1 + 2 * count : 2]:
                for k in range(first, min(last, 63) + 1):
                    if number in missing:
                        missing[number][k] = precision & 15
    return missing, False
