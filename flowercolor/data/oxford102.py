"""The Oxford 102 flowers archive: fetched, or taken from a file, and always verified.

The archive has been repacked upstream before. Its published MD5 is therefore only the quick
proof; where it does not fit, the SHA-256 of each of the 8,189 photos decides.

The photos: Nilsback and Zisserman, "Automated flower classification over a large number of
classes", 2008.
"""

import hashlib
import json
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Literal

from flowercolor import paths
from flowercolor.data.archive import ZIP, members, other_kind
from flowercolor.data.download import Limits, discard, fetch, without_password
from flowercolor.errors import DownloadError, SettingError, StorageError
from flowercolor.files import (
    is_file,
    is_there,
    locked,
    read_json,
    replacing,
    resolved,
    storage_errors,
    write_text,
)
from flowercolor.progress import Progress, Silent

MAX_MEMBER_BYTES = 64 * 2**20
MAX_UNPACKED_BYTES = 4 * 2**30
"""What an archive may unpack to; the published one has 345 MB in photos of some 40 KB."""

_md5 = partial(hashlib.md5, usedforsecurity=False)  # a FIPS build of Python has no other MD5


@dataclass(frozen=True)
class Archive:
    """A published `.tgz` of photos, and what proves that a file is it.

    Attributes:
        md5: Its published MD5, 32 lower-case hex digits.
        photos: SHA-256 of each photo, 32 bytes, by member name.
    """

    url: str
    md5: str
    photos: Mapping[str, bytes] = field(repr=False)


_DIGESTS = resources.files("flowercolor").joinpath("data", "oxford102.sha256").read_bytes()
"""The shipped list: 32 bytes a photo, in name order."""

OXFORD_102 = Archive(
    url="https://www.robots.ox.ac.uk/~vgg/data/flowers/102/102flowers.tgz",
    md5="52808999861908f626f3c1f4e79d11fa",
    photos={
        f"jpg/image_{start // 32 + 1:05}.jpg": _DIGESTS[start : start + 32]
        for start in range(0, len(_DIGESTS), 32)
    },
)


@dataclass(frozen=True)
class Downloaded:
    """What `download_archive` came to.

    Attributes:
        path: The verified archive.
        already_there: It stood there before; nothing was fetched or copied.
        verified_by: "md5" where the published MD5 fits; "photos" where it does not, but the
            archive holds exactly the published photos.
    """

    path: Path
    already_there: bool
    verified_by: Literal["md5", "photos"]
    size_bytes: int


def download_archive(
    path: Path | None = None,
    *,
    archive: Archive = OXFORD_102,
    url: str | None = None,
    from_file: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
    limits: Limits | None = None,
) -> Downloaded:
    """A verified archive at `path`: the one already there, or a new one.

    What is already there is hashed once and then known by its size and time, so asking again
    costs nothing. A new archive takes its place at `path` only once it is verified; a download
    cut short waits beside it as `<path>.part`, and the next call goes on from there.

    Args:
        path: Where the archive is to stand; `paths.archive_path()` where not given.
        from_file: A file to copy instead of fetching. May be `path` itself.
        force: Fetch or copy although a file is there already; believe no earlier check.

    Raises:
        DownloadError: It cannot be fetched or read, or does not hold the published photos.
        SettingError: Both `url` and `from_file` are given.
        StorageError: The disk is full or writing is not allowed, what stands at `path` is no
            file, or another process downloads to it.
    """
    if from_file is not None and url is not None:
        given = f"`url` {without_password(url)} and `from_file` {from_file}"
        raise SettingError(f"both {given} are given; give one")
    if from_file is not None and not is_file(from_file):
        raise DownloadError(f"{from_file}: is not a file; give the path of the archive itself")
    path = path or paths.archive_path()
    progress, limits = progress or Silent(), limits or Limits()
    if is_there(path) and not is_file(path):
        raise StorageError(f"{path}: is no regular file; expected the archive, or nothing: move it")
    with storage_errors(path):
        replace = force and not (from_file and path.exists() and from_file.samefile(path))
    if is_there(path) and not replace:
        return _already_there(path, archive, force, progress)
    with locked(path.with_name(f".{path.name}.lock"), f"downloads {path.name} to it already"):
        if is_there(path) and not replace:  # since a moment ago
            return _already_there(path, archive, force, progress)
        if from_file is not None:
            verified_by = _verify(from_file, archive, progress, limits)
            _copy(from_file, path, progress)
        else:
            url = archive.url if url is None else url
            part = path.with_name(f"{path.name}.part")
            fetch(url, part, progress, limits)
            try:
                shown = without_password(url)
                verified_by = _verify(part, archive, progress, limits, shown=shown)
            except DownloadError:
                discard(part)
                raise
            with storage_errors(path):
                part.replace(path)
            discard(part)
        _remember(path, archive, verified_by)
    return Downloaded(path, False, verified_by, path.stat().st_size)


def _already_there(path: Path, archive: Archive, force: bool, progress: Progress) -> Downloaded:
    verified_by = None if force else _recall(path, archive)
    if not verified_by:
        try:
            verified_by = _verify(path, archive, progress, Limits())
        except DownloadError as error:
            raise DownloadError(
                f"{error}; `flowercolor download --force` puts a new one in its place"
            ) from error
        _remember(path, archive, verified_by)
    return Downloaded(path, True, verified_by, path.stat().st_size)


def _copy(source: Path, path: Path, progress: Progress) -> None:
    size_bytes = source.stat().st_size
    with (
        source.open("rb") as original,
        replacing(path) as temporary,
        temporary.open("wb") as copy,
        progress.task("Copying", size_bytes, "B") as task,
    ):
        while chunk := original.read(1 << 20):
            copy.write(chunk)
            task.advance(len(chunk))


def _verify(
    path: Path, archive: Archive, progress: Progress, limits: Limits, shown: str | None = None
) -> Literal["md5", "photos"]:
    """What proves that `path` is `archive`. Errors call it `shown`."""
    shown = shown or str(path)
    try:
        if path.stat().st_size > limits.max_bytes:
            raise DownloadError(
                f"{shown}: has {path.stat().st_size / 1e6:,.0f} MB; expected the archive, which "
                f"has 345; `flowercolor train --data PATH` trains on any archive"
            )
        with path.open("rb") as file:
            if hashlib.file_digest(file, _md5).hexdigest() == archive.md5:
                return "md5"
    except OSError as error:
        raise DownloadError(f"{shown}: cannot be read: {error.strerror or error}") from error

    names = set()
    same = other = 0
    with progress.task("Checking", len(archive.photos), "photos") as task:
        for name, digest in _members(path, archive, shown):
            if name in archive.photos and name not in names:
                names.add(name)
                same += digest == archive.photos[name]
            else:
                other += 1
            task.advance()
    if same == len(archive.photos) and not other:
        return "photos"
    raise DownloadError(
        f"{shown}: does not hold the {len(archive.photos):,} published photos: {same:,} are the "
        f"same, {len(names) - same:,} differ, {len(archive.photos) - len(names):,} are missing, "
        f"{other:,} other files are there; `flowercolor train --data PATH` trains on any archive"
    )


def _members(path: Path, archive: Archive, shown: str) -> Iterator[tuple[str, bytes]]:
    """Name and SHA-256 of all in a `.tgz` but folders; a link has no content, and no SHA-256."""
    try:
        for member, read in members(path, max_unpacked_bytes=MAX_UNPACKED_BYTES):
            if member.size > MAX_MEMBER_BYTES:
                raise tarfile.ReadError(f"a member has more than {MAX_MEMBER_BYTES >> 20} MB")
            if not member.isdir():
                digest = hashlib.sha256(read()).digest() if member.isreg() else b""
                yield member.name.removeprefix("./"), digest
    except tarfile.ReadError as error:
        if kind := other_kind(path):
            way = f"download {archive.url} itself, in a browser if it asks for something"
            if kind == ZIP:
                way = "unpack it, and learn from it by `flowercolor train --data FOLDER`"
            raise DownloadError(
                f"{shown}: is {kind}; expected the published .tgz: {way}"
            ) from error
        raise DownloadError(
            f"{shown}: is not a whole .tgz archive: {error}; "
            "damaged, cut short, or of another kind: get it again"
        ) from error


def _seal(path: Path, archive: Archive) -> dict[str, str | int]:
    """What shows, without reading it, that a file is still the one that was verified."""
    stat = path.stat()
    return {
        "path": str(resolved(path)),
        "size_bytes": stat.st_size,
        "mtime_ns": stat.st_mtime_ns,
        "published_md5": archive.md5,
    }


def _seal_path(path: Path) -> Path:
    return paths.cache_dir() / f"{path.name}.verified.json"


def _recall(path: Path, archive: Archive) -> Literal["md5", "photos"] | None:
    """What proved `path` before; None where nothing did, or it has changed since."""
    remembered, seal = read_json(_seal_path(path)), _seal(path, archive)
    kinds: tuple[Literal["md5", "photos"], ...] = ("md5", "photos")
    return next((kind for kind in kinds if remembered == seal | {"verified_by": kind}), None)


def _remember(path: Path, archive: Archive, verified_by: str) -> None:
    with suppress(StorageError):  # all it costs is to hash the archive again
        seal = _seal(path, archive) | {"verified_by": verified_by}
        write_text(_seal_path(path), json.dumps(seal, indent=2) + "\n")
