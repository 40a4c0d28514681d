import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest

from flowercolor.config import NetworkConfig
from flowercolor.errors import CheckpointError, SettingError
from flowercolor.inference.backends import load_backend
from flowercolor.inference.export import export_onnx
from flowercolor.networks.unet import UNet
from flowercolor.runs import bundled_checkpoint
from tests.helpers import save_network

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return save_network(tmp_path / "rose.safetensors", UNet(NetworkConfig(3, "chroma")))


def test_the_file_stands_alone_and_says_what_it_is(checkpoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "rose.onnx"
    export_onnx(checkpoint, target)
    model = onnx.load(str(target))
    onnx.checker.check_model(model, full_check=True)
    about = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(about["network"]) == {
        "base_channels": 3,
        "output": "chroma",
        "encoder": "plain",
        "hints": False,
    }
    assert "multiples of 16" in about["how_to_use"]
    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    for shape in ((1, 1, 16, 48), (3, 1, 64, 32)):
        gray = np.random.default_rng(1).random(shape, dtype=np.float32)
        (chroma,) = session.run(["predicted"], {"gray": gray})
        expected = load_backend(checkpoint, backend="torch", device="cpu", precision="float32")
        np.testing.assert_allclose(chroma, expected(gray), atol=1e-5)


def test_what_disagrees_with_torch_is_not_kept(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nothing was written"):
        export_onnx(checkpoint, tmp_path / "rose.onnx", tolerance=0)
    assert not (tmp_path / "rose.onnx").exists()


@pytest.mark.parametrize(("name", "said"), [("rose.txt", "named .onnx"), ("a.onnx", "is there")])
def test_a_file_that_is_there_or_named_otherwise_is_refused(
    checkpoint: Path, tmp_path: Path, name: str, said: str
) -> None:
    (tmp_path / "a.onnx").write_text("mine")
    with pytest.raises(SettingError, match=said):
        export_onnx(checkpoint, tmp_path / name)
    assert (tmp_path / "a.onnx").read_text() == "mine"


@pytest.mark.parametrize("output", ["bundled", "chroma", "rgb"])
def test_the_example_in_the_docs_colors_a_photo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: Any
) -> None:
    """As it stands there, whatever the network predicts."""
    weights = bundled_checkpoint()
    if output != "bundled":
        weights = save_network(tmp_path / "rose.safetensors", UNet(NetworkConfig(3, output)))
    page = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
    example = page.partition("## Other programs: ONNX")[2].split("```python\n")[1].split("```")[0]
    assert len(example.splitlines()) <= 12
    export_onnx(weights, tmp_path / "model.onnx")
    gray = cv2.imread(str(ROOT / "docs/images/dahlia_gray.jpg"), cv2.IMREAD_GRAYSCALE)
    assert gray is not None
    gray = gray[:, :200]  # of another shape than most
    cv2.imwrite(str(tmp_path / "photo.jpg"), gray)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(example, "docs/library.md", "exec"), names)
    height, width = names["small"].shape[2:]
    assert width / height == pytest.approx(gray.shape[1] / gray.shape[0], rel=0.2)
    colored = cv2.imread(str(tmp_path / "colored.png"))
    assert colored is not None
    assert colored.shape[:2] == gray.shape
    assert output != "bundled" or np.ptp(colored.astype(int), axis=2).mean() > 10
    ours = load_backend(weights, backend="torch", device="cpu", precision="float32")
    for plane, name in zip(ours(names["small"])[0], ("cb", "cr"), strict=True):
        expected = cv2.resize(plane, gray.shape[::-1]) * 255 + 128
        np.testing.assert_allclose(names[name], expected, atol=0.5)
