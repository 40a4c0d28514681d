"""Two ways to compute the generator behind one interface; torch is loaded only where it is used."""

import platform
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from flowercolor.checkpoint import load_generator, read_weights
from flowercolor.config import BackendName, Precision, device_kind, one_of
from flowercolor.errors import DevicePackageError, SettingError
from flowercolor.installation import install_command
from flowercolor.progress import Progress

if TYPE_CHECKING:
    import torch

# What shows without torch that there may be a GPU for it: NVIDIA's driver, AMD's, WSL's.
_GPU_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg", r"C:\Windows\System32\nvcuda.dll")


class Backend(Protocol):
    """A generator as a callable, safe to call from several threads."""

    @property
    def package(self) -> str:
        """What computes it, such as "onnxruntime"."""

    @property
    def device(self) -> str:
        """Where it computes, such as "cpu" or "cuda:0"."""

    def __call__(self, gray: npt.NDArray[np.float32], /) -> npt.NDArray[np.float32]:
        """Chroma float32 [B, 2, h, w], Cb before Cr, of gray float32 [B, 1, h, w] in 0 to 1.

        h and w are multiples of 16.
        """

    def with_hint_features(
        self, gray: npt.NDArray[np.float32], /
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """The same, and what hints spread by, float32 [B, C, h, w]; see `hints.attention`.

        Raises:
            NotImplementedError: The generator has no branch for hints.
        """

    def shared(self, workers: int, /) -> AbstractContextManager[Callable[[], None]]:
        """Split the cores among so many threads, each of which calls what this gives first."""


def load_backend(
    checkpoint: Path,
    *,
    vividness: float | None = None,
    backend: BackendName = "auto",
    device: "str | torch.device" = "auto",
    precision: Precision = "auto",
    progress: Progress | None = None,
) -> Backend:
    """The generator of a checkpoint, ready to compute.

    Args:
        vividness: On its vividness scale, 0 to 1; None means its own default.
        backend: "onnxruntime", "torch", or "auto": onnxruntime where the CPU computes, torch
            where a GPU is asked for or found, bf16 is asked for, or onnxruntime is missing.
        device: "auto", "cpu", "cuda", "mps", or one of several GPUs, such as "cuda:1"; or torch's.
        precision: "auto" computes in bfloat16 on a device that is made for it; onnxruntime
            computes in float32. "bf16" on a CPU that is not is tens of times slower.
        progress: Told of that, and where a GPU's memory runs short; without one, Python warns.

    Raises:
        CheckpointError: There is no such checkpoint, it is damaged, or has no vividness scale.
        SettingError: A setting is unknown, out of range, or not for this backend, or the package
            that computes on the CPU is not installed.
        DeviceError: The device is not there.
        DevicePackageError: Torch, which the device needs, is not installed.
    """
    one_of("backend", backend, BackendName)
    one_of("precision", precision, Precision)
    kind = device_kind(device)
    if backend == "onnxruntime" and (kind not in ("auto", "cpu") or precision == "bf16"):
        raise SettingError(
            f"backend onnxruntime computes on the CPU in float32, and device is {device}, "
            f"precision {precision}; use the backend torch for those"
        )
    of_gpu = kind not in ("auto", "cpu")
    asked = f"device {device}" if of_gpu else f"backend {backend}"
    if backend == "auto":
        for_torch = of_gpu or precision == "bf16"
        if for_torch and not of_gpu:
            asked = f"precision {precision}"
        for_torch = for_torch or (kind == "auto" and _may_have_gpu()) or not _there("onnxruntime")
        backend = "torch" if for_torch else "onnxruntime"
    if not _there(backend):
        what_helps = (
            install_command(full=True)
            if backend == "torch"
            else "`pip install onnxruntime`, or use the backend torch"
        )
        raise (DevicePackageError if of_gpu else SettingError)(
            f"{asked}: needs the package {backend}, which is not installed; run {what_helps}"
        )
    if backend == "onnxruntime":
        from flowercolor.inference.onnx_backend import OnnxBackend  # noqa: PLC0415

        info, weights = read_weights(checkpoint, vividness=vividness)
        return OnnxBackend(info.config.network, weights, name=str(checkpoint))
    from flowercolor.inference.torch_backend import TorchBackend  # noqa: PLC0415 - 2 s

    generator, _ = load_generator(checkpoint, vividness=vividness)
    return TorchBackend(generator, device=device, precision=precision, progress=progress)


def _there(package: str) -> bool:
    return find_spec(package) is not None


def _may_have_gpu() -> bool:
    """Whether it is worth the 2 s of importing torch to look for a GPU."""
    of_apple = sys.platform == "darwin" and platform.machine() == "arm64"
    return _there("torch") and (of_apple or any(Path(path).exists() for path in _GPU_DRIVERS))
