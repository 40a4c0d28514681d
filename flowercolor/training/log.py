"""A run's log: metrics, graphs, sheets of samples, and warnings in words."""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from flowercolor.errors import SettingError
from flowercolor.evaluation.plots import plot_losses, save_grid
from flowercolor.evaluation.scoring import Scores
from flowercolor.files import locked, storage_errors, write_text
from flowercolor.installation import install_command
from flowercolor.progress import Progress
from flowercolor.runs import LOCK, LOSSES, METRICS, SAMPLES, read_metrics

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

DIAGNOSED_ROWS = 10
"""Log points looked at: fewer would take a swing for a trend."""

_WON = 0.95
_BLIND = 0.02


class RunLog:
    """The record of a run, in its folder, which is locked for others until it is closed.

    Args:
        step: After which step of the run it goes on; what was written of later ones is dropped.
        part: What the run tests on, "test" or "validation".

    Raises:
        SettingError: TensorBoard is not installed.
        StorageError: It cannot write into the folder, or another process trains there.
    """

    def __init__(
        self,
        run: Path,
        progress: Progress,
        step: int = 0,
        *,
        part: str = "test",
        tensorboard: bool = False,
    ) -> None:
        self._run, self._progress, self._part = run, progress, part
        writer = summary_writer() if tensorboard else None
        self._lock = ExitStack()
        self._lock.enter_context(locked(run / LOCK, "trains here"))
        self.rows = [row for row in read_metrics(run) if row["step"] <= step] if step else []
        self._board = None
        if writer:
            # What an earlier attempt wrote of steps that are now done again is purged.
            with storage_errors(run):
                self._board = writer(str(run), purge_step=step + 1 if step else None, flush_secs=10)
        self._warned: str | None = None

    def log(self, row: dict[str, Any]) -> None:
        """Add a row, which has `epoch` and `step`, and warn where D has won or gone blind."""
        self.rows.append(row)
        self._write()
        self._draw_scalars(row["step"], row)
        said = diagnose(self.rows)
        kind = said and said.partition(":")[0]
        if said and kind != self._warned:
            self._progress.note(f"WARNING, step {row['step']}: {said}")
        self._warned = kind

    def close_epoch(
        self, epoch: int, step: int, tested: dict[str, Any], sheet: tuple[Tensor, Tensor, Tensor]
    ) -> None:
        """Add the figures of the test to the epoch's last row, and write the sheet of samples.

        Args:
            step: That of its last step, counted from the run's beginning.
            tested: The figures, by name; also dicts of them, by group.
            sheet: The samples as `plots.save_grid` takes them: gray, generated, true.
        """
        if not self.rows or self.rows[-1]["step"] != step:  # it was lost while the run was stopped
            self.rows.append({"epoch": epoch, "step": step})
        self.rows[-1] |= tested
        self._write()
        self._draw_scalars(step, tested)
        save_grid(*sheet, self._run / SAMPLES / f"epoch_{epoch:04d}.png")
        if self._board:
            self._board.add_images("generated", sheet[1], step)

    def draw(self) -> None:
        """Draw the graphs anew, which takes longer than a short epoch; of no rows, none."""
        if self.rows:
            plot_losses(self.rows, self._run / LOSSES, self._part)

    def close(self) -> None:
        """Let go of TensorBoard's file, and of the folder."""
        with self._lock:
            if self._board:
                self._board.close()

    def _write(self) -> None:
        text = "".join(json.dumps(row) + "\n" for row in self.rows)
        write_text(self._run / METRICS, text)

    def _draw_scalars(self, step: int, figures: dict[str, Any]) -> None:
        if self._board:
            for name, value in figures.items():
                if isinstance(value, dict):
                    self._draw_scalars(step, {f"{name}/{key}": value[key] for key in value})
                elif name not in {"epoch", "step", "seconds"}:
                    self._board.add_scalar(name, value, step)


def diagnose(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """What is wrong between G and D, as a sentence and a piece of advice; None where nothing is.

    A useful discriminator is right more often than not and never sure: D(real) stays above
    D(fake), both well within 0 to 1. Judged on the means of the last `DIAGNOSED_ROWS` log
    points, and not before there are so many.
    """
    # Without a discriminator no row has it, and none that stands for one that was lost.
    recent = [row for row in rows if "d_real" in row][-DIAGNOSED_ROWS:]
    if len(recent) < DIAGNOSED_ROWS:
        return None
    d_real, d_fake, from_l1, from_adversarial = (
        fmean(row[key] for row in recent)
        for key in ("d_real", "d_fake", "grad_l1", "grad_adversarial")
    )
    found = f"D(real) {d_real:.2f}, D(fake) {d_fake:.2f} over the last {DIAGNOSED_ROWS} log points"
    if d_real - d_fake > _WON:
        share = from_adversarial / (from_l1 + from_adversarial or 1)
        return (
            f"The discriminator has won: {found}. It knows every fake, and {share:.0%} of the "
            "generator's gradient now comes from it; raise `lambda_l1`, or begin with L1 alone "
            "(`lambda_adv` 0) and `start_from` that"
        )
    if d_real - d_fake < _BLIND:
        return (
            f"The discriminator has gone blind: {found}. It cannot tell fakes from photos, so its "
            "gradient says nothing; lower `lambda_l1` if the pictures are dull, or start again "
            "with another `seed`"
        )
    return None


def score_metrics(scores: Scores) -> dict[str, float]:
    """The figures of a test, by their names in `metrics.jsonl`."""
    return {
        "test_l1": scores.mean_l1,
        "colorfulness": scores.mean_colorfulness,
        "test_gray_l1": scores.mean_gray_l1,
        "worse_than_gray": (scores.l1 > scores.gray_l1).double().mean().item(),
    }


def grouped_metrics(
    scores: Scores, groups: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, dict[str, float]]]:
    """The figures of each group of photos apart.

    Args:
        scores: Of N photos.
        groups: By the name of the grouping, the group of each of the N, "" for none.

    Returns:
        By grouping and group: `photos`, their count; `l1`; `l1_of_gray`, its share of the gray
        photos' L1; `worse_than_gray`, the share of photos that are.
    """
    return {
        grouping: {
            group: _group_metrics(scores, torch.tensor([name == group for name in names]))
            for group in sorted(set(names) - {""})
        }
        for grouping, names in groups.items()
    }


def _group_metrics(scores: Scores, members: Tensor) -> dict[str, float]:
    l1, gray_l1 = scores.l1[members].double(), scores.gray_l1[members].double()
    return {
        "photos": len(l1),
        "l1": l1.mean().item(),
        "l1_of_gray": (l1.mean() / gray_l1.mean().clamp(min=1e-12)).item(),
        "worse_than_gray": (l1 > gray_l1).double().mean().item(),
    }


def epoch_line(
    epoch: int, metrics: Mapping[str, float], hints: int = 0, *, part: str = "test"
) -> str:
    """What a person reads of an epoch's scores on a part; the network was shown so many hints."""
    l1, gray_l1 = metrics["test_l1"], metrics["test_gray_l1"]
    than = "better" if l1 < gray_l1 else "worse"
    shown = f" with {hints} hints a photo" if hints else ""
    return (
        f"Epoch {epoch}: {part} L1 {l1:.4f}{shown}, {than} than leaving them gray ({gray_l1:.4f}); "
        f"{metrics['worse_than_gray']:.0%} of the photos are worse than gray"
    )


def summary_writer() -> "type[SummaryWriter]":
    """What writes for TensorBoard.

    Raises:
        SettingError: It is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise SettingError(
            f"TensorBoard is not installed; run {install_command('tensorboard')}, or leave it out"
        ) from error
    return SummaryWriter
