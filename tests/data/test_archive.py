"""Archives made to fill the memory, or never to end."""

import gzip
import io
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from flowercolor.data.archive import MAX_HEADER_BYTES, members
from tests.pictures import tar_of

LONG = "x" * 2 * MAX_HEADER_BYTES


def long_name(tar: tarfile.TarFile) -> None:
    tar.format = tarfile.GNU_FORMAT
    tar.addfile(tarfile.TarInfo(LONG))


def long_comment(tar: tarfile.TarFile) -> None:
    member = tarfile.TarInfo("a.jpg")
    member.pax_headers = {"comment": LONG}
    tar.addfile(member)


def many_headers(tar: tarfile.TarFile) -> None:
    header = tarfile.TarInfo("h")
    header.type = tarfile.XHDTYPE
    for _ in range(2000):
        tar.addfile(header)


def nonsense_map(tar: tarfile.TarFile) -> None:
    member = tarfile.TarInfo("a.jpg")
    member.pax_headers = {"GNU.sparse.map": "nonsense", "GNU.sparse.size": "-7"}
    tar.addfile(member)


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (long_name, "a member's header has more than 1 MB"),
        (long_comment, "a member's header has more than 1 MB"),
        (many_headers, "."),
        (nonsense_map, "."),
    ],
)
def test_hostile_headers_are_refused_in_a_line(
    tmp_path: Path, write: Callable[[tarfile.TarFile], None], reason: str
) -> None:
    with tarfile.open(tmp_path / "a.tgz", "w:gz", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo("first.jpg"))
        write(tar)
    with pytest.raises(tarfile.ReadError, match=reason) as caught:
        list(members(tmp_path / "a.tgz"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size_bytes", [10**6, 2**62, -(10**6)])
@pytest.mark.parametrize("first", [True, False])
def test_a_size_that_leads_beyond_the_end_is_not_followed_for_ever(
    tmp_path: Path, size_bytes: int, first: bool
) -> None:
    member = tarfile.TarInfo("a.jpg")
    member.size = size_bytes
    content = b"" if first else tarfile.TarInfo("first.jpg").tobuf()
    (tmp_path / "a.tar").write_bytes(content + member.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(tarfile.ReadError):
        for _, read in members(tmp_path / "a.tar"):
            read()


def test_xz_takes_no_more_memory_than_a_bound(tmp_path: Path) -> None:
    """A file may ask for a dictionary of 4 GB. Several streams in one are read."""
    content = tar_of({"a": b"b"}, tmp_path / "a.tar").read_bytes()
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 29}]
    (tmp_path / "a.txz").write_bytes(lzma.compress(content, filters=filters))
    with pytest.raises(tarfile.ReadError, match=r"[Mm]emory"):
        list(members(tmp_path / "a.txz"))
    parts = lzma.compress(content[:700]) + bytes(8) + lzma.compress(content[700:])
    (tmp_path / "a.txz").write_bytes(parts)
    assert [read() for _, read in members(tmp_path / "a.txz")] == [b"b"]


def test_what_all_unpacks_to_may_be_bounded(tmp_path: Path) -> None:
    path = tmp_path / "a.tgz"
    path.write_bytes(gzip.compress(tar_of({"a": bytes(10**6)}, tmp_path / "a.tar").read_bytes()))
    assert [(member.name, len(read())) for member, read in members(path)] == [("a", 10**6)]
    with pytest.raises(tarfile.ReadError, match="unpacks to more than"):
        list(members(path, max_unpacked_bytes=10**5))


def test_what_is_global_is_forgotten_with_each_member(tmp_path: Path) -> None:
    """However many such headers there are, they are never all in memory."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", pax_headers={"comment": "x"}) as tar:
        tar.addfile(tarfile.TarInfo("a"))
        tar.addfile(tarfile.TarInfo("b"))
    (tmp_path / "a.tar.xz").write_bytes(lzma.compress(buffer.getvalue()))
    headers = [member.pax_headers for member, _ in members(tmp_path / "a.tar.xz")]
    assert headers == [{"comment": "x"}, {}]
