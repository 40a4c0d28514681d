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


if not TYPE_CHECKING:  # a type checker would take any misspelled name for one of them

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module 'flowercolor' has no attribute {name!r}")
        try:
            return getattr(import_module(f"flowercolor.{_HOMES[name]}"), name)
        except ModuleNotFoundError as error:
            from flowercolor.installation import NOT_IN_LIGHT, lacking  # noqa: PLC0415 - seldom needed

            if error.name not in NOT_IN_LIGHT:
                raise
            message = f"flowercolor.{name}: {lacking(error.name)}"
            raise ModuleNotFoundError(message, name=error.name) from error


def __dir__() -> list[str]:
    from importlib.util import find_spec  # noqa: PLC0415 - seldom needed

    # What looks at all names, such as `help`, stops at one that cannot be had.
    if find_spec("torch"):
        return sorted(__all__)
    of_torch = ("data.", "evaluation.", "networks.", "training.")
    return sorted(name for name in __all__ if not _HOMES.get(name, "").startswith(of_torch))
