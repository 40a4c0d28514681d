import os
import platform
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from flowercolor import doctor
from flowercolor.doctor import Finding, examine
from flowercolor.errors import CheckpointError
from flowercolor.inference.colorizer import Colorizer


def findings() -> dict[str, Finding]:
    return {finding.topic: finding for finding in examine("cpu")}


def test_a_sound_machine_is_examined_and_colors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    found = findings()
    assert list(found) == [
        *("flowercolor", "libraries", "extras", "environment", "CPU"),
        *(topic for topic in found if topic.startswith("GPU")),
        *("cache", "data", "bundled weights", "trial"),
    ]
    assert found["trial"].problem == ""
    assert "luma within 0" in found["trial"].found or "luma within 1" in found["trial"].found
    assert found["cache"].found.startswith("where FLOWERCOLOR_CACHE_DIR says, 0 MB, ")
    assert "SHA-256" in found["bundled weights"].found
    assert "uvicorn" in found["extras"].found


def test_without_torch_all_is_well_and_what_needs_it_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where flowercolor-light is installed: importing torch fails."""
    monkeypatch.setitem(sys.modules, "torch", None)
    found = {finding.topic: finding for finding in examine()}
    assert found["light"].found.startswith("colors by onnxruntime, on the CPU; training, ")
    assert "luma within" in found["trial"].found
    assert not any(finding.problem for finding in found.values())


def test_nothing_of_the_person_is_in_it(tmp_path: Path) -> None:
    text = "\n".join(f"{f.topic}{f.found}{f.problem}" for f in examine("cpu"))
    for private in (str(tmp_path), str(Path.home()), platform.node()):
        assert private not in text


def test_what_is_wrong_is_said_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def altered() -> Path:
        raise CheckpointError("/home/me/bundled.safetensors: the weights have been altered; x")

    monkeypatch.setattr(doctor, "bundled_checkpoint", altered)
    (tmp_path / "file").touch()
    monkeypatch.setenv("FLOWERCOLOR_DATA_DIR", str(tmp_path / "file"))
    found = findings()
    assert found["bundled weights"].problem == "the weights have been altered; x"
    assert "altered" in found["trial"].problem
    assert "set FLOWERCOLOR_DATA_DIR to another folder" in found["data"].problem


@pytest.mark.parametrize("threads", [1, 2])
def test_other_work_is_no_problem_and_noted_where_threads_would_wait(
    monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (1e6, 0.0, 0.0))
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    cpu = findings()["CPU"]
    assert not cpu.problem
    assert ("a load of 1000000: OMP_NUM_THREADS=1 is faster" in cpu.found) == (threads > 1)


def test_a_device_that_computes_wrongly_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Black:
        def __call__(self, gray: np.ndarray) -> np.ndarray:
            return np.zeros((*gray.shape, 3), np.uint8)

    monkeypatch.setattr(Colorizer, "from_checkpoint", lambda *_, **__: Black())
    assert "use --device cpu" in findings()["trial"].problem
