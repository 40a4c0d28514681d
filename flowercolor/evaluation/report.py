"""What an evaluation leaves behind: figures to read on, tables to paste, pictures to look at."""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from flowercolor.config import texts
from flowercolor.data.dataset import FlowerDataset
from flowercolor.data.sources import check_outside
from flowercolor.distributed import check_alike
from flowercolor.errors import SettingError, counted
from flowercolor.evaluation.baselines import baselines
from flowercolor.evaluation.by_kind import FIGURES, summarize_kinds, worst_first
from flowercolor.evaluation.intervals import Interval
from flowercolor.evaluation.metrics import SATURATED_CHROMA, STAIN_CHROMA
from flowercolor.evaluation.plots import plot_losses, plot_scores, plot_trade, save_grid
from flowercolor.evaluation.scoring import (
    GRAY,
    TRUTH,
    Method,
    Recognizer,
    Rows,
    Summary,
    device_of,
    evaluate,
    generate,
    picture_files,
    summarize,
)
from flowercolor.files import is_there, named_path, read_json, remove_files, write_text
from flowercolor.networks.unet import UNet
from flowercolor.progress import Progress
from flowercolor.runs import KIND_SHEETS, LOSSES, PICTURES, SCORES, left_by
from flowercolor.torchrun import ranks

TABLES = "scores.md"
SPREAD = "scores.png"
TRADE = "trade.png"
SHEET = "contact.png"
FILES = (TABLES, SPREAD, TRADE, SHEET, LOSSES)
SHEET_ROWS = 16
SHEET_TITLES = ("best", "median", "worst")
KIND_SHEET_COLUMNS = 3
KIND_SHEET_ROWS = 8

COLUMNS = {
    "l1": ("L1", ".4f"),
    "saturated_l1": ("L1 satur.", ".4f"),
    "psnr": ("PSNR dB", ".2f"),
    "ssim": ("SSIM", ".4f"),
    "ciede2000": ("CIEDE 2000", ".2f"),
    "colorfulness": ("color", ".1f"),
    "colorfulness_difference": ("minus true", "+.1f"),
    "stain": ("stain", ".2%"),
}
"""By score, its title and the format of its numbers."""

RECOGNITION = {
    "recognized": ("recognized", ".3f"),
    "recovered": ("recovered", ".2f"),
    "difference": ("to the first", "+.3f"),
}
"""The same for what a recognizer adds."""


class Table(NamedTuple):
    """Figures as text.

    Attributes:
        columns: Their titles.
        rows: By name, the mean and its interval for each column.
        by_kind: Whether the rows are kinds of photos, of which every interval matters.
    """

    title: str
    columns: list[str]
    rows: dict[str, list[tuple[str, str]]]
    by_kind: bool = False


def write_results(
    generators: Mapping[str, UNet],
    dataset: FlowerDataset,
    results: str | Path,
    *,
    about: Mapping[str, Any],
    train_set: FlowerDataset | None = None,
    recognizer: Recognizer | None = None,
    left_out: Collection[str] = (),
    kinds: Sequence[str] = (),
    grouping: str = "kind",
    metrics: Sequence[Mapping[str, Any]] = (),
    metrics_part: str = "test",
    notes: Collection[str] = (),
    one_checkpoint: bool = False,
    batch_size: int = 1,
    progress: Progress | None = None,
) -> list[Table]:
    """Judge generators on a set and leave a results folder behind.

        scores.json     the means with their intervals, and every score of every picture
        scores.md       the same means as tables
        pictures/       every picture: gray, as the first of the generators made it, truth
        contact.png     up to 48 of them: those with the lowest, the middle and the highest L1
        contact/        with `kinds`, up to 24 of each, those that are worst beside gray first
        scores.png      how the L1 spreads over the pictures
        trade.png       the mean L1 of each row against its mean colorfulness
        losses.png      the graphs of the first one's run, where there are `metrics`

    What an earlier evaluation left there is removed first, as its `scores.json` lists it, with the
    folders it filled; what is anybody else's stays, as the graphs of a run in its own folder.
    Beside the generators stand the `baselines`. Within `distributed.joined` the processes share
    the photos, and all but the leader write nothing but the pictures of theirs.

    Args:
        generators: What to judge, by name, all on one device; the first is the one that the
            others are compared with.
        results: The folder; made where missing.
        about: What stands at the head of `scores.json`: the checkpoint, the data.
        train_set: The photos for the chroma medians; without it there are none.
        recognizer: Says of every picture whether it still shows what it should, in a table of
            its own.
        left_out: Photos with a twin in the training set: the rest of the set is summed up apart.
        kinds: The kind of each photo of `dataset`, "" for none, to sum up each apart.
        grouping: What the kinds are, for the tables' titles: "kind", or "source".
        metrics: The rows of `metrics.jsonl` of the run that the first comes from.
        metrics_part: What that run tested on, "test" or "validation".
        one_checkpoint: Whether they are one at several vividnesses, a curve in `trade.png`.

    Returns:
        The tables of `scores.md`; none but in the leader.

    Raises:
        SettingError: The folder lies among the photos, or has a file of those names not of ours.
        StorageError: A file cannot be written.
        DataError: This process has other photos than the leader.
    """
    results = named_path(results, "results")
    left_out, notes = texts(left_out), texts(notes)
    for photos in dataset.sources:
        check_outside(results, photos.source)
    check_alike(dataset.fingerprint, dataset.photos.source)
    methods: dict[str, Method] = {
        name: partial(generate, network) for name, network in generators.items()
    }
    methods |= baselines(train_set, progress)
    if ranks().leads:
        _begin(results, dataset.names, _kind_names(kinds), losses=bool(metrics))
    rows = evaluate(
        methods,
        dataset,
        device=device_of(next(iter(generators.values()))),
        batch_size=batch_size,
        progress=progress,
        pictures=results / PICTURES,
        recognizer=recognizer,
    )
    if not ranks().leads:
        return []

    judged = _Judged(generators, dataset, rows, left_out, kinds, grouping, one_checkpoint)
    tables = _tables(judged, recognized=recognizer is not None)
    files = _files(results, losses=bool(metrics))
    document = {**about, "files": files, "notes": list(notes), **_figures(judged)}
    write_text(results / TABLES, _markdown(tables, notes))
    _draw(judged, results)
    if LOSSES in files:
        plot_losses(metrics, results / LOSSES, metrics_part)
    write_text(results / SCORES, json.dumps(document, indent=1) + "\n")  # it is finished now
    return tables


@dataclass(frozen=True)
class _Judged:
    """The scores of every picture, and what they are summed up by.

    Attributes:
        rows: By generator and baseline, then by score, float64 [N].
        left_out, kinds, grouping, one_checkpoint: As for `write_results`.
    """

    generators: Mapping[str, UNet]
    dataset: FlowerDataset
    rows: Rows
    left_out: Collection[str]
    kinds: Sequence[str]
    grouping: str
    one_checkpoint: bool

    @property
    def first(self) -> str:
        return next(iter(self.generators))

    @property
    def kind_names(self) -> list[str]:
        return _kind_names(self.kinds)

    @cached_property
    def summary(self) -> Summary:
        return summarize(self.rows)

    @cached_property
    def differences(self) -> Summary:
        """Of each row but the first to the first, picture by picture."""
        base = self.rows[self.first].items()
        return summarize(
            {
                name: {
                    key: scores[key] - values
                    for key, values in base
                    if key != "colorfulness_difference"
                }
                for name, scores in self.rows.items()
                if name not in (self.first, TRUTH)
            }
        )

    @cached_property
    def without_twins(self) -> Summary:
        """The summary of the pictures that are not left out."""
        kept = torch.tensor([name not in self.left_out for name in self.dataset.names])
        return summarize(self.rows, kept)

    @cached_property
    def by_kind(self) -> dict[str, Any]:
        """By generator, what `summarize_kinds` says."""
        names = self.generators if self.kinds else ()
        return {name: summarize_kinds(self.rows, name, self.kinds) for name in names}


def _figures(judged: _Judged) -> dict[str, Any]:
    """The figures of `scores.json`: of all pictures, of each kind, and of each picture."""
    summary, dataset = judged.summary, judged.dataset
    figures = {
        "kind_names": judged.kind_names,
        "photos": len(dataset),
        "mean_l1": summary[judged.first]["l1"].mean,
        "mean_gray_l1": summary[GRAY]["l1"].mean,
        "saturated_chroma": SATURATED_CHROMA,
        "stain_chroma": STAIN_CHROMA,
        "rows": as_json(summary),
        "differences": as_json(judged.differences),
        "kinds": {
            name: {kind: {"photos": s.photos} | as_json(s.figures) for kind, s in scores.items()}
            for name, scores in judged.by_kind.items()
        },
    }
    if judged.left_out:
        without = as_json(judged.without_twins)
        figures["without_twins"] = {"left_out": list(judged.left_out), "rows": without}
    figures["images"] = [
        {
            "name": name,
            **({"kind": judged.kinds[number]} if judged.kinds else {}),
            "rows": {
                row: as_json({key: values[number].item() for key, values in scores.items()})
                for row, scores in judged.rows.items()
            },
        }
        for number, name in enumerate(dataset.names)
    ]
    return figures


def _tables(judged: _Judged, *, recognized: bool) -> list[Table]:
    """The tables of `scores.md`."""
    summary, differences, dataset = judged.summary, judged.differences, judged.dataset
    tables = [
        table(f"{counted(len(dataset), 'photo')} at {dataset.photos.rgb.shape[1]} px", summary),
        table(f"difference to {judged.first}", differences, sign="+"),
    ]
    for name, scores in judged.by_kind.items():
        with_counts = {f"{kind} ({s.photos:,})": s.figures for kind, s in scores.items()}
        tables.append(table(f"{name}, by {judged.grouping}", with_counts, FIGURES, by_kind=True))
    if judged.left_out:
        count = sum(name not in judged.left_out for name in dataset.names)
        tables.append(table(f"{count:,} without a twin", judged.without_twins))
    if recognized:
        rows = {
            row: scores | {"difference": differences[row]["recognized"]}
            if row in differences
            else scores
            for row, scores in summary.items()
        }
        tables.append(table("looks like its flower", rows, RECOGNITION))
    return tables


def _draw(judged: _Judged, results: Path) -> None:
    """The graphs and the sheets of pictures."""
    rows, summary, first = judged.rows, judged.summary, judged.first
    l1 = rows[first]["l1"]
    plot_scores(l1.tolist(), rows[GRAY]["l1"].tolist(), results / SPREAD)
    points = {
        name: (scores["l1"].mean, scores["colorfulness"].mean)
        for name, scores in summary.items()
        if name != TRUTH
    }
    real_colorfulness = summary[TRUTH]["colorfulness"].mean
    plot_trade(
        points,
        list(judged.generators),
        real_colorfulness,
        results / TRADE,
        joined=judged.one_checkpoint,
    )

    height = min(SHEET_ROWS, max(1, len(judged.dataset) // 3))
    _save_sheet(judged, _extremes(l1, height), results / SHEET, SHEET_TITLES)
    sheets = _kind_sheets(results, judged.kind_names)
    for kind, sheet in zip(judged.kind_names, sheets, strict=True):
        worst = worst_first(rows, first, judged.kinds, kind)[: KIND_SHEET_COLUMNS * KIND_SHEET_ROWS]
        titles = ["worst first"] + [""] * (min(KIND_SHEET_COLUMNS, len(worst)) - 1)
        _save_sheet(judged, torch.tensor(worst), sheet, titles)


def _kind_names(kinds: Sequence[str]) -> list[str]:
    return sorted({*kinds} - {""})


def _kind_sheets(results: Path, kinds: Sequence[str]) -> list[Path]:
    # Each is a word of somebody's table, and may be no name of a file.
    names = [kind.replace("/", "_").replace("\\", "_") + ".png" for kind in kinds]
    return picture_files(names, results / KIND_SHEETS)


def check_results(results: Path, *, losses: bool, pictures: Sequence[Path] = ()) -> set[Path]:
    """What an earlier evaluation left in a folder, the only files that the next one replaces.

    Args:
        losses: Whether that draws the graphs of a run.
        pictures: What it writes beside the `FILES`.

    Raises:
        SettingError: Another file is in its way.
    """
    try:
        listed = read_json(results / SCORES)  # None where there is none, or it is nothing of ours
        left = [image["name"] for image in listed["images"] or listed["unfinished"]]
        earlier = picture_files(left, results / PICTURES)
        names = [name for name in _files(results, losses=True) if name in listed.get("files", ())]
        earlier += [results / name for name in names]
        earlier += [results / SCORES, *_kind_sheets(results, listed.get("kind_names", ()))]
    except (ValueError, LookupError, TypeError, AttributeError):
        earlier = []
    files = [results / name for name in _files(results, losses=losses)]
    check_free([results / SCORES, *files, *pictures], earlier)
    return set(earlier)


def check_free(files: Sequence[Path], earlier: Collection[Path]) -> None:
    """Refuse, by a `SettingError`, files that are there and that no evaluation left earlier."""
    for file in files:
        if (is_there(file) or file.is_symlink()) and file not in earlier:
            raise SettingError(
                f"{file}: is there already, and no `eval` left it; name another folder by "
                "`results`, or move it away"
            )


def _files(results: Path, *, losses: bool) -> list[str]:
    """What is written beside scores and pictures; the folder of a run has its own graphs."""
    losses &= left_by(results) != "a run"
    return [name for name in FILES if losses or name != LOSSES]


def _begin(results: Path, names: list[str], kind_names: list[str], *, losses: bool) -> None:
    """Delete what an earlier evaluation left, and list what the next one is to delete of this."""
    pictures = picture_files(names, results / PICTURES)
    sheets = _kind_sheets(results, kind_names)
    earlier = check_results(results, losses=losses, pictures=[*pictures, *sheets])
    remove_files(earlier - {*pictures, results / SCORES}, results, [*pictures, *sheets])
    files, images = _files(results, losses=losses), [{"name": name} for name in names]
    listed = {"files": files, "kind_names": kind_names, "images": images}
    write_text(results / SCORES, json.dumps({"unfinished": True, **listed}) + "\n")


def _extremes(l1: Tensor, height: int) -> Tensor:
    """The photos of the lowest, the middle and the highest L1, row by row, [3 * height]."""
    starts = (0, (len(l1) - height) // 2, len(l1) - height)
    order = l1.argsort()
    return torch.stack([order[start : start + height] for start in starts], dim=1).flatten()


def _save_sheet(judged: _Judged, positions: Tensor, path: Path, titles: Sequence[str]) -> None:
    """Photos as gray, generated and true, as many columns of these as there are titles."""
    generator = judged.generators[judged.first]
    gray, real = judged.dataset.batch(positions)
    device = device_of(generator)
    fake = torch.cat([generate(generator, photo.to(device)).cpu() for photo in gray.split(1)])
    save_grid(gray, fake, real, path, titles=titles)


def as_json(value: Any) -> Any:
    """Figures as JSON has them: an interval as a table, null for NaN."""
    if isinstance(value, Interval):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {key: as_json(item) for key, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def _cell(interval: Interval | None, digits: str) -> tuple[str, str]:
    if interval is None or math.isnan(interval.mean):
        return "-", ""
    mean, low, high = (format(value, digits) for value in interval)
    return mean, "" if math.isnan(interval.low + interval.high) else f"{low}…{high}"


def table(
    title: str,
    summary: Mapping[str, Mapping[str, Interval]],
    columns: Mapping[str, tuple[str, str]] = COLUMNS,
    *,
    sign: str = "",
    by_kind: bool = False,
) -> Table:
    """Figures by row as text, in the columns named: by score, its title and format."""
    rows = {
        name: [_cell(scores.get(key), sign + digits) for key, (_, digits) in columns.items()]
        for name, scores in summary.items()
    }
    return Table(title, [column for column, _ in columns.values()], rows, by_kind)


def _markdown(tables: Sequence[Table], notes: Collection[str]) -> str:
    lines = []
    for table in tables:
        titles = [table.title, *table.columns]
        lines += [f"| {' | '.join(titles)} |", "|---|" + "--:|" * len(table.columns)]
        for name, cells in table.rows.items():
            texts = [
                name,
                *(f"{mean} ({interval})" if interval else mean for mean, interval in cells),
            ]
            lines.append(f"| {' | '.join(text.replace('|', '/') for text in texts)} |")
        lines.append("")
    notes = ["Means over the photos, with 95 % bootstrap intervals.", *notes]
    return "\n".join([*lines, *(f"- {note}" for note in notes)]) + "\n"
