"""Checkpoints: weights on disk that say what they are, and the state a run is resumed from.

A checkpoint is one safetensors file. Its header holds one JSON text, the `CheckpointInfo`. Its
tensors, by prefix:

    generator.      the generator that is used
    vivid.          with a vividness scale: of a second generator, the tensors that differ from
                    the first; `load_generator` interpolates between the two
    live.           to resume: the weights that learn, where `generator.` is their running average
    discriminator.  classifier.  optimizer_g.  optimizer_d.  totals     to resume

Nothing is unpickled.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from flowercolor._version import __version__
from flowercolor.config import TrainConfig, in_range
from flowercolor.errors import CheckpointError, SettingError, one_line
from flowercolor.files import is_file, is_folder, parse_json, replacing
from flowercolor.installation import needed_for
from flowercolor.runs import BEST, LAST, describes_photos, is_number, name_of

if TYPE_CHECKING:  # torch loads in 2 s, which reading headers and coloring by onnxruntime spare
    import torch
    from torch import Tensor, nn

    from flowercolor.networks.unet import UNet

Arrays = dict[str, npt.NDArray[Any]]
Value = TypeVar("Value")

VIVID = "vivid."
_FORMAT = 1
_HEADER_KEY = "flowercolor"


@dataclass(frozen=True)
class CheckpointInfo:
    """What a checkpoint says of itself.

    Attributes:
        config: The run's settings, the generator's among them.
        step: Steps done of the epoch after those.
        test_l1: Mean L1 on the test split at the last full epoch; None before the first.
        best_l1: The same at the best epoch up to here.
        data: The training data: `name`, `fingerprint`, `train_photos`, `test_photos`,
            `photos_crc32`, of which photos in which order, `left_out` and, where classes were
            learned, `classes_crc32`.
        note: What else a reader should know, such as what the run began with.
        created: When its run began, ISO 8601 in UTC.
        version: The version of flowercolor that wrote it.
        vividness: The default on its vividness scale, 0 to 1; None where it has none.
        best_score: What the best epoch was chosen by, the lower the better; see
            `TrainConfig.criterion`.
        best_epoch: Which it was.
        start_l1: The test L1 of the checkpoint that its run began with, if any.

    Raises:
        SettingError: A value is of another type or out of its range.
    """

    config: TrainConfig
    epoch: int = 0
    step: int = 0
    test_l1: float | None = None
    best_l1: float | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    version: str = __version__
    vividness: float | None = None
    best_score: float | None = None
    best_epoch: int = 0
    start_l1: float | None = None

    def __post_init__(self) -> None:
        for name in ("epoch", "step", "best_epoch"):
            value = getattr(self, name)
            if type(value) is not int or value < 0:
                raise SettingError(f"{name} is {value!r}; expected a whole number of 0 or more")
        for name in ("test_l1", "best_l1", "best_score", "start_l1", "vividness"):
            value, highest = getattr(self, name), 1 if name == "vividness" else math.inf
            if value is not None and not (is_number(value) and 0 <= value <= highest):
                expected = "0 or more" if highest == math.inf else f"0 to {highest}"
                raise SettingError(f"{name} is {value!r}; expected {expected}, or none")
        for name in ("note", "created", "version"):
            if not isinstance(getattr(self, name), str):
                raise SettingError(f"{name} is {getattr(self, name)!r}; expected a text")
        if not describes_photos(self.data):
            raise SettingError("data is not what describes the photos of a run")

    def to_json(self) -> str:
        """The text that goes into the file's header."""
        return json.dumps({"format": _FORMAT, **asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The info that `to_json` gave.

        Raises:
            ValueError: The text is of another format or version, or a value is out of its range;
                the message says how.
        """
        try:
            values = parse_json(text)
        except ValueError as error:
            raise ValueError(f"its header {error}") from error
        try:
            found = values.pop("format", None)
            if found != _FORMAT:
                raise ValueError(f"it has format {found}; this version reads format {_FORMAT}")
            config = TrainConfig.from_dict(values.pop("config"))
            values.pop("knows_validation", None)  # older versions wrote it
            return cls(config, **values)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"its header is incomplete: {one_line(error)}") from error


def save_checkpoint(
    path: str | Path,
    info: CheckpointInfo,
    tensors: Mapping[str, "Tensor"],
    *,
    half: bool = False,
    overwrite: bool = True,
) -> None:
    """Write a checkpoint, whole or not at all, and forced to the disk.

    Args:
        tensors: Named as the head of this module says.
        half: Store floats in half precision, half the size, where they fit into its range; for
            sharing, not for resuming.

    Raises:
        StorageError: The disk is full, writing is not allowed, or, without `overwrite`, a file is
            there; it is untouched.
    """
    from safetensors.torch import save  # noqa: PLC0415

    flat = {
        name: (_to_half(tensor) if half and tensor.is_floating_point() else tensor)
        .detach()
        .contiguous()  # before it leaves a GPU, which does that faster
        .cpu()
        for name, tensor in tensors.items()
    }
    content = save(flat, metadata={_HEADER_KEY: info.to_json()})
    with replacing(Path(path), overwrite=overwrite, durable=True) as temporary:
        # Not `save_file`: it hides the OSError of a full disk in an error of its own.
        temporary.write_bytes(content)


def _to_half(tensor: "Tensor") -> "Tensor":
    # Half precision ends at 65,504. Variances of batch norm go beyond it where the discriminator's
    # gradient reaches the generator; infinite ones would blot their channels out.
    import torch  # noqa: PLC0415

    half = tensor.half()
    return half if torch.equal(half.isfinite(), tensor.isfinite()) else tensor


def read_info(path: str | Path) -> CheckpointInfo:
    """What the checkpoint says of itself, without loading its weights.

    Raises:
        CheckpointError: There is no such file, or it is not a whole checkpoint of ours.
    """
    return _read(path, prefixes=(), framework="numpy")[0]


def missing_in_run(path: Path) -> str:
    """What the run lacks whose last weights these are, in words; "" where they are its best.

    Raises:
        CheckpointError: The file cannot be read.
    """
    if path.name != LAST or is_file(path.with_name(BEST)):
        return ""
    if not read_info(path).epoch:
        return "no epoch of it has ended"
    return f"its {BEST} is missing, and {LAST} is taken"


def weights_name(path: Path) -> str:
    """What pictures say that colored them: a run's weights go on changing, so with their epoch.

    Raises:
        CheckpointError: The file cannot be read.
    """
    name = name_of(path)
    return f"{name} epoch {read_info(path).epoch}" if path.name in (BEST, LAST) else name


def default_taken(path: Path) -> str:
    """Where one network of a vividness scale is taken: which, in words; "" of what has none.

    Raises:
        CheckpointError: The file cannot be read.
    """
    vividness = read_info(path).vividness
    if vividness is None:
        return ""
    return f"is a vividness scale; its default, {vividness:g}, is taken"


def load_tensors(path: Path) -> tuple[CheckpointInfo, dict[str, "Tensor"]]:
    """Everything in a checkpoint, on the CPU.

    Raises:
        CheckpointError: There is no such file, or it is not a whole checkpoint of ours.
    """
    return _read(path, prefixes=("",), framework="pt")


def load_generator(
    path: str | Path, device: "torch.device | str" = "cpu", *, vividness: float | None = None
) -> "tuple[UNet, CheckpointInfo]":
    """The generator of a checkpoint, in float32 and evaluation mode, and what the file says.

    Args:
        vividness: On the vividness scale, 0 for the safe end to 1 for the vivid one; None means
            the file's own default. In between all weights are interpolated, batch norm's
            statistics too (Wang et al. 2018, section 3.4).

    Raises:
        CheckpointError: There is no such file, it is not a whole checkpoint of ours, its weights
            are not those of a trained network, or a vividness is given and it has no scale.
        SettingError: The vividness is not within 0 to 1.
    """
    with needed_for("load_generator"):
        import torch  # noqa: PLC0415

    from flowercolor.networks.unet import UNet  # noqa: PLC0415

    path = Path(str(path))
    info, weights = read_weights(path, vividness=vividness)
    with torch.device("meta"):  # random initial weights would take longer than all the rest
        generator = UNet(info.config.network)
    tensors = {name: torch.from_numpy(value) for name, value in weights.items()}
    load_into(generator, tensors, "", path, assign=True)
    return generator.to(device).to(memory_format=torch.channels_last).eval(), info


def read_weights(path: Path, *, vividness: float | None = None) -> tuple[CheckpointInfo, Arrays]:
    """What the file says, and the generator's state by torch's names, its floats in float32.

    The vividness and what is raised are as for `load_generator`, but weights may fit no network.
    """
    if vividness is not None:
        check_vividness(vividness)
    info, stored = read_ends(path)
    arrays = {
        name: value.astype(np.float32) if value.dtype.kind == "f" else value
        for name, value in stored.items()
    }
    if info.vividness is not None:
        _interpolate(arrays, info.vividness if vividness is None else vividness)
    elif vividness is not None:
        raise CheckpointError(
            f"{path}: holds one network and no vividness scale; leave `vividness` out, or join "
            "two checkpoints with `flowercolor join`"
        )
    return info, _below("generator.", arrays)


def read_ends(path: Path) -> tuple[CheckpointInfo, Arrays]:
    """What the file says, and its generator as it is stored, by the names in the file.

    With a vividness scale that is its safe end, and what is another at the vivid one. What is
    raised is as for `read_weights`.
    """
    info, arrays = _read(path, prefixes=("generator.", VIVID), framework="numpy")
    _check_weights(path, arrays)
    return info, arrays


def _check_weights(path: Path, arrays: Arrays) -> None:
    """Refuse weights whose pictures would come out black, and nothing would say so."""
    # A sum tells of one such number among many, faster than looking at each.
    with np.errstate(over="ignore", invalid="ignore"):
        sums = [float(value.sum(dtype=np.float32)) for value in arrays.values()]
    if not all(map(math.isfinite, sums)):
        found = "weights that are no finite numbers"
    elif any(
        value.dtype.kind != "f" and not name.endswith("num_batches_tracked")
        for name, value in arrays.items()
    ):
        found = "weights that are whole numbers"
    elif any((value < 0).any() for name, value in arrays.items() if name.endswith("running_var")):
        found = "variances below 0"
    else:
        return
    raise CheckpointError(
        f"{path}: holds {found}; expected those of a trained network: use another checkpoint"
    )


def _interpolate(arrays: Arrays, vividness: float) -> None:
    """Replace the generator by the one at this place between it, 0, and the vivid one, 1."""
    for vivid_name in [name for name in arrays if name.startswith(VIVID)]:
        name = "generator." + vivid_name.removeprefix(VIVID)
        safe, vivid = arrays.get(name), arrays[vivid_name]
        if safe is None or safe.shape != vivid.shape:
            arrays[name] = vivid  # which does not fit the network
        elif safe.dtype.kind == "f":
            weight = np.float32(vividness)  # exact at both ends, as torch's own `lerp`
            step = vivid - safe
            arrays[name] = safe + weight * step if weight < 0.5 else vivid - step * (1 - weight)


def check_vividness(vividness: float) -> None:
    """Refuse, by a `SettingError`, what is no place on a vividness scale, 0 to 1."""
    in_range("vividness", vividness, float, 0, 1)


def named(module: "nn.Module", prefix: str) -> dict[str, "Tensor"]:
    """The module's weights and buffers, their names behind `prefix`."""
    return {prefix + name: value for name, value in module.state_dict().items()}


def _below(prefix: str, values: Mapping[str, Value]) -> dict[str, Value]:
    return {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}


def load_into(
    module: "nn.Module",
    tensors: Mapping[str, "Tensor"],
    prefix: str,
    path: Path,
    *,
    assign: bool = False,
) -> None:
    """Load the tensors under `prefix` into `module`; every name and shape must fit.

    With `assign` they take the place of the module's tensors, which may be on the meta device.

    Raises:
        CheckpointError: They do not fit; `path` is named as where they came from.
    """
    try:
        module.load_state_dict(_below(prefix, tensors), assign=assign)
    except RuntimeError as error:
        what = str(error).splitlines()[-1].strip()
        raise CheckpointError(
            f"{path}: its weights do not fit the network its header describes: {what}"
        ) from error


def _read(
    path: str | Path, prefixes: tuple[str, ...], framework: str
) -> tuple[CheckpointInfo, dict[str, Any]]:
    path = str(path)
    if not is_file(path):
        found = (
            "is a folder; `runs.find_checkpoint` finds a run's weights" if is_folder(path) else ""
        )
        raise CheckpointError(
            f"{path or repr(path)}: {found or 'no such file'}; expected a checkpoint (.safetensors)"
        )
    try:
        with safe_open(path, framework=framework) as file:
            metadata = file.metadata() or {}
            if _HEADER_KEY not in metadata:
                raise CheckpointError(
                    f"{path}: a safetensors file, but not written by flowercolor; expected "
                    "the best.safetensors or last.safetensors of a run"
                )
            info = CheckpointInfo.from_json(metadata[_HEADER_KEY])
            names = [name for name in file.keys() if name.startswith(prefixes)]  # noqa: SIM118
            tensors = {name: file.get_tensor(name) for name in names}
            if framework == "pt":  # what lies in the file Windows lets nobody replace
                tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be opened: {error.strerror or one_line(error)}; expected a checkpoint "
            "that may be read"
        ) from error
    except SafetensorError as error:
        raise CheckpointError(
            f"{path}: not a whole safetensors file ({error}); expected a checkpoint that "
            "`flowercolor train` wrote"
        ) from error
    except ValueError as error:  # SettingError is one
        raise CheckpointError(f"{path}: {one_line(error)}; train or download it again") from error
    return info, tensors
