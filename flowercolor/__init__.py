"""Turn grey photographs of flowers and gardens into colour."""

from flowercolor._version import __version__

__all__ = ["__version__"]
