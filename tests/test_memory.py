import pytest
import torch

from flowercolor.errors import DeviceError
from flowercolor.memory import memory_errors


@pytest.mark.parametrize(
    "raised",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] data. DefaultCPUAllocator: not enough memory: you "
            "tried to allocate 9 bytes. Error code 12 (Cannot allocate memory)"
        ),
        MemoryError(),
    ],
)
def test_too_little_memory_is_one_line(raised: Exception) -> None:
    with (
        pytest.raises(DeviceError, match=r"^out of memory while baking: .*; give a smaller cake$"),
        memory_errors("baking", "cake"),
    ):
        raise raised


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    with pytest.raises(RuntimeError, match=r"^shapes differ$"), memory_errors("baking", "cake"):
        raise RuntimeError("shapes differ")
