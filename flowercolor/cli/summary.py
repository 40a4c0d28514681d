"""What becomes of the photos of a `flowercolor colorize`, told as it goes and at its end."""

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from flowercolor.cli import console
from flowercolor.errors import first_few
from flowercolor.provenance import BY_HAND
from flowercolor.torchrun import ranks

if TYPE_CHECKING:
    from flowercolor.inference.batch import Outcome
    from flowercolor.inference.planning import Job

_SCREEN_LINES = 20
"""So many lines after a failure may have taken it out of sight."""


class Summary:
    """What became of the photos: a line for each that has something to tell, and one of all.

    Args:
        options: What a command that colors one of them in the same way is to have.
        several: Whether there are more photos than one; where they share a reason to be skipped,
            it is told once, at the end.
    """

    def __init__(self, options: list[str], *, several: bool) -> None:
        self._options = options
        self.count: Counter[str] = Counter()
        self._several = several
        self._skipped: defaultdict[str, list[Job]] = defaultdict(list)
        self._replaced: defaultdict[str, list[str]] = defaultdict(list)
        self._failures: dict[str, None] = {}  # each once, for one of the weights fails every photo
        self._others = 0  # lines since the first failure that tell of none

    def add(self, outcome: "Outcome") -> None:
        """Count one, and say what there is to say of it now."""
        self.count[outcome.status] += 1
        known = outcome.message in self._failures
        if outcome.status == "failed":
            self._failures[outcome.message] = None
            for line in outcome.trace.splitlines() if console.debug else ():
                console.say(line)
        elif self._failures and (outcome.status == "done" or not outcome.reason):
            self._others += 1
        if outcome.status == "done":
            if outcome.message:
                console.say(f"{outcome.job.source}: {outcome.message}")
            if outcome.reason:
                self._replaced[outcome.reason].append(str(outcome.job.target))
        elif outcome.reason and self._several:
            self._skipped[outcome.reason].append(outcome.job)
        elif not known:
            console.say(f"{outcome.status.capitalize()}: {outcome.message}")

    def say(self, ending: str) -> None:
        """Say what is left to say of all; `ending`, if any, before their number."""
        from flowercolor.inference.batch import IN_COLOR, MADE_HERE

        for reason, jobs in self._skipped.items():
            remedy = "--overwrite replaces the results, another -o keeps them"
            if reason in (IN_COLOR, MADE_HERE):
                remedy = "--recolor colors them anew"
                if reason == MADE_HERE:
                    remedy = f"give the photos that they were made from, or {remedy}"
            elif any(f"{words}, now none" in reason for words in BY_HAND.values()):
                source, target = str(jobs[0].source), str(jobs[0].target)
                one = (source, "-o", target, "--overwrite", *self._options)
                command = console.command_line("flowercolor", "colorize", *one)
                both = "photo and result, with hints or the like in the place of …"
                remedy = f"to replace one, name {both}: {command} …"
            elif "BMP" in reason:
                remedy = "delete these results first, or choose another -o"
            # Nobody is to take their photos for what may be deleted.
            names = [str(job.target if "BMP" in reason else job.source) for job in jobs]
            console.say(f"Skipped: {len(names)} {reason} ({first_few(names)}); {remedy}")
        for reason, names in self._replaced.items():
            console.say(f"Replaced: {len(names)} {reason}: {first_few(names)}")
        if self._others >= _SCREEN_LINES:
            console.say(f"{self.count['failed']} of {self.count.total()} photos failed:")
            for failure in self._failures:
                console.say(f"Failed: {failure}")
        if ending:
            console.say(ending)
        if self._several:
            place = ranks()
            process = f"Process {place.rank + 1} of {place.size}: " if place.size > 1 else ""
            count = ", ".join(
                f"{self.count[name]} {name}" for name in ("done", "skipped", "failed")
            )
            console.say(f"{process}{count}.")
