"""How much memory a photo may ask for, from what is known before it is read, and a lack of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOMEM

from flowercolor.config import MAX_MEGAPIXELS
from flowercolor.errors import DeviceError, FlowercolorError, ImageError

MAX_PIXELS = MAX_MEGAPIXELS * 1_000_000
"""Larger photos are refused, of two bytes a channel or with opacity those of half as many."""

LACK = "takes more memory than there is; reduce it first, or close something"

OR_RAISE = ", or raise `max_pixels` where there is memory enough"

_BYTES_PER_PIXEL = 4
_WORK_BYTES_PER_PIXEL = 24  # of the greediest decoders and encoders: of WebP 16 and 18
_METADATA_BYTES = 64 << 20

# What those say that have no class of their own for it: torch on a CPU, onnxruntime.
_WORDS = (
    *("DefaultCPUAllocator: ", "bad allocation", "bad_alloc", "Failed to allocate memory"),
    "failed to map segment from shared object",  # of a library that is loaded
)
_OPENCV_NO_MEMORY = -4
_NO_THREADS = ("start new thread", "pthread_create")


def check_pixels(pixels: int, max_pixels: int, *, counts_twice: bool) -> None:
    """Refuse a photo for what its header says of its size.

    Raises:
        ImageError: It has more than `max_pixels`, or than half of them if each counts twice.
    """
    most = max_pixels / (2 if counts_twice else 1)
    if pixels > most:
        unit, has, expected = "megapixels", _rounded(pixels / 1e6), _rounded(most / 1e6)
        if most < 1e6 or has == expected:
            unit, has, expected = "pixels", _rounded(pixels), _rounded(most)
        raise ImageError(
            f"has {has} {unit}; expected at most {expected}"
            f"{' with 16-bit color or opacity' if counts_twice else ''}; reduce it first{OR_RAISE}"
        )


def _rounded(number: float) -> str:
    return f"{number:,.1f}".removesuffix(".0")


def check_file_bytes(size_bytes: int, max_pixels: int) -> None:
    """Refuse what is to be read whole, for its size: no photo of so many pixels takes so much.

    Raises:
        ImageError: It has more bytes than the pixels uncompressed, and 64 MB.
    """
    most = max_file_bytes(max_pixels)
    if size_bytes > most:
        raise ImageError(
            f"has more than the {most / 1e6:,.0f} MB that {max_pixels:,} pixels take; "
            f"reduce it first{OR_RAISE}"
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
        or getattr(error, "errno", None) == ENOMEM
        or any(word in str(error) for word in _WORDS)
    )


def lack_of(error: BaseException) -> str:
    """What there is too little of, where an error says that: memory, or threads; else "".

    A thread takes memory too, and its error does not say what it was.
    """
    if lacks_memory(error):
        return "too little memory"
    no_threads = any(word in str(error) for word in _NO_THREADS)
    return "too few threads or too little memory" if no_threads else ""


def require_memory(usual_pixels: int) -> None:
    """Raise `MemoryError` where there is less than decoding or encoding a photo may take.

    Args:
        usual_pixels: How many it has, of 8 bits without opacity; others count twice.
    """
    bytes(_WORK_BYTES_PER_PIXEL * usual_pixels)  # zeros, which take no time before they are used


@contextmanager
def codec_memory_errors(usual_pixels: int) -> Iterator[None]:
    """Turn what a decoder or encoder raises into `MemoryError`, as for `require_memory`.

    They give a lack of memory many names, or none. Of more pixels than are read a header alone may
    be to blame.
    """
    try:
        yield
    except FlowercolorError:
        raise
    except Exception as error:
        if usual_pixels > MAX_PIXELS:
            raise
        try:
            require_memory(usual_pixels)
        except MemoryError as lack:
            raise lack from error
        raise


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


def lack_for_photo(photo: object, error: BaseException) -> str:
    """What to say of a photo whose work took more memory, or threads, than there is; else ""."""
    if lacks_memory(error):
        return f"{photo}: {error if isinstance(error, DeviceError) else LACK}"
    lack = lack_of(error)
    return lack and f"{photo}: {lack} here; close something, or raise the limits"


@contextmanager
def photo_memory_errors(photo: object) -> Iterator[None]:
    """Turn a lack of memory met anywhere in a photo's work into a `DeviceError` that names it."""
    try:
        yield
    except Exception as error:
        if not (message := lack_for_photo(photo, error)):
            raise
        raise DeviceError(message) from error
