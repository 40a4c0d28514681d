"""Write the ONNX graphs of the generators, without weights, into the package.

    pip install onnx onnxscript && python scripts/make_skeletons.py

A graph depends on the encoder alone: widths and output channels follow from the weights, which
`inference/onnx_backend.py` puts beside it when a session is made. Run this again where the code of
the generator changes; tests/inference/test_onnx_backend.py fails until that is done.
"""

import sys
from itertools import product
from pathlib import Path
from typing import get_args

import onnx
import torch
from torch import Tensor, nn

from flowercolor.config import STRIDE, Encoder, NetworkConfig
from flowercolor.networks.unet import UNet, fuse_batch_norm

FOLDER = Path(__file__).parents[1] / "flowercolor" / "networks" / "skeletons"
OPSET = 18


class _Predict(nn.Module):
    """The generator without what it adds after its last convolution."""

    def __init__(self, generator: UNet) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, gray: Tensor) -> tuple[Tensor, ...]:
        if self.generator.hints is None:
            return (self.generator.predict(gray)[0],)
        return self.generator.predict_with_hint_features(gray)


def skeleton(encoder: Encoder, *, hints: bool) -> onnx.ModelProto:
    """The graph of the generator with that encoder, batch norm folded, without weights."""
    generator = fuse_batch_norm(UNet(NetworkConfig(4, "chroma", encoder, hints)))
    for parameter in generator.parameters():  # the exporter merges equal ones, drops zero biases
        nn.init.uniform_(parameter)
    rows, columns = torch.export.Dim("rows"), torch.export.Dim("columns")
    program = torch.onnx.export(
        _Predict(generator).eval(),
        (torch.rand(2, 1, 4 * STRIDE, 6 * STRIDE),),
        input_names=["gray"],
        output_names=["predicted", "hint_features"][: 1 + hints],
        opset_version=OPSET,
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch"), 2: STRIDE * rows, 3: STRIDE * columns},),
    )
    assert program is not None
    model = program.model_proto
    weights = {name for name, _ in generator.named_parameters()}
    kept = []
    for initializer in model.graph.initializer:
        initializer.name = initializer.name.removeprefix("generator.")
        if initializer.name not in weights:
            kept.append(initializer)
    for node in model.graph.node:
        node.input[:] = [name.removeprefix("generator.") for name in node.input]
        node.ClearField("doc_string")
        node.ClearField("metadata_props")  # where on whose disk the code lay
    missing = weights - {name for node in model.graph.node for name in node.input}
    assert not missing, f"weights that the graph does not use: {missing}"
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    del model.graph.value_info[:]  # shapes of one width
    for output in model.graph.output:  # of RGB there are three, and onnxruntime-web minds
        output.type.tensor_type.shape.dim[1].dim_param = "channels"
    for part in (model, model.graph, *model.graph.input, *model.graph.output):
        part.ClearField("metadata_props")
    return model


def main() -> None:
    """Write a file for each encoder."""
    FOLDER.mkdir(exist_ok=True)
    for encoder, hints in product(get_args(Encoder), (False, True)):
        path = FOLDER / f"{encoder}{'-hints' if hints else ''}.onnx"
        path.write_bytes(skeleton(encoder, hints=hints).SerializeToString(deterministic=True))
        sys.stdout.write(f"{path} {path.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main()
