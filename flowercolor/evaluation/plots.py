"""Graphs of a run and grids of pictures, as files.

Each is written whole or not at all; where that fails, `StorageError` is raised.
"""

import textwrap
from collections.abc import Mapping, Sequence
from io import BytesIO
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from flowercolor.errors import ImageError
from flowercolor.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TITLE_PX = 24
_NAME_LETTERS = 28  # a line of the names in a legend

_PANELS = {
    "Generator loss": {"loss_g": "loss"},
    "Discriminator loss": {"loss_d": "loss"},
    "Discriminator output": {"d_real": "D(real)", "d_fake": "D(fake)"},
    "L1": {"l1": "training", "test_l1": "test"},
}
"""By title, the curves of a panel and their names."""

_MOST_DOTS = 60
_BESIDE: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1, 1)}
"""Where a legend covers no curve."""

_COLORS = ("#e59ab8", "#b5305f")  # the last is that of a curve alone


def plot_losses(rows: Sequence[Mapping[str, Any]], path: Path, part: str = "test") -> None:
    """Draw the losses, what the discriminator says, and L1 over the epochs, as PNG.

    Args:
        rows: The rows of `metrics.jsonl`; a value of None leaves a gap.
        part: What the run tested on, "test" or "validation".
    """
    # The object interface only: pyplot keeps global state and may want a screen.
    from matplotlib.figure import Figure  # noqa: PLC0415 - 0.4 s that only this needs
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    # Without a discriminator there is nothing to draw of one.
    panels = [
        (title, curves)
        for title, curves in _PANELS.items()
        if title in ("Generator loss", "L1") or not rows or any(curves.keys() & row for row in rows)
    ]
    figure = Figure(figsize=(4.7 * len(panels), 3.6), layout="constrained")
    for axes, (title, curves) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        for (key, label), color in zip(curves.items(), _COLORS[-len(curves) :], strict=True):
            points = [(row["epoch"], row[key]) for row in rows if row.get(key) is not None]
            _draw_curve(axes, points, color=color, label=part if key == "test_l1" else label)
        if "d_real" in curves and axes.lines:
            axes.set_ylim(0, 1)
            axes.legend(**_BESIDE)
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        # From where training begins: around a single row matplotlib shows a tenth of an epoch.
        axes.set_xlim(0, 1.05 * max([1, *(row["epoch"] for row in rows)]))
        axes.grid(alpha=0.3)
    for number, (label, points) in enumerate(_beside_test_l1(rows).items()):
        color = f"C{number - 1}" if number else "black"
        _draw_curve(axes, points, lw=0.8, color=color, label=label)
    best = [row["test_l1"] for row in rows if row.get("test_l1") is not None]
    if best:
        axes.axhline(min(best), linestyle=":", color="gray", label=f"best {min(best):.4f}")
        axes.legend(**_BESIDE)
    save_figure(figure, path)


def _draw_curve(axes: "Axes", points: Sequence[tuple[float, float]], **style: Any) -> None:
    """With a dot for each point, but for so many that these would merge into a bar."""
    if points:
        dot = "." if len(points) <= _MOST_DOTS else ""
        axes.plot(*zip(*points, strict=True), marker=dot, **style)


def _beside_test_l1(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """What is drawn beside the test L1: that of the gray photos, and that of each source."""
    lines = {
        "gray photos": [(r["epoch"], r["test_gray_l1"]) for r in rows if r.get("test_gray_l1")]
    }
    for name in sorted({name for row in rows for name in row.get("by_source", ())}):
        in_rows = (row for row in rows if name in row.get("by_source", ()))
        lines[name] = [(row["epoch"], row["by_source"][name]["l1"]) for row in in_rows]
    return lines


def plot_scores(l1: Sequence[float], gray_l1: Sequence[float], path: Path) -> None:
    """Draw how the L1 spreads over the pictures, generated and gray, as PNG."""
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    shared: dict[str, Any] = {"bins": 40, "range": (0, max(*l1, *gray_l1)), "alpha": 0.6}
    axes.hist(gray_l1, **shared, color="gray", label=f"gray photo, mean {np.mean(gray_l1):.4f}")
    axes.hist(l1, **shared, color="#b5305f", label=f"generated, mean {np.mean(l1):.4f}")
    axes.set_xlabel("L1 to the true photo")
    axes.set_ylabel("photos")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(**_BESIDE)
    save_figure(figure, path)


def plot_trade(
    points: Mapping[str, tuple[float, float]],
    judged: Sequence[str],
    truth: float,
    path: Path,
    *,
    joined: bool,
) -> None:
    """Draw error against color: what paints safely errs little and paints dully, as PNG.

    The trade of distortion against perception (Blau and Michaeli 2018).

    Args:
        points: By name, mean L1 and mean colorfulness.
        judged: The names that are no baselines.
        truth: Mean colorfulness of the true photos.
        joined: Draw a line between those judged, in their order.
    """
    from matplotlib import colormaps  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(8, 4.4), layout="constrained")
    axes = figure.subplots()
    if joined:
        axes.plot(*zip(*(points[name] for name in judged), strict=True), color="gray", alpha=0.5)
    colors = iter(colormaps["plasma"](np.linspace(0, 0.85, len(judged))))
    markers = cycle("sD^v")
    handles = []
    for name, point in points.items():
        is_judged = name in judged
        look = ("o", next(colors)) if is_judged else (next(markers), "gray")
        handles += axes.plot(*point, linestyle="", marker=look[0], color=look[1])
    handles.append(axes.axhline(truth, linestyle=":", color="gray"))
    axes.margins(x=0.1, y=0.1)
    axes.set_xlabel("L1 to the true photo")
    axes.set_ylabel("colorfulness")
    axes.grid(alpha=0.3)
    names = [*points, f"true photos, {truth:.1f}"]
    legend = axes.legend(handles, list(map(str, range(len(names)))), **_BESIDE)
    for text, name in zip(legend.get_texts(), names, strict=True):
        # A label that begins with "_" would be hidden, and dollars would begin a formula.
        text.set_text(textwrap.fill(name, _NAME_LETTERS))
        text.set_parse_math(False)
    save_figure(figure, path)


def save_grid(
    gray: Tensor, fake: Tensor, real: Tensor, path: str | Path, titles: Sequence[str] = ()
) -> None:
    """Write a sheet of pictures, each as gray, generated and true side by side.

    Args:
        gray: Float [B, 1, H, W] in 0 to 1.
        fake: Float RGB [B, 3, H, W] in 0 to 1.
        real: Float RGB [B, 3, H, W] in 0 to 1.
        path: Where to; the ending gives the format.
        titles: What to write above each column of such triples, ASCII; one column without any.
    """
    from torchvision.utils import make_grid  # noqa: PLC0415 - 0.17 GB that only this needs

    columns = max(1, len(titles))
    triples = torch.stack((gray.expand_as(real), fake, real), dim=1).flatten(0, 1)
    sheet = make_grid(triples.cpu(), nrow=3 * columns, padding=2)
    if titles:
        width_px = sheet.shape[2]
        band = np.zeros((_TITLE_PX, width_px, 3), np.uint8)
        white = (255, 255, 255)
        for column, title in enumerate(titles):
            where = (4 + column * width_px // columns, _TITLE_PX - 8)
            cv2.putText(band, title, where, cv2.FONT_HERSHEY_SIMPLEX, 0.6, white)
        sheet = torch.cat((torch.from_numpy(band).permute(2, 0, 1) / 255, sheet), dim=1)
    save_picture(sheet, path)


def save_picture(rgb: Tensor, path: str | Path) -> None:
    """Write float RGB [3, H, W] in 0 to 1 as an 8-bit picture.

    Raises:
        ImageError: The ending is of no format that OpenCV writes.
    """
    path = Path(path)
    pixels: npt.NDArray[np.uint8] = (rgb * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    try:
        _, content = cv2.imencode(path.suffix, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    except cv2.error as error:
        raise ImageError(
            f"{path}: cannot write {path.suffix or 'a file without ending'}; use .png"
        ) from error
    write_bytes(path, content.tobytes())


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    write_bytes(path, buffer.getvalue())
