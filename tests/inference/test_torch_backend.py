import numpy as np
import torch

from flowercolor.config import NetworkConfig
from flowercolor.inference.torch_backend import Array, TorchBackend
from flowercolor.networks.unet import UNet
from tests.helpers import Recorder

GRAY = np.random.default_rng(0).random((2, 1, 16, 32), dtype=np.float32)


class Starved(TorchBackend):
    """Runs out of memory in every pass of the network but on the CPU; "meta" is its GPU."""

    def __init__(self, generator: UNet, progress: Recorder) -> None:
        super().__init__(generator, device="cpu", precision="float32", progress=progress)
        self._device = torch.device("meta")

    def _forward(self, gray: Array) -> Array:
        if self._device.type != "cpu":
            raise torch.OutOfMemoryError("made up")
        return super()._forward(gray)


def test_out_of_memory_on_a_gpu_goes_on_on_the_cpu_and_says_so_once() -> None:
    progress, generator = Recorder(), UNet(NetworkConfig(2))
    starved = Starved(generator, progress)
    expected = TorchBackend(generator, device="cpu", precision="float32")(GRAY)
    for _ in range(2):
        assert np.array_equal(starved(GRAY), expected)
    assert progress.notes == ["WARNING: out of memory on meta; going on on the CPU, slowly"]
    assert starved.device == "cpu"


def test_the_cores_are_shared_by_the_workers_and_given_back() -> None:
    backend = TorchBackend(UNet(NetworkConfig(1)), device="cpu")
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        for workers, share in ((2, 2), (40, 1)):
            with backend.shared(workers) as begin:
                begin()
                assert torch.get_num_threads() == share
            assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(threads)
