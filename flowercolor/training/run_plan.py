"""Which run is meant: its settings, photos, folder and beginning, from what a person says."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from flowercolor import paths
from flowercolor.checkpoint import CheckpointInfo, read_info
from flowercolor.config import CONTINUING, NetworkConfig, TrainConfig, recipe
from flowercolor.data.dataset import check_color, read_column, with_twins
from flowercolor.data.sources import Source, check_shares, read_sources, split_sources
from flowercolor.distributed import in_turn
from flowercolor.errors import CheckpointError, DataError, DownloadError, SettingError
from flowercolor.evaluation.by_kind import read_kinds
from flowercolor.files import storage_errors
from flowercolor.memory_budget import MAX_PIXELS
from flowercolor.paths import OXFORD
from flowercolor.progress import Progress
from flowercolor.runs import (
    LAST,
    find_checkpoint,
    find_labels,
    find_run,
    find_sources,
    list_runs,
    name_of,
    read_source,
    source_unsaid,
)
from flowercolor.training.resume import RunState, saying_how_without
from flowercolor.training.setup import (
    RunData,
    check_beginning,
    check_folder,
    check_labels,
    differing,
    read_classes,
)


@dataclass(frozen=True)
class RunPlan:
    """What is to be trained, from what and where.

    Attributes:
        run: The run's folder; None for a new one.
        sources: The archives and folders of photos; none for the Oxford 102 flowers.
        left_out: Photos to take out of the training set.
        notes: What a person should know of it.
    """

    config: TrainConfig
    run: Path | None = None
    resume: bool = False
    start_from: Path | None = None
    sources: Sequence[Source] = ()
    labels: Path | None = None
    by: Path | None = None
    left_out: Sequence[str] = ()
    notes: Sequence[str] = ()


def plan_run(
    *,
    recipe_name: str | None = None,
    settings: Mapping[str, Any] | None = None,
    out: Path | None = None,
    start_from: str | None = None,
    resume: str | None = None,
    sources: Sequence[Source] = (),
    labels: Path | None = None,
    by: Path | None = None,
) -> RunPlan:
    """The run that a person means, checked as far as can be before any photo is read.

    Args:
        recipe_name: The recipe that the settings change; None for "faithful".
        settings: By name, the network's among them.
        out: The run's folder; None for a new one in the data directory.
        start_from: A checkpoint as for `runs.find_checkpoint`; the run's network is like it.
        resume: The run to go on with, as for `runs.find_run`; "last" for the newest that is not
            finished, if any is. Its settings are its own, and so are the sources and tables that
            are left out.
        sources: Empty for the Oxford 102 flowers, whose name among others is `paths.OXFORD`.

    Raises:
        SettingError: The options contradict each other, a value is out of range, the resumed run
            has more epochs already, or `out` holds a run or lies among the photos.
        CheckpointError: There is no such run or checkpoint, or its network is another.
        DataError: The resumed run does not say where its photos are; a table cannot be read.
    """
    check_shares(sources)
    if resume is not None:
        if any(given is not None for given in (out, start_from, recipe_name)):
            raise SettingError(
                "`resume` goes on in the run's own folder, with its own settings; leave out "
                "`out`, `start_from` and `recipe`"
            )
        run = _newest_to_go_on(settings or {}) if resume == "last" else None
        plan = _resumed_plan(run or find_run(resume), sources, labels, by)
    else:
        if out:
            check_folder(out, [source.path for source in sources])
        origin = None if start_from is None else find_checkpoint(start_from)
        config = recipe("faithful" if recipe_name is None else recipe_name)
        notes: list[str] = []
        if origin:
            network = replace(read_info(origin).config.network, hints=config.network.hints)
            if recipe_name and recipe_name not in CONTINUING:  # those are for any network
                notes += _note_on_recipe(recipe_name, network, name_of(origin), settings or {})
            config = replace(config, network=network)
        plan = RunPlan(config, out, False, origin, sources, labels, by, notes=notes)
    plan = replace(plan, config=plan.config.changed(**(settings or {})))
    check_labels(plan.config, plan.labels)
    for table, column in ((plan.labels, "class"), (plan.by, "kind")):
        if table:
            read_column(table, column)
    if not (plan.resume and plan.run):
        check_beginning(plan.config, plan.start_from)
    elif (done := read_info(plan.run / LAST).epoch) > plan.config.epochs:
        raise SettingError(
            f"{plan.run}: epochs is {plan.config.epochs}, and the run has {done} already; give "
            f"`epochs` {done + 1} or more to go on, or leave it out"
        )
    return plan


def _note_on_recipe(
    recipe_name: str, network: NetworkConfig, parent: str, given: Mapping[str, Any]
) -> Iterator[str]:
    """What of a recipe's network does not count beside the one that the run goes on as."""
    known = {name: value for name, value in asdict(network).items() if name in given}
    was, asked = differing(network, replace(recipe(recipe_name).network, **known))
    if was:
        yield (
            f"{parent}: the run goes on as its network, of {was}, where the recipe {recipe_name} "
            f"has {asked}; without `start_from` it begins anew as that"
        )


def _newest_to_go_on(settings: Mapping[str, Any]) -> Path | None:
    """The run written last of those that, with these settings, have something left to do."""
    for run in list_runs():
        with suppress(CheckpointError):
            info = read_info(run / LAST)
            config, state = info.config.changed(**settings), RunState.of(info)
            if state.epoch < config.epochs and not state.out_of_patience(config):
                return run
    return None


def _resumed_plan(
    run: Path, sources: Sequence[Source], labels: Path | None, by: Path | None
) -> RunPlan:
    with saying_how_without(run / LAST):
        info = read_info(run / LAST)
    sources = sources or _sources_of(run, info)
    if not sources and (name := info.data.get("name")) != paths.ARCHIVE_NAME:
        raise DataError(
            f"{run}: learned from {name}, and {source_unsaid(run)} where that is; say so by `data`"
        )
    labels = labels or find_labels(run)
    by = by or read_source(run, "by")
    left_out = info.data.get("left_out", [])
    return RunPlan(info.config, run, True, None, sources, labels, by, left_out)


def _sources_of(run: Path, info: CheckpointInfo) -> Sequence[Source]:
    """The sources of a run with their shares."""
    found = find_sources(run)
    shares = [source.get("share") for source in info.data.get("sources", ())]
    if len(shares) != len(found):  # a run of one source has no list of them
        return [Source(path) for path in found]
    return [Source(path, share) for path, share in zip(found, shares, strict=True)]


def read_run_data(
    plan: RunPlan,
    twins: Path | None = None,
    progress: Progress | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
) -> RunData:
    """Read the photos of a run, fetching the Oxford 102 flowers where those are meant and missing.

    Each source is split by its own, 90 to 10, and with `validation` once more.

    Args:
        plan: Which photos, at which size, and whether the validation part takes the test's place.
        twins: A list of pairs as for `dataset.with_twins`, in place of what the plan leaves out.

    Raises:
        DataError: The photos cannot be read, are too few, have no color, or a table is of others.
        DownloadError: The flowers cannot be fetched.
    """
    places = [source.path for source in plan.sources] or [OXFORD]
    with in_turn():
        try:
            photos = read_sources(places, plan.config.size_px, progress, max_pixels=max_pixels)
        except DownloadError as error:
            if plan.sources or plan.resume:
                raise
            raise DownloadError(f"{error}; or learn from photos of your own by `data`") from error
    left_out = with_twins(twins, *split_sources(photos), progress) if twins else plan.left_out
    train_set, test_set = split_sources(photos, left_out, validation=plan.config.validation)
    # Who resumes was told, and is to change no photos.
    check_color(train_set, test_set, None if plan.resume else progress)
    if plan.labels:  # of other photos, before a run's folder is made
        read_classes(plan.labels, train_set)
    if plan.by:
        read_kinds(plan.by, test_set)
    shares = [source.share for source in plan.sources] if len(plan.sources) > 1 else []
    return RunData(train_set, test_set, left_out, shares)


def new_run_folder(now: datetime | None = None) -> Path:
    """Make a folder named by the time, and by a number where another run began this second.

    Raises:
        StorageError: It cannot be made.
    """
    name = (now or datetime.now()).strftime("%Y-%m-%d-%H%M%S")
    first = run = paths.runs_dir() / name
    number = 1
    with storage_errors(first):
        first.parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                run.mkdir()
                return run
            except FileExistsError:
                number += 1
                run = first.with_name(f"{first.name}-{number}")
