"""Trained runs, weights and a published archive for the commands."""

import hashlib
import shutil
import tarfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch

from flowercolor import paths
from flowercolor.config import NetworkConfig
from flowercolor.data.oxford102 import Archive, download_archive
from flowercolor.networks.unet import UNet
from tests.cli import helpers
from tests.cli.helpers import TINY, Site, Trained, succeed
from tests.helpers import blank_graphs, save_network


@pytest.fixture(autouse=True)
def _no_wishes_about_color(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture(scope="package", autouse=True)
def _without_graphs() -> Iterator[None]:
    with blank_graphs():
        yield


@pytest.fixture(scope="package")
def finished(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLOWERCOLOR_CACHE_DIR", str(home / "cache"))
        patch.setenv("FLOWERCOLOR_DATA_DIR", str(home))
        result = succeed("train", "--data", archive, "--epochs", "2", *TINY)
    [run] = (home / "runs").iterdir()
    return Trained(run, result)


@pytest.fixture
def trained(finished: Trained) -> Trained:
    """The finished run, copied into this test's data directory."""
    run = paths.runs_dir() / finished.run.name
    shutil.copytree(finished.run, run)
    return Trained(run, finished.result)


@pytest.fixture
def hint_weights(tmp_path: Path) -> Path:
    """The same with a branch for hints."""
    torch.manual_seed(0)
    network = UNet(NetworkConfig(2, "chroma", hints=True))
    return save_network(tmp_path / "hints.safetensors", network)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A checkpoint of random weights that belongs to no run."""
    torch.manual_seed(0)
    return save_network(tmp_path / "garden.safetensors", UNet(NetworkConfig(2)), size_px=16)


@pytest.fixture
def site(archive: Path, tmp_path: Path) -> Iterator[Site]:
    """In whose folder the made-up archive is."""
    folder = tmp_path / "site"
    folder.mkdir()
    shutil.copy(archive, folder)

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield Site(folder, f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()


@pytest.fixture
def published(archive: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """The made-up archive in the place of the Oxford 102 flowers."""
    monkeypatch.setenv("NO_PROXY", "*")
    with tarfile.open(archive) as packed:
        photos = {
            member.name: hashlib.sha256(packed.extractfile(member).read()).digest()  # type: ignore[union-attr]
            for member in packed
        }
    published = Archive(f"{site.url}/{archive.name}", "0" * 32, photos)
    monkeypatch.setitem(download_archive.__kwdefaults__ or {}, "archive", published)
    return published


@pytest.fixture(params=["onnxruntime", "torch"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is promised of `colorize` is promised of both ways to compute."""
    name: str = request.param
    monkeypatch.setattr(helpers, "backend", name)
    return name
