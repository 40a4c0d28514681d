import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn

from flowercolor.config import Encoder, NetworkConfig, Output
from flowercolor.errors import CheckpointError
from flowercolor.inference.onnx_backend import OnnxBackend
from flowercolor.inference.torch_backend import TorchBackend
from flowercolor.networks.unet import UNet

ROOT = Path(__file__).parents[2]
CONFIG = NetworkConfig(4, "chroma")


def random_generator(config: NetworkConfig, seed: int) -> UNet:
    """Weights and running statistics drawn at random."""
    torch.manual_seed(seed)
    generator = UNet(config)
    for module in generator.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
            nn.init.uniform_(module.running_var, 0.01, 1.5)  # so small that epsilon counts
    return generator.eval()


def onnx_backend(generator: UNet, threads: int = 0) -> OnnxBackend:
    state = {name: value.numpy() for name, value in generator.state_dict().items()}
    return OnnxBackend(generator.config, state, threads=threads)


@pytest.mark.parametrize("base_channels", [1, 4, 7])
@pytest.mark.parametrize("output", get_args(Output))
@pytest.mark.parametrize("encoder", get_args(Encoder))
def test_the_skeleton_computes_what_the_network_does(
    encoder: Encoder, output: Output, base_channels: int
) -> None:
    """At any width, for both encoders and both outputs; run scripts/make_skeletons.py if not."""
    generator = random_generator(NetworkConfig(base_channels, output, encoder), base_channels)
    gray = np.random.default_rng(1).random((2, 1, 48, 32), dtype=np.float32)
    expected = TorchBackend(generator, device="cpu", precision="float32")(gray)
    chroma = onnx_backend(generator)(gray)
    assert chroma.dtype == np.float32
    scale = max(1.0, float(np.abs(expected).max()))
    assert np.abs(chroma - expected).max() / scale < 1e-4
    assert np.abs(expected).max() > 1e-3


@pytest.mark.parametrize("output", get_args(Output))
@pytest.mark.parametrize("encoder", get_args(Encoder))
def test_the_branch_for_hints_is_computed_too(encoder: Encoder, output: Output) -> None:
    """And the chroma beside it is that without it, bit for bit."""
    generator = random_generator(NetworkConfig(4, output, encoder, hints=True), 5)
    gray = np.random.default_rng(1).random((1, 1, 48, 32), dtype=np.float32)
    backend = onnx_backend(generator)
    chroma, features = backend.with_hint_features(gray)
    assert np.array_equal(chroma, backend(gray))
    torch_backend = TorchBackend(generator, device="cpu", precision="float32")
    expected = torch_backend.with_hint_features(gray)
    for ours, theirs in zip((chroma, features), expected, strict=True):
        assert np.abs(ours - theirs).max() / max(1.0, np.abs(theirs).max()) < 1e-4


def test_without_a_branch_there_are_no_features() -> None:
    generator = random_generator(NetworkConfig(4, "chroma"), 5)
    gray = np.zeros((1, 1, 16, 16), np.float32)
    for backend in (onnx_backend(generator), TorchBackend(generator, device="cpu")):
        with pytest.raises(NotImplementedError):
            backend.with_hint_features(gray)


def test_it_gives_the_same_bytes_from_run_to_run_and_for_any_number_of_threads() -> None:
    generator = random_generator(NetworkConfig(4, "chroma", "efficientnet-lite0"), 3)
    gray = np.random.default_rng(2).random((1, 1, 64, 80), dtype=np.float32)
    first = onnx_backend(generator, threads=1)(gray)
    backend = onnx_backend(generator, threads=2)
    assert backend(gray).tobytes() == first.tobytes() == backend(gray).tobytes()
    with backend.shared(2) as begin:
        begin()
        assert backend(gray).tobytes() == first.tobytes()


def test_weights_of_another_shape_are_refused() -> None:
    generator = UNet(NetworkConfig(2))
    state = {name: value.numpy() for name, value in generator.state_dict().items()}
    state["head.weight"] = state["head.weight"][:, :1]
    with pytest.raises(CheckpointError, match=r"^roses: its weights do not fit the network"):
        OnnxBackend(NetworkConfig(2), state, name="roses")


@pytest.mark.parametrize("part", ["weight", "running_mean"])
def test_weights_that_are_missing_are_named(part: str) -> None:
    state = {
        name: value.numpy() for name, value in random_generator(CONFIG, 0).state_dict().items()
    }
    missing = next(name for name in state if name.endswith(part))
    del state[missing]
    with pytest.raises(CheckpointError, match=f"do not fit the network .*{missing}"):
        OnnxBackend(CONFIG, state)


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("skeletons", ROOT / "scripts/make_skeletons.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch's exporter
@pytest.mark.parametrize("hints", [False, True])
@pytest.mark.parametrize("encoder", get_args(Encoder))
def test_the_skeletons_are_what_the_script_writes(encoder: Encoder, *, hints: bool) -> None:
    import onnx

    make = script()
    made = make.skeleton(encoder, hints=hints)
    kept = onnx.load(str(make.FOLDER / f"{encoder}{'-hints' if hints else ''}.onnx"))
    assert [(node.op_type, list(node.input), list(node.output)) for node in made.graph.node] == [
        (node.op_type, list(node.input), list(node.output)) for node in kept.graph.node
    ]


@pytest.mark.skipif(os.name == "nt", reason="the home folder is another")
def test_nothing_is_written_into_the_home_folder(tmp_path: Path) -> None:
    """By onnxruntime, which counts its users unless it is told not to."""
    code = (
        "import flowercolor, numpy\n"
        "flowercolor.colorize(numpy.full((16, 16), 99, 'uint8'), device='cpu')"
    )
    # Without the rest of the environment: in that of a server for tests it does not count.
    environment = {"HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    assert list(tmp_path.rglob("*")) == []
