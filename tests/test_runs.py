import contextlib
import errno
import hashlib
import importlib.resources
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from flowercolor import paths
from flowercolor.errors import CheckpointError, DataError, SettingError, StorageError
from flowercolor.files import locked, write_text
from flowercolor.paths import OXFORD, archive_path
from flowercolor.runs import (
    BEST,
    CONFIG,
    LAST,
    LOCK,
    METRICS,
    find_checkpoint,
    find_labels,
    find_run,
    find_sources,
    list_runs,
    name_of,
    read_metrics,
    read_source,
)
from tests.helpers import no_home


def add_run(name: str, *files: str, age_s: int = 0) -> Path:
    """A run's folder with these checkpoints, which need not be whole to be found."""
    folder = paths.runs_dir() / name
    folder.mkdir(parents=True)
    for file in files:
        (folder / file).touch()
        written_s = 1_700_000_000 - age_s
        os.utime(folder / file, (written_s, written_s))
    return folder


@pytest.fixture
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package with weights in it."""
    path = tmp_path / "package" / "weights" / "bundled.safetensors"
    path.parent.mkdir(parents=True)
    path.touch()
    path.with_suffix(".sha256").write_text(f"{hashlib.sha256(b'').hexdigest()}  {path.name}\n")
    monkeypatch.setattr(importlib.resources, "files", lambda _package: tmp_path / "package")
    return path


def test_a_data_directory_that_may_not_be_looked_into_has_no_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As of a service without a home of its own; `chmod` does not keep root out."""
    add_run("roses", LAST)
    stat = os.stat

    def guarded(path: Any, *args: Any, **options: Any) -> os.stat_result:
        if str(path).startswith(str(paths.data_dir())):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, *args, **options)

    monkeypatch.setattr(os, "stat", guarded)
    assert list_runs() == []


def test_runs_are_listed_newest_first() -> None:
    assert list_runs() == []
    old = add_run("m", LAST, BEST, age_s=50)
    new = add_run("z", BEST, age_s=1)
    middle = add_run("a", LAST, age_s=9)
    add_run("empty")
    assert list_runs() == [new, middle, old]


def test_what_else_lies_in_a_run_does_not_count(tmp_path: Path) -> None:
    """Neither a link that leads nowhere nor weights that were put there later."""
    old = add_run("old", BEST, age_s=50)
    add_run("new", BEST)
    (old / "gone.safetensors").symlink_to(tmp_path / "nowhere")
    (old / "mine.safetensors").touch()
    assert [run.name for run in list_runs()] == ["new", "old"]


def test_the_bundled_weights_are_meant_when_nothing_is_said(bundled: Path) -> None:
    """However many runs there are."""
    assert find_checkpoint() == bundled
    add_run("new", LAST, BEST)
    assert find_checkpoint() == bundled


def test_last_is_the_newest_runs_best() -> None:
    with pytest.raises(CheckpointError, match=r"^last: no such checkpoint"):
        find_checkpoint("last")
    add_run("old", LAST, BEST, age_s=50)
    new = add_run("new", LAST, BEST, age_s=1)
    assert find_checkpoint("last") == new / BEST
    begun = add_run("begun", LAST)
    assert find_checkpoint("last") == begun / LAST


def test_a_checkpoint_is_found_by_what_a_person_calls_it(bundled: Path, tmp_path: Path) -> None:
    run = add_run("mine", LAST, BEST)
    file = tmp_path / "weights.safetensors"
    file.touch()
    assert find_checkpoint("bundled") == bundled
    assert find_checkpoint("mine") == run / BEST
    assert find_checkpoint(str(run)) == run / BEST
    assert find_checkpoint(str(run / LAST)) == run / LAST
    assert find_checkpoint(str(file)) == file


def test_a_checkpoint_is_called_what_it_is_found_by(bundled: Path, tmp_path: Path) -> None:
    run = add_run("mine", LAST, BEST)
    assert name_of(bundled) == "bundled"
    assert name_of(run / BEST) == name_of(run / LAST) == "mine"
    with contextlib.chdir(run):
        assert name_of(Path(BEST)) == "mine"
    assert name_of(tmp_path / "roses.safetensors") == "roses"


def test_an_unknown_checkpoint_is_refused_with_what_there_is() -> None:
    add_run("mine", BEST)
    with pytest.raises(
        CheckpointError, match=r"^his: no such checkpoint; .* one of bundled, mine; runs in "
    ):
        find_checkpoint("his")
    with pytest.raises(CheckpointError, match=r"^'': no such checkpoint; "):
        find_checkpoint("")
    with pytest.raises(CheckpointError, match=r"^5: no such checkpoint; "):
        find_checkpoint(5)  # type: ignore[arg-type]


def test_a_package_without_weights_says_so(bundled: Path) -> None:
    bundled.unlink()
    for spec in (None, "bundled"):
        with pytest.raises(CheckpointError, match="the bundled weights are missing; install"):
            find_checkpoint(spec)


def test_a_run_to_go_on_with_is_found_by_name_path_or_last(tmp_path: Path) -> None:
    add_run("old", LAST, age_s=50)
    run = add_run("mine", LAST, BEST)
    assert find_run("mine") == run
    assert find_run(str(run)) == run
    assert find_run("last") == run
    for file in (str(run / LAST), f"mine/{LAST}"):
        assert find_run(file) == run
    for file in (str(run / BEST), f"mine/{BEST}"):
        with pytest.raises(SettingError) as caught:
            find_run(file)
        assert str(caught.value) == (
            f"{run / BEST}: `resume` goes on from the last; give {run}, or, to begin at the best, "
            f"`start_from` {run / BEST}"
        )
    add_run("without a way to go on", BEST)
    assert find_run("last") == run


def test_a_run_that_has_saved_nothing_yet_may_be_under_way(here: Path) -> None:
    write_text(here / "run" / CONFIG, "{}")
    with (
        locked(here / "run" / LOCK, "trains here"),
        pytest.raises(StorageError, match=rf"^run: process {os.getpid()} trains here; wait for"),
    ):
        find_run("run")
    with pytest.raises(CheckpointError, match=f"^run: has no {LAST}, .*: begin again$"):
        find_run("run")


@pytest.mark.parametrize(("find", "file"), [(find_run, LAST), (find_checkpoint, BEST)])
def test_the_last_of_none_names_those_that_lie_here(
    here: Path, find: Callable[[str], Path], file: str
) -> None:
    """Such as `train --out` makes, which "last" is not for."""
    for name in ("b", "a"):
        write_text(here / name / file, "")
    with pytest.raises(CheckpointError, match=r"^last: .*; here there is a and b$"):
        find("last")
    for name in ("c", "d", "e"):
        write_text(here / name / file, "")
    with pytest.raises(CheckpointError, match=r"^last: .* there is a and b and c and 2 more$"):
        find("last")


def test_an_unknown_run_is_refused_with_what_there_is() -> None:
    with pytest.raises(CheckpointError, match=r"no run to go on from; .*`flowercolor train` makes"):
        find_run("last")
    with pytest.raises(CheckpointError, match=r"^his: no run of that name or path; .*: none$"):
        find_run("his")
    add_run("mine", LAST)
    add_run("without a way to go on", BEST)
    with pytest.raises(CheckpointError, match=r"^his: no run of that name or path; .*: mine$"):
        find_run("his")


def test_without_a_home_folder_what_has_a_path_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is not is told to be missing, as everywhere."""
    run = add_run("mine", LAST)
    monkeypatch.delenv("FLOWERCOLOR_DATA_DIR")
    monkeypatch.setattr(platformdirs, "user_data_path", no_home)
    assert list_runs() == []
    assert find_run(str(run)) == run
    assert find_checkpoint(str(run)) == run / LAST
    why = r"no runs \(FLOWERCOLOR_DATA_DIR: the user has no home folder; set it to a folder\)"
    with pytest.raises(CheckpointError, match=rf"^bundld: no such .* one of bundled; {why}$"):
        find_checkpoint("bundld")
    with pytest.raises(CheckpointError, match=rf"^his: no run of that name or path; {why}: none$"):
        find_run("his")


@pytest.mark.parametrize("find", [find_run, find_checkpoint])
def test_an_unknown_name_is_answered_with_where_was_looked_and_what_is_called_alike_here(
    here: Path, find: Callable[[str], Path]
) -> None:
    for name in ("stop", "rose"):
        for file in (LAST, BEST):
            write_text(here / name / file, "")
    with pytest.raises(CheckpointError, match=r"^stopp: .*; here there is stop$") as caught:
        find("stopp")
    assert str(paths.runs_dir()) in str(caught.value)


def test_a_run_without_a_way_to_go_on_says_what_it_lacks(tmp_path: Path) -> None:
    """As one that was stopped before its first save."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / CONFIG).touch()
    lacks = f"run: has no {LAST}, which going on needs; "
    with pytest.raises(
        CheckpointError, match=rf"{lacks}nothing else was saved there: begin again$"
    ):
        find_run(str(tmp_path / "run"))
    run = add_run("run", BEST)
    with pytest.raises(CheckpointError, match=rf"{lacks}begin another with its {BEST} by `start_"):
        find_run(run.name)
    with pytest.raises(CheckpointError, match=rf"{lacks}begin another"):
        find_run(str(run / BEST))


def test_what_is_no_run_is_told_to_be_none_with_the_runs_that_there_are(tmp_path: Path) -> None:
    add_run("mine", LAST)
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "rose.safetensors").touch()
    for path in (photos, photos / "rose.safetensors"):
        with pytest.raises(CheckpointError) as caught:
            find_run(str(path))
        assert str(caught.value) == (
            f"{path}: is no run's folder; expected one, with its {LAST}; "
            f"runs in {paths.runs_dir()}: mine"
        )


def test_a_folder_without_weights_is_told_to_hold_none(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=rf"{tmp_path.name}: holds no checkpoint; expected a"):
        find_checkpoint(tmp_path)


def test_altered_bundled_weights_are_refused(bundled: Path) -> None:
    bundled.write_bytes(b"other")
    with pytest.raises(CheckpointError, match="the bundled weights have been altered; install"):
        find_checkpoint()


@pytest.mark.parametrize("checksum", [None, "", "nothing"])
def test_bundled_weights_without_their_checksum_are_refused(
    bundled: Path, checksum: str | None
) -> None:
    bundled.with_suffix(".sha256").unlink()
    if checksum is not None:
        bundled.with_suffix(".sha256").write_text(checksum)
    with pytest.raises(CheckpointError, match="the bundled weights have been altered; install"):
        find_checkpoint()


def test_what_a_run_learned_from_has_to_be_there(tmp_path: Path) -> None:
    assert find_sources(tmp_path) == []
    assert find_labels(tmp_path) is None
    gone, flowers = str(tmp_path / "gone"), str(archive_path())
    several: dict[str, Any] = {"source": flowers, "sources": [flowers, gone]}
    alone: dict[str, Any] = {"source": gone, "labels": gone}
    for data in (alone, several):
        write_text(tmp_path / "config.json", json.dumps({"data": data}))
        with pytest.raises(DataError, match=r"gone: is there no more, and .* by `data` where"):
            find_sources(tmp_path)
    Path(gone).touch()
    assert find_sources(tmp_path) == [OXFORD, Path(gone)]  # the flowers can be fetched anew
    for data in (alone, {"source": gone, "sources": [gone, 7]}):
        write_text(tmp_path / "config.json", json.dumps({"data": data}))
        assert find_sources(tmp_path) == [Path(gone)]
    write_text(tmp_path / "config.json", json.dumps({"data": {"labels": gone}}))
    assert find_labels(tmp_path) == Path(gone)
    Path(gone).unlink()
    with pytest.raises(DataError, match=r"gone: is there no more, and .* by `labels` where"):
        find_labels(tmp_path)


def test_a_run_without_files_has_no_metrics_and_no_source(tmp_path: Path) -> None:
    assert read_metrics(tmp_path) == []
    assert read_source(tmp_path) is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"data": {}}', '{"data": {"source": 3}}'])
def test_a_foreign_config_tells_no_source(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    assert read_source(tmp_path) is None


def test_a_record_of_absurd_depth_costs_its_line_only() -> None:
    run = add_run("mine", LAST)
    (run / METRICS).write_text('{"epoch": 1, "step": 2}\n' + "[" * 100_000 + "\n")
    (run / CONFIG).write_text("[" * 100_000)
    assert read_metrics(run) == read_metrics(str(run)) == [{"epoch": 1, "step": 2}]
    assert read_source(run) is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no such files")
def test_a_pipe_in_place_of_a_record_is_not_waited_for() -> None:
    run = add_run("mine")
    for name in (METRICS, CONFIG, LAST):
        os.mkfifo(run / name)
    assert read_metrics(run) == []
    assert read_source(run) is None
    with pytest.raises(CheckpointError, match=r"^mine: no such checkpoint"):
        find_checkpoint("mine")


@pytest.mark.parametrize(
    "row", ['{"epoch": 1, "step": 1, "test_l1": []}', '{"epoch": 1e999, "step": 1}', '{"step": 1}']
)
def test_a_row_of_other_types_than_are_written_is_left_out(row: str) -> None:
    """The graph cannot draw it."""
    run = add_run("mine", LAST)
    (run / METRICS).write_text('{"epoch": 1, "step": 2, "l1": null, "by": {"a": 1}}\n' + row)
    assert read_metrics(run) == [{"epoch": 1, "step": 2, "l1": None, "by": {"a": 1}}]
