"""Timing two ways of doing one thing, in turn, so that a drifting machine hits both."""

import statistics
import time
from collections.abc import Callable

__all__ = ["compare", "seconds"]


def compare(
    ours: Callable[[], object], reference: Callable[[], object], rounds: int = 5
) -> tuple[float, float, float]:
    """Median seconds of ours, of the reference, and the median of the ratios of each round.

    The first round warms up and does not count.
    """
    pairs = [(seconds(ours), seconds(reference)) for _ in range(rounds + 1)][1:]
    return (
        statistics.median(own for own, _ in pairs),
        statistics.median(other for _, other in pairs),
        statistics.median(own / other for own, other in pairs),
    )


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    start_s = time.perf_counter()
    work()
    return time.perf_counter() - start_s
