"""Coloring files: which photo goes to which file.

Targets are decided on before anything is colored, so that no two photos get the same one and
no photo is overwritten.
"""

import itertools
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from flowercolor.errors import ImageError, SettingError, first_few
from flowercolor.files import (
    alike,
    identity,
    is_file,
    is_folder,
    is_there,
    named_path,
    names_stream,
    resolved,
    why_unreadable,
)
from flowercolor.inference.photo_search import SUFFIX, Finder, spot
from flowercolor.photos.formats import WRITABLE, is_picture, output_format
from flowercolor.photos.metadata import Header, is_original, is_result, probe
from flowercolor.progress import Progress, Silent
from flowercolor.provenance import lost_by_hand
from flowercolor.torchrun import ranks, shard

FALLBACK_ENDING = ".png"


@dataclass(frozen=True)
class Job:
    """A photo to color and the file to write.

    Attributes:
        header: What the photo's header says; None of what is no photo, or was not looked at.
    """

    source: Path
    target: Path
    header: Header | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        for name in ("source", "target"):
            object.__setattr__(self, name, named_path(getattr(self, name), name))


def plan(
    inputs: str | Path | Sequence[str | Path],
    output: str | Path | None = None,
    *,
    recursive: bool = False,
    exclude: str | Sequence[str] = (),
    ending: str | None = None,
    for_sheet: bool = False,
    progress: Progress | None = None,
) -> list[Job]:
    """The photos meant by files, folders and glob patterns, each with its target.

    A folder stands for the pictures in it, and below it if `recursive`; its tree is kept. Of a
    pattern, the tree below its fixed part is: what it finds later moves no result.
    Photos whose targets would be one file keep more of their paths, then their old ending,
    then get a number, in the name. A photo named twice is taken once. Earlier results among the
    photos, as a pattern finds them, are left out, unless nothing else was named.

    Args:
        inputs: Files, folders, or patterns where no file has that name; one of them, or several.
        output: The file to write, for one photo; else a folder, which a slash at the end names
            in any case. None writes beside the photo, with "_color" in the name, and for a folder
            into one beside it.
        exclude: Patterns of names, or of paths below the folders, to leave out; one, or several.
        ending: The ending of all targets, ".png" or "png" for example; None keeps each photo's
            own where it can be written, and takes PNG elsewhere.
        for_sheet: Only the folders of the targets count, for sheets lie there under other names.
        progress: Told what was left out, a line for each kind.

    Returns:
        A job for each photo; none where the folders or patterns have no pictures.

    Raises:
        ImageError: A folder cannot be read.
        SettingError: One output file was given for several photos, a folder alone as the output
            of itself, a stream such as /dev/stdin as a photo, or an empty name; or an ending is of
            no format that can be written.
    """
    progress = progress or Silent()
    inputs = [*inputs] if isinstance(inputs, Iterable) and not isinstance(inputs, str) else [inputs]
    for given in inputs:
        named_path(given, "inputs")
    if ending is not None:
        ending = f".{ending.removeprefix('.')}"
        output_format(Path(f"*{ending}"))
    can_be_file = not str(output or "").endswith(("/", os.sep))  # `Path` drops that
    output = None if output is None else named_path(output, "output")
    finder = Finder(recursive=recursive, exclude=exclude)
    found, left_out = _places(finder, inputs, output)
    neighbors = _neighbors([*found.values()], ending, finder)
    for line in finder.notes(found):
        progress.note(line)
    if left_out and not found:
        raise SettingError(f"{left_out}: is its own output folder; choose another output")
    if left_out:  # the second time that a pattern is given, it finds it too
        progress.note(f"The output folder is among the photos, left out: {left_out}")
    found = _without_results(found, progress)
    places = list(found.values())
    in_folder = any(map(is_folder, inputs))
    if output is not None and can_be_file and not is_folder(output):
        if is_there(output) and not is_file(output):
            raise SettingError(
                f"{output}: is a device or a pipe; expected a file or a folder, or - for standard "
                "output"
            )
        if output.suffix and len(places) == 1 and not in_folder:
            try:
                output_format(output)
            except SettingError as error:
                raise SettingError(
                    f"{error}; a new folder of that name ends with a slash"
                ) from None
            return [Job(places[0].source, output, places[0].header)]
        _check_folder_of(output, places, in_folder=in_folder)
    places = [place._replace(name=_with_ending(place.name, ending)) for place in places]
    jobs = _apart(places, neighbors)
    for line in () if for_sheet else _notes_on_names(places, jobs):
        progress.note(line)
    if not left_out:  # which has been said
        for line in finder.notes_on_outputs({*found, *(spot(job.target) for job in jobs)}):
            progress.note(line)
    return jobs


def shard_of(jobs: list[Job]) -> list[Job]:
    """This process's share of the jobs, where `torchrun` started several.

    Another process may have written results already that a pattern finds as photos here. The
    leader alone has those, so that the rest is the same list in all.
    """
    if ranks().size == 1:
        return jobs
    results = {job.target for job in jobs}
    photos = [job for job in jobs if job.source not in results]
    found = [job for job in jobs if job.source in results]
    return [*shard(photos), *(found if ranks().leads else ())]


def check_target(target: Path) -> Header | None:
    """Make sure that what is to be written over is no photo of its own.

    Returns:
        What its header says; None where it is no photo.

    Raises:
        ImageError: flowercolor did not write it, as far as can be known.
    """
    found, header = "", probe(target)
    if target.suffix.lower() == ".bmp":
        found = "is a BMP, which does not say what made it"
    elif is_original(target, header):
        found = "holds what flowercolor did not make"
        if why := why_unreadable(target):
            found = f"cannot be read ({why}), and may be anything"
    if found:
        raise ImageError(f"{target}: {found}; choose another output or format, or delete it first")
    return header


def colored_by_hand(result: Header | None, now: str = "") -> str:
    """Such as "colored with hints", of a result with more by hand than this record has; or ""."""
    lost = lost_by_hand(result.software, now) if result else []
    return f"colored with {' and '.join(lost)}" if lost else ""


def target_is_free(target: Path, progress: Progress, *, overwrite: bool) -> bool:
    """Whether a result may be written there; a note says so where one is there to be kept.

    Raises:
        ImageError: What is to be written over is no result.
    """
    if is_there(target):
        if not overwrite:
            progress.note(f"Skipped: {target} is there already; `overwrite` replaces it")
            return False
        check_target(target)
    return True


class _Place(NamedTuple):
    source: Path
    folder: Path  # that its target goes into
    root: Path  # that it was found in
    name: Path  # its target's, below the folder
    header: Header | None = None
    by_itself: bool = False  # not as one of a folder

    @property
    def wanted(self) -> Path:
        """Its target, unless another has the same."""
        return self.folder / self.name


def _places(
    finder: Finder, inputs: Sequence[str | Path], output: Path | None
) -> tuple[dict[Path, _Place], Path | None]:
    """The pictures, each once, by where they are; and a folder that is its own output, if any."""
    found: dict[Path, _Place] = {}
    left_out: Path | None = None
    for given, fixed in finder.expand(inputs):
        if names_stream(given):  # beside which there is no place for a result
            raise SettingError(f"{given}: is a stream; expected a file, or - for standard input")
        if is_folder(given):
            folder = output or _folder_beside(given)
            if resolved(folder) == resolved(given):
                left_out = given
                continue
            root = fixed if output else given
            places = [
                _Place(source, folder, resolved(root), source.relative_to(root))
                for source in finder.pictures_in(given, without=folder)
            ]
        elif not finder.is_excluded(given):
            beside = given.with_stem(f"{given.stem}{SUFFIX}")
            root = fixed if output and fixed != given else given.parent
            name = (given if output else beside).relative_to(root)
            places = [_Place(given, output or root, resolved(root), name, by_itself=True)]
        else:
            continue
        for place in places:
            where = spot(place.source)
            if where not in found:
                found[where] = place._replace(header=probe(place.source))
    return found, left_out


def _without_results(found: dict[Path, _Place], progress: Progress) -> dict[Path, _Place]:
    """The pictures but those that flowercolor made, unless there are no others."""
    photos = {where: place for where, place in found.items() if not is_result(place.header)}
    if photos and len(photos) < len(found):
        progress.note(f"Earlier results among the photos, left out: {len(found) - len(photos)}")
    return photos or found


def _check_folder_of(output: Path, places: Sequence[_Place], *, in_folder: bool) -> None:
    """Refuse what cannot become the folder of these results."""
    if not places or not (output.suffix.lower() in WRITABLE or is_there(output)):
        return
    missing = [str(place.source) for place in places if not is_there(place.source)]
    if len(places) > 1 and missing and not in_folder:
        raise SettingError(
            f"{', '.join(missing)}: there is no such file or folder; expected one photo for "
            f"{output}; put a name with spaces in quotes"
        )
    single = "a folder's photo" if in_folder else "the photo"
    meant = f"{len(places)} photos" if len(places) > 1 else single
    raise SettingError(
        f"{output}: is a file or named like one; expected a folder to write {meant} into"
    )


def _folder_beside(given: Path) -> Path:
    named = given if given.name not in ("", "..") else resolved(given)
    return named.parent / f"{named.name}{SUFFIX}"


def _with_ending(name: Path, ending: str | None) -> Path:
    own = name.suffix.lower()
    if ending is None and own in WRITABLE:
        return name
    return name.with_suffix(ending or (".jpg" if own == ".mpo" else FALLBACK_ENDING))


def _neighbors(places: Sequence[_Place], ending: str | None, finder: Finder) -> list[_Place]:
    """The photos beside those named, not named themselves, whose results would have their names.

    So a photo's result is called the same whether it was named or its whole folder, of which all
    are named.
    """
    named = {
        (place.source.parent, alike(Path(place.source.stem))): place
        for place in places
        if place.by_itself
    }
    if not named:
        return []
    known = {identity(place.source) for place in places}
    targets = {_letters(place.folder / _with_ending(place.name, ending)) for place in places}
    neighbors = []
    for folder in {folder for folder, _ in named}:
        with suppress(OSError):
            for path in folder.iterdir():
                like = named.get((folder, alike(Path(path.stem))))
                if not like or not is_picture(path) or is_folder(path) or identity(path) in known:
                    continue
                added = like.name.stem.removeprefix(like.source.stem)
                name = _with_ending(like.name.with_name(path.stem + added + path.suffix), ending)
                is_target = _letters(path) in targets  # such as a BMP, which does not say so
                if is_target or _letters(like.folder / name) not in targets:
                    continue
                if not is_result(probe(path)) and not finder.is_excluded(path):
                    neighbors.append(like._replace(source=path, name=name))
    return neighbors


def _apart(places: Sequence[_Place], neighbors: Sequence[_Place]) -> list[Job]:
    """The jobs with targets that differ, by more than the case or the coding of their letters.

    Where some would be one file, first the folders that set the inputs apart go into the
    target's path, then the source's own ending into its name, and last a number.

    Args:
        neighbors: No jobs; their results' names are theirs.
    """
    count_of_jobs = len(places)
    places = [*places, *neighbors]
    roots: defaultdict[Path, set[Path]] = defaultdict(set)
    for place in places:
        roots[place.folder].add(place.root)

    def with_folder(place: _Place) -> Path:
        return place.folder / _below_common(place.root, roots[place.folder]) / place.name

    def with_ending(place: _Place) -> Path:
        target = with_folder(place)
        return target.with_name(f"{target.stem}{place.source.suffix}{target.suffix}")

    targets = [place.wanted for place in places]
    for rename in (with_folder, with_ending):
        count = Counter(map(_letters, targets))
        targets = [
            target if count[_letters(target)] == 1 else rename(place)
            for target, place in zip(targets, places, strict=True)
        ]

    taken: set[str] = set()
    # In an order that does not depend on that of the inputs.
    for number, target in sorted(enumerate(targets), key=lambda item: places[item[0]].source):
        numbered = (target.with_stem(f"{target.stem}-{suffix}") for suffix in itertools.count(2))
        free = next(
            path for path in itertools.chain([target], numbered) if _letters(path) not in taken
        )
        taken.add(_letters(free))
        targets[number] = free
    jobs = [
        Job(place.source, target, place.header)
        for place, target in zip(places, targets, strict=True)
    ]
    return jobs[:count_of_jobs]


def _notes_on_names(places: Sequence[_Place], jobs: Sequence[Job]) -> Iterator[str]:
    """What to tell of results that are not called as their photos are, for the sake of others."""
    apart = [
        (place, job.target)
        for place, job in zip(places, jobs, strict=True)
        if job.target != place.wanted
    ]
    if apart:
        names = first_few(str(target.relative_to(place.folder)) for place, target in apart)
        yield f"Called otherwise, as photos would share a result: {names}"
    taken = {job.target for job in jobs}
    shared = {place.wanted for place, _ in apart}
    stay = sorted(name for name in shared if name not in taken and is_there(name))
    if stay:
        yield f"What lies under a name that they would share stays: {first_few(map(str, stay))}"


def _below_common(root: Path, roots: set[Path]) -> Path:
    """What sets `root` apart: its path below the folder that holds all `roots`."""
    try:
        return root.relative_to(os.path.commonpath(roots))
    except ValueError:  # they are on several drives of Windows
        return root.relative_to(root.anchor)


def _letters(path: Path) -> str:
    return alike(spot(path))
