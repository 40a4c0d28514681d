from pathlib import Path

import pytest
import torch

from flowercolor.data.dataset import FlowerDataset
from flowercolor.errors import DataError
from flowercolor.evaluation.by_kind import ALL, FIGURES, read_kinds, summarize_kinds, worst_first
from flowercolor.evaluation.scoring import GRAY, TRUTH, Rows
from tests.helpers import Recorder

KINDS = ["b", "a", "b", "b"]


def some_rows() -> Rows:
    return {
        "mine": {
            "l1": torch.tensor([0.1, 0.2, 0.3, 0.2]),
            "colorfulness": torch.tensor([10.0, 20, 30, 20]),
            "ciede2000": torch.tensor([1.0, 2, 3, 2]),
            "stain": torch.tensor([0.0, 0.5, 0.3, 0]),
            "psnr": torch.tensor([20.0, 30, 40, 30]),
        },
        GRAY: {"l1": torch.tensor([0.2, 0.1, 0.2, 0.2])},
        TRUTH: {"colorfulness": torch.tensor([20.0, 20, 40, 60])},
    }


def test_the_figures_are_ratios_of_means_and_shares_of_photos() -> None:
    by_kind = summarize_kinds(some_rows(), "mine", KINDS)
    assert {kind: scores.photos for kind, scores in by_kind.items()} == {"a": 1, "b": 3, ALL: 4}
    figures = {key: interval.mean for key, interval in by_kind["b"].figures.items()}
    assert list(figures) == list(FIGURES)
    expected = {
        "l1": 0.2,
        "l1_of_gray": 1.0,
        "worse_than_gray": 1 / 3,  # as good as gray is not worse
        "colorfulness_of_true": 0.5,
        "ciede2000": 2,
        "stain": 0.1,
        "psnr": 30,
        "colorfulness": 20,
    }
    assert figures == pytest.approx(expected, abs=1e-6)
    assert by_kind["a"].figures["l1_of_gray"].mean == pytest.approx(2)


def test_a_ratio_is_one_of_the_same_photos_in_each_resample() -> None:
    """A method that errs half as much on each photo has an interval of no width."""
    rows = some_rows()
    rows[GRAY]["l1"] = 2 * rows["mine"]["l1"]
    scores = summarize_kinds(rows, "mine", KINDS)[ALL]
    assert tuple(scores.figures["l1_of_gray"]) == pytest.approx((0.5, 0.5, 0.5))
    l1 = scores.figures["l1"]
    assert l1.low < l1.mean < l1.high


def test_the_worst_are_those_that_gray_beats_by_most() -> None:
    assert worst_first(some_rows(), "mine", KINDS, "b") == [2, 3, 0]


@pytest.mark.parametrize("column", ["file", "name"])
def test_kinds_are_read_by_name(flowers: FlowerDataset, tmp_path: Path, column: str) -> None:
    lines = [f"{name},flickr,{number % 2}" for number, name in enumerate(flowers.names)]
    (tmp_path / "t.csv").write_text("\n".join([f"{column},source,kind", *lines, "x,y,z"]))
    assert read_kinds(tmp_path / "t.csv", flowers) == ["0", "1", "0", "1", "0"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "its first line has nothing"),
        (
            "file,class\na,b\n",
            "expected a CSV table with the columns file and kind .file may be called name",
        ),
        (
            "file,kind\na,b\n",
            "names no kind for any of the 5 photos of .* such as .*,rose, .*with a$",
        ),
        ("file,kind\n\0,b\n", "is not in UTF-8"),
        ("\xff", "is not in UTF-8; save it so"),
    ],
)
def test_a_table_of_something_else_is_refused(
    flowers: FlowerDataset, tmp_path: Path, text: str, reason: str
) -> None:
    (tmp_path / "t.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=reason) as caught:
        read_kinds(tmp_path / "t.csv", flowers)
    assert "\n" not in str(caught.value)


def test_photos_without_a_kind_are_counted_and_belong_to_all(
    flowers: FlowerDataset, tmp_path: Path
) -> None:
    kinds = ["a", "a", "", ALL, "b"]
    lines = [f"{name},{kind}" for name, kind in zip(flowers.names, kinds, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["file,kind", *lines]))
    progress = Recorder()
    assert read_kinds(tmp_path / "t.csv", flowers, progress) == ["a", "a", "", "", "b"]
    [note] = progress.notes
    assert note.endswith(
        "t.csv: names no kind for 2 of the 5 photos; they count for all photos, and for no kind"
    )
    by_kind = summarize_kinds(some_rows(), "mine", ["b", "", "b", "b"])
    assert {kind: scores.photos for kind, scores in by_kind.items()} == {"b": 3, ALL: 4}
