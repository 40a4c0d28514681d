"""What the weights paint, without the photos: generated chroma on one flat luma.

    python benchmarks/chroma_page.py ARCHIVE OUT [CHECKPOINT]

The four best, median and worst photos of the test split by L1, a column each; below each other
the checkpoint at vividness 0, its default, and 1. Nobody's photo is in the picture.
"""

import sys
from pathlib import Path

import torch
from torchvision.utils import make_grid

from flowercolor.checkpoint import load_generator
from flowercolor.color import fit_gamut, rgb_to_chroma, to_rgb
from flowercolor.data.dataset import get_data
from flowercolor.evaluation.plots import save_picture
from flowercolor.evaluation.scoring import generate, score
from flowercolor.runs import find_checkpoint

EACH = 4
LUMA = 0.62


def main(archive: Path, out: Path, checkpoint: str = "bundled") -> None:
    """Score the test split once, then paint the chosen ones."""
    path = find_checkpoint(checkpoint)
    standing, info = load_generator(path)
    _, test_set = get_data(archive, info.config.size_px)
    order = score(standing, test_set, batch_size=16).l1.argsort()
    middle = (len(order) - EACH) // 2
    shown = torch.cat((order[:EACH], order[middle : middle + EACH], order[-EACH:]))
    gray, _ = test_set.batch(shown)
    flat = torch.full_like(gray, LUMA)
    rows = []
    for generator in (
        load_generator(path, vividness=0)[0],
        standing,
        load_generator(path, vividness=1)[0],
    ):
        chroma = rgb_to_chroma(generate(generator, gray))
        rows.append(to_rgb(flat, fit_gamut(flat, chroma)))
    save_picture(make_grid(torch.cat(rows), nrow=3 * EACH, padding=4, pad_value=1), out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
