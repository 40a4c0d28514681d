from typing import Any

import pytest
import torch
from torch.backends import cudnn

from flowercolor.config import Precision
from flowercolor.devices import (
    autocast,
    deterministic,
    has_fast_bf16,
    no_tf32,
    pick_device,
    warn_of_slow,
)
from flowercolor.errors import DeviceError, SettingError
from tests.helpers import Recorder, be_rank

CPU = torch.device("cpu")


def make_present(monkeypatch: pytest.MonkeyPatch, *, cuda: bool, mps: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_takes_the_fastest_device_there_is(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, expected: str
) -> None:
    make_present(monkeypatch, cuda=cuda, mps=mps)
    assert pick_device() == torch.device(expected)


def test_a_device_is_taken_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    make_present(monkeypatch, cuda=True, mps=False)
    assert pick_device("cpu") == CPU
    assert pick_device("cpu:0").type == "cpu"
    assert pick_device(torch.device("cuda")) == torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(DeviceError, match=r"^device cuda:2: there are 2 of the kind"):
        pick_device("cuda:2")


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_missing_device_is_refused_with_what_there_is(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    make_present(monkeypatch, cuda=False, mps=False)
    with pytest.raises(DeviceError, match=rf"^device {name}: .* it finds cpu: ") as caught:
        pick_device(name)
    assert "\n" not in str(caught.value)


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    make_present(monkeypatch, cuda=True, mps=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    be_rank(monkeypatch, 5, 6, 1)
    assert pick_device() == torch.device("cuda", 1)
    be_rank(monkeypatch, 5, 6, 2)
    with pytest.raises(DeviceError, match=r"process 3 on a machine with 2 of them; .*cpu\"`$"):
        pick_device()
    assert pick_device("cpu") == CPU


@pytest.mark.parametrize(
    "name", ["gpu", "CPU", "", "meta", "cpu:1", "auto:0", "cuda:", "cuda:one", "cuda:-1"]
)
def test_an_unknown_device_is_refused_with_the_names(name: str) -> None:
    with pytest.raises(SettingError, match=f"'{name}'; expected one of auto, cpu, cuda, mps"):
        pick_device(name)


@pytest.mark.parametrize(
    ("precision", "expected"), [("float32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_a_precision_is_computed_in(precision: str, expected: torch.dtype) -> None:
    with autocast(CPU, precision):  # type: ignore[arg-type]
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == expected


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("precision", ["auto", "float32", "bf16"])
def test_bf16_is_told_to_be_slow_only_where_it_is_asked_of_a_cpu_not_made_for_it(
    monkeypatch: pytest.MonkeyPatch, precision: Precision, *, fast: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: fast, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    progress = Recorder()
    warn_of_slow(CPU, precision, progress)
    warn_of_slow(torch.device("mps"), precision, progress)
    slow = precision == "bf16" and not fast
    assert len(progress.notes) == slow
    if slow:
        assert progress.notes[0].startswith("WARNING: this CPU is not made for bf16, and ")


@pytest.mark.parametrize(("fast", "expected"), [(False, torch.float32), (True, torch.bfloat16)])
def test_auto_computes_in_bfloat16_only_where_a_cpu_has_the_instructions(
    monkeypatch: pytest.MonkeyPatch, fast: bool, expected: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: fast, raising=False)
    assert has_fast_bf16(CPU) == fast
    with autocast(CPU):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == expected


def test_an_unknown_precision_is_refused_with_the_names() -> None:
    with pytest.raises(SettingError, match="'fp16'; expected one of auto, float32, bf16"):
        autocast(CPU, "fp16")  # type: ignore[arg-type]


def test_mps_computes_in_float32() -> None:
    assert not has_fast_bf16(torch.device("mps"))


def test_cudnns_settings_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cudnn, "benchmark", True)
    rounded = cudnn.allow_tf32
    with pytest.raises(ZeroDivisionError), deterministic(), no_tf32():
        assert (cudnn.deterministic, cudnn.benchmark) == (True, False)
        raise ZeroDivisionError
    assert (cudnn.deterministic, cudnn.benchmark) == (False, True)
    assert cudnn.allow_tf32 == rounded


@pytest.mark.skipif(not hasattr(cudnn, "conv"), reason="an older torch")
@pytest.mark.parametrize("callers", ["ieee", "tf32"])
def test_a_caller_may_have_set_the_precision_by_its_newer_name(callers: str) -> None:
    """After which torch raises wherever the older one is read."""
    newer: Any = cudnn.conv  # type: ignore[attr-defined]
    before = newer.fp32_precision
    newer.fp32_precision = callers
    try:
        with deterministic(), no_tf32():
            assert newer.fp32_precision == "ieee"
        assert newer.fp32_precision == callers
    finally:
        newer.fp32_precision = before
