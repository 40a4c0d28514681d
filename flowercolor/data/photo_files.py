"""Which files of a folder or an archive are photos to learn from, by their names and places."""

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from flowercolor.errors import counted, first_few
from flowercolor.photos import formats
from flowercolor.progress import Progress
from flowercolor.runs import left_by

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

UNREAD = formats.UNREAD | formats.SUFFIXES - SUFFIXES
"""Endings of pictures that are not read for training."""


def pictures_below(folder: Path, progress: Progress) -> tuple[list[Path], list[Path]]:
    """Its picture files, relative to it and sorted, and those of kinds that are not read."""

    def unreadable(error: OSError) -> None:
        progress.note(f"{error.filename}: cannot be read: {error.strerror}; left out")

    names: list[Path] = []
    made: list[str] = []
    links = 0
    for parent, folders, files in os.walk(folder, onerror=unreadable):
        below = Path(parent).relative_to(folder)
        if origin := left_by(Path(parent)):
            inside = (name for _, _, below_it in os.walk(parent) for name in below_it)
            count = counted(sum(is_picture(Path(name)) for name in inside), "picture")
            made.append(f"{below} ({origin}, {count})")
            folders.clear()
            continue
        names += [below / name for name in files]
        links += sum(
            Path(parent, name).is_symlink() and not _is_passed_over(below / name)
            for name in folders
        )
    if made:
        some = first_few(sorted(made))
        progress.note(
            f"{folder}: pictures in the folders of runs and evaluations, left out: {some}"
        )
    if links:
        some = "a link to a folder" if links == 1 else f"{links:,} links to folders"
        progress.note(f"{folder}: has {some}, left out; expected the photos themselves")
    pictures = sorted(name for name in names if is_picture(name))
    return pictures, [name for name in names if is_picture(name, UNREAD)]


def unread_in_words(unread: Sequence[Path]) -> str:
    """What is left out for its kind; "" for nothing."""
    if not unread:
        return ""
    kinds = ", ".join(sorted({path.suffix.lower() for path in unread}))
    files = "file of a kind" if len(unread) == 1 else "files of kinds"
    return f"{len(unread):,} {files} not read for training ({kinds}; save as JPEG)"


def no_files_in_words(counts: Mapping[str, int]) -> str:
    """What of an archive is named as photos and no file, by `archive.kind_of`; "" for nothing."""
    if not counts:
        return ""
    found = " and ".join(counted(count, kind) for kind, count in counts.items())
    way = " (`tar -h` packs what links lead to)" if "link" in counts else ""
    return f"{found} in place of photos{way}"


def is_picture(path: Path, suffixes: Collection[str] = SUFFIXES) -> bool:
    """Whether a path within the source has one of the endings, and no part of it is passed over."""
    return path.suffix.lower() in suffixes and not _is_passed_over(path)


def _is_passed_over(path: Path) -> bool:
    return any(
        (part.startswith(".") and part != "..") or formats.holds_no_photos(part)
        for part in path.parts
    )
