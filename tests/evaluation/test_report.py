import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import cv2
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor

from flowercolor.config import NetworkConfig
from flowercolor.data.dataset import FlowerDataset
from flowercolor.data.photo_cache import Photos, read_data
from flowercolor.errors import SettingError, StorageError
from flowercolor.evaluation import report
from flowercolor.evaluation.metrics import colorfulness_per_image, measure
from flowercolor.evaluation.report import COLUMNS, RECOGNITION, write_results
from flowercolor.evaluation.scoring import GRAY, TRUTH, picture_files, score
from flowercolor.networks.unet import UNet
from tests.helpers import blank_graphs

ROWS = [{"epoch": 1, "step": 3, "loss_g": 2.0, "test_l1": 0.1}]


@pytest.fixture
def _without_graphs() -> Iterator[None]:
    with blank_graphs():
        yield


def test_the_results_folder_agrees_with_itself(
    generator: UNet, flowers: FlowerDataset, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    torch.manual_seed(9)
    other = UNet(NetworkConfig(1))
    train_set = FlowerDataset(flowers.photos, [1, 2, 4])
    tables = write_results(
        {"mine": generator, "other": other},
        flowers,
        results,
        about={"checkpoint": "mine"},
        train_set=train_set,
        left_out=flowers.names[1:3],
        notes=["Look closely."],
        batch_size=2,
    )
    document = json.loads((results / "scores.json").read_text(), parse_constant=pytest.fail)
    assert document["checkpoint"] == "mine"
    assert document["photos"] == len(document["images"]) == 5
    assert [image["name"] for image in document["images"]] == flowers.names

    # The means are those of the pictures' own figures.
    names = ["mine", "other", GRAY, "median chroma", "median chroma by luma"]
    assert list(document["rows"]) == [*names, TRUTH]
    without = document["without_twins"]
    assert without["left_out"] == flowers.names[1:3]

    def values(row: str, key: str, *left_out: int) -> list[float]:
        images = [i for number, i in enumerate(document["images"]) if number not in left_out]
        return [i["rows"][row][key] for i in images if i["rows"][row][key] is not None]

    for row in names:
        for key in COLUMNS:
            mean = np.mean(values(row, key))
            figures = document["rows"][row][key]
            assert figures["mean"] == pytest.approx(mean, abs=1e-9)
            assert figures["low"] <= figures["mean"] <= figures["high"]
            kept = np.mean(values(row, key, 1, 2))
            assert without["rows"][row][key]["mean"] == pytest.approx(kept, abs=1e-9)
    assert document["mean_l1"] == document["rows"]["mine"]["l1"]["mean"]
    assert document["mean_gray_l1"] == document["rows"][GRAY]["l1"]["mean"]
    assert list(document["differences"]) == names[1:]
    for row in names[1:]:
        more = np.subtract(values(row, "l1"), values("mine", "l1")).mean()
        assert document["differences"][row]["l1"]["mean"] == pytest.approx(more, abs=1e-6)

    # What is printed is what is written.
    assert [table.title for table in tables] == [
        "5 photos at 16 px",
        "difference to mine",
        "3 without a twin",
    ]
    markdown = (results / "scores.md").read_text()
    assert "- Look closely.\n" in markdown
    for table, part in zip(
        tables, (document["rows"], document["differences"], without["rows"]), strict=True
    ):
        for row, cells in table.rows.items():
            if row == TRUTH:
                assert cells[0] == ("-", "")
                continue
            sign = "+" if part is document["differences"] else ""
            l1, low, high = (format(x, sign + ".4f") for x in part[row]["l1"].values())
            assert cells[0] == (l1, f"{low}…{high}")
            assert f"| {row} | {l1} ({low}…{high}) |" in markdown

    # Every picture lies where its name says, and shows what was scored.
    written = sorted(path for path in (results / "pictures").rglob("*") if path.is_file())
    expected = [results / "pictures" / name.replace(".jpg", ".png") for name in flowers.names]
    assert written == sorted(expected)
    for image, file in zip(document["images"], expected, strict=True):
        bgr = cv2.imread(str(file))
        assert bgr is not None
        gray, shown, real = (
            bgr[2:18, 2 + 18 * place : 18 + 18 * place, ::-1] / 255 for place in range(3)
        )
        l1, gray_l1 = (image["rows"][row]["l1"] for row in ("mine", GRAY))
        assert np.abs(shown - real).mean() == pytest.approx(l1, abs=0.5 / 255)
        assert np.abs(gray - real).mean() == pytest.approx(gray_l1, abs=1e-6)

    # The sheet shows the best, the middle and the worst picture.
    sheet = cv2.imread(str(results / "contact.png"))
    assert sheet is not None
    assert sheet.shape == (24 + 2 + 18, 2 + 18 * 3 * 3, 3)
    order = np.argsort(values("mine", "l1"))
    for place, number in enumerate(order[[0, 2, 4]]):
        bgr = cv2.imread(str(expected[int(number)]))
        assert bgr is not None
        assert np.array_equal(sheet[24:, 54 * place : 54 * place + 56], bgr)
    assert cv2.imread(str(results / "scores.png")) is not None


def test_what_a_recognizer_says_has_a_table_of_its_own(
    flowers: FlowerDataset, tmp_path: Path
) -> None:
    """It knows colors when it sees them, and the second photo never."""

    def recognizer(pictures: Tensor, positions: Tensor) -> Tensor:
        return (colorfulness_per_image(pictures) > 1).float() * (positions != 1)

    mine, other = UNet(NetworkConfig(1)), UNet(NetworkConfig(1, "chroma"))
    other.head.weight.data.zero_()
    assert other.head.bias is not None
    other.head.bias.data.zero_()
    tables = write_results(
        {"mine": mine, "other": other},
        flowers,
        tmp_path,
        about={},
        recognizer=recognizer,
        left_out=flowers.names[1],  # a single one, as a text
        notes="Look closely.",
    )
    assert [len(table.columns) for table in tables] == [8, 8, 8, 3]
    assert tables[-1].columns == [title for title, _ in RECOGNITION.values()]
    recognized = {name: [mean for mean, _ in cells] for name, cells in tables[-1].rows.items()}
    assert recognized == {
        "mine": ["0.800", "1.00", "-"],
        "other": ["0.000", "0.00", "-0.800"],
        GRAY: ["0.000", "0.00", "-0.800"],
        TRUTH: ["0.800", "1.00", "-"],
    }
    document = json.loads((tmp_path / "scores.json").read_text(), parse_constant=pytest.fail)
    assert document["rows"]["mine"]["recognized"]["mean"] == pytest.approx(0.8)
    assert document["rows"]["other"]["recovered"] == {"mean": 0, "low": 0, "high": 0}
    assert document["differences"]["other"]["recognized"]["high"] < 0
    assert document["without_twins"]["rows"]["mine"]["recognized"]["mean"] == 1
    assert [image["rows"]["mine"]["recognized"] for image in document["images"]] == [1, 0, 1, 1, 1]
    assert document["notes"] == ["Look closely."]
    markdown = (tmp_path / "scores.md").read_text()
    assert (
        "| looks like its flower | recognized | recovered | to the first |\n|---|--:|--:|--:|\n"
        in markdown
    )


def test_all_that_is_measured_has_a_column() -> None:
    one = torch.rand(1, 3, 16, 16)
    assert list(measure(one, one)) == list(COLUMNS)


def test_without_a_training_split_there_are_no_chroma_medians(
    flowers: FlowerDataset, tmp_path: Path
) -> None:
    [table, _] = write_results({"mine": UNet(NetworkConfig(1))}, flowers, tmp_path, about={})
    assert list(table.rows) == ["mine", GRAY, TRUTH]
    assert "without_twins" not in json.loads((tmp_path / "scores.json").read_text())


@pytest.mark.parametrize("count", [1, 2])
def test_one_photo_is_enough(count: int, photos: Photos, tmp_path: Path) -> None:
    """Also where all of them are left out, and none is saturated."""
    gray = np.repeat(photos.rgb[:, :, :, :1], 3, axis=3)
    few = FlowerDataset(replace(photos, rgb=gray), range(count))
    tables = write_results(
        {"mine": UNet(NetworkConfig(1))}, few, tmp_path, about={}, left_out=few.names
    )
    titles = list(COLUMNS)
    few_bounds = "" if count == 1 else "100.00…100.00"
    assert tables[0].rows["mine"][titles.index("saturated_l1")] == ("-", "")
    assert tables[0].rows[GRAY][titles.index("psnr")] == ("100.00", few_bounds)
    assert {mean for cells in tables[2].rows.values() for mean, _ in cells} == {"-"}
    json.loads((tmp_path / "scores.json").read_text(), parse_constant=pytest.fail)
    assert (tmp_path / "contact.png").is_file()


@pytest.mark.usefixtures("_without_graphs")
def test_results_are_replaced(flowers: FlowerDataset, tmp_path: Path) -> None:
    for seed in range(2):
        torch.manual_seed(seed)
        generator = UNet(NetworkConfig(1))
        write_results({"mine": generator}, flowers, tmp_path, about={})
    document = json.loads((tmp_path / "scores.json").read_text())
    assert document["mean_l1"] == pytest.approx(score(generator, flowers).mean_l1)


@pytest.mark.usefixtures("_without_graphs")
def test_pictures_of_an_earlier_evaluation_are_removed(
    generator: UNet, flowers: FlowerDataset, tmp_path: Path
) -> None:
    """Those alone: what else lies there is somebody's own."""
    fewer = FlowerDataset(flowers.photos, [1, 3])
    for dataset in (flowers, fewer):
        write_results({"mine": generator}, dataset, tmp_path, about={})
        own = tmp_path / "pictures" / "own.png"
        own.write_text("mine")
    left = {path for path in (tmp_path / "pictures").rglob("*") if path.is_file()}
    assert left == {*picture_files(fewer.names, tmp_path / "pictures"), own}


@pytest.mark.usefixtures("_without_graphs")
def test_folders_that_an_earlier_evaluation_filled_go_with_its_pictures(
    generator: UNet, photos: Photos, tmp_path: Path
) -> None:
    """And no other: neither one with a file of somebody's own, nor one that was empty."""

    def judge(*names: str) -> set[str]:
        named = replace(photos, names=names, rgb=photos.rgb[: len(names)])
        write_results({"mine": generator}, FlowerDataset(named), tmp_path, about={})
        found = (path for path in (tmp_path / "pictures").rglob("*") if path.is_dir())
        return {path.relative_to(tmp_path / "pictures").as_posix() for path in found}

    assert judge("a/b/1.jpg", "c/2.jpg", "d/3.jpg") == {"a", "a/b", "c", "d"}
    (tmp_path / "pictures" / "c" / "own.png").write_text("mine")
    (tmp_path / "pictures" / "own").mkdir()
    assert judge("d/4.jpg") == {"c", "d", "own"}
    assert judge("5.jpg") == {"c", "own"}


@pytest.mark.usefixtures("_without_graphs")
def test_a_graph_of_another_run_goes_and_nobodys_own(
    generator: UNet, flowers: FlowerDataset, tmp_path: Path
) -> None:
    (tmp_path / "own.png").write_text("mine")
    for metrics in (ROWS, []):
        write_results({"mine": generator}, flowers, tmp_path, about={}, metrics=metrics)
        assert (tmp_path / "losses.png").exists() == bool(metrics)
    (tmp_path / "losses.png").write_text("mine")
    write_results({"mine": generator}, flowers, tmp_path, about={})
    assert {(tmp_path / name).read_text() for name in ("own.png", "losses.png")} == {"mine"}


def test_the_graph_of_a_run_on_the_validation_part_says_so(
    generator: UNet, flowers: FlowerDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    about: dict[str, Any] = {"about": {}, "metrics": ROWS, "metrics_part": "validation"}
    write_results({"mine": generator}, flowers, tmp_path, **about)
    assert "validation" in [line.get_label() for line in drawn[-1].axes[-1].lines]


@pytest.mark.usefixtures("_without_graphs")
def test_an_evaluation_that_was_stopped_leaves_nothing_for_good(
    generator: UNet, flowers: FlowerDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor scores of other photos beside its pictures."""
    halves = FlowerDataset(flowers.photos, [0, 2]), FlowerDataset(flowers.photos, [1, 3])
    write_results({"mine": generator}, halves[0], tmp_path, about={})
    looked_at = Mock(side_effect=[torch.ones(1)] * 3 + [KeyboardInterrupt])  # in the second photo
    with pytest.raises(KeyboardInterrupt):
        write_results({"mine": generator}, halves[1], tmp_path, about={}, recognizer=looked_at)
    assert {path.name for path in tmp_path.iterdir()} == {"scores.json", "pictures"}
    assert json.loads((tmp_path / "scores.json").read_text())["unfinished"]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(report, "_draw", Mock(side_effect=KeyboardInterrupt))
        write_results({"mine": generator}, halves[1], tmp_path, about={})
    assert json.loads((tmp_path / "scores.json").read_text())["unfinished"], "a graph is missing"
    write_results({"mine": generator}, halves[0], tmp_path, about={})
    left = {path for path in (tmp_path / "pictures").rglob("*") if path.is_file()}
    assert left == set(picture_files(halves[0].names, tmp_path / "pictures"))


def test_results_do_not_lie_among_the_photos(generator: UNet, folder: Path) -> None:
    """Where the next evaluation would judge them."""
    dataset = FlowerDataset(read_data(folder, 16))
    with pytest.raises(SettingError, match="results: lies among the photos of"):
        write_results({"mine": generator}, dataset, folder / "results", about={})
    assert not (folder / "results").exists()


@pytest.mark.parametrize(
    "scores",
    [
        "",
        "[]",
        '{"images": [{"name": 3}]}',
        '{"images": [{}]}',
        '{"images": [], "annotations": [1]}',
    ],
)
def test_scores_that_are_not_ours_stay(
    generator: UNet, flowers: FlowerDataset, tmp_path: Path, scores: str
) -> None:
    (tmp_path / "scores.json").write_text(scores)
    with pytest.raises(
        SettingError, match=r"scores\.json: is there already, and no `eval` left it"
    ):
        write_results({"mine": generator}, flowers, tmp_path, about={})
    assert [path.name for path in tmp_path.rglob("*")] == ["scores.json"]
    assert (tmp_path / "scores.json").read_text() == scores


@pytest.mark.usefixtures("_without_graphs")
@pytest.mark.parametrize(
    "name",
    ["contact.png", "scores.md", "losses.png", "contact/rose.png", "pictures/jpg/image_00008.png"],
)
def test_what_no_evaluation_left_is_not_written_over(
    generator: UNet, flowers: FlowerDataset, tmp_path: Path, name: str
) -> None:
    """Also beside what one left."""
    kinds: dict[str, Any] = {"kinds": ["rose"] * len(flowers), "metrics": ROWS}
    others = FlowerDataset(flowers.photos, [1, 2])
    write_results({"mine": generator}, others, tmp_path, about={})
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).unlink(missing_ok=True)
    listed = json.loads((tmp_path / "scores.json").read_text())
    listed["files"] = [file for file in listed["files"] if file != name]
    (tmp_path / "scores.json").write_text(json.dumps(listed))
    (tmp_path / name).write_text("mine")
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    with pytest.raises(SettingError, match=f"{name}: is there already, and no `eval` left it"):
        write_results({"mine": generator}, flowers, tmp_path, about={}, **kinds)
    after = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    assert after == before


@pytest.mark.usefixtures("_without_graphs")
def test_a_runs_own_graphs_stay(generator: UNet, flowers: FlowerDataset, tmp_path: Path) -> None:
    """Also where an earlier version took them for its own."""
    for name in ("config.json", "last.safetensors", "losses.png"):
        (tmp_path / name).write_text("the run's")
    for _ in range(2):
        write_results({"mine": generator}, flowers, tmp_path, about={}, metrics=ROWS)
        scores = json.loads((tmp_path / "scores.json").read_text())
        assert "losses.png" not in scores["files"]
        assert (tmp_path / "losses.png").read_text() == "the run's"
        scores["files"].append("losses.png")
        (tmp_path / "scores.json").write_text(json.dumps(scores))


def test_a_place_that_takes_no_files_is_reported(flowers: FlowerDataset, tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        write_results({"mine": UNet(NetworkConfig(1))}, flowers, tmp_path / "results", about={})
