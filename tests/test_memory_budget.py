import pytest
import torch

from flowercolor.errors import DeviceError, ImageError
from flowercolor.memory_budget import check_pixels, lack_of, memory_errors, photo_memory_errors


@pytest.mark.parametrize(
    "raised",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] data. DefaultCPUAllocator: not enough memory: you "
            "tried to allocate 9 bytes. Error code 12 (Cannot allocate memory)"
        ),
        RuntimeError(
            "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Conv "
            "node. Name:'' Status Message: std::bad_alloc"
        ),
        MemoryError("Unable to allocate 561. MiB for an array"),
    ],
)
def test_too_little_memory_is_one_line_in_plain_words(raised: Exception) -> None:
    of_gpu = " of the GPU" if isinstance(raised, torch.OutOfMemoryError) else ""
    with (
        pytest.raises(
            DeviceError, match=f"^out of memory{of_gpu} while baking; give a smaller cake$"
        ),
        memory_errors("baking", "cake"),
    ):
        raise raised
    with (
        pytest.raises(
            DeviceError, match=r"^a\.png: takes more memory than there is; reduce it first, or cl"
        ),
        photo_memory_errors("a.png"),
    ):
        raise raised


def test_a_lack_of_memory_that_another_error_tells_of_names_the_photo_once() -> None:
    with (
        pytest.raises(DeviceError, match=r"^a\.png: takes more memory than there is; "),
        photo_memory_errors("a.png"),
    ):
        try:
            raise MemoryError("Unable to allocate")
        except MemoryError as error:
            raise ImageError("a.jpg: cannot be written as JPEG: Unable to allocate") from error


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    with (
        pytest.raises(RuntimeError, match=r"^shapes differ$"),
        photo_memory_errors("a.png"),
        memory_errors("baking", "cake"),
    ):
        raise RuntimeError("shapes differ")


@pytest.mark.parametrize(
    ("counts_twice", "most"), [(False, "50"), (True, "25 with 16-bit color or opacity")]
)
def test_a_photo_that_is_too_large_is_refused_for_its_kind(
    *, counts_twice: bool, most: str
) -> None:
    with pytest.raises(ImageError, match=f"138 megapixels; expected at most {most}; reduce"):
        check_pixels(138_000_000, 50_000_000, counts_twice=counts_twice)


def test_what_there_is_too_little_of_is_told_from_other_errors() -> None:
    assert lack_of(MemoryError()) == "too little memory"
    assert lack_of(RuntimeError("can't start new thread")) == "too few threads"
    assert lack_of(RuntimeError("env.cc pthread_create failed, error: 11")) == "too few threads"
    assert lack_of(RuntimeError("channels do not match")) == ""
