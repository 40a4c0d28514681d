import errno
import gc
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import socket
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from email.message import Message
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import urllib3

from flowercolor.data import download, oxford102
from flowercolor.data.download import Limits
from flowercolor.data.oxford102 import OXFORD_102, Archive, Downloaded
from flowercolor.errors import DownloadError, SettingError, StorageError
from tests.helpers import RecordedTask, Recorder

CHUNK_BYTES = 1000
BREAK_AT = 20 * CHUNK_BYTES
FAST = Limits(retry_waits_s=(0.0, 0.0), chunk_bytes=CHUNK_BYTES)
fetch = partial(download.fetch, limits=FAST)
download_archive = partial(oxford102.download_archive, limits=FAST)


def make_photos(count: int = 12, seed: int = 0) -> dict[str, bytes]:
    """Stand-ins for photos: noise, so that gzip cannot shrink it."""
    rng = np.random.default_rng(seed)
    return {f"jpg/image_{i + 1:05}.jpg": rng.bytes(3000 + i) for i in range(count)}


def make_tgz(photos: Mapping[str, bytes], level: int = 6) -> bytes:
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=level, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        folder = tarfile.TarInfo("jpg")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, content in photos.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


PHOTOS = make_photos()
TGZ = make_tgz(PHOTOS)
REPACKED = make_tgz(dict(reversed(PHOTOS.items())), level=1)
OTHER_TGZ = make_tgz(make_photos(seed=1))


class Site:
    """A web site of one file on loopback that does for each request what `script` says."""

    def __init__(self) -> None:
        self.content = TGZ
        self.headers = {"ETag": '"one"', "Content-Type": "application/x-gzip"}
        self.script: list[Callable[[BaseHTTPRequestHandler], None]] = []
        self.asked: list[Message] = []
        self.bytes_sent = 0
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append(self.headers)
                (site.script.pop(0) if site.script else site.serve)(self)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        self.url = f"http://{self.address}/102flowers.tgz"

    def send(
        self,
        handler: BaseHTTPRequestHandler,
        code: int = 200,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        handler.send_response(code)
        for name, value in ({"Content-Length": str(len(body))} | dict(headers or {})).items():
            handler.send_header(name, value)
        handler.end_headers()
        self.bytes_sent += len(body)  # ahead: then whoever has read it all finds it counted
        handler.wfile.write(body)

    def serve(
        self, handler: BaseHTTPRequestHandler, stop_at: int | None = None, **more: str
    ) -> None:
        """Answer as RFC 9110 wants; break off at byte `stop_at` of the file."""
        headers = self.headers | more
        size = len(self.content)
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        same = handler.headers.get("If-Range") in (
            headers.get("ETag"),
            headers.get("Last-Modified"),
        )
        if asked and same and int(asked[1]) >= size:
            self.send(handler, 416, headers={"Content-Range": f"bytes */{size}"})
        elif asked and same:
            start = int(asked[1])
            headers["Content-Length"] = str(size - start)
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
            self.send(handler, 206, self.content[start:stop_at], headers)
        else:
            headers = {"Content-Length": str(size)} | headers
            self.send(handler, 200, self.content[:stop_at], headers)

    def break_off(self, handler: BaseHTTPRequestHandler) -> None:
        self.serve(handler, stop_at=BREAK_AT)


@pytest.fixture(autouse=True)
def _here_and_fast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWERCOLOR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    thread = threading.Thread(target=site.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield site
    site.server.shutdown()
    site.server.server_close()
    thread.join()


@pytest.fixture
def archive(site: Site) -> Archive:
    photos = {name: hashlib.sha256(content).digest() for name, content in PHOTOS.items()}
    return Archive(site.url, hashlib.md5(TGZ).hexdigest(), photos)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "102flowers.tgz"


@pytest.fixture
def part(path: Path) -> Path:
    return path.with_name("102flowers.tgz.part")


def assert_nothing_left(path: Path) -> None:
    assert visible(path.parent) == set()


def visible(folder: Path) -> set[str]:
    """What lies there, but for the lock."""
    return {file.name for file in folder.glob("*") if file.name != ".102flowers.tgz.lock"}


def assert_one_line(error: pytest.ExceptionInfo[Exception], *said: str) -> None:
    message = str(error.value)
    assert "\n" not in message
    for words in said:
        assert words in message


# ---- fetching a file ----


def test_archive_is_fetched_verified_and_reported(site: Site, archive: Archive, path: Path) -> None:
    progress = Recorder()
    result = download_archive(archive=archive, progress=progress)
    assert result == Downloaded(path, False, "md5", len(TGZ))
    assert path.read_bytes() == TGZ
    assert progress.tasks == [RecordedTask("Downloading", len(TGZ), "B", len(TGZ))]
    assert site.asked[0]["Accept-Encoding"] == "identity"
    assert visible(path.parent) == {"102flowers.tgz", "102flowers.tgz.verified.json"}


def test_broken_connection_is_taken_up_where_it_broke(
    site: Site, archive: Archive, path: Path
) -> None:
    """No byte travels twice, and the bar goes on from where it was."""
    site.script = [site.break_off]
    progress = Recorder()
    download_archive(path, archive=archive, progress=progress)
    assert path.read_bytes() == TGZ
    assert [(ask["Range"], ask["If-Range"]) for ask in site.asked] == [
        (None, None),
        (f"bytes={BREAK_AT}-", '"one"'),
    ]
    assert site.bytes_sent == len(TGZ)
    assert [task.done for task in progress.tasks] == [BREAK_AT, len(TGZ)]
    assert progress.notes == ["the connection broke off after 0.0 MB; going on"]


def test_next_call_goes_on_after_giving_up(
    site: Site, archive: Archive, path: Path, part: Path
) -> None:
    site.script = [site.break_off] * 3
    with pytest.raises(DownloadError) as error:
        download_archive(path, archive=archive)
    assert_one_line(error, "the connection broke off", "0.0 of 0.0 MB", str(part), "again to go on")
    assert len(site.asked) == 3
    assert part.read_bytes() == TGZ[:BREAK_AT]
    assert not path.exists()

    download_archive(path, archive=archive)
    assert site.asked[-1]["Range"] == f"bytes={BREAK_AT}-"
    assert path.read_bytes() == TGZ
    assert not part.exists()


def test_last_modified_stands_in_for_an_etag(site: Site, part: Path) -> None:
    """A weak ETag must not be used for If-Range (RFC 9110, 13.1.5)."""
    date = "Mon, 19 Jan 2009 12:00:00 GMT"
    site.headers |= {"ETag": 'W/"one"', "Last-Modified": date}
    site.script = [site.break_off]
    fetch(site.url, part)
    assert site.asked[1]["If-Range"] == date
    assert part.read_bytes() == TGZ


def test_starts_anew_without_a_strong_validator(site: Site, part: Path) -> None:
    site.headers["ETag"] = 'W/"one"'
    site.script = [site.break_off]
    fetch(site.url, part)
    assert site.asked[1]["Range"] is None
    assert part.read_bytes() == TGZ


def test_starts_anew_when_the_server_ignores_ranges(site: Site, part: Path) -> None:
    def whole(handler: BaseHTTPRequestHandler) -> None:
        site.send(handler, 200, TGZ, site.headers)

    site.script = [site.break_off, whole]
    fetch(site.url, part)
    assert site.asked[1]["Range"] is not None
    assert part.read_bytes() == TGZ


def test_starts_anew_when_the_file_has_changed(site: Site, part: Path) -> None:
    """An honest server answers If-Range with the whole new file."""
    site.script = [lambda handler: site.serve(handler, stop_at=BREAK_AT, ETag='"old"')]
    site.content = REPACKED
    fetch(site.url, part)
    assert site.asked[1]["If-Range"] == '"old"'
    assert part.read_bytes() == REPACKED
    assert json.loads(part.with_name(f"{part.name}.json").read_bytes())["validator"] == '"one"'


def test_range_sent_in_pieces_is_put_together(site: Site, part: Path) -> None:
    """A server may send less than it is asked for (RFC 9110, 15.3.7)."""

    def piece(handler: BaseHTTPRequestHandler) -> None:
        end, total = BREAK_AT + CHUNK_BYTES, len(TGZ)
        headers = {"Content-Range": f"bytes {BREAK_AT}-{end - 1}/{total}"}
        site.send(handler, 206, TGZ[BREAK_AT:end], headers)

    site.script = [site.break_off, piece]
    fetch(site.url, part)
    assert site.asked[2]["Range"] == f"bytes={BREAK_AT + CHUNK_BYTES}-"
    assert part.read_bytes() == TGZ


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Range": f"bytes 0-{len(TGZ) - 1}/{len(TGZ)}"},
        {"Content-Range": f"bytes {BREAK_AT}-{len(TGZ)}/{len(TGZ) + 1}"},
        {"Content-Range": "nonsense"},
        {},
        {
            "Content-Range": f"bytes {BREAK_AT}-{len(TGZ) - 1}/{len(TGZ)}",
            "ETag": '"two"',
        },
    ],
    ids=["start", "total", "nonsense", "none", "etag"],
)
def test_starts_anew_when_a_206_is_of_something_else(
    site: Site, part: Path, headers: dict[str, str]
) -> None:
    def wrong(handler: BaseHTTPRequestHandler) -> None:
        site.send(handler, 206, b"x" * (len(TGZ) - BREAK_AT), headers)

    site.script = [site.break_off, wrong]
    fetch(site.url, part)
    assert [ask["Range"] for ask in site.asked] == [None, f"bytes={BREAK_AT}-", None]
    assert part.read_bytes() == TGZ


def leave_part(site: Site, part: Path, content: bytes) -> None:
    """What a download leaves that was killed when it had `content`."""
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(content)
    origin = {"url": site.url, "validator": '"one"', "size_bytes": len(TGZ)}
    part.with_name(f"{part.name}.json").write_text(json.dumps(origin))


def test_416_of_a_whole_part_is_the_end(
    site: Site, archive: Archive, path: Path, part: Path
) -> None:
    leave_part(site, part, TGZ)
    download_archive(path, archive=archive)
    assert site.asked[0]["Range"] == f"bytes={len(TGZ)}-"
    assert site.bytes_sent == 0
    assert path.read_bytes() == TGZ


def test_416_of_a_longer_part_starts_anew(site: Site, part: Path) -> None:
    leave_part(site, part, TGZ + b"more")
    fetch(site.url, part)
    assert [ask["Range"] for ask in site.asked] == [f"bytes={len(TGZ) + 4}-", None]
    assert part.read_bytes() == TGZ


def test_part_of_another_address_is_not_gone_on_with(site: Site, part: Path) -> None:
    leave_part(site, part, TGZ[:BREAK_AT])
    fetch(site.url + "?copy", part)
    assert site.asked[0]["Range"] is None
    assert part.read_bytes() == TGZ


@pytest.mark.parametrize("memory", ["", "[]", "{}", '{"url": 1}', "\x00", "[" * 100_000])
def test_unreadable_memory_of_a_part_starts_anew(site: Site, part: Path, memory: str) -> None:
    leave_part(site, part, TGZ[:BREAK_AT])
    part.with_name(f"{part.name}.json").write_text(memory)
    fetch(site.url, part)
    assert site.asked[0]["Range"] is None
    assert part.read_bytes() == TGZ


def test_length_said_too_long_is_noticed(site: Site, part: Path) -> None:
    """A server that never sends what it promised is given up, and nothing is lost."""

    def lie(handler: BaseHTTPRequestHandler) -> None:
        start = int((handler.headers["Range"] or "bytes=0-")[6:-1])
        total = len(TGZ) + 500
        headers = {"Content-Range": f"bytes {start}-{total - 1}/{total}"} if start else {}
        headers |= site.headers | {"Content-Length": str(total - start)}
        site.send(handler, 206 if start else 200, TGZ[start:], headers)

    site.script = [lie] * 3
    with pytest.raises(DownloadError, match="the connection broke off"):
        fetch(site.url, part)
    assert len(site.asked) == 3


def test_length_said_too_short_is_noticed(
    site: Site, archive: Archive, path: Path, part: Path
) -> None:
    site.headers["Content-Length"] = str(len(TGZ) - 500)
    with pytest.raises(DownloadError) as error:
        download_archive(path, archive=archive)
    assert_one_line(error, site.url, "cut short")
    assert_nothing_left(path)


def test_content_encoding_does_not_unpack_the_archive(site: Site, part: Path) -> None:
    """Apache with `AddEncoding x-gzip .tgz` says so of the file itself."""
    site.headers["Content-Encoding"] = "gzip"
    fetch(site.url, part)
    assert part.read_bytes() == TGZ


def test_unknown_length_is_fetched(site: Site, part: Path) -> None:
    def until_closed(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(TGZ)

    site.script = [until_closed]
    progress = Recorder()
    fetch(site.url, part, progress)
    assert part.read_bytes() == TGZ
    assert progress.tasks == [RecordedTask("Downloading", None, "B", len(TGZ))]


@pytest.mark.parametrize(
    ("kind", "body", "found"),
    [
        ("text/html; charset=utf-8", b"<!doctype html><p>Please log in", "a web page"),
        ("text/html", gzip.compress(b"<html>packed all the same", mtime=0), "a web page"),
        ("application/x-gzip", b"\n <html><p>Please log in", "a web page"),
        ("application/zip", b"PK\x03\x04", "something application/zip"),
        ("application/x-gzip", b"", "something application/x-gzip"),
    ],
)
def test_what_is_not_an_archive_is_refused(
    site: Site, part: Path, kind: str, body: bytes, found: str
) -> None:
    """And it costs nothing of what is there already: a login page comes and goes."""
    leave_part(site, part, TGZ[:BREAK_AT])
    site.script = [lambda handler: site.send(handler, 200, body, {"Content-Type": kind})]
    with pytest.raises(DownloadError) as error:
        fetch(site.url, part)
    assert_one_line(error, site.url, f"is not an archive but {found}", "`from_file`")
    assert part.read_bytes() == TGZ[:BREAK_AT]

    fetch(site.url, part)
    assert site.asked[-1]["Range"] == f"bytes={BREAK_AT}-"


# ---- what can go wrong on the line ----


@pytest.mark.parametrize(
    ("code", "said"), [(404, "404 Not Found"), (403, "403 Forbidden"), (503, "503 Service")]
)
def test_refusal_of_the_server_is_told_at_once(
    site: Site, part: Path, code: int, said: str
) -> None:
    site.script = [lambda handler: site.send(handler, code)]
    with pytest.raises(DownloadError) as error:
        fetch(site.url, part)
    assert_one_line(error, site.url, f"the server answers {said}", "`from_file`")
    assert len(site.asked) == 1


def test_busy_server_is_asked_again_once_something_came(site: Site, part: Path) -> None:
    site.script = [site.break_off, lambda handler: site.send(handler, 503)]
    fetch(site.url, part)
    assert part.read_bytes() == TGZ


def test_refused_connection(part: Path) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unheard.getsockname()[1]}/x.tgz"
        with pytest.raises(DownloadError) as error:
            fetch(url, part)
    assert_one_line(error, url, "refuses the connection", "run the command again")


def test_unknown_name(part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_name(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
    with pytest.raises(DownloadError) as error:
        fetch("https://flowers.invalid/x.tgz", part)
    assert_one_line(error, "flowers.invalid", "is this machine online?")


def test_silent_server(site: Site, part: Path) -> None:
    over = threading.Event()

    def stay_silent(_: BaseHTTPRequestHandler) -> None:
        over.wait(5)

    site.script = [stay_silent]
    with pytest.raises(DownloadError) as error:
        fetch(site.url, part, limits=replace(FAST, timeout_s=0.1))
    over.set()
    assert_one_line(error, site.url, "no answer within 0.1 s")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("where", ["headers", "content"])
def test_a_server_that_sends_a_byte_at_a_time_is_given_up(
    site: Site, part: Path, where: str
) -> None:
    over = threading.Event()
    timeout_s = {"headers": 0.1, "content": 5}[where]

    def trickle(handler: BaseHTTPRequestHandler) -> None:
        answer = b"HTTP/1.0 200 OK\r\nContent-Type: x-gzip\r\n"
        if where == "content":
            answer += b"\r\n" + TGZ[:CHUNK_BYTES]
        handler.wfile.write(answer)
        for byte in b"X" * 10_000:
            if over.wait(0.02):
                break
            handler.wfile.write(bytes([byte]))

    site.script = [trickle] * 3
    with pytest.raises(DownloadError) as error:
        fetch(site.url, part, limits=replace(FAST, timeout_s=timeout_s, window_s=0.2))
    over.set()
    for thread in threading.enumerate():
        if thread.name == download.ASKING:  # given up, and its socket is nobody's
            thread.join(5)
    gc.collect()
    said = {"headers": "no answer within 0.1 s", "content": "less than 1000 bytes a second"}
    assert_one_line(error, site.url, said[where])


@pytest.mark.parametrize("length", [None, str(10**6)])
def test_a_file_without_end_is_given_up(site: Site, part: Path, length: str | None) -> None:
    headers = {} if length is None else {"Content-Length": length}

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(TGZ)
        while length is None:
            handler.wfile.write(bytes(10_000))

    site.script = [endless]
    with pytest.raises(DownloadError) as error:
        fetch(site.url, part, limits=replace(FAST, max_bytes=500_000))
    assert_one_line(error, site.url, "sends more than 0 MB")
    assert not part.exists()


def test_a_redirect_without_end_is_not_read(site: Site, part: Path) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", site.url)
        handler.end_headers()
        while True:
            handler.wfile.write(bytes(10_000))  # until nobody listens

    site.script = [endless]
    fetch(site.url, part)
    assert part.read_bytes() == TGZ


@pytest.mark.parametrize("length", ["1" * 5000, "-5", "many", "\xb2"])
def test_a_length_that_is_none_is_passed_over(site: Site, part: Path, length: str) -> None:
    site.headers["Content-Length"] = length
    fetch(site.url, part)
    assert part.read_bytes() == TGZ


def test_a_password_is_used_and_never_shown(site: Site, archive: Archive, part: Path) -> None:
    url = site.url.replace("//", "//me:se@cret@")
    site.script = [site.break_off] * 3
    with pytest.raises(DownloadError) as error:
        fetch(url, part)
    assert_one_line(error, site.url)
    fetch(url, part)
    assert site.asked[-1]["Range"], "gone on with all the same"
    assert all(ask["Authorization"].startswith("Basic ") for ask in site.asked)
    with pytest.raises(SettingError) as both:
        download_archive(archive=archive, url=url, from_file=part)
    for shown in (
        str(error.value),
        str(both.value),
        part.with_name(f"{part.name}.json").read_text(),
    ):
        assert "cret" not in shown


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no such files")
@pytest.mark.parametrize("name", ["", ".part", ".part.json", ".verified.json"])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(
    site: Site, archive: Archive, path: Path, name: str
) -> None:
    path.parent.mkdir()
    os.mkfifo(path.with_name(path.name + name))
    if name == ".verified.json":
        path.write_bytes(TGZ)
        assert download_archive(archive=archive).already_there
        return
    with pytest.raises(StorageError, match="is no regular file; expected"):
        download_archive(archive=archive)
    assert not site.asked


def test_passwords_without_end_are_not_read(
    site: Site, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETRC", os.devnull)
    with pytest.raises(DownloadError, match=rf"^{os.devnull}: is no file of passwords"):
        fetch(site.url, part)


def test_two_at_once_do_not_spoil_each_other(site: Site, archive: Archive, path: Path) -> None:
    refused: list[str] = []

    def second(handler: BaseHTTPRequestHandler) -> None:
        try:
            download_archive(archive=archive)
        except StorageError as error:
            refused.append(str(error))
        site.serve(handler)

    site.script = [second]
    download_archive(archive=archive)
    assert refused == [
        f"{path.parent}: process {os.getpid()} downloads 102flowers.tgz to it already; wait for "
        "it to end, or stop it"
    ]
    assert path.read_bytes() == TGZ
    assert download_archive(archive=archive, force=True).verified_by == "md5", "the lock is free"


def test_no_secure_connection(site: Site, part: Path) -> None:
    """Not even to a server that would speak http at the same door."""
    with pytest.raises(DownloadError) as error:
        fetch(f"https://{site.address}/x.tgz", part)
    assert_one_line(error, "https://", "no secure connection")
    assert not site.asked


def test_https_is_not_left_for_http(part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def redirect(_: object, request: requests.PreparedRequest, **__: Any) -> requests.Response:
        asked.append(request.url)
        response = requests.Response()
        response.status_code = 302
        response.headers["Location"] = "http://flowers.invalid/x.tgz"
        response.url = str(request.url)
        response.request = request
        response.raw = urllib3.HTTPResponse(io.BytesIO(), preload_content=False)
        return response

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", redirect)
    with pytest.raises(DownloadError) as error:
        fetch("HTTPS://flowers.invalid/x.tgz", part)
    assert_one_line(error, "leads from https to http", "`url`")
    assert [str(url)[:8].lower() for url in asked] == ["https://"]


@pytest.mark.parametrize("url", ["x.tgz", "ftp://flowers.invalid/x.tgz", "http://", "http://["])
def test_what_is_no_web_address(part: Path, url: str) -> None:
    with pytest.raises(DownloadError) as error:
        fetch(url, part)
    assert_one_line(error, url, "is not the address of a file")


def test_redirect_is_followed(site: Site, part: Path) -> None:
    site.script = [lambda handler: site.send(handler, 302, headers={"Location": site.url})]
    fetch(site.url, part)
    assert part.read_bytes() == TGZ


def test_full_disk_is_told_and_what_came_is_kept(
    site: Site, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_open = Path.open

    class FullDisk(io.FileIO):
        def write(self, content: Any) -> int:
            if self.tell() >= BREAK_AT:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(content)

    def open_on_full_disk(self: Path, mode: str = "r", *args: Any, **settings: Any) -> Any:
        if self == part and "a" in mode:
            return io.BufferedWriter(FullDisk(self, "ab"), CHUNK_BYTES)
        return really_open(self, mode, *args, **settings)

    monkeypatch.setattr(Path, "open", open_on_full_disk)
    with pytest.raises(StorageError) as error:
        fetch(site.url, part)
    assert_one_line(error, str(part), "the disk is full")
    monkeypatch.undo()
    kept = part.stat().st_size
    assert 0 < kept < len(TGZ)

    monkeypatch.setenv("NO_PROXY", "*")
    fetch(site.url, part)
    assert site.asked[-1]["Range"] == f"bytes={kept}-"
    assert part.read_bytes() == TGZ


def test_place_that_cannot_be_written(site: Site, archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError) as error:
        download_archive(tmp_path / "file" / "x.tgz", archive=archive)
    assert_one_line(error, "cannot be written")
    assert not site.asked


# ---- what is there already ----


def test_archive_already_there_is_left_and_remembered(
    site: Site, archive: Archive, path: Path
) -> None:
    """The first look hashes it, the next reads nothing of it."""
    path.parent.mkdir()
    path.write_bytes(TGZ)
    first = download_archive(archive=archive)
    assert first == Downloaded(path, True, "md5", len(TGZ))

    stat = path.stat()
    path.write_bytes(DAMAGED)  # which would be noticed
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert download_archive(archive=archive) == first
    assert not site.asked


def test_changed_archive_is_noticed_and_left(site: Site, archive: Archive, path: Path) -> None:
    download_archive(path, archive=archive)
    path.write_bytes(OTHER_TGZ)
    with pytest.raises(DownloadError) as error:
        download_archive(path, archive=archive)
    assert_one_line(error, str(path), "12 differ", "--force")
    assert path.read_bytes() == OTHER_TGZ
    assert len(site.asked) == 1


DAMAGED = TGZ[:-1] + b"!"  # of the same size


def test_change_of_the_same_size_is_noticed(archive: Archive, path: Path) -> None:
    download_archive(path, archive=archive)
    time_ns = path.stat().st_mtime_ns + 1
    path.write_bytes(DAMAGED)
    os.utime(path, ns=(time_ns, time_ns))
    with pytest.raises(DownloadError, match="not a whole"):
        download_archive(path, archive=archive)


def test_memory_does_not_vouch_for_another_path(
    archive: Archive, path: Path, tmp_path: Path
) -> None:
    """Not even for a file of the same name, size and time."""
    download_archive(path, archive=archive)
    elsewhere = tmp_path / path.name
    elsewhere.write_bytes(DAMAGED)
    shutil.copystat(path, elsewhere)
    with pytest.raises(DownloadError, match="not a whole"):
        download_archive(elsewhere, archive=archive)


def test_memory_does_not_vouch_for_another_publication(archive: Archive, path: Path) -> None:
    download_archive(path, archive=archive)
    with pytest.raises(DownloadError, match="missing"):
        download_archive(path)


def test_force_believes_no_memory(archive: Archive, path: Path) -> None:
    download_archive(path, archive=archive)
    time_ns = path.stat().st_mtime_ns
    path.write_bytes(DAMAGED)
    os.utime(path, ns=(time_ns, time_ns))
    assert download_archive(path, archive=archive).already_there
    with pytest.raises(DownloadError, match="not a whole"):
        download_archive(path, archive=archive, from_file=path, force=True)


def test_force_fetches_anew(site: Site, archive: Archive, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(OTHER_TGZ)
    assert not download_archive(path, archive=archive, force=True).already_there
    assert path.read_bytes() == TGZ
    download_archive(path, archive=archive, force=True)
    assert len(site.asked) == 2


def test_failed_force_leaves_the_old_archive(site: Site, archive: Archive, path: Path) -> None:
    download_archive(path, archive=archive)
    site.content = OTHER_TGZ
    with pytest.raises(DownloadError, match="12 differ"):
        download_archive(path, archive=archive, force=True)
    assert path.read_bytes() == TGZ
    assert download_archive(path, archive=archive).already_there


# ---- what is in it ----


def test_repacked_archive_is_verified_by_its_photos(
    site: Site, archive: Archive, path: Path
) -> None:
    site.content = REPACKED
    progress = Recorder()
    result = download_archive(path, archive=archive, progress=progress)
    assert result == Downloaded(path, False, "photos", len(REPACKED))
    assert progress.tasks[1:] == [RecordedTask("Checking", 12, "photos", 12)]
    assert download_archive(path, archive=archive) == Downloaded(
        path, True, "photos", len(REPACKED)
    )


@pytest.mark.parametrize(
    ("photos", "found"),
    [
        (PHOTOS | {"jpg/image_00003.jpg": b"other"}, "11 are the same, 1 differ, 0 are missing"),
        (make_photos(10), "10 are the same, 0 differ, 2 are missing, 0 other"),
        (make_photos(13), "12 are the same, 0 differ, 0 are missing, 1 other"),
        ({}, "0 are the same, 0 differ, 12 are missing, 0 other"),
    ],
    ids=["differs", "missing", "extra", "empty"],
)
def test_wrong_content_is_counted_refused_and_removed(
    site: Site, archive: Archive, path: Path, photos: dict[str, bytes], found: str
) -> None:
    site.content = make_tgz(photos)
    with pytest.raises(DownloadError) as error:
        download_archive(path, archive=archive)
    assert_one_line(error, site.url, "the 12 published photos", found, "train --data PATH")
    assert_nothing_left(path)


def test_second_member_of_a_name_is_not_let_in(
    archive: Archive, path: Path, tmp_path: Path
) -> None:
    """Who unpacks such an archive gets the last one, which is not the published photo."""
    photo = "jpg/image_00001.jpg"
    file = tmp_path / "doubled.tgz"
    with tarfile.open(file, "w:gz") as tar:
        for name, content in [*PHOTOS.items(), (photo, b"other")]:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    with pytest.raises(DownloadError, match="12 are the same, 0 differ, 0 are missing, 1 other"):
        download_archive(path, archive=archive, from_file=file)


def test_link_does_not_pass_for_a_photo(archive: Archive, path: Path, tmp_path: Path) -> None:
    file = tmp_path / "links.tgz"
    with tarfile.open(file, "w:gz") as tar:
        for name in PHOTOS:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/hostname"
            tar.addfile(member)
    with pytest.raises(DownloadError, match="0 are the same, 12 differ"):
        download_archive(path, archive=archive, from_file=file)


@pytest.mark.parametrize("cut", [1, 11, 700, len(TGZ) // 2, len(TGZ) - 9])
def test_truncated_file_is_refused(archive: Archive, path: Path, tmp_path: Path, cut: int) -> None:
    file = tmp_path / "cut.tgz"
    file.write_bytes(TGZ[:cut])
    with pytest.raises(DownloadError) as error:
        download_archive(path, archive=archive, from_file=file)
    assert_one_line(error, str(file))
    assert_nothing_left(path)


def test_damaged_file_is_refused(archive: Archive, path: Path, tmp_path: Path) -> None:
    """Whatever byte is wrong, it ends in one line or in photos that are all right."""
    rng = np.random.default_rng(0)
    file = tmp_path / "damaged.tgz"
    for place in rng.integers(0, len(TGZ), 60):
        damaged = bytearray(TGZ)
        damaged[place] ^= 1 << rng.integers(8)
        file.write_bytes(damaged)
        try:
            assert (
                download_archive(path, archive=archive, from_file=file, force=True).verified_by
                == "photos"
            )
        except DownloadError as error:
            assert "\n" not in str(error)


# ---- a file fetched by hand ----


def test_file_is_copied_and_verified(
    site: Site, archive: Archive, path: Path, tmp_path: Path
) -> None:
    file = tmp_path / "by hand.tgz"
    file.write_bytes(TGZ)
    progress = Recorder()
    result = download_archive(archive=archive, from_file=file, progress=progress)
    assert result == Downloaded(path, False, "md5", len(TGZ))
    assert path.read_bytes() == file.read_bytes() == TGZ
    assert progress.tasks == [RecordedTask("Copying", len(TGZ), "B", len(TGZ))]
    assert not site.asked


@pytest.mark.parametrize("force", [False, True])
def test_file_may_be_the_destination(archive: Archive, path: Path, force: bool) -> None:
    path.parent.mkdir()
    path.write_bytes(TGZ)
    result = download_archive(path, archive=archive, from_file=path, force=force)
    assert result.already_there
    assert path.read_bytes() == TGZ


def test_file_with_other_photos_is_refused(archive: Archive, path: Path, tmp_path: Path) -> None:
    """Also against the real publication, of which twelve made-up photos are no part."""
    file = tmp_path / "mine.tgz"
    file.write_bytes(OTHER_TGZ)
    with pytest.raises(DownloadError) as error:
        download_archive(path, from_file=file)
    assert_one_line(error, str(file), "the 8,189 published", "12 differ, 8,177 are missing")
    assert_one_line(error, "`flowercolor train --data PATH` trains on any archive")
    assert_nothing_left(path)
    assert file.read_bytes() == OTHER_TGZ


def test_file_that_is_not_there(path: Path, tmp_path: Path) -> None:
    for file in (tmp_path / "none.tgz", tmp_path):
        with pytest.raises(DownloadError, match="is not a file"):
            download_archive(path, from_file=file)


def test_an_empty_address_is_not_taken_for_none(path: Path) -> None:
    """As a variable gives that is not set."""
    with pytest.raises(DownloadError, match=r"^an empty text: is not the address of a file; give"):
        download_archive(path, url="")


def test_file_and_address_do_not_go_together(path: Path) -> None:
    with pytest.raises(SettingError, match="give one"):
        download_archive(path, from_file=path, url="http://localhost/x.tgz")


# ---- what ships ----


def test_shipped_list_is_the_published_one() -> None:
    """In `sha256sum` form it has the digest that the list it was made from has."""
    lines = "".join(f"{digest.hex()}  {name}\n" for name, digest in OXFORD_102.photos.items())
    expected = "038ce928359d787d6a6ad3e72c8ccefca90079cb0cc8572c68d8526e538509a3"
    assert hashlib.sha256(lines.encode()).hexdigest() == expected
    assert len(OXFORD_102.photos) == 8189
    assert "photos" not in repr(OXFORD_102)


def test_an_archive_that_would_fill_the_memory_is_refused(
    archive: Archive, path: Path, tmp_path: Path
) -> None:
    with tarfile.open(tmp_path / "bomb.tgz", "w:gz") as tar:
        member = tarfile.TarInfo("jpg/image_00001.jpg")
        member.size = oxford102.MAX_MEMBER_BYTES + 1
        tar.addfile(member, io.BytesIO(bytes(member.size)))
    with pytest.raises(
        DownloadError, match=r"is not a whole \.tgz archive: a member has more than"
    ):
        download_archive(path, archive=archive, from_file=tmp_path / "bomb.tgz")


def test_what_is_no_archive_at_all_is_told_with_what_helps(
    archive: Archive, path: Path, tmp_path: Path
) -> None:
    """Getting it again would not."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("jpg/image_00001.jpg", b"photo")
    (tmp_path / "a.tgz").write_bytes(b"\n<!doctype html><p>Please log in")
    for name, said in (
        ("a.zip", "is a zip archive; expected the published .tgz: unpack it, and learn from it by"),
        ("a.tgz", f"is a web page; expected the published .tgz: download {archive.url} itself"),
    ):
        with pytest.raises(DownloadError) as error:
            download_archive(path, archive=archive, from_file=tmp_path / name)
        assert_one_line(error, str(tmp_path / name), said)


def test_a_file_larger_than_any_archive_is_not_read(
    archive: Archive, path: Path, tmp_path: Path
) -> None:
    with (tmp_path / "large.tgz").open("wb") as file:
        file.truncate(10**10)
    with pytest.raises(DownloadError, match="has 10,000 MB; expected the archive"):
        download_archive(path, archive=archive, from_file=tmp_path / "large.tgz")
