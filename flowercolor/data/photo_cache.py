"""Photos of an archive or a folder, decoded once.

In order, into one file of bytes in the cache, which later runs read.
"""

import hashlib
import json
import math
import os
import tarfile
import threading
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from flowercolor import paths
from flowercolor.config import in_range
from flowercolor.data.archive import PAGE, PHOTO, ZIP, is_packed, kind_of, members, other_kind
from flowercolor.data.photo_files import (
    SUFFIXES,
    UNREAD,
    is_picture,
    no_files_in_words,
    pictures_below,
    unread_in_words,
)
from flowercolor.errors import DataError, ImageError
from flowercolor.files import (
    can_be_read,
    is_file,
    is_folder,
    is_there,
    named_path,
    read_json,
    replacing,
    what_is_missing,
    write_text,
)
from flowercolor.memory_budget import MAX_PIXELS, check_file_bytes
from flowercolor.photos import icc
from flowercolor.photos.color_space import profile_of
from flowercolor.photos.formats import quiet_pillow
from flowercolor.photos.integrity import has_gray_corner
from flowercolor.photos.metadata import exif_of, software_of
from flowercolor.photos.reader import decode_bgr, decode_with, load
from flowercolor.progress import Progress, Silent
from flowercolor.provenance import is_record
from flowercolor.runs import check_photos_folder

_DECODED = ("BMP", "JPEG", "MPO", "PNG", "TIFF", "WEBP")

_WAYS = {
    ZIP: ": unpack it and name the folder",
    PAGE: ": download the file itself",
    PHOTO: ": name its folder",
}
_READER_VERSION = 1
_CHUNK_BYTES = 1 << 22
_WAITING_BYTES = 1 << 28  # of files that are read and not decoded yet
_LARGE_PIXELS = 24_000_000
_MAX_SIDE_PX = 1_000_000  # of OpenCV
_one_large = threading.Lock()  # of which some at a time would fill the memory


@dataclass(frozen=True)
class Photos:
    """Decoded photos, in the order of their archive.

    Attributes:
        source: The archive or folder they came from.
        names: The N member names or relative paths.
        rgb: uint8 RGB [N, S, S, 3], squeezed to a square.
        sizes_px: int32 [N, 2], height and width before that.
        fingerprint: Names the source's content; equal sources have equal ones.
    """

    source: Path
    names: tuple[str, ...]
    rgb: npt.NDArray[np.uint8]
    sizes_px: npt.NDArray[np.int32]
    fingerprint: str

    @property
    def gray(self) -> npt.NDArray[np.uint8]:
        """uint8 [N, S, S], the gray version of `rgb` as OpenCV makes it; made at each call."""
        return np.stack([cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in self.rgb])


def read_data(
    source: str | Path,
    size_px: int = 128,
    progress: Progress | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
) -> Photos:
    """The photos of an archive (tar, compressed or not) or of a folder and those below it.

    Passed over in it are hidden files and folders, whose names begin with a dot, and waste bins and
    previews, and what runs and evaluations left. A photo that cannot be read, or asks for too much
    memory, is left out, and so is a picture that flowercolor colored.

    The first call decodes them with OpenCV into the cache; later ones read that file and take
    a second or less. A cached file that was cut or altered is noticed and made anew.

    Args:
        source: The archive or folder. Folders are read in the order of their sorted paths.
        size_px: Side of the square that each photo is resized to, by `cv2.resize`.
        progress: Told of each photo, and of photos that are broken and left out.
        max_pixels: Photos are left out that have more, or half of that where each takes twice the
            memory.

    Raises:
        SettingError: `size_px` is less than 1, or `source` an empty name.
        DataError: `source` is missing, no archive, cut off, without photos, or left by a run.
        StorageError: The cache cannot be written.
    """
    source, size_px = named_path(source, "source"), in_range("size_px", size_px, int, 1)
    progress = progress or Silent()
    pictures = None
    if is_folder(source):
        check_photos_folder(source)
        pictures, unread = pictures_below(source, progress)
        if kinds := unread_in_words(unread):
            progress.note(f"{source}: {kinds}; left out")
    fingerprint = _fingerprint(source, pictures)
    name = f"{fingerprint}-{size_px}-v{_READER_VERSION}"
    if max_pixels != MAX_PIXELS:  # then they may be others
        name += f"-{max_pixels}"
    pixels = paths.cache_dir() / "photos" / f"{name}.u8"
    index = pixels.with_suffix(".json")
    listing = _cached(pixels, index)
    for reason in (listing or {}).get("left_out") or ():
        progress.note(f"{source}: {reason}; left out")
    if not listing:
        listing = _decode_all(
            source, pictures, pixels, size_px=size_px, max_pixels=max_pixels, progress=progress
        )
        write_text(index, json.dumps(listing))
    if count := listing["results"]:
        progress.note(f"{source}: earlier results among the photos, left out: {count:,}")
    shape = (len(listing["names"]), size_px, size_px, 3)
    return Photos(
        source=source,
        names=tuple(listing["names"]),
        rgb=_read_pixels(pixels, shape),
        sizes_px=np.array(listing["sizes_px"], dtype=np.int32),
        fingerprint=fingerprint,
    )


def _read_pixels(path: Path, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """The pixels in a file of the cache, in memory where they take no large part of it."""
    # Whoever cuts a mapped file kills the process, but on Windows, which does not let them.
    if os.name == "nt" or 4 * math.prod(shape) > os.sysconf("SC_PAGE_SIZE") * os.sysconf(
        "SC_PHYS_PAGES"
    ):
        return np.memmap(path, dtype=np.uint8, mode="c", shape=shape)
    rgb = np.fromfile(path, np.uint8)
    if rgb.size != math.prod(shape):
        raise DataError(f"{path}: has been cut just now; run the command again")
    return rgb.reshape(shape)


def _fingerprint(source: Path, pictures: list[Path] | None) -> str:
    """A name for the content of a folder of pictures, or of an archive, from what is cheap."""
    digest = hashlib.blake2b(digest_size=12)
    if pictures is not None:
        for picture in pictures:
            digest.update(os.fsencode(f"{picture.as_posix()}\0"))
            with suppress(OSError):  # a link that leads nowhere
                stat = (source / picture).stat()
                digest.update(f"{stat.st_size}\0{stat.st_mtime_ns}\0".encode())
    elif is_file(source):
        with _readable(source) as file:
            compressed = is_packed(file.read(6))
            size = file.seek(0, os.SEEK_END)
            # The ends of a compressed archive hold its first photos and its checksum. A plain one
            # has no checksum.
            ends = (0, max(0, size - _CHUNK_BYTES))
            for start in ends if compressed else range(0, size, _CHUNK_BYTES):
                file.seek(start)
                digest.update(file.read(_CHUNK_BYTES))
            digest.update(str(size).encode())
    else:
        found = what_is_missing(source) if can_be_read(source) else "is a pipe or a device"
        raise DataError(
            f"{source}: {found}; expected an archive of photos or a folder "
            "of them (`flowercolor download` fetches the Oxford 102 flowers)"
        )
    return digest.hexdigest()


def _readable(source: Path) -> BinaryIO:
    try:
        return source.open("rb")
    except OSError as error:
        raise DataError(
            f"{source}: cannot be opened: {error.strerror}; expected an archive that may be read"
        ) from error


def _cached(pixels: Path, index: Path) -> dict[str, Any] | None:
    """What is listed beside cached pixels; None where either is missing, cut or altered."""
    listing = read_json(index)
    with suppress(OSError, KeyError, TypeError, AttributeError):
        names, sizes_px, left_out = listing["names"], listing["sizes_px"], listing.get("left_out")
        is_whole = is_file(pixels) and isinstance(left_out or [], list)  # a pipe would never end
        is_whole &= isinstance(listing["results"], int)  # version 0.1.0 has them among the photos
        if is_whole and listing["crc32"] == _crc32_listed(names, sizes_px, _crc32(pixels)):
            return dict(listing)
    return None


def _crc32(path: Path) -> int:
    crc = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            crc = zlib.crc32(chunk, crc)
    return crc


def _crc32_listed(names: list[str], sizes_px: list[tuple[int, int]], crc: int) -> int:
    return zlib.crc32(json.dumps([names, sizes_px]).encode(), crc)


def _decode_all(
    source: Path,
    pictures: list[Path] | None,
    pixels: Path,
    *,
    size_px: int,
    max_pixels: int,
    progress: Progress,
) -> dict[str, Any]:
    names: list[str] = []
    sizes_px: list[tuple[int, int]] = []
    left_out: list[str] = []
    results = crc = 0
    count = None if pictures is None else len(pictures)
    workers = os.cpu_count() or 1
    # OpenCV decodes outside the interpreter's lock, so threads are as good as processes
    # here and need no copies. A short queue keeps the memory small.
    waiting: deque[tuple[str, int, Future[_Decoded | ImageError | None]]] = deque()
    waiting_bytes = 0
    with (
        ThreadPoolExecutor(workers) as pool,
        progress.task(f"Reading {source.name}", count, "photos") as task,
        replacing(pixels) as temporary,
        temporary.open("wb") as file,
    ):

        def take() -> None:
            nonlocal crc, results, waiting_bytes
            name, size_bytes, future = waiting.popleft()
            decoded = future.result()
            waiting_bytes -= size_bytes
            task.advance()
            if isinstance(decoded, ImageError):
                left_out.append(str(decoded))
                progress.note(f"{source}: {decoded}; left out")
                return
            if decoded is None:
                results += 1
                return
            square, size = decoded
            names.append(name)
            sizes_px.append(size)
            raw = square.tobytes()
            crc = zlib.crc32(raw, crc)
            file.write(raw)

        unread: list[Path] = []
        no_files: Counter[str] = Counter()
        for name, content in _contents(source, pictures, max_pixels, unread, no_files):
            size_bytes = len(content) if isinstance(content, bytes) else 0
            future = pool.submit(_decode, content, name, size_px, max_pixels)
            waiting.append((name, size_bytes, future))
            waiting_bytes += size_bytes
            del content
            while len(waiting) > 8 * workers or (waiting and waiting_bytes > _WAITING_BYTES):
                take()
        while waiting:
            take()
        others = no_files_in_words(no_files)
        if others and not (names or left_out or results):
            raise DataError(
                f"{source}: no photos found, but {others}; expected the photos themselves"
            )
        of_archive = [words for words in (unread_in_words(unread), others) if words]
        for words in of_archive:
            progress.note(f"{source}: {words}; left out")
        if results and not names:
            raise DataError(
                f"{source}: holds earlier results alone ({results:,}); expected photos in their "
                "own colors"
            )
        if left_out and not names:
            count = len(left_out)
            found = "its one photo was" if count == 1 else f"all {count:,} photos were"
            such = ":" if count == 1 else ", such as"
            raise DataError(f"{source}: {found} left out{such} {left_out[0]}")
        if not names:
            raise DataError(
                f"{source}: no photos found; expected {', '.join(sorted(SUFFIXES))} files "
                "that are not hidden nor in a hidden folder"
            )
    return {
        "names": names,
        "sizes_px": sizes_px,
        "crc32": _crc32_listed(names, sizes_px, crc),
        "left_out": [*left_out, *of_archive],
        "results": results,
    }


_Decoded = tuple[npt.NDArray[np.uint8], tuple[int, int]]


def _decode(
    content: bytes | ImageError, name: str, size_px: int, max_pixels: int
) -> _Decoded | ImageError | None:
    """RGB uint8 [S, S, 3] and the height and width before; None of a result; why there is none."""
    if isinstance(content, ImageError):
        return content
    try:
        decode = partial(_square, size_px=size_px)
        return decode_with(decode, content, name, max_pixels=max_pixels)
    except ImageError as error:
        return error


def _square(image: Image.Image, file: IO[bytes], _pages: int, *, size_px: int) -> _Decoded | None:
    if image.format not in _DECODED:
        raise ImageError(
            f"is a picture of the kind {image.format}; expected one of "
            f"{', '.join(_DECODED)}; save it as JPEG"
        )
    if max(image.size) > _MAX_SIDE_PX:
        raise ImageError(
            f"has {max(image.size):,} pixels on a side; expected at most {_MAX_SIDE_PX:,}; "
            "reduce it first"
        )
    if is_record(software_of(image)):
        return None
    large = image.width * image.height > _LARGE_PIXELS
    with _one_large if large else nullcontext():
        # OpenCV makes up what a damaged file of these lacks, and mostly says so of the others.
        by_pillow = image.format not in ("JPEG", "MPO", "PNG")
        if by_pillow:
            load(image, file)
            image.im = Image.new(image.mode, (1, 1)).im  # gives back the memory
        file.seek(0)
        bgr = decode_bgr(file.read(), image.tell(), cv2.IMREAD_COLOR)
        if bgr is None and by_pillow:  # which has shown it whole
            raise ImageError(
                f"is a {image.format} of an unusual kind, which is not read for training; save it "
                "as JPEG or PNG"
            )
        if bgr is None:
            raise ValueError("its pixels cannot be decoded")
        height, width = bgr.shape[:2]
        square = cv2.resize(bgr, (size_px, size_px))
    if image.format in ("JPEG", "MPO") and has_gray_corner(bgr):  # where something may be missing
        load(image, file)
    rgb = cv2.cvtColor(square, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
    return _to_srgb(rgb, image, file), (height, width)


def _to_srgb(
    rgb: npt.NDArray[np.uint8], image: Image.Image, file: IO[bytes]
) -> npt.NDArray[np.uint8]:
    """Pixels of a photo in sRGB, as `colorize` reads it; OpenCV leaves color profiles aside."""
    if image.mode not in ("RGB", "RGBA", "P"):
        return rgb
    try:
        with quiet_pillow():
            profile = profile_of(image, exif_of(image), file)
        _, transform = icc.to_srgb(image, profile, "RGB", deep=False)
        return rgb if transform is None else np.asarray(transform.apply(Image.fromarray(rgb)))
    except ImageError:
        raise
    except Exception:  # a broken one counts as none
        return rgb


def _contents(
    source: Path,
    pictures: list[Path] | None,
    max_pixels: int,
    unread: list[Path],
    no_files: Counter[str],
) -> Iterator[tuple[str, bytes | ImageError]]:
    """Name and bytes of each picture, or why there are none; others of an archive in the last two.

    Args:
        unread: To take the names of pictures of other kinds.
        no_files: To count, by kind, what has a picture's name and is no file.
    """
    if pictures is not None:
        for picture in pictures:
            path, name = source / picture, picture.as_posix()
            if can_be_read(path):
                size_bytes = path.stat().st_size if is_there(path) else 0
                yield name, _content(name, size_bytes, path.read_bytes, max_pixels)
            else:
                yield name, ImageError(f"{name}: is a pipe or a device; expected a file")
        return
    try:
        for member, read in members(source):
            path = Path(member.name)
            if member.isreg() and is_picture(path):
                yield member.name, _content(member.name, member.size, read, max_pixels)
            elif member.isreg() and is_picture(path, UNREAD):
                unread.append(path)
            elif not member.isdir() and is_picture(path):
                no_files[kind_of(member)] += 1
    except tarfile.ReadError as error:
        if kind := other_kind(source):
            said = f"{source}: is {kind}; expected a tar archive or a folder of photos"
            raise DataError(said + _WAYS.get(kind, "")) from error
        raise DataError(
            f"{source}: not a whole tar archive ({error}); expected a .tgz of photos: copy or "
            "download it again"
        ) from error


def _content(
    name: str, size_bytes: int, read: Callable[[], bytes], max_pixels: int
) -> bytes | ImageError:
    try:
        check_file_bytes(size_bytes, max_pixels)
        return read()
    except OSError as error:
        return ImageError(f"{name}: cannot be read: {error.strerror or error}")
    except ImageError as error:
        return ImageError(f"{name}: {error}")
