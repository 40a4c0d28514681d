"""Runs and checkpoints: the names of what a run and `eval` leave, finding it, a run's record."""

import hashlib
import math
from collections.abc import Mapping
from contextlib import suppress
from difflib import get_close_matches
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from flowercolor import paths
from flowercolor.errors import CheckpointError, DataError, SettingError, StorageError
from flowercolor.files import (
    is_file,
    is_folder,
    is_there,
    locked,
    parse_json,
    read_bounded,
    read_json,
    resolved,
)
from flowercolor.paths import ARCHIVE_NAME

BEST = "best.safetensors"
LAST = "last.safetensors"
CONFIG = "config.json"
METRICS = "metrics.jsonl"
LOSSES = "losses.png"
SAMPLES = "samples"
LOCK = ".lock"

SCORES = "scores.json"
PICTURES = "pictures"
KIND_SHEETS = "contact"
"""Of what an evaluation leaves."""


def left_by(folder: Path) -> str | None:
    """What left a folder whose pictures are no photos, in words; None for a folder of photos."""
    if is_file(folder / CONFIG) and (is_file(folder / BEST) or is_file(folder / LAST)):
        return "a run"
    if is_file(folder / SCORES) and is_folder(folder / PICTURES):
        scores = read_json(folder / SCORES)
        if isinstance(scores, dict) and isinstance(scores.get("images"), list):
            return "an evaluation"
    return None


def check_free_of_others(run: Path) -> None:
    """Make sure that a new run in this folder writes over nothing but what a stopped one left.

    Raises:
        SettingError: A file is in its way.
    """
    samples, lock = run / SAMPLES, run / LOCK
    found = [samples] if is_there(samples) and not is_folder(samples) else []
    about = read_json(run / CONFIG)
    if not (isinstance(about, dict) and {"config", "data", "flowercolor"} <= about.keys()):
        files = [run / name for name in (CONFIG, METRICS, LOSSES)]
        files += sorted(samples.glob("epoch_[0-9][0-9][0-9][0-9]*.png"))
        found += [file for file in files if is_there(file) or file.is_symlink()]
        # That of a run is empty; some versions of filelock empty any.
        found += [lock] if is_file(lock) and lock.stat().st_size else []
    if found:
        raise SettingError(
            f"{found[0]}: is there already, and no `train` left it; name another folder by `run`, "
            "or move it away"
        )


def check_photos_folder(folder: Path) -> None:
    """Make sure that a folder to take photos from is nothing that a run or an evaluation left.

    Raises:
        DataError: It is such a folder, or lies among the pictures of one.
    """
    place = resolved(folder)
    for parent in (place, *place.parents):
        [first, *_] = [*place.relative_to(parent).parts, SAMPLES]
        if first in (SAMPLES, PICTURES, KIND_SHEETS) and (origin := left_by(parent)):
            raise DataError(
                f"{folder}: is, or is in, the folder of {origin}, whose pictures are no photos; "
                "expected one of photos: move those of your own elsewhere, and name that"
            )


def list_runs() -> list[Path]:
    """The folders of the training runs that have a checkpoint, newest first."""
    place = runs_place()
    # Where it may not be looked into, older versions of Python raise.
    if not place or not is_folder(place):
        return []
    folders = {path.parent for name in (BEST, LAST) for path in place.glob(f"*/{name}")}
    return sorted(folders, key=lambda run: (_changed(run), run.name), reverse=True)


def runs_place() -> Path | None:
    """As `paths.runs_dir`, None where there is none: what is named by its path needs none."""
    with suppress(StorageError):
        return paths.runs_dir()
    return None


def runs_in_words() -> str:
    """Where runs are looked for, or why nowhere."""
    try:
        return f"runs in {paths.runs_dir()}"
    except StorageError as error:
        return f"no runs ({error})"


def _by_name(name: str) -> list[Path]:
    """What a name may mean: a path, or that of a run. An empty one would be the current folder."""
    return [place / name for place in (Path(), runs_place()) if place is not None and name]


def find_run(name: str) -> Path:
    """The folder of a run, given as a name in the data directory, a path, or "last".

    The path may be that of its last weights.

    Raises:
        CheckpointError: There is no such run.
        SettingError: The path is that of its best weights, which it does not go on from.
        StorageError: It has saved nothing yet, and another process trains there.
    """
    runs = [run for run in list_runs() if is_file(run / LAST)]
    if name == "last":
        if runs:
            return runs[0]
        raise CheckpointError(
            f"last: no run to go on from; looked for {runs_in_words()}; `flowercolor train` "
            f"makes one{_alike(name, LAST)}"
        )
    named = _by_name(name)
    folders = [at.parent if at.name in (BEST, LAST) and is_file(at) else at for at in named]
    for at, folder in zip(named, folders, strict=True):
        if is_file(folder / LAST):
            if at != folder and at.name == BEST:
                raise SettingError(
                    f"{at}: `resume` goes on from the last; give {folder}, or, to begin at the "
                    f"best, `start_from` {at}"
                )
            return folder
    for folder in filter(is_folder, folders):  # stopped before its first save, or cleared since
        of_a_run = any(is_file(folder / file) for file in (BEST, CONFIG, METRICS))
        if of_a_run or folder.parent == runs_place():
            if is_file(folder / LOCK):  # it may be before its first save
                with locked(folder / LOCK, "trains here"):
                    pass
            way = way_without_last(folder)
            raise CheckpointError(f"{folder}: has no {LAST}, which going on needs; {way}")
    found = "no run of that name or path"
    if name and is_there(Path(name)):
        found = f"is no run's folder; expected one, with its {LAST}"
    known = ", ".join(run.name for run in runs) or "none"
    raise CheckpointError(
        f"{name or repr(name)}: {found}; {runs_in_words()}: {known}{_alike(name, LAST)}"
    )


def way_without_last(run: Path) -> str:
    """What to do with a run that cannot go on for want of its `last.safetensors`, in words."""
    if is_file(run / BEST):
        return f"begin another with its {BEST} by `start_from`"
    return "nothing else was saved there: begin again"


def find_checkpoint(spec: str | Path | None = None) -> Path:
    """The checkpoint that a person means.

    Args:
        spec: "bundled", "last" for the newest run in the data directory, a run's name, the path
            of a checkpoint or of a run's folder; None means the bundled one.

    Raises:
        CheckpointError: There is no such checkpoint.
    """
    if spec is None or spec == "bundled":
        return bundled_checkpoint()
    spec = str(spec)
    if spec == "last" and (runs := list_runs()):
        return _of_run(runs[0])
    if is_file(Path(spec)):
        return Path(spec)
    for folder in _by_name(spec):
        if is_file(folder / BEST) or is_file(folder / LAST):
            return _of_run(folder)
    known = ", ".join(["bundled", *(run.name for run in list_runs())])
    found = "holds no checkpoint" if spec and is_folder(Path(spec)) else "no such checkpoint"
    raise CheckpointError(
        f"{spec or repr(spec)}: {found}; expected a path, or one of {known}; "
        f"{runs_in_words()}{_alike(spec, BEST)}"
    )


def _alike(name: str, file: str) -> str:
    """Runs of the current folder that have the file and are called alike, in words."""
    here = sorted(path.parent.name for path in Path().glob(f"*/{file}"))
    found = here[:3] if name == "last" else get_close_matches(name, here)
    if name == "last" and (more := len(here) - len(found)):
        found.append(f"{more:,} more")
    return f"; here there is {' and '.join(found)}" if found else ""


def name_of(path: Path) -> str:
    """What a person calls the checkpoint: "bundled", its run's name, or else its file's."""
    if path.parent == Path(str(resources.files("flowercolor") / "weights")):
        return path.stem
    return path.absolute().parent.name if path.name in (BEST, LAST) else path.stem


def bundled_checkpoint() -> Path:
    """The weights that came with the package.

    Raises:
        CheckpointError: The package was built without them, or the file was altered.
    """
    path = Path(str(resources.files("flowercolor") / "weights" / "bundled.safetensors"))
    remedy = "install flowercolor again, or train your own with `flowercolor train`"
    if not is_file(path):
        raise CheckpointError(f"{path}: the bundled weights are missing; {remedy}")
    beside, stat = path.with_suffix(".sha256"), path.stat()
    expected = beside.read_text(encoding="utf-8", errors="replace") if is_file(beside) else ""
    if _sha256(path, stat.st_mtime_ns, stat.st_size) not in expected.split()[:1]:
        raise CheckpointError(f"{path}: the bundled weights have been altered; {remedy}")
    return path


@lru_cache(maxsize=2)
def _sha256(path: Path, _mtime_ns: int, _size_bytes: int) -> str:
    # 10 ms, which `flowercolor.colorize` would otherwise pay again for each picture.
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _of_run(folder: Path) -> Path:
    best = folder / BEST
    return best if is_file(best) else folder / LAST


def _changed(run: Path) -> float:
    files = (run / name for name in (BEST, LAST))
    return max((file.stat().st_mtime for file in files if is_file(file)), default=0.0)


def read_metrics(run: str | Path) -> list[dict[str, Any]]:
    """The rows of a run's `metrics.jsonl`; none where there is no such file.

    Damaged lines are left out: nothing that is learned depends on them.

    Raises:
        CheckpointError: There is no such folder.
    """
    if not is_folder(run):
        raise CheckpointError(f"{run}: is no folder; expected that of a run")
    path = Path(run) / METRICS
    lines: list[bytes] = []
    with suppress(OSError):
        lines = read_bounded(path).splitlines()
    rows = []
    for line in lines:
        with suppress(ValueError):
            row = parse_json(line)
            if _is_table(row) and None not in (row.get("epoch"), row.get("step")):
                rows.append(row)
    return rows


def _is_table(row: object) -> bool:
    """Whether all it has by name are finite numbers, nothing, or such tables."""
    return isinstance(row, dict) and all(
        value is None or is_number(value) or _is_table(value) for value in row.values()
    )


def is_number(value: object) -> bool:
    """Whether JSON gave a finite number; True is not one."""
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def describes_photos(data: object) -> bool:
    """Whether what is used of a run's description of its photos has the types it should have."""
    if not isinstance(data, Mapping):
        return False
    sources, left_out = data.get("sources", []), data.get("left_out", [])
    return (
        isinstance(sources, list)
        and all(isinstance(source, Mapping) for source in sources)
        and all(_is_table({"share": source.get("share")}) for source in sources)
        and isinstance(left_out, (list, tuple))
        and all(isinstance(name, str) for name in left_out)
    )


def read_config(run: str | Path) -> dict[str, Any]:
    """What a run's `config.json` says of its data; nothing where it cannot be read."""
    about = read_json(Path(run) / CONFIG)
    data = about.get("data") if isinstance(about, dict) else None
    return data if isinstance(data, dict) else {}


def read_source(run: str | Path, what: Literal["source", "labels", "by"] = "source") -> Path | None:
    """The first archive or folder that a run learned from, its labels, or its table of kinds.

    None where no `config.json` tells, or there were none.
    """
    path = read_config(run).get(what)
    return Path(path) if isinstance(path, str) else None


def find_sources(run: Path) -> list[Path]:
    """All archives and folders that a run learned from, in its order; none where nothing tells.

    Where the Oxford 102 flowers lie no more they are `paths.OXFORD`: they are to be had again.

    Raises:
        DataError: Another is there no more.
    """
    recorded, first = read_config(run).get("sources"), read_source(run)
    if not first:
        return []
    of_several = isinstance(recorded, list) and all(isinstance(path, str) for path in recorded)
    found = [Path(path) for path in recorded or [first]] if of_several else [first]
    for number, path in enumerate(found):
        if is_there(path):
            continue
        if path.name != ARCHIVE_NAME:
            others = ", and give its other sources too" if len(found) > 1 else ""
            raise DataError(
                f"{path}: is there no more, and {run} learned from it; say by `data` where it is "
                f"now{others}"
            )
        found[number] = paths.OXFORD  # the cache was emptied, or moved
    return found


def source_unsaid(run: Path) -> str:
    """Why nothing says where the photos of a run are, in words before "where that is"."""
    if is_there(run / CONFIG):
        return f"its {CONFIG}, which is damaged, does not say"
    return f"no {CONFIG} there says"


def find_labels(run: Path) -> Path | None:
    """The labels that a run learned by; None for none.

    Raises:
        DataError: They are there no more.
    """
    path = read_source(run, "labels")
    if path and not is_there(path):
        raise DataError(
            f"{path}: is there no more, and {run} learned from it; say by `labels` where it is now"
        )
    return path
