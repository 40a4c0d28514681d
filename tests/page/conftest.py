"""The page with the bundled weights and with a tiny network, and a browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flowercolor.config import NetworkConfig
from flowercolor.hints.attention import HINT_CHANNELS, KEY_CHANNELS
from flowercolor.page.build import export_page
from flowercolor.runs import bundled_checkpoint
from tests.helpers import save_network
from tests.page.browser import Browser, driver


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose network computes in no time; it has no vividness scale."""
    import torch

    from flowercolor.networks.unet import UNet

    torch.manual_seed(5)
    network = UNet(NetworkConfig(4, "rgb", hints=True))
    for _ in range(3):
        network(torch.rand(4, 1, 32, 32))
    assert network.hints is not None
    with torch.no_grad():  # what is alike follows
        network.hints.head.bias[KEY_CHANNELS : HINT_CHANNELS - 1] = 2  # type: ignore[index]
    return save_network(tmp_path_factory.mktemp("tiny") / "tiny.safetensors", network)


@pytest.fixture(scope="session")
def bundled_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    export_page(bundled_checkpoint(), path)
    return path


@pytest.fixture(scope="session")
def tiny_page(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    export_page(tiny, path)
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser that reaches no network."""
    with driver() as start:
        yield start(tmp_path_factory.mktemp("browser"))
