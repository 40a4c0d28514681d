"""Finding the photos that a person means by files, folders and patterns."""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

from flowercolor.errors import ImageError
from flowercolor.files import is_there
from flowercolor.photos.formats import SIDECARS, UNREAD, holds_no_photos, is_picture, probe

_HIDDEN_ON_WINDOWS = 2


class Finder:
    """Expands patterns and looks into folders, and counts what it leaves out.

    Args:
        exclude: Patterns, such as "*_proof.*" or "private", of names or of paths below the
            folder or the place that is looked at.
    """

    def __init__(self, *, recursive: bool = False, exclude: Sequence[str] = ()) -> None:
        self._recursive = recursive
        self._exclude = [pattern.rstrip("/\\").lower() for pattern in exclude]
        self._excluded = 0
        self._unread: Counter[str] = Counter()
        self._sidecars: Counter[str] = Counter()
        self._links = 0
        self._below: list[int] = []  # photos in each folder that is not looked into

    def expand(self, inputs: Iterable[str | Path]) -> Iterator[tuple[Path, Path]]:
        """The files and folders named, each with the part of its path that is no pattern's.

        A pattern that fits none stands for itself.
        """
        for given in inputs:
            path = Path(given)
            if is_there(path):
                yield path, path
                continue
            # The shell has done this already, but for quoted patterns and on Windows. Brackets
            # may be those of a folder's name.
            for pattern in (str(given), str(given).replace("[", "[[]")):
                if matches := sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 - any root
                    break
            named = {part.lower() for part in path.parts}
            for match in map(Path, matches or [str(given)]):
                if not any(
                    part.lower() not in named and holds_no_photos(part) for part in match.parts
                ):
                    yield match, Path(os.path.commonpath([given, match]))

    def is_excluded(self, path: Path) -> bool:
        """Whether a pattern fits a path or one of its parts; counted if so."""
        spelled = path.as_posix().lower()
        parts = spelled.split("/")
        excluded = any(
            fnmatch(name, pattern) for pattern in self._exclude for name in (spelled, *parts)
        )
        self._excluded += excluded
        return excluded

    def pictures_in(self, folder: Path, without: Path) -> list[Path]:
        """Its pictures, sorted, without what is hidden or lies in the output folder `without`.

        A folder below it that cannot be read is there too, and so are pipes and links that lead
        nowhere: reading them as photos says why.

        Raises:
            ImageError: The folder itself cannot be read.
        """
        output = os.path.realpath(without)
        found: list[Path] = []

        def unreadable(error: OSError) -> None:
            if Path(error.filename) == folder:
                raise ImageError(f"{folder}: cannot be read: {error.strerror}") from error
            if self._recursive:
                found.append(Path(error.filename))

        for parent, folders, names in os.walk(folder, onerror=unreadable):
            pictures: list[Path] = []
            looked_at = self._recursive or Path(parent) == folder
            for name in names:
                path = Path(parent, name)
                if not is_picture(path):
                    ending = path.suffix.lower()
                    if looked_at and not name.startswith("."):
                        self._unread[ending] += ending in UNREAD
                        self._sidecars[ending] += ending in SIDECARS
                elif not self.is_excluded(path.relative_to(folder)):
                    pictures.append(path)
            if looked_at:
                found += pictures
            elif pictures:
                # Where another call has put its results, the first is one: reading all takes long.
                first = probe(pictures[0])
                if not (first and first.made_here):
                    self._below.append(len(pictures))
            folders[:] = [
                name
                for name in folders
                if not holds_no_photos(name)
                and not _is_hidden(Path(parent, name))
                and os.path.realpath(Path(parent, name)) != output
                and not self.is_excluded(Path(parent, name).relative_to(folder))
            ]
            if looked_at:  # `walk` looks into none of them
                self._links += sum(Path(parent, name).is_symlink() for name in folders)
        return sorted(found)

    def notes(self) -> list[str]:
        """A line for each kind of what was left out."""
        lines = []
        if self._below:
            lines.append(
                f"{_count(sum(self._below), 'photo')} in {_count(len(self._below), 'subfolder')} "
                "not looked at: `recursive` looks into subfolders"
            )
        for counts, kind in (
            (self._unread, "of kinds that are not read"),
            (self._sidecars, "of notes on photos"),
        ):
            if number := counts.total():
                endings = ", ".join(sorted(ending for ending in counts if counts[ending]))
                lines.append(f"{_count(number, 'file')} {kind}, left out: {endings}")
        if self._links:
            some = "a link to a folder" if self._links == 1 else f"{self._links} links to folders"
            lines.append(f"Left out: {some}; name the folders themselves")
        if self._excluded:
            lines.append(f"Left out by `exclude`: {self._excluded}")
        return lines


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _is_hidden(folder: Path) -> bool:
    if folder.name.startswith("."):
        return True
    try:
        attributes = getattr(folder.stat(), "st_file_attributes", 0)
    except OSError:
        return False
    return bool(attributes & _HIDDEN_ON_WINDOWS)
