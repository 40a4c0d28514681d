"""Coloring many files at a time, with all processors busy."""

import os
import traceback
from collections import defaultdict, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any, Literal, NamedTuple

from flowercolor.config import QUALITY, check_kinds, in_range
from flowercolor.errors import FlowercolorError, ImageError, SettingError, StorageError, one_line
from flowercolor.files import Identity, identity, is_file, storage_errors, why_unreadable
from flowercolor.hints.guidance import Guidance
from flowercolor.hints.hint import Hint
from flowercolor.inference.colorizer import Colorizer
from flowercolor.inference.planning import Job, check_target, colored_by_hand
from flowercolor.inference.upsampling import render, without_grays
from flowercolor.memory_budget import MAX_PIXELS, lack_for_photo
from flowercolor.photos.formats import WRITABLE
from flowercolor.photos.metadata import Header, is_original, is_result, probe
from flowercolor.photos.pictures import Array
from flowercolor.photos.reader import Photo, read_photo
from flowercolor.photos.writer import check_settings, encode_photo, write_photo
from flowercolor.progress import Progress, Silent
from flowercolor.provenance import differences

CHUNK_PHOTOS = 8
CHUNK_PIXELS = 24_000_000
PIXELS_IN_FLIGHT = 16 * CHUNK_PIXELS
WORKERS = os.cpu_count() or 1

_REPLACE_OR_KEEP = "`overwrite` replaces it, another `output` keeps it"
"""Both, for a result may be of another photo of that name: it does not record its source."""

IN_COLOR, MADE_HERE = "in color", "made by flowercolor"
"""Reasons for which `recolor` alone colors a photo."""

_GIVE_ITS_PHOTO = "give the photo that it was made from"
_REPLACE_ALONE = "color the photo alone, with that as `output` and with `overwrite`, to replace it"


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        message: Why it was skipped or failed; a remark where it was done; may be empty.
        width_px: 0 where it was not colored, and so is `height_px`.
        reason: Why it was skipped, or what its result replaced, where many may share that; or "".
        trace: Where it failed, as a traceback.
    """

    job: Job
    status: Literal["done", "skipped", "failed"]
    message: str = ""
    width_px: int = 0
    height_px: int = 0
    reason: str = ""
    trace: str = field(default="", repr=False, compare=False)

    def record(self) -> dict[str, str | int | None]:
        """The same as plain values, such as for JSON."""
        return {
            "source": str(self.job.source),
            "target": str(self.job.target),
            "status": self.status,
            "message": self.message,
            "width_px": self.width_px or None,
            "height_px": self.height_px or None,
        }


@dataclass(frozen=True)
class Writing:
    """How the colored photos are written.

    Attributes:
        quality: 1 to 100, for JPEG, WebP and AVIF.
        subsampling: "4:4:4", "4:2:2" or "4:2:0", for JPEG and AVIF.
        overwrite: Replace earlier results; otherwise their photos are skipped.
        recolor: Color photos anew that are in color; otherwise they are skipped.
        keep_date: Give each result the date of its photo's file.
    """

    quality: int = QUALITY
    subsampling: str = "4:4:4"
    overwrite: bool = False
    recolor: bool = False
    keep_date: bool = False

    def __post_init__(self) -> None:
        check_kinds(self)
        check_settings(self.quality, self.subsampling)


def run(
    jobs: Sequence[Job],
    colorizer: Colorizer,
    writing: Writing | None = None,
    progress: Progress | None = None,
    *,
    among: Sequence[Job] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    max_pixels: int = MAX_PIXELS,
    workers: int = WORKERS,
    chunk_pixels: int = CHUNK_PIXELS,
    pixels_in_flight: int = PIXELS_IN_FLIGHT,
    guide: Callable[[Path], Guidance | Sequence[Hint] | None] = lambda _: None,
) -> Generator[Outcome, None, None]:
    """Color the photos, and tell of each as it is finished, in the order of the jobs.

    Reading, the network and writing are at work at once, for a few photos each; those whose
    small copies have one size go through the network together. A photo that fails costs only
    itself. Closing the iterator early leaves no half file. No photo is written over, nor any
    picture that flowercolor did not make, which of a BMP cannot be told; an earlier result, or a
    BMP, that is where another's target is counts as that one's and is left alone. Of several
    photos, one whose result was led by hints keeps it where there are none now.

    Args:
        among: The jobs of all, where these are one process's share of them.
        should_stop: Asked again and again; when it says True, no other is begun, and those that
            are begun and not written are dropped.
        workers: Threads, each of which takes up to `CHUNK_PHOTOS` photos all the way.
        chunk_pixels: Most pixels of those photos together, of which those of 16-bit color or
            with opacity count twice; a larger one goes alone.
        pixels_in_flight: Most pixels, counted so, of all photos begun and not finished.
        guide: Asked what leads the colors of each photo: `Guidance`, hints alone, or nothing.

    Yields:
        An outcome for each job; once stopped, for each that was begun.
    """
    writing = Writing() if writing is None else writing
    in_range("max_pixels", max_pixels, int, 1)
    are_jobs = isinstance(jobs, Sequence) and all(isinstance(job, Job) for job in jobs)
    for name, given, expected, fits in (
        ("jobs", jobs, "what `plan` gives", are_jobs),
        ("colorizer", colorizer, "a `Colorizer`", isinstance(colorizer, Colorizer)),
        ("writing", writing, "a `Writing`", isinstance(writing, Writing)),
        ("guide", guide, "a function of a photo's path", callable(guide)),
        ("should_stop", should_stop, "a function of no arguments", callable(should_stop)),
        ("progress", progress, "a `Progress`", hasattr(progress or Silent(), "task")),
    ):
        if not fits:
            raise SettingError(f"{name} is {given!r}; expected {expected}")
    known = _Known(
        {identity(job.source) for job in among or jobs},
        {identity(job.target) for job in among or jobs} - {None},
    )
    closed = Event()

    def stopped() -> bool:
        return closed.is_set() or should_stop()

    def guidance_of(job: Job) -> Guidance:
        try:
            return Guidance.of(guide(job.source))
        except FlowercolorError:
            raise
        except Exception as error:
            said = f"`guide` raised {type(error).__name__}: {one_line(error)}"
            raise SettingError(said) from error

    def color(chunk: list[Job]) -> list[Outcome]:
        outcomes: dict[Job, Outcome] = {}

        @contextmanager
        def failing(*concerned: Job) -> Iterator[None]:
            try:
                yield
            except Exception as error:
                outcomes.update((job, _failed(job, error)) for job in concerned)

        same_size: defaultdict[tuple[int, ...], list[tuple[Job, Photo, Array]]] = defaultdict(list)
        for job in chunk:
            if stopped():
                break
            with failing(job):
                guidance = guidance_of(job)
                software = colorizer.software(guidance)
                if skipped := _skipped(job, known, writing, software):
                    if not job.header:  # missing, or no photo: no result makes up for that
                        read_photo(job.source, max_pixels=max_pixels)
                    outcomes[job] = skipped
                    continue
                photo = read_photo(job.source, max_pixels=max_pixels)
                if photo.colored and not writing.recolor:
                    message = f"{job.source} is in color already; `recolor` colors it anew"
                    outcomes[job] = Outcome(job, "skipped", message, reason=IN_COLOR)
                    continue
                if guidance:
                    rgb = colorizer.render(photo.luma, guidance=guidance)
                    outcomes[job] = _finish(job, photo, rgb, software, writing, known=known)
                    continue
                small = colorizer.shrink(photo.luma)
                same_size[small.shape].append((job, photo, small))
        for group in same_size.values():
            with failing(*(job for job, _, _ in group)):
                chromas = colorizer.chroma([small for _, _, small in group])
                for (job, photo, small), chroma in zip(group, chromas, strict=True):
                    if not stopped():
                        with failing(job):
                            rgb = render(photo.luma, small, chroma, strength=colorizer.strength)
                            software = colorizer.software()
                            outcomes[job] = _finish(job, photo, rgb, software, writing, known=known)
        return [outcomes[job] for job in chunk if job in outcomes]

    # A worker takes a few photos all the way: while one reads or writes, another has the
    # network. Threads within the network would have to wait for each other whenever a
    # worker has their processor, so there are some only where there are few photos.
    workers = max(1, min(workers, len(jobs)))
    with ExitStack() as stack:
        pool = ThreadPoolExecutor(
            workers, initializer=stack.enter_context(colorizer.network.shared(workers))
        )
        stack.callback(pool.shutdown, cancel_futures=True)
        stack.callback(closed.set)
        with (progress or Silent()).task("Coloring", len(jobs), "photos") as task:
            chunks = _chunks(jobs, min(CHUNK_PHOTOS, -(-len(jobs) // workers)), chunk_pixels)
            next_chunk = next(chunks, None)
            in_flight: deque[tuple[Future[list[Outcome]], int]] = deque()
            pixels = 0
            while True:
                # As many as there are workers and one, or fewer where large scans fill the memory.
                while (
                    next_chunk
                    and not stopped()
                    and len(in_flight) <= workers
                    and (not in_flight or pixels + next_chunk[1] <= pixels_in_flight)
                ):
                    in_flight.append((pool.submit(color, next_chunk[0]), next_chunk[1]))
                    pixels += next_chunk[1]
                    next_chunk = next(chunks, None)
                if not in_flight:
                    break
                future, chunk_size = in_flight.popleft()
                outcomes = future.result()
                pixels -= chunk_size
                for outcome in outcomes:
                    task.advance()
                    yield outcome


def remarks(photo: Photo) -> str:
    """What to know of a photo that was colored; mostly nothing."""
    known = []
    if photo.colored:
        known.append("was in color; colored anew from its luma")
    elif photo.faint:
        known.append("has faint or few colors, taken for a toning or stains and not kept")
    if several := several_pictures(photo):
        known.append(f"has {several}, of which the first was colored")
    if extreme := without_grays(photo.luma):
        known.append(f"is {extreme}")
    return "; ".join(known)


def several_pictures(photo: Photo) -> str:
    """Of what its file has more than one, such as "3 pages" or "several frames"; mostly nothing."""
    if photo.pages == 1:
        return ""
    return f"{photo.pages} pages" if photo.metadata.file_format == "TIFF" else "several frames"


def convert(
    source: Photo | Path | str | bytes,
    colorizer: Colorizer,
    file_format: str | None,
    writing: Writing,
    *,
    guidance: Guidance | Sequence[Hint] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> bytes:
    """A photo's file, colored, as the content of another; also one that is in color.

    Args:
        file_format: The format wanted, as for `photo_parts`; None keeps the photo's own where
            it can be written, and takes PNG elsewhere.
        guidance: What leads the colors: a `flowercolor.hints.guidance.Guidance`, or hints alone.

    Raises:
        ImageError: It cannot be read, is no photo, or cannot be written so.
        SettingError: The format is none that can be written, or `guidance` is something else.
        DeviceError: There is too little memory.
    """
    photo = source if isinstance(source, Photo) else read_photo(source, max_pixels=max_pixels)
    if file_format is None:
        own = photo.metadata.file_format
        file_format = own if own in WRITABLE.values() else "PNG"
    return encode_photo(
        colorizer.render(photo.luma, guidance=guidance),
        file_format,
        **_options(photo, colorizer.software(guidance), writing),
    )


def _chunks(
    jobs: Sequence[Job], most_photos: int, most_pixels: int
) -> Iterator[tuple[list[Job], int]]:
    """The jobs in runs of `most_photos`, fewer where they are large, and their pixels."""
    chunk: list[Job] = []
    pixels = 0
    for job in jobs:
        size = job.header.usual_pixels if job.header else 0
        if chunk and (len(chunk) == most_photos or pixels + size > most_pixels):
            yield chunk, pixels
            chunk, pixels = [], 0
        chunk.append(job)
        pixels += size
    if chunk:
        yield chunk, pixels


class _Known(NamedTuple):
    """The files of all jobs, as `identity` tells them: the photos, and the results there are."""

    sources: set[Identity | None]
    results: set[Identity | None]


def _skipped(job: Job, known: _Known, writing: Writing, software: str) -> Outcome | None:
    """What keeps a job from being begun; None where nothing does."""
    source, target = identity(job.source), identity(job.target)
    several = len(known.sources) > 1
    if target is not None:
        if target == source:
            said = "the result would replace the photo; leave out `output`, or name another folder"
            if is_result(job.header):
                said = f"was {MADE_HERE}, and would replace itself; {_GIVE_ITS_PHOTO}"
            raise ImageError(f"{job.target}: {said}")
        if not writing.overwrite:
            return _there_already(job, software, several=several)
        if target in known.sources:
            raise ImageError(f"{job.target}: is one of the photos; choose another output")
        result = check_target(job.target)
        by_hand = colored_by_hand(result, software)
        if by_hand and several:
            # What somebody has put right by hand is not for a whole folder's call to undo.
            if _differ_in_size(job, result):
                by_hand = f"{by_hand}, of a photo of another size"
                message = f"{job.target} was {by_hand}; another `output` keeps both"
                return Outcome(job, "skipped", message)
            reason = f"{by_hand}, now none"
            message = f"{job.target} was {reason}; {_REPLACE_ALONE}"
            return Outcome(job, "skipped", message, reason=reason)
    if source in known.results and not is_original(job.source, job.header):
        return Outcome(job, "skipped", f"{job.source} is another photo's result already")
    if is_result(job.header) and not writing.recolor:  # however faint its colors are
        message = f"{job.source} was {MADE_HERE}; {_GIVE_ITS_PHOTO}, or `recolor` colors it anew"
        return Outcome(job, "skipped", message, reason=MADE_HERE)
    return None


def _differ_in_size(job: Job, result: Header | None) -> bool:
    return bool(job.header and result and not job.header.has_size_of(result))


def _there_already(job: Job, software: str, *, several: bool) -> Outcome:
    result = probe(job.target)
    there = f"{job.target} is there already"
    if is_original(job.target, result):
        why = why_unreadable(job.target)
        found = f"cannot be read ({why})" if why else "flowercolor did not make it"
        message = f"{there}, and {found}; another `output` keeps both"
        return Outcome(job, "skipped", message)
    if not result:
        is_empty = is_file(job.target) and not job.target.stat().st_size
        found = "is empty; `overwrite` replaces it" if is_empty else "is no photo; delete it first"
        return Outcome(job, "skipped", f"{job.target} is there already and {found}")
    way = _REPLACE_ALONE if several and colored_by_hand(result, software) else _REPLACE_OR_KEEP
    if _differ_in_size(job, result):
        message = f"{there}, of a photo of another size; {way}"
        return Outcome(job, "skipped", message)
    if job.target.suffix.lower() == ".bmp":
        reason = "there already as BMP, which does not say what made it"
        message = f"{job.target} is {reason}; delete it first, or choose another `output`"
        return Outcome(job, "skipped", message, reason=reason)
    if result.made_here and result.software != software:
        reason = f"colored with other settings ({differences(result.software, software)})"
        message = f"{there}, {reason}; {way}"
        return Outcome(job, "skipped", message, reason=reason)
    reason = "there already by name and size"
    return Outcome(job, "skipped", f"{job.target} is {reason}; {_REPLACE_OR_KEEP}", reason=reason)


def _finish(
    job: Job, photo: Photo, rgb: Array, software: str, writing: Writing, *, known: _Known
) -> Outcome:
    def there_by_now() -> Outcome | None:  # where another process, or call, was faster
        return _skipped(job, known, writing, software)

    if skipped := there_by_now():
        return skipped
    before = probe(job.target)
    what, reason = colored_by_hand(before, software), ""
    if _differ_in_size(job, before):
        what = f"the result of a photo of another size{what and ', ' + what}"
    elif what:
        what = f"what was {what}"
    elif before and before.made_here and before.software != software:
        reason = f"of other settings ({differences(before.software, software)})"
    told = "; ".join(filter(None, (remarks(photo), what and f"replaced {what}")))
    options = _options(photo, software, writing)
    try:
        write_photo(job.target, rgb, overwrite=writing.overwrite, **options)
    except StorageError:
        if writing.overwrite or not (skipped := there_by_now()):
            raise
        return skipped
    if writing.keep_date:
        with storage_errors(job.target):
            dates = job.source.stat()
            os.utime(job.target, ns=(dates.st_atime_ns, dates.st_mtime_ns))
    height, width = photo.luma.shape
    return Outcome(job, "done", told, width, height, reason)


def _options(photo: Photo, software: str, writing: Writing) -> dict[str, Any]:
    return {
        "alpha": photo.alpha,
        "metadata": photo.metadata,
        "software": software,
        "quality": writing.quality,
        "subsampling": writing.subsampling,
    }


def _failed(job: Job, error: Exception) -> Outcome:
    if lack := lack_for_photo(job.source, error):
        message = lack
    elif isinstance(error, SettingError):  # of a hint, which does not know whose it is
        message = f"{job.source}: {error}"
    elif isinstance(error, FlowercolorError):
        message = str(error)
    else:
        message = f"{job.source}: unexpected {type(error).__name__}: {one_line(error)}"
    trace = "".join(traceback.format_exception(error))
    return Outcome(job, "failed", message, trace=trace)
