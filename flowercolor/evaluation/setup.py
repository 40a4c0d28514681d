"""What an evaluation is made of: the checkpoints to judge, and the photos to judge them on."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from flowercolor.checkpoint import CheckpointInfo, load_generator
from flowercolor.config import STRIDE
from flowercolor.data.dataset import FlowerDataset, check_classes, notes_on_gray, read_labels
from flowercolor.data.photo_cache import Photos
from flowercolor.data.sources import check_outside, read_sources, split_sources
from flowercolor.distributed import in_turn
from flowercolor.errors import CheckpointError, DataError, DownloadError, SettingError
from flowercolor.evaluation.baselines import ROWS
from flowercolor.evaluation.scoring import Recognizer
from flowercolor.files import resolved
from flowercolor.memory_budget import MAX_PIXELS
from flowercolor.networks.unet import UNet
from flowercolor.paths import ARCHIVE_NAME, OXFORD
from flowercolor.progress import Progress
from flowercolor.runs import BEST, LAST, find_checkpoint, find_sources, name_of, source_unsaid

Part = Literal["test", "validation", "whole"]
"""Of the photos: their test split, what `train --validation` keeps apart of the training split,
or all of them."""


class Candidate(NamedTuple):
    """A checkpoint to judge, and where on its vividness scale; None is its default."""

    path: Path
    vividness: float | None = None


@dataclass(frozen=True)
class Loaded:
    """A candidate's network, in evaluation mode, and what its file says of it."""

    candidate: Candidate
    generator: UNet
    info: CheckpointInfo


@dataclass(frozen=True)
class EvaluationPhotos:
    """The photos of an evaluation.

    Attributes:
        test_set: The photos to judge on.
        train_set: Photos that are none of these, such as for median colors; None for none known.
        notes: What the reader of the scores has to know of them.
    """

    test_set: FlowerDataset
    train_set: FlowerDataset | None
    notes: tuple[str, ...]


def choose_candidates(
    checkpoint: str | None = None, compare: Sequence[str] = (), vividness: Sequence[float] = ()
) -> dict[str, Candidate]:
    """What to judge, by the name of its row; the first is what the others are compared with.

    Args:
        checkpoint: As for `runs.find_checkpoint`; left out, that of none, unless there are two
            or more to compare.
        vividness: Judge the one checkpoint at each of these.

    Raises:
        CheckpointError: There is no such checkpoint.
        SettingError: One is named twice, or like a row that is no checkpoint's, or there are both
            several checkpoints and a vividness.
    """
    if vividness and compare:
        raise SettingError("`vividness` is for one checkpoint; leave out `compare`")
    specs = [*([checkpoint] if checkpoint is not None or len(compare) < 2 else []), *compare]
    files = [find_checkpoint(spec) for spec in specs]
    for number, file in enumerate(files):
        if resolved(file) in [resolved(other) for other in files[:number]]:
            raise SettingError(f"{file}: would be judged twice; leave out one `compare` of it")
    names = [name_of(file) for file in files]
    if len(set(names)) < len(names):
        names = [str(file) for file in files]
    candidates = {name: Candidate(file) for name, file in zip(names, files, strict=True)}
    if vividness:
        candidates = {f"{names[0]} {share:g}": Candidate(files[0], share) for share in vividness}
    for name in candidates.keys() & ROWS:
        file = candidates[name].path
        renamed = "its folder" if file.name in (BEST, LAST) else "the file"
        raise SettingError(
            f"{file}: is named {name}, like a row that costs nothing to learn; rename {renamed}"
        )
    return candidates


def load_candidates(
    candidates: Mapping[str, Candidate], device: torch.device | str = "cpu"
) -> dict[str, Loaded]:
    """The networks of the candidates; `checkpoint.load_generator` says what is raised."""
    return {
        name: Loaded(candidate, *load_generator(candidate.path, device, vividness=candidate[1]))
        for name, candidate in candidates.items()
    }


def common_size_px(loaded: Mapping[str, Loaded], size_px: int | None = None) -> int:
    """The size to judge at: the one given, else the one that all were trained at.

    Raises:
        CheckpointError: They were trained at several, and none is given.
        SettingError: It is no multiple of 16.
    """
    if size_px is not None:
        if size_px < STRIDE or size_px % STRIDE:
            raise SettingError(f"size is {size_px}; expected a multiple of {STRIDE}, such as 128")
        return size_px
    sizes_px = {name: item.info.config.size_px for name, item in loaded.items()}
    if len(set(sizes_px.values())) > 1:
        found = ", ".join(f"{name} {size} px" for name, size in sizes_px.items())
        raise CheckpointError(
            f"trained at different sizes: {found}; judge them at one, such as by `size_px` "
            f"{min(sizes_px.values())}"
        )
    return next(iter(sizes_px.values()))


def choose_photos(
    loaded: Mapping[str, Loaded],
    size_px: int,
    *,
    sources: Sequence[Path] = (),
    part: Part = "test",
    results: Path | None = None,
    max_pixels: int = MAX_PIXELS,
    progress: Progress | None = None,
) -> EvaluationPhotos:
    """The photos to judge on.

    Args:
        loaded: What is to be judged; the first says what it learned from.
        sources: Archives and folders, each split by its own as for training; else all that the
            first candidate's run learned from, else the downloaded archive.
        results: Where pictures will be written, which must not come to lie among the photos.

    Raises:
        DataError: The photos are not there, cannot be read, have no color, or nothing says where
            they are.
        DownloadError: They would have to be fetched, and cannot.
        SettingError: `results` is no folder, or lies among the photos.
    """
    first = next(iter(loaded.values()))
    run = first.candidate.path.parent
    notes: list[str] = []
    with in_turn():
        asked_for = bool(sources)
        sources = sources or find_sources(run)
        learned_from = str(first.info.data.get("name", ""))
        if not sources and learned_from and Path(ARCHIVE_NAME).stem not in learned_from:
            raise DataError(
                f"{first.candidate.path}: learned from {learned_from}, and {source_unsaid(run)} "
                "where that is; say so by `data`"
            )
        sources = sources or [OXFORD]
        if results:
            for source in sources:  # before the photos are read, and a classifier learns
                check_outside(results, source)
        try:
            photos = read_sources(sources, size_px, progress, max_pixels=max_pixels)
        except DownloadError as error:
            if asked_for:
                raise
            raise DownloadError(
                f"{error}; or judge on photos of your own by `data`, or a run of yours on its own "
                "by `checkpoint`"
            ) from error
        train_set: FlowerDataset | None
        if part == "whole":
            test_set = FlowerDataset(photos)
            train_set = _other_training_set(loaded, run, test_set, progress)
            if train_set is None:
                notes.append(
                    "No chroma medians: no training split is known apart from these photos."
                )
        else:
            train_set, test_set = split_sources(photos, validation=part == "validation")
    notes += notes_on_gray(test_set, "to judge on", "where any color counts as an error")
    notes += _known_already(loaded, test_set, part, progress)
    return EvaluationPhotos(test_set, train_set, tuple(notes))


def _other_training_set(
    loaded: Mapping[str, Loaded], run: Path, test_set: FlowerDataset, progress: Progress | None
) -> FlowerDataset | None:
    """What the first candidate learned from, if that is still there and not what is judged on."""
    info = next(iter(loaded.values())).info
    with suppress(DataError):  # what is left of it is no data any more
        learned_from = find_sources(run)
        if (
            not learned_from
            or OXFORD in learned_from
            or _learned_from(info, test_set.sources, progress)
        ):
            return None
        photos = read_sources(learned_from, test_set.photos.rgb.shape[1], progress)
        if _learned_from(info, photos, progress):  # else others have come, or gone
            return split_sources(photos)[0]
    return None


def _learned_from(
    info: CheckpointInfo, photos: Sequence[Photos], progress: Progress | None
) -> bool:
    """Whether a network learned from these photos, wherever they lay, and whatever their times.

    Of files with other times only those at its own size tell: they are read so where they may be.
    """
    data, config = info.data, info.config
    if data.get("fingerprint") == FlowerDataset(photos).fingerprint:
        return True
    learned = sum(data.get(name, 0) for name in ("train_photos", "test_photos"))
    if "content_crc32" in data and learned <= sum(len(each.names) for each in photos):
        with suppress(DataError):  # too few to be those
            if photos[0].rgb.shape[1] != config.size_px:
                photos = read_sources([each.source for each in photos], config.size_px, progress)
            left_out = data.get("left_out", ())
            train_set, test_set = split_sources(photos, left_out, validation=config.validation)
            return bool(test_set.crc32(train_set.crc32()) == data["content_crc32"])
    return False


def _known_already(
    loaded: Mapping[str, Loaded],
    judged_on: FlowerDataset,
    part: Part,
    progress: Progress | None,
) -> Iterator[str]:
    """A line for each candidate that may know the photos it is judged on."""
    judged = {photos.fingerprint for photos in judged_on.sources}
    for name, item in loaded.items():
        info = item.info
        sources = (source.get("fingerprint") for source in info.data.get("sources", ()))
        known = judged & {info.data.get("fingerprint"), *sources}
        if known != judged and _learned_from(info, judged_on.sources, progress):
            known = judged
        if part == "validation" and known and not info.config.validation:
            yield f"{name} has learned from the validation part; it may know it by heart."
        elif part == "whole" and known:
            yield f"{name} learned from these very photos; it may know them by heart."
        elif info.data and known != judged:
            learned = info.data.get("name", "unknown")
            names = (resolved(photos.source).name for photos in judged_on.sources)
            other = f"{learned} as it was then" if learned in names else f"other data, {learned}"
            yield f"{name} learned from {other}; it may have seen some of these."


def train_recognizer(
    labels: Path,
    photos: EvaluationPhotos,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> Recognizer:
    """A `classifier.load_classifier` of the training photos, to be asked about those judged on.

    Raises:
        DataError: The labels leave photos without a class, or have one class alone.
    """
    from flowercolor.evaluation.classifier import (  # noqa: PLC0415 - torchvision, only here
        load_classifier,
        recognized,
    )

    assert photos.train_set is not None
    classes = read_labels(labels, *photos.test_set.sources)
    check_classes(labels, classes[photos.train_set.indices])
    with in_turn():
        classifier = load_classifier(photos.train_set, classes, device=device, progress=progress)
    return partial(recognized, classifier, classes[photos.test_set.indices])
