"""`flowercolor eval`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowercolor.cli.console import (
    Device,
    command,
    print_result,
    print_table,
    progress_of_leader,
    say,
)
from flowercolor.torchrun import ranks

if TYPE_CHECKING:
    from flowercolor.checkpoint import CheckpointInfo
    from flowercolor.evaluation.report import Table


@command
def evaluate(
    results: Annotated[
        Path,
        typer.Option(help="Folder to write the pictures, the scores and the graphs into."),
    ] = Path("results"),
    checkpoint: Annotated[
        str | None,
        typer.Option(
            "--checkpoint",  # as in `colorize`
            help="What to judge: bundled, a run's name, or a path. "
            "[dim]\\[default: the newest run, else bundled][/dim]",
            metavar="CHECKPOINT",
        ),
    ] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            help="Put this checkpoint beside it, on the same photos; may be repeated.",
            metavar="CHECKPOINT",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Archive or folder whose test split to use. "
            "[dim]\\[default: what the run learned from, else the downloaded archive][/dim]",
            metavar="PATH",
        ),
    ] = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="Judge all photos of the data, not its test split.")
    ] = False,
    twins: Annotated[
        Path | None,
        typer.Option(
            help="Also score without the test photos that have a twin in the training split: "
            "a file with two names and a tab between them on each line.",
            metavar="PATH",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="Also tell how many pictures still look like their flower, to a classifier that "
            "learns it from the true photos of the training split: a CSV table with the columns "
            "file and class.",
            metavar="PATH",
        ),
    ] = None,
    validation: Annotated[
        bool,
        typer.Option(
            "--validation",
            help="Judge on the twentieth of the training photos that `train --validation` keeps "
            "apart, and leave the test split alone: for choosing.",
        ),
    ] = False,
    vividness: Annotated[
        list[float] | None,
        typer.Option(
            help="Of a dial: judge it here between its ends, 0 to 1; may be repeated, for the "
            "curve. [dim]\\[default: where the dial stands][/dim]",
            metavar="SHARE",
            min=0,
            max=1,
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(help="Photos per step; changes the speed, not the scores.", min=1)
    ] = 1,
    device: Device = "auto",
) -> None:
    """Score a checkpoint on the test split, and write every test picture.

    The first score is the mean over the test photos of the L1 between generated and true
    picture, RGB in 0 to 1 at the training size. Others, with 95 % bootstrap intervals, stand
    beside it, and below it what the gray photo itself and mere median colors score. Under
    torchrun, several processes or machines share the photos.
    """
    from contextlib import suppress
    from functools import partial

    from flowercolor.checkpoint import load_generator
    from flowercolor.data.dataset import FlowerDataset, get_data, split_validation, with_twins
    from flowercolor.data.oxford102 import download_archive
    from flowercolor.data.photo_cache import check_outside, read_data
    from flowercolor.devices import pick_device
    from flowercolor.distributed import in_turn, joined
    from flowercolor.errors import DataError, SettingError
    from flowercolor.evaluation.report import SCORES, TABLES, write_results
    from flowercolor.files import is_there
    from flowercolor.runs import find_source, read_metrics, read_source

    if whole and (twins or labels or validation):
        option = "--twins" if twins else "--labels" if labels else "--validation"
        raise SettingError(
            f"{option} needs a training split, --whole has none; leave one of them out"
        )
    leads = ranks().leads
    progress = progress_of_leader()
    chosen = _chosen(checkpoint, compare or [], vividness)
    target = pick_device(device)
    loaded = {
        name: load_generator(file, target, vividness=share)
        for name, (file, share) in chosen.items()
    }
    infos = {name: info for name, (_, info) in loaded.items()}
    size_px = _common_size_px(infos)
    files = dict.fromkeys(file for file, _ in chosen.values())
    for file in files if leads else ():
        say(f"Judging {file}")

    run = next(iter(files)).parent
    with joined(target):
        notes = []
        with in_turn():
            source = data or find_source(run) or download_archive(progress=progress).path
            check_outside(results, source)  # before the photos are read, and a classifier learns
            if whole:
                train_set = None
                test_set = FlowerDataset(read_data(source, size_px, progress))
                learned_from = read_source(run)
                known = next(iter(infos.values())).data.get("fingerprint")
                apart = known != test_set.photos.fingerprint
                if apart and learned_from and is_there(learned_from):
                    with suppress(DataError):  # what is left of it is no data any more
                        train_set, _ = get_data(learned_from, size_px, progress)
                    if train_set and train_set.photos.fingerprint != known:
                        train_set = None  # others have come, or gone
                if train_set is None:
                    notes.append(
                        "No chroma medians: no training split is known apart from these photos."
                    )
            else:
                train_set, test_set = get_data(source, size_px, progress)
                if validation:
                    train_set, test_set = split_validation(train_set)
        left_out = with_twins(twins, test_set, train_set) if twins and train_set else ()
        notes += _known_already(infos, test_set.photos.fingerprint, whole, validation)
        for note in notes if leads else ():
            say(note)
        judge = None
        if labels and train_set:
            # torchvision, which nothing else here needs
            from flowercolor.data.dataset import read_labels
            from flowercolor.evaluation.classifier import load_classifier, recognized

            classes = read_labels(labels, test_set.photos)
            with in_turn():
                classifier = load_classifier(train_set, classes, device=target, progress=progress)
            judge = partial(recognized, classifier, classes[test_set.indices])
        metrics = read_metrics(run)
        tables = write_results(
            {name: generator for name, (generator, _) in loaded.items()},
            test_set,
            results,
            about={
                "checkpoints": {
                    name: {"path": str(file), "epoch": infos[name].epoch, "vividness": share}
                    for name, (file, share) in chosen.items()
                },
                "data": str(source),
                "size_px": size_px,
                "labels": str(labels) if labels else None,
            },
            train_set=train_set,
            judge=judge,
            left_out=left_out,
            metrics=metrics,
            notes=notes,
            batch_size=batch_size,
            progress=progress,
        )
    if not leads:
        return
    if not metrics:
        say("No graph of the losses: this checkpoint does not lie in the folder of a run.")

    for table in tables:
        _draw(table)
    say(f"Every figure's interval: {results / TABLES}")
    print_result(str(results / SCORES))


def _chosen(
    checkpoint: str | None, compare: list[str], vividness: list[float] | None
) -> dict[str, tuple[Path, float | None]]:
    """By the name of its row, each checkpoint, and of a dial where it is to stand."""
    from flowercolor.errors import SettingError
    from flowercolor.evaluation.scoring import OTHER_ROWS
    from flowercolor.runs import BEST, LAST, find_checkpoint, name_of

    if vividness and compare:
        raise SettingError("--vividness turns one checkpoint's dial; leave out --compare")
    specs = [*([checkpoint] if checkpoint is not None or len(compare) < 2 else []), *compare]
    files = [find_checkpoint(spec) for spec in specs]
    for number, file in enumerate(files):
        if file.resolve() in [other.resolve() for other in files[:number]]:
            raise SettingError(f"{file}: would be judged twice; leave out one --compare of it")
    names = [name_of(file) for file in files]
    if len(set(names)) < len(names):
        names = [str(file) for file in files]
    chosen: dict[str, tuple[Path, float | None]]
    chosen = {name: (file, None) for name, file in zip(names, files, strict=True)}
    if vividness:
        chosen = {f"{names[0]} {share:g}": (files[0], share) for share in vividness}
    for name in chosen.keys() & OTHER_ROWS:
        file, _ = chosen[name]
        own = "its folder" if file.name in (BEST, LAST) else "the file"
        raise SettingError(
            f"{file}: is named {name}, like a row that costs nothing to learn; rename {own}"
        )
    return chosen


def _common_size_px(infos: Mapping[str, "CheckpointInfo"]) -> int:
    from flowercolor.errors import SettingError

    sizes_px = {name: info.config.size_px for name, info in infos.items()}
    size_px = next(iter(sizes_px.values()))
    if set(sizes_px.values()) != {size_px}:
        told = ", ".join(f"{name} {size} px" for name, size in sizes_px.items())
        raise SettingError(f"trained at different sizes: {told}; compare those of one size")
    return size_px


def _known_already(
    infos: Mapping[str, "CheckpointInfo"], fingerprint: str, whole: bool, validation: bool
) -> Iterator[str]:
    """A line for each checkpoint that may know the photos it is judged on."""
    for name, info in infos.items():
        same = info.data.get("fingerprint") == fingerprint
        if validation and same and not info.config.validation:
            yield f"{name} has learned from the validation part; it may know it by heart."
        elif whole and same:
            yield f"{name} learned from these very photos; it may know them by heart."
        elif info.data and not (whole or same):
            learned = info.data.get("name", "unknown")
            yield f"{name} learned from other data, {learned}; it may have seen some of these."


def _draw(table: "Table") -> None:
    """As wide as a terminal, which leaves room for six columns and one of their intervals."""
    from rich.table import Table as Drawn
    from rich.text import Text

    first, *others = table.columns[:6]
    drawn = Drawn(title=Text(table.title), title_justify="left", box=None, pad_edge=False)
    drawn.add_column("", overflow="fold")
    for title in (first, "95 %", *others):
        drawn.add_column(title, justify="right", overflow="fold", no_wrap=title == "95 %")
    for name, ((mean, interval), *cells) in table.rows.items():
        drawn.add_row(Text(name), mean, interval, *(other for other, _ in cells[: len(others)]))
    print_table(drawn)
    print_result("")
