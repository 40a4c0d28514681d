"""Weights on disk: files that say what they are, and the state that a run goes on from.

A checkpoint is one safetensors file. Its tensors are named `generator.…` and, where training
is to go on from it, `discriminator.…`, `optimizer_g.…`, `optimizer_d.…`, `totals`, where
`generator.…` is a running average, `live.…`, the weights that learn, and where classes are told,
`classifier.…`. A dial has a second generator, of which `vivid.…` holds what differs from the
first: the two are the ends between which `load_generator` interpolates. The header holds one
JSON text, the `CheckpointInfo`. Nothing is unpickled.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from flowercolor._version import __version__
from flowercolor.config import TrainConfig
from flowercolor.errors import CheckpointError, SettingError, one_line
from flowercolor.files import is_file, is_there, replacing
from flowercolor.networks.unet import UNet

VIVID = "vivid."

_FORMAT = 1
_HEADER_KEY = "flowercolor"


@dataclass(frozen=True)
class CheckpointInfo:
    """What a checkpoint says of itself.

    Attributes:
        config: The run's settings, the generator's among them.
        epoch: Epochs done.
        step: Steps done of the epoch after those.
        test_l1: Mean L1 on the test split at the last full epoch; None before the first.
        best_l1: The same at the best epoch up to here.
        data: Of what it learned: `name`, `fingerprint`, `train_photos`, `test_photos`,
            `photos_crc32`, of which photos in which order, `left_out` and, where classes were
            told, `classes_crc32`.
        note: What else a reader should know, such as what the run began with.
        created: When its run began, ISO 8601 in UTC.
        version: The version of flowercolor that wrote it.
        vividness: Of a dial, what it stands at where nobody says otherwise; else None.
        best_score: What that epoch was chosen by, the lower the better; see
            `TrainConfig.criterion`.
        best_epoch: Which it was.
        knows_validation: Whether it has learned from the validation part of its data, or those
            have that it comes from; so where an older file does not tell and its run kept none.
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
    knows_validation: bool = False

    def to_json(self) -> str:
        """The text that goes into the file's header."""
        return json.dumps({"format": _FORMAT, **asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The info that `to_json` gave.

        Raises:
            ValueError: The text is of another format or version; the message says how.
        """
        try:
            values = json.loads(text)
            found = values.pop("format", None)
            if found != _FORMAT:
                raise ValueError(f"it has format {found}; this version reads format {_FORMAT}")
            config = TrainConfig.from_dict(values["config"])
            return cls(**{"knows_validation": not config.validation, **values, "config": config})
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"its header is incomplete: {error}") from error


def save_checkpoint(
    path: Path, info: CheckpointInfo, tensors: Mapping[str, Tensor], *, half: bool = False
) -> None:
    """Write a checkpoint, whole or not at all, and forced to the disk.

    Args:
        path: Where to.
        info: What the file is to say of itself.
        tensors: Named as the head of this module says.
        half: Store floats in half precision, half the size, where they fit into its range; for
            sharing, not for resuming.

    Raises:
        StorageError: The disk is full or writing is not allowed; an older file is untouched.
    """
    flat = {
        name: (_halved(tensor) if half and tensor.is_floating_point() else tensor)
        .detach()
        .contiguous()  # before it leaves a GPU, which does that faster
        .cpu()
        for name, tensor in tensors.items()
    }
    content = save(flat, metadata={_HEADER_KEY: info.to_json()})
    with replacing(path, durable=True) as temporary:
        # Not `save_file`: it hides the OSError of a full disk in an error of its own.
        temporary.write_bytes(content)


def _halved(tensor: Tensor) -> Tensor:
    # Its range ends at 65,504. Variances of batch norm go beyond it where the discriminator's
    # gradient reaches the generator; infinite ones would blot their channels out.
    halved = tensor.half()
    return halved if torch.equal(halved.isfinite(), tensor.isfinite()) else tensor


def read_info(path: Path) -> CheckpointInfo:
    """What the checkpoint says of itself, without loading its weights.

    Raises:
        CheckpointError: There is no such file, or it is not a whole checkpoint of ours.
    """
    return _read(path, prefixes=())[0]


def load_tensors(path: Path) -> tuple[CheckpointInfo, dict[str, Tensor]]:
    """Everything in a checkpoint, on the CPU.

    Raises:
        CheckpointError: There is no such file, or it is not a whole checkpoint of ours.
    """
    return _read(path, prefixes=("",))


def load_generator(
    path: Path, device: torch.device | str = "cpu", *, vividness: float | None = None
) -> tuple[UNet, CheckpointInfo]:
    """The generator of a checkpoint, in float32 and evaluation mode, and what the file says.

    Args:
        path: The checkpoint.
        device: Where to.
        vividness: Of a dial, where between its ends: 0 is the safe one, 1 the vivid one. In
            between all weights are interpolated, batch norm's statistics too (Wang et al. 2018,
            section 3.4). None means the file's own default.

    Raises:
        CheckpointError: There is no such file, it is not a whole checkpoint of ours, or a
            vividness is given and it is no dial.
        SettingError: The vividness is not within 0 to 1.
    """
    if vividness is not None:
        _check_vividness(vividness)
    info, tensors = _read(path, prefixes=("generator.", VIVID))
    # A sum tells of one such number among many, seven times as fast as looking at each.
    if not all(value.sum(dtype=torch.float32).isfinite() for value in tensors.values()):
        raise CheckpointError(
            f"{path}: holds weights that are no finite numbers; expected those of a network that "
            "has learned: use another checkpoint"
        )
    tensors = {
        name: value.float() if value.is_floating_point() else value
        for name, value in tensors.items()
    }
    if info.vividness is not None:
        _turn(tensors, info.vividness if vividness is None else vividness)
    elif vividness is not None:
        raise CheckpointError(
            f"{path}: holds one network and no dial, so no vividness can be chosen; leave it out, "
            "or join two checkpoints with `flowercolor join`"
        )
    with torch.device("meta"):  # first weights at random would take longer than all the rest
        generator = UNet(info.config.network)
    load_into(generator, tensors, "generator.", path, assign=True)
    return generator.to(device).to(memory_format=torch.channels_last).eval(), info


def _turn(tensors: dict[str, Tensor], vividness: float) -> None:
    """Bring the generator of a dial to where between its ends it is to stand.

    Of the vivid end there is what differs from the safe one; the rest the two share.
    """
    for name in [name for name in tensors if name.startswith(VIVID)]:
        own = "generator." + name.removeprefix(VIVID)
        safe, vivid = tensors.get(own), tensors[name]
        if safe is None or safe.shape != vivid.shape:
            tensors[own] = vivid  # which does not fit the network
        elif safe.is_floating_point():
            tensors[own] = safe.lerp(vivid, vividness)


def _check_vividness(vividness: float) -> None:
    if not 0 <= vividness <= 1:
        raise SettingError(f"vividness is {vividness}; expected 0 to 1")


def join(safe: Path, vivid: Path, dial: Path, *, vividness: float = 0.5, note: str = "") -> None:
    """Write two generators as the ends of one dial, in half precision, what they share once.

    They must have learned from one parent, or nothing useful lies between them.

    Args:
        safe: The checkpoint that vividness 0 gives; a dial as it stands.
        vivid: The checkpoint that vividness 1 gives; likewise.
        dial: The file to write; a new one.
        vividness: Where the dial stands where nobody says otherwise.
        note: What else a reader of the file should know.

    Raises:
        CheckpointError: One of them cannot be read, or their networks are not alike.
        SettingError: The vividness is not within 0 to 1, or the file is there already.
        StorageError: The file cannot be written.
    """
    _check_vividness(vividness)
    if is_there(dial):
        raise SettingError(f"{dial}: is there already; expected the name of a new file")
    (one, info), (other, other_info) = load_generator(safe), load_generator(vivid)
    if info.config.network != other_info.config.network:
        raise CheckpointError(
            f"{vivid}: holds another kind of network than {safe}; a dial needs two of one kind, "
            "that learned from one parent"
        )
    if info.vividness is not None:  # its score is that of its own safe end, and this another
        info = replace(info, test_l1=None, best_l1=None, best_score=None)
    joined = replace(
        info,
        vividness=vividness,
        knows_validation=info.knows_validation or other_info.knows_validation,
        note=note or f"{safe} and {vivid} as a dial",
        version=__version__,
    )
    safe_named = named(one, VIVID)
    own = {
        name: value
        for name, value in named(other, VIVID).items()
        if not torch.equal(value, safe_named[name])
    }
    save_checkpoint(dial, joined, {**named(one, "generator."), **own}, half=True)


def named(module: nn.Module, prefix: str) -> dict[str, Tensor]:
    """The module's weights and buffers, their names behind `prefix`."""
    return {prefix + name: value for name, value in module.state_dict().items()}


def load_into(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    prefix: str,
    path: Path,
    *,
    assign: bool = False,
) -> None:
    """Load the tensors under `prefix` into `module`; every name and shape must fit.

    With `assign` they take the place of the module's own, which then need not be there.

    Raises:
        CheckpointError: They do not fit; `path` is named as where they came from.
    """
    own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    try:
        module.load_state_dict(own, assign=assign)
    except RuntimeError as error:
        what = str(error).splitlines()[-1].strip()
        raise CheckpointError(
            f"{path}: its weights do not fit the network its header describes: {what}"
        ) from error


def _read(path: Path, prefixes: tuple[str, ...]) -> tuple[CheckpointInfo, dict[str, Tensor]]:
    if not is_file(path):
        raise CheckpointError(f"{path}: no such file; expected a checkpoint (.safetensors)")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if _HEADER_KEY not in metadata:
                raise CheckpointError(
                    f"{path}: a safetensors file, but not written by flowercolor; expected "
                    "the best.safetensors or last.safetensors of a run"
                )
            info = CheckpointInfo.from_json(metadata[_HEADER_KEY])
            names = [name for name in file.keys() if name.startswith(prefixes)]  # noqa: SIM118
            # Copies: what it gives lies in the file, which Windows then lets nobody replace.
            tensors = {name: file.get_tensor(name).clone() for name in names}
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
    except (ValueError, SettingError) as error:
        raise CheckpointError(f"{path}: {error}; train or download it again") from error
    return info, tensors
