import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from flowercolor.errors import DeviceError, ImageError
from flowercolor.memory_budget import (
    LACK,
    check_pixels,
    codec_memory_errors,
    lack_of,
    memory_errors,
    photo_memory_errors,
)


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
    ("pixels", "max_pixels", "counts_twice", "said"),
    [
        (138_000_000, 50_000_000, False, "138 megapixels; expected at most 50"),
        (
            138_000_000,
            50_000_000,
            True,
            "138 megapixels; expected at most 25 with 16-bit color or ",
        ),
        (2_340_000, 1_500_000, False, "2.3 megapixels; expected at most 1.5"),
        (50_000_001, 50_000_000, False, "50,000,001 pixels; expected at most 50,000,000"),
        (60_000, 49_999, False, "60,000 pixels; expected at most 49,999"),
        (60_000, 49_999, True, "60,000 pixels; expected at most 24,999.5 with 16-bit color or "),
    ],
)
def test_a_photo_that_is_too_large_is_refused_for_its_kind(
    *, pixels: int, max_pixels: int, counts_twice: bool, said: str
) -> None:
    check_pixels(pixels, pixels * (2 if counts_twice else 1), counts_twice=counts_twice)
    with pytest.raises(ImageError, match=f"^has {said}.*; reduce it first, or raise `max_pixels`"):
        check_pixels(pixels, max_pixels, counts_twice=counts_twice)


def test_what_there_is_too_little_of_is_told_from_other_errors() -> None:
    assert lack_of(MemoryError()) == "too little memory"
    for words in ("can't start new thread", "env.cc pthread_create failed, error: 11"):
        assert lack_of(RuntimeError(words)) == "too few threads or too little memory"
    assert lack_of(RuntimeError("channels do not match")) == ""


def test_a_thread_too_many_is_no_fault_of_the_photo() -> None:
    with (
        pytest.raises(DeviceError, match=r"^a\.png: too few threads or too little memory here; "),
        photo_memory_errors("a.png"),
    ):
        raise RuntimeError("can't start new thread")


def test_what_a_decoder_says_is_believed_where_there_is_memory_for_the_photo() -> None:
    for pixels in (1000, 1 << 50):  # the latter by a header alone, for it would not be read
        with pytest.raises(ValueError, match="odd"), codec_memory_errors(pixels):
            raise ValueError("odd")
    with pytest.raises(ImageError, match="of ours"), codec_memory_errors(1 << 50):
        raise ImageError("of ours")


_WITHIN_LIMITS = """
import resource
import cv2, numpy as np
from flowercolor.memory_budget import photo_memory_errors
from flowercolor.photos.reader import read_photo
from flowercolor.photos.writer import encode_photo

cv2.setNumThreads(1)
rgb = np.zeros((1200, 1600, 3), np.uint8)
deep_tiff = encode_photo(rgb.astype(np.uint16), "TIFF")
webp = encode_photo(rgb, "WEBP", alpha=rgb[..., 0])
work = {
    "TIFF": lambda: read_photo(deep_tiff),
    "WebP": lambda: read_photo(webp),
    "to WebP": lambda: encode_photo(rgb, "WEBP"),
}
for name, do in work.items():
    do()
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    for free_mb in range(10, 60, 5):
        resource.setrlimit(resource.RLIMIT_AS, (used + (free_mb << 20), resource.RLIM_INFINITY))
        try:
            with photo_memory_errors("a"):
                do()
            message = "done"
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
        print(name, message, sep=": ")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits it so")
def test_too_little_memory_is_never_laid_to_the_photo(tmp_path: Path) -> None:
    """Decoders and encoders call it many things, such as WebP's "encoding error 1"."""
    done = subprocess.run(
        [sys.executable, "-c", _WITHIN_LIMITS],
        cwd=tmp_path, env=os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"},  # which frees at once
        capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    said = {tuple(line.split(": ", 1)) for line in done.stdout.splitlines()}
    assert {name for name, message in said if message == "done"} == {name for name, _ in said}
    assert {message.partition("a: ")[2] for _, message in said} == {"", LACK}, said
