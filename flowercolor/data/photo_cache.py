"""Photos of an archive or a folder, decoded once.

In order, into one file of bytes in the cache, which later runs map into memory.
"""

import hashlib
import io
import json
import lzma
import os
import tarfile
import zipfile
import zlib
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from flowercolor import paths
from flowercolor.errors import DataError, SettingError
from flowercolor.files import is_file, is_folder, replacing, write_text
from flowercolor.photos import icc
from flowercolor.photos.color_space import profile_of
from flowercolor.photos.formats import quiet_pillow
from flowercolor.progress import Progress, Silent

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

_UNREAD = frozenset(
    {
        *(".arw", ".avif", ".cr2", ".cr3", ".dng", ".gif", ".heic", ".heif", ".j2k", ".jp2"),
        *(".jxl", ".nef", ".orf", ".psd", ".raf", ".rw2"),
    }
)
"""Endings of pictures that are not read for training."""

_READER_VERSION = 1
_CHUNK_BYTES = 1 << 22


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


def read_data(source: Path, size_px: int = 128, progress: Progress | None = None) -> Photos:
    """The photos of an archive (tar, compressed or not) or of a folder and those below it.

    Hidden files and folders in it, whose names begin with a dot, are passed over.

    The first call decodes them with OpenCV into the cache; later ones map that file and take
    well under a second. A cached file that was cut or altered is noticed and made anew.

    Args:
        source: The archive or folder. Folders are read in the order of their sorted paths.
        size_px: Side of the square that each photo is resized to, by `cv2.resize`.
        progress: Told of each photo, and of photos that are broken and left out.

    Raises:
        SettingError: `size_px` is less than 1.
        DataError: `source` is missing, is no archive, is cut off or holds no photo.
        StorageError: The cache cannot be written.
    """
    if size_px < 1:
        raise SettingError(f"size_px is {size_px}; expected 1 or more")
    progress = progress or Silent()
    pictures = None
    if is_folder(source):
        pictures, unread = _pictures_below(source)
        _note_unread(source, unread, progress)
    fingerprint = _fingerprint(source, pictures)
    pixels = paths.cache_dir() / "photos" / f"{fingerprint}-{size_px}-v{_READER_VERSION}.u8"
    index = pixels.with_suffix(".json")
    if not _is_whole(pixels, index):
        _decode_all(source, pictures, size_px, pixels, index, progress=progress)
    listing = json.loads(index.read_text(encoding="utf-8"))
    shape = (len(listing["names"]), size_px, size_px, 3)
    return Photos(
        source=source,
        names=tuple(listing["names"]),
        # Copy-on-write: torch wants memory that could be written, the file must not change.
        rgb=np.memmap(pixels, dtype=np.uint8, mode="c", shape=shape),
        sizes_px=np.array(listing["sizes_px"], dtype=np.int32),
        fingerprint=fingerprint,
    )


def check_outside(folder: Path, source: Path) -> None:
    """Make sure that what is written into a folder does not come to lie among the photos.

    Args:
        folder: Where pictures are to be written.
        source: The archive or folder of the photos.

    Raises:
        SettingError: They would, and pass for photos the next time.
    """
    if is_folder(source) and folder.resolve().is_relative_to(source.resolve()):
        raise SettingError(
            f"{folder}: lies among the photos of {source}, and what is drawn there would pass for "
            "one of them; name a folder elsewhere"
        )


def _pictures_below(folder: Path) -> tuple[list[Path], list[Path]]:
    """Its picture files, relative to it and sorted, and those of kinds that are not read."""
    names = sorted(path.relative_to(folder) for path in folder.rglob("*"))
    pictures = [name for name in names if _is_picture(name) and is_file(folder / name)]
    unread = [name for name in names if _is_picture(name, _UNREAD) and is_file(folder / name)]
    return pictures, unread


def _note_unread(source: Path, unread: Sequence[Path], progress: Progress) -> None:
    if unread:
        kinds = ", ".join(sorted({path.suffix.lower() for path in unread}))
        files = "file of a kind" if len(unread) == 1 else "files of kinds"
        progress.note(
            f"{source}: {len(unread):,} {files} not read for training ({kinds}), left out; save "
            "them as JPEG"
        )


def _is_picture(path: Path, suffixes: Collection[str] = SUFFIXES) -> bool:
    """Whether a path within the source has one of the endings, and no part of it is hidden.

    OpenCV decodes fewer formats than `formats.is_picture` knows.
    """
    hidden = any(part.startswith(".") and part != ".." for part in path.parts)
    return path.suffix.lower() in suffixes and not hidden


def _fingerprint(source: Path, pictures: list[Path] | None) -> str:
    """A name for the source's content, from what is cheap to see of it.

    Here and below, `pictures` are those of a folder, and None for an archive.
    """
    digest = hashlib.blake2b(digest_size=12)
    if pictures is not None:
        for picture in pictures:
            stat = (source / picture).stat()
            name = picture.as_posix()
            digest.update(os.fsencode(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\0"))
    elif is_file(source):
        with _readable(source) as file:
            compressed = file.read(4).startswith((b"\x1f\x8b", b"BZh", b"\xfd7zX"))
            size = file.seek(0, os.SEEK_END)
            # The ends of a compressed archive hold its first photos and its checksum. A plain one
            # has no checksum.
            ends = (0, max(0, size - _CHUNK_BYTES))
            for start in ends if compressed else range(0, size, _CHUNK_BYTES):
                file.seek(start)
                digest.update(file.read(_CHUNK_BYTES))
            digest.update(str(size).encode())
    else:
        raise DataError(
            f"{source}: no such file or folder; expected an archive of photos or a folder "
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


def _is_whole(pixels: Path, index: Path) -> bool:
    if not (is_file(pixels) and is_file(index)):  # reading a pipe would never end
        return False
    try:
        listing = json.loads(index.read_text(encoding="utf-8"))
        crc = _crc32_listed(listing["names"], listing["sizes_px"], _crc32(pixels))
        return bool(crc == listing["crc32"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


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
    size_px: int,
    pixels: Path,
    index: Path,
    *,
    progress: Progress,
) -> None:
    names: list[str] = []
    sizes_px: list[tuple[int, int]] = []
    crc = 0
    count = None if pictures is None else len(pictures)
    workers = os.cpu_count() or 1
    # OpenCV decodes outside the interpreter's lock, so threads are as good as processes
    # here and need no copies. A short queue keeps the memory small.
    waiting: deque[tuple[str, Future[_Decoded | None]]] = deque()
    with (
        ThreadPoolExecutor(workers) as pool,
        progress.task(f"Reading {source.name}", count, "photos") as task,
        replacing(pixels) as temporary,
        temporary.open("wb") as file,
    ):

        def take() -> None:
            nonlocal crc
            name, future = waiting.popleft()
            decoded = future.result()
            task.advance()
            if decoded is None:
                progress.note(f"{source}: {name} is not a readable picture; left out")
                return
            square, size = decoded
            names.append(name)
            sizes_px.append(size)
            raw = square.tobytes()
            crc = zlib.crc32(raw, crc)
            file.write(raw)

        unread: list[Path] = []
        for name, content in _contents(source, pictures, unread):
            waiting.append((name, pool.submit(_decode, content, size_px)))
            if len(waiting) > 8 * workers:
                take()
        while waiting:
            take()
        _note_unread(source, unread, progress)
        if not names:
            raise DataError(
                f"{source}: no photos found; expected {', '.join(sorted(SUFFIXES))} files "
                "that are not hidden nor in a hidden folder"
            )
    crc = _crc32_listed(names, sizes_px, crc)
    write_text(index, json.dumps({"names": names, "sizes_px": sizes_px, "crc32": crc}))


_Decoded = tuple[npt.NDArray[np.uint8], tuple[int, int]]


def _decode(content: bytes, size_px: int) -> _Decoded | None:
    """RGB uint8 [S, S, 3] and the height and width before; None for what is no picture."""
    try:
        bgr = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    if bgr is None:
        return None
    height, width = bgr.shape[:2]
    square = cv2.cvtColor(cv2.resize(bgr, (size_px, size_px)), cv2.COLOR_BGR2RGB)
    return _to_srgb(square.astype(np.uint8, copy=False), content), (height, width)


def _to_srgb(rgb: npt.NDArray[np.uint8], content: bytes) -> npt.NDArray[np.uint8]:
    """Pixels of a photo in sRGB, as `colorize` reads it; OpenCV leaves color profiles aside."""
    try:
        with quiet_pillow(), io.BytesIO(content) as file, Image.open(file) as image:
            profile = profile_of(image, image.getexif(), file)
            if profile is None or image.mode not in ("RGB", "RGBA", "P"):
                return rgb
            _, transform = icc.to_srgb(image, profile, "RGB", deep=False)
            if transform is None:
                return rgb
            return np.asarray(transform.apply(Image.fromarray(rgb)))
    except Exception:
        return rgb


def _contents(
    source: Path, pictures: list[Path] | None, unread: list[Path]
) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each picture file, in order; others of an archive go into `unread`."""
    if pictures is not None:
        for picture in pictures:
            path = source / picture
            try:
                content = path.read_bytes()
            except OSError as error:
                raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
            yield picture.as_posix(), content
        return
    try:
        with tarfile.open(source, "r:*") as archive:
            for member in archive:
                if member.isfile() and _is_picture(Path(member.name), _UNREAD):
                    unread.append(Path(member.name))
                if member.isfile() and _is_picture(Path(member.name)):
                    file = archive.extractfile(member)
                    assert file is not None  # it is a file
                    yield member.name, file.read()
            # Tar takes a damaged header for its end. The checksum of what is packed does
            # not, and it is compared once all has been read.
            assert archive.fileobj is not None  # it is open
            while archive.fileobj.read(_CHUNK_BYTES):
                pass
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        if zipfile.is_zipfile(source):
            raise DataError(
                f"{source}: is a zip archive; expected a tar archive or a folder of photos: unpack "
                "it and name the folder"
            ) from error
        reason = str(error).partition("\n")[0].rstrip(":")
        raise DataError(
            f"{source}: not a whole tar archive ({reason}); expected a .tgz of photos: "
            "copy or download it again"
        ) from error
