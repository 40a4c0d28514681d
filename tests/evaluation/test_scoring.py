from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from flowercolor.config import NetworkConfig
from flowercolor.data.dataset import FlowerDataset
from flowercolor.distributed import joined
from flowercolor.errors import DeviceError
from flowercolor.evaluation.baselines import median_chroma
from flowercolor.evaluation.metrics import colorfulness_per_image, measure, rgb_to_lab, saturated
from flowercolor.evaluation.scoring import (
    GRAY,
    TRUTH,
    Method,
    Rows,
    evaluate,
    generate,
    picture_files,
    score,
    summarize,
)
from flowercolor.networks.unet import UNet
from tests.helpers import Recorder


@pytest.mark.parametrize(
    ("scored", "option"),
    [
        (score, "`test_batch_size`"),
        (
            lambda network, photos: evaluate({"a": partial(generate, network)}, photos),
            "`batch_size`",
        ),
    ],
)
def test_too_little_memory_names_the_options_that_help(
    flowers: FlowerDataset,
    scored: Callable[[UNet, FlowerDataset], object],
    option: str,
) -> None:
    class Full(UNet):
        def forward(self, gray: Tensor, luma: Tensor | None = None) -> Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0")

    match = f"out of memory of the GPU while testing; give a smaller {option}"
    with pytest.raises(DeviceError, match=match) as caught:
        scored(Full(NetworkConfig(1)), flowers)
    assert "\n" not in str(caught.value)


def test_a_generated_picture_can_be_shown(generator: UNet, flowers: FlowerDataset) -> None:
    """Within 0 to 1, and with the "chroma" output of the gray photo's luma."""
    gray, _ = flowers.batch(range(5))
    with torch.no_grad():
        raw = generator.eval()(gray)
    assert raw.min() < 0 or raw.max() > 1, "nothing to clamp: this test shows nothing"
    shown = generate(generator.train(), gray)
    assert shown.dtype == torch.float32
    assert shown.min() >= 0
    assert shown.max() <= 1
    if generator.config.output == "rgb":
        assert torch.equal(shown, raw.clamp(0, 1))
    else:
        luma = (shown * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
        torch.testing.assert_close(luma, gray, atol=1e-6, rtol=0)


def test_scores_are_what_plain_arithmetic_gives(generator: UNet, flowers: FlowerDataset) -> None:
    scores = score(generator, flowers)
    assert scores.names == flowers.names
    assert not generator.training
    for position in range(len(flowers)):
        gray, real, _ = flowers[position]
        shown = generate(generator, gray[None])[0].double()
        assert scores.l1[position].item() == pytest.approx((shown - real).abs().mean().item())
        expected = (gray.double() - real).abs().mean().item()
        assert scores.gray_l1[position].item() == pytest.approx(expected)
    gray, real = flowers.batch(range(len(flowers)))
    colorfulness = colorfulness_per_image(generate(generator, gray))
    torch.testing.assert_close(scores.colorfulness, colorfulness, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(scores.real_colorfulness, colorfulness_per_image(real))
    assert scores.mean_l1 == pytest.approx(np.mean(scores.l1.tolist()))
    assert scores.mean_gray_l1 == pytest.approx(np.mean(scores.gray_l1.tolist()))


def test_the_batch_size_does_not_matter(generator: UNet, flowers: FlowerDataset) -> None:
    expected = score(generator, flowers, batch_size=1)
    for batch_size in (2, 5, 8):
        scores = score(generator, flowers, batch_size)
        assert scores.names == expected.names
        torch.testing.assert_close(scores.l1, expected.l1, atol=1e-6, rtol=0)
        torch.testing.assert_close(scores.gray_l1, expected.gray_l1)


def test_scoring_changes_nothing_in_the_generator(generator: UNet, flowers: FlowerDataset) -> None:
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    score(generator.train(), flowers)
    for name, value in generator.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_row_is_what_measuring_by_hand_gives(generator: UNet, flowers: FlowerDataset) -> None:
    methods: dict[str, Method] = {
        "mine": partial(generate, generator),
        "gray": lambda gray: gray.expand(-1, 3, -1, -1),
    }
    rows = evaluate(methods, flowers, batch_size=2)
    gray, real = flowers.batch(range(len(flowers)))
    assert list(rows) == ["mine", "gray", TRUTH]
    for name, method in methods.items():
        expected = measure(method(gray), real)
        assert list(rows[name]) == list(expected)
        for key, values in expected.items():
            torch.testing.assert_close(
                rows[name][key], values, rtol=1e-4, atol=1e-4, equal_nan=True
            )
    torch.testing.assert_close(rows[TRUTH]["colorfulness"], colorfulness_per_image(real))
    strong = saturated(rgb_to_lab(real)).float().mean((1, 2))
    torch.testing.assert_close(rows[TRUTH]["saturated_share"], strong)
    scores = score(generator, flowers)
    torch.testing.assert_close(rows["mine"]["l1"], scores.l1, atol=1e-6, rtol=0)
    torch.testing.assert_close(rows["gray"]["l1"], scores.gray_l1)


def test_a_summary_is_of_the_kept_photos() -> None:
    rows = {"a": {"l1": torch.tensor([1.0, 2, 6])}, "b": {"l1": torch.tensor([2.0, 3, 7])}}
    summary = summarize(rows)
    assert summary["a"]["l1"].mean == 3
    # Over the same resamples: the two lie exactly one apart.
    assert tuple(summary["b"]["l1"]) == pytest.approx([x + 1 for x in summary["a"]["l1"]])
    kept = summarize(rows, torch.tensor([True, False, True]))
    assert kept["b"]["l1"] == (4.5, 2, 7)


def recognized_rows(**rows: list[float]) -> Rows:
    return {
        {"gray": GRAY, "true": TRUTH}.get(name, name): {"recognized": torch.tensor(values)}
        for name, values in rows.items()
    }


def test_what_is_won_back_of_the_gap_between_gray_and_true() -> None:
    half = {"mine": [0.0, 1, 0, 1], "true": [1.0, 1, 0, 1], "gray": [0.0, 1, 0, 0]}
    summary = summarize(recognized_rows(**half, worse=[0.0, 0, 0, 0]))
    assert summary["mine"]["recognized"].mean == 0.5
    assert summary["mine"]["recovered"].mean == 0.5
    # With the second and third alone there is no gap; those resamples do not count.
    assert (summary["mine"]["recovered"].low, summary["mine"]["recovered"].high) == (0, 1)
    assert summary["worse"]["recovered"].mean == -0.5
    assert summary[GRAY]["recovered"] == (0, 0, 0)
    assert summary[TRUTH]["recovered"] == (1, 1, 1)
    kept = summarize(recognized_rows(**half), torch.tensor([False, True, True, True]))
    assert kept["mine"]["recovered"] == (1, 1, 1)


@pytest.mark.parametrize("gray", [[1.0, 0], [1.0, 1]])
def test_where_there_is_no_gap_nothing_is_won_back(gray: list[float]) -> None:
    summary = summarize(recognized_rows(mine=[0.0, 1], gray=gray, true=[0.0, 1]))
    assert np.isnan(summary["mine"]["recovered"].mean)


def test_nothing_is_won_back_of_a_gap_that_was_not_measured() -> None:
    for rows in (recognized_rows(mine=[1.0], true=[1.0]), recognized_rows(mine=[1.0], gray=[0.0])):
        assert "recovered" not in summarize(rows)["mine"]


def test_a_recognizer_sees_every_picture_with_its_place(
    generator: UNet, flowers: FlowerDataset
) -> None:
    gray, real = flowers.batch(range(len(flowers)))
    methods: dict[str, Method] = {
        "mine": partial(generate, generator),
        "gray": lambda gray: gray.expand(-1, 3, -1, -1),
    }
    expected = {name: method(gray) for name, method in methods.items()} | {TRUTH: real}
    for wanted, pictures in expected.items():

        def recognizer(shown: Tensor, positions: Tensor, pictures: Tensor = pictures) -> Tensor:
            apart = (shown - pictures[positions]).abs().flatten(1).amax(1)
            return (apart < 1e-4).float()

        rows = evaluate(methods, flowers, batch_size=2, recognizer=recognizer)
        assert {name: row["recognized"].tolist() for name, row in rows.items()} == {
            name: [float(name == wanted)] * len(flowers) for name in expected
        }


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a/x.jpg", "a/x.png", "x.jpg"], ["a/x.png", "a/x.png.png", "x.png"]),
        (["x.png.jpg", "x.jpg", "x.png"], ["x.png.png", "x.png", "x.png.png.png"]),
        (["x.jpg", "x.jpg", "x.jpg"], ["x.png", "x.jpg.png", "x.jpg.png.png"]),
        (["/etc/x.jpg", "../../y.jpg", "a/../../z.jpg"], ["etc/x.png", "y.png", "a/z.png"]),
        (["./x.jpg", "x.jpg"], ["x.png", "x.jpg.png"]),
        (
            ["X.jpg", "x.jpg", "a/y.jpg", "A/Y.png"],
            ["X.png", "x.jpg.png", "a/y.png", "A/Y.png.png"],
        ),
        (["x.jpg", "x.png/y.jpg", "x.png/y.png"], ["x.png", "x.png_y.png", "x.png_y.png.png"]),
        (["x.png/y.jpg", "x.jpg"], ["x.png/y.png", "x.jpg.png"]),
    ],
)
def test_every_photo_has_a_picture_of_its_own_inside_the_folder(
    names: list[str], expected: list[str]
) -> None:
    assert picture_files(names, Path("f")) == [Path("f") / name for name in expected]


def test_every_photo_is_reported(flowers: FlowerDataset) -> None:
    progress = Recorder()
    score(UNet(NetworkConfig(1)), flowers, 2, progress)
    [task] = progress.tasks
    assert task.total == task.done == len(flowers)


def scores_of(generator: UNet, dataset: FlowerDataset) -> Any:
    """What each of several processes gets to know."""
    methods: dict[str, Method] = {"it": partial(generate, generator)}
    with joined(torch.device("cpu")):
        one = dataset.subset([0])
        return (
            score(generator, dataset, 2),
            evaluate(methods, dataset, recognizer=lambda fake, positions: positions.float()),
            median_chroma(dataset),
            evaluate(methods, one),
        )


def test_processes_share_the_photos_and_all_know_the_scores(
    flowers: FlowerDataset, in_ranks: Callable[..., list[Any]]
) -> None:
    """In the order of the set; and where there is a photo for one of them only."""
    torch.manual_seed(3)
    generator = UNet(NetworkConfig(2))
    (alone,) = in_ranks(1, scores_of, generator, flowers)
    others = in_ranks(2, scores_of, generator, flowers)
    for expected, rows, medians, of_one in others:
        assert expected.names == alone[0].names
        for name in ("l1", "gray_l1", "colorfulness", "real_colorfulness"):
            torch.testing.assert_close(getattr(expected, name), getattr(alone[0], name))
        torch.testing.assert_close(rows, alone[1], equal_nan=True)
        assert rows["it"]["recognized"].tolist() == [0, 1, 2, 3, 4]
        torch.testing.assert_close(medians, alone[2])
        torch.testing.assert_close(of_one, alone[3], equal_nan=True)


@pytest.mark.cuda
def test_a_gpu_measures_the_same(generator: UNet, flowers: FlowerDataset) -> None:
    """But for rounding; quickly, a little less exactly."""
    methods: dict[str, Method] = {"it": partial(generate, generator)}
    expected = evaluate(methods, flowers, batch_size=3)
    quick = score(generator, flowers, 3)
    generator.to("cuda")
    for name, row in evaluate(methods, flowers, device="cuda", batch_size=3).items():
        for key, values in row.items():
            assert torch.allclose(values.cpu(), expected[name][key], rtol=1e-4, atol=1e-4), key
    on_gpu = score(generator, flowers, 3)
    assert on_gpu.mean_l1 == pytest.approx(quick.mean_l1, abs=1e-4)
    assert on_gpu.mean_colorfulness == pytest.approx(quick.mean_colorfulness, rel=1e-2)
