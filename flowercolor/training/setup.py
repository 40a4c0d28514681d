"""What a run needs before its first step: checks, labels, a header, first weights."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import torch
from torch import Tensor

from flowercolor._version import __version__
from flowercolor.checkpoint import (
    CheckpointInfo,
    default_taken,
    load_generator,
    load_tensors,
    missing_in_run,
    read_info,
)
from flowercolor.config import STRIDE, NetworkConfig, TrainConfig
from flowercolor.data.dataset import FlowerDataset, check_classes, in_words, read_labels
from flowercolor.data.sources import (
    Pool,
    check_outside,
    epoch_length,
    epoch_pools,
    source_names,
)
from flowercolor.distributed import check_alike
from flowercolor.errors import CheckpointError, DataError, SettingError, counted
from flowercolor.evaluation.by_kind import read_kinds
from flowercolor.files import check_folder_name, is_there, resolved, write_text
from flowercolor.networks.efficientnet_lite import check_pretrained, load_pretrained
from flowercolor.networks.unet import UNet
from flowercolor.progress import Progress
from flowercolor.runs import BEST, CONFIG, LAST, check_free_of_others, name_of, read_config
from flowercolor.torchrun import ranks
from flowercolor.training.gan import GAN
from flowercolor.training.resume import (
    RunState,
    content_of,
    difference,
    same_photos,
    saying_how_without,
)


class RunData(NamedTuple):
    """The photos of a run.

    Attributes:
        left_out: The names of those that were taken out of the training set.
        shares: The share of each source in an epoch; none where each photo comes once.
    """

    train: FlowerDataset
    test: FlowerDataset
    left_out: Sequence[str] = ()
    shares: Sequence[float | None] = ()


def prepare(
    config: TrainConfig,
    data: RunData,
    run: Path,
    *,
    resume: bool,
    start_from: Path | None,
    labels: Path | None,
    progress: Progress | None = None,
) -> tuple[CheckpointInfo, Tensor | None, list[Pool]]:
    """Check that the settings, photos and folder of a run go together, and read its labels.

    Returns:
        What its checkpoints are to say of themselves; the class of each training photo, int64 [N],
        -1 for none, or None without labels; the `epoch_pools`.

    Raises:
        SettingError, DataError, CheckpointError: As `loop.train` says.
    """
    train_set = data.train
    sources = [photos.source for photos in train_set.sources]
    pools = epoch_pools(train_set, data.shares)
    _check_photos(config, data, epoch_length(train_set, pools))
    check_labels(config, labels)
    if not resume:
        check_folder(run, sources)
        check_beginning(config, start_from)
    elif start_from:
        raise SettingError(f"{run}: a run is resumed or begun from a checkpoint, not both")
    classes = read_classes(labels, train_set, progress) if labels else None
    header = CheckpointInfo(
        config,
        data={
            "name": " + ".join(resolved(source).name for source in sources),
            "fingerprint": train_set.fingerprint,
            "train_photos": len(train_set),
            "test_photos": len(data.test),
            "photos_crc32": _crc32_of(train_set, data.test),
            "content_crc32": data.test.crc32(train_set.crc32()),
            "left_out": list(data.left_out),
            **({} if classes is None else {"classes_crc32": crc32(classes.numpy().tobytes())}),
            **({"sources": _described_sources(data)} if len(sources) > 1 else {}),
        },
        note=_origin(config, start_from),
    )
    check_alike(json.dumps(content_of(header.data)), sources[0])
    return header, classes, pools


def _described_sources(data: RunData) -> list[dict[str, Any]]:
    counts = [
        torch.bincount(part.source_numbers, minlength=len(part.sources)).tolist()
        for part in (data.train, data.test)
    ]
    shares = data.shares or [None] * len(data.train.sources)
    return [
        {
            "name": resolved(photos.source).name,
            "fingerprint": photos.fingerprint,
            "share": share,
            "train_photos": train_photos,
            "test_photos": test_photos,
        }
        for photos, share, train_photos, test_photos in zip(
            data.train.sources, shares, *counts, strict=True
        )
    ]


def score_groups(
    test_set: FlowerDataset, by: Path | None = None, progress: Progress | None = None
) -> dict[str, list[str]]:
    """The groups in which test photos are scored apart: by source, and by kind.

    Args:
        by: A table as for `by_kind.read_kinds`.

    Returns:
        By grouping, the group of each of the N photos, "" for none.

    Raises:
        DataError: The table cannot be read, or names none of the photos.
    """
    groups = {}
    if len(test_set.sources) > 1:
        groups["by_source"] = source_names(test_set)
    if by:
        groups["by_kind"] = read_kinds(by, test_set, progress)
    return groups


def load_first_weights(generator: UNet, start_from: Path | None) -> None:
    """Give a generator of random weights those of a checkpoint, or its encoder the published ones.

    Raises:
        CheckpointError, SettingError: As `check_beginning` says.
    """
    if start_from:
        state = load_generator(start_from)[0].state_dict()
        if generator.hints is None:
            state = {name: value for name, value in state.items() if not name.startswith("hints.")}
        # A branch for hints that the checkpoint lacks keeps its random weights.
        generator.load_state_dict({**generator.state_dict(), **state})
    elif generator.config.encoder != "plain":
        load_pretrained(generator.downs)


def restore_run(
    gan: GAN, path: Path, header: CheckpointInfo, sources: Sequence[Path]
) -> tuple[CheckpointInfo, RunState]:
    """Put what was saved into the networks and optimizers, if the run may go on as `header` says.

    Args:
        sources: Where its photos lie now.

    Returns:
        The run's own header, with the settings of now, and how far it is.

    Raises:
        CheckpointError: There is nothing to go on from, or it is of other settings or photos.
    """
    with saying_how_without(path):
        saved, tensors = load_tensors(path)
    if "photos_crc32" not in saved.data:
        raise CheckpointError(
            f"{path}: flowercolor {saved.version} wrote it in a form that this version cannot go "
            f"on from; begin another run with `start_from` it"
        )
    # A run may be made longer, and tested faster; all else decides what is learned.
    free = {
        name: getattr(header.config, name) for name in ("epochs", "patience", "test_batch_size")
    }
    if (was := replace(saved.config, **free)) != header.config:
        old, new = ({**asdict(c), **asdict(c.network)} for c in (was, header.config))
        others = ", ".join(
            f"{_setting(name, value)}, not {_setting('', new[name])}"
            for name, value in old.items()
            if name != "network" and value != new[name]
        )
        raise CheckpointError(
            f"{path}: written with other settings than those given now: {others}; "
            "resume with the run's own, or start another run"
        )
    if not same_photos(saved.data, header.data):
        found = "photos, shares or classes than those given now"
        way = "resume with the run's own `data`, `labels` and `twins`"
        changed = all(
            saved.data.get(sum_of) != header.data[sum_of]
            for sum_of in ("fingerprint", "content_crc32")
        )
        if changed and _places(path.parent) == [str(resolved(source)) for source in sources]:
            found = f"photos than are in {' and '.join(map(str, sources))} now"
            way = "they have changed since: put them back, or name where they are by `data`"
        differ = difference(saved.data, header.data)
        raise CheckpointError(
            f"{path}: trained on other {found}: {differ}; {way}, or start another run"
        )
    gan.restore(tensors, path)
    renewed = replace(saved, config=header.config, data=header.data, version=header.version)
    return renewed, RunState.of(saved)


def _places(run: Path) -> object:
    """Where the photos of a run lay, as `write_config` writes it."""
    data = read_config(run)
    return data.get("sources", [data.get("source")])


def write_config(
    run: Path,
    header: CheckpointInfo,
    sources: Sequence[Path],
    tables: Mapping[str, Path | None],
    how: Mapping[str, object],
) -> None:
    """Write a run's `config.json`, with the places of its `tables` and how it is computed."""
    data: dict[str, Any] = {**header.data, "source": str(resolved(sources[0]))}
    data |= {name: str(resolved(path)) for name, path in tables.items() if path}
    if len(sources) > 1:
        data |= {"sources": [str(resolved(source)) for source in sources]}
        data |= {"of_each": header.data["sources"]}
    about = {
        "config": asdict(header.config),
        "data": data,
        "note": header.note,
        **how,
        "processes": ranks().size,
        "torch": torch.__version__,
        "flowercolor": __version__,
    }
    write_text(run / CONFIG, json.dumps(about, indent=1) + "\n")


def read_classes(
    labels: Path, train_set: FlowerDataset, progress: Progress | None = None
) -> Tensor:
    """The class of each photo to learn from, int64 [N], -1 for none.

    Raises:
        DataError: As `dataset.read_labels` and `dataset.check_classes` say.
    """
    classes = read_labels(labels, *train_set.sources, partly=True)[train_set.indices]
    check_classes(labels, classes)
    lacking = int((classes < 0).sum())
    if lacking and progress:
        progress.note(
            f"{labels}: names no class for {lacking:,} of the {len(classes):,} photos to learn "
            "from; they teach none"
        )
    return classes


def check_labels(config: TrainConfig, labels: Path | None) -> None:
    """Refuse labels without a weight, and a weight without labels, by a `SettingError`."""
    if bool(config.lambda_class) != bool(labels):
        raise SettingError(
            f"lambda_class is {config.lambda_class}, and there are "
            f"{f'labels, {labels}' if labels else 'no labels'}; give both or neither, such as "
            "`lambda_class` 0.3 with `labels` labels.csv"
        )


def check_folder(run: Path, sources: Sequence[Path] = ()) -> None:
    """Make sure that a new run may begin in this folder.

    Raises:
        SettingError: It is no folder; it holds one already, whose best network would pass for the
            new one's, or a file of somebody's that the new one would write over; or it lies among
            the sources' photos, for which its sheets and graphs would pass.
    """
    check_folder_name(run)
    for source in sources:
        check_outside(run, source)
    found = [name for name in (LAST, BEST) if is_there(run / name)]
    if found:
        way = "go on with it by `resume`"
        if LAST not in found:
            way = f"without a {LAST} it cannot go on: delete its {BEST}"
        raise SettingError(f"{run}: holds a run already; {way}, or name another folder")
    check_free_of_others(run)


def check_beginning(config: TrainConfig, start_from: Path | None) -> None:
    """Make sure that a run has the weights that it needs to begin with.

    Raises:
        SettingError: Weights that begin at random would stay so, the encoder's are missing,
            classes would reach no weight that learns, or hints are to be learned beside what they
            are not learned with.
        CheckpointError: There is no such checkpoint, or its network is another.
    """
    others = ("lambda_adv", "lambda_color", "lambda_class", "freeze_deep")
    if config.network.hints and any(getattr(config, name) for name in others):
        raise SettingError(
            "`hints` trains the branch for hints by L1 alone, and "
            f"{', '.join(f'`{name}`' for name in others)} are not all off; take the recipe hints, "
            "or leave `hints` out"
        )
    if config.freeze_deep and config.lambda_class:
        raise SettingError(
            "`lambda_class` teaches the way down alone, which `freeze_deep` keeps as it is; leave "
            "one of them out"
        )
    if start_from:
        network = replace(read_info(start_from).config.network, hints=config.network.hints)
        if network != config.network:
            was, asked = differing(network, config.network)
            raise CheckpointError(
                f"{start_from}: a network of {was} cannot go on as one of {asked}; expected the "
                "same, or another `start_from`"
            )
    elif config.freeze_deep or config.network.hints:
        name = "freeze_deep" if config.freeze_deep else "hints"
        raise SettingError(
            f"`{name}` needs a trained network, most of whose weights it keeps: give `start_from` "
            f"bundled, or a run; or leave `{name}` out"
        )
    elif config.network.encoder != "plain":
        check_pretrained()


def differing(network: NetworkConfig, other: NetworkConfig) -> tuple[str, str]:
    """What of two networks is not the same, as a person gives it; "" where all is."""
    old, new = asdict(network), asdict(other)
    names = [name for name in old if old[name] != new[name]]
    first, second = (", ".join(_setting(n, values[n]) for n in names) for values in (old, new))
    return first, second


def _setting(name: str, value: object) -> str:
    """As a person gives it, for whom it is an option."""
    shown = ("off", "on")[value] if isinstance(value, bool) else value
    return f"`{name}` {shown}" if name else f"{shown}"


def _origin(config: TrainConfig, start_from: Path | None) -> str:
    if start_from:
        return f"Begun with the generator of {name_of(start_from)}."
    if config.network.encoder != "plain":
        return f"Begun with the published weights of {config.network.encoder}."
    return ""


def notes_on_beginning(header: CheckpointInfo, start_from: Path) -> Iterator[str]:
    """What a person should know of a run that begins with a checkpoint."""
    parent, config = read_info(start_from), header.config
    if missing := missing_in_run(start_from):
        yield f"{start_from}: {missing}"
    lost = [f"{taken}, and the scale is not kept"] if (taken := default_taken(start_from)) else []
    if parent.config.network.hints and not config.network.hints:
        lost.append(
            "has a branch for hints, palettes and variants, which is not kept: "
            "`train --recipe hints --start-from` this run trains one anew"
        )
    if lost:
        yield f"{name_of(start_from)} {'; it '.join(lost)}"
    if (px := parent.config.size_px) != config.size_px:
        yield (
            f"{start_from}: learned at {px} px, and this run learns at {config.size_px} px; give "
            f"`size_px` {px} to stay there"
        )
    same_photos = parent.data.get("fingerprint") == header.data["fingerprint"]
    if config.validation and same_photos and not parent.config.validation:
        yield (
            "What this run began with has learned from the validation part: the test score, which "
            "is taken there, will be too good"
        )


def _check_photos(config: TrainConfig, data: RunData, epoch_photos: int) -> None:
    """Make sure that the settings can learn from these photos."""
    count = len(data.train)
    if not (count and len(data.test)):
        raise DataError(
            f"{in_words(data.train.sources)}: leaves {counted(count, 'photo')} to learn from and "
            f"{len(data.test)} to test on; expected one of each or more"
        )
    if config.validation and data.train.kept_for_validation.any():
        raise SettingError(
            "validation is True, and the photos to learn from hold those that it keeps apart; give "
            "the two sets that `flowercolor.data.dataset.split_validation(train_set)` makes"
        )
    for photos in (*data.train.sources, *data.test.sources):
        if (side_px := photos.rgb.shape[1]) != config.size_px:
            raise SettingError(
                f"size_px is {config.size_px}, and the photos of {photos.source} were read at "
                f"{side_px} px; read them at the size of the settings"
            )
    sizes = {config.batch_size, epoch_photos % config.batch_size} - {0}
    if config.size_px == STRIDE and min(sizes) // ranks().size <= 1:
        # The lowest level is 1x1 there: one value a channel, of which no variance can be had.
        shared = f" shared by {ranks().size} processes" if ranks().size > 1 else ""
        raise SettingError(
            f"size_px is {STRIDE}, and batches of {config.batch_size} of "
            f"{counted(epoch_photos, 'photo')}{shared} leave a batch of one, too little for batch "
            "norm; choose another size or batch size"
        )


def _crc32_of(train_set: FlowerDataset, test_set: FlowerDataset) -> int:
    """Which photos they are, and in which order."""
    names = [[part.fingerprint, *part.names] for part in (train_set, test_set)]
    return crc32(json.dumps(names).encode())
