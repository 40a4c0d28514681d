"""The members of a tar archive, read in one pass and in bounded memory; nothing is extracted."""

import bz2
import codecs
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import IO, Any

from flowercolor.errors import one_line
from flowercolor.photos.formats import BEGINNINGS, begins_like

MAX_HEADER_BYTES = 1 << 20
"""Of one member: its name, and what programs note beside it."""

ZIP, PAGE, PHOTO = "a zip archive", "a web page", "a single photo"

_PIECE_BYTES = 1 << 20
_XZ_MEMORY_BYTES = 1 << 28
_BROKEN = (
    *(tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError),
    *(ValueError, RecursionError, AttributeError, TypeError),  # nonsense in a member's header
)


def members(
    path: Path, *, max_unpacked_bytes: int | None = None
) -> Iterator[tuple[tarfile.TarInfo, Callable[[], bytes]]]:
    """The members of an archive, as it is or packed by gzip, bzip2 or xz, in its order.

    tarfile reads a member's header of any length into memory; here it may have no more than
    `MAX_HEADER_BYTES`.

    Args:
        max_unpacked_bytes: What all of it may unpack to.

    Yields:
        A member, and a function that reads the content of a file, all of it, before the next
        member is asked for.

    Raises:
        tarfile.ReadError: It is not a whole archive, or goes beyond a limit; one line says how.
    """
    with _read_errors(), _unpacked(path) as unpacked:
        bounded = _Bounded(unpacked, max_unpacked_bytes)
        with tarfile.open(fileobj=bounded, mode="r|") as tar:
            while member := tar.next():
                bounded.header_bytes = None
                yield member, partial(_read, tar, member)
                _skip_to(tar)
                bounded.header_bytes = 0
                # Else all headers are kept, however many there are.
                tar.members.clear()  # type: ignore[attr-defined]
                tar.pax_headers.clear()  # type: ignore[attr-defined]
        # Tar takes a damaged header for its end. The checksum of what is packed does not, and it
        # is compared once all has been read.
        bounded.header_bytes = None
        while bounded.read(_PIECE_BYTES):
            pass


def kind_of(member: tarfile.TarInfo) -> str:
    """What a member is that is neither a file nor a folder."""
    if member.issym():
        return "link"
    return "hard link" if member.islnk() else "pipe" if member.isfifo() else "special file"


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    with _read_errors():
        file = tar.extractfile(member)
        return file.read() if file else b""


def _skip_to(tar: tarfile.TarFile) -> None:
    """Read on to the next header. tarfile would, for ever where a size leads beyond the end."""
    stream: Any = tar.fileobj
    while (left := tar.offset - stream.tell()) > 0:
        if not stream.read(min(left, _PIECE_BYTES)):
            raise tarfile.ReadError("unexpected end of data")


def is_packed(head: bytes) -> bool:
    """Whether an archive that begins with these bytes is packed, and so ends with a checksum."""
    return any(head.startswith(magic) for magic, _ in _PACKED)


def other_kind(path: Path) -> str:
    """What a file is that was given as a tar archive: `ZIP`, `PAGE`, `PHOTO`, or "no archive".

    "" for what begins as one, however it goes on, and for what is packed or empty.
    """
    with path.open("rb") as file:
        head = file.read(tarfile.BLOCKSIZE)
    if zipfile.is_zipfile(path):
        return ZIP
    if not head or is_packed(head) or head[257:].startswith(b"ustar"):
        return ""
    if head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"<"):
        return PAGE
    return PHOTO if begins_like(head, BEGINNINGS) else "no archive"


@contextmanager
def _read_errors() -> Iterator[None]:
    try:
        yield
    except tarfile.ReadError:
        raise
    except _BROKEN as error:
        raise tarfile.ReadError(one_line(error)) from error


@contextmanager
def _unpacked(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as file:
        head = file.read(6)
        file.seek(0)
        unpack = next((opened for magic, opened in _PACKED if head.startswith(magic)), nullcontext)
        with unpack(file) as unpacked:
            yield unpacked


class _Xz(io.RawIOBase):
    """What xz or LZMA packed. `lzma.open` takes as much memory as the file says it needs."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decoder = lzma.LZMADecompressor(memlimit=_XZ_MEMORY_BYTES)

    def read(self, size: int = -1, /) -> bytes:
        while True:
            packed = b""
            if self._decoder.eof:
                rest = self._decoder.unused_data or self._file.read(_PIECE_BYTES)
                if not (packed := rest.lstrip(b"\0")):
                    return b""
                self._decoder = lzma.LZMADecompressor(memlimit=_XZ_MEMORY_BYTES)
            elif self._decoder.needs_input and not (packed := self._file.read(_PIECE_BYTES)):
                raise EOFError("it ends too early")
            if content := self._decoder.decompress(packed, size):
                return content


_PACKED: tuple[tuple[bytes, Callable[[Any], Any]], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ", _Xz),
    (b"\x5d\0\0", _Xz),
)


class _Bounded(io.RawIOBase):
    """A file that refuses to give more of a header, and of all, than there may be."""

    def __init__(self, file: IO[bytes], max_bytes: int | None) -> None:
        self._file = file
        self._max_bytes = max_bytes
        self._all_bytes = 0
        self.header_bytes: int | None = 0

    def read(self, size: int = -1, /) -> bytes:
        content = self._file.read(size)
        self._all_bytes += len(content)
        if self._max_bytes is not None and self._all_bytes > self._max_bytes:
            raise tarfile.ReadError(f"it unpacks to more than {self._max_bytes >> 30} GB")
        if self.header_bytes is not None:
            self.header_bytes += len(content)
            if self.header_bytes > MAX_HEADER_BYTES:
                raise tarfile.ReadError(
                    f"a member's header has more than {MAX_HEADER_BYTES >> 20} MB"
                )
        return content
