import errno
import os
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from flowercolor import paths
from flowercolor.errors import StorageError
from flowercolor.files import (
    LEFTOVER_AGE_S,
    filling,
    locked,
    names_stream,
    parse_json,
    read_json,
    remove_leftovers,
    replacing,
    storage_errors,
    what_is_missing,
    write_bytes,
    write_text,
)


def test_a_file_is_written_where_no_folder_was(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.bin"
    write_bytes(path, b"\0new\n")
    assert path.read_bytes() == b"\0new\n"


def test_a_text_is_utf_8_with_the_line_ends_it_has(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "Löwenzahn\n")
    assert (tmp_path / "a.txt").read_bytes() == b"L\xc3\xb6wenzahn\n"


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_replaced_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    """And where it is to last, forced to the disk before it takes the name."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    path = tmp_path / "a.txt"
    path.write_text("old, and longer")
    with replacing(path, durable=durable) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old, and longer"
        assert temporary.parent == path.parent, "a rename across disks is no single step"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]
    assert len(synced) == durable


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt()])
def test_whatever_goes_wrong_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: BaseException
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(type(error)), replacing(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such rights")
@pytest.mark.parametrize("second_names", [True, False])
def test_without_overwrite_no_file_is_replaced_not_even_one_that_came_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second_names: bool
) -> None:
    def unknown(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    if not second_names:  # as on FAT
        monkeypatch.setattr(os, "link", unknown)
    path = tmp_path / "a.txt"
    with (
        pytest.raises(StorageError, match=r"a\.txt: is there already, and was not before"),
        replacing(path, overwrite=False) as temporary,
    ):
        temporary.write_text("ours")
        path.write_text("another's")
    assert path.read_text() == "another's"
    write_bytes(tmp_path / "b.txt", b"ours", overwrite=False)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.txt", "b.txt"]
    assert (tmp_path / "b.txt").stat().st_nlink == 1


@pytest.mark.parametrize("is_there", [True, False])
def test_a_folder_is_filled_as_a_whole_or_not_at_all(tmp_path: Path, is_there: bool) -> None:
    folder = tmp_path / "site"
    if is_there:
        folder.mkdir()
    with pytest.raises(StorageError, match="the disk is full"), filling(folder) as temporary:
        (temporary / "a.txt").write_text("a")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert [path.name for path in tmp_path.rglob("*")] == ["site"] * is_there
    with filling(folder) as temporary:
        (temporary / "below").mkdir()
        (temporary / "below" / "a.txt").write_text("a")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.txt", "below", "site"]
    with pytest.raises(StorageError, match="site: is there already"), filling(folder) as temporary:
        (temporary / "b.txt").write_text("b")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.txt", "below", "site"]


def test_a_file_gets_the_rights_that_files_usually_get(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "a", b"")
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such rights")
def test_a_file_that_is_replaced_keeps_its_rights(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch(mode=0o600)
    write_bytes(path, b"new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_rights_of_other_threads_files_are_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is one umask for all threads of a process, and it cannot be read without a change."""
    monkeypatch.setattr(os, "umask", None)
    write_bytes(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 251 + ".png")
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "the disk is full; free some space or choose another place"),
        (errno.EDQUOT, "the disk is full; free some space or choose another place"),
        (errno.EACCES, "writing there is not allowed; choose another place"),
        (errno.EROFS, "writing there is not allowed; choose another place"),
        (errno.ENAMETOOLONG, "its name is too long; choose a shorter one"),
        (
            errno.EFBIG,
            "it is larger than files may be there; choose another place, or raise the limit "
            "(`ulimit -f`)",
        ),
        (errno.EIO, f"{os.strerror(errno.EIO)}; choose another place"),
    ],
)
def test_an_error_of_the_system_says_what_to_do(code: int, advice: str) -> None:
    with pytest.raises(StorageError) as caught, storage_errors(Path("a.txt")):
        raise OSError(code, os.strerror(code))
    assert str(caught.value) == f"a.txt: cannot be written: {advice}"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO])
def test_what_has_a_place_of_its_own_says_how_to_move_it(code: int) -> None:
    for path, way in (
        (paths.archive_path(), "FLOWERCOLOR_CACHE_DIR"),
        (paths.runs_dir() / "run", "`out` or FLOWERCOLOR_DATA_DIR"),
    ):
        refused = pytest.raises(StorageError, match=f"choose another place by {way}$")
        with refused, storage_errors(path):
            raise OSError(code, os.strerror(code))


def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match=r"a\.txt: cannot be written: the disk is full"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(StorageError, match="cannot be written: there is a file where a folder"):
        write_text(tmp_path / "a" / "b", "")


def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    real, link = tmp_path / "far" / "a.txt", tmp_path / "b.txt"
    write_text(real, "old")
    link.symlink_to(real)
    write_text(link, "new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert list(real.parent.iterdir()) == [real]


def test_what_a_killed_process_left_goes_and_nothing_else(tmp_path: Path) -> None:
    """Nor what others may be writing in the folders below."""
    kept = [tmp_path / "a.tmp", tmp_path / ".flowercolor-rc", tmp_path / "b" / ".flowercolor-1.tmp"]
    for path in (*kept, tmp_path / ".flowercolor-0a.tmp"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    remove_leftovers(tmp_path)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(kept)
    remove_leftovers(tmp_path / "none")


@pytest.mark.parametrize(("refusals", "written"), [(3, "new"), (100, "old")])
def test_a_file_that_another_program_has_open_is_waited_for_a_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusals: int, written: str
) -> None:
    """As Windows refuses to replace it."""
    replace = Path.replace
    waits: list[float] = []

    def refuse(temporary: Path, target: Path) -> Path:
        if len(waits) < refusals and target.name == "a.txt":
            raise PermissionError(errno.EACCES, "in use")
        return replace(temporary, target)

    monkeypatch.setattr(Path, "replace", refuse)
    monkeypatch.setattr(time, "sleep", waits.append)
    (tmp_path / "a.txt").write_text("old")
    with suppress(StorageError):
        write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == written
    assert sum(waits) < 2
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such pipes")
def test_a_pipe_in_the_way_is_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a")
    with pytest.raises(StorageError, match="what is there is no file; choose another place"):
        write_text(tmp_path / "a", "")
    assert (tmp_path / "a").is_fifo()


def test_a_folder_in_the_way_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(StorageError, match="cannot be written"):
        write_text(tmp_path / "a", "")
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_a_lock_is_held_by_one_and_says_by_whom(tmp_path: Path) -> None:
    lock = tmp_path / "run" / ".lock"
    with (
        locked(lock, "trains here"),
        pytest.raises(StorageError, match=rf"run: process {os.getpid()} trains here; wait"),
        locked(lock, "trains here"),
    ):
        pass
    with locked(lock, "trains here"):
        pass
    assert [file.name for file in lock.parent.iterdir()] == [".lock"]


def test_the_lock_of_a_killed_process_blocks_nobody(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib; from flowercolor.files import locked\n"
        "with locked(pathlib.Path(sys.argv[1]), 'x'): os._exit(9)"
    )
    lock = tmp_path / ".lock"
    assert subprocess.run([sys.executable, "-c", code, lock], check=False).returncode == 9
    assert (tmp_path / ".lock.holder").exists()
    with locked(lock, "trains here"):
        pass


def test_old_leftovers_of_killed_processes_are_swept(tmp_path: Path) -> None:
    """At the first writing into a folder; those of a process that may still write stay."""
    old, new = (tmp_path / f".flowercolor-{name}.tmp" for name in ("old", "new"))
    for file in (old, new, tmp_path / "own.tmp"):
        file.touch()
    folder = tmp_path / ".flowercolor-folder.tmp"
    folder.mkdir()
    (folder / "page.js").touch()
    for leftover in (old, folder):
        os.utime(leftover, (time.time() - 2 * LEFTOVER_AGE_S,) * 2)
    write_text(tmp_path / "a.txt", "a")
    assert {file.name for file in tmp_path.iterdir()} == {new.name, "own.tmp", "a.txt"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": {"b": 1, "c": 2, "b": 3}}', "has 'b' twice; name it once, for all of it"),
        ("[" * 100_000, "is nested beyond all measure"),
        ("-" + "1" * 5000, "has a number of 5,001 digits"),
        ("[1,\n 2 3]", "is no JSON at line 2, column 4 (Expecting ',' delimiter)"),
    ],
)
def test_of_json_it_is_said_what_was_found(tmp_path: Path, text: str, found: str) -> None:
    with pytest.raises(ValueError) as refused:
        parse_json(text)
    assert str(refused.value) == found
    (tmp_path / "a.json").write_text(text)
    assert read_json(tmp_path / "a.json") is None


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
def test_a_stream_is_known_by_its_name(tmp_path: Path) -> None:
    for name in ("/dev/stdin", "/dev/../dev/stdout", "/dev/fd/0", "/proc/self/fd/1"):
        assert names_stream(name)
    for name in ("/dev/null", "/dev/shm/stdin", "/dev/stdin.png", "stdin", f"{tmp_path}/fd/0"):
        assert not names_stream(name)


def test_json_says_what_it_says() -> None:
    assert parse_json(b'{"a": [1, -2, 3.5, null, true, "b"]}') == {
        "a": [1, -2, 3.5, None, True, "b"]
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("Direkt.jpg", "there is no such file or folder, perhaps direkt.jpg"),
        ("box/rosa.jpg", f"there is no such file or folder, perhaps {Path('box/rose.jpg')}"),
        ("none/rose.jpg", "there is no such file or folder"),
        ("tulip.jpg", "there is no such file or folder"),
        ("dead.jpg", "is a link that leads nowhere"),
        ("*.gif", "there is no file or folder that fits this pattern"),
        ("'direkt.jpg'", "there is no such file or folder; the quotes count as a part of its name"),
    ],
)
def test_of_what_is_missing_the_likely_reason_is_said(here: Path, given: str, said: str) -> None:
    (here / "box").mkdir()
    for name in ("direkt.jpg", "box/rose.jpg"):
        (here / name).touch()
    (here / "dead.jpg").symlink_to("nowhere.jpg")
    assert what_is_missing(given) == said
