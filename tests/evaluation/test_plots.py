import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from matplotlib.figure import Figure

from flowercolor.errors import ImageError
from flowercolor.evaluation.plots import (
    plot_losses,
    plot_scores,
    plot_trade,
    save_grid,
    save_picture,
)


def read(path: Path) -> npt.NDArray[np.uint8]:
    """RGB of a picture that was written."""
    bgr = cv2.imread(str(path))
    assert bgr is not None
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).astype(np.uint8)


def rows(count: int) -> list[dict[str, Any]]:
    return [
        {"epoch": epoch, "loss_g": 1 / epoch, "loss_d": 1.3, "test_l1": 0.1 / epoch}
        for epoch in range(1, count + 1)
    ]


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """What a test draws, in place of files."""
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    return drawn


@pytest.mark.parametrize(
    "rows",
    [
        rows(2),
        [],
        [{"epoch": 1, "loss_g": math.nan, "loss_d": None, "test_l1": None}],
    ],
)
def test_losses_are_drawn_of_whatever_rows_there_are(
    rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    plot_losses(rows, tmp_path / "losses.png")
    picture = read(tmp_path / "losses.png")
    assert picture.shape[1] > 3 * 300, "three panels stand side by side"


def test_the_legend_names_the_curve_and_lies_beside_it(
    tmp_path: Path, figures: list[Figure]
) -> None:
    more = {"test_gray_l1": 0.12, "d_real": 0.9, "d_fake": 0.9}
    plot_losses([row | more for row in rows(3)], tmp_path / "losses.png")
    [figure] = figures
    figure.draw_without_rendering()
    ends = [figure.axes[3].get_window_extent().x0, figure.bbox.x1]
    named = (["D(real)", "D(fake)"], ["test", "gray photos"])
    for axes, names, end_px in zip(figure.axes[2:], named, ends, strict=True):
        legend = axes.get_legend()
        assert legend is not None
        assert [text.get_text() for text in legend.get_texts()][:2] == names
        assert legend.get_window_extent().x0 >= axes.get_window_extent().x1
        assert legend.get_window_extent().x1 <= end_px


@pytest.mark.parametrize(("epochs", "marker"), [(20, "."), (300, "")])
def test_so_many_dots_that_they_would_merge_are_left_out(
    tmp_path: Path, figures: list[Figure], epochs: int, marker: str
) -> None:
    plot_losses([row | {"test_gray_l1": 0.12} for row in rows(epochs)], tmp_path / "losses.png")
    curves = [line for axes in figures[0].axes for line in axes.lines]
    assert {line.get_marker() for line in curves if line.get_linestyle() == "-"} == {marker}


def test_a_run_without_a_discriminator_has_no_panel_for_it_and_one_epoch_is_seen(
    tmp_path: Path, figures: list[Figure]
) -> None:
    row = {"epoch": 1, "loss_g": 1.0, "test_l1": 0.1, "test_gray_l1": 0.12}
    plot_losses([row], tmp_path / "losses.png")
    [figure] = figures
    assert [axes.get_title() for axes in figure.axes] == ["Generator loss", "L1"]
    drawn = [line for line in figure.axes[1].lines if line.get_linestyle() != ":"]
    assert len(drawn) == 2
    assert all(line.get_marker() == "." for line in drawn)


@pytest.mark.parametrize("part", ["test", "validation"])
def test_what_tells_whether_a_run_goes_wrong_is_drawn(
    tmp_path: Path, figures: list[Figure], part: str
) -> None:
    more = {"l1": 0.2, "d_real": 0.7, "d_fake": 0.3, "test_gray_l1": 0.12}
    plot_losses([row | more for row in rows(3)], tmp_path / "losses.png", part)
    drawn = {
        axes.get_title(): [line.get_label() for line in axes.lines] for axes in figures[0].axes
    }
    assert drawn["Discriminator output"] == ["D(real)", "D(fake)"]
    assert drawn["L1"][:3] == ["training", part, "gray photos"]


@pytest.mark.parametrize("epochs", [[1.0], [0.2, 0.5], [0.5, 1.0, 1.5, 2.0], range(1, 301)])
def test_epochs_are_counted_from_their_beginning_in_whole_ones(
    tmp_path: Path, figures: list[Figure], epochs: Sequence[float]
) -> None:
    plot_losses([{"epoch": at, "loss_g": 1.0} for at in epochs], tmp_path / "losses.png")
    for axes in figures[0].axes:
        low, high = axes.get_xlim()
        assert low == 0
        assert high >= max([1, *epochs])
        shown = [at for at in axes.get_xticks() if low <= at <= high]
        assert len(shown) >= 2
        assert all(at == round(at) for at in shown)


def test_losses_are_drawn_anew_with_each_row(tmp_path: Path) -> None:
    plot_losses(rows(2), tmp_path / "losses.png")
    before = (tmp_path / "losses.png").read_bytes()
    plot_losses(rows(3), tmp_path / "losses.png")
    assert (tmp_path / "losses.png").read_bytes() != before


def test_scores_are_drawn(tmp_path: Path) -> None:
    plot_scores([0.05, 0.07, 0.2], [0.1, 0.1, 0.3], tmp_path / "a" / "scores.png")
    assert read(tmp_path / "a" / "scores.png").std() > 0


def test_the_legend_of_scores_covers_no_bar(tmp_path: Path, figures: list[Figure]) -> None:
    plot_scores([0.05, 0.07], [0.1, 0.2], tmp_path / "scores.png")
    [figure] = figures
    figure.draw_without_rendering()
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert legend.get_window_extent().x0 >= figure.axes[0].get_window_extent().x1
    assert legend.get_window_extent().x1 <= figure.bbox.x1


def test_photos_are_counted_in_whole_ones(tmp_path: Path, figures: list[Figure]) -> None:
    plot_scores([0.05, 0.07], [0.1, 0.2], tmp_path / "scores.png")
    assert all(at == round(at) for at in figures[0].axes[0].get_yticks())


def test_the_trade_of_error_and_color_is_drawn(tmp_path: Path) -> None:
    """Each point moves the picture; so does the line between those that belong together."""
    points = {"a": (0.07, 30.0), "b": (0.08, 60.0), "gray photo": (0.09, 0.0)}
    drawn = []
    for joined, moved in ((True, points), (False, points), (False, points | {"a": (0.05, 30.0)})):
        plot_trade(moved, list(moved)[:2], 67.0, tmp_path / "trade.png", joined=joined)
        drawn.append(read(tmp_path / "trade.png"))
    assert not np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[1], drawn[2])


def test_each_point_of_the_trade_has_a_look_of_its_own_in_the_legend(
    tmp_path: Path, figures: list[Figure]
) -> None:
    """However near it lies to others."""
    points = dict.fromkeys(("a", "b", "gray photo", "median chroma"), (0.05, 60.0))
    plot_trade(points, ["a", "b"], 67.0, tmp_path / "trade.png", joined=False)
    legend = figures[0].axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [*points, "true photos, 67.0"]
    looks = {(line.get_marker(), str(line.get_color())) for line in legend.get_lines()}
    assert len(looks) == len(points) + 1


@pytest.mark.parametrize("name", ["$x_$", r"a$\b$c", "100%", "[b]", "_a", "a long/path " * 9])
def test_a_run_may_be_called_anything(tmp_path: Path, name: str, figures: list[Figure]) -> None:
    plot_trade({name: (0.07, 30.0)}, [name], 67.0, tmp_path / "trade.png", joined=True)
    [figure] = figures
    figure.draw_without_rendering()
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert legend.get_texts()[0].get_text().split() == name.split()
    assert figure.axes[0].get_window_extent().width > figure.bbox.width / 3
    assert legend.get_window_extent().x1 <= figure.bbox.x1


def test_a_picture_is_written_in_its_colors(tmp_path: Path) -> None:
    rgb = torch.tensor([1.0, 0.5, 0.2])[:, None, None].expand(3, 4, 6)
    save_picture(rgb, str(tmp_path / "a.png"))  # a text, as the library takes
    assert np.array_equal(read(tmp_path / "a.png"), np.full((4, 6, 3), (255, 128, 51)))


@pytest.mark.parametrize("name", ["picture", "picture.flower"])
def test_an_unknown_ending_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImageError, match=rf"{name}: cannot write .*; use \.png$") as caught:
        save_picture(torch.zeros(3, 4, 4), tmp_path / name)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("titles", [(), ("best", "worst")])
def test_a_grid_shows_gray_generated_and_truth_side_by_side(
    tmp_path: Path, titles: tuple[str, ...]
) -> None:
    """Each of 4 pictures in shades of its own, 8 pixels wide with 2 between them."""
    gray = torch.linspace(0.1, 0.4, 4).view(4, 1, 1, 1).expand(4, 1, 8, 8)
    fake = torch.linspace(0.5, 0.6, 12).view(4, 3, 1, 1).expand(4, 3, 8, 8)
    real = torch.linspace(0.7, 0.9, 12).view(4, 3, 1, 1).expand(4, 3, 8, 8)
    save_grid(gray, fake, real, tmp_path / "grid.png", titles)
    sheet, columns = read(tmp_path / "grid.png"), max(1, len(titles))
    if titles:
        band, sheet = np.split(sheet, [24])
        assert all(half.max() > 128 for half in np.split(band, 2, axis=1)), "a word over each"
    assert sheet.shape == (2 + 10 * (4 // columns), 2 + 10 * 3 * columns, 3)
    for number in range(4):
        row, column = divmod(number, columns)
        for place, pictures in enumerate((gray.expand(4, 3, 8, 8), fake, real)):
            top, left = 2 + 10 * row, 2 + 10 * (3 * column + place)
            shown = sheet[top : top + 8, left : left + 8]
            expected = (pictures[number] * 255).round().permute(1, 2, 0)
            assert np.array_equal(shown, expected)
