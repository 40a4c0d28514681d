"""What becomes of a lack of memory."""

from collections.abc import Iterator
from contextlib import contextmanager

import cv2

from flowercolor.errors import DeviceError, one_line

# What those say that have no class of their own for it: torch on a CPU, onnxruntime.
_WORDS = ("DefaultCPUAllocator: ", "bad allocation", "bad_alloc", "Failed to allocate memory")


@contextmanager
def memory_errors(doing: str, smaller: str) -> Iterator[None]:
    """Turn a lack of memory met while `doing` into a `DeviceError` that says what helps."""
    try:
        yield
    except Exception as error:
        text = one_line(error)
        lacking = (
            isinstance(error, MemoryError)
            or type(error).__name__ == "OutOfMemoryError"  # torch's, which need not be loaded
            or getattr(error, "code", None) == cv2.Error.StsNoMem
            or any(word in text for word in _WORDS)
        )
        if not lacking:
            raise
        reason = text.rpartition(_WORDS[0])[2].partition(". ")[0]
        raise DeviceError(
            f"out of memory while {doing}: {reason}; give a smaller {smaller}"
        ) from error
