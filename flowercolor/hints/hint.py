"""What a person says of a photo's colors, and how it is written."""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from PIL import ImageColor

from flowercolor.color import color_differences, fitting_factor, to_chroma
from flowercolor.config import in_range
from flowercolor.csv_tables import parse_table, read_text
from flowercolor.errors import DataError, SettingError
from flowercolor.files import parse_json

RIGHT_HINT = "412,300=crimson or 40%,60%=#c02040"
RIGHT_LEAVE = "412,300 or 40%,60%,25"
MAX_HINTS = 10_000
MAX_RADIUS_PX = 1_000_000
_MAX_FILE_BYTES = 10 << 20
_EXPECTED = "expected a JSON or CSV file of hints"
_KEYS = ("x", "y", "color")

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
        if isinstance(color, (tuple, list)) and all(isinstance(level, Integral) for level in color):
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
        x, y = (_number(part.strip()) for part in parts)
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
        parts = [_number(part.strip()) for part in str(text).split(",")]
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
    try:
        if isinstance(color, str):
            name = re.sub(r"[\s_-]", "", color).lower()
            nearest = difflib.get_close_matches(name, ImageColor.colormap, 1)
            bare = re.fullmatch("[0-9a-f]{6}", name)
            return ImageColor.getrgb(f"#{name}" if bare else name)[:3]
        if isinstance(color, bytes):  # whose items are numbers
            raise TypeError
        red, green, blue = (in_range("color", value, int, 0, 255) for value in color)
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


class HintFile:
    """The hints of many photos, by their names.

    JSON: a list of `{"x": 412, "y": 300, "color": "crimson"}` for all photos, or such lists by the
    names of files. CSV, with commas, semicolons or tabs: the columns x, y and color, and file where
    not all are for every photo. A name is that of the file, or its path below any folder.

    Args:
        path: The file.

    Attributes:
        by_name: The hints by name; those under "" are for every photo.

    Raises:
        DataError: It cannot be read, or does not say that.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        text = read_text(path, _EXPECTED, max_bytes=_MAX_FILE_BYTES)
        rows = self._json(text) if text.lstrip()[:1] in ("[", "{") else self._csv(text)
        self.by_name: dict[str, list[Hint]] = {}
        for number, (name, row) in enumerate(rows, 1):
            hint = self._hint(f"hint {number}", row)
            self.by_name.setdefault(_letters(name.replace("\\", "/")), []).append(hint)
        if not self.by_name:
            raise self._error("has no hints")
        if sum(map(len, self.by_name.values())) > MAX_HINTS:
            raise self._error(f"has more than {MAX_HINTS:,} hints")

    def hints_of(self, photo: Path) -> list[Hint]:
        """Those of a photo, by its name or the end of its path, and those of every photo."""
        path = _letters(photo.as_posix())
        return [
            hint
            for name, hints in self.by_name.items()
            if not name or f"/{path}".endswith(f"/{name}")
            for hint in hints
        ]

    def photos_of(self, name: str, photos: Sequence[Path]) -> list[Path]:
        """Which of the photos a name of `by_name` means."""
        return [photo for photo in photos if f"/{_letters(photo.as_posix())}".endswith(f"/{name}")]

    def _hint(self, what: str, row: Any) -> Hint:
        if not isinstance(row, dict):
            raise self._error(f"{what} is no object")
        self._check_names(what, row, _KEYS)
        texts = []
        for key in _KEYS:
            if key not in row:
                raise self._error(f"{what} lacks {key}")
            if not isinstance(row[key], (str, int, float)):
                raise self._error(f"{what}: its {key} is neither a text nor a number")
            texts.append(str(row[key]).strip())
        try:
            return Hint(_number(texts[0]), _number(texts[1]), texts[2])
        except SettingError as error:
            raise DataError(f"{self.path}: {error}") from error

    def _json(self, text: str) -> list[tuple[str, Any]]:
        try:
            content = parse_json(text)
        except ValueError as error:
            raise self._error(str(error)) from error
        lists = content if isinstance(content, dict) else {"": content}
        if not all(isinstance(rows, list) for rows in lists.values()):
            raise self._error("a name has no list of hints")
        return [(name, row) for name, rows in lists.items() for row in rows]

    def _csv(self, text: str) -> list[tuple[str, Any]]:
        table = parse_table(text, self.path, _EXPECTED)
        table = table._replace(columns=[name.lower() for name in table.columns])
        columns = [*filter(None, table.columns)]  # some programs end each line with a separator
        where = "its first line"
        self._check_names(where, columns, ("file", *_KEYS))
        if not set(_KEYS) <= set(columns):
            raise self._error("has no columns x, y and color in its first line")
        if twice := [name for name in columns if columns.count(name) > 1]:
            raise self._error(f"{where} has the column {twice[0]} twice")
        for number, cells in enumerate(table.rows, 1):
            for column, cell in zip_longest(table.columns, cells, fillvalue=""):
                if cell and not column:
                    raise self._error(f"hint {number} has {cell!r}, whose column has no name")
        rows = []
        for row in table.named():
            row |= {axis: row[axis].replace(",", ".") for axis in ("x", "y")}  # a decimal comma
            rows.append((row.get("file", ""), {key: row[key] for key in _KEYS}))
        names = [name for name, _ in rows]
        if any(names) and not all(names):
            number = names.index("") + 1
            raise self._error(f"hint {number} names no file, and others do; name it in each line")
        return rows

    def _check_names(self, where: str, names: Iterable[str], known: Sequence[str]) -> None:
        for name in names:
            if name not in known:
                near = difflib.get_close_matches(name.lower(), known, 1)
                perhaps = f", perhaps {near[0]}" if near else ""
                raise self._error(f"{where} has {name!r}, none of {', '.join(known)}{perhaps}")

    def _error(self, found: str) -> DataError:
        return DataError(
            f"{self.path}: {found}; expected JSON such as "
            '{"rose.jpg": [{"x": 412, "y": 300, "color": "crimson"}]}, or CSV with the columns '
            "file, x, y, color"
        )


def _letters(name: str) -> str:
    """A name as others write it who code its letters otherwise, as macOS does of umlauts."""
    return unicodedata.normalize("NFC", name)


def _number(text: str) -> float | str:
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
