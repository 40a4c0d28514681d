import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from flowercolor import evaluation
from flowercolor.config import NetworkConfig
from flowercolor.dataset import FlowerDataset, Photos
from flowercolor.errors import StorageError
from flowercolor.evaluation import generate, score, write_results
from flowercolor.networks import UNet
from flowercolor.progress import Silent, Task


@pytest.fixture
def flowers(photos: Photos) -> FlowerDataset:
    return FlowerDataset(photos, [7, 0, 3, 11, 5])


@pytest.fixture(params=["rgb", "chroma"])
def generator(request: pytest.FixtureRequest) -> UNet:
    """With running statistics of its own and colours that leave 0 to 1."""
    torch.manual_seed(3)
    generator = UNet(NetworkConfig(2, request.param))
    for _ in range(3):
        generator(torch.rand(4, 1, 16, 16))
    generator.head.weight.data *= 4
    return generator


def test_a_generated_picture_can_be_shown(generator: UNet, flowers: FlowerDataset) -> None:
    """Within 0 to 1, and with the "chroma" output of the grey photo's luma."""
    grey, _ = flowers.batch(range(5))
    with torch.no_grad():
        raw = generator.eval()(grey)
    assert raw.min() < 0 or raw.max() > 1, "nothing to clamp: this test shows nothing"
    shown = generate(generator.train(), grey)
    assert shown.dtype == torch.float32
    assert shown.min() >= 0
    assert shown.max() <= 1
    if generator.config.output == "rgb":
        assert torch.equal(shown, raw.clamp(0, 1))
    else:
        luma = (shown * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
        torch.testing.assert_close(luma, grey, atol=1e-6, rtol=0)


def test_scores_are_what_plain_arithmetic_gives(generator: UNet, flowers: FlowerDataset) -> None:
    scores = score(generator, flowers)
    assert scores.names == flowers.names
    assert not generator.training
    for position in range(len(flowers)):
        grey, real, _ = flowers[position]
        shown = generate(generator, grey[None])[0].double()
        assert scores.l1[position].item() == pytest.approx((shown - real).abs().mean().item())
        expected = (grey.double() - real).abs().mean().item()
        assert scores.grey_l1[position].item() == pytest.approx(expected)
    assert scores.mean_l1 == pytest.approx(np.mean(scores.l1.tolist()))
    assert scores.mean_grey_l1 == pytest.approx(np.mean(scores.grey_l1.tolist()))


def test_the_batch_size_does_not_matter(generator: UNet, flowers: FlowerDataset) -> None:
    expected = score(generator, flowers, batch_size=1)
    for batch_size in (2, 5, 8):
        scores = score(generator, flowers, batch_size)
        assert scores.names == expected.names
        torch.testing.assert_close(scores.l1, expected.l1, atol=1e-6, rtol=0)
        torch.testing.assert_close(scores.grey_l1, expected.grey_l1)


def test_scoring_changes_nothing_in_the_generator(generator: UNet, flowers: FlowerDataset) -> None:
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    score(generator.train(), flowers)
    for name, value in generator.state_dict().items():
        assert torch.equal(value, before[name])


def test_the_results_folder_agrees_with_itself(
    generator: UNet, flowers: FlowerDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "SHEET_COUNT", 4)
    results = tmp_path / "results"
    scores = write_results(generator, flowers, results, about={"checkpoint": "mine"}, batch_size=2)
    document = json.loads((results / "scores.json").read_text())
    assert document["checkpoint"] == "mine"
    assert document["photos"] == len(document["images"]) == 5
    assert [image["name"] for image in document["images"]] == flowers.names
    for key in ("l1", "grey_l1"):
        mean = np.mean([image[key] for image in document["images"]])
        assert document[f"mean_{key}"] == pytest.approx(mean, abs=1e-12)
    assert document["mean_l1"] == scores.mean_l1

    # Every picture lies where its name says, and shows what was scored.
    written = sorted(path for path in (results / "pictures").rglob("*") if path.is_file())
    expected = [results / "pictures" / name.replace(".jpg", ".png") for name in flowers.names]
    assert written == sorted(expected)
    for image, file in zip(document["images"], expected, strict=True):
        bgr = cv2.imread(str(file))
        assert bgr is not None
        grey, shown, real = (
            bgr[2:18, 2 + 18 * place : 18 + 18 * place, ::-1] / 255 for place in range(3)
        )
        assert np.abs(shown - real).mean() == pytest.approx(image["l1"], abs=0.5 / 255)
        assert np.abs(grey - real).mean() == pytest.approx(image["grey_l1"], abs=1e-6)

    # The sheet goes from the best to the worst picture: of 5 it shows 4, both ends included.
    sheet = cv2.imread(str(results / "contact.png"))
    assert sheet is not None
    assert sheet.shape == (2 + 18, 2 + 18 * 3 * 4, 3)
    for place, number in ((0, scores.l1.argmin()), (3, scores.l1.argmax())):
        bgr = cv2.imread(str(expected[int(number)]))
        assert bgr is not None
        assert np.array_equal(sheet[:, 54 * place : 54 * place + 56], bgr)
    assert cv2.imread(str(results / "scores.png")) is not None


def test_results_are_replaced(flowers: FlowerDataset, tmp_path: Path) -> None:
    for seed in range(2):
        torch.manual_seed(seed)
        scores = write_results(UNet(NetworkConfig(1)), flowers, tmp_path, about={})
    assert json.loads((tmp_path / "scores.json").read_text())["mean_l1"] == scores.mean_l1


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a/x.jpg", "a/x.png", "x.jpg"], ["a/x.png", "a/x.png.png", "x.png"]),
        (["x.png.jpg", "x.jpg", "x.png"], ["x.png.png", "x.png", "x.png.png.png"]),
        (["x.jpg", "x.jpg", "x.jpg"], ["x.png", "x.jpg.png", "x.jpg.png.png"]),
        (["/etc/x.jpg", "../../y.jpg", "a/../../z.jpg"], ["etc/x.png", "y.png", "a/z.png"]),
        (["./x.jpg", "x.jpg"], ["x.png", "x.jpg.png"]),
    ],
)
def test_every_photo_has_a_picture_of_its_own_inside_the_folder(
    names: list[str], expected: list[str]
) -> None:
    assert evaluation._picture_files(names, Path("f")) == [Path("f") / name for name in expected]


def test_every_photo_is_reported(flowers: FlowerDataset) -> None:
    class Counting(Silent):
        total: int | None = None
        done = 0

        @contextmanager
        def task(self, label: str, total: int | None = None, unit: str = "") -> Iterator[Task]:
            self.total = total
            yield self

        def advance(self, amount: int = 1, status: str | None = None) -> None:
            self.done += amount

    progress = Counting()
    score(UNet(NetworkConfig(1)), flowers, 2, progress)
    assert progress.total == progress.done == len(flowers)


def test_a_place_that_takes_no_files_is_reported(flowers: FlowerDataset, tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        write_results(UNet(NetworkConfig(1)), flowers, tmp_path / "results", about={})
