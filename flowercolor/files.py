"""Writing files so that nothing is ever half written."""

import difflib
import errno
import json
import os
import re
import secrets
import shutil
import stat
import time
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

from flowercolor.errors import SettingError, StorageError
from flowercolor.paths import way_elsewhere

MAX_TEXT_BYTES = 1 << 28
MAX_DIGITS = 400
"""Of a whole number in JSON, more than any float has."""

LEFTOVER_AGE_S = 86_400.0
"""A temporary file that nobody has written to for so long is a killed process's."""

# Unlike those of `Path`, all say False where the system will not tell, such as in a folder
# that may not be read or of a name that is too long. Opening it then says why.
is_there = os.path.exists
is_file = os.path.isfile
is_folder = os.path.isdir


def can_be_read(path: Path) -> bool:
    """Whether opening it does not wait for others, as a pipe does; True where opening says why."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # a name with a zero in it
        return True
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def why_unreadable(file: Path) -> str:
    """Why a file cannot be opened, in the system's words; "" where it can be."""
    try:
        with file.open("rb"):
            return ""
    except OSError as error:
        return error.strerror or type(error).__name__


def names_stream(path: str | Path) -> bool:
    """Whether it names a stream of the process, such as /dev/stdin, even if a file is behind it."""
    return _STREAM.fullmatch(os.path.normpath(Path(path).absolute())) is not None


_STREAM = re.compile(r"/dev/(std(in|out|err)|fd/\d+)|/proc/.+/fd/\d+")


def named_path(given: str | Path, what: str) -> Path:
    """A name as a path; of an empty one `Path` would make the folder that one is in.

    Args:
        what: The parameter that it was given by.

    Raises:
        SettingError: It is empty, or no name at all.
    """
    if given == "" or not isinstance(given, (str, os.PathLike)):
        found = "an empty name" if given == "" else repr(given)
        raise SettingError(
            f"{what} is {found}; expected a file or a folder (the one you are in is called .)"
        )
    path = Path(given)
    if ".." in path.parts and not is_there(path):  # a/../b, where there is no a, may be b
        where = resolved(path)
        return where if is_folder(where.parent) and not is_folder(path.parent) else path
    return path


def what_is_missing(path: str | Path) -> str:
    """What to say of a path where there is nothing: that, and what may have been meant."""
    name = str(path)
    if Path(path).is_symlink():
        return "is a link that leads nowhere"
    if any(mark in name for mark in "*?"):
        return "there is no file or folder that fits this pattern"
    if name[:1] in ("'", '"') and name[-1:] == name[:1]:
        return "there is no such file or folder; the quotes count as a part of its name"
    try:
        beside = {entry.name.casefold(): entry for entry in Path(path).parent.iterdir()}
    except (OSError, ValueError):  # not there either; a name with a zero in it
        beside = {}
    near = difflib.get_close_matches(Path(path).name.casefold(), beside, 1, cutoff=0.8)
    perhaps = f", perhaps {beside[near[0]]}" if near else ""
    return f"there is no such file or folder{perhaps}"


def resolved(path: Path) -> Path:
    """Like `Path.resolve`, which raises at a loop of links in older versions of Python."""
    return Path(os.path.realpath(path))


def read_bounded(path: Path, max_bytes: int = MAX_TEXT_BYTES) -> bytes:
    """What a file of somebody's holds that is read whole, such as a table.

    Raises:
        OSError: It cannot be read, it is a pipe or a device, whose reading may never end, or it has
            more than `max_bytes`.
    """
    if not can_be_read(path):
        raise OSError(errno.EINVAL, "is a pipe or a device")
    if path.stat().st_size > max_bytes:
        raise OSError(errno.EFBIG, f"has more than {max_bytes >> 20} MB")
    return path.read_bytes()


def parse_json(text: str | bytes) -> Any:
    """What a text of JSON says.

    Raises:
        ValueError: It is none, has a name twice in one object, of which `json` keeps the last, has
            a number of more than `MAX_DIGITS` digits, or is nested too deep; the message says what
            was found, to stand behind the name of the text.
    """
    try:
        return json.loads(text, object_pairs_hook=_named_once, parse_int=_whole_number)
    except json.JSONDecodeError as error:
        at = f"line {error.lineno}, column {error.colno}"
        raise ValueError(f"is no JSON at {at} ({error.msg})") from error
    except RecursionError:
        raise ValueError("is nested beyond all measure") from None


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        count = Counter(name for name, _ in pairs)
        raise ValueError(f"has {count.most_common(1)[0][0]!r} twice; name it once, for all of it")
    return values


def _whole_number(digits: str) -> int:
    if len(digits) > MAX_DIGITS:  # of which Python refuses some thousands
        raise ValueError(f"has a number of {len(digits):,} digits")
    return int(digits)


def read_json(path: Path) -> Any:
    """What a file of JSON holds; None where it cannot be read, or holds something else."""
    try:
        return parse_json(read_bounded(path))
    except (OSError, ValueError):
        return None


def check_folder_name(path: Path) -> None:
    """Make sure that a folder is there, or may be made.

    Raises:
        SettingError: A file, a device or a pipe is there.
    """
    if is_there(path) and not is_folder(path):
        raise SettingError(f"{path}: is no folder; expected one, or a name that is free")


def may_be_written(folder: Path) -> bool:
    """Whether files may be written into a folder that is there, or is to be made."""
    places = (folder, *folder.absolute().parents)
    return os.access(next(filter(is_there, places), folder), os.W_OK)


Identity = tuple[int, int]


def identity(path: Path) -> Identity | None:
    """What tells that two paths are one file, however they are spelled; None if there is none."""
    try:
        stat = path.stat()
    except (OSError, ValueError):  # a name with a zero in it
        return None
    return stat.st_dev, stat.st_ino


def alike(path: PurePath) -> str:
    """What two paths share that are one file on some system, whatever the case of their letters."""
    return unicodedata.normalize("NFC", str(path).casefold())


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn an `OSError` met while writing `path` into a `StorageError` that says what to do."""
    try:
        yield
    except OSError as error:
        elsewhere = way_elsewhere(path)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            advice = f"the disk is full; free some space or {elsewhere}"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            advice = f"writing there is not allowed; {elsewhere}"
        elif error.errno in (errno.EEXIST, errno.ENOTDIR):
            advice = f"there is a file where a folder should be; {elsewhere}"
        elif error.errno == errno.ENAMETOOLONG:
            advice = "its name is too long; choose a shorter one"
        elif error.errno == errno.EFBIG:
            advice = (
                f"it is larger than files may be there; {elsewhere}, or raise the limit "
                "(`ulimit -f`)"
            )
        else:
            advice = f"{error.strerror or error}; {elsewhere}"
        raise StorageError(f"{path}: cannot be written: {advice}") from error


@contextmanager
def replacing(path: Path, *, overwrite: bool = True, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its place once the block ends well.

    Whatever happens in the block, `path` holds either its old content or the whole new one.

    Args:
        path: Where the file is to stand; missing parent folders are made. A link stays, and the
            file that it leads to is replaced.
        overwrite: Whether to replace a file that is there, or came there in the meantime.
        durable: Also force the bytes to the disk before the swap, so that a power cut
            cannot leave an empty file. Costs a flush, some 10 ms and more.

    Raises:
        StorageError: The disk is full, writing is not allowed, a folder, a device or a pipe is
            there, or, without `overwrite`, a file.
    """
    target = Path(os.path.realpath(path))
    if is_there(target) and not target.is_file():
        raise StorageError(
            f"{path}: cannot be written: what is there is no file; choose another place"
        )
    with storage_errors(path):
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent)
        # Not `mkstemp`, whose files only the owner reads: giving them the usual rights means
        # to change the umask for a moment, of all threads.
        temporary = _temporary_beside(target)
        temporary.touch(exist_ok=False)
    try:
        with storage_errors(path):
            yield temporary
            if durable:
                with temporary.open("rb+") as file:
                    os.fsync(file.fileno())
            if not overwrite:
                _put_where_nothing_is(temporary, target, path)
                return
            if target.is_file():
                temporary.chmod(stat.S_IMODE(target.stat().st_mode))
            _replace(temporary, target)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


@contextmanager
def filling(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder whose content becomes that of `folder` once the block ends well.

    Otherwise nothing is left of it.

    Args:
        folder: Not there, or empty; missing parent folders are made.

    Raises:
        StorageError: The disk is full, writing is not allowed, or the folder is not empty.
    """
    target = resolved(folder)
    with storage_errors(folder):
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent)
        temporary = _temporary_beside(target)
        temporary.mkdir()
    try:
        with storage_errors(folder):
            yield temporary
            if not is_there(target):
                temporary.rename(target)
                return
            if any(target.iterdir()):
                raise _came_meanwhile(folder)
            for item in temporary.iterdir():  # it stays the folder it is: somebody may be in it
                item.rename(target / item.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _temporary_beside(target: Path) -> Path:
    return target.with_name(f".flowercolor-{secrets.token_hex(8)}.tmp")


def _put_where_nothing_is(temporary: Path, target: Path, path: Path) -> None:
    try:
        os.link(temporary, target)  # unlike a rename, it writes over nothing
    except FileExistsError:
        raise _came_meanwhile(path) from None
    except OSError:  # FAT and some network drives know no second name of a file
        if is_there(target):
            raise _came_meanwhile(path) from None
        _replace(temporary, target)


def _came_meanwhile(path: Path) -> StorageError:
    return StorageError(
        f"{path}: is there already, and was not before; expected a name that is free: another "
        "process writes there, so choose another output"
    )


def _replace(temporary: Path, target: Path) -> None:
    # Windows refuses while anybody has the file open: a viewer, or a virus scanner for some
    # milliseconds.
    for wait_s in (0.05, 0.1, 0.2, 0.4, 0.8):
        try:
            temporary.replace(target)
        except PermissionError:
            time.sleep(wait_s)
        else:
            return
    temporary.replace(target)


@contextmanager
def locked(lock: Path, doing: str) -> Iterator[None]:
    """Hold a lock file while the block runs, so that no other process does the same beside it.

    The system lets go of it when the process ends, however it ends: a file that was left blocks
    nobody. Where the file system has no locks, nothing is locked.

    Args:
        doing: What the holder does, for the error: "downloads to x.tgz".

    Raises:
        StorageError: Another process holds it, or the file cannot be made.
    """
    from filelock import FileLock, Timeout  # noqa: PLC0415 - only who writes needs it

    holder = lock.with_name(f"{lock.name}.holder")  # Windows lets nobody read a locked file
    held = FileLock(lock, timeout=0)
    with storage_errors(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            held.acquire()
        except Timeout:
            who = holder.read_text(encoding="utf-8") if is_file(holder) else "another process"
            raise StorageError(
                f"{lock.parent}: {who[:100]} {doing}; wait for it to end, or stop it"
            ) from None
        except NotImplementedError:  # no such locks on this file system
            pass
        else:
            holder.write_text(f"process {os.getpid()}", encoding="utf-8")
    try:
        yield
    finally:
        if held.is_locked:
            holder.unlink(missing_ok=True)
        held.release()


@lru_cache(maxsize=1024)
def _sweep(folder: Path) -> None:
    """Delete what killed processes left in a folder, once a process: temporary files, folders."""
    for leftover in folder.glob(".flowercolor-*.tmp"):
        with suppress(OSError):  # old ones alone: others may be writing there
            if time.time() - leftover.stat().st_mtime > LEFTOVER_AGE_S:
                shutil.rmtree(leftover) if is_folder(leftover) else leftover.unlink()


def remove_leftovers(folder: Path) -> None:
    """Delete what `replacing` left in a folder when its process was killed.

    Nobody else may be writing there.
    """
    for leftover in folder.glob(".flowercolor-*.tmp"):
        leftover.unlink(missing_ok=True)


def remove_files(files: Iterable[Path], top: Path, others: Iterable[Path] = ()) -> None:
    """Delete files below a folder, and those folders between that hold nothing without them.

    Args:
        others: Files whose folders stay, for which another process may be making them just now.

    Raises:
        StorageError: A file cannot be deleted.
    """
    emptied: set[Path] = set()
    for file in files:
        with storage_errors(file), suppress(FileNotFoundError):
            file.unlink()
            emptied.update(folder for folder in file.parents if top in folder.parents)
    for folder in sorted(emptied.difference(*(file.parents for file in others)), reverse=True):
        with suppress(OSError):  # which holds something else
            folder.rmdir()


def write_bytes(path: Path, content: bytes, *, overwrite: bool = True) -> None:
    """Write `content` to `path`, whole or not at all.

    Raises:
        StorageError: The disk is full, writing is not allowed, or, without `overwrite`, a file is
            there.
    """
    with replacing(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write `content` to `path` as UTF-8, whole or not at all.

    Raises:
        StorageError: The disk is full or writing is not allowed.
    """
    write_bytes(path, content.encode())
