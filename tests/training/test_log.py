import errno
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor

from flowercolor.errors import CheckpointError, SettingError, StorageError
from flowercolor.evaluation.scoring import Scores
from flowercolor.progress import Silent
from flowercolor.runs import LOSSES, METRICS, SAMPLES, read_metrics
from flowercolor.training.log import (
    DIAGNOSED_ROWS,
    RunLog,
    diagnose,
    epoch_line,
    grouped_metrics,
    score_metrics,
)
from tests.helpers import Recorder

SHEET = torch.rand(2, 1, 16, 16), torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)


class Board:
    """Stands for TensorBoard's SummaryWriter."""

    made: list["Board"]

    def __init__(self, log_dir: str, purge_step: int | None = None, flush_secs: int = 120) -> None:
        self.log_dir, self.purge_step, self.closed = log_dir, purge_step, False
        self.scalars: set[tuple[str, float, int]] = set()
        self.images: list[tuple[str, Tensor, int]] = []
        Board.made.append(self)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars.add((name, value, step))

    def add_images(self, name: str, pictures: Tensor, step: int) -> None:
        self.images.append((name, pictures, step))

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> type[Board]:
    Board.made = []
    module = SimpleNamespace(SummaryWriter=Board)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    return Board


def row(step: int, **figures: float) -> dict[str, Any]:
    return {
        "epoch": step / 4,
        "step": step,
        "lr": 0.1,
        "loss_g": 1 / step,
        "seconds": 1.5,
    } | figures


def test_each_row_is_on_disk_at_once(tmp_path: Path) -> None:
    written = RunLog(tmp_path, Silent())
    for step in (1, 2):
        written.log(row(step))
        assert read_metrics(tmp_path) == written.rows == [row(of) for of in range(1, step + 1)]
    lines = (tmp_path / METRICS).read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]


def test_an_epochs_end_adds_the_test_to_the_last_row_and_a_sheet(tmp_path: Path) -> None:
    written = RunLog(tmp_path, Silent())
    for step in (2, 4):
        written.log(row(step))
    written.close_epoch(1, 4, {"test_l1": 0.25}, SHEET)
    assert read_metrics(tmp_path) == [row(2), row(4, test_l1=0.25)]
    assert [path.name for path in (tmp_path / SAMPLES).iterdir()] == ["epoch_0001.png"]


def test_the_graphs_are_drawn_of_all_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    written = RunLog(tmp_path, Silent())
    for step in (2, 4):
        written.log(row(step))
    assert not (tmp_path / LOSSES).exists()
    written.draw()
    assert (tmp_path / LOSSES).exists()
    assert [np.size(line.get_xdata()) for line in figures[0].axes[0].lines] == [2]


def test_of_a_run_that_was_stopped_before_its_first_row_no_graph_is_drawn(tmp_path: Path) -> None:
    RunLog(tmp_path, Silent()).draw()
    assert not (tmp_path / LOSSES).exists()


def test_a_resumed_journal_drops_what_came_after(tmp_path: Path) -> None:
    written = RunLog(tmp_path, Silent())
    for step in range(1, 6):
        written.log(row(step))
    written.close()
    resumed = RunLog(tmp_path, Silent(), 3)
    resumed.log(row(4, loss_g=9))
    assert read_metrics(tmp_path) == [row(1), row(2), row(3), row(4, loss_g=9)]


def test_a_new_run_begins_without_the_rows_of_another(tmp_path: Path) -> None:
    RunLog(tmp_path, Silent()).log(row(1))
    assert RunLog(tmp_path, Silent()).rows == []


def test_a_warning_is_given_when_it_begins_and_not_at_every_row(tmp_path: Path) -> None:
    notes = Recorder()
    written = RunLog(tmp_path, notes)
    states = {"fair": (0.7, 0.3), "won": (1.0, 0.0), "blind": (0.5, 0.5)}
    step = 0
    for name in ("won", "fair", "blind"):
        d_real, d_fake = states[name]
        for _ in range(2 * DIAGNOSED_ROWS):
            step += 1
            norms = {"grad_l1": 1.0, "grad_adversarial": 1.0}
            written.log(row(step, d_real=d_real, d_fake=d_fake, **norms))
    said = [note.partition(": D(real)")[0] for note in notes.notes]
    assert said == [
        f"WARNING, step {DIAGNOSED_ROWS}: The discriminator has won",
        f"WARNING, step {5 * DIAGNOSED_ROWS}: The discriminator has gone blind",
    ]


def test_a_run_without_files_has_no_rows(tmp_path: Path) -> None:
    assert read_metrics(tmp_path) == []
    with pytest.raises(CheckpointError, match=r"none: is no folder; expected that of a run"):
        read_metrics(tmp_path / "none")


def test_damaged_rows_are_left_out(tmp_path: Path) -> None:
    whole = b'{"epoch": 1, "step": 2, "l1": 0.1}\n'
    damaged = b'{"epoch": 1\n[1]\n{"step": 3}\n{"epoch": 1, "step": null}\n\xff\n'
    (tmp_path / METRICS).write_bytes(whole + damaged + whole)
    assert read_metrics(tmp_path) == [{"epoch": 1, "step": 2, "l1": 0.1}] * 2


def test_an_epoch_whose_last_row_was_lost_has_a_row_of_its_own(tmp_path: Path) -> None:
    """While the run was stopped at that step, before the test."""
    written = RunLog(tmp_path, Silent(), 4)
    assert written.rows == []
    written.close_epoch(1, 4, {"test_l1": 0.25}, SHEET)
    written.log(row(8))
    written.close_epoch(2, 8, {"test_l1": 0.2}, SHEET)
    assert read_metrics(tmp_path) == [
        {"epoch": 1, "step": 4, "test_l1": 0.25},
        row(8, test_l1=0.2),
    ]


# TensorBoard


def test_tensorboard_gets_what_is_measured_and_the_pictures(
    tmp_path: Path, board: type[Board]
) -> None:
    written = RunLog(tmp_path, Silent(), tensorboard=True)
    written.log(row(2))
    written.log(row(4))
    written.close_epoch(1, 4, {"test_l1": 0.25}, SHEET)
    [made] = board.made
    assert made.log_dir == str(tmp_path)
    assert made.purge_step is None
    expected = {("lr", 0.1, 2), ("loss_g", 0.5, 2), ("lr", 0.1, 4), ("loss_g", 0.25, 4)}
    assert made.scalars == expected | {("test_l1", 0.25, 4)}
    [(name, pictures, step)] = made.images
    assert (name, step) == ("generated", 4)
    assert pictures is SHEET[1]
    assert not made.closed
    written.close()
    assert made.closed


def test_tensorboard_forgets_what_a_resumed_run_does_again(
    tmp_path: Path, board: type[Board]
) -> None:
    RunLog(tmp_path, Silent(), 7, tensorboard=True)
    assert board.made[0].purge_step == 8


def test_without_tensorboard_none_is_made(tmp_path: Path, board: type[Board]) -> None:
    written = RunLog(tmp_path, Silent())
    written.log(row(1))
    written.close_epoch(1, 1, {"test_l1": 0.25}, SHEET)
    written.close()
    assert board.made == []


def test_tensorboard_that_is_not_installed_is_refused_by_the_name_of_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(SettingError, match=r'pip install ".\[tensorboard\]"') as caught:
        RunLog(tmp_path, Silent(), tensorboard=True)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_without_a_place_to_write_to_is_one_line(
    tmp_path: Path, board: type[Board], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(board, "__init__", refuse)
    with pytest.raises(StorageError, match="there is a file where a folder should be"):
        RunLog(tmp_path / "file", Silent(), tensorboard=True)


def test_tensorboard_reads_what_is_written(tmp_path: Path) -> None:
    """With the real one, where it is installed."""
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    written = RunLog(tmp_path, Silent(), tensorboard=True)
    written.log(row(4))
    written.close_epoch(1, 4, {"test_l1": 0.25}, SHEET)
    written.close()
    read = reader.EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in read.Scalars("test_l1")] == [(4, 0.25)]


# The diagnosis


def rows(count: int = DIAGNOSED_ROWS, **figures: float) -> list[dict[str, Any]]:
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
    assert "`lambda_l1`" in said
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
    assert diagnose(rows(DIAGNOSED_ROWS - 1, d_real=1, d_fake=0)) is None


def test_only_the_last_rows_count_and_by_their_mean() -> None:
    bad: dict[str, float] = {"d_real": 1, "d_fake": 0}
    assert diagnose(rows(50, **bad) + rows(DIAGNOSED_ROWS)) is None
    assert diagnose(rows(50) + rows(DIAGNOSED_ROWS, **bad)) is not None
    assert diagnose(rows(DIAGNOSED_ROWS - 1, **bad) + rows(1)) is None, (
        "one fair row is enough here"
    )


def test_a_run_on_l1_alone_has_no_game() -> None:
    assert (
        diagnose([{"step": step, "loss_g": 5.0, "l1": 0.1} for step in range(DIAGNOSED_ROWS)])
        is None
    )


def test_a_row_that_stands_for_a_lost_one_is_passed_over() -> None:
    bad = rows(DIAGNOSED_ROWS, d_real=1, d_fake=0)
    lost = {"epoch": 1, "step": 4, "test_l1": 0.1}
    assert diagnose([*bad[:3], lost, *bad[3:]]) == diagnose(bad) is not None
    assert diagnose([*bad[1:], lost]) is None


def test_a_folder_is_one_processs_at_a_time(tmp_path: Path) -> None:
    log = RunLog(tmp_path, Silent())
    with pytest.raises(StorageError, match=rf": process {os.getpid()} trains here; wait for it"):
        RunLog(tmp_path, Silent())
    log.close()
    RunLog(tmp_path, Silent()).close()


# The test


def four_scores() -> Scores:
    l1, gray_l1 = torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([0.2, 0.2, 0.2, 0.2])
    return Scores(list("abcd"), l1, gray_l1, torch.full((4,), 30.0), torch.full((4,), 50.0))


def test_a_test_tells_how_it_compares_with_leaving_the_photos_gray() -> None:
    metrics = score_metrics(four_scores())
    assert metrics == pytest.approx(
        {"test_l1": 0.25, "colorfulness": 30, "test_gray_l1": 0.2, "worse_than_gray": 0.5}
    )
    said = "Epoch 3: test L1 0.2500, worse than leaving them gray (0.2000); 50% of the photos are "
    assert epoch_line(3, metrics) == said + "worse than gray"
    assert "Epoch 3: validation L1" in epoch_line(3, metrics, part="validation")
    assert epoch_line(3, metrics, hints=5).startswith(
        "Epoch 3: test L1 0.2500 with 5 hints a photo, "
    )
    assert "better than leaving" in epoch_line(3, {**metrics, "test_l1": 0.1})


def test_groups_of_photos_are_scored_apart() -> None:
    groups = {"by_kind": ["bed", "", "rose", "bed"]}
    scored = grouped_metrics(four_scores(), groups)
    assert scored.keys() == {"by_kind"}
    assert scored["by_kind"].keys() == {"bed", "rose"}
    bed = {"photos": 2, "l1": 0.25, "l1_of_gray": 1.25, "worse_than_gray": 0.5}
    assert scored["by_kind"]["bed"] == pytest.approx(bed)
    assert scored["by_kind"]["rose"]["worse_than_gray"] == 1


def test_tensorboard_gets_the_groups_too(tmp_path: Path, board: type[Board]) -> None:
    written = RunLog(tmp_path, Silent(), tensorboard=True)
    written.log(row(2))
    scored = {"test_l1": 0.2, "by_kind": {"bed": {"l1": 0.3}}}
    written.close_epoch(1, 2, scored, SHEET)
    assert ("by_kind/bed/l1", 0.3, 2) in board.made[0].scalars
