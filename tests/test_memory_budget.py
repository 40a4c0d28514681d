import pytest
import torch

from flowercolor.errors import DeviceError, ImageError
from flowercolor.memory_budget import check_pixels, memory_errors


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


@pytest.mark.parametrize(
    ("counts_twice", "most"), [(False, "50"), (True, "25 with 16-bit color or opacity")]
)
def test_a_photo_that_is_too_large_is_refused_for_its_kind(
    *, counts_twice: bool, most: str
) -> None:
    with pytest.raises(ImageError, match=f"138 megapixels; expected at most {most}; reduce"):
        check_pixels(138_000_000, 50_000_000, counts_twice=counts_twice)
