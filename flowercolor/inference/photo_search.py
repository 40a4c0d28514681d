"""Finding the photos that a person means by files, folders and patterns."""

import glob
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

from flowercolor.config import texts
from flowercolor.errors import ImageError, counted, first_few
from flowercolor.files import is_there, resolved, why_unreadable
from flowercolor.photos.formats import SIDECARS, UNREAD, holds_no_photos, is_picture
from flowercolor.photos.metadata import is_original, is_result, probe

SUFFIX = "_color"
"""What the name of a result beside its photo has after the photo's."""

SHEET = ".variants.png"
"""The same of a sheet of variants, after the photo's ending."""

_HIDDEN_ON_WINDOWS = 2
_LOOKED_AT = 16


class Finder:
    """Expands patterns and looks into folders, and counts what it leaves out.

    Args:
        exclude: Patterns, such as "*_proof.*" or "private", of names or of paths, below the
            folder or the place that is looked at, or with it.
    """

    def __init__(self, *, recursive: bool = False, exclude: str | Sequence[str] = ()) -> None:
        self._recursive = recursive
        # Spots, so that what is named twice, as itself and within a folder, counts once.
        self._excluded: dict[str, set[Path]] = {pattern: set() for pattern in texts(exclude)}
        self._outputs: dict[Path, Path] = {}  # met below a folder, by their full spellings
        self._unread: set[Path] = set()
        self._sidecars: set[Path] = set()
        self._links: set[Path] = set()
        self._below: dict[Path, set[str]] = {}  # photos in each folder that is not looked into
        self._empty: dict[Path, None] = {}  # those given, in their order

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

    def is_excluded(self, path: Path, root: Path = Path()) -> bool:
        """Whether a pattern fits a path below `root` or one of its parts; counted if so."""
        spelled = path.as_posix().lower()
        names = (spelled, *spelled.split("/"))
        excluded = False
        for pattern, paths in self._excluded.items():
            plain = pattern.rstrip("/\\").removeprefix("./").lower()
            below = plain.removeprefix(f"{root.as_posix().lower()}/")  # as the shell completes it
            if any(fnmatch(name, plain) for name in names) or fnmatch(spelled, below):
                paths.add(spot(root / path))
                excluded = True
        return excluded

    def pictures_in(self, folder: Path, without: Path) -> list[Path]:
        """Its pictures, sorted, without what is hidden or lies in the output folder `without`.

        A folder below it that cannot be read is there too, and so are pipes and links that lead
        nowhere: reading them as photos says why.

        Raises:
            ImageError: The folder itself cannot be read.
        """
        output = resolved(without)
        found: list[Path] = []
        self._empty[folder] = None

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
                        for endings, paths in ((UNREAD, self._unread), (SIDECARS, self._sidecars)):
                            if ending in endings:
                                paths.add(spot(path))
                    continue
                self._empty.pop(folder, None)
                if not self.is_excluded(path.relative_to(folder), folder):
                    pictures.append(path)
            if looked_at:
                found += pictures
            elif photos := _without_results(pictures):
                self._below[resolved(Path(parent))] = {photo.name for photo in photos}
            folders[:] = [
                name
                for name in folders
                if not self.is_excluded(Path(parent, name).relative_to(folder), folder)
                and not holds_no_photos(name)
                and not _is_hidden(Path(parent, name))
            ]
            for name in folders.copy():
                if resolved(path := Path(parent, name)) == output:
                    self._outputs.setdefault(output, path)
                    folders.remove(name)
            if looked_at:  # `walk` looks into none of them
                inside = (Path(parent, name) for name in folders)
                self._links.update(spot(path) for path in inside if path.is_symlink())
        return sorted(found)

    def notes_on_outputs(self, known: Collection[Path]) -> Iterator[str]:
        """A line for each output folder that was passed over with somebody's photos in it.

        Args:
            known: The spots of photos that are colored and of results, which are not looked at.
        """
        for folder in self._outputs.values():
            inside = Finder(recursive=True)
            with suppress(ImageError):
                photos = [
                    photo
                    for photo in inside.pictures_in(folder, without=folder)
                    if spot(photo) not in known
                    and is_original(photo, probe(photo))
                    and not why_unreadable(photo)
                ]
                if photos:
                    yield (
                        f"The output folder {folder} holds {counted(len(photos), 'photo')} that "
                        "flowercolor did not make, left out"
                    )

    def notes(self, taken: Collection[Path] = ()) -> list[str]:
        """A line for each kind of what was left out.

        Args:
            taken: The spots of the photos that are colored.
        """
        lines = []
        if self._empty and taken:  # else there is no photo at all, which is an error
            lines.append(f"No pictures in: {first_few(map(str, self._empty))}")
        left = [
            place
            for folder, names in self._below.items()
            for name in names
            if (place := folder / name) not in taken
        ]
        if left:
            folders = counted(len({place.parent for place in left}), "subfolder")
            lines.append(
                f"{counted(len(left), 'photo')} in {folders} not looked at: `recursive` looks into "
                "subfolders"
            )
        for paths, kind in (
            (self._unread, "of kinds that are not read"),
            (self._sidecars, "of notes on photos"),
        ):
            if paths:
                endings = ", ".join(sorted({path.suffix.lower() for path in paths}))
                lines.append(f"{counted(len(paths), 'file')} {kind}, left out: {endings}")
        looked_in = {place.parent for place in taken}
        if links := [link for link in self._links if resolved(link) not in looked_in]:
            some = "a link to a folder" if len(links) == 1 else f"{len(links)} links to folders"
            lines.append(f"Left out: {some}; name the folders themselves")
        if excluded := {path for paths in self._excluded.values() for path in paths}:
            lines.append(f"Left out by `exclude`: {len(excluded)}")
        lines += (
            f"`exclude` {pattern}: no photo or folder that was looked at has such a name"
            for pattern, paths in self._excluded.items()
            if not paths
        )
        return lines


def spot(path: Path) -> Path:
    """The path in its one full spelling; a link stands for itself."""
    return resolved(path.parent) / path.name


def _without_results(pictures: Sequence[Path]) -> list[Path]:
    """The pictures of a folder but the results among them, told by their names and a few headers.

    Where another call has put its results all are such, and to read them all takes long.
    """
    names = {picture.name for picture in pictures}
    stems = {picture.stem for picture in pictures}
    photos = sorted(
        picture
        for picture in pictures
        if not (picture.stem.endswith(SUFFIX) and picture.stem.removesuffix(SUFFIX) in stems)
        and not (picture.name.endswith(SHEET) and picture.name.removesuffix(SHEET) in names)
    )
    looked_at = photos[:_LOOKED_AT]
    results = {photo for photo in looked_at if is_result(probe(photo))}
    return (
        [photo for photo in photos if photo not in results] if len(results) < len(looked_at) else []
    )


def _is_hidden(folder: Path) -> bool:
    if folder.name.startswith("."):
        return True
    try:
        attributes = getattr(folder.stat(), "st_file_attributes", 0)
    except OSError:
        return False
    return bool(attributes & _HIDDEN_ON_WINDOWS)
