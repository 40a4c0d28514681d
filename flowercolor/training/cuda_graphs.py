"""CUDA graph capture and replay."""

import gc
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any, Generic, NamedTuple, TypeVar

from torch import Tensor, cuda

WARM_UP = 3

Batch = TypeVar("Batch", bound=tuple[Any, ...])


class _Recording(NamedTuple):
    graph: cuda.CUDAGraph
    batch: tuple[Any, ...]
    result: Tensor


class CudaGraphs(Generic[Batch]):
    """What is done with a batch, recorded on a GPU and replayed on others of the same shape.

    A step of both networks is some 1,500 kernels. Python takes twice as long to name them one
    by one as a fast GPU to run them; replayed, they are one call, and the same to the last bit.

    The first calls are as without it: they let cuDNN, a compiler and the optimizers make
    ready. Without memory for what recorded work needs to itself, all calls are.

    The work is handed in at each call: if this knew the object that it is a method of, neither
    would go before Python's garbage collector came by, and a recording that goes while another
    is made breaks it.
    """

    def __init__(self) -> None:
        self._calls: Counter[Hashable] = Counter()
        self._recorded: dict[Hashable, _Recording] = {}
        # One is replayed after the other, so what comes up on the way may lie in one place.
        self._pool = cuda.graph_pool_handle()
        # Autograd goes back on the stream of the way there, and the usual one cannot be recorded.
        self._stream = cuda.Stream()

    def __call__(self, work: Callable[[Batch, bool], Tensor], batch: Batch, way: bool) -> Tensor:
        """What the work gives; valid until the next call.

        Args:
            work: Always the same; with tensors alone, none of which may be read on the way, and
                to tensors that stay where they are. All else that it depends on stays as
                recorded.
            batch: A named tuple, of tensors and of what follows from their shapes.
            way: One of the two ways in which the work is done.
        """
        kind = (way, *(part.shape for part in batch if isinstance(part, Tensor)))
        self._calls[kind] += 1
        recorded = self._recorded.get(kind)
        if not recorded:
            if self._calls[kind] != WARM_UP + 1 or not _has_room():
                return self._aside(work, batch, way)
            recorded = self._recorded[kind] = self._record(work, batch, way)
        for static, new in zip(recorded.batch, batch, strict=True):
            if isinstance(static, Tensor):
                static.copy_(new)
        recorded.graph.replay()
        return recorded.result

    def _aside(self, work: Callable[[Batch, bool], Tensor], batch: Batch, way: bool) -> Tensor:
        usual = cuda.current_stream()
        self._stream.wait_stream(usual)
        with cuda.stream(self._stream):
            result = work(batch, way)
        usual.wait_stream(self._stream)
        return result

    def _record(self, work: Callable[[Batch, bool], Tensor], batch: Batch, way: bool) -> _Recording:
        parts = (part.clone() if isinstance(part, Tensor) else part for part in batch)
        static, graph = type(batch)(*parts), cuda.CUDAGraph()
        gc.collect()  # others' recordings, while none is made
        # Of this thread alone: another may be pinning memory for the pictures to come.
        mode = "thread_local"
        with cuda.graph(graph, self._pool, self._stream, capture_error_mode=mode):
            result = work(static, way)
        return _Recording(graph, static, result)


def _has_room() -> bool:
    """Whether all that was needed so far would fit in once more: others' steps need it again."""
    free_bytes, _ = cuda.mem_get_info()
    return free_bytes > cuda.max_memory_allocated()
