"""What a person says of a photo's colors, and how it is written."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from PIL import ImageColor

from flowercolor.color import color_differences, fitting_factor, to_chroma
from flowercolor.config import in_range
from flowercolor.errors import SettingError

RIGHT_HINT = "412,300=crimson or 40%,60%=#c02040"
RIGHT_LEAVE = "412,300 or 40%,60%,25"
MAX_RADIUS_PX = 1_000_000

Color = str | Sequence[int]
"""A CSS name, also as "Light Pink"; `#rrggbb`, also bare; or red, green, blue from 0 to 255."""


@dataclass(frozen=True)
class Hint:
    """The color of one place of a photo.

    Its hue and strength hold there, as far as the luma of the photo allows; the color spreads to
    what is like the place and near it.

    Attributes:
        x: Column in pixels of the upright photo, from 0 at the left; or a share such as "40%".
        y: Row, likewise, from 0 at the top.
        color: A CSS name, `#rrggbb`, or red, green and blue from 0 to 255. "gray", as every
            gray, says that there is no color.

    Raises:
        SettingError: The color is none, or a coordinate is no number from 0.
    """

    x: float | str
    y: float | str
    color: Color

    def __post_init__(self) -> None:
        _check_place(self, f"hint {self}", RIGHT_HINT)
        rgb_of(self.color, f"hint {self}")

    def __str__(self) -> str:
        """As the option `--hint` takes it."""
        color = self.color
        if isinstance(color, (tuple, list)) and all(
            isinstance(level, Integral) and 0 <= int(level) <= 255 for level in color
        ):
            color = "#" + "".join(f"{level:02x}" for level in color)
        return f"{_written(self.x)},{_written(self.y)}={color}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The hint of a text such as "412,300=crimson" or "40%,60%=#c02040".

        Raises:
            SettingError: It says no such thing.
        """
        place, separator, color = str(text).partition("=")
        parts = place.split(",")
        if not separator or len(parts) != 2:
            raise SettingError(f"hint {text}: expected X,Y=COLOR, such as {RIGHT_HINT}")
        x, y = (number_of(part.strip()) for part in parts)
        return cls(x, y, color.strip())

    def place(self, width_px: int, height_px: int) -> tuple[float, float]:
        """Column and row in a photo of that size.

        Raises:
            SettingError: It lies outside.
        """
        return _place(self, width_px, height_px, f"hint {self}", RIGHT_HINT)

    def chroma(self) -> tuple[float, float]:
        """Cb and Cr, each within -0.5 to 0.5."""
        return chroma_of(rgb_of(self.color, f"hint {self}"))


@dataclass(frozen=True)
class Leave:
    """A place that is not to be colored.

    Attributes:
        x: As of a `Hint`, and so is `y`.
        y: Row.
        radius_px: Of the disk around it that stays gray; None for what is like the place.

    Raises:
        SettingError: A value is no number from 0.
    """

    x: float | str
    y: float | str
    radius_px: float | None = None

    def __post_init__(self) -> None:
        _check_place(self, f"leave {self}", RIGHT_LEAVE)
        radius = self.radius_px
        if radius is not None and not (_is_number(radius) and 0 < radius < MAX_RADIUS_PX):
            raise SettingError(
                f"leave {self}: the radius is {radius!r}; expected a number of pixels above 0 and "
                f"below {MAX_RADIUS_PX:,}, such as {RIGHT_LEAVE}"
            )

    def __str__(self) -> str:
        """As the option `--leave` takes it."""
        radius = "" if self.radius_px is None else f",{_written(self.radius_px)}"
        return f"{_written(self.x)},{_written(self.y)}{radius}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """What a text such as "412,300" or "40%,60%,25" says.

        Raises:
            SettingError: It says no such thing.
        """
        parts = [number_of(part.strip()) for part in str(text).split(",")]
        if len(parts) not in (2, 3) or (len(parts) == 3 and isinstance(parts[2], str)):
            raise SettingError(f"leave {text}: expected X,Y or X,Y,RADIUS, such as {RIGHT_LEAVE}")
        return cls(*parts)  # type: ignore[arg-type]

    def place(self, width_px: int, height_px: int) -> tuple[float, float]:
        """Column and row in a photo of that size.

        Raises:
            SettingError: It lies outside.
        """
        return _place(self, width_px, height_px, f"leave {self}", RIGHT_LEAVE)


def rgb_of(color: Color, what: str) -> tuple[int, int, int]:
    """Red, green and blue from 0 to 255.

    Args:
        color: A CSS name, `#rrggbb`, or three whole numbers.
        what: What is named in an error.

    Raises:
        SettingError: It is no color.
    """
    nearest: list[str] = []
    levels: Sequence[int] | str = color
    try:
        if isinstance(color, str):
            name = re.sub(r"[\s_-]", "", color).lower()
            nearest = difflib.get_close_matches(name, ImageColor.colormap, 1)
            bare = re.fullmatch("[0-9a-f]{6}", name)
            levels = ImageColor.getrgb(f"#{name}" if bare else name)  # four of one with opacity
        if isinstance(color, bytes):  # whose items are numbers
            raise TypeError
        red, green, blue = (in_range("color", value, int, 0, 255) for value in levels)
    except (ValueError, TypeError):
        meant = f", perhaps {nearest[0]}" if nearest else ""
        numbers = "" if isinstance(color, str) else ", three whole numbers from 0 to 255"
        raise SettingError(
            f"{what}: {color!r} is no color{meant}; expected a CSS name such as crimson, #rrggbb"
            f"{numbers}, or gray"
        ) from None
    return red, green, blue


def chroma_of(rgb: Sequence[int]) -> tuple[float, float]:
    """Cb and Cr, each within -0.5 to 0.5, of red, green and blue from 0 to 255."""
    return to_chroma(*(value / 255 for value in rgb))


def fitting_rgb(luma: npt.NDArray[Any], chroma: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """RGB [3, H, W] in 0 to 1 of a luma [H, W] and a chroma [2, H, W], weakened until it fits."""
    differences = np.stack(color_differences(*chroma))
    rgb: npt.NDArray[Any] = luma + differences * fitting_factor(np, luma, differences)
    return rgb


def chroma_to_color(luma: float, cb: float, cr: float) -> str:
    """`#rrggbb` of a chroma at a luma of 0 to 1, the chroma weakened until it fits."""
    rgb = fitting_rgb(np.full((1, 1), luma), np.array([[[cb]], [[cr]]]))
    return "#" + np.clip(np.round(255 * rgb), 0, 255).astype(np.uint8).tobytes().hex()


def number_of(text: str) -> float | str:
    """A number, or the text of a share or of whatever else it is."""
    try:
        return float(text)
    except ValueError:
        return text


def _written(value: float | str) -> str:
    return f"{value:g}" if isinstance(value, Real) and abs(value) < 1e9 else str(value)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _coordinate(value: float | str, side_px: int, what: str, right: str) -> float:
    """In pixels of a side of that length, within it or not."""
    if isinstance(value, str):
        share = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]*)?)\s*%", value.strip())
        if share and (number := float(share[1])) <= 100:
            return min(number / 100 * side_px, side_px - 0.5)
    elif _is_number(value) and 0 <= value < 1e9:
        return float(value)
    raise SettingError(
        f"{what}: {value!r} is no place; expected a number of pixels from 0, or a text of percents "
        f"such as '40%', as in {right}"
    )


def _check_place(place: Hint | Leave, what: str, right: str) -> None:
    for value in (place.x, place.y):
        _coordinate(value, 1, what, right)
    if all(isinstance(value, Real) and 0 < value < 1 for value in (place.x, place.y)):
        x, y = (f"{float(value):.0%}" for value in (place.x, place.y))
        raise SettingError(
            f"{what}: is within the first pixel; expected pixels or percents: write {x},{y} for "
            "shares"
        )


def _place(
    place: Hint | Leave, width_px: int, height_px: int, what: str, right: str
) -> tuple[float, float]:
    column, row = (
        _coordinate(value, side, what, right)
        for value, side in ((place.x, width_px), (place.y, height_px))
    )
    if not (column < width_px and row < height_px):
        raise SettingError(
            f"{what}: lies outside the photo of {width_px}x{height_px} pixels; expected a place "
            f"within it, such as {right.partition(' or ')[2]}"
        )
    return column, row
