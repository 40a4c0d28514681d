"""`flowercolor eval`."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowercolor.cli import console
from flowercolor.cli.console import Checkpoint, Device, MaxMegapixels, command
from flowercolor.config import MAX_MEGAPIXELS
from flowercolor.errors import CheckpointError, SettingError
from flowercolor.torchrun import ranks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flowercolor.data.dataset import FlowerDataset
    from flowercolor.evaluation.report import Table
    from flowercolor.evaluation.setup import Loaded
    from flowercolor.progress import Progress


@command
def evaluate(
    results: Annotated[
        Path,
        typer.Option(
            help="Folder to write the pictures, the scores and the graphs into.", metavar="FOLDER"
        ),
    ] = Path("results"),
    checkpoint: Checkpoint = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            help="Put this checkpoint beside it, on the same photos; may be repeated.",
            metavar="CHECKPOINT",
        ),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            help="Archive or folder whose test split to use; may be repeated, as for train. "
            "[dim]\\[default: all that the run learned from, else the downloaded archive][/dim]",
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
    by: Annotated[
        Path | None,
        typer.Option(
            help="Also score each kind of photo apart, beside leaving it gray: a CSV table with "
            "the columns file (or name) and kind.",
            metavar="TABLE",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="Also show how many pictures still look like their flower, to a classifier that "
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
    hints: Annotated[
        bool,
        typer.Option(
            "--hints",
            help="Judge what hints are worth instead: the error against their number, beside "
            "spreading them with no network.",
        ),
    ] = False,
    vividness: Annotated[
        list[float] | None,
        typer.Option(
            help="Judge it here on its vividness scale, 0 to 1; may be repeated, for the curve. "
            "[dim]\\[default: the checkpoint's own][/dim]",
            metavar="SHARE",
            min=0,
            max=1,
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            help="At how many pixels squared to judge, a multiple of 16. "
            "[dim]\\[default: the checkpoint's][/dim]",
            metavar="PX",
            min=16,
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(help="Photos per step; changes the speed, not the scores.", min=1)
    ] = 1,
    max_megapixels: MaxMegapixels = MAX_MEGAPIXELS,
    device: Device = "auto",
) -> None:
    """Score a checkpoint on the test split, and write every test picture.

    The first score is the mean over the test photos of the L1 between generated and true
    picture, RGB in 0 to 1 at the training size. Others, with 95 % bootstrap intervals, stand
    beside it, and below it what the gray photo itself and mere median colors score. Under
    torchrun, several processes or machines share the photos.
    """
    console.say_at_start("Loading torch, which takes some seconds.")
    from flowercolor.checkpoint import missing_in_run
    from flowercolor.data.dataset import with_twins
    from flowercolor.data.sources import source_names
    from flowercolor.devices import pick_device
    from flowercolor.distributed import joined
    from flowercolor.evaluation import setup
    from flowercolor.evaluation.by_kind import read_kinds
    from flowercolor.evaluation.hints import check_hint_results
    from flowercolor.evaluation.report import TABLES, check_results, write_results
    from flowercolor.files import check_folder_name
    from flowercolor.runs import SCORES, read_metrics

    console.check_output(results)
    check_folder_name(results)
    if whole and (twins or labels or validation):
        option = "--twins" if twins else "--labels" if labels else "--validation"
        raise SettingError(
            f"{option} needs a training split, --whole has none; leave one of them out"
        )
    if hints and (twins or labels or by):
        option = "--twins" if twins else "--labels" if labels else "--by"
        raise SettingError(f"{option} and --hints do not go together; leave one of them out")
    leads = ranks().leads
    progress = console.progress_of_leader()
    candidates = setup.choose_candidates(checkpoint, compare or (), vividness or ())
    target = pick_device(device)
    loaded = setup.load_candidates(candidates, target)
    size_px = setup.common_size_px(loaded, size)
    files = list(dict.fromkeys(candidate.path for candidate in candidates.values()))
    for file in files if leads else ():
        missing = missing_in_run(file)
        console.say(f"Judging {file}" + (f": {missing}" if missing else ""))

    metrics = read_metrics(files[0].parent)
    if hints:  # before what takes long
        check_hint_results(results)
        _check_branches(loaded)
    else:
        check_results(results, losses=bool(metrics))
    with joined(target), _stop_told(results):
        with console.quiet_libraries():
            photos = setup.choose_photos(
                loaded,
                size_px,
                sources=data or (),
                part="whole" if whole else "validation" if validation else "test",
                results=results,
                max_pixels=max_megapixels * 1_000_000,
                progress=progress,
            )
        test_set, train_set = photos.test_set, photos.train_set
        left_out = with_twins(twins, test_set, train_set, progress) if twins and train_set else ()
        sources = [str(part.source) for part in test_set.sources]
        kinds: Sequence[str] = source_names(test_set) if len(sources) > 1 else ()
        if by:
            kinds = read_kinds(by, test_set, progress)
        for note in photos.notes if leads else ():
            console.say(note)
        if hints:
            _judge_hints(loaded, test_set, results, batch_size, progress)
            return
        tables = write_results(
            {name: item.generator for name, item in loaded.items()},
            test_set,
            results,
            about={
                "checkpoints": {
                    name: {
                        "path": str(candidate.path),
                        "epoch": loaded[name].info.epoch,
                        "vividness": candidate.vividness,
                    }
                    for name, candidate in candidates.items()
                },
                "data": sources[0],
                **({"sources": sources} if len(sources) > 1 else {}),
                "size_px": size_px,
                "labels": str(labels) if labels else None,
            },
            train_set=train_set,
            recognizer=setup.train_recognizer(labels, photos, target, progress) if labels else None,
            left_out=left_out,
            kinds=kinds,
            grouping="kind" if by else "source",
            metrics=metrics,
            metrics_part=next(iter(loaded.values())).info.config.test_part,
            notes=photos.notes,
            one_checkpoint=bool(vividness),
            batch_size=batch_size,
            progress=progress,
        )
    if not leads:
        return
    if not metrics:
        begun = missing_in_run(files[0])
        why = "no epoch of its run has ended" if begun else "this checkpoint is of no run's folder"
        console.say(f"No graph of the losses: {why}.")

    for table in tables:
        _print(table)
    console.say(f"Every figure's interval: {results / TABLES}")
    console.print_result(str(results / SCORES))


def _check_branches(loaded: "Mapping[str, Loaded]") -> None:
    for name, item in loaded.items():
        if item.generator.hints is None:
            path = str(item.candidate.path)
            train = console.command_line(
                "flowercolor", "train", "--recipe", "hints", "--start-from", path
            )
            raise CheckpointError(
                f"{name}: has no branch for hints; train one by `{train}`, or leave --hints out"
            )


@contextmanager
def _stop_told(results: Path) -> Iterator[None]:
    """Have Ctrl-C say of a folder that it holds a part of the results, where it does."""
    from flowercolor.files import read_json
    from flowercolor.runs import SCORES

    try:
        yield
    except KeyboardInterrupt:
        with suppress(ValueError, TypeError, AttributeError, OSError):
            if ranks().leads and read_json(results / SCORES).get("unfinished"):
                console.say(f"{results}: holds a part of the results; the same command begins anew")
        raise


def _judge_hints(
    loaded: "Mapping[str, Loaded]",
    test_set: "FlowerDataset",
    results: Path,
    batch_size: int,
    progress: "Progress | None",
) -> None:
    from flowercolor.evaluation import hints

    curves = {}
    for name, item in loaded.items():
        for where, clicks, counts in (
            ("anywhere", False, hints.COUNTS),
            ("clicks", True, hints.CLICKS),
        ):
            curves[f"{name}, {where}"] = hints.hint_curve(
                item.generator,
                test_set,
                counts=counts,
                clicks=clicks,
                batch_size=batch_size,
                progress=progress,
            )
    if ranks().leads:
        for table in hints.write_hint_curves(curves, results):
            _print(table)
        console.print_result(str(results / hints.HINTS_JSON))


def _print(table: "Table") -> None:
    """As wide as a terminal, which has room for six columns and the first one's interval.

    By kind every interval matters: each stands below its figure.
    """
    from rich.table import Table as RichTable
    from rich.text import Text

    titles = table.columns[:6]
    if not table.by_kind:
        titles.insert(1, "95 %")
    drawn = RichTable(title=Text(table.title), title_justify="left", box=None, pad_edge=False)
    drawn.add_column("", overflow="fold")
    for title in titles:
        whole_word = title == "95 %" or table.by_kind
        drawn.add_column(title, justify="right", overflow="fold", no_wrap=whole_word)
    for name, cells in table.rows.items():
        if table.by_kind:
            texts = [f"{mean}\n{interval}" for mean, interval in cells[:6]]
        else:
            texts = [*cells[0], *(mean for mean, _ in cells[1:6])]
        drawn.add_row(Text(name), *texts)
    console.print_table(drawn)
    console.print_result("")
