import pytest
import torch

from flowercolor.data.simulated_hints import (
    MOST_HINTS,
    SIDES_PX,
    draw_hints,
    mean_chroma_at,
    place_hints,
)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_few_hints_are_drawn_more_often_than_many() -> None:
    draws = [draw_hints(1, rng(seed)) for seed in range(400)]
    counts = torch.tensor([draw.kind.shape[1] for draw in draws])
    assert counts.min() == 1
    assert counts.max() <= MOST_HINTS
    assert counts.float().median() == pytest.approx(MOST_HINTS**0.5, abs=2.5)
    assert {draw.side_px for draw in draws} == set(SIDES_PX)


def test_a_hint_has_the_mean_chroma_of_its_square() -> None:
    chroma = torch.rand(2, 2, 20, 30)
    hints = place_hints(chroma, draw_hints(2, rng(), count=9, side_px=1))
    for photo, (points, colors) in enumerate(zip(*hints, strict=True)):
        for (row, column), color in zip(points, colors, strict=True):
            assert torch.equal(color, chroma[photo, :, row, column])
    [[mean], _] = mean_chroma_at(chroma, torch.tensor([[[5, 6]], [[0, 0]]]), 3)
    assert torch.allclose(mean, chroma[0, :, 4:7, 5:8].mean(dim=(1, 2)))


def test_a_third_lies_in_the_middle_and_a_third_on_color() -> None:
    chroma = torch.zeros(1, 2, 90, 90)
    chroma[:, :, :9, :9] = 0.4  # a hundredth of it
    points = place_hints(chroma, draw_hints(1, rng(), count=3000)).points[0]
    on_color = (points < 9).all(dim=1).float().mean().item()
    assert on_color == pytest.approx(1 / 3, abs=0.08)
    anywhere = place_hints(chroma, draw_hints(1, rng(), count=3000), anywhere=True).points[0]
    assert (anywhere < 9).all(dim=1).float().mean().item() < 0.03
    elsewhere = points[(points >= 9).any(dim=1)]
    middle, usual = (
        ((place - 45).abs() < 22).all(dim=1).float().mean().item()
        for place in (elsewhere, anywhere)
    )
    assert middle > usual + 0.08


def test_a_part_of_the_draws_is_that_of_those_photos() -> None:
    chroma = torch.rand(4, 2, 16, 16)
    draws = draw_hints(4, rng())
    whole, part = (
        place_hints(chroma, draws),
        place_hints(chroma[1::2], draws.rows(slice(1, None, 2))),
    )
    assert torch.equal(whole.points[1::2], part.points)
    assert torch.equal(whole.chroma[1::2], part.chroma)
