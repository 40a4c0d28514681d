"""All that a person says of one photo's colors, on its small copy."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from flowercolor.errors import SettingError
from flowercolor.hints.hint import Hint, Leave
from flowercolor.hints.palette import Palette, with_palette
from flowercolor.hints.spreading import Array, Seen, likeness, placed, small_point, spread

_HALF = 128


@dataclass(frozen=True, eq=False)
class Guidance:
    """What leads the colors of a photo; of nothing, false.

    Attributes:
        hints: Colors of places.
        palette: Colors that lead all that no hint reaches.
        leave: Places that are not colored.
        mask: uint8 [h, w] of any size, stretched over the photo: white is not colored, black is. Of
            0 and 1 alone, 1 is white.

    Raises:
        SettingError: A part is of another kind, or a place has two colors.
    """

    hints: Sequence[Hint] = ()
    palette: Palette | None = None
    leave: Sequence[Leave] = ()
    mask: npt.NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        for name, kind, given in (("hints", Hint, self.hints), ("leave", Leave, self.leave)):
            if not isinstance(given, Sequence) or not all(isinstance(one, kind) for one in given):
                raise SettingError(
                    f"{name} is {_shown(given)}; expected a list of {kind.__name__}, such as "
                    f"[{kind.__name__}(412, 300{', ' + repr('crimson') if kind is Hint else ''})]"
                )
        if self.palette is not None and not isinstance(self.palette, Palette):
            raise SettingError(
                f"palette is {_shown(self.palette)}; expected what "
                "`flowercolor.photos.pictures.palette_of(palette='crimson,ivory')` gives"
            )
        mask = self.mask
        if mask is not None and not (
            isinstance(mask, np.ndarray) and mask.dtype == np.uint8 and mask.ndim == 2 and mask.size
        ):
            raise SettingError(
                f"mask is {_shown(mask)}; expected a uint8 array [h, w], as "
                "`flowercolor.photos.pictures.mask_of` makes of a file"
            )
        if mask is not None and mask.max() == 1:
            object.__setattr__(self, "mask", 255 * mask)
        at_place: dict[tuple[float | str, float | str], Hint] = {}
        for hint in self.hints:
            first = at_place.setdefault((hint.x, hint.y), hint)
            if first.chroma() != hint.chroma():
                raise SettingError(
                    f"hint {hint}: gives its place another color than {first}; expected one of them"
                )

    @staticmethod
    def of(given: "Guidance | Sequence[Hint] | None") -> "Guidance":
        """What is given as such, as hints alone, or as nothing.

        Raises:
            SettingError: It is anything else.
        """
        return given if isinstance(given, Guidance) else Guidance(() if given is None else given)

    def __bool__(self) -> bool:
        return bool(self.hints or self.leave) or self.palette is not None or self.mask is not None

    @property
    def needs_features(self) -> bool:
        """Whether the branch for hints has to be there."""
        by_likeness = any(place.radius_px is None for place in self.leave)
        return bool(self.hints) or self.palette is not None or by_likeness

    @property
    def digests(self) -> dict[str, str]:
        """What to know those of its parts by again that there are."""
        parts = {"hints": "".join(f"{hint};" for hint in self.hints).encode()}
        if self.palette is not None:
            palette = self.palette
            planes = (palette.chroma, palette.luma, palette.shares)
            parts["palette"] = b"".join(plane.tobytes() for plane in planes)
        parts["leave"] = "".join(f"{place};" for place in self.leave).encode()
        if self.mask is not None:
            parts["mask"] = np.ascontiguousarray(self.mask).tobytes()
        return {
            name: hashlib.blake2b(content, digest_size=4).hexdigest()
            for name, content in parts.items()
            if content
        }

    def chroma(self, seen: Seen, photo_px: tuple[int, int]) -> Array:
        """The small chroma where hints and palette lead it, float32 [2, h, w].

        Args:
            seen: The photo.
            photo_px: Height and width of the photo.

        Raises:
            SettingError: A hint lies outside of the photo.
        """
        hints = placed(self.hints, photo_px, seen.luma.shape)
        if self.palette is not None:
            hints = with_palette(seen, self.palette, hints)
        return spread(seen, hints)

    def colored(self, photo_px: tuple[int, int], seen: Seen | None) -> npt.NDArray[np.uint8] | None:
        """How far each pixel is colored, uint8 [H, W], 255 for fully; None where all are.

        Args:
            photo_px: H and W.
            seen: The photo, for what is to be left by likeness; None where nothing is.

        Raises:
            SettingError: A place lies outside of the photo, or a hint in what is not colored.
        """
        if self.mask is None and not self.leave:
            return None
        height, width = photo_px
        colored = np.full(photo_px, 255, np.uint8)
        if self.mask is not None:
            stretched = cv2.resize(self.mask, (width, height), interpolation=cv2.INTER_LINEAR)
            colored = 255 - stretched.astype(np.uint8)
        for place in self.leave:
            if place.radius_px is None:
                assert seen is not None  # what `needs_features` says
                alike = likeness(seen, small_point(place, photo_px, seen.luma.shape))
                # Half alike is left already: what is to stay gray is not to stay half gray.
                rest = np.round(255 * np.clip(1.5 - 2 * alike, 0, 1)).astype(np.uint8)
                large: Any = cv2.resize(rest, (width, height), interpolation=cv2.INTER_LINEAR)
                np.minimum(colored, large, out=colored)
            else:
                x, y = place.place(width, height)
                center, radius = (round(x * 16), round(y * 16)), round(place.radius_px * 16)
                cv2.circle(colored, center, radius, 0, -1, cv2.LINE_AA, 4)
        for hint in self.hints:
            x, y = hint.place(width, height)
            if any(hint.chroma()) and colored[int(y), int(x)] < _HALF:
                raise SettingError(
                    f"hint {hint}: lies in what a place to leave, or the mask, keeps gray; leave "
                    "out one of them"
                )
        return colored


def _shown(given: object) -> str:
    """A value as Python writes it, an array too on one line."""
    return " ".join(repr(given).split())
