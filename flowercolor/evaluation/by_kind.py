"""Scores by kind of photo: how much better or worse than leaving it gray, and how colorful."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from flowercolor.data.dataset import FlowerDataset, in_words, plain_name, read_column
from flowercolor.errors import DataError, counted
from flowercolor.evaluation.intervals import Interval, bootstrap
from flowercolor.evaluation.scoring import GRAY, TRUTH, Rows
from flowercolor.progress import Progress

ALL = "all photos"

FIGURES = {
    "l1": ("L1", ".4f"),
    "l1_of_gray": ("of gray's", ".3f"),
    "worse_than_gray": ("worse", ".0%"),
    "colorfulness_of_true": ("color, of true", ".2f"),
    "ciede2000": ("CIEDE 2000", ".2f"),
    "stain": ("stain", ".1%"),
    "psnr": ("PSNR dB", ".2f"),
    "colorfulness": ("color", ".1f"),
}
"""By figure, its title and the format of its numbers."""


class KindScores(NamedTuple):
    """The figures of one kind.

    Attributes:
        photos: How many there are.
        figures: By the names of `FIGURES`, over the photos of this kind. `l1_of_gray` and
            `colorfulness_of_true` are ratios of means, `worse_than_gray` the share of photos
            whose L1 is larger than that of leaving them gray, `stain` a share of the area.
    """

    photos: int
    figures: dict[str, Interval]


def read_kinds(path: Path, dataset: FlowerDataset, progress: Progress | None = None) -> list[str]:
    """The kind of each photo of a set; "" of those that the table lacks.

    Args:
        path: A CSV file with a header and, among others, the columns `kind`, any text, and
            `file` or `name`, the photo's name. Rows of other photos do not matter.

    Raises:
        DataError: The file cannot be read, is no such table, or names a kind for no photo.
    """
    table = {name: kind.strip() for name, kind in read_column(path, "kind").items()}
    named = {name: kind for name, kind in table.items() if kind != ALL}
    kinds = [named.get(plain_name(name), "") for name in dataset.names]
    lacking = kinds.count("")
    if lacking == len(kinds):
        raise DataError(
            f"{path}: names no kind for any of the {counted(len(kinds), 'photo')} of "
            f"{in_words(dataset.sources)}; expected rows such as {dataset.names[0]},rose, and none "
            f"called {ALL}; the table begins with {next(iter(table), None)}"
        )
    if lacking and progress:
        progress.note(
            f"{path}: names no kind for {lacking:,} of the {len(kinds):,} photos; they count for "
            f"{ALL}, and for no kind"
        )
    return kinds


def summarize_kinds(rows: Rows, method: str, kinds: Sequence[str]) -> dict[str, KindScores]:
    """The figures of a method by kind, in the order of the alphabet, and last over `ALL`.

    With 95 % intervals of a bootstrap that draws photos, so that a ratio of means is one of the
    same photos in each resample.

    Args:
        rows: Scores of N pictures, as `scoring.evaluate` gives them.
        kinds: The kind of each of the N, "" for none.
    """
    scores, gray_l1 = rows[method], rows[GRAY]["l1"]
    columns = (
        scores["l1"],
        gray_l1,
        (scores["l1"] > gray_l1).float(),
        scores["colorfulness"],
        rows[TRUTH]["colorfulness"],
        scores["ciede2000"],
        scores["stain"],
        scores["psnr"],
    )
    values = torch.stack(columns, dim=1)
    members = {
        kind: torch.tensor([name == kind for name in kinds]) for kind in sorted({*kinds} - {""})
    }
    members[ALL] = torch.ones(len(kinds), dtype=torch.bool)
    return {
        kind: KindScores(
            int(member.sum()),
            dict(zip(FIGURES, bootstrap(values[member], figures_of=_figures), strict=True)),
        )
        for kind, member in members.items()
    }


def _figures(means: Tensor) -> Tensor:
    """From the means of the columns, [..., 8], those of `FIGURES`, [..., 8]."""
    l1, gray_l1, worse, color, true_color, ciede2000, stain, psnr = means.unbind(-1)
    of_gray, of_true = l1 / gray_l1, color / true_color
    return torch.stack((l1, of_gray, worse, of_true, ciede2000, stain, psnr, color), dim=-1)


def worst_first(
    scores: Mapping[str, Mapping[str, Tensor]], method: str, kinds: Sequence[str], kind: str
) -> list[int]:
    """The photos of a kind, by how far the method's L1 lies above that of leaving them gray."""
    harm = scores[method]["l1"] - scores[GRAY]["l1"]
    return [i for i in harm.argsort(descending=True).tolist() if kinds[i] == kind]
