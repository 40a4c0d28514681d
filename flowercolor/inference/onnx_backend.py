"""The generator on onnxruntime: a graph without weights, and a checkpoint's weights beside it.

onnxruntime starts in a fifth of a second, where torch takes some two. The graphs are those of
`networks/skeletons`, made by scripts/make_skeletons.py from the code of the generator; one serves
every width. Turning the vividness scale and folding batch norm is done here, by NumPy.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from flowercolor.color import to_chroma
from flowercolor.config import ENCODER_NORM_EPS, STRIDE, NetworkConfig
from flowercolor.errors import CheckpointError, DeviceError, one_line
from flowercolor.memory_budget import lack_of

Array = npt.NDArray[np.float32]


class OnnxBackend:
    """A `Backend` that gives the same bytes from run to run and for any number of threads.

    Args:
        weights: The generator's state, by torch's names; see `fold_batch_norm`.
        threads: How many a call may use; 0 for as many as there are cores.

    Raises:
        CheckpointError: The weights do not fit the network.
    """

    package = "onnxruntime"
    device = "cpu"

    def __init__(
        self,
        config: NetworkConfig,
        weights: Mapping[str, Array],
        *,
        threads: int = 0,
        name: str = "the checkpoint",
    ) -> None:
        self._name = name
        # Without the branch for hints: most photos have none.
        try:
            self._model = onnx_model(replace(config, hints=False), weights)
        except (KeyError, ValueError) as error:
            raise CheckpointError(
                f"{name}: its weights do not fit the network its header describes: "
                f"{one_line(error)} is missing or of another shape"
            ) from error
        self._config, self._weights = config, weights
        self._session = self._start(self._model, threads)

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickle holds the weights; no session can be pickled, so another one is started."""
        return partial(OnnxBackend, name=self._name), (self._config, self._weights)

    def __call__(self, gray: Array) -> Array:
        """The chroma, Cb before Cr."""
        return self._chroma(self._session.run(None, {"gray": gray})[0])

    def with_hint_features(self, gray: Array) -> tuple[Array, Array]:
        """The chroma, and what hints spread by; see `Backend`."""
        if not self._config.hints:
            raise NotImplementedError
        predicted, features = self._hint_session.run(None, {"gray": gray})
        return self._chroma(predicted), features

    @cached_property
    def _hint_session(self) -> Any:
        return self._start(onnx_model(self._config, self._weights), 0)

    def _chroma(self, predicted: Array) -> Array:
        if self._config.output == "chroma":
            return predicted
        return np.stack(to_chroma(*np.moveaxis(predicted, 1, 0)), axis=1).astype(np.float32)

    @contextmanager
    def shared(self, workers: int) -> Iterator[Callable[[], None]]:
        """Split the cores among so many threads, each of which calls what this gives first."""
        alone = self._session
        if workers > 1:
            threads = max(1, (os.cpu_count() or 1) // workers)
            self._session = self._start(self._model, threads)
        try:
            yield lambda: None
        finally:
            self._session = alone

    def _start(self, model: bytes, threads: int) -> Any:
        # Read at the import: it would write an identifier of the machine into the home folder.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        import onnxruntime  # noqa: PLC0415 - where torch computes it need not be installed

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4  # it would print errors beside raising them
        gray = np.zeros((1, 1, STRIDE, STRIDE), np.float32)
        try:
            session = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
            shape = session.run(None, {"gray": gray})[0].shape
            if shape[1] != (3 if self._config.output == "rgb" else 2):
                raise ValueError(f"it gives {shape[1]} channels")
        except Exception as error:  # of no class that onnxruntime makes public
            if lack := lack_of(error):
                raise DeviceError(
                    f"{lack} here to load the weights; close something, or raise the limits"
                ) from error
            raise CheckpointError(
                f"{self._name}: its weights do not fit the network its header describes: "
                f"{one_line(error)}"
            ) from error
        return session


def onnx_model(
    config: NetworkConfig, weights: Mapping[str, Array], metadata: Mapping[str, str] | None = None
) -> bytes:
    """The ONNX model of a generator, self-contained: the graph and the folded weights.

    Args:
        weights: Its state, by torch's names.

    Returns:
        A serialized `ModelProto`, of input `gray` and output `predicted`; with the branch for
        hints also of output `hint_features`.
    """
    initializers = [
        part
        for name, value in fold_batch_norm(config, weights).items()
        for part in _initializer(name, np.ascontiguousarray(value, "<f4"))
    ]
    entries = b"".join(
        _field(14, _field(1, key.encode()) + _field(2, value.encode()))
        for key, value in (metadata or {}).items()
    )
    # Protocol buffers that follow each other are merged: this adds the weights to the graph.
    head = skeleton(config) + entries
    return b"".join([head, _head(7, sum(map(len, initializers))), *initializers])


def skeleton(config: NetworkConfig) -> bytes:
    """The ONNX graph of such generators, without their weights."""
    name = f"{config.encoder}{'-hints' if config.hints else ''}.onnx"
    return (resources.files("flowercolor.networks") / "skeletons" / name).read_bytes()


def fold_batch_norm(config: NetworkConfig, weights: Mapping[str, Array]) -> dict[str, Array]:
    """The weights with each batch norm folded into the convolution before it, float32."""
    folded = {
        name: value
        for name, value in weights.items()
        if name.startswith(("lifts.", "head.", "hints.") if config.hints else ("lifts.", "head."))
    }
    for name in weights:
        norm, _, kind = name.rpartition(".")
        if kind != "running_var":
            continue
        block, _, position = norm.rpartition(".")
        convolution = f"{block}.{int(position) - 1}"
        in_encoder = config.encoder != "plain" and name.startswith("downs.")
        eps = ENCODER_NORM_EPS if in_encoder else 1e-5
        scale = weights[f"{norm}.weight"] / np.sqrt(weights[name] + np.float32(eps))
        kernel = weights[f"{convolution}.weight"]
        folded[f"{convolution}.weight"] = kernel * scale[:, None, None, None]
        folded[f"{convolution}.bias"] = (
            weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
        )
    return folded


def _initializer(name: str, value: Array) -> tuple[bytes, memoryview]:
    """A `TensorProto` as field 5 of a `GraphProto`: all but its values, and those, not copied."""
    dims = b"".join(_field(1, size) for size in value.shape)
    about = dims + _field(2, 1) + _field(8, name.encode()) + _head(9, value.nbytes)
    return _head(5, len(about) + value.nbytes) + about, value.reshape(-1).view(np.uint8).data


def _field(number: int, value: int | bytes) -> bytes:
    """A field of a protocol buffer: a number, or bytes with their length before them."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _head(number, len(value)) + value


def _head(number: int, size_bytes: int) -> bytes:
    """What stands before the bytes of a field."""
    return _varint(number << 3 | 2) + _varint(size_bytes)


def _varint(value: int) -> bytes:
    septets = [value >> shift & 127 for shift in range(0, max(1, value.bit_length()), 7)]
    return bytes([*(septet | 128 for septet in septets[:-1]), septets[-1]])
