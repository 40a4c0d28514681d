import errno
import json
import math
import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from flowercolor.checkpoint import (
    CheckpointInfo,
    load_generator,
    load_into,
    load_tensors,
    read_info,
    save_checkpoint,
)
from flowercolor.color import rgb_to_chroma
from flowercolor.config import NetworkConfig, TrainConfig
from flowercolor.errors import CheckpointError, SettingError, StorageError
from flowercolor.evaluation.scoring import generate
from flowercolor.networks.unet import UNet
from flowercolor.runs import find_checkpoint
from flowercolor.vividness import join

SCALELESS: tuple[Any, ...] = (math.nan, math.inf, 7, -1, "vivid", True, [])
"""What is no place on a vividness scale."""

CONFIG = TrainConfig(NetworkConfig(2, "chroma"), epochs=7, size_px=32)
INFO = CheckpointInfo(CONFIG, 3, 5, 0.08, 0.07, {"name": "flowers.tgz", "train_photos": 10})


def weights(config: NetworkConfig = CONFIG.network) -> dict[str, Tensor]:
    """Of a generator with its own random weights and running statistics."""
    torch.manual_seed(0)
    generator = UNet(config)
    generator(torch.rand(2, 1, 16, 16))
    return {f"generator.{name}": value for name, value in generator.state_dict().items()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A checkpoint that is whole."""
    path = tmp_path / "some.safetensors"
    save_checkpoint(path, INFO, {**weights(), "totals": torch.arange(6.0)})
    return path


def assert_refused(path: Path, reason: str) -> None:
    """Every way to read `path` gives one line that names it."""
    for read in (read_info, load_tensors, load_generator):
        with pytest.raises(CheckpointError, match=reason) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)


def write_foreign(path: Path, header: Any) -> None:
    """A checkpoint with another header."""
    text = header if isinstance(header, str) else json.dumps(header)
    safetensors.torch.save_file(weights(), path, metadata={"flowercolor": text})


# Round trips


def test_a_checkpoint_says_what_it_is(path: Path) -> None:
    assert read_info(path) == INFO
    assert load_tensors(path)[0] == INFO


def test_tensors_come_back_as_they_were(path: Path) -> None:
    _, tensors = load_tensors(path)
    expected = {**weights(), "totals": torch.arange(6.0)}
    assert tensors.keys() == expected.keys()
    for name, tensor in tensors.items():
        assert tensor.dtype == expected[name].dtype
        assert torch.equal(tensor, expected[name])


def test_a_generator_comes_back_ready_to_color(path: Path) -> None:
    generator, info = load_generator(path)
    assert info == INFO
    assert generator.config == CONFIG.network
    assert not generator.training
    expected = weights()
    for name, value in generator.state_dict().items():
        assert torch.equal(value, expected[f"generator.{name}"])


def test_channels_last_weights_come_back_as_they_were(tmp_path: Path) -> None:
    weight = torch.rand(4, 3, 2, 2).to(memory_format=torch.channels_last)
    save_checkpoint(tmp_path / "a", INFO, {"w": weight})
    assert torch.equal(load_tensors(tmp_path / "a")[1]["w"], weight)


def test_half_precision_halves_the_file_and_loads_as_float32(tmp_path: Path) -> None:
    whole, half = tmp_path / "whole", tmp_path / "half"
    config = TrainConfig(NetworkConfig(8))
    tensors = weights(config.network)
    save_checkpoint(whole, CheckpointInfo(config), tensors)
    save_checkpoint(half, CheckpointInfo(config), tensors, half=True)
    assert half.stat().st_size < 0.55 * whole.stat().st_size
    assert {value.dtype for value in load_tensors(half)[1].values()} == {
        torch.float16,
        torch.int64,  # the steps that batch norm has seen
    }
    generator, _ = load_generator(half)
    for name, value in generator.state_dict().items():
        assert value.dtype == tensors[f"generator.{name}"].dtype
        torch.testing.assert_close(value, tensors[f"generator.{name}"], atol=1e-4, rtol=1e-3)


def test_what_half_precision_cannot_hold_is_stored_whole(tmp_path: Path) -> None:
    """A variance beyond its range would come back infinite, and its channel as nothing."""
    tensors = weights()
    large = next(name for name in tensors if name.endswith("running_var"))
    tensors[large] = torch.full_like(tensors[large], 1e6)
    one, other = tmp_path / "one.safetensors", tmp_path / "other.safetensors"
    joined = tmp_path / "joined.safetensors"
    save_checkpoint(one, INFO, tensors)
    save_checkpoint(other, INFO, {name: value + 0.05 for name, value in tensors.items()})
    join(one, other, joined)
    stored = load_tensors(joined)[1]
    assert torch.equal(stored[large], tensors[large])
    assert stored["generator.head.weight"].dtype == torch.float16


def test_a_checkpoint_of_an_older_version_is_read(tmp_path: Path) -> None:
    """Its settings may lack some that came later."""
    header = {"format": 1, "config": {"network": {"output": "chroma"}}, "version": "0.0.1"}
    write_foreign(tmp_path / "a", header)
    info = read_info(tmp_path / "a")
    assert info == CheckpointInfo(
        TrainConfig(NetworkConfig(output="chroma")),
        created=info.created,
        version="0.0.1",
    )


def test_what_older_versions_said_beside_is_passed_over(path: Path) -> None:
    write_foreign(path, {**json.loads(INFO.to_json()), "knows_validation": True})
    assert read_info(path) == INFO


# What is refused


@pytest.fixture
def ends(tmp_path: Path) -> tuple[Path, Path]:
    """Two checkpoints of one kind of network, with other weights and statistics."""
    safe, vivid = tmp_path / "safe.safetensors", tmp_path / "vivid.safetensors"
    tensors = weights()
    save_checkpoint(safe, INFO, tensors)
    save_checkpoint(vivid, INFO, {name: value + 0.05 for name, value in tensors.items()})
    return safe, vivid


def test_a_vividness_goes_from_one_end_to_the_other(
    ends: tuple[Path, Path], tmp_path: Path
) -> None:
    joined = tmp_path / "joined.safetensors"
    join(*ends, joined, vividness=0.25, note="two ends")
    safe = load_generator(ends[0])[0].state_dict()
    for vividness, moved in ((0.0, 0.0), (0.75, 0.0375), (1.0, 0.05), (None, 0.0125)):
        generator, info = load_generator(joined, vividness=vividness)
        assert (info.vividness, info.note, info.test_l1) == (0.25, "two ends", INFO.test_l1)
        for name, value in generator.state_dict().items():
            if value.is_floating_point():
                torch.testing.assert_close(value, safe[name] + moved, atol=2e-3, rtol=0)
    assert joined.stat().st_size < 0.6 * sum(end.stat().st_size for end in ends)


def test_a_scale_as_the_end_of_another_brings_no_score(
    ends: tuple[Path, Path], tmp_path: Path
) -> None:
    """Its own is that of its safe end, and where it stands is elsewhere."""
    join(*ends, tmp_path / "joined.safetensors")
    for safe, score in ((ends[0], INFO.best_l1), (tmp_path / "joined.safetensors", None)):
        joined = tmp_path / f"{safe.stem} joined.safetensors"
        join(safe, ends[1], joined)
        assert read_info(joined).best_l1 == score


def test_what_the_ends_share_is_stored_once(ends: tuple[Path, Path], tmp_path: Path) -> None:
    alike, joined = tmp_path / "alike.safetensors", tmp_path / "joined.safetensors"
    tensors = weights()
    save_checkpoint(alike, INFO, {**tensors, "generator.head.bias": torch.tensor([0.5, 0.25])})
    join(ends[0], alike, joined)
    stored = load_tensors(joined)[1]
    assert {name for name in stored if name.startswith("vivid.")} == {"vivid.head.bias"}
    for vividness in (0.0, 0.5, 1.0):
        generator, _ = load_generator(joined, vividness=vividness)
        for name, value in generator.state_dict().items():
            start = tensors[f"generator.{name}"]
            end = torch.tensor([0.5, 0.25]) if name == "head.bias" else start
            expected = start + vividness * (end - start)
            torch.testing.assert_close(value, expected.to(value.dtype), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("name", "value"), [("head.bias", torch.zeros(1)), ("nowhere", torch.zeros(2))]
)
def test_an_end_that_does_not_fit_the_network_is_refused(
    path: Path, name: str, value: Tensor
) -> None:
    """One bias in place of two could be spread over both."""
    joined = replace(INFO, vividness=0.5)
    save_checkpoint(path, joined, {**weights(), f"vivid.{name}": value})
    with pytest.raises(CheckpointError, match=rf"do not fit the network .*{name}"):
        load_generator(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(path: Path, value: float) -> None:
    save_checkpoint(path, INFO, {**weights(), "generator.head.bias": torch.full((2,), value)})
    with pytest.raises(CheckpointError, match="weights that are no finite numbers") as caught:
        load_generator(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_weights_that_are_whole_numbers_are_refused(path: Path) -> None:
    whole = torch.ones(2, dtype=torch.int32)
    save_checkpoint(path, INFO, {**weights(), "generator.head.bias": whole})
    with pytest.raises(CheckpointError, match="holds weights that are whole numbers"):
        load_generator(path)


def test_variances_below_0_are_refused(path: Path) -> None:
    """Their roots are no numbers, and every pixel would come out black."""
    tensors = weights()
    name = next(name for name in tensors if name.endswith("running_var"))
    save_checkpoint(path, INFO, {**tensors, name: -tensors[name]})
    with pytest.raises(CheckpointError, match="holds variances below 0") as caught:
        load_generator(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_vividness_without_a_scale_is_refused(path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds one network and no vividness scale") as caught:
        load_generator(path, vividness=0.5)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("vividness", [-0.1, 1.1, float("nan"), "x"])
def test_a_vividness_out_of_range_is_refused(
    ends: tuple[Path, Path], tmp_path: Path, vividness: Any
) -> None:
    with pytest.raises(SettingError, match=f"^vividness is {vividness!r}; expected "):
        load_generator(ends[0], vividness=vividness)
    with pytest.raises(
        SettingError, match=f"^vividness is {vividness!r}; expected (0 to|a number)"
    ):
        join(*ends, tmp_path / "joined.safetensors", vividness=vividness)
    assert not (tmp_path / "joined.safetensors").exists()


def test_networks_of_two_beginnings_make_no_scale(ends: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    torch.manual_seed(1)
    network = UNet(CONFIG.network)
    save_checkpoint(other, INFO, {f"generator.{k}": v for k, v in network.state_dict().items()})
    with pytest.raises(CheckpointError, match="began at other weights than") as caught:
        join(ends[0], other, tmp_path / "joined.safetensors")
    assert str(caught.value).startswith(f"{other}: ")
    assert not (tmp_path / "joined.safetensors").exists()


def test_two_kinds_of_network_make_no_scale(ends: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    config = replace(CONFIG, network=NetworkConfig(3))
    save_checkpoint(other, replace(INFO, config=config), weights(config.network))
    with pytest.raises(
        CheckpointError, match=r"another kind .*: base_channels 3, not 2, output"
    ) as caught:
        join(ends[0], other, tmp_path / "joined.safetensors")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path / "none.safetensors", "no such file; expected a checkpoint")
    assert_refused(tmp_path, "is a folder; `runs.find_checkpoint` finds a run's weights; expected")


@pytest.mark.parametrize("keep", [0, 4, 8, 100, -1])
def test_a_cut_file_is_refused(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])
    assert_refused(path, r"not a whole safetensors file \(.+\); expected a checkpoint")


@pytest.mark.parametrize("seed", range(5))
def test_random_bytes_are_refused(path: Path, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    path.write_bytes(bytes(torch.randint(256, (1000,), generator=rng).tolist()))
    assert_refused(path, "not a whole safetensors file")


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("write", [torch.save, lambda thing, path: path.write_bytes(thing)])
def test_a_pickle_is_refused_and_never_run(path: Path, tmp_path: Path, write: Any) -> None:
    marker = tmp_path / "was run"
    evil = Evil(marker)
    write(evil if write is torch.save else pickle.dumps(evil), path)
    assert_refused(path, "not a whole safetensors file")
    assert not marker.exists()
    pickle.loads(pickle.dumps(evil))
    assert marker.exists(), "the pickle is harmless: this test shows nothing"


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_weights_of_others_are_refused(path: Path, metadata: dict[str, str] | None) -> None:
    safetensors.torch.save_file(weights(), path, metadata=metadata)
    assert_refused(path, "a safetensors file, but not written by flowercolor")


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"format": 2, "config": {}}, "it has format 2; this version reads format 1"),
        ({"config": {}}, "it has format None; this version reads format 1"),
        ({"format": 1}, "its header is incomplete"),
        ({"format": 1, "config": 5}, "its header is incomplete"),
        ({"format": 1, "config": {"epochs": "many"}}, "epochs is 'many'; expected a whole number"),
        ({"format": 1, "config": {}, "color": 1}, "its header is incomplete: .*color"),
        ({"format": 1, "config": {"color": 1}}, "unknown settings color; another version"),
        ({"format": 1, "config": {"network": {"color": 1}}}, "unknown settings color"),
        ({"format": 1, "config": {"size_px": 100}}, "size_px is 100; expected a multiple"),
        ({"format": 1, "config": {"validation": 1}}, "validation is 1; expected true or false"),
        ({"format": 1, "config": {"epochs": True}}, "epochs is True; expected a whole number"),
        ({"format": 1, "config": {"network": {"base_channels": 10**18}}}, "expected 1 to 4096"),
        *(
            ({"format": 1, "config": {}, "vividness": value}, r"vividness is .*; expected 0 to 1")
            for value in SCALELESS
        ),
        *(
            ({"format": 1, "config": {}, name: value}, f"{name} is ")
            for name, value in {
                "epoch": 1.5,
                "step": -1,
                "best_epoch": "first",
                "test_l1": math.nan,
                "best_l1": "low",
                "best_score": -1,
                "note": 5,
                "created": None,
                "version": {},
                "data": [],
            }.items()
        ),
        *(
            ({"format": 1, "config": {}, "data": data}, "data is not what describes the photos")
            for data in ({"sources": 7}, {"sources": [{"share": "x"}]}, {"left_out": [7]})
        ),
        ("[" * 100_000, "its header is nested beyond all measure"),
        ('{"format": ' + "1" * 5_000 + "}", "its header has a number of 5,000 digits"),
        ([], "its header is incomplete"),
        ("5", "its header is incomplete"),
        ("{", "its header is no JSON at line 1, column 2"),
    ],
)
def test_a_header_that_is_not_understood_is_refused(path: Path, header: Any, reason: str) -> None:
    write_foreign(path, header)
    assert_refused(path, reason)


def test_weights_of_another_shape_than_the_header_says_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    save_checkpoint(path, INFO, weights(NetworkConfig(3, "chroma")))
    with pytest.raises(CheckpointError, match="do not fit the network its header") as caught:
        load_generator(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [{}, {"generator.more": torch.zeros(1)}])
def test_weights_that_lack_a_name_or_have_one_more_are_refused(
    tmp_path: Path, change: dict[str, Tensor]
) -> None:
    tensors = {**weights(), **change}
    if not change:
        tensors.pop("generator.head.bias")
    with pytest.raises(CheckpointError, match=r"(head\.bias|more)") as caught:
        load_into(UNet(CONFIG.network), tensors, "generator.", tmp_path / "a")
    assert "\n" not in str(caught.value)


# Writing


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES])
def test_a_disk_that_takes_no_more_leaves_the_old_checkpoint(
    path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(file: Path, content: bytes) -> int:
        with file.open("wb") as opened:
            opened.write(content[: len(content) // 2])
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", refuse)
        with pytest.raises(StorageError, match=r"some\.safetensors: cannot be written: "):
            save_checkpoint(path, CheckpointInfo(CONFIG, epoch=4), weights())
    assert load_generator(path)[1] == INFO
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the system does not tell")
def test_a_checkpoint_that_was_read_is_in_use_no_more(path: Path) -> None:
    """Windows would let nobody replace it, such as a run that goes on."""
    generator, _ = load_generator(path)
    assert path.name not in Path("/proc/self/maps").read_text()
    del generator


def test_the_bundled_weights_are_there_and_within_20_mb() -> None:
    """Those of the package itself: whole, in half precision, and they say how they came to be."""
    path = find_checkpoint("bundled")
    info, tensors = load_tensors(path)
    assert path.stat().st_size <= 20e6
    assert {name.partition(".")[0] for name in tensors} == {"generator", "vivid"}
    assert info.vividness is not None
    most = torch.finfo(torch.half).max  # beyond it, variances of batch norm stay in float32
    assert all(t.abs().max() > most for t in tensors.values() if t.dtype == torch.float32)
    assert info.note
    load_generator(path)


def test_the_bundled_weights_paint_what_they_painted_when_they_were_bundled() -> None:
    """A change of the network's wiring would spoil them without an error; new ones change this."""
    generator, _ = load_generator(find_checkpoint("bundled"), vividness=0)
    ramp = torch.linspace(0.1, 0.9, 32).expand(1, 1, 32, 32)
    chroma = rgb_to_chroma(generate(generator, (ramp + ramp.mT) / 2)).mean(dim=(0, 2, 3))
    torch.testing.assert_close(chroma, torch.tensor([-0.0243, 0.0125]), atol=1e-3, rtol=0)
