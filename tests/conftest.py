"""Made-up photos of flowers, and for every test a cache and a data directory of its own."""

import gc
import multiprocessing
import os
import pickle
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from tests.pictures import tar_of

if TYPE_CHECKING:
    from flowercolor.data.dataset import FlowerDataset
    from flowercolor.data.photo_cache import Photos
    from flowercolor.networks.unet import UNet

# Before torch is imported: the threads of a convolution wait for each other, and with networks this
# small they lose more than they gain, in a busy loop forty times as much.
os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}

PHOTO_COUNT = 12
PHOTOS_SIZE_PX = 16


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """As many processes as cores for all tests; for some, starting them would take longest."""
    everything = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    return None if everything and not config.option.keyword else 0


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none."""
    if item.get_closest_marker("cuda"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA GPU")


def pytest_collection_finish() -> None:
    """Leave what was imported out of each garbage collection: a thirtieth of the time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c() -> None:
    """A shell has what it starts in the background ignore Ctrl-C; the tests press it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tests away from what the person who runs them has."""
    monkeypatch.setenv("FLOWERCOLOR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("FLOWERCOLOR_DATA_DIR", str(tmp_path / "data"))


def paint_flower(rng: np.random.Generator, height_px: int, width_px: int) -> npt.NDArray[np.uint8]:
    """A blossom of one color on leaves, uint8 BGR."""
    leaves = rng.integers((20, 90, 30), (80, 150, 90), (height_px // 8 + 1, width_px // 8 + 1, 3))
    picture = cv2.resize(leaves.astype(np.uint8), (width_px, height_px))
    petals = [int(value) for value in rng.permutation([40, int(rng.integers(80, 200)), 250])]
    center = (int(rng.integers(width_px // 3, width_px)), int(rng.integers(height_px)))
    for turn in range(0, 360, 60):
        axes = (min(height_px, width_px) // 2, 6)
        cv2.ellipse(picture, center, axes, turn, 0, 360, petals, cv2.FILLED)
    cv2.circle(picture, center, 5, (20, 220, 250), cv2.FILLED)
    return picture.astype(np.uint8)


@pytest.fixture(scope="session")
def pictures() -> dict[str, bytes]:
    """JPEG files by member name, of differing sizes, in the order of the archive."""
    rng = np.random.default_rng(102)
    files = {}
    for number in range(1, PHOTO_COUNT + 1):
        picture = paint_flower(rng, 40 + number, 60 - 2 * number)
        _, content = cv2.imencode(".jpg", picture)
        files[f"jpg/image_{number:05}.jpg"] = content.tobytes()
    return files


@pytest.fixture(scope="session")
def archive(pictures: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A .tgz of the pictures, made like the Oxford 102 archive. Not to be changed."""
    path = tmp_path_factory.mktemp("archive") / "flowers.tgz"
    return tar_of(pictures, path, "w:gz")


@pytest.fixture
def folder(pictures: dict[str, bytes], tmp_path: Path) -> Path:
    """A folder of the pictures."""
    for name, content in pictures.items():
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "photos"


@pytest.fixture(scope="session")
def photos(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> "Photos":
    """The pictures decoded to 16x16."""
    from flowercolor.data.photo_cache import read_data

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLOWERCOLOR_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        return read_data(archive, PHOTOS_SIZE_PX)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the current one."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


Rank = tuple[Any, Connection]  # the process, and where what it returns comes out


@contextmanager
def _start_ranks(size: int, function: Callable[..., Any], *args: Any) -> Iterator[list[Rank]]:
    """Call a function of a test module in processes that are told what `torchrun` tells its own.

    Each sends what it returns, pickled. They talk over loopback, take warnings for errors, and
    are killed at the end of the block.
    """
    from torch import distributed

    # A server that has imported torch once forks each process in no time.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["flowercolor.training.loop", "matplotlib.figure", "rich.progress", "torch._dynamo"]
    )
    store = distributed.TCPStore(  # type: ignore[attr-defined]
        "127.0.0.1", 0, is_master=True, wait_for_workers=False
    )
    shared = {name: value for name, value in os.environ.items() if name.startswith("FLOWERCOLOR_")}
    shared |= {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)}
    shared |= {"TORCHELASTIC_USE_AGENT_STORE": "True"}
    if sys.platform == "linux":
        shared["GLOO_SOCKET_IFNAME"] = "lo"
    started: list[Rank] = []
    try:
        for rank in range(size):
            receives, sends = context.Pipe(duplex=False)
            environ = {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            process = context.Process(target=_be_rank, args=(environ, sends, function, args))
            process.start()
            sends.close()
            started.append((process, receives))
        yield started
    finally:
        for process, receives in started:
            process.kill()
            process.join()
            receives.close()


def _be_rank(
    environ: dict[str, str], sends: Connection, function: Callable[..., Any], args: tuple[Any, ...]
) -> None:
    os.environ.update(environ)
    warnings.simplefilter("error")
    try:
        # By value: torch's own way of sending a tensor needs its process alive.
        sends.send_bytes(pickle.dumps(function(*args)))
    except Exception:
        traceback.print_exc()
        raise


@pytest.fixture(scope="session")
def start_ranks() -> Callable[..., AbstractContextManager[list[Rank]]]:
    """Start so many processes that call a function, for the length of a block."""
    return _start_ranks


@pytest.fixture(scope="session")
def in_ranks() -> Callable[..., list[Any]]:
    """Call a function in so many processes and wait for what each returns, by rank."""

    def call(size: int, function: Callable[..., Any], *args: Any) -> list[Any]:
        with _start_ranks(size, function, *args) as started:
            for process, receives in started:
                assert receives.poll(60), f"{process.name} is stuck"
            return [pickle.loads(receives.recv_bytes()) for _, receives in started]

    return call


@pytest.fixture
def flowers(photos: "Photos") -> "FlowerDataset":
    from flowercolor.data.dataset import FlowerDataset

    return FlowerDataset(photos, [7, 0, 3, 11, 5])


@pytest.fixture(params=["rgb", "chroma"])
def generator(request: pytest.FixtureRequest) -> "UNet":
    """With running statistics of its own and colors that leave 0 to 1."""
    import torch

    from flowercolor.config import NetworkConfig
    from flowercolor.networks.unet import UNet

    torch.manual_seed(3)
    generator = UNet(NetworkConfig(2, request.param))
    for _ in range(3):
        generator(torch.rand(4, 1, 16, 16))
    generator.head.weight.data *= 4
    return generator
