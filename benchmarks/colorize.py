"""What coloring costs beside the network, and a folder at a time.

Made-up photos, the bundled weights.
"""

import os
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from timing import compare, seconds

from flowercolor.checkpoint import load_generator
from flowercolor.color import rgb_to_chroma
from flowercolor.config import RENDER_SIZE_PX, STRIDE
from flowercolor.devices import has_fast_bf16
from flowercolor.inference.batch import CHUNK_PHOTOS, WORKERS, Writing, run
from flowercolor.inference.colorizer import Colorizer
from flowercolor.inference.planning import Job, plan
from flowercolor.inference.upsampling import render, shrink
from flowercolor.networks.unet import UNet
from flowercolor.photos.formats import is_picture
from flowercolor.photos.reader import read_photo
from flowercolor.photos.writer import write_photo
from flowercolor.runs import bundled_checkpoint

QUIET: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
JPEG = [
    cv2.IMWRITE_JPEG_QUALITY,
    95,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
]


def made_up_photo(height_px: int, width_px: int, seed: int) -> npt.NDArray[np.uint8]:
    """BGR uint8 [H, W, 3]: soft blobs of color, with the grain of a photo."""
    rng = np.random.default_rng(seed)
    blobs = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    photo = cv2.resize(blobs, (width_px, height_px), interpolation=cv2.INTER_CUBIC)
    grain = rng.normal(0, 4, (height_px, width_px, 1)).astype(np.float32)
    grained: npt.NDArray[np.uint8] = np.clip(photo + grain, 0, 255).astype(np.uint8)
    return grained


def twelve_megapixels(folder: Path) -> None:
    """Everything outside the network, against OpenCV decoding and encoding the same file."""
    source, target = folder / "12mp.jpg", folder / "out.jpg"
    cv2.imwrite(str(source), made_up_photo(3000, 4000, 0), JPEG)
    height, width = round(RENDER_SIZE_PX * 0.75**0.5), round(RENDER_SIZE_PX / 0.75**0.5)
    rng = np.random.default_rng(1)
    chroma = rng.normal(0, 0.1, (2, height, width)).astype(np.float32)

    def ours() -> None:
        photo = read_photo(source)
        rgb = render(photo.luma, shrink(photo.luma, height, width), chroma)
        write_photo(target, rgb, metadata=photo.metadata)

    def reference() -> None:
        photo = cv2.imdecode(np.frombuffer(source.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        assert photo is not None
        target.write_bytes(cv2.imencode(".jpg", photo, JPEG)[1].tobytes())

    report("12 MP JPEG outside the network / OpenCV decode + encode", ours, reference)


def colorizers() -> dict[str, Colorizer]:
    """The bundled weights by each way to compute on a CPU; torch in bf16 where that is fast."""
    ways: dict[str, dict[str, Any]] = {
        "onnxruntime": {"backend": "onnxruntime"},
        "torch float32": {"backend": "torch", "precision": "float32"},
    }
    if has_fast_bf16(torch.device("cpu")):
        ways["torch bf16"] = {"backend": "torch", "precision": "bf16"}
    return {
        name: Colorizer.from_checkpoint("bundled", device="cpu", **way)
        for name, way in ways.items()
    }


def folder_of_photos(folder: Path, count: int = 200) -> None:
    """A folder of 500-pixel photos, against a plain loop in float32, one at a time."""
    source, target, plainly = folder / "photos", folder / "colored", folder / "plain"
    for made in (source, target, plainly):
        made.mkdir()
    for number in range(count):
        # The sizes of the data set: a short side of 500, either way round.
        size = (500, 667) if number % 3 else (667, 500)
        cv2.imwrite(str(source / f"{number:03}.jpg"), made_up_photo(*size, number))
    generator, _ = load_generator(bundled_checkpoint())
    for name, colorizer in colorizers().items():

        def ours(colorizer: Colorizer = colorizer) -> None:
            for outcome in run(
                plan([source], target), colorizer, Writing(overwrite=True, recolor=True)
            ):
                assert outcome.status == "done", outcome

        def reference(colorizer: Colorizer = colorizer) -> None:
            for job in plan([source], plainly):
                plain(job, generator, colorizer)

        title = f"{count} photos of 500 px by {name} / a plain loop of torch"
        report(title, ours, reference, rounds=3)


def same_pictures(photos: Path) -> None:
    """By how many levels of 255 onnxruntime's pictures differ from torch's in float32."""
    by_way = colorizers()
    worst = 0
    sources = sorted(path for path in photos.iterdir() if is_picture(path))
    for source in sources:
        luma = read_photo(source).luma
        one, other = (
            by_way[name].render(luma).astype(int) for name in ("onnxruntime", "torch float32")
        )
        worst = max(worst, int(abs(one - other).max()))
    sys.stdout.write(f"{len(sources)} photos, onnxruntime against torch float32: {worst} levels\n")


def network_of_a_folder(_folder: Path, count: int = 64) -> None:
    """The network's part of a folder: what no saving elsewhere can go beyond."""
    colorizer = Colorizer.from_checkpoint("bundled", device="cpu")
    generator, _ = load_generator(bundled_checkpoint())
    size_px = colorizer.working_size_px(500, 667)
    small = np.random.default_rng(0).random(size_px, np.float32)
    padded = torch.rand(1, 1, *at_stride(size_px))

    def ours() -> None:
        threads = torch.get_num_threads()
        with ThreadPoolExecutor(WORKERS, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            deque(pool.map(colorizer.chroma, [[small] * CHUNK_PHOTOS] * (count // CHUNK_PHOTOS)))
        torch.set_num_threads(threads)

    def reference() -> None:
        with torch.no_grad():
            for _ in range(count):
                generator(padded)

    report(f"the network alone, {count} photos / one at a time in float32", ours, reference)


def stages_of_a_folder(folder: Path, count: int = 16) -> None:
    """Where the time of a photo of 500x667 goes, ours and a plain loop's, on one thread."""
    source, target = folder / "stage.jpg", folder / "stage_out.jpg"
    cv2.imwrite(str(source), made_up_photo(500, 667, 0), JPEG)
    colorizer = Colorizer.from_checkpoint("bundled", device="cpu")
    generator, _ = load_generator(bundled_checkpoint())
    photo = read_photo(source)
    small = colorizer.shrink(photo.luma)
    chroma = colorizer.chroma([small])[0]
    rgb = render(photo.luma, small, chroma)
    padded = torch.rand(1, 1, *at_stride(small.shape))
    together = f"the network, {CHUNK_PHOTOS} at a time"
    stages: dict[str, Callable[[], object]] = {
        "reading": lambda: read_photo(source),
        "shrinking": lambda: shrink(photo.luma, *small.shape),
        together: lambda: colorizer.chroma([small] * CHUNK_PHOTOS),
        "rendering": lambda: render(photo.luma, small, chroma),
        "encoding and writing": lambda: write_photo(target, rgb, metadata=photo.metadata),
        "plain: decoding": lambda: cv2.imread(str(source), cv2.IMREAD_GRAYSCALE),
        "plain: the network": lambda: generator(padded),
        "plain: encoding and writing": lambda: cv2.imwrite(str(target), rgb, JPEG),
    }
    threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with torch.no_grad():
        for title, stage in stages.items():
            times = sorted(seconds(stage) for _ in range(count + 1))
            each = times[len(times) // 2] / (CHUNK_PHOTOS if title == together else 1)
            sys.stdout.write(f"{title}: {1000 * each:.2f} ms a photo on one thread\n")
    torch.set_num_threads(threads[0])
    cv2.setNumThreads(threads[1])


def at_stride(sides_px: Sequence[int]) -> list[int]:
    """The sides, made as long as the network needs them."""
    return [-(-side // STRIDE) * STRIDE for side in sides_px]


def plain(job: Job, generator: UNet, colorizer: Colorizer) -> None:
    """What one would write in ten lines: read, network, resize, add, write."""
    luma = cv2.imread(str(job.source), cv2.IMREAD_GRAYSCALE)
    assert luma is not None
    height, width = at_stride(colorizer.working_size_px(*luma.shape))
    small = cv2.resize(luma, (width, height), interpolation=cv2.INTER_AREA)
    with torch.no_grad():
        fake = generator(torch.from_numpy(small)[None, None].float() / 255)
    cb, cr = rgb_to_chroma(fake)[0].numpy()
    size = luma.shape[::-1]
    y = luma.astype(np.float32) / 255
    red, blue = 1.402 * cv2.resize(cr, size), 1.772 * cv2.resize(cb, size)
    green = -(0.299 * red + 0.114 * blue) / 0.587
    bgr = (np.stack((y + blue, y + green, y + red), -1).clip(0, 1) * 255).astype(np.uint8)
    cv2.imwrite(str(job.target), bgr, JPEG)


def hundred_megapixels(folder: Path) -> None:
    """The peak resident memory of the whole command on a photo of 100 megapixels."""
    source = folder / "100mp.jpg"
    # In a process of its own: a child's peak begins at the memory of the process it came from.
    subprocess.run([sys.executable, __file__, "--make", str(source)], check=True)
    for backend in ("onnxruntime", "torch"):
        options = ["--overwrite", "--recolor", "--backend", backend]
        process = subprocess.Popen(command(source, folder / "out.jpg", *options), **QUIET)
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0
        # In kilobytes, on macOS in bytes.
        peak_bytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        sys.stdout.write(f"100 MP JPEG by {backend}, peak memory: {peak_bytes / 1e9:.2f} GB\n")


def start(folder: Path) -> None:
    """A whole command on one small photo: by torch, and against importing NumPy and OpenCV."""
    source, target = folder / "small.jpg", folder / "small_out.jpg"
    cv2.imwrite(str(source), made_up_photo(60, 80, 0))

    def by(backend: str) -> Callable[[], object]:
        options = ["--overwrite", "--recolor", "--backend", backend]
        return lambda: subprocess.run(command(source, target, *options), check=True, **QUIET)

    def imports() -> None:
        subprocess.run([sys.executable, "-c", "import numpy, cv2"], check=True)

    report("one small photo by onnxruntime / by torch", by("onnxruntime"), by("torch"))
    report("one small photo by onnxruntime / import numpy, cv2", by("onnxruntime"), imports)


STAGES = """
import sys, time
def stage(name):
    print(f"{name} {time.process_time() - stage.before:.2f} s", end=", ")
    stage.before = time.process_time()
stage.before = 0
stage("Python")
import numpy, cv2; stage("NumPy and OpenCV")
import flowercolor.cli.app; stage("the command line")
import flowercolor.inference.batch, flowercolor.photos.writer; stage("the library")
import onnxruntime; stage("onnxruntime")
from flowercolor.runs import bundled_checkpoint
from flowercolor.checkpoint import read_weights
info, weights = read_weights(bundled_checkpoint()); stage("checking and reading the weights")
from flowercolor.inference.onnx_backend import OnnxBackend
network = OnnxBackend(info.config.network, weights); stage("folding them, a session")
network(numpy.zeros((1, 1, 112, 144), "f4")); stage("the network")
"""


def stages_of_a_start(_folder: Path) -> None:
    """Where the processor time of one small photo goes, by onnxruntime."""
    done = subprocess.run(
        [sys.executable, "-c", STAGES], capture_output=True, text=True, check=True
    )
    sys.stdout.write(f"one small photo, processor time: {done.stdout.rstrip(', ')}\n")


def command(source: Path, target: Path, *options: str) -> list[str]:
    """The command line that colors one photo with the bundled weights on the CPU."""
    python = [sys.executable, "-m", "flowercolor", "colorize", str(source), "-o", str(target)]
    return [*python, "--checkpoint", "bundled", "--device", "cpu", *options]


def report(
    title: str, ours: Callable[[], object], reference: Callable[[], object], rounds: int = 5
) -> None:
    """Print one line: both times and their ratio."""
    own, other, ratio = compare(ours, reference, rounds)
    sys.stdout.write(f"{title}: {own:.3f} s / {other:.3f} s = {ratio:.2f}\n")


def main() -> None:
    """Run all of it; with a folder of photos, compare the backends' pictures of those too."""
    if sys.argv[1:2] == ["--make"]:
        cv2.imwrite(sys.argv[2], made_up_photo(8660, 11548, 0), JPEG)
        return
    if len(sys.argv) > 1:
        same_pictures(Path(sys.argv[1]))
    with tempfile.TemporaryDirectory() as name:
        for benchmark in (
            hundred_megapixels,
            start,
            stages_of_a_start,
            twelve_megapixels,
            folder_of_photos,
            network_of_a_folder,
            stages_of_a_folder,
        ):
            benchmark(Path(name))


if __name__ == "__main__":
    main()
