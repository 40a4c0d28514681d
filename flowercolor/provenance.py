"""What a colored picture's metadata says that made it, as EXIF's Software: written, and read."""

import re
from collections.abc import Mapping

from flowercolor._version import __version__
from flowercolor.config import RENDER_SIZE_PX

PROGRAM = f"flowercolor {__version__}"
"""The record of which no more is known."""

BY_HAND = {
    "hints": "hints",
    "palette": "palette or photo to be like",
    "leave": "leave",
    "mask": "mask",
}
"""What a person chose the colors by, which a call for several photos does not undo, in words."""

_UNSAID = {
    "vividness": "by default",
    "strength": "1",
    "render size": str(RENDER_SIZE_PX),
    **dict.fromkeys(BY_HAND, "none"),
}
"""The settings in their order, and what each was that a record does not name."""

_PARTS = ("version", "weights", *_UNSAID)
_RECORD = re.compile(
    r"flowercolor ([^,]*), colorized by the model (.*?)"
    + "".join(rf"(?:, {setting} ([^ ,]+))?" for setting in _UNSAID)
)


def record_of(weights: str, settings: Mapping[str, str | None]) -> str:
    """The record of a picture that weights of that name colored with those settings."""
    chosen = "".join(
        f", {setting} {value}"
        for setting, value in settings.items()
        if value not in (None, _UNSAID[setting])
    )
    return f"{PROGRAM}, colorized by the model {weights}{chosen}"


def is_record(software: str) -> bool:
    """Whether what a file says that made it is flowercolor."""
    return software.startswith("flowercolor ")


def lost_by_hand(before: str, now: str) -> list[str]:
    """What of `BY_HAND` the first record has and the second lacks."""
    old, new = _settings(before), _settings(now)
    return [words for name, words in BY_HAND.items() if old.get(name) and not new.get(name)]


def differences(before: str, now: str) -> str:
    """Where two records differ, such as "vividness 0.5, now 1"."""
    old, new = _settings(before), _settings(now)
    said = []
    for name in [name for name in new | old if old.get(name) != new.get(name)]:
        was, becomes, unsaid = old.get(name), new.get(name), _UNSAID.get(name, "none")
        words = BY_HAND.get(name, name)
        if name not in BY_HAND:
            said.append(f"{name} {was or unsaid}, now {becomes or unsaid}")
        elif was and becomes:
            said.append(f"other {words}")
        else:
            said.append(f"{words}, now none" if was else f"no {words}, now some")
    return "; ".join(said)


def _settings(record: str) -> dict[str, str | None]:
    found = _RECORD.fullmatch(record)
    return dict(zip(_PARTS, found.groups(), strict=True)) if found else {"weights": record}
