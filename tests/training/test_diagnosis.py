from typing import Any

import pytest

from flowercolor.training.diagnosis import ROWS, diagnose


def rows(count: int = ROWS, **figures: float) -> list[dict[str, Any]]:
    fair = {"d_real": 0.7, "d_fake": 0.3, "grad_l1": 3.0, "grad_adversarial": 1.0}
    return [{"step": step, "loss_g": 5.0, **fair, **figures} for step in range(count)]


@pytest.mark.parametrize(("d_real", "d_fake"), [(0.7, 0.3), (0.52, 0.48), (0.95, 0.05)])
def test_a_fair_game_gives_no_word(d_real: float, d_fake: float) -> None:
    assert diagnose(rows(d_real=d_real, d_fake=d_fake)) is None


def test_a_discriminator_that_has_won_is_named_with_the_share_of_its_gradient() -> None:
    said = diagnose(rows(d_real=0.99, d_fake=0.01, grad_l1=1.0, grad_adversarial=3.0))
    assert said is not None
    assert said.startswith("The discriminator has won: D(real) 0.99, D(fake) 0.01 over the last 10")
    assert "75% of the generator's gradient" in said
    assert "--lambda-l1" in said
    assert "\n" not in said


@pytest.mark.parametrize(("d_real", "d_fake"), [(0.5, 0.5), (0.3, 0.6), (0.99, 0.98)])
def test_a_discriminator_that_sees_no_difference_is_blind(d_real: float, d_fake: float) -> None:
    said = diagnose(rows(d_real=d_real, d_fake=d_fake))
    assert said is not None
    assert said.startswith(f"The discriminator has gone blind: D(real) {d_real:.2f}, ")
    assert "\n" not in said


def test_a_generator_that_gets_no_gradient_at_all_is_no_error() -> None:
    said = diagnose(rows(d_real=1, d_fake=0, grad_l1=0, grad_adversarial=0))
    assert said is not None
    assert "0% of the generator's gradient" in said


def test_too_few_rows_show_nothing() -> None:
    assert diagnose([]) is None
    assert diagnose(rows(ROWS - 1, d_real=1, d_fake=0)) is None


def test_only_the_last_rows_count_and_by_their_mean() -> None:
    bad: dict[str, float] = {"d_real": 1, "d_fake": 0}
    assert diagnose(rows(50, **bad) + rows(ROWS)) is None
    assert diagnose(rows(50) + rows(ROWS, **bad)) is not None
    assert diagnose(rows(ROWS - 1, **bad) + rows(1)) is None, "one fair row is enough here"


def test_a_run_on_l1_alone_has_no_game() -> None:
    assert diagnose([{"step": step, "loss_g": 5.0, "l1": 0.1} for step in range(ROWS)]) is None


def test_a_row_that_stands_for_a_lost_one_is_passed_over() -> None:
    bad = rows(ROWS, d_real=1, d_fake=0)
    lost = {"epoch": 1, "step": 4, "test_l1": 0.1}
    assert diagnose([*bad[:3], lost, *bad[3:]]) == diagnose(bad) is not None
    assert diagnose([*bad[1:], lost]) is None
