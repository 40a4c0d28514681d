"""A generator as one ONNX file that stands alone, for other programs."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from flowercolor._version import __version__
from flowercolor.checkpoint import load_generator, read_weights
from flowercolor.errors import CheckpointError, SettingError
from flowercolor.files import is_there, write_bytes
from flowercolor.inference.onnx_backend import OnnxBackend, onnx_model
from flowercolor.inference.torch_backend import TorchBackend

TOLERANCE = 1e-4
USE = (
    "Input gray: float32 [B, 1, H, W] in 0 to 1, gamma-encoded, H and W multiples of 16, some "
    "16,000 pixels in all. Output predicted: float32 [B, 2, H, W], Cb and Cr within -0.5 to 0.5 "
    "(ITU-R BT.601); of a network of output rgb, RGB [B, 3, H, W] in 0 to 1. Enlarge the chroma to "
    "the photo and add the photo's own luma: R = Y + 1.402 Cr, B = Y + 1.772 Cb, "
    "G = (Y - 0.299 R - 0.114 B) / 0.587."
)


def export_onnx(
    checkpoint: Path,
    target: Path,
    *,
    vividness: float | None = None,
    tolerance: float = TOLERANCE,
) -> None:
    """Write the generator of a checkpoint as ONNX, once it gives what torch gives.

    Args:
        target: The file to write, which must not be there; it takes any size divisible by 16.
        vividness: On the checkpoint's vividness scale, 0 to 1; None means its own default.

    Raises:
        CheckpointError: It cannot be read, or the two ways to compute disagree.
        SettingError: The target is there, is not named .onnx, or the vividness is out of range.
        StorageError: The file cannot be written.
    """
    if target.suffix.lower() != ".onnx":
        raise SettingError(f"{target}: has another ending; expected a file named .onnx")
    if is_there(target):
        raise SettingError(f"{target}: is there already; expected the name of a new file")
    info, weights = read_weights(checkpoint, vividness=vividness)
    # Without the branch for hints, which is of no use without what spreads hints.
    network = replace(info.config.network, hints=False)
    gray = np.random.default_rng(0).random((2, 1, 64, 96), dtype=np.float32)
    generator, _ = load_generator(checkpoint, vividness=vividness)
    expected = TorchBackend(generator, device="cpu", precision="float32")(gray)
    difference = float(
        np.abs(OnnxBackend(network, weights, name=str(checkpoint))(gray) - expected).max()
    )
    if not difference < tolerance:
        raise CheckpointError(
            f"{checkpoint}: onnxruntime and torch give chroma that differs by {difference:.2g}; "
            f"expected less than {tolerance:g}, so nothing was written; please report it"
        )
    about = {
        "title": "flowercolor: gray photos of flowers and gardens to color",
        "version": __version__,
        "license": "MIT AND Apache-2.0" if checkpoint.stem == "bundled" else "as its maker says",
        "network": json.dumps(asdict(network)),
        "vividness": str(info.vividness if vividness is None else vividness),
        "note": info.note,
        "how_to_use": USE,
    }
    write_bytes(target, onnx_model(network, weights, about), overwrite=False)
