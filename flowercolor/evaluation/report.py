"""What an evaluation leaves behind: figures to read on, tables to paste, pictures to look at."""

import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from flowercolor.data.dataset import FlowerDataset
from flowercolor.data.photo_cache import check_outside
from flowercolor.distributed import check_alike
from flowercolor.evaluation.metrics import SATURATED_CHROMA, Interval
from flowercolor.evaluation.plots import plot_losses, plot_scores, plot_trade, save_grid
from flowercolor.evaluation.scoring import (
    FLOOR,
    MEDIAN,
    MEDIAN_BY_LUMA,
    TRUTH,
    Judge,
    Painter,
    Summary,
    device_of,
    evaluate,
    generate,
    median_chroma,
    paint,
    picture_files,
    summarize,
)
from flowercolor.files import storage_errors, write_text
from flowercolor.networks.unet import UNet
from flowercolor.progress import Progress
from flowercolor.runs import LOSSES
from flowercolor.torchrun import ranks

SCORES = "scores.json"
TABLES = "scores.md"
SPREAD = "scores.png"
TRADE = "trade.png"
SHEET = "contact.png"
FILES = (TABLES, SPREAD, TRADE, SHEET, LOSSES)
SHEET_ROWS = 16

COLUMNS = {
    "l1": ("L1", ".4f"),
    "saturated_l1": ("L1 satur.", ".4f"),
    "psnr": ("PSNR dB", ".2f"),
    "ssim": ("SSIM", ".4f"),
    "ciede2000": ("CIEDE 2000", ".2f"),
    "colorfulness": ("color", ".1f"),
    "colorfulness_difference": ("minus true", "+.1f"),
}
"""By score, its title and the format of its numbers."""

RECOGNITION = {
    "recognized": ("recognized", ".3f"),
    "recovered": ("recovered", ".2f"),
    "difference": ("to the first", "+.3f"),
}
"""The same for what a judge adds."""


class Table(NamedTuple):
    """Figures as text: by row, the mean and the interval for each of `columns`, their titles."""

    title: str
    columns: list[str]
    rows: dict[str, list[tuple[str, str]]]


def write_results(
    generators: Mapping[str, UNet],
    dataset: FlowerDataset,
    results: Path,
    *,
    about: Mapping[str, Any],
    train_set: FlowerDataset | None = None,
    judge: Judge | None = None,
    left_out: Sequence[str] = (),
    metrics: Sequence[Mapping[str, Any]] = (),
    notes: Sequence[str] = (),
    batch_size: int = 1,
    progress: Progress | None = None,
) -> list[Table]:
    """Judge generators on a set and leave a results folder behind.

        scores.json     the means with their intervals, and every score of every picture
        scores.md       the same means as tables
        pictures/       every picture: gray, as the first of the generators made it, truth
        contact.png     up to 48 of them: those with the lowest, the middle and the highest L1
        scores.png      how the L1 spreads over the pictures
        trade.png       the mean L1 of each row against its mean colorfulness
        losses.png      the graphs of the first one's run, where there are `metrics`

    What an earlier evaluation left there is removed first, as its `scores.json` lists it.

    Beside the generators stand the gray photo itself and the chroma medians of the training
    set: a generator that does not beat these has learned nothing.

    Within `distributed.joined` the processes share the photos, and all but the leader write
    nothing but the pictures of theirs.

    Args:
        generators: What to judge, by name, all on one device; the first is the one that the
            others are compared with.
        dataset: The photos to judge them on.
        results: The folder; made where missing, files of the same names replaced.
        about: What stands at the head of `scores.json`: the checkpoint, the data.
        train_set: The photos for the chroma medians; without it there are none.
        judge: Says of every picture whether it still shows what it should, in a table of its own.
        left_out: Photos with a twin in the training set: the rest of the set is summed up apart.
        metrics: The rows of `metrics.jsonl` of the run that the first comes from.
        notes: What the reader of the figures has to know.
        batch_size: Photos per step; changes speed, not scores.
        progress: Told of each step.

    Returns:
        The tables of `scores.md`; none but in the leader.

    Raises:
        SettingError: The folder lies among the photos.
        StorageError: A file cannot be written.
        DataError: This process has other photos than the leader.
    """
    check_outside(results, dataset.photos.source)
    check_alike(dataset.photos.fingerprint, dataset.photos.source)
    first, generator = next(iter(generators.items()))
    painters: dict[str, Painter] = {
        name: partial(generate, generator) for name, generator in generators.items()
    }
    painters[FLOOR] = lambda gray: gray.expand(-1, 3, -1, -1)
    if train_set:
        of_all, by_luma = median_chroma(train_set, progress)
        painters[MEDIAN] = partial(paint, of_all)
        painters[MEDIAN_BY_LUMA] = partial(paint, by_luma)
    pictures = results / "pictures"
    if ranks().leads:
        _begin(results, pictures, dataset.names)
    rows = evaluate(
        painters,
        dataset,
        device=device_of(generator),
        batch_size=batch_size,
        progress=progress,
        pictures=pictures,
        judge=judge,
    )
    if not ranks().leads:
        return []

    summary = summarize(rows)
    differences = summarize(
        {
            name: {
                key: rows[name][key] - values
                for key, values in rows[first].items()
                if key != "colorfulness_difference"
            }
            for name in list(painters)[1:]
        }
    )
    document = {
        **about,
        "files": [name for name in FILES if metrics or name != LOSSES],
        "notes": list(notes),
        "photos": len(dataset),
        "mean_l1": summary[first]["l1"].mean,
        "mean_gray_l1": summary[FLOOR]["l1"].mean,
        "saturated_chroma": SATURATED_CHROMA,
        "rows": _as_json(summary),
        "differences": _as_json(differences),
        "images": [
            {
                "name": name,
                "rows": {
                    row: {key: _finite(values[number].item()) for key, values in scores.items()}
                    for row, scores in rows.items()
                },
            }
            for number, name in enumerate(dataset.names)
        ],
    }
    tables = [
        _table(f"{len(dataset):,} photos at {dataset.photos.rgb.shape[1]} px", summary),
        _table(f"difference to {first}", differences, "+"),
    ]
    if left_out:
        kept = torch.tensor([name not in left_out for name in dataset.names])
        without = summarize(rows, kept)
        document["without_twins"] = {"left_out": list(left_out), "rows": _as_json(without)}
        tables.append(_table(f"{int(kept.sum()):,} without a twin", without))
    if judge:
        judged = {
            row: scores | {"difference": differences[row]["recognized"]}
            if row in differences
            else scores
            for row, scores in summary.items()
        }
        tables.append(_table("looks like its flower", judged, columns=RECOGNITION))
    write_text(results / SCORES, json.dumps(document, indent=1) + "\n")
    write_text(results / TABLES, _markdown(tables, notes))

    l1 = rows[first]["l1"]
    plot_scores(l1.tolist(), rows[FLOOR]["l1"].tolist(), results / SPREAD)
    points = {
        name: (summary[name]["l1"].mean, summary[name]["colorfulness"].mean) for name in painters
    }
    plot_trade(points, list(generators), summary[TRUTH]["colorfulness"].mean, results / TRADE)
    _write_sheet(generator, dataset, l1, results / SHEET)
    if metrics:
        plot_losses(metrics, results / LOSSES)
    return tables


def _begin(results: Path, pictures: Path, names: list[str]) -> None:
    """Delete what an earlier evaluation left, and list the pictures that this one will write.

    So the next one finds them even where this one is stopped.
    """
    scores = results / SCORES
    try:
        earlier = json.loads(scores.read_bytes())
        files = picture_files([image["name"] for image in earlier["images"]], pictures)
        files += [results / name for name in FILES if name in earlier.get("files", ())]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        files = []  # none, or nothing of ours
    for file in set(files) - set(picture_files(names, pictures)):
        with storage_errors(file):
            file.unlink(missing_ok=True)
    unfinished = {"unfinished": True, "images": [{"name": name} for name in names]}
    write_text(scores, json.dumps(unfinished) + "\n")


def _write_sheet(generator: UNet, dataset: FlowerDataset, l1: Tensor, path: Path) -> None:
    """The photos of the lowest, the middle and the highest L1, as gray, generated and true."""
    height = min(SHEET_ROWS, max(1, len(dataset) // 3))
    starts = (0, (len(dataset) - height) // 2, len(dataset) - height)
    order = l1.argsort()
    shown = torch.stack([order[start : start + height] for start in starts], dim=1).flatten()
    gray, real = dataset.batch(shown)
    fake = torch.cat(
        [generate(generator, one.to(device_of(generator))).cpu() for one in torch.split(gray, 1)]
    )
    save_grid(gray, fake, real, path, titles=["best", "median", "worst"])


def _finite(value: float) -> float | None:
    """The value, and null for NaN, which JSON does not know."""
    return None if math.isnan(value) else value


def _as_json(summary: Summary) -> dict[str, dict[str, dict[str, float | None]]]:
    return {
        row: {
            key: {name: _finite(value) for name, value in interval._asdict().items()}
            for key, interval in scores.items()
        }
        for row, scores in summary.items()
    }


def _table(
    title: str,
    summary: Summary,
    sign: str = "",
    columns: Mapping[str, tuple[str, str]] = COLUMNS,
) -> Table:
    def cell(interval: Interval | None, digits: str) -> tuple[str, str]:
        if interval is None or math.isnan(interval.mean):
            return "-", ""
        mean, low, high = (format(value, digits) for value in interval)
        return mean, f"{low}…{high}"

    return Table(
        title,
        [title for title, _ in columns.values()],
        {
            name: [cell(scores.get(key), sign + digits) for key, (_, digits) in columns.items()]
            for name, scores in summary.items()
        },
    )


def _markdown(tables: Sequence[Table], notes: Sequence[str]) -> str:
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
