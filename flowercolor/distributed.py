"""Training by several processes, on one machine or many, with PyTorch's own engine.

`torchrun` starts the processes. Each learns from its share of every batch; gradients are
averaged over them by DistributedDataParallel, so that all hold the same weights at all times.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from flowercolor.errors import TrainingError
from flowercolor.ranks import ranks

__all__ = [
    "agree",
    "average_buffers",
    "from_leader",
    "in_turn",
    "joined",
    "parallel",
    "synchronized",
    "together",
]

TIMEOUT_S = 600


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Meet the other processes, and part from them at the end; nothing where there are none.

    Raises:
        TrainingError: One of the others has died or left, so that this one cannot go on.
    """
    if ranks().size == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        backend = "nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, timeout=timedelta(seconds=TIMEOUT_S))
        yield
    except RuntimeError as error:
        if not _is_of_the_others(error):
            raise
        raise TrainingError(
            f"rank {ranks().rank} of {ranks().size}: another process has died or left, so this "
            "one stops too; see what that one says, then go on with --resume"
        ) from error
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


def _is_of_the_others(error: RuntimeError) -> bool:
    # Gloo raises plain RuntimeErrors, told apart by their text alone.
    known = ("gloo", "nccl", "peer", "connection")
    return isinstance(error, distributed.DistError) or any(
        word in str(error).lower() for word in known
    )


@contextmanager
def in_turn() -> Iterator[None]:
    """First the leader of each machine, then its others: for what the first leaves for them."""
    waits = distributed.is_initialized() and ranks().local_rank > 0
    if waits:
        distributed.barrier()
    yield
    if distributed.is_initialized() and not waits:
        distributed.barrier()


def synchronized(module: nn.Module, device: torch.device) -> nn.Module:
    """The module with batch norm over the joined batch, where that can be had: on GPUs."""
    if distributed.is_initialized() and device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
        return converted
    return module


def parallel(module: nn.Module, device: torch.device) -> nn.Module:
    """The module, its gradients averaged over the processes in each backward pass."""
    if not distributed.is_initialized():
        return module
    # Batch norm's statistics are not sent around at each pass: the discriminator makes two
    # passes before it goes back, and the second would overwrite what the first still needs
    # (pytorch issue 175024). `average_buffers` brings them together before they are used.
    known = inspect.signature(DistributedDataParallel).parameters
    setting = next(n for n in ("forward_sync_buffers", "broadcast_buffers") if n in known)
    not_sent: dict[str, Any] = {setting: False}
    return DistributedDataParallel(
        module,
        device_ids=[device.index] if device.type == "cuda" else None,
        **not_sent,
    )


def from_leader(make: Callable[[], str]) -> str:
    """What the leader makes, for all."""
    made = [make() if ranks().leads else ""]
    if distributed.is_initialized():
        distributed.broadcast_object_list(made)
    return made[0]


def together(tensor: Tensor) -> Tensor:
    """The tensor, summed over the processes in place."""
    if distributed.is_initialized():
        distributed.all_reduce(tensor)
    return tensor


def average_buffers(*modules: nn.Module) -> None:
    """Set batch norm's running statistics to their means over the processes."""
    if distributed.is_initialized():
        for module in modules:
            for buffer in module.buffers():
                if buffer.is_floating_point():
                    together(buffer.div_(ranks().size))


def agree(wish: bool, device: torch.device) -> bool:
    """Whether any of the processes wishes it; each must ask at the same point."""
    if not distributed.is_initialized():
        return wish
    return bool(together(torch.tensor(float(wish), device=device)).item())
