"""Training state as named tensors, how far a run is, when it is saved, and with which photos.

The tensors are named as the head of `checkpoint` says: networks by their own names behind a prefix,
optimizers as `optimizer_g.12.exp_avg`, the moments of Adam's twelfth parameter.
"""

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from flowercolor.checkpoint import CheckpointInfo, load_into, named, read_info, save_checkpoint
from flowercolor.config import TrainConfig
from flowercolor.errors import CheckpointError, StorageError, TrainingError
from flowercolor.files import is_there
from flowercolor.runs import BEST, LAST, way_without_last

_MOMENTS = ("exp_avg", "exp_avg_sq")  # as Adam calls them


def state_tensors(
    modules: Mapping[str, nn.Module], optimizers: Mapping[str, Optimizer]
) -> dict[str, Tensor]:
    """Weights, buffers and moments, each behind the prefix of its module or optimizer."""
    tensors: dict[str, Tensor] = {}
    for prefix, module in modules.items():
        tensors |= named(module, prefix)
    for prefix, optimizer in optimizers.items():
        for number, values in optimizer.state_dict()["state"].items():
            tensors |= {f"{prefix}{number}.{name}": value for name, value in values.items()}
    return tensors


def load_state(
    tensors: Mapping[str, Tensor],
    path: Path,
    modules: Mapping[str, nn.Module],
    optimizers: Mapping[str, Optimizer],
    *,
    totals: Tensor,
    idle: str = "",
) -> None:
    """Put what `state_tensors` gave back into its places.

    Args:
        totals: Sums of metrics, whose shape must fit too; the caller puts them into place.
        idle: The prefix of an optimizer that has made no step and so has no moments.

    Raises:
        CheckpointError: They do not fit.
    """
    expected = {"totals": totals.shape}
    for prefix, optimizer in optimizers.items():
        learning = () if prefix == idle else optimizer.param_groups[0]["params"]
        for number, parameter in enumerate(learning):
            expected[f"{prefix}{number}.step"] = torch.Size()
            expected |= {f"{prefix}{number}.{name}": parameter.shape for name in _MOMENTS}
    names = ("totals", *optimizers)
    found = {name: value.shape for name, value in tensors.items() if name.startswith(names)}
    if others := found.items() ^ expected.items():
        raise CheckpointError(
            f"{path}: what it keeps of the optimizers does not fit the networks its header "
            f"describes: {min(others)[0]}; resuming needs the {LAST} of a run as it was written"
        )
    for prefix, module in modules.items():
        load_into(module, tensors, prefix, path)
    for prefix, optimizer in optimizers.items():
        _load_optimizer(optimizer, tensors, prefix)


def _load_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor], prefix: str) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith(prefix):
            number, key = name.removeprefix(prefix).split(".")
            state.setdefault(int(number), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    # Fused Adam goes through memory as it lies: moments stored row by row beside weights stored
    # channels last would be those of other weights, and nothing tells.
    for parameter, moments in optimizer.state.items():
        for name in _MOMENTS:
            moments[name] = torch.empty_like(parameter).copy_(moments[name])


@contextmanager
def saying_how_without(last: Path) -> Iterator[None]:
    """Have a `CheckpointError` of a run's `last.safetensors` say what else can be gone on from."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"{error}; {way_without_last(last.parent)}") from error


@dataclass
class RunState:
    """How far a run is and what it came to; the same fields as in `CheckpointInfo`."""

    epoch: int = 0
    step: int = 0
    test_l1: float | None = None
    best_l1: float | None = None
    best_score: float | None = None
    best_epoch: int = 0
    start_l1: float | None = None

    @classmethod
    def of(cls, header: CheckpointInfo) -> Self:
        """The state that a checkpoint was written in."""
        return cls(**{known.name: getattr(header, known.name) for known in fields(cls)})

    def finish_epoch(self, test_l1: float, score: float) -> bool:
        """Count an epoch of this test L1; whether its score, the lower the better, is the best."""
        self.epoch, self.step, self.test_l1 = self.epoch + 1, 0, test_l1
        is_best = self.best_score is None or score < self.best_score
        if is_best:
            self.best_l1, self.best_score, self.best_epoch = test_l1, score, self.epoch
        return is_best

    def out_of_patience(self, config: TrainConfig) -> bool:
        """Whether too many epochs have passed without a new best."""
        return bool(config.patience) and self.epoch - self.best_epoch >= config.patience

    def check_finite(self, run: Path, lr: float, values: Iterable[float]) -> None:
        """Refuse to go on with, or to save, a state that nothing can be learned from any more.

        Raises:
            TrainingError: One of the values is not finite; it names what can be gone on from.
        """
        if all(map(math.isfinite, values)):
            return
        way = f"what was saved before is whole: start from its {BEST}"
        if not is_there(run / BEST):
            way = "nothing was saved yet: begin again"
        raise TrainingError(
            f"{run}: a loss of epoch {self.epoch + 1} is not a finite number; {way} with a lower "
            f"`lr` than {lr}"
        )


@contextmanager
def saying_how_to_go_on(run: Path) -> Iterator[None]:
    """Have a `StorageError` say what to do once there is room."""
    try:
        yield
    except StorageError as error:
        way = "go on by `resume`" if is_there(run / LAST) else "begin again: nothing was saved yet"
        raise StorageError(f"{error}, then {way}") from error


def _is_whole(checkpoint: Path) -> bool:
    try:
        read_info(checkpoint)
    except CheckpointError:
        return False
    return True


@dataclass
class Saver:
    """Writes a run's checkpoints, in the leader alone.

    Args:
        header: What its checkpoints say of themselves beside the state.
        save_every_s: How long to wait before the next save at an epoch's end: writing half a
            gigabyte takes half as long as an epoch on a good GPU.
    """

    run: Path
    header: CheckpointInfo
    save_every_s: float
    leads: bool
    _best: tuple[CheckpointInfo, dict[str, Tensor]] | None = None  # not on disk yet
    _saved_s: float = field(default=-math.inf)

    @property
    def is_due(self) -> bool:
        """Whether the last save was long enough ago."""
        return time.monotonic() - self._saved_s >= self.save_every_s

    def keep_best(self, state: RunState, generator: nn.Module) -> None:
        """Keep a copy of a generator that is better than any before, until it is written."""
        weights = {k: value.clone() for k, value in named(generator, "generator.").items()}
        self._best = self._header_of(state), weights

    def save_best(self) -> None:
        """Write what `keep_best` kept, unless it is on disk, or there is nothing to go on from yet.

        A best network alone would keep its run from being resumed, and from being begun again.
        """
        if self.leads and self._best:
            if not is_there(self.run / LAST):
                return
            save_checkpoint(self.run / BEST, *self._best)
        self._best = None

    def save_last(self, state: RunState, tensors: Mapping[str, Tensor]) -> None:
        """Write all that resuming needs. Last: what is missing after a kill it makes anew.

        At the first save `save_best` comes after it, for the reason that stands there.
        """
        if self.leads:
            save_checkpoint(self.run / LAST, self._header_of(state), tensors)
        self._saved_s = time.monotonic()
        self.save_best()

    def recover_best(self, state: RunState, generator: nn.Module) -> str:
        """Have a resumed run come to a best network again, whose own is not there or damaged.

        Returns:
            What is lost and what is done, in words; "" where nothing is lost.
        """
        path = self.run / BEST
        if not state.best_epoch or _is_whole(path):
            return ""
        found = f"{path}: is {'damaged' if is_there(path) else 'missing'}"
        if state.epoch == state.best_epoch and not state.step:  # as a kill at the first save leaves
            self.keep_best(state, generator)
            return f"{found}; it is written anew from {LAST}, which is the best epoch"
        state.best_l1 = state.best_score = None
        return (
            f"{found}, and with it epoch {state.best_epoch}, the best so far; the best from here "
            "on takes its place"
        )

    def _header_of(self, state: RunState) -> CheckpointInfo:
        return replace(self.header, **asdict(state))


def same_photos(saved: Mapping[str, Any], fresh: Mapping[str, Any]) -> bool:
    """Whether two headers are of the same photos, wherever those lie and whatever their times."""
    if "content_crc32" in saved:
        return content_of(saved) == content_of(fresh)
    # Versions before 0.1 knew only the times of a folder's files, or the bytes of an archive.
    older = {name: value for name, value in fresh.items() if name != "content_crc32"}
    return {**saved, "name": ""} == {**older, "name": ""}


def difference(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What of two headers' photos is not the same, in words."""
    old, new = (
        f"{data.get('train_photos')} photos{_shares_of(data)} and {data.get('test_photos')}"
        for data in (then, now)
    )
    if old != new:
        return f"{old} to test on then, {new} to test on now"
    if content_of({**then, "classes_crc32": 0}) == content_of({**now, "classes_crc32": 0}):
        return "other classes"
    return "as many photos, of other names or content"


def _shares_of(data: Mapping[str, Any]) -> str:
    shares = [source.get("share") for source in data.get("sources", ())]
    if not any(shares):
        return ""
    return f" in shares {', '.join('-' if share is None else f'{share:g}' for share in shares)}"


def content_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """What a header says of its photos but where they are from and what they are called."""
    kept = {k: v for k, v in data.items() if k not in ("name", "fingerprint", "photos_crc32")}
    if "sources" in data:
        kept["sources"] = [
            {k: v for k, v in source.items() if k not in ("name", "fingerprint")}
            for source in data["sources"]
        ]
    return kept
