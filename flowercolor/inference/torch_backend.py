"""The generator on torch: for GPUs, for bf16, and where onnxruntime is not installed."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from threading import Lock
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from flowercolor.color import rgb_to_chroma
from flowercolor.config import Precision
from flowercolor.devices import compute_dtype, pick_device, warn_of_slow
from flowercolor.networks.unet import UNet, fuse_batch_norm
from flowercolor.progress import Progress, warn

Array = npt.NDArray[np.float32]
Result = TypeVar("Result")


class TorchBackend:
    """A `Backend` for any device.

    Args:
        generator: A copy of it is used, made for inference.
        device: As for `load_backend`, and so are those below.

    Raises:
        SettingError: There is no device or precision of that name.
        DeviceError: The device is not there.
    """

    package = "torch"

    def __init__(
        self,
        generator: UNet,
        *,
        device: str | torch.device = "auto",
        precision: Precision = "auto",
        progress: Progress | None = None,
    ) -> None:
        self.precision: Precision = precision
        self._progress = progress
        self._device = pick_device(device)
        warn_of_slow(self._device, precision, progress)
        self._generator = fuse_batch_norm(generator).to(memory_format=torch.channels_last)
        self._place()
        # On a GPU, threads would only take memory from each other.
        on_gpu = self._device.type != "cpu"
        self._one_at_a_time: AbstractContextManager[object] = Lock() if on_gpu else nullcontext()

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickle holds the weights; the lock and `progress` cannot be pickled."""
        again = partial(TorchBackend, device=self.device, precision=self.precision)
        return again, (self._generator,)

    @property
    def device(self) -> str:
        """Where it computes, such as "cuda:0"; "cpu" after a GPU has run out of memory."""
        return str(self._device)

    def __call__(self, gray: Array) -> Array:
        """The chroma, Cb before Cr.

        Where a GPU's memory does not suffice, on the CPU from then on, with one note.
        """
        return self._anywhere(self._forward, gray)

    def _anywhere(self, forward: Callable[[Array], Result], gray: Array) -> Result:
        with self._one_at_a_time:
            try:
                return forward(gray)
            except torch.OutOfMemoryError:
                if self._device.type == "cpu":
                    raise
            # Outside the except block, which keeps the failed pass's tensors alive.
            warn(f"out of memory on {self._device}; going on on the CPU, slowly", self._progress)
            self._device = torch.device("cpu")
            self._place()
            torch.cuda.empty_cache()
            return forward(gray)

    def with_hint_features(self, gray: Array) -> tuple[Array, Array]:
        """The chroma, and what hints spread by; see `Backend`."""
        if self._generator.hints is None:
            raise NotImplementedError
        return self._anywhere(self._forward_with_hint_features, gray)

    @contextmanager
    def shared(self, workers: int) -> Iterator[Callable[[], None]]:
        """Split the cores among so many threads, each of which calls what this gives first."""
        threads = torch.get_num_threads()
        try:
            yield lambda: torch.set_num_threads(max(1, threads // workers))
        finally:
            torch.set_num_threads(threads)

    def _place(self) -> None:
        # The weights in the precision of computing: autocast would convert them at each pass.
        self._generator.to(self._device, compute_dtype(self._device, self.precision))

    def _forward(self, gray: Array) -> Array:
        with torch.inference_mode():
            fake = self._generator(self._batch(gray))
        chroma: Array = rgb_to_chroma(fake.float()).cpu().numpy()
        return chroma

    def _forward_with_hint_features(self, gray: Array) -> tuple[Array, Array]:
        with torch.inference_mode():
            predicted, features = self._generator.predict_with_hint_features(self._batch(gray))
        if self._generator.config.output == "rgb":
            predicted = rgb_to_chroma(predicted.float())
        return predicted.float().cpu().numpy(), features.float().cpu().numpy()

    def _batch(self, gray: Array) -> torch.Tensor:
        batch = torch.from_numpy(gray).to(self._device)
        return batch.contiguous(memory_format=torch.channels_last)
