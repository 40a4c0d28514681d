"""Coloring files: which goes where, and many of them at a time.

`plan` decides on the targets before anything is colored, so that no two photos get the same
one and no photo is overwritten. `run` keeps all processors busy.
"""

import glob
import itertools
import os
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from flowercolor._version import __version__
from flowercolor.config import QUALITY, Subsampling, one_of
from flowercolor.errors import FlowercolorError, ImageError, SettingError, one_line
from flowercolor.files import alike, is_file, is_folder, is_there
from flowercolor.inference.colorizer import Colorizer
from flowercolor.inference.upsampling import render
from flowercolor.photos.reader import (
    WRITABLE,
    Photo,
    encode_photo,
    is_original,
    is_picture,
    made_here,
    output_format,
    peek_pixels,
    read_photo,
    write_photo,
)
from flowercolor.progress import Progress, Silent

SUFFIX = "_color"
FALLBACK_ENDING = ".png"

CHUNK_PHOTOS = 8
CHUNK_PIXELS = 24_000_000
PIXELS_UNDER_WAY = 16 * CHUNK_PIXELS
WORKERS = os.cpu_count() or 1


@dataclass(frozen=True)
class Job:
    """A photo to color and the file to write.

    Attributes:
        source: The photo.
        target: Where its colored version goes.
    """

    source: Path
    target: Path


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        job: The job.
        status: "done", "skipped" or "failed".
        message: Why it was skipped or failed; a remark where it was done; may be empty.
        width_px: Width of the photo; 0 unless done.
        height_px: Height of the photo; 0 unless done.
    """

    job: Job
    status: Literal["done", "skipped", "failed"]
    message: str = ""
    width_px: int = 0
    height_px: int = 0


@dataclass(frozen=True)
class Writing:
    """How the colored photos are written.

    Attributes:
        quality: 1 to 100, for JPEG, WebP and AVIF.
        subsampling: "4:4:4", "4:2:2" or "4:2:0", for JPEG and AVIF.
        overwrite: Replace earlier results; otherwise their photos are skipped.
        skip_colored: Leave photos alone that are in color already.
    """

    quality: int = QUALITY
    subsampling: str = "4:4:4"
    overwrite: bool = False
    skip_colored: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise SettingError(f"quality is {self.quality}; expected 1 to 100")
        one_of("subsampling", self.subsampling, Subsampling)


def plan(
    inputs: str | Path | Sequence[str | Path],
    output: str | Path | None = None,
    *,
    recursive: bool = False,
    ending: str | None = None,
    progress: Progress | None = None,
) -> list[Job]:
    """The photos meant by files, folders and glob patterns, each with its target.

    A folder stands for the pictures in it, and below it if `recursive`; its tree is kept.
    Photos whose targets would be one file keep more of their paths, then their old ending,
    then get a number, in the name. A photo named twice is taken once. Earlier results among the
    photos, as a pattern finds them, are left out, unless nothing else was named.

    Args:
        inputs: Files, folders, or patterns where no file has that name; one of them, or several.
        output: The file to write, for one photo; else a folder, which a slash at the end names
            in any case. None writes beside the photo, with "_color" in the name, and for a folder
            into one beside it.
        recursive: Look into the folders of folders.
        ending: The ending of all targets, such as ".png"; None keeps each photo's own where
            it can be written, and takes PNG elsewhere.
        progress: Told how many earlier results were left out, and of an output folder that was.

    Raises:
        ImageError: A folder cannot be read.
        SettingError: One output file was given for several photos, a folder alone as the output
            of itself, or an ending is of no format that can be written.
    """
    inputs = [inputs] if isinstance(inputs, (str, Path)) else inputs
    if ending is not None:
        output_format(Path(f"photo{ending}"))
    may_be_file = not str(output or "").endswith(("/", os.sep))  # `Path` drops that
    output = None if output is None else Path(output)
    found: dict[Path, _Place] = {}
    own_output: Path | None = None
    for given in _expanded(inputs):
        if is_folder(given):
            folder = output or _folder_beside(given)
            if folder.resolve() == given.resolve():
                own_output = given
                continue
            places = [
                _Place(source, folder, given.resolve(), source.relative_to(given))
                for source in _pictures_in(given, recursive, without=folder)
            ]
        else:
            name = f"{given.stem}{SUFFIX}{given.suffix}" if output is None else given.name
            parent = given.parent
            places = [_Place(given, output or parent, parent.resolve(), Path(name))]
        for place in places:
            found.setdefault(_spot(place.source), place)

    if own_output and not found:
        raise SettingError(f"{own_output}: is its own output folder; choose another output")
    if own_output and progress:  # the second time that a pattern is given, it finds it too
        progress.note(f"The output folder is among the photos, left out: {own_output}")
    if len(found) > 1:
        photos = {spot: place for spot, place in found.items() if not made_here(place.source)}
        if photos and len(photos) < len(found) and progress:
            progress.note(f"Earlier results among the photos, left out: {len(found) - len(photos)}")
        found = photos or found
    in_folder = any(map(is_folder, inputs))
    one_file = len(found) == 1 and not in_folder
    if output is not None and not is_folder(output) and may_be_file:
        if output.suffix and one_file:
            output_format(output)
            return [Job(place.source, output) for place in found.values()]
        if found and (output.suffix.lower() in WRITABLE or is_there(output)):
            one = "a folder's photo" if in_folder else "the photo"
            what = f"{len(found)} photos" if len(found) > 1 else one
            raise SettingError(
                f"{output}: is a file or named like one; expected a folder to write {what} into"
            )
    return _apart(
        [place._replace(name=_with_ending(place.name, ending)) for place in found.values()]
    )


class _Place(NamedTuple):
    source: Path
    folder: Path  # that its target goes into
    root: Path  # that it was found in
    name: Path  # its target's, below the folder


def _folder_beside(given: Path) -> Path:
    named = given if given.name not in ("", "..") else given.resolve()
    return named.parent / f"{named.name}{SUFFIX}"


def _spot(path: Path) -> Path:
    """The path in its one full spelling; a link stands for itself."""
    return path.parent.resolve() / path.name


def _expanded(inputs: Iterable[str | Path]) -> Iterator[Path]:
    for given in inputs:
        path = Path(given)
        if is_there(path):
            yield path
            continue
        # The shell has done this already, but for quoted patterns and on Windows. Brackets may be
        # those of a folder's name.
        for pattern in (str(given), str(given).replace("[", "[[]")):
            if matches := sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 - any root
                break
        yield from map(Path, matches or [str(given)])


def _pictures_in(folder: Path, recursive: bool, without: Path) -> list[Path]:
    """Its pictures, sorted, without what is hidden or lies in the output folder `without`.

    A folder below it that cannot be read is there too, and so is a link that leads nowhere:
    reading it as a photo says why.
    """
    own = without.resolve()
    found: list[Path] = []

    def unreadable(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise ImageError(f"{folder}: cannot be read: {error.strerror}") from error
        found.append(Path(error.filename))

    for at, folders, names in os.walk(folder, onerror=unreadable):
        here = Path(at)
        pictures = [path for name in names if is_picture(path := here / name)]
        found += [path for path in pictures if is_file(path) or not is_there(path)]
        folders[:] = [
            name
            for name in folders
            if recursive and not name.startswith(".") and (here / name).resolve() != own
        ]
    return sorted(found)


def _with_ending(name: Path, ending: str | None) -> Path:
    if ending is None and name.suffix.lower() in WRITABLE:
        return name
    return name.with_suffix(ending or FALLBACK_ENDING)


def _apart(places: list[_Place]) -> list[Job]:
    """The jobs with targets that differ, by more than the case or the coding of their letters.

    Where some would be one file, first the folders that set the inputs apart go into the
    target's path, then the source's own ending into its name, and last a number.
    """
    roots: defaultdict[Path, set[Path]] = defaultdict(set)
    for place in places:
        roots[place.folder].add(place.root)

    def with_folder(place: _Place) -> Path:
        return place.folder / _below_common(place.root, roots[place.folder]) / place.name

    def with_ending(place: _Place) -> Path:
        target = with_folder(place)
        return target.with_name(f"{target.stem}{place.source.suffix}{target.suffix}")

    targets = [place.folder / place.name for place in places]
    for rename in (with_folder, with_ending):
        count = Counter(map(_letters, targets))
        targets = [
            target if count[_letters(target)] == 1 else rename(place)
            for target, place in zip(targets, places, strict=True)
        ]

    taken: set[str] = set()
    jobs = []
    for target, place in zip(targets, places, strict=True):
        numbered = (target.with_stem(f"{target.stem}-{number}") for number in itertools.count(2))
        free = next(
            path for path in itertools.chain([target], numbered) if _letters(path) not in taken
        )
        taken.add(_letters(free))
        jobs.append(Job(place.source, free))
    return jobs


def _below_common(root: Path, roots: set[Path]) -> Path:
    """What sets `root` apart: its path below the folder that holds all `roots`."""
    try:
        return root.relative_to(os.path.commonpath(roots))
    except ValueError:  # they are on several drives of Windows
        return root.relative_to(root.anchor)


def _letters(path: Path) -> str:
    return alike(_spot(path))


def run(
    jobs: Sequence[Job],
    colorizer: Colorizer,
    writing: Writing | None = None,
    progress: Progress | None = None,
    *,
    among: Sequence[Job] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Generator[Outcome, None, None]:
    """Color the photos, and tell of each as it is finished, in the order of the jobs.

    Reading, the network and writing are at work at once, for a few photos each; those whose
    small copies have one size go through the network together. A photo that fails costs only
    itself. Closing the iterator early leaves no half file. No photo is written over, nor any
    picture that flowercolor did not make, which of a BMP cannot be told; an earlier result, or a
    BMP, that is where another's target is counts as that one's and is left alone.

    Args:
        jobs: What to color, from `plan`.
        colorizer: The network and its settings.
        writing: How to write.
        progress: Told of each photo.
        among: The jobs of all, where these are one process's share of them.
        should_stop: Asked before each photo; when it says True, no other is begun.

    Yields:
        An outcome for each job; once stopped, for each that was begun.
    """
    writing = writing or Writing()
    sources = {_identity(job.source) for job in among or jobs}
    results = {_identity(job.target) for job in among or jobs} - {None}
    closed = Event()

    def stopped() -> bool:
        return closed.is_set() or should_stop()

    def color(chunk: list[Job]) -> list[Outcome]:
        outcomes: dict[Job, Outcome] = {}

        @contextmanager
        def failing(*concerned: Job) -> Iterator[None]:
            try:
                yield
            except Exception as error:
                outcomes.update((job, _failed(job, error)) for job in concerned)

        together: defaultdict[tuple[int, ...], list[_Opened]] = defaultdict(list)
        for job in chunk:
            if stopped():
                break
            with failing(job):
                if remark := _reason_to_skip(job, sources, results, writing):
                    outcomes[job] = Outcome(job, "skipped", remark)
                    continue
                photo = read_photo(job.source)
                if photo.colored and writing.skip_colored:
                    outcomes[job] = Outcome(job, "skipped", f"{job.source} is in color already")
                    continue
                small = colorizer.shrink(photo.luma)
                together[small.shape].append(_Opened(job, photo, small))
        for group in together.values():
            with failing(*(one.job for one in group)):
                chroma = colorizer.chroma([one.small for one in group])
                for one, its_chroma in zip(group, chroma, strict=True):
                    if not stopped():
                        with failing(one.job):
                            outcomes[one.job] = _finish(one, its_chroma, colorizer, writing)
        return [outcomes[job] for job in chunk if job in outcomes]

    # A worker takes a few photos all the way: while one reads or writes, another has the
    # network. Threads within the network would have to wait for each other whenever a
    # worker has their processor, so there are some only where there are few photos.
    threads = torch.get_num_threads()
    workers = max(1, min(WORKERS, len(jobs)))
    each = max(1, threads // workers)
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(each,))
    try:
        with (progress or Silent()).task("Coloring", len(jobs), "photos") as task:
            chunks = _chunks(jobs, min(CHUNK_PHOTOS, -(-len(jobs) // workers)))
            coming = next(chunks, None)
            under_way: deque[tuple[Future[list[Outcome]], int]] = deque()
            pixels = 0
            while True:
                # As many as there are workers and one, or fewer where large scans fill the memory.
                while (
                    coming
                    and not stopped()
                    and len(under_way) <= workers
                    and (not under_way or pixels + coming[1] <= PIXELS_UNDER_WAY)
                ):
                    under_way.append((pool.submit(color, coming[0]), coming[1]))
                    pixels += coming[1]
                    coming = next(chunks, None)
                if not under_way:
                    break
                future, its_pixels = under_way.popleft()
                outcomes = future.result()
                pixels -= its_pixels
                for outcome in outcomes:
                    task.advance()
                    yield outcome
    finally:
        closed.set()
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def check_target(target: Path) -> None:
    """Make sure that what is to be written over is no photo of its own.

    Raises:
        ImageError: flowercolor did not write it.
    """
    if is_original(target):
        raise ImageError(
            f"{target}: holds what flowercolor did not make; choose another output, or delete it "
            "first"
        )


def remarks(photo: Photo) -> str:
    """What to know of a photo that was colored; mostly nothing."""
    told = ["was in color; colored anew from its luma"] if photo.colored else []
    if photo.pages > 1:
        told.append(f"has {photo.pages} pages, of which the first was colored")
    return "; ".join(told)


def convert(
    source: Photo | Path | str | bytes,
    colorizer: Colorizer,
    file_format: str | None,
    writing: Writing,
) -> bytes:
    """A photo's file, colored, as the content of another.

    Args:
        source: The photo, as `read_photo` gives it, or its file, or the content of that.
        colorizer: The network and its settings.
        file_format: Pillow's name of the format wanted; None keeps the photo's own where it can
            be written, and takes PNG elsewhere.
        writing: How to write.

    Raises:
        ImageError: It cannot be read, is no photo, or cannot be written so.
        DeviceError: There is too little memory.
    """
    photo = source if isinstance(source, Photo) else read_photo(source)
    own = photo.metadata.file_format
    return encode_photo(
        colorizer.render(photo.luma),
        file_format or (own if own in WRITABLE.values() else "PNG"),
        **_options(photo, colorizer, writing),
    )


class _Opened(NamedTuple):
    job: Job
    photo: Photo
    small: npt.NDArray[np.float32]


def _chunks(jobs: Sequence[Job], most: int) -> Iterator[tuple[list[Job], int]]:
    """The jobs in runs of `most`, of fewer where the photos are large, and their pixels."""
    chunk: list[Job] = []
    pixels = 0
    for job in jobs:
        size = peek_pixels(job.source)
        if chunk and (len(chunk) == most or pixels + size > CHUNK_PIXELS):
            yield chunk, pixels
            chunk, pixels = [], 0
        chunk.append(job)
        pixels += size
    if chunk:
        yield chunk, pixels


_Identity = tuple[int, int]


def _identity(path: Path) -> _Identity | None:
    """What tells that two paths are one file, however they are spelled; None if there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def _reason_to_skip(
    job: Job, sources: set[_Identity | None], results: set[_Identity | None], writing: Writing
) -> str:
    source, target = _identity(job.source), _identity(job.target)
    if target is not None:
        if target == source or (writing.overwrite and target in sources):
            raise ImageError(f"{job.target}: is one of the photos; choose another output")
        if not writing.overwrite:
            if is_original(job.target):
                return f"{job.target} is there already, and flowercolor did not make it"
            if 0 < peek_pixels(job.source) != peek_pixels(job.target):
                return f"{job.target} is there already, of a photo of another size"
            return f"{job.target} is there already"
        check_target(job.target)
    if source in results and not is_original(job.source):
        return f"{job.source} is another photo's result already"
    return ""


def _finish(
    one: _Opened, chroma: npt.NDArray[np.float32], colorizer: Colorizer, writing: Writing
) -> Outcome:
    rgb = render(one.photo.luma, one.small, chroma, strength=colorizer.strength)
    write_photo(one.job.target, rgb, **_options(one.photo, colorizer, writing))
    height, width = one.photo.luma.shape
    return Outcome(one.job, "done", remarks(one.photo), width, height)


def _options(photo: Photo, colorizer: Colorizer, writing: Writing) -> dict[str, Any]:
    return {
        "alpha": photo.alpha,
        "metadata": photo.metadata,
        "software": f"flowercolor {__version__}, colorized by the model {colorizer.name}",
        "quality": writing.quality,
        "subsampling": writing.subsampling,
    }


def _failed(job: Job, error: Exception) -> Outcome:
    if isinstance(error, FlowercolorError):
        return Outcome(job, "failed", str(error))
    what = f"unexpected {type(error).__name__}: {one_line(error)}"
    return Outcome(job, "failed", f"{job.source}: {what}")
