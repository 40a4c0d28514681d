"""What is recorded when, with a GPU played by the CPU; `test_engine` has the same on a real one."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

from flowercolor.data.loader import Batch
from flowercolor.training.cuda_graphs import WARM_UP, CudaGraphs

GB = 2**30


class PlayedGpu:
    """Repeats what was done while it recorded, on the tensors that it was done with."""

    def __init__(self) -> None:
        self.free_bytes, self.peak_bytes = 3 * GB, GB
        self.recording = False
        self.done: Callable[[], object] = lambda: None

    def CUDAGraph(self) -> Any:  # noqa: N802
        gpu = self

        class Graph:
            def replay(self) -> None:
                self.work()

            def capture_end(self) -> None:
                self.work = gpu.done

        return Graph()

    def graph(self, graph: Any, *_: Any, capture_error_mode: str) -> Any:
        gpu = self

        class Recording:
            def __enter__(self) -> None:
                gpu.recording = True

            def __exit__(self, *_: Any) -> None:
                gpu.recording = False
                graph.capture_end()

        assert capture_error_mode == "thread_local"
        return Recording()


class Work:
    """Adds what it sees to a total, in place, and says so."""

    def __init__(self, gpu: PlayedGpu) -> None:
        self.gpu, self.total, self.calls = gpu, torch.zeros(1), 0

    def __call__(self, batch: Batch, way: bool) -> Tensor:
        self.calls += 1
        result = torch.zeros(1)

        def do() -> None:
            seen = (batch.gray + batch.luma + batch.real).sum() * (10 if way else 1)
            self.total += seen
            result.copy_(seen)

        if self.gpu.recording:
            self.gpu.done = do
        else:
            do()
        return result


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> PlayedGpu:
    played = PlayedGpu()

    class Stream:
        def wait_stream(self, other: object) -> None:
            assert isinstance(other, Stream)

    for name, value in {
        "graph_pool_handle": lambda: (0, 1),
        "Stream": Stream,
        "current_stream": Stream,
        "stream": lambda _: nullcontext(),
        "CUDAGraph": played.CUDAGraph,
        "graph": played.graph,
        "mem_get_info": lambda: (played.free_bytes, 8 * GB),
        "max_memory_allocated": lambda: played.peak_bytes,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    return played


def batch(value: float, count: int = 2) -> Batch:
    gray = torch.full((count, 1, 2, 2), value)
    return Batch(gray, gray + 1, gray.expand(-1, 3, -1, -1) + 2, None, count, 1.0)


def seen(this: Batch) -> float:
    return (this.gray + this.luma + this.real).sum().item()


def test_each_batch_is_worked_on_once_as_it_is(gpu: PlayedGpu) -> None:
    work = Work(gpu)
    replayed: CudaGraphs[Batch] = CudaGraphs()
    given = [batch(float(number)) for number in range(8)]
    results = [replayed(work, this, False).item() for this in given]
    assert results == [seen(this) for this in given]
    assert work.total.item() == sum(results)
    assert work.calls == WARM_UP + 1


def test_each_kind_of_work_is_recorded_by_itself(gpu: PlayedGpu) -> None:
    work = Work(gpu)
    replayed: CudaGraphs[Batch] = CudaGraphs()
    for number in range(6):
        for count in (2, 3):
            for way, factor in ((False, 1), (True, 10)):
                this = batch(float(number), count)
                assert replayed(work, this, way).item() == factor * seen(this)
    assert work.calls == 4 * (WARM_UP + 1)


def test_what_is_not_there_and_what_is_no_tensor_stays(gpu: PlayedGpu) -> None:
    kept = []

    def work(this: Batch, way: bool) -> Tensor:
        kept.append((this.classes, this.photos, this.weight, way))
        return Work(gpu)(this, way)

    replayed: CudaGraphs[Batch] = CudaGraphs()
    for number in range(WARM_UP + 2):
        replayed(work, batch(float(number)), True)
    assert kept == [(None, 2, 1.0, True)] * (WARM_UP + 1)


def test_the_callers_pictures_are_left_alone(gpu: PlayedGpu) -> None:
    work, replayed = Work(gpu), CudaGraphs[Batch]()
    given = [batch(float(number)) for number in range(WARM_UP + 3)]
    for this in given:
        replayed(work, this, False)
    assert all(torch.equal(this.gray, batch(float(k)).gray) for k, this in enumerate(given))


def test_without_room_for_a_second_place_nothing_is_recorded(gpu: PlayedGpu) -> None:
    gpu.free_bytes = gpu.peak_bytes
    work = Work(gpu)
    replayed: CudaGraphs[Batch] = CudaGraphs()
    results = [replayed(work, batch(float(number)), False).item() for number in range(8)]
    assert results == [seen(batch(float(number))) for number in range(8)]
    assert work.calls == 8
