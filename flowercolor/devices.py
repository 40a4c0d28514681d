"""Which processor to compute on, and in which precision."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch.backends import cudnn

from flowercolor.config import Precision, device_kind, one_of
from flowercolor.errors import DeviceError
from flowercolor.progress import Progress, warn
from flowercolor.torchrun import ranks


def pick_device(device: str | torch.device = "auto") -> torch.device:
    """The device of that name, such as "cuda:1"; "auto" takes CUDA, then MPS, then the CPU.

    Of several processes that `torchrun` started, each gets a GPU of its own.

    Raises:
        SettingError: The name is none of "auto", "cpu", "cuda", "mps".
        DeviceError: There is no such device on this machine, or none left for this process.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    name = str(device)
    if device_kind(device) == "auto":
        name = next(kind for kind, found in available.items() if found)
    kind, _, number = name.partition(":")
    if not available[kind]:
        found = ", ".join(kind for kind, found in available.items() if found)
        raise DeviceError(
            f"device {name}: torch {torch.__version__} finds none on this machine; it finds "
            f'{found}: use `device="{found.split(", ")[0]}"`, or install a torch built for {kind}'
        )
    count = torch.cuda.device_count() if kind == "cuda" else 1
    if number and int(number) >= count:
        raise DeviceError(f"device {name}: there are {count} of the kind, counted from 0")
    if name == "cuda" and ranks().size > 1:
        rank = ranks().local_rank
        if rank >= count:
            raise DeviceError(
                f"device cuda: this is process {rank + 1} on a machine with {count} of them; "
                f'start no more than {count} a machine, or use `device="cpu"`'
            )
        return torch.device(name, rank)
    return torch.device(name)


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 by itself.

    A CPU without the instructions can do it too, tens of times slower than in float32.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, check, lambda: False)() for check in checks)
    return False


def compute_dtype(device: torch.device, precision: Precision = "auto") -> torch.dtype:
    """bfloat16 where it is fast or asked for, else float32.

    Raises:
        SettingError: The precision is none of "auto", "float32", "bf16".
    """
    one_of("precision", precision, Precision)
    if precision == "bf16" or (precision == "auto" and has_fast_bf16(device)):
        return torch.bfloat16
    return torch.float32


def warn_of_slow(device: torch.device, precision: Precision, progress: Progress | None) -> None:
    """Say where bfloat16 is asked of a CPU that is not made for it: it would look stuck."""
    if precision == "bf16" and device.type == "cpu" and not has_fast_bf16(device):
        warn(
            "this CPU is not made for bf16, and computes it tens of times slower than "
            'float32; leave out `precision="bf16"`',
            progress,
        )


def autocast(device: torch.device, precision: Precision = "auto") -> AbstractContextManager[object]:
    """A context for forward passes in `compute_dtype`, which may raise, with float32 weights."""
    dtype = compute_dtype(device, precision)
    return torch.autocast(device.type, dtype) if dtype == torch.bfloat16 else nullcontext()


@contextmanager
def deterministic() -> Iterator[None]:
    """Have cuDNN take, of the ways through a convolution, none that leaves anything to chance.

    Neither the order in which it adds, nor whichever way was the fastest in a trial. The
    settings are of the whole process; afterwards they are those of before.
    """
    with _set(cudnn, deterministic=True, benchmark=False):
        yield


@contextmanager
def no_tf32() -> Iterator[None]:
    """Have cuDNN compute float32 as such, not as TF32, which it does without being asked."""
    # Once a newer name has been set, by whomever, torch refuses to tell or to set the older.
    newer = getattr(cudnn, "conv", None)
    with _set(newer, fp32_precision="ieee") if newer else _set(cudnn, allow_tf32=False):
        yield


@contextmanager
def _set(target: Any, **values: Any) -> Iterator[None]:
    before = {name: getattr(target, name) for name in values}
    try:
        for name, value in values.items():
            setattr(target, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(target, name, value)
