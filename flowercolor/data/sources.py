"""Photos of several sources: which, with which share, split each by its own and merged."""

import re
from collections.abc import Collection, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from flowercolor.data.dataset import FlowerDataset, split, split_validation
from flowercolor.data.oxford102 import download_archive
from flowercolor.data.photo_cache import Photos, read_data
from flowercolor.errors import SettingError
from flowercolor.files import is_folder, is_there, resolved
from flowercolor.memory_budget import MAX_PIXELS
from flowercolor.paths import OXFORD
from flowercolor.progress import Progress

_SHARED = re.compile(r"(?P<path>.+):(?P<share>\d*\.?\d+)", re.DOTALL)


class Source(NamedTuple):
    """An archive or folder of photos.

    Attributes:
        share: The share of each epoch's photos that come from it, more than 0 and at most 1; None
            for each of its photos once an epoch.
    """

    path: Path
    share: float | None = None


class Pool(NamedTuple):
    """Photos to draw from in an epoch.

    Attributes:
        positions: int64 [N], where they are in the dataset.
        drawn: How many to draw; all of them in turn before any comes again.
    """

    positions: Tensor
    drawn: int


def parse_source(text: str) -> Source:
    """The source that a person names as PATH or PATH:SHARE.

    A colon may belong to the path itself, as that of a drive: only a trailing number counts, and
    only where nothing of the whole name exists.

    Raises:
        SettingError: The share is not more than 0 and at most 1.
    """
    match = _SHARED.fullmatch(text)
    if not match or is_there(Path(text)):
        return Source(Path(text))
    share = float(match["share"])
    if not 0 < share <= 1:
        raise SettingError(
            f"{text}: the share is {match['share']}; expected more than 0 and at most 1"
        )
    return Source(Path(match["path"]), share)


def check_shares(sources: Sequence[Source]) -> None:
    """Make sure that the shares leave room for one another.

    Raises:
        SettingError: They add up to more than there is, or, where all have one, not to 1.
    """
    shares = [source.share for source in sources if source.share is not None]
    total = sum(shares)
    if len(shares) == len(sources) and shares and abs(total - 1) > 1e-6:
        raise SettingError(
            f"the shares of `data` add up to {total:g}; expected 1, or a source without a share"
        )
    if len(shares) < len(sources) and total >= 1:
        raise SettingError(
            f"the shares of `data` add up to {total:g}, which leaves nothing for the sources "
            "without one; expected less than 1"
        )


def check_outside(folder: Path, source: Path) -> None:
    """Make sure that what is written into a folder does not come to lie among the photos.

    Raises:
        SettingError: They would, and pass for photos the next time.
    """
    if is_folder(source) and resolved(folder).is_relative_to(resolved(source)):
        raise SettingError(
            f"{folder}: lies among the photos of {source}, and what is drawn there would pass for "
            "one of them; name a folder elsewhere"
        )


def read_sources(
    sources: Sequence[Path],
    size_px: int,
    progress: Progress | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
) -> list[Photos]:
    """What `read_data` gives of each, fetching the Oxford 102 flowers where `OXFORD` is meant.

    Raises:
        SettingError: One is given twice.
        DataError: The photos cannot be read.
        DownloadError: The flowers cannot be fetched.
    """
    places = [resolved(source) for source in sources]
    for source, place in zip(sources, places, strict=True):
        if places.count(place) > 1:
            raise SettingError(f"data {source}: is given twice; expected each source once")
    photos = []
    for source in sources:
        path = source
        if path == OXFORD and not is_there(path):
            path = download_archive(progress=progress).path
        photos.append(read_data(path, size_px, progress, max_pixels=max_pixels))
    return photos


def source_names(dataset: FlowerDataset) -> list[str]:
    """By photo of a set, the name of its source: that of the archive or folder, told apart."""
    names: list[str] = []
    for photos in dataset.sources:
        name = resolved(photos.source).name
        names.append(f"{name} ({len(names) + 1})" if name in names else name)
    return [names[number] for number in dataset.source_numbers]


def merge(datasets: Sequence[FlowerDataset]) -> FlowerDataset:
    """Datasets of one source each, one after the other, as one."""
    if len(datasets) == 1:
        return datasets[0]
    photos = [dataset.photos for dataset in datasets]
    starts = [sum(len(before.names) for before in photos[:at]) for at in range(len(photos))]
    indices = [dataset.indices + start for dataset, start in zip(datasets, starts, strict=True)]
    return FlowerDataset(photos, torch.cat(indices))


def split_sources(
    photos: Sequence[Photos], left_out: Collection[str] = (), *, validation: bool = False
) -> tuple[FlowerDataset, FlowerDataset]:
    """The training and the test set of a run: each source split by its own, and merged.

    Args:
        left_out: Photos to take out of the training set.
        validation: Take `split_validation` of the training set in place of the test set.

    Raises:
        DataError: There are too few photos.
    """
    splits = [split(part) for part in photos]
    splits = [(train_set.without(left_out), test_set) for train_set, test_set in splits]
    if validation:
        splits = [split_validation(train_set) for train_set, _ in splits]
    train_set, test_set = (merge(parts) for parts in zip(*splits, strict=True))
    return train_set, test_set


def some_of_each(dataset: FlowerDataset, count: int) -> list[int]:
    """At most so many positions: the first ones of each source, as evenly as there are photos."""
    numbers = dataset.source_numbers
    of_each = [(numbers == n).nonzero()[:, 0].tolist() for n in range(len(dataset.sources))]
    in_turn = [position for turn in zip_longest(*of_each) for position in turn]
    return sorted([position for position in in_turn if position is not None][:count])


def epoch_pools(dataset: FlowerDataset, shares: Sequence[float | None]) -> list[Pool]:
    """How many photos of each source an epoch has.

    An epoch is as long as brings each photo of the sources without a share in once; where all
    sources have one, as there are photos in all.

    Returns:
        A pool for each source; none where no source has a share: then each photo comes once.
    """
    given = [share for share in shares if share is not None]
    if not given or len(shares) == 1:
        return []
    positions = [
        (dataset.source_numbers == number).nonzero()[:, 0] for number in range(len(shares))
    ]
    whole = sum(len(p) for p, share in zip(positions, shares, strict=True) if share is None)
    total = whole / (1 - sum(given)) if whole else len(dataset)
    return [
        Pool(where, len(where) if share is None else max(1, round(share * total)))
        for where, share in zip(positions, shares, strict=True)
        if len(where)
    ]


def epoch_length(dataset: FlowerDataset, pools: Sequence[Pool]) -> int:
    """How many photos an epoch has."""
    return sum(pool.drawn for pool in pools) or len(dataset)


def draw(pools: Sequence[Pool], rng: torch.Generator) -> Tensor:
    """The positions of an epoch's photos in a random order, int64 [sum of drawn]."""
    parts = []
    for positions, drawn in pools:
        rounds = -(-drawn // len(positions))
        shuffled = [torch.randperm(len(positions), generator=rng) for _ in range(rounds)]
        parts.append(positions[torch.cat(shuffled)[:drawn]])
    order = torch.cat(parts)
    return order[torch.randperm(len(order), generator=rng)]
