"""Scores of generators, and of other methods, on the photos of a set."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from flowercolor.color import fit_gamut, rgb_to_chroma, to_rgb
from flowercolor.data.dataset import FlowerDataset
from flowercolor.data.simulated_hints import draw_hints, place_hints
from flowercolor.devices import deterministic, no_tf32
from flowercolor.distributed import all_gather, shard
from flowercolor.evaluation.intervals import Interval, bootstrap
from flowercolor.evaluation.metrics import (
    colorfulness_per_image,
    l1_per_image,
    measure,
    rgb_to_lab,
    saturated,
)
from flowercolor.evaluation.plots import save_grid
from flowercolor.files import alike
from flowercolor.memory_budget import memory_errors
from flowercolor.networks.hints import apply_hints
from flowercolor.networks.unet import UNet
from flowercolor.progress import Progress, Silent

TEST_HINTS = 5

GRAY = "gray photo"
TRUTH = "true photos"
"""The rows of the gray photo itself and of the true photo."""

Method = Callable[[Tensor], Tensor]
"""From gray, float [B, 1, H, W], to RGB, float [B, 3, H, W], both in 0 to 1."""

Recognizer = Callable[[Tensor, Tensor], Tensor]
"""From RGB pictures, float [B, 3, H, W] in 0 to 1, and which of the set they show, int64 [B], to
1 for each that is recognized as what it is, else 0, float32 [B]."""

Rows = dict[str, dict[str, Tensor]]
"""By row (a method, or `TRUTH`) and score, a number for each picture, float32 [N]."""

Summary = dict[str, dict[str, Interval]]
"""By row and score, the mean over the pictures."""


@dataclass(frozen=True)
class Scores:
    """The L1 of each of N test pictures, RGB in 0 to 1, and its colorfulness, float32 [N].

    Attributes:
        l1: Generated picture against the true one.
        gray_l1: The gray photo itself against the true one: what doing nothing scores.
        colorfulness: Of the generated picture.
        real_colorfulness: Of the true one.
    """

    names: list[str]
    l1: Tensor
    gray_l1: Tensor
    colorfulness: Tensor
    real_colorfulness: Tensor

    @property
    def mean_l1(self) -> float:
        """The test score: the mean of `l1` over the pictures."""
        return self.l1.double().mean().item()

    @property
    def mean_gray_l1(self) -> float:
        """The mean of `gray_l1` over the pictures."""
        return self.gray_l1.double().mean().item()

    @property
    def mean_colorfulness(self) -> float:
        """The mean of `colorfulness` over the pictures."""
        return self.colorfulness.double().mean().item()

    @property
    def mean_real_colorfulness(self) -> float:
        """The mean of `real_colorfulness` over the pictures."""
        return self.real_colorfulness.double().mean().item()


@torch.inference_mode()
def generate(generator: UNet, gray: Tensor, *, exact: bool = True) -> Tensor:
    """The generated picture as it is shown: float32 RGB [B, 3, H, W] in 0 to 1.

    Puts the generator into evaluation mode.

    Args:
        generator: On the device where `gray` is.
        gray: Float [B, 1, H, W] in 0 to 1, H and W divisible by 16.
        exact: In float32 on every device, so that a score does not depend on where it was
            measured. Else in what torch is set to: by default TF32 on GPUs that have it,
            five times as fast on an H100, which moves an L1 by a millionth.
    """
    with deterministic(), no_tf32() if exact else nullcontext():
        fake: Tensor = generator.eval()(gray)
    return (
        shown(gray, rgb_to_chroma(fake))
        if generator.config.output == "chroma"
        else fake.clamp(0, 1)
    )


@torch.inference_mode()
def see(generator: UNet, gray: Tensor) -> tuple[Tensor, Tensor]:
    """What hints spread by, [B, C, H, W], and the chroma without them, [B, 2, H, W]."""
    with deterministic():
        predicted, features = generator.eval().predict_with_hint_features(gray)
    return features, rgb_to_chroma(predicted) if generator.config.output == "rgb" else predicted


def shown(gray: Tensor, chroma: Tensor) -> Tensor:
    """RGB [B, 3, H, W] in 0 to 1 of a chroma, weakened where it does not fit the luma."""
    return to_rgb(gray, fit_gamut(gray, chroma)).clamp(0, 1)


@memory_errors("testing", "`test_batch_size`, then `base_channels`, then `size_px`")
def score(
    generator: UNet, dataset: FlowerDataset, batch_size: int = 1, progress: Progress | None = None
) -> Scores:
    """The L1 and the colorfulness of every picture of a set, not `exact` as `generate` says it.

    A generator with a branch for hints is shown `TEST_HINTS` of each photo, which lie anywhere.
    In evaluation mode batch norm uses its running statistics, so the batch size changes the
    speed and not the score. The generator is left in evaluation mode. Within
    `distributed.joined` each process judges its share, and all have the scores of all.

    Raises:
        DeviceError: The device has too little memory.
    """
    device = device_of(generator)
    columns = [torch.empty(4, 0, device=device)]
    positions = shard(len(dataset))
    for _, gray, real in batches(dataset, positions, batch_size, device, progress=progress):
        fake = generate_for_test(generator, gray, real)
        scores = (
            l1_per_image(fake, real),
            l1_per_image(gray.expand_as(real), real),
            colorfulness_per_image(fake),
            colorfulness_per_image(real),
        )
        columns.append(torch.stack(scores))
    return Scores(dataset.names, *all_gather(torch.cat(columns, dim=1).cpu(), len(dataset)))


def score_gray(dataset: FlowerDataset, batch_size: int = 1) -> float:
    """The mean L1 of every picture of a set as a gray photo."""
    photos = batches(dataset, range(len(dataset)), batch_size, dataset.device, progress=None)
    l1 = [l1_per_image(gray.expand_as(real), real) for _, gray, real in photos]
    return torch.cat(l1).double().mean().item()


@torch.inference_mode()
def generate_for_test(generator: UNet, gray: Tensor, real: Tensor) -> Tensor:
    """What `score` judges, RGB [B, 3, H, W] in 0 to 1; the same hints for the same photos."""
    if not generator.config.hints:
        return generate(generator, gray, exact=False)
    # One seed for each batch: any photos get other places, and a test the same as the last one.
    draws = draw_hints(len(gray), torch.Generator().manual_seed(0), count=TEST_HINTS, side_px=3)
    hints = place_hints(rgb_to_chroma(real), draws, anywhere=True)
    return shown(gray, apply_hints(*see(generator, gray), gray, *hints))


@memory_errors("testing", "`batch_size`")
@torch.inference_mode()
def evaluate(
    methods: Mapping[str, Method],
    dataset: FlowerDataset,
    *,
    device: torch.device | str = "cpu",
    batch_size: int = 1,
    progress: Progress | None = None,
    pictures: Path | None = None,
    recognizer: Recognizer | None = None,
) -> Rows:
    """Every score of every picture of a set, for whatever colors gray photos; in one pass.

    Within `distributed.joined` each process judges its share, and all have the scores of all.

    Args:
        device: Where the methods want the gray photos.
        pictures: A folder to write every picture into: gray, as the first of the methods
            made it, truth.

    Returns:
        A row of `metrics.measure` for each method, and as the last, `TRUTH`, the
        `colorfulness` of the true photos and the `saturated_share` of their pixels. What the
        recognizer says is in each row as `recognized`.

    Raises:
        DeviceError: The device has too little memory.
        StorageError: A picture cannot be written.
    """
    measured: dict[str, list[dict[str, Tensor]]] = {name: [] for name in [*methods, TRUTH]}
    files = picture_files(dataset.names, pictures or Path())
    # A process without photos measures the first all the same, to know the scores' names.
    share = shard(len(dataset)) or range(1)
    for positions, gray, real in batches(
        dataset, share, batch_size, torch.device(device), progress=progress
    ):
        colored = {name: method(gray) for name, method in methods.items()}
        for name, fake in colored.items():
            measured[name].append(measure(fake, real))
        measured[TRUTH].append(
            {
                "colorfulness": colorfulness_per_image(real),
                "saturated_share": saturated(rgb_to_lab(real)).float().mean(dim=(1, 2)),
            }
        )
        if recognizer:
            for name, rgb in {**colored, TRUTH: real}.items():
                measured[name][-1]["recognized"] = recognizer(rgb, positions)
        if pictures:
            shown = next(iter(colored.values()))
            triples = zip(gray.split(1), shown.split(1), real.split(1), strict=True)
            for position, triple in zip(positions.tolist(), triples, strict=True):
                save_grid(*triple, files[position])
    rows: Rows = {}
    for name, parts in measured.items():
        columns = [torch.cat([part[key] for part in parts]).cpu() for key in parts[0]]
        gathered = all_gather(torch.stack(columns), len(dataset))
        rows[name] = dict(zip(parts[0], gathered, strict=True))
    return rows


def summarize(rows: Rows, kept: Tensor | None = None) -> Summary:
    """The mean of each score with its bootstrap interval, over the same resamples.

    Where `GRAY` and `TRUTH` have it too there is also `recovered`: the share of the gap
    between their means of `recognized` that a row wins back, NaN where there is no gap.

    Args:
        rows: Scores of N pictures.
        kept: bool [N], which of them count; all by default.
    """
    columns = [(name, key) for name, scores in rows.items() for key in scores]
    values = torch.stack([rows[name][key] for name, key in columns], dim=1)
    values = values if kept is None else values[kept]
    summary: Summary = {name: {} for name in rows}
    for (name, key), interval in zip(columns, bootstrap(values), strict=True):
        summary[name][key] = interval
    recognized = [name for name, key in columns if key == "recognized"]
    if {GRAY, TRUTH} <= set(recognized):
        order = [columns.index((name, "recognized")) for name in (GRAY, TRUTH, *recognized)]
        for name, interval in zip(
            recognized, bootstrap(values[:, order], figures_of=_recovered), strict=True
        ):
            summary[name]["recovered"] = interval
    return summary


def _recovered(accuracies: Tensor) -> Tensor:
    """From accuracies of gray, truth and K rows, [..., 2 + K], the shares won back, [..., K]."""
    gray, true, rows = accuracies.tensor_split((1, 2), dim=-1)
    gap = true - gray
    return torch.where(gap > 0, (rows - gray) / gap, math.nan)


def picture_files(names: list[str], folder: Path) -> list[Path]:
    """A PNG file below the folder for each name, which is a path in the data.

    No two of them are one file, nor one a folder of another's, on any system.
    """
    files: list[Path] = []
    taken: set[str] = set()
    folders: set[str] = set()
    for text in names:
        # An archive may name its photos "/a.jpg" or "../a.jpg", and several of them the same.
        name = PurePosixPath(*(part for part in text.split("/") if part not in ("", "..")))
        if taken.intersection(map(alike, name.parents)):  # a picture is called like its folder
            name = PurePosixPath("_".join(name.parts))
        file = name.with_suffix(".png")
        while alike(file) in taken or alike(file) in folders:
            name = name.with_name(name.name + ".png")
            file = name
        taken.add(alike(file))
        folders.update(map(alike, file.parents))
        files.append(folder / file)
    return files


def device_of(generator: UNet) -> torch.device:
    """Where its weights lie."""
    return next(generator.parameters()).device


def batches(
    dataset: FlowerDataset,
    positions: Sequence[int],
    batch_size: int,
    device: torch.device,
    *,
    progress: Progress | None,
    label: str = "Testing",
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Positions in the set, gray and true pictures on the device, batch by batch."""
    on_cpu = torch.as_tensor(positions, dtype=torch.long)
    beside_pictures = on_cpu.to(dataset.device)
    with (progress or Silent()).task(label, len(positions), "photos") as task:
        for start in range(0, len(positions), batch_size):
            batch = slice(start, start + batch_size)
            gray, real = (rgb.to(device) for rgb in dataset.batch(beside_pictures[batch]))
            yield on_cpu[batch], gray, real
            task.advance(len(real))
