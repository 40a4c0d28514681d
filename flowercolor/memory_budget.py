"""How much memory a photo may ask for, from what is known before it is read, and a lack of it."""

from collections.abc import Iterator
from contextlib import contextmanager

from flowercolor.config import MAX_MEGAPIXELS
from flowercolor.errors import DeviceError, FlowercolorError, ImageError

MAX_PIXELS = MAX_MEGAPIXELS * 1_000_000
"""Larger photos are refused, of two bytes a channel or with opacity those of half as many."""

LACK = "takes more memory than there is; reduce it first, or close something"

_BYTES_PER_PIXEL = 4
_METADATA_BYTES = 64 << 20

# What those say that have no class of their own for it: torch on a CPU, onnxruntime.
_WORDS = ("DefaultCPUAllocator: ", "bad allocation", "bad_alloc", "Failed to allocate memory")
_OPENCV_NO_MEMORY = -4
_NO_THREADS = ("start new thread", "pthread_create")


def check_pixels(pixels: int, max_pixels: int, *, counts_twice: bool) -> None:
    """Refuse a photo for what its header says of its size.

    Raises:
        ImageError: It has more than `max_pixels`, or than half of them if each counts twice.
    """
    most = max_pixels / (2 if counts_twice else 1)
    if pixels > most:
        raise ImageError(
            f"has {pixels / 1e6:.0f} megapixels; expected at most {most / 1e6:.0f}"
            f"{' with 16-bit color or opacity' if counts_twice else ''}; reduce it first, or raise "
            "`max_pixels` where there is memory enough"
        )


def check_file_bytes(size_bytes: int, max_pixels: int) -> None:
    """Refuse what is to be read whole, for its size: no photo of so many pixels takes so much.

    Raises:
        ImageError: It has more bytes than the pixels uncompressed, and 64 MB.
    """
    most = max_file_bytes(max_pixels)
    if size_bytes > most:
        raise ImageError(
            f"has more than the {most / 1e6:,.0f} MB that {max_pixels / 1e6:.0f} megapixels take; "
            "reduce it first, or raise `max_pixels`"
        )


def max_file_bytes(max_pixels: int) -> int:
    """The size of the largest file that is read whole for a photo of so many pixels."""
    return _BYTES_PER_PIXEL * max_pixels + _METADATA_BYTES


def lacks_memory(error: BaseException) -> bool:
    """Whether an error, of whichever library or of ours, is one of too little memory."""
    if isinstance(error, FlowercolorError):
        return error.__cause__ is not None and lacks_memory(error.__cause__)
    return (
        isinstance(error, MemoryError)
        or _is_of_torch(error)
        or getattr(error, "code", None) == _OPENCV_NO_MEMORY
        or any(word in str(error) for word in _WORDS)
    )


def lack_of(error: BaseException) -> str:
    """What there is too little of, where an error says that: memory, or threads; else ""."""
    if lacks_memory(error):
        return "too little memory"
    return "too few threads" if any(word in str(error) for word in _NO_THREADS) else ""


def _is_of_torch(error: BaseException) -> bool:
    return type(error).__name__ == "OutOfMemoryError"  # torch need not be loaded


@contextmanager
def memory_errors(doing: str, smaller: str) -> Iterator[None]:
    """Turn a lack of memory met while `doing` into a `DeviceError` that says what helps."""
    try:
        yield
    except Exception as error:
        if isinstance(error, FlowercolorError) or not lacks_memory(error):
            raise
        memory = "memory of the GPU" if _is_of_torch(error) else "memory"
        raise DeviceError(f"out of {memory} while {doing}; give a smaller {smaller}") from error


def photo_lacks_memory(photo: object, error: BaseException) -> str:
    """What to say of a photo whose reading, coloring or writing took too much memory."""
    return f"{photo}: {error if isinstance(error, DeviceError) else LACK}"


@contextmanager
def photo_memory_errors(photo: object) -> Iterator[None]:
    """Turn a lack of memory met anywhere in a photo's work into a `DeviceError` that names it."""
    try:
        yield
    except Exception as error:
        if not lacks_memory(error):
            raise
        raise DeviceError(photo_lacks_memory(photo, error)) from error
