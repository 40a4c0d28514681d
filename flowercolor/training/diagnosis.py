"""Whether the two networks fight fairly, in plain words, from what a run logs."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

ROWS = 10
"""Log points looked at: fewer would take a swing for a trend."""

_WON = 0.95
_BLIND = 0.02


def diagnose(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """What is wrong with the game, as a sentence and a piece of advice; None where it is fair.

    A fair discriminator is right more often than not and never sure: D(real) stays above
    D(fake), both well within 0 to 1. Judged on the means of the last `ROWS` log points, and
    not before there are so many.

    Args:
        rows: The rows of `metrics.jsonl`.
    """
    # Without a discriminator no row has it, and none that stands for one that was lost.
    recent = [row for row in rows if "d_real" in row][-ROWS:]
    if len(recent) < ROWS:
        return None
    d_real, d_fake, from_l1, from_adversarial = (
        fmean(row[key] for row in recent)
        for key in ("d_real", "d_fake", "grad_l1", "grad_adversarial")
    )
    seen = f"D(real) {d_real:.2f}, D(fake) {d_fake:.2f} over the last {ROWS} log points"
    if d_real - d_fake > _WON:
        share = from_adversarial / (from_l1 + from_adversarial or 1)
        return (
            f"The discriminator has won: {seen}. It knows every fake, and {share:.0%} of the "
            "generator's gradient now comes from it; raise --lambda-l1, or begin with L1 alone "
            "(--lambda-adv 0) and --start-from that"
        )
    if d_real - d_fake < _BLIND:
        return (
            f"The discriminator has gone blind: {seen}. It cannot tell fakes from photos, so its "
            "gradient says nothing; lower --lambda-l1 if the pictures are dull, or start again "
            "with another --seed"
        )
    return None
