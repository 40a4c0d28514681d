"""Files that say the hints of many photos."""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from flowercolor.csv_tables import parse_table, read_text
from flowercolor.errors import DataError, SettingError
from flowercolor.files import named_path, parse_json, resolved
from flowercolor.hints.hint import Hint, number_of
from flowercolor.progress import Progress, Silent

MAX_HINTS = 10_000
_MAX_FILE_BYTES = 10 << 20
_EXPECTED = "expected a JSON or CSV file of hints"
_KEYS = ("x", "y", "color")


class HintFile:
    """The hints of many photos, by their names.

    JSON: a list of `{"x": 412, "y": 300, "color": "crimson"}` for all photos, or such lists by the
    names of files. CSV, with commas, semicolons or tabs: the columns x, y and color, and file where
    not all are for every photo. A name is that of the file, or its path, from any folder on.

    Args:
        path: The file.

    Attributes:
        by_name: The hints by name; those under "" are for every photo.

    Raises:
        DataError: It cannot be read, or does not say that.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path = named_path(path, "path")
        text = read_text(path, _EXPECTED, max_bytes=_MAX_FILE_BYTES)
        rows = self._json(text) if text.lstrip()[:1] in ("[", "{") else self._csv(text)
        self.by_name: dict[str, list[Hint]] = {}
        for where, name, row in rows:
            hint = self._hint(where, row)
            self.by_name.setdefault(_letters(name.replace("\\", "/")), []).append(hint)
        if not self.by_name:
            raise self._error("has no hints")
        if sum(map(len, self.by_name.values())) > MAX_HINTS:
            raise self._error(f"has more than {MAX_HINTS:,} hints")

    def by_photo(
        self, photos: str | Path | Sequence[str | Path], progress: Progress | None = None
    ) -> dict[Path, list[Hint]]:
        """The hints of each photo: those of its name, and those of every photo.

        Args:
            photos: All photos that there are; one of them, or several.
            progress: Told of the names that are none of theirs.

        Raises:
            DataError: A name is that of several photos, or there are hints for none of them.
        """
        given = [photos] if isinstance(photos, (str, Path)) else photos
        paths = [named_path(photo, "photos") for photo in given]
        meant = self._meant(paths)
        hints: dict[Path, list[Hint]] = {photo: [] for photo in paths}
        strangers = []
        for name, found in meant.items():
            if name and len(found) > 1:
                raise DataError(
                    f"{self.path}: {name} is {len(found)} of the photos, such as {found[0]} and "
                    f"{found[1]}; expected a name of one: write its folder before it"
                )
            if not found:
                strangers.append(f"{name}{_perhaps(name, paths)}")
            for photo in found:
                hints[photo] += self.by_name[name]
        if paths and not any(hints.values()):
            none = f"none of the {len(paths)} photos is" if len(paths) > 1 else f"{paths[0]} is not"
            raise DataError(
                f"{self.path}: has hints for {', '.join(strangers)}, and {none} one of them; "
                "expected the names of the photos, or no name for all"
            )
        for stranger in strangers:
            (progress or Silent()).note(
                f"{self.path}: has hints for {stranger}, which is none of the photos"
            )
        return hints

    def _meant(self, photos: Sequence[Path]) -> dict[str, list[Path]]:
        """Which photos each name means: that of the whole path, else those whose path ends so."""
        whole = {_letters(str(resolved(photo))): photo for photo in photos}
        paths = {photo: f"/{_letters(photo.as_posix())}" for photo in photos}
        meant = {}
        for name in self.by_name:
            end = f"/{name.removeprefix('./')}" if name else ""
            there = whole.get(_letters(str(resolved(Path(name))))) if name else None
            by_end = [photo for photo, path in paths.items() if path.endswith(end)]
            meant[name] = [there] if there else by_end
        return meant

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
            return Hint(number_of(texts[0]), number_of(texts[1]), texts[2])
        except SettingError as error:
            raise DataError(f"{self.path}: {what}: {error}") from error

    def _json(self, text: str) -> list[tuple[str, str, Any]]:
        """Where each hint stands, in words, the name of its file, and what it says."""
        try:
            content = parse_json(text)
        except ValueError as error:
            raise self._error(str(error)) from error
        lists = content if isinstance(content, dict) else {"": content}
        found = []
        for name, rows in lists.items():
            if not isinstance(rows, list):
                raise self._error(f"{name} has no list of hints")
            of_name = f" of {name}" if name else ""
            found += [(f"hint {number}{of_name}", name, row) for number, row in enumerate(rows, 1)]
        return found

    def _csv(self, text: str) -> list[tuple[str, str, Any]]:
        table = parse_table(text, self.path, _EXPECTED)
        table = table._replace(columns=[name.lower() for name in table.columns])
        columns = [*filter(None, table.columns)]  # some programs end each line with a separator
        where = "its first line"
        self._check_names(where, columns, ("file", *_KEYS))
        if not set(_KEYS) <= set(columns):
            raise self._error("has no columns x, y and color in its first line")
        if twice := [name for name in columns if columns.count(name) > 1]:
            raise self._error(f"{where} has the column {twice[0]} twice")
        for line, cells in zip(table.lines, table.rows, strict=True):
            for column, cell in zip_longest(table.columns, cells, fillvalue=""):
                if cell and not column:
                    raise self._error(f"line {line} has {cell!r}, whose column has no name")
        rows = []
        for line, row in zip(table.lines, table.named(), strict=True):
            row |= {axis: row[axis].replace(",", ".") for axis in ("x", "y")}  # a decimal comma
            rows.append((f"line {line}", row.get("file", ""), {key: row[key] for key in _KEYS}))
        nameless = [where for where, name, _ in rows if not name]
        if nameless and len(nameless) < len(rows):
            raise self._error(f"{nameless[0]} names no file, and others do; name it in each line")
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


def _perhaps(name: str, photos: Sequence[Path]) -> str:
    """Which photo may be meant, as " (perhaps rose.jpg)"; "" where none is called alike."""
    ending = Path(name).suffix.casefold()
    last = sorted(photos, key=lambda photo: photo.suffix.casefold() == ending)  # those of its kind
    names = {_without_zeros(photo): photo.name for photo in last}
    near = difflib.get_close_matches(_without_zeros(Path(name)), names, 1)
    return f" (perhaps {names[near[0]]})" if near else ""


def _without_zeros(photo: Path) -> str:
    """Its stem in small letters, with numbers as if they had no zeros before them."""
    return re.sub(r"(?<![0-9])0+(?=[0-9])", "", photo.stem.casefold())
