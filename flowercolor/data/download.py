"""One file fetched by HTTP: resumed where it broke off, and bounded in time and size."""

import json
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import TypeVar

import requests
import urllib3.exceptions
from requests.utils import NETRC_FILES

from flowercolor.errors import DownloadError, StorageError, one_line
from flowercolor.files import is_file, is_there, read_json, storage_errors, write_text
from flowercolor.progress import Progress, Silent

GZIP_MAGIC = b"\x1f\x8b"
HEAD_BYTES = 64
MAX_NETRC_BYTES = 1 << 20
ASKING = "asking a server"

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Limits:
    """What a transfer may take.

    Attributes:
        timeout_s: How long the server may stay silent; for its headers, four times as long.
        least_bytes_per_s: What has to come, on average over each `window_s`.
        max_bytes: The greatest file.
        retry_waits_s: How long to wait before each further try.
        chunk_bytes: The most that is read at once.
    """

    timeout_s: float = 30.0
    least_bytes_per_s: float = 1000.0
    window_s: float = 30.0
    max_bytes: int = 2 * 10**9
    retry_waits_s: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)
    chunk_bytes: int = 64 * 1024


class _BrokenOff(Exception):  # noqa: N818 - it never leaves this module
    """The line failed; another try may mend it. Not an `OSError`: here those mean the disk."""


@dataclass(frozen=True)
class _Origin:
    """What a partial file is the beginning of; kept beside it as `<part>.json`."""

    url: str
    validator: str
    size_bytes: int


class _Session(requests.Session):
    """Reads nothing of what stands beside a redirect, which may have no end."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target:
            resp.close()
        return target


def fetch(
    url: str, part: Path, progress: Progress | None = None, limits: Limits | None = None
) -> None:
    """Make `part` the whole gzip file at `url`, going on from what it already holds.

    It goes on only where the server confirms that the file is still the same (RFC 9110,
    If-Range), and starts anew otherwise. A connection that breaks off is taken up again a few
    times. Nothing that starts with https goes on with http.

    Args:
        url: An http or https address; a password in it is used and never shown nor stored.
        part: The file to fill. Kept when fetching fails, for the next call.

    Raises:
        DownloadError: It cannot be fetched, or is not a gzip file.
        StorageError: The disk is full or writing is not allowed.
    """
    progress, limits = progress or Silent(), limits or Limits()
    _check_netrc()
    for file in (part, _origin_path(part)):
        if is_there(file) and not is_file(file):
            raise StorageError(
                f"{file}: is no regular file; expected a part of the archive: move it"
            )
    with storage_errors(part):
        part.parent.mkdir(parents=True, exist_ok=True)
        size_before = _size_bytes(part)
    with _Session() as session:
        if not url.lower().startswith("http:"):
            del session.adapters["http://"]  # so a redirect from https to http has no way
        for wait_s in (*limits.retry_waits_s, None):
            try:
                _fetch_once(session, url, part, progress, limits)
                return
            except _BrokenOff as broken:
                # Where nothing has come at all, waiting helps nobody: say so at once.
                if wait_s is None or _size_bytes(part) == size_before:
                    shown = without_password(url)
                    raise DownloadError(f"{shown}: {broken}; {_way_on(url, part)}") from broken
                progress.note(f"{broken} after {_size_bytes(part) / 1e6:,.1f} MB; going on")
            time.sleep(wait_s)


def _fetch_once(
    session: requests.Session, url: str, part: Path, progress: Progress, limits: Limits
) -> None:
    """Ask once for what `part` lacks and append it; or for all, where it cannot go on."""
    shown = without_password(url)
    origin = _origin_of(part, url)
    start = _size_bytes(part) if origin else 0
    headers = {"Accept-Encoding": "identity"}
    if origin:
        headers |= {"Range": f"bytes={start}-", "If-Range": origin.validator}
    with _network_errors(shown, limits):
        response = _within(
            4 * limits.timeout_s,
            lambda: session.get(url, headers=headers, stream=True, timeout=limits.timeout_s),
        )
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
                discard(part)
                _fetch_once(session, url, part, progress, limits)
                return
            size_bytes = origin.size_bytes
        elif code == 200:
            start = 0
            length = response.headers.get("Content-Length", "")
            size_bytes = int(length) if re.fullmatch("[0-9]{1,18}", length) else None
        elif code == 429 or code >= 500:
            raise _BrokenOff(f"the server answers {code} {response.reason}")
        else:
            raise DownloadError(
                f"{shown}: the server answers {code} {response.reason}; give another address with "
                "`url` or a file with `from_file`"
            )
        if (size_bytes or 0) > limits.max_bytes:
            raise _too_large(shown, limits)
        chunks = _chunks(response, limits)
        head = b""
        while len(head) < HEAD_BYTES and (chunk := next(chunks, b"")):
            head += chunk
        kind = response.headers.get("Content-Type", "of no type").lower()
        # A login page must not cost the part that is there: look before discarding.
        if "html" in kind or not (start or head.startswith(GZIP_MAGIC)):
            page = "html" in kind or head.lstrip().startswith(b"<")
            raise DownloadError(
                f"{shown}: is not an archive but {'a web page' if page else f'something {kind}'}; "
                "give another address with `url` or a file with `from_file`"
            )
        with storage_errors(part):
            if not start:
                discard(part)
                _note_origin(part, url, response, size_bytes)
            with part.open("ab") as file, progress.task("Downloading", size_bytes, "B") as task:
                task.advance(start)
                for chunk in chain([head], chunks):
                    file.write(chunk)
                    task.advance(len(chunk))
                    if file.tell() > limits.max_bytes:
                        file.close()
                        discard(part)
                        raise _too_large(shown, limits)
    if size_bytes not in (None, _size_bytes(part)):
        raise _BrokenOff("the connection broke off")


def _too_large(shown: str, limits: Limits) -> DownloadError:
    return DownloadError(
        f"{shown}: sends more than {limits.max_bytes / 1e6:,.0f} MB, and the archive has 345; give "
        "another address with `url` or a file with `from_file`"
    )


def _within(limit_s: float, ask: Callable[[], Answer]) -> Answer:
    """What `ask` gives, if it does within the limit.

    The timeout of requests is one of silence: headers that come a byte at a time never end.

    Raises:
        TimeoutError: It does not; it goes on in a thread that ends with the process.
    """
    answer: Future[Answer] = Future()

    def run() -> None:
        try:
            answer.set_result(ask())
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=run, name=ASKING, daemon=True).start()
    return answer.result(limit_s)


def _chunks(response: requests.Response, limits: Limits) -> Iterator[bytes]:
    """What comes, as it comes: not unpacked where a server calls a .tgz encoded "x-gzip"."""
    # Not `iter_content`, which waits for whole chunks, however slowly they come.
    since_s, came_bytes = time.monotonic(), 0
    with _network_errors(without_password(str(response.url)), limits):
        while chunk := response.raw.read1(limits.chunk_bytes, decode_content=False):
            yield chunk
            came_bytes += len(chunk)
            passed_s = time.monotonic() - since_s
            if passed_s >= limits.window_s:
                if came_bytes < limits.least_bytes_per_s * passed_s:
                    raise _BrokenOff(
                        f"the server sends less than {limits.least_bytes_per_s:g} bytes a second"
                    )
                since_s, came_bytes = time.monotonic(), 0


@contextmanager
def _network_errors(shown: str, limits: Limits) -> Iterator[None]:
    """Turn what requests raises into `_BrokenOff`, or `DownloadError` where waiting is vain."""
    try:
        yield
    except (ValueError, requests.TooManyRedirects) as error:
        secure = shown.lower().startswith("https:")
        if secure and isinstance(error, requests.exceptions.InvalidSchema):
            found = "leads from https to http, which is not safe"
        else:
            found = "is not the address of a file"
        raise DownloadError(
            f"{shown or 'an empty text'}: {found}; give another one with `url`"
        ) from error
    except (OSError, urllib3.exceptions.HTTPError) as error:  # RequestException is an OSError
        raise _BrokenOff(_reason(error, limits)) from error


def _reason(error: Exception, limits: Limits) -> str:
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
                return f"no answer within {limits.timeout_s:g} s"
            case ConnectionRefusedError():
                return "the server refuses the connection"
        cause = cause.__cause__ or cause.__context__
    broken = isinstance(error, (requests.RequestException, urllib3.exceptions.HTTPError))
    return "the connection broke off" if broken else one_line(error)  # no certificates found


def _check_netrc() -> None:
    """Refuse a file of passwords that requests would read without end."""
    named = os.environ.get("NETRC")
    for file in (named,) if named else (f"~/{name}" for name in NETRC_FILES):
        path = Path(os.path.expanduser(file))  # noqa: PTH111 - that of Path may raise
        if is_there(path) and not (is_file(path) and path.stat().st_size <= MAX_NETRC_BYTES):
            raise DownloadError(
                f"{path}: is no file of passwords (.netrc), which downloads look into; set NETRC "
                "to one, or to a path where nothing is"
            )


def without_password(url: str) -> str:
    """The address as it may be shown: what stands before the server's name is left out."""
    return re.sub(r"(?<=//)[^/?#]*@", "", url)


def _note_origin(part: Path, url: str, response: requests.Response, size_bytes: int | None) -> None:
    etag = response.headers.get("ETag", "")
    validator = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")
    if validator and size_bytes:  # a weak ETag proves nothing
        origin = _Origin(without_password(url), validator, size_bytes)
        write_text(_origin_path(part), json.dumps(asdict(origin)))


def _origin_of(part: Path, url: str) -> _Origin | None:
    """What `part` is the beginning of; None where that is not `url`, or cannot be gone on with."""
    with suppress(TypeError):
        origin = _Origin(**read_json(_origin_path(part)))
        if (
            isinstance(origin.validator, str)
            and type(origin.size_bytes) is int
            and origin.url == without_password(url)
            and _size_bytes(part)
        ):
            return origin
    return None


def _way_on(url: str, part: Path) -> str:
    """What a person can do after a download broke off."""
    if origin := _origin_of(part, url):
        have, total = (f"{size / 1e6:,.1f}" for size in (_size_bytes(part), origin.size_bytes))
        kept = f"{have} of {total} MB are kept in {part}, run the command again to go on from there"
    else:
        kept = "run the command again later"
    return f"{kept}, or give a file fetched in another way with `from_file`"


def _origin_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _size_bytes(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def discard(part: Path) -> None:
    """Delete a partial file and what is known of it.

    Raises:
        StorageError: Writing there is not allowed.
    """
    with storage_errors(part):
        _origin_path(part).unlink(missing_ok=True)
        part.unlink(missing_ok=True)
