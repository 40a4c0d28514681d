"""Turn gray photographs of flowers and gardens into color.

    import flowercolor

    colored = flowercolor.colorize(gray)

The names below are loaded at first use: `import flowercolor` alone does not import torch.
"""

from importlib import import_module

from flowercolor._version import __version__

TYPE_CHECKING = False  # importing `typing` takes 10 ms, in which Ctrl-C would be a traceback
if TYPE_CHECKING:
    from flowercolor.config import NetworkConfig, TrainConfig
    from flowercolor.data.dataset import FlowerDataset, get_data
    from flowercolor.data.oxford102 import download_archive
    from flowercolor.data.photo_cache import read_data
    from flowercolor.errors import FlowercolorError
    from flowercolor.evaluation.scoring import Scores, score
    from flowercolor.hints.hint import Hint, Leave
    from flowercolor.inference.colorizer import Colorizer, colorize
    from flowercolor.networks.discriminator import Discriminator
    from flowercolor.networks.unet import UNet
    from flowercolor.training.loop import train

    __all__ = [
        "Colorizer",
        "Discriminator",
        "FlowerDataset",
        "FlowercolorError",
        "Hint",
        "Leave",
        "NetworkConfig",
        "Scores",
        "TrainConfig",
        "UNet",
        "__version__",
        "colorize",
        "download_archive",
        "get_data",
        "read_data",
        "score",
        "train",
    ]

_HOMES = {
    "Colorizer": "inference.colorizer",
    "Discriminator": "networks.discriminator",
    "FlowerDataset": "data.dataset",
    "FlowercolorError": "errors",
    "Hint": "hints.hint",
    "Leave": "hints.hint",
    "NetworkConfig": "config",
    "Scores": "evaluation.scoring",
    "TrainConfig": "config",
    "UNet": "networks.unet",
    "colorize": "inference.colorizer",
    "download_archive": "data.oxford102",
    "get_data": "data.dataset",
    "read_data": "data.photo_cache",
    "score": "evaluation.scoring",
    "train": "training.loop",
}

if not TYPE_CHECKING:  # a type checker would take any misspelled name for one of them

    def __getattr__(name: str) -> object:
        if name == "__all__":  # what `import *` stops at must not be among them
            return __dir__()
        if name not in _HOMES:
            raise AttributeError(f"module 'flowercolor' has no attribute {name!r}")
        from flowercolor.installation import needed_for  # noqa: PLC0415 - by no `import flowercolor`

        with needed_for(f"flowercolor.{name}"):
            return getattr(import_module(f"flowercolor.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    from importlib.util import find_spec  # noqa: PLC0415 - seldom needed

    # What looks at all names, such as `help`, stops at one that cannot be had.
    names = [*_HOMES, "__version__"]
    if find_spec("torch"):
        return sorted(names)
    of_torch = ("data.", "evaluation.", "networks.", "training.")
    return sorted(name for name in names if not _HOMES.get(name, "").startswith(of_torch))
