"""What a run needs before its first step: settings, photos, a folder, first weights, and checks."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import torch
from torch import Tensor

from flowercolor import paths
from flowercolor._version import __version__
from flowercolor.checkpoint import CheckpointInfo, load_generator, load_tensors, read_info
from flowercolor.config import STRIDE, NetworkConfig, TrainConfig, recipe
from flowercolor.data.dataset import (
    FlowerDataset,
    get_data,
    read_labels,
    split_validation,
    with_twins,
)
from flowercolor.data.oxford102 import download_archive
from flowercolor.data.photo_cache import check_outside
from flowercolor.distributed import check_alike, in_turn
from flowercolor.errors import CheckpointError, DataError, SettingError
from flowercolor.files import is_there, storage_errors, write_text
from flowercolor.networks.efficientnet_lite import check_pretrained, load_pretrained
from flowercolor.networks.unet import UNet
from flowercolor.progress import Progress
from flowercolor.runs import BEST, CONFIG, LAST, find_checkpoint, find_run, find_source, name_of
from flowercolor.torchrun import ranks
from flowercolor.training.gan import GAN
from flowercolor.training.state import RunState


@dataclass(frozen=True)
class RunPlan:
    """What is to be trained, from what and where.

    Attributes:
        config: The settings.
        run: The run's folder; None for a new one.
        resume: Whether it goes on from what is there.
        start_from: The checkpoint whose generator it begins with.
        data: The archive or folder of photos; None for the Oxford 102 flowers.
        labels: The table of the photos' classes.
        left_out: Photos to take out of the training set.
    """

    config: TrainConfig
    run: Path | None = None
    resume: bool = False
    start_from: Path | None = None
    data: Path | None = None
    labels: Path | None = None
    left_out: Sequence[str] = ()


def plan_run(
    *,
    recipe_name: str | None = None,
    settings: Mapping[str, Any] | None = None,
    out: Path | None = None,
    start_from: str | None = None,
    resume: str | None = None,
    data: Path | None = None,
    labels: Path | None = None,
) -> RunPlan:
    """The run that a person means, checked as far as can be before any photo is read.

    Args:
        recipe_name: The recipe that the settings change; None for "faithful".
        settings: Settings by name, the network's among them.
        out: The run's folder; None for a new one in the data directory.
        start_from: A checkpoint as for `runs.find_checkpoint`; the run's network is like it.
        resume: The run to go on with, as for `runs.find_run`, with its own settings and photos.
        data: The archive or folder of photos; None for the resumed run's, or the Oxford 102.
        labels: The table of the photos' classes; None for the resumed run's, or none.

    Raises:
        SettingError: The options contradict each other, a value is out of range, or `out` holds a
            run or lies among the photos.
        CheckpointError: There is no such run or checkpoint, or its network is another.
        DataError: The resumed run does not say where its photos are.
    """
    if resume is not None:
        if any(given is not None for given in (out, start_from, recipe_name)):
            raise SettingError(
                "--resume goes on in the run's own folder, with its own settings; leave out "
                "--out, --start-from and --recipe"
            )
        plan = _resumed_plan(find_run(resume), data, labels)
    else:
        if out:
            check_folder(out, data)
        origin = None if start_from is None else find_checkpoint(start_from)
        config = recipe("faithful" if recipe_name is None else recipe_name)
        if origin:
            config = replace(config, network=read_info(origin).config.network)
        plan = RunPlan(config, out, False, origin, data, labels)
    plan = replace(plan, config=plan.config.changed(**(settings or {})))
    check_labels(plan.config, plan.labels)
    if not plan.resume:
        check_beginning(plan.config, plan.start_from)
    return plan


def _resumed_plan(run: Path, data: Path | None, labels: Path | None) -> RunPlan:
    info = read_info(run / LAST)
    data = data or find_source(run)
    if not data and (name := info.data.get("name")) != paths.ARCHIVE_NAME:
        raise DataError(
            f"{run}: learned from {name}, and no {CONFIG} there says where that is; say so by "
            "--data"
        )
    labels = labels or find_source(run, "labels")
    return RunPlan(info.config, run, True, None, data, labels, info.data.get("left_out", []))


class RunData(NamedTuple):
    """The photos of a run.

    Attributes:
        train: Those to learn from.
        test: Those to score on after each epoch.
        left_out: The names of those that were taken out of the training set.
    """

    train: FlowerDataset
    test: FlowerDataset
    left_out: Sequence[str]


def read_run_data(
    plan: RunPlan, twins: Path | None = None, progress: Progress | None = None
) -> RunData:
    """Read the photos of a run, fetching the Oxford 102 flowers where those are meant and missing.

    Args:
        plan: Which photos, at which size, and whether the validation part takes the test's place.
        twins: A list of pairs as for `dataset.with_twins`, in place of what the plan leaves out.
        progress: Told of each photo.

    Raises:
        DataError: The photos cannot be read, or are too few.
        DownloadError: The flowers cannot be fetched.
    """
    with in_turn():
        source = plan.data or download_archive(progress=progress).path
        train_set, test_set = get_data(source, plan.config.size_px, progress)
    left_out = with_twins(twins, train_set, test_set) if twins else plan.left_out
    train_set = train_set.without(left_out)
    if plan.config.validation:
        train_set, test_set = split_validation(train_set)
    return RunData(train_set, test_set, left_out)


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


class Beginning(NamedTuple):
    """What a run begins with, once all has been checked.

    Attributes:
        header: What its checkpoints are to say of themselves.
        classes: int64 [N], the class of each training photo; None without labels.
        class_count: How many classes there are.
    """

    header: CheckpointInfo
    classes: Tensor | None
    class_count: int


def prepare(
    config: TrainConfig,
    data: RunData,
    run: Path,
    *,
    resume: bool,
    start_from: Path | None,
    labels: Path | None,
) -> Beginning:
    """Check that the settings, photos and folder of a run go together, and read its labels.

    Raises:
        SettingError, DataError, CheckpointError: As `loop.train` says.
    """
    train_set = data.train
    _check_photos(config, data)
    check_labels(config, labels)
    if not resume:
        check_folder(run, train_set.photos.source)
        check_beginning(config, start_from)
    elif start_from:
        raise SettingError(f"{run}: a run is resumed or begun from a checkpoint, not both")
    classes = read_labels(labels, train_set.photos)[train_set.indices] if labels else None
    header = CheckpointInfo(
        config,
        data={
            "name": train_set.photos.source.resolve().name,
            "fingerprint": train_set.photos.fingerprint,
            "train_photos": len(train_set),
            "test_photos": len(data.test),
            "photos_crc32": _crc32_of(train_set, data.test),
            "left_out": list(data.left_out),
            **({} if classes is None else {"classes_crc32": crc32(classes.numpy().tobytes())}),
        },
        note=_origin(config, start_from),
    )
    check_alike(json.dumps({**header.data, "name": ""}), train_set.photos.source)
    return Beginning(header, classes, 0 if classes is None else int(classes.max()) + 1)


def load_first_weights(generator: UNet, start_from: Path | None) -> None:
    """Give a generator of random weights those of a checkpoint, or its encoder the published ones.

    Raises:
        CheckpointError: There is no such checkpoint, or it does not fit.
        SettingError: The encoder's weights are not installed.
    """
    if start_from:
        generator.load_state_dict(load_generator(start_from)[0].state_dict())
    elif generator.config.encoder != "plain":
        load_pretrained(generator.downs)


def restore_run(gan: GAN, path: Path, header: CheckpointInfo) -> tuple[CheckpointInfo, RunState]:
    """Put what was saved into the networks and optimizers, if the run may go on as `header` says.

    Returns:
        The run's own header, with the settings of now, and how far it is.

    Raises:
        CheckpointError: There is nothing to go on from, or it is of other settings or photos.
    """
    saved, tensors = load_tensors(path)
    if "photos_crc32" not in saved.data:
        raise CheckpointError(
            f"{path}: flowercolor {saved.version} wrote it in a form that this version cannot go "
            f"on from; begin another run with --start-from it"
        )
    # A run may be made longer, and tested faster; all else decides what is learned.
    free = {
        name: getattr(header.config, name) for name in ("epochs", "patience", "test_batch_size")
    }
    if (was := replace(saved.config, **free)) != header.config:
        old, new = ({**asdict(one), **asdict(one.network)} for one in (was, header.config))
        others = ", ".join(
            f"{name} {value}, not {new[name]}"
            for name, value in old.items()
            if name != "network" and value != new[name]
        )
        raise CheckpointError(
            f"{path}: written with other settings than those given now: {others}; "
            "resume with the run's own, or start another run"
        )
    if {**saved.data, "name": ""} != {**header.data, "name": ""}:
        raise CheckpointError(
            f"{path}: trained on other photos or classes than those given now; resume with the "
            "run's own --data, --labels and --twins, or start another run"
        )
    gan.restore(tensors, path)
    renewed = replace(saved, config=header.config, data=header.data, version=header.version)
    return renewed, RunState.of(saved)


def write_config(
    run: Path,
    header: CheckpointInfo,
    sources: Mapping[str, Path | None],
    how: Mapping[str, object],
) -> None:
    """Write a run's `config.json`.

    Args:
        run: The run's folder.
        header: What its checkpoints say of themselves.
        sources: Where `source` and `labels` are.
        how: On which device, in which precision, and whether compiled.
    """
    where = {name: str(path.resolve()) for name, path in sources.items() if path}
    about = {
        "config": asdict(header.config),
        "data": {**header.data, **where},
        "note": header.note,
        **how,
        "processes": ranks().size,
        "torch": torch.__version__,
        "flowercolor": __version__,
    }
    write_text(run / CONFIG, json.dumps(about, indent=1) + "\n")


def check_labels(config: TrainConfig, labels: Path | None) -> None:
    """Make sure that there are labels where they have a weight, and only there.

    Raises:
        SettingError: There is one without the other.
    """
    if bool(config.lambda_class) != bool(labels):
        raise SettingError(
            f"lambda_class is {config.lambda_class}, and there are "
            f"{f'labels, {labels}' if labels else 'no labels'}; give both or neither"
        )


def check_folder(run: Path, source: Path | None = None) -> None:
    """Make sure that a new run may begin in this folder.

    Args:
        run: The folder.
        source: The archive or folder of photos that it is to learn from, where that is known.

    Raises:
        SettingError: It holds one already, whose best network would pass for the new one's; or
            it lies among the photos, for which its sheets and graphs would pass.
    """
    if source:
        check_outside(run, source)
    found = [name for name in (LAST, BEST) if is_there(run / name)]
    if found:
        way = "go on with it by --resume" if LAST in found else f"delete its {BEST}"
        raise SettingError(f"{run}: holds a run already; {way}, or name another folder")


def check_beginning(config: TrainConfig, start_from: Path | None) -> None:
    """Make sure that a run has the weights that it needs to begin with.

    Args:
        config: The run's settings.
        start_from: The checkpoint that it begins with; None where all weights begin at random,
            but for those of a pretrained encoder.

    Raises:
        SettingError: Weights that begin at random would stay so, or the encoder's are missing.
        CheckpointError: There is no such checkpoint, or its network is another.
    """
    if start_from:
        network = read_info(start_from).config.network
        if network != config.network:
            raise CheckpointError(
                f"{start_from}: a network of {_described(network)} cannot go on as one of "
                f"{_described(config.network)}; expected the same: change --base-channels, "
                "--output or --encoder"
            )
    elif config.freeze_deep:
        raise SettingError(
            "freeze_deep keeps most weights as they begin, and some would begin at random; "
            "start from a trained network, or leave freeze_deep out"
        )
    elif config.network.encoder != "plain":
        check_pretrained()


def _described(network: NetworkConfig) -> str:
    return ", ".join(f"{name} {value}" for name, value in asdict(network).items())


def _origin(config: TrainConfig, start_from: Path | None) -> str:
    if start_from:
        return f"Begun with the generator of {name_of(start_from)}."
    if config.network.encoder != "plain":
        return f"Begun with the published weights of {config.network.encoder}."
    return ""


def knows_test_photos(header: CheckpointInfo, start_from: Path) -> bool:
    """Whether what a run begins with has learned from the validation part that it is tested on."""
    parent = read_info(start_from)
    same_photos = parent.data.get("fingerprint") == header.data["fingerprint"]
    return header.config.validation and same_photos and not parent.config.validation


def _check_photos(config: TrainConfig, data: RunData) -> None:
    """Make sure that the settings can learn from these photos."""
    count = len(data.train)
    if not (count and len(data.test)):
        raise DataError(
            f"{data.train.photos.source}: leaves {count} photos to learn from and "
            f"{len(data.test)} to test on; expected one of each or more"
        )
    for photos in (data.train.photos, data.test.photos):
        if (side_px := photos.rgb.shape[1]) != config.size_px:
            raise SettingError(
                f"size_px is {config.size_px}, and the photos of {photos.source} were read at "
                f"{side_px} px; read them at the size of the settings"
            )
    sizes = {config.batch_size, count % config.batch_size} - {0}
    if config.size_px == STRIDE and min(sizes) // ranks().size <= 1:
        # The lowest level is 1x1 there: one value a channel, of which no variance can be had.
        shared = f" shared by {ranks().size} processes" if ranks().size > 1 else ""
        raise SettingError(
            f"size_px is {STRIDE}, and {count} photos in batches of {config.batch_size}"
            f"{shared} leave a batch of one, too little for batch norm; choose another size or "
            "batch size"
        )


def _crc32_of(train_set: FlowerDataset, test_set: FlowerDataset) -> int:
    """Which photos they are, and in which order."""
    names = [[part.photos.fingerprint, *part.names] for part in (train_set, test_set)]
    return crc32(json.dumps(names).encode())
