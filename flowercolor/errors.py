"""What can go wrong, as one family of exceptions.

A message is one line: what was looked at, what was found, what was expected, what to do.
"""

import unicodedata
from collections.abc import Iterable

_NAMED = 3


class FlowercolorError(Exception):
    """Base of every error that flowercolor raises on purpose."""

    def __init__(self, message: str = "") -> None:
        """Names of files, and what others say, may hold characters that are none of one line."""
        super().__init__(printable(message))


class SettingError(FlowercolorError, ValueError):
    """A setting is out of its range, or two settings do not fit together."""


class DownloadError(FlowercolorError):
    """The archive could not be fetched, or what came is not the archive."""


class DataError(FlowercolorError):
    """An archive, a folder of photos or a table cannot be used."""


class ImageError(FlowercolorError):
    """A photo cannot be read or written."""


class CheckpointError(FlowercolorError):
    """A checkpoint cannot be found, cannot be read, or does not fit."""


class TrainingError(FlowercolorError):
    """Training went off: its losses are no finite numbers, or another process has died."""


class DeviceError(FlowercolorError):
    """The device asked for is missing or has too little memory."""


class DevicePackageError(DeviceError, SettingError):
    """The device asked for is missing, as the package is not installed that computes there."""


class StorageError(FlowercolorError):
    """A file cannot be written: the disk is full, or writing there is not allowed."""


def one_line(error: BaseException) -> str:
    """What an error of somebody else's says, on one line; the name of its kind if nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def counted(number: int, thing: str) -> str:
    """So many of a thing, in words: "1 photo", "8,189 photos"."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def first_few(names: Iterable[str]) -> str:
    """At most three of them, in a line."""
    names = [*names]
    return ", ".join(names[:_NAMED]) + ", …" * (len(names) > _NAMED)


def printable(text: str) -> str:
    """The text with control characters, such as those that steer a terminal, as escapes."""
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) == "Cc" or character in _TURNING
        else character
        for character in text
    )


_TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""They turn the direction in which the rest of a line is shown."""
