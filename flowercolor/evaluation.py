"""How good a generator is on photos it has not seen."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from flowercolor.color import fit_gamut, rgb_to_chroma, to_rgb
from flowercolor.dataset import FlowerDataset
from flowercolor.files import write_text
from flowercolor.metrics import l1_per_image
from flowercolor.networks import UNet
from flowercolor.plots import plot_scores, save_grid
from flowercolor.progress import Progress, Silent

__all__ = ["Scores", "generate", "score", "write_results"]

SHEET_COUNT = 48
SHEET_COLUMNS = 4


@dataclass(frozen=True)
class Scores:
    """The L1 of each test picture, RGB in 0 to 1.

    Attributes:
        names: The N photos.
        l1: float32 [N], generated picture against the true one.
        grey_l1: float32 [N], the grey photo itself against the true one: what doing
            nothing scores.
    """

    names: list[str]
    l1: Tensor
    grey_l1: Tensor

    @property
    def mean_l1(self) -> float:
        """The test score: the mean of `l1` over the pictures."""
        return self.l1.double().mean().item()

    @property
    def mean_grey_l1(self) -> float:
        """The mean of `grey_l1` over the pictures."""
        return self.grey_l1.double().mean().item()


@torch.inference_mode()
def generate(generator: UNet, grey: Tensor) -> Tensor:
    """The generated picture as it is shown: float32 RGB [B, 3, H, W] in 0 to 1.

    In float32 on every device, so that a score does not depend on where it was measured.
    Puts the generator into evaluation mode.

    Args:
        generator: On the device where `grey` is.
        grey: Float [B, 1, H, W] in 0 to 1, H and W divisible by 16.
    """
    fake: Tensor = generator.eval()(grey)
    if generator.config.output == "chroma":
        fake = to_rgb(grey, fit_gamut(grey, rgb_to_chroma(fake)))
    return fake.clamp(0, 1)


def generated(
    generator: UNet, dataset: FlowerDataset, batch_size: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Grey, generated and true pictures, batch by batch, in the order of the set."""
    device = next(generator.parameters()).device
    for positions in torch.split(torch.arange(len(dataset)), batch_size):
        grey, real = (pictures.to(device) for pictures in dataset.batch(positions))
        yield grey, generate(generator, grey), real


def score(
    generator: UNet,
    dataset: FlowerDataset,
    batch_size: int = 1,
    progress: Progress | None = None,
    pictures: Path | None = None,
) -> Scores:
    """The L1 of every picture of a set.

    In evaluation mode batch norm uses its running statistics, so the batch size changes the
    speed and not the score. The generator is left in evaluation mode.

    Args:
        generator: The network to judge.
        dataset: The photos to judge it on.
        batch_size: Photos per step.
        progress: Told of each step.
        pictures: A folder to write every picture into: grey, generated, truth.

    Raises:
        StorageError: A picture cannot be written.
    """
    fake_l1: list[Tensor] = []
    grey_l1: list[Tensor] = []
    files = iter(_picture_files(dataset.names, pictures or Path()))
    with (progress or Silent()).task("Testing", len(dataset), "photos") as task:
        for grey, fake, real in generated(generator, dataset, batch_size):
            fake_l1.append(l1_per_image(fake, real).cpu())
            grey_l1.append(l1_per_image(grey.expand_as(real), real).cpu())
            for triple in zip(grey.split(1), fake.split(1), real.split(1), strict=True):
                if pictures:
                    save_grid(*triple, next(files))
            task.advance(len(real))
    return Scores(dataset.names, torch.cat(fake_l1), torch.cat(grey_l1))


def write_results(
    generator: UNet,
    dataset: FlowerDataset,
    results: Path,
    *,
    about: Mapping[str, Any],
    batch_size: int = 1,
    progress: Progress | None = None,
) -> Scores:
    """Score a set and leave a results folder behind.

        scores.json     the means and every picture's L1, beside the grey photo's own
        pictures/       every picture: grey, generated, truth
        contact.png     48 of them from the lowest to the highest L1, evenly spaced
        scores.png      how the L1 spreads over the pictures

    Args:
        generator: The network to judge.
        dataset: The photos to judge it on.
        results: The folder; made where missing, files of the same names replaced.
        about: What stands at the head of `scores.json`: the checkpoint, the data.
        batch_size: Photos per step; changes speed, not scores.
        progress: Told of each step.

    Raises:
        StorageError: A file cannot be written.
    """
    scores = score(generator, dataset, batch_size, progress, results / "pictures")
    rows = zip(scores.names, scores.l1.tolist(), scores.grey_l1.tolist(), strict=True)
    document = {
        **about,
        "photos": len(scores.names),
        "mean_l1": scores.mean_l1,
        "mean_grey_l1": scores.mean_grey_l1,
        "images": [{"name": name, "l1": l1, "grey_l1": grey} for name, l1, grey in rows],
    }
    write_text(results / "scores.json", json.dumps(document, indent=1) + "\n")
    plot_scores(scores.l1.tolist(), scores.grey_l1.tolist(), results / "scores.png")

    count = min(SHEET_COUNT, len(dataset))
    spread = torch.linspace(0, len(dataset) - 1, count).round().long()
    grey, real = dataset.batch(scores.l1.argsort()[spread])
    device = next(generator.parameters()).device
    fake = torch.cat([generate(generator, one.to(device)).cpu() for one in torch.split(grey, 1)])
    save_grid(grey, fake, real, results / "contact.png", SHEET_COLUMNS)
    return scores


def _picture_files(names: list[str], folder: Path) -> list[Path]:
    """A unique PNG file below the folder for each name, which is a path in the data."""
    files: list[Path] = []
    taken: set[PurePosixPath] = set()
    for text in names:
        # An archive may name its photos "/a.jpg" or "../a.jpg", and several of them the same.
        name = PurePosixPath(*(part for part in text.split("/") if part not in ("", "..")))
        file = name.with_suffix(".png")
        while file in taken:
            name = name.with_name(name.name + ".png")
            file = name
        taken.add(file)
        files.append(folder / file)
    return files
