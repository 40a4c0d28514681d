"""What hints are worth: error against their number, beside spreading them with no network."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from flowercolor.color import rgb_to_chroma
from flowercolor.data.dataset import FlowerDataset
from flowercolor.data.simulated_hints import SimulatedHints, draw_hints, mean_chroma_at, place_hints
from flowercolor.distributed import all_gather, shard
from flowercolor.evaluation.intervals import Interval, bootstrap
from flowercolor.evaluation.metrics import l1_per_image, psnr_per_image
from flowercolor.evaluation.plots import save_figure
from flowercolor.evaluation.report import Table, as_json, check_free, table
from flowercolor.evaluation.scoring import batches, device_of, see, shown
from flowercolor.files import read_json, storage_errors, write_text
from flowercolor.networks.hints import apply_hints
from flowercolor.networks.unet import UNet
from flowercolor.progress import Progress

COUNTS = (0, 1, 2, 5, 10, 20, 50)
CLICKS = (0, 1, 2, 5, 10)
HINTS_JSON, HINTS_PNG = "hints.json", "hints.png"
SIDE_PX = 5
"""Of the square whose mean chroma a hint has."""

HINTS, BY_DISTANCE, ALONG_EDGES = "hints", "by distance", "along edges"
"""The rows: the network, and as floors the hints spread over the gray photo with no network."""

_NEAR, _FAR, _ALIKE = 0.1, 0.2, 0.08
_NOTHING = 0.1
_ERROR_SIDE_SHARE = 16  # errors are looked at in squares of an eighth of the picture

Curve = dict[str, dict[int, dict[str, Interval]]]
"""By row (`HINTS` and the floors) and number of hints, `l1` and `psnr_db`."""


@torch.inference_mode()
def hint_curve(
    generator: UNet,
    dataset: FlowerDataset,
    *,
    counts: Sequence[int] = COUNTS,
    clicks: bool = False,
    batch_size: int = 1,
    progress: Progress | None = None,
) -> Curve:
    """L1 and PSNR against the number of hints, of the generator and of the two floors.

    Args:
        generator: With a branch for hints.
        dataset: The photos; hints get their colors from the true ones.
        counts: Numbers of hints, ascending.
        clicks: Place each hint where the generated picture is farthest from the true one, as a
            person would; otherwise anywhere, as Zhang et al. 2017 (section 4.1) do.
    """
    device = device_of(generator)
    names = (HINTS, BY_DISTANCE, ALONG_EDGES)
    floors = [partial(spread, along_edges=along_edges) for along_edges in (False, True)]
    columns = [torch.empty(len(names) * len(counts) * 2, 0)]
    share = shard(len(dataset)) or range(1)
    for positions, gray, real in batches(dataset, share, batch_size, device, progress=progress):
        network = partial(apply_hints, *see(generator, gray))
        hints = (
            _clicks(network, gray, real, max(counts))
            if clicks
            else _anywhere(real, max(counts), int(positions[0]))
        )
        cells = []
        for method in (network, *floors):
            for count in counts:
                some = hints.points[:, :count], hints.chroma[:, :count]
                fake = shown(gray, method(gray, *some))
                cells += [l1_per_image(fake, real), psnr_per_image(fake, real)]
        columns.append(torch.stack(cells).cpu())
    gathered = all_gather(torch.cat(columns, dim=1), len(dataset))
    intervals = iter(bootstrap(gathered.T))
    return {
        name: {count: {"l1": next(intervals), "psnr_db": next(intervals)} for count in counts}
        for name in names
    }


def check_hint_results(results: Path) -> None:
    """Make sure that `write_hint_curves` replaces nothing in a folder but what it wrote.

    Raises:
        SettingError: Another file is in the way.
    """
    files, left = [results / HINTS_JSON, results / HINTS_PNG], read_json(results / HINTS_JSON)
    ours = (
        left
        and isinstance(left, dict)
        and all(
            isinstance(curve, dict) and curve.keys() == {HINTS, BY_DISTANCE, ALONG_EDGES}
            for curve in left.values()
        )
    )
    check_free(files, files if ours else ())


def write_hint_curves(curves: Mapping[str, Curve], results: Path) -> list[Table]:
    """Write curves by name as `hints.json` and `hints.png` into a folder; the same as tables.

    Raises:
        SettingError: As `check_hint_results` says.
        StorageError: It cannot be written.
    """
    check_hint_results(results)
    with storage_errors(results):
        results.mkdir(parents=True, exist_ok=True)
    write_text(results / HINTS_JSON, json.dumps(as_json(curves), indent=1) + "\n")
    plot_hint_curves(curves, results / HINTS_PNG)
    return [
        table(
            f"Hints: {name}",
            {f"{row}: {count}": curve[row][count] for count in curve[HINTS] for row in curve},
            {"l1": ("L1", ".4f"), "psnr_db": ("PSNR dB", ".2f")},
        )
        for name, curve in curves.items()
    ]


def plot_hint_curves(curves: Mapping[str, Curve], path: Path) -> None:
    """Draw PSNR against the number of hints, a panel for each curve, as PNG."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - 0.4 s that only this needs

    figure = Figure(figsize=(5.2 * len(curves), 3.8), layout="constrained")
    panels = figure.subplots(1, len(curves), squeeze=False, sharey=True)[0]
    for axes, (name, curve) in zip(panels, curves.items(), strict=True):
        for (row, cells), color in zip(curve.items(), ("#b5305f", "gray", "#4a7a4a"), strict=True):
            values = [cell["psnr_db"].mean for cell in cells.values()]
            axes.plot(list(cells), values, marker=".", color=color, label=row)
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xticks(list(curve[HINTS]), [str(count) for count in curve[HINTS]])
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("hints")
        axes.grid(alpha=0.3)
        axes.legend(loc="upper left")
    panels[0].set_ylabel("PSNR, dB")
    save_figure(figure, path)


def spread(luma: Tensor, points: Tensor, hint_chroma: Tensor, *, along_edges: bool) -> Tensor:
    """The chroma [B, 2, H, W] of hints spread by a Gaussian of the distance.

    With `along_edges` of the difference of luma too, as a joint bilateral filter weighs pixels
    (Petschnigg et al. 2004, section 3).
    """
    height, width = luma.shape[-2:]
    rows, columns = (values[..., None, None] for values in points.unbind(-1))
    down, right = (torch.arange(side, device=luma.device) for side in (height, width))
    distance2 = (rows - down[:, None]).square() + (columns - right).square()
    reach = _FAR if along_edges else _NEAR
    logits = -distance2 / (2 * reach**2 * height * width)
    if along_edges:
        index = (rows * width + columns).flatten(1)
        at_hints = luma.flatten(1).gather(1, index)[..., None, None]
        logits = logits - (luma - at_hints).square() / (2 * _ALIKE**2)
    weights = logits.exp()
    weights = weights / (weights.sum(1, keepdim=True) + _NOTHING)
    return torch.einsum("bkc,bkhw->bchw", hint_chroma, weights)


def _anywhere(real: Tensor, count: int, seed: int) -> SimulatedHints:
    rng = torch.Generator().manual_seed(seed)
    draws = draw_hints(len(real), rng, count=count, side_px=SIDE_PX)
    return place_hints(rgb_to_chroma(real), draws, anywhere=True)


def _clicks(
    spread: Callable[..., Tensor], gray: Tensor, real: Tensor, count: int
) -> SimulatedHints:
    """Hints one after another, each at the middle of the largest error that is left."""
    real_chroma = rgb_to_chroma(real)
    side = gray.shape[-1] // _ERROR_SIDE_SHARE * 2 + 1
    hints = SimulatedHints(
        torch.zeros(len(gray), 0, 2, dtype=torch.long, device=gray.device),
        torch.zeros(len(gray), 0, 2, device=gray.device),
    )
    for _ in range(count):
        error = (shown(gray, spread(gray, *hints)) - real).square().sum(1, keepdim=True)
        around = F.avg_pool2d(error, side, stride=1, padding=side // 2)
        index = around.flatten(1).argmax(1)[:, None]
        point = torch.stack((index // gray.shape[-1], index % gray.shape[-1]), dim=-1)
        chroma = mean_chroma_at(real_chroma, point, SIDE_PX)
        hints = SimulatedHints(
            torch.cat((hints.points, point), 1), torch.cat((hints.chroma, chroma), 1)
        )
    return hints
