"""What the directories of a TIFF say (TIFF 6.0, BigTIFF), read without decoding anything.

Pillow walks them too, in a time that grows with the square of their number, and refuses a file
for damage behind the page that is wanted.
"""

import struct
from contextlib import suppress
from typing import IO, NamedTuple

from PIL import Image, TiffImagePlugin

from flowercolor.errors import ImageError
from flowercolor.photos.formats import quiet_pillow, tiff_tag

RAW = (
    "is the raw file of a camera, which holds no more than a thumbnail as a picture; expected a "
    "developed photo; save it as TIFF or JPEG first"
)
UNUSUAL = (
    "is a damaged TIFF or one of an unusual kind; expected a whole one, gray or RGB of 8 or 16 "
    "bits; save it as such anew"
)

MOST_PAGES = 10_000

_SUBFILE_TYPE, _OLD_SUBFILE_TYPE, _PHOTOMETRIC, _SUB_IFDS = 254, 255, 262, 330
_DNG_VERSION, _CFA, _LINEAR_RAW = 50706, 32803, 34892
_RARE_COMPRESSIONS = (34887, 34925, 50000, 50001, 50002)  # LERC, LZMA, Zstandard, WebP, JPEG XL
_SHORT, _LONG8 = 3, (16, 18)
_MOST_BELOW = 16


class Page(NamedTuple):
    """One directory of the file's chain.

    Attributes:
        reduced: It is a smaller copy of another page, such as a thumbnail.
        raw: It holds, or leads to, what a camera's sensor saw, which is no picture yet.
    """

    reduced: bool
    raw: bool


def pages(file: IO[bytes]) -> list[Page]:
    """The pages in order, as far as the chain can be followed, at most `MOST_PAGES`."""
    file.seek(0)
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    big = head[2:4] in (b"+\0", b"\0+")
    offset_code, count_code, entry_bytes = ("Q", "Q", 20) if big else ("I", "H", 12)
    found: list[Page] = []
    seen: set[int] = set()

    def number(code: str, content: bytes) -> int:
        return int(struct.unpack_from(order + code, content)[0])

    def directory(offset: int) -> tuple[dict[int, int], list[int], int]:
        """First values by tag, where directories below it are, and where the next is."""
        file.seek(offset)
        count = number(count_code, file.read(struct.calcsize(count_code)))
        if count > 65535:
            raise ValueError("no directory")
        content = file.read(count * entry_bytes)
        after = file.read(struct.calcsize(offset_code))
        tags: dict[int, int] = {}
        below: list[int] = []
        for at in range(0, count * entry_bytes, entry_bytes):
            tag, kind, values = struct.unpack_from(f"{order}HH{offset_code}", content, at)
            value = content[at + entry_bytes - struct.calcsize(offset_code) :]
            tags[tag] = number("H", value) if kind == _SHORT else number("I", value)
            if tag == _SUB_IFDS:
                below = [tags[tag]]
                if values > 1:
                    file.seek(number(offset_code, value))
                    width = 8 if kind in _LONG8 else 4
                    listed = file.read(width * min(values, _MOST_BELOW))
                    code = "Q" if width == 8 else "I"
                    below = list(struct.unpack(f"{order}{len(listed) // width}{code}", listed))
        return tags, below, number(offset_code, after) if after else 0

    def is_raw(tags: dict[int, int]) -> bool:
        return tags.get(_PHOTOMETRIC) in (_CFA, _LINEAR_RAW) or _DNG_VERSION in tags

    try:
        offset = number(offset_code, head[8 if big else 4 :])
        while offset and offset not in seen and len(found) < MOST_PAGES:
            seen.add(offset)
            tags, below, offset = directory(offset)
            reduced = bool(tags.get(_SUBFILE_TYPE, 0) & 1) or tags.get(_OLD_SUBFILE_TYPE) == 2
            raw = is_raw(tags) or (reduced and bool(below))
            for place in below:
                with suppress(struct.error, OverflowError, ValueError):
                    raw = raw or is_raw(directory(place)[0])
            found.append(Page(reduced, raw))
    except (struct.error, OverflowError, OSError, ValueError):
        pass
    return found


def load(image: Image.Image) -> None:
    """Decode a TIFF, which checks the size limit and reads its EXIF, with warnings, only now.

    Raises:
        ImageError: Pillow's libtiff may be one without the codec for its kind of compression.
        OSError: It is damaged; and whatever else Pillow raises then.
    """
    try:
        with quiet_pillow():
            image.load()
    except OSError as error:
        if tiff_tag(image, TiffImagePlugin.COMPRESSION, 1) in _RARE_COMPRESSIONS:
            raise ImageError(UNUSUAL) from error
        raise


def select_page(image: Image.Image, file: IO[bytes]) -> int:
    """Have the image at its first page that is no thumbnail; how many there are of such.

    Raises:
        ImageError: It is a camera's raw file.
    """
    if image.format != "TIFF":
        return 1
    file.seek(0)
    if file.read(10)[8:] == b"CR":
        raise ImageError(RAW)
    listed = pages(file)
    whole = [number for number, page in enumerate(listed) if not page.reduced]
    if any(page.raw for page in listed if page.raw and not (page.reduced and whole)):
        raise ImageError(RAW)
    if whole and whole[0] > 0:
        with quiet_pillow():
            image.seek(whole[0])
    return max(1, len(whole))
