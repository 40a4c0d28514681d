"""Soft gray photos, what a progress is told, and jobs by name."""

import errno
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from flowercolor.inference.backends import Backend
from flowercolor.inference.batch import Outcome
from flowercolor.inference.onnx_backend import OnnxBackend
from flowercolor.inference.planning import Job
from flowercolor.inference.torch_backend import TorchBackend
from flowercolor.networks.unet import UNet
from flowercolor.photos.formats import WRITABLE

Array = NDArray[Any]


def gray(height_px: int = 24, width_px: int = 32, seed: int = 0, dtype: Any = np.uint8) -> Array:
    """A soft gray picture."""
    top = np.iinfo(dtype).max
    rng = np.random.default_rng(seed)
    corners = rng.integers(top // 5, top - top // 5, (3, 3)).astype(np.float32)
    return cv2.resize(corners, (width_px, height_px), interpolation=cv2.INTER_CUBIC).astype(dtype)


def save(path: Path, picture: Array | None = None) -> Path:
    """Write a picture, of the format that the ending says or else PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = WRITABLE.get(path.suffix.lower(), "PNG")
    Image.fromarray(gray() if picture is None else picture).save(path, kind)
    return path


def pixels(path: Path) -> Array:
    with Image.open(path) as image:
        return np.asarray(image)


def touch(folder: Path, *names: str) -> list[Path]:
    """Empty files, enough for `plan`, which looks at headers alone."""
    made = [folder / name for name in names]
    for path in made:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return made


def names(jobs: list[Job], below: Path) -> dict[str, str]:
    return {
        job.source.relative_to(below).as_posix(): job.target.relative_to(below).as_posix()
        for job in jobs
    }


def statuses(outcomes: list[Outcome]) -> list[str]:
    return [outcome.status for outcome in outcomes]


def leftovers(folder: Path) -> list[Path]:
    return list(folder.rglob("*.tmp"))


def no_entry(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """As for one without the right to read it; `chmod` does not keep root out."""
    scandir, opened, open_image = os.scandir, Path.open, Image.open

    def guarded(path: Any = ".") -> Any:
        if Path(path) == folder:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    def closed(self: Path, *args: Any, **options: Any) -> Any:
        if self == folder or folder in self.parents:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return opened(self, *args, **options)

    def closed_image(path: Any, *args: Any, **options: Any) -> Any:
        if path == folder:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return open_image(path, *args, **options)

    monkeypatch.setattr(os, "scandir", guarded)
    monkeypatch.setattr(Image, "open", closed_image)
    monkeypatch.setattr(Path, "open", closed)


STEMS = ["x", "X", "x_color", "x.jpg", "x-2", "\u00e9", "e\u0301"]
SUFFIXES = [".jpg", ".JPG", ".png", ".gif", ".heic"]
FOLDERS = ["", "a", "b", "a/b", "A", "a_color"]
TREES = st.lists(
    st.builds(
        lambda folder, stem, suffix: f"{folder}/{stem}{suffix}",
        st.sampled_from(FOLDERS),
        st.sampled_from(STEMS),
        st.sampled_from(SUFFIXES),
    ),
    min_size=1,
    max_size=8,
)


def pick_inputs(data: st.DataObject, root: Path) -> list[Path]:
    choices = [root, *sorted(root.rglob("*"))]
    return data.draw(st.lists(st.sampled_from(choices), min_size=1, max_size=6), label="inputs")


backend = "torch"


def as_backend(generator: UNet) -> Backend:
    """The generator in float32 on the CPU, by the backend whose turn it is."""
    if backend == "torch":
        return TorchBackend(generator, device="cpu", precision="float32")
    state = {name: value.numpy() for name, value in generator.state_dict().items()}
    return OnnxBackend(generator.config, state)
