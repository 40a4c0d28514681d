"""Work by several processes, on one machine or many, with PyTorch's DistributedDataParallel.

`torchrun` starts the processes. Each learns from its share of every batch; gradients are
averaged over them by DistributedDataParallel, so that all hold the same weights at all times.
Each judges its share of the test photos, and all have the scores of all.
Where there are no others, each function here leaves things as they are.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from flowercolor import torchrun
from flowercolor.errors import DataError, SettingError, TrainingError, one_line
from flowercolor.torchrun import ranks

# A process that dies is noticed at once, by its connections. This is for one that is stuck.
TIMEOUT = timedelta(minutes=10)
# Fetching an archive, decoding it and coloring take as long as they take.
PATIENCE = timedelta(days=1)

# Where in its own source Gloo raised an error.
_PLACE = re.compile(r"\[[^]]*/[^]]*\] *")


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Meet the other processes, and part from them at the end.

    Raises:
        TrainingError: The others cannot be reached, or one of them has died or left, so that
            this one cannot go on.
    """
    if ranks().size == 1:
        yield
        return
    backend = "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
        # What is said between the processes themselves need not wait for their GPUs.
        backend = "cpu:gloo,cuda:nccl"
    who = f"rank {ranks().rank} of {ranks().size}"
    try:
        distributed.init_process_group(backend, timeout=TIMEOUT)
    except RuntimeError as error:
        if not _is_of_the_others(error):
            raise
        raise TrainingError(
            f"{who}: cannot be connected with the others: {_PLACE.sub('', one_line(error))}; see "
            "that all were started, and the network between them (GLOO_SOCKET_IFNAME names its "
            "interface)"
        ) from error
    whole = False
    try:
        yield
        whole = True
    except RuntimeError as error:
        if not _is_of_the_others(error):
            raise
        raise TrainingError(
            f"{who}: another process has died or left, so this "
            "one stops too; see what that one says, then start again, `train` with `resume`"
        ) from error
    finally:
        # All take leave of NCCL together, or wait. Who fails alone is missed by the others.
        if _connected() and (whole or device.type != "cuda"):
            distributed.destroy_process_group()


def _connected() -> bool:
    # Some builds of torch come without.
    return distributed.is_available() and distributed.is_initialized()


def _is_of_the_others(error: RuntimeError) -> bool:
    # Gloo raises plain RuntimeErrors, told apart by their text alone.
    known = ("gloo", "nccl", "peer", "connection")
    return isinstance(error, distributed.DistError) or any(
        word in str(error).lower() for word in known
    )


@contextmanager
def in_turn() -> Iterator[None]:
    """First one process of each machine, then its others: for what the first leaves for them."""
    group = _patient_group()
    first = ranks().local_rank == 0
    if group and not first:
        distributed.barrier(group)
    yield
    if group and first:
        distributed.barrier(group)


@contextmanager
def ending_together() -> Iterator[None]:
    """Wait at the end for the others: `torchrun` stops them once one has ended with an error."""
    group = _patient_group()
    yield
    if group:
        distributed.barrier(group)


def _patient_group() -> Any:
    if not _connected():
        return None
    return distributed.new_group(timeout=PATIENCE, backend="gloo")


def synchronized(module: nn.Module, device: torch.device) -> nn.Module:
    """The module with batch norm over the joined batch, where that can be had: on GPUs."""
    if _connected() and device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
        return converted
    return module


def parallel(module: nn.Module, device: torch.device) -> nn.Module:
    """The module, its gradients averaged over the processes in each backward pass."""
    if not _connected():
        return module
    # Batch norm's statistics are not sent around at each pass: the discriminator makes two
    # passes before it goes back, and the second would overwrite what the first still needs
    # (pytorch issue 175024). `average_buffers` brings them together before they are used.
    known = inspect.signature(DistributedDataParallel).parameters
    setting = next(n for n in ("forward_sync_buffers", "broadcast_buffers") if n in known)
    not_sent: dict[str, Any] = {setting: False}
    return DistributedDataParallel(
        module, device_ids=[device.index] if device.type == "cuda" else None, **not_sent
    )


def check_joined() -> None:
    """Refuse several processes that are not within `joined`, by a `SettingError`."""
    if ranks().size > 1 and not _connected():
        raise SettingError(
            f"this is one of {ranks().size} processes, which would each learn from its share of "
            "the photos alone; call it within `flowercolor.distributed.joined`"
        )


def from_leader(make: Callable[[], str]) -> str:
    """What the leader makes, for all."""
    made = [make() if ranks().leads else ""]
    if _connected():
        distributed.broadcast_object_list(made)
    return made[0]


def check_alike(about: str, source: Path) -> None:
    """Make sure that this process has the photos, told apart by `about`, that the leader has.

    Raises:
        DataError: It has others.
    """
    if from_leader(lambda: about) != about:
        raise DataError(
            f"{source}: not the photos that rank 0 has, or not their classes; expected the same "
            "archive or folder on each machine, and the same `twins` and `labels`"
        )


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """The tensor, summed over the processes in place."""
    if _connected():
        distributed.all_reduce(tensor)
    return tensor


def shard(count: int) -> Sequence[int]:
    """The numbers below `count` that are this process's part; none may be left for it."""
    return torchrun.shard(range(count)) if _connected() else range(count)


def all_gather(local: Tensor, length: int) -> Tensor:
    """The columns of all, [R, length], where each process has those of its `shard`.

    Args:
        local: [R, C], those of this process; columns beyond its shard are left out.
        length: Columns of all.
    """
    columns = local.new_zeros(len(local), length)
    positions = list(shard(length))
    columns[:, positions] = local[:, : len(positions)]
    return all_reduce_sum(columns)


def average_buffers(*modules: nn.Module) -> None:
    """Set batch norm's running statistics to their means over the processes."""
    if _connected():
        for module in modules:
            for buffer in module.buffers():
                if buffer.is_floating_point():
                    all_reduce_sum(buffer.div_(ranks().size))


def any_rank(wish: bool) -> bool:
    """Whether any of the processes wishes it; each must ask at the same point.

    They wait for each other, some tenths of a millisecond, and not for their GPUs.
    """
    return bool(all_reduce_sum(torch.tensor(int(wish))))
