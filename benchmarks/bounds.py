"""What holds the bundled weights' scores: less color, photos that they know, a confidence.

    python benchmarks/bounds.py ARCHIVE

L1 as a share of the gray photo's, the share of photos worse than gray, colorfulness as a share of
the true one's; of the validation part at vividness 0.5 and 0, with the chroma at 0 multiplied by
fixed factors and by how sure the branch for hints is of its hue, and of 1,600 photos of the
training part.
"""

import math
import sys

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from flowercolor.checkpoint import load_generator
from flowercolor.color import to_rgb
from flowercolor.data.dataset import FlowerDataset, get_data, split_validation
from flowercolor.evaluation.metrics import colorfulness_per_image, l1_per_image
from flowercolor.hints.attention import HINT_CHANNELS
from flowercolor.hints.palette import HUES
from flowercolor.runs import bundled_checkpoint

FACTORS = (1.0, 0.7, 0.15)
KNOWN_PHOTOS = 1600
BATCH = 16


def sureness(features: Tensor, chroma: Tensor) -> Tensor:
    """The expected cosine between a pixel's hue and the one predicted, gray being 0."""
    likely = features[:, HINT_CHANNELS:].softmax(1)[:, 1:]
    hues = likely.unflatten(1, (2, HUES)).sum(1)
    angles = torch.arange(HUES) * (2 * math.pi / HUES)
    expected = torch.einsum("bhyx,ch->bcyx", hues, torch.stack((angles.cos(), angles.sin())))
    return (expected * F.normalize(chroma, dim=1)).sum(1, keepdim=True)


def score(dataset: FlowerDataset, vividness: float) -> dict[str, str]:
    """By what is done to the chroma, the three figures."""
    generator, _ = load_generator(bundled_checkpoint(), vividness=vividness)
    columns: dict[str, list[Tensor]] = {}
    for positions in torch.arange(len(dataset)).split(BATCH):
        gray, real = dataset.batch(positions)
        chroma, features = generator.predict_with_hint_features(gray)
        scales: dict[str, Tensor | float] = {f"chroma times {factor}": factor for factor in FACTORS}
        scales["by sureness"] = (0.2 + 1.4 * sureness(features, chroma)).clamp(0, 1.3)
        for name, scale in scales.items():
            fake = to_rgb(gray, chroma * scale).clamp(0, 1)
            l1 = [l1_per_image(made, real) for made in (fake, gray.expand_as(real))]
            colors = [colorfulness_per_image(made) for made in (fake, real)]
            columns.setdefault(name, []).append(torch.stack(l1 + colors))
    figures = {}
    for name, parts in columns.items():
        l1, gray_l1, color, true_color = torch.cat(parts, dim=1)
        worse = (l1 > gray_l1).float().mean()
        share, colored = l1.mean() / gray_l1.mean(), color.mean() / true_color.mean()
        figures[name] = f"{share:.3f} of gray's L1, {worse:.0%} worse, color {colored:.2f}"
    return figures


@torch.inference_mode()
def main() -> None:
    """Print the figures."""
    train_set, _ = get_data(sys.argv[1])
    train_set, validation = split_validation(train_set)
    rng = torch.Generator().manual_seed(0)
    known = train_set.subset(torch.randperm(len(train_set), generator=rng)[:KNOWN_PHOTOS])
    for name, dataset in (("validation", validation), ("learned from", known)):
        for vividness in (0.5, 0.0):
            for done, figures in score(dataset, vividness).items():
                sys.stdout.write(f"{name}, vividness {vividness}, {done}: {figures}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
