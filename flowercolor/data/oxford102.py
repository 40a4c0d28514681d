"""The Oxford 102 flowers archive: fetched, or taken from a file, and always verified.

The archive has been repacked upstream before. Its published MD5 is therefore only the quick
proof; where it does not fit, the SHA-256 of each of the 8,189 photos decides.

The photos: Nilsback and Zisserman, "Automated flower classification over a large number of
classes", 2008.
"""

import gzip
import hashlib
import json
import re
import socket
import ssl
import tarfile
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib import resources
from itertools import chain
from pathlib import Path
from typing import Literal

import requests

from flowercolor import paths
from flowercolor.errors import DownloadError, SettingError, StorageError
from flowercolor.files import is_file, replacing, storage_errors, write_text
from flowercolor.progress import Progress, Silent

CHUNK_BYTES = 64 * 1024  # also what a broken connection can lose: only whole chunks arrive
RETRY_WAITS_S = (1.0, 2.0, 4.0, 8.0)
GZIP_MAGIC = b"\x1f\x8b"

_md5 = partial(hashlib.md5, usedforsecurity=False)  # a FIPS build of Python has no other MD5


@dataclass(frozen=True)
class Archive:
    """A published `.tgz` of photos, and what proves that a file is it.

    Attributes:
        url: Where it is published.
        md5: Its published MD5, 32 lower-case hex digits.
        photos: SHA-256 of each photo, 32 bytes, by member name.
    """

    url: str
    md5: str
    photos: Mapping[str, bytes] = field(repr=False)


def _oxford_102_photos() -> dict[str, bytes]:
    """The shipped list: 32 bytes a photo, in name order from `jpg/image_00001.jpg`."""
    digests = resources.files("flowercolor").joinpath("data", "oxford102.sha256").read_bytes()
    return {
        f"jpg/image_{start // 32 + 1:05}.jpg": digests[start : start + 32]
        for start in range(0, len(digests), 32)
    }


OXFORD_102 = Archive(
    url="https://www.robots.ox.ac.uk/~vgg/data/flowers/102/102flowers.tgz",
    md5="52808999861908f626f3c1f4e79d11fa",
    photos=_oxford_102_photos(),
)


@dataclass(frozen=True)
class Downloaded:
    """What `download_archive` came to.

    Attributes:
        path: The verified archive.
        already_there: It stood there before; nothing was fetched or copied.
        verified_by: "md5" where the published MD5 fits; "photos" where it does not, but the
            archive holds exactly the published photos.
        size_bytes: Size of the archive.
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
) -> Downloaded:
    """A verified archive at `path`: the one already there, or a new one.

    What is already there is hashed once and then known by its size and time, so asking again
    costs nothing. A new archive takes its place at `path` only once it is verified; a download
    cut short waits beside it as `<path>.part`, and the next call goes on from there.

    Args:
        path: Where the archive is to stand; `paths.archive_path()` where not given.
        archive: What is published, and where.
        url: Another address to fetch it from.
        from_file: A file to copy instead of fetching. May be `path` itself.
        force: Fetch or copy although a file is there already; believe no earlier check.
        progress: Where to report to: bytes fetched or copied, photos checked.

    Raises:
        DownloadError: It cannot be fetched or read, or does not hold the published photos.
        SettingError: Both `url` and `from_file` are given.
        StorageError: The disk is full or writing is not allowed.
    """
    if from_file is not None and url is not None:
        raise SettingError(f"both --url {url} and --from-file {from_file} are given; give one")
    if from_file is not None and not is_file(from_file):
        raise DownloadError(f"{from_file}: is not a file; give the path of the archive itself")
    path = path or paths.archive_path()
    progress = progress or Silent()
    with storage_errors(path):
        replace = force and not (from_file and path.exists() and from_file.samefile(path))
        already_there = path.exists() and not replace

    if already_there:
        if not force and (verified_by := _recall(path, archive)):
            return Downloaded(path, True, verified_by, path.stat().st_size)
        try:
            verified_by = _verify(path, archive, progress)
        except DownloadError as error:
            raise DownloadError(
                f"{error}; `flowercolor download --force` puts a new one in its place"
            ) from error
    elif from_file is not None:
        verified_by = _verify(from_file, archive, progress)
        _copy(from_file, path, progress)
    else:
        url = archive.url if url is None else url
        part = path.with_name(f"{path.name}.part")
        fetch(url, part, progress)
        try:
            verified_by = _verify(part, archive, progress, shown=url)
        except DownloadError:
            _discard(part)
            raise
        with storage_errors(path):
            part.replace(path)
        _discard(part)
    _remember(path, archive, verified_by)
    return Downloaded(path, already_there, verified_by, path.stat().st_size)


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
    path: Path, archive: Archive, progress: Progress, shown: str | None = None
) -> Literal["md5", "photos"]:
    """What proves that `path` is `archive`. Errors call it `shown`."""
    shown = shown or str(path)
    try:
        with path.open("rb") as file:
            if hashlib.file_digest(file, _md5).hexdigest() == archive.md5:
                return "md5"
    except OSError as error:
        raise DownloadError(f"{shown}: cannot be read: {error.strerror or error}") from error

    names = set()
    same = other = 0
    with progress.task("Checking", len(archive.photos), "photos") as task:
        for name, digest in _members(path, shown):
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


def _members(path: Path, shown: str) -> Iterator[tuple[str, bytes]]:
    """Name and SHA-256 of all in a `.tgz` but folders; read in one pass, nothing extracted."""
    try:
        with gzip.open(path) as unpacked, tarfile.open(fileobj=unpacked, mode="r|") as tar:
            for member in tar:
                if not member.isdir():
                    # A link has no content; an empty digest is like no photo's.
                    content = tar.extractfile(member) if member.isreg() else None
                    digest = b""
                    if content:  # a BufferedReader, which typeshed does not know
                        digest = hashlib.file_digest(content, "sha256").digest()  # type: ignore[arg-type]
                    yield member.name.removeprefix("./"), digest
            while unpacked.read(1 << 20):  # tar stops before the checksum that ends a gzip file
                pass
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise DownloadError(
            f"{shown}: is not a whole .tgz archive: {error}; damaged or cut short, get it again"
        ) from error


def _seal(path: Path, archive: Archive) -> dict[str, str | int]:
    """What tells, without reading it, that a file is still the one that was verified."""
    stat = path.stat()
    return {
        "path": str(path.resolve()),
        "size_bytes": stat.st_size,
        "mtime_ns": stat.st_mtime_ns,
        "published_md5": archive.md5,
    }


def _seal_path(path: Path) -> Path:
    return paths.cache_dir() / f"{path.name}.verified.json"


def _recall(path: Path, archive: Archive) -> Literal["md5", "photos"] | None:
    """What proved `path` before; None where nothing did, or it has changed since."""
    with suppress(OSError, ValueError):
        remembered = json.loads(_seal_path(path).read_bytes())
        kinds: tuple[Literal["md5", "photos"], ...] = ("md5", "photos")
        for verified_by in kinds:
            if remembered == _seal(path, archive) | {"verified_by": verified_by}:
                return verified_by
    return None


def _remember(path: Path, archive: Archive, verified_by: str) -> None:
    with suppress(StorageError):  # all it costs is to hash the archive again
        seal = _seal(path, archive) | {"verified_by": verified_by}
        write_text(_seal_path(path), json.dumps(seal, indent=2) + "\n")


class _BrokenOff(Exception):  # noqa: N818 - it never leaves this module
    """The line failed; another try may mend it. Not an `OSError`: here those mean the disk."""


@dataclass(frozen=True)
class _Origin:
    """What a partial file is the beginning of; kept beside it as `<part>.json`."""

    url: str
    validator: str
    size_bytes: int


def fetch(url: str, part: Path, progress: Progress | None = None, timeout_s: float = 30.0) -> None:
    """Make `part` the whole gzip file at `url`, going on from what it already holds.

    It goes on only where the server confirms that the file is still the same (RFC 9110,
    If-Range), and starts anew otherwise. A connection that breaks off is taken up again a few
    times. Nothing that starts with https goes on with http.

    Args:
        url: An http or https address.
        part: The file to fill. Kept when fetching fails, for the next call.
        progress: Where to report bytes to.
        timeout_s: How long the server may stay silent.

    Raises:
        DownloadError: It cannot be fetched, or is not a gzip file.
        StorageError: The disk is full or writing is not allowed.
    """
    progress = progress or Silent()
    with storage_errors(part):
        part.parent.mkdir(parents=True, exist_ok=True)
        size_before = _size_bytes(part)
    with requests.Session() as session:
        if not url.lower().startswith("http:"):
            del session.adapters["http://"]  # so a redirect from https to http has no way
        for wait_s in (*RETRY_WAITS_S, None):
            try:
                _fetch_once(session, url, part, progress, timeout_s)
                return
            except _BrokenOff as broken:
                # Where nothing has come at all, waiting helps nobody: say so at once.
                if wait_s is None or _size_bytes(part) == size_before:
                    raise DownloadError(f"{url}: {broken}; {_way_on(url, part)}") from broken
                progress.note(f"{broken} after {_size_bytes(part) / 1e6:,.1f} MB; going on")
            time.sleep(wait_s)


def _fetch_once(
    session: requests.Session, url: str, part: Path, progress: Progress, timeout_s: float
) -> None:
    """Ask once for what `part` lacks and append it; or for all, where it cannot go on."""
    origin = _origin_of(part, url)
    start = _size_bytes(part) if origin else 0
    headers = {"Accept-Encoding": "identity"}
    if origin:
        headers |= {"Range": f"bytes={start}-", "If-Range": origin.validator}
    with _network_errors(url, timeout_s):
        response = session.get(url, headers=headers, stream=True, timeout=timeout_s)
    with response:
        code = response.status_code
        size_bytes: int | None
        if origin and code in (206, 416):
            content_range = response.headers.get("Content-Range", f"bytes */{origin.size_bytes}")
            if code == 416 and content_range == f"bytes */{start}":
                return
            goes_on = re.fullmatch(rf"bytes {start}-\d+/{origin.size_bytes}", content_range)
            validator_name = "ETag" if origin.validator.startswith('"') else "Last-Modified"
            validator = response.headers.get(validator_name, origin.validator)
            if code == 416 or not goes_on or validator != origin.validator:
                _discard(part)
                _fetch_once(session, url, part, progress, timeout_s)
                return
            size_bytes = origin.size_bytes
        elif code == 200:
            start = 0
            length = response.headers.get("Content-Length", "")
            size_bytes = int(length) if length.isdecimal() else None
        elif code == 429 or code >= 500:
            raise _BrokenOff(f"the server answers {code} {response.reason}")
        else:
            raise DownloadError(
                f"{url}: the server answers {code} {response.reason}; give another address with "
                "--url or a file with --from-file"
            )
        # Some servers call a .tgz "Content-Encoding: x-gzip"; unpacked it would be another file.
        response.raw.headers.pop("Content-Encoding", None)
        chunks = _chunks(response, timeout_s)
        head = next(chunks, b"")
        kind = response.headers.get("Content-Type", "of no type").lower()
        # A login page must not cost the part that is there: look before discarding.
        if "html" in kind or not (start or head.startswith(GZIP_MAGIC)):
            page = "html" in kind or head.lstrip().startswith(b"<")
            raise DownloadError(
                f"{url}: is not an archive but {'a web page' if page else f'something {kind}'}; "
                "give another address with --url or a file with --from-file"
            )
        with storage_errors(part):
            if not start:
                _discard(part)
                _note_origin(part, url, response, size_bytes)
            with part.open("ab") as file, progress.task("Downloading", size_bytes, "B") as task:
                task.advance(start)
                for chunk in chain([head], chunks):
                    file.write(chunk)
                    task.advance(len(chunk))
    if size_bytes not in (None, _size_bytes(part)):
        raise _BrokenOff("the connection broke off")


def _chunks(response: requests.Response, timeout_s: float) -> Iterator[bytes]:
    with _network_errors(str(response.url), timeout_s):
        yield from response.iter_content(CHUNK_BYTES)


@contextmanager
def _network_errors(url: str, timeout_s: float) -> Iterator[None]:
    """Turn what requests raises into `_BrokenOff`, or `DownloadError` where waiting is vain."""
    try:
        yield
    except (ValueError, requests.TooManyRedirects) as error:
        secure = url.lower().startswith("https:")
        if secure and isinstance(error, requests.exceptions.InvalidSchema):
            found = "leads from https to http, which is not safe"
        else:
            found = "is not the address of a file"
        raise DownloadError(
            f"{url or 'an empty text'}: {found}; give another one with --url"
        ) from error
    except OSError as error:  # RequestException is one too
        raise _BrokenOff(_reason(error, timeout_s)) from error


def _reason(error: OSError, timeout_s: float) -> str:
    """Why the line failed. requests and urllib3 wrap the cause several times over."""
    cause: BaseException | None = error
    while cause is not None:
        match cause:
            case requests.exceptions.ProxyError():
                return "the proxy does not answer; see HTTPS_PROXY"
            case socket.gaierror():
                return "the name of the server is not found (is this machine online?)"
            case ssl.SSLError():
                why = getattr(cause, "verify_message", "") or cause.reason or cause
                return f"no secure connection can be made: {why}"
            case TimeoutError():
                return f"no answer within {timeout_s:g} s"
            case ConnectionRefusedError():
                return "the server refuses the connection"
        cause = cause.__cause__ or cause.__context__
    broken = isinstance(error, requests.RequestException)
    return "the connection broke off" if broken else str(error)  # else: no certificates found


def _validator(response: requests.Response) -> str:
    """The strong ETag or else the Last-Modified of the file; "" where there is neither."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified", "")


def _note_origin(part: Path, url: str, response: requests.Response, size_bytes: int | None) -> None:
    validator = _validator(response)
    if validator and size_bytes:
        write_text(_origin_path(part), json.dumps(asdict(_Origin(url, validator, size_bytes))))


def _origin_of(part: Path, url: str) -> _Origin | None:
    """What `part` is the beginning of; None where that is not `url`, or cannot be gone on with."""
    with suppress(OSError, ValueError, TypeError):
        origin = _Origin(**json.loads(_origin_path(part).read_bytes()))
        return origin if origin.url == url and _size_bytes(part) else None
    return None


def _way_on(url: str, part: Path) -> str:
    """What a person can do after a download broke off."""
    if origin := _origin_of(part, url):
        have, total = (f"{size / 1e6:,.1f}" for size in (_size_bytes(part), origin.size_bytes))
        kept = f"{have} of {total} MB are kept in {part}, run the command again to go on from there"
    else:
        kept = "run the command again later"
    return f"{kept}, or give a file fetched in another way with --from-file"


def _origin_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _size_bytes(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _discard(part: Path) -> None:
    with storage_errors(part):
        _origin_path(part).unlink(missing_ok=True)
        part.unlink(missing_ok=True)
