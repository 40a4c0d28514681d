import hashlib
import os
import platform
import re
import sys
from importlib import resources
from pathlib import Path

import platformdirs
import pytest
import torch
from PIL import Image

from flowercolor.config import NetworkConfig
from flowercolor.doctor import Finding, examine
from flowercolor.networks.unet import UNet
from flowercolor.photos.formats import load_plugins
from tests.helpers import no_home, save_network


@pytest.fixture
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the weights of a package that has none."""
    folder = tmp_path / "weights"
    folder.mkdir()
    others = resources.files
    monkeypatch.setattr(
        resources, "files", lambda name: tmp_path if name == "flowercolor" else others(name)
    )
    return folder


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
    assert found["light"].found.startswith("colors by onnxruntime, on the CPU; downloading, ")
    assert "exporting ONNX" in found["light"].found
    assert "luma within" in found["trial"].found
    assert not any(finding.problem for finding in found.values())


def test_nothing_of_the_person_is_in_it(tmp_path: Path) -> None:
    text = "\n".join(f"{f.topic}{f.found}{f.problem}" for f in examine("cpu"))
    for private in (str(tmp_path), str(Path.home()), platform.node()):
        assert private not in text


def test_what_is_wrong_is_said_with_what_to_do(
    bundled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bundled / "bundled.safetensors").write_bytes(b"altered")
    (tmp_path / "file").touch()
    monkeypatch.setenv("FLOWERCOLOR_DATA_DIR", str(tmp_path / "file"))
    found = findings()
    assert found["bundled weights"].problem.startswith("the bundled weights have been altered; ")
    assert "altered" in found["trial"].problem
    said = "`train` can write nothing there: set FLOWERCOLOR_DATA_DIR to another folder"
    assert found["data"].problem == said


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no /proc")
def test_where_folders_cannot_be_made_is_said_also_where_the_rights_seem_to_suffice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Root may write there, and yet nobody can; its disk is full, by what it says of it."""
    monkeypatch.setenv("FLOWERCOLOR_CACHE_DIR", "/proc/cache")
    problem = findings()["cache"].problem
    assert problem.endswith("can write nothing there: set FLOWERCOLOR_CACHE_DIR to another folder")


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLOWERCOLOR_CACHE_DIR")
    monkeypatch.setattr(platformdirs, "user_cache_path", no_home)
    cache = findings()["cache"]
    assert cache.found == "none"
    assert cache.problem == (
        "FLOWERCOLOR_CACHE_DIR: the user has no home folder; set it to a folder, for `download`, "
        "`train` and `eval`"
    )


def test_without_torch_no_folder_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that is read-only, or where the user has no home."""
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "file").touch()
    monkeypatch.setenv("FLOWERCOLOR_DATA_DIR", str(tmp_path / "file"))
    monkeypatch.delenv("FLOWERCOLOR_CACHE_DIR")
    monkeypatch.setattr(platformdirs, "user_cache_path", no_home)
    found = {finding.topic: finding for finding in examine()}
    assert not any(finding.problem for finding in found.values())
    for folder in ("cache", "data"):
        said = "unfit for training, which a light install leaves out"
        assert found[folder].found.endswith(said)


def test_both_distributions_in_one_environment_are_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("flowercolor", "flowercolor_light"):
        (tmp_path / f"{name}-0.1.0.dist-info").mkdir()
    assert not findings()["flowercolor"].problem
    monkeypatch.syspath_prepend(tmp_path)
    assert "then install one of them" in findings()["flowercolor"].problem


def test_a_format_that_pillow_was_built_without_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    load_plugins()
    monkeypatch.delitem(Image.SAVE, "AVIF", raising=False)
    assert findings()["trial"].problem == ""


def test_files_that_cannot_be_read_here_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as every JPEG, by a Pillow that another program has left."""

    def fail(_: object) -> None:
        raise KeyError("made up")

    monkeypatch.setattr("PIL.JpegImagePlugin.JpegImageFile.load", fail)
    trial = findings()["trial"]
    assert trial.found == "failed"
    assert "JPEG" in trial.problem


@pytest.mark.skipif(not Path("/proc/meminfo").is_file(), reason="no /proc")
def test_memory_that_holds_copies_of_files_counts_as_available() -> None:
    """Of a machine that has read much, most of what is not free is theirs."""
    kilobytes = dict(re.findall(r"(\w+): +(\d+) kB", Path("/proc/meminfo").read_text()))
    told = re.search(r", ([\d.]+) GB of memory, ([\d.]+) available", findings()["CPU"].found)
    assert told is not None
    for said, name in zip(told.groups(), ("MemTotal", "MemAvailable"), strict=True):
        assert float(said) == pytest.approx(int(kilobytes[name]) * 1024 / 1e9, rel=0.1, abs=0.5)


@pytest.mark.parametrize("threads", [1, 2])
def test_other_work_is_no_problem_and_noted_where_threads_would_wait(
    monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (1e6, 0.0, 0.0))
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    cpu = findings()["CPU"]
    assert not cpu.problem
    assert ("a load of 1000000: OMP_NUM_THREADS=1 is faster" in cpu.found) == (threads > 1)


def test_a_device_that_computes_wrongly_is_found(bundled: Path) -> None:
    """As one on which every chroma comes to 0."""
    network = UNet(NetworkConfig(1, "chroma"))
    for parameter in network.parameters():
        parameter.data.zero_()
    weights = save_network(bundled / "bundled.safetensors", network)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    weights.with_suffix(".sha256").write_text(f"{digest}  {weights.name}\n")
    assert "use --device cpu" in findings()["trial"].problem
