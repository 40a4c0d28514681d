"""Tables that people write: CSV from a spreadsheet or an editor, whatever separates its cells."""

import csv
import io
from pathlib import Path
from typing import NamedTuple

from flowercolor.errors import DataError, one_line
from flowercolor.files import MAX_TEXT_BYTES, is_folder, read_bounded


class Table(NamedTuple):
    """What a table holds.

    Attributes:
        columns: The cells of its first line.
        rows: The lines below.
        lines: The number in the file of the line where each row ends.
        separator: What stands between the cells: a tab, a semicolon or a comma.
    """

    columns: list[str]
    rows: list[list[str]]
    lines: list[int]
    separator: str

    def named(self) -> list[dict[str, str]]:
        """The rows by the names of the columns; cells that a row lacks are ""."""
        blank = dict.fromkeys(self.columns, "")
        return [blank | dict(zip(self.columns, row, strict=False)) for row in self.rows]


def read_text(path: Path, expected: str, *, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """What a file in UTF-8 says, without the mark that Windows puts before it.

    Args:
        expected: What it should be, for the error: "expected a CSV table".

    Raises:
        DataError: It cannot be read, or is in another encoding.
    """
    try:
        text = read_bounded(path, max_bytes).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; {expected}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: {_NOT_UTF8}") from error
    except (OSError, ValueError) as error:  # a name with a zero in it
        reason = getattr(error, "strerror", None) or one_line(error)
        found = "is a folder" if is_folder(path) else f"cannot be read ({reason})"
        raise DataError(f"{path}: {found}; {expected}") from error
    if "\0" in text:  # half of each letter in UTF-16
        raise DataError(f"{path}: {_NOT_UTF8}")
    return text


_NOT_UTF8 = "is not in UTF-8; save it so, in Excel as CSV UTF-8"


def parse_table(text: str, path: Path, expected: str) -> Table:
    """The table of a text, whose first line tells what separates its cells; empty lines are none.

    Args:
        path: Where it is from; this and `expected` are for the error.

    Raises:
        DataError: The text is no table.
    """
    first = text.lstrip("\r\n").partition("\n")[0]
    separator = next((mark for mark in "\t;" if mark in first), ",")
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, delimiter=separator)
    try:
        found = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(row)]
    except csv.Error as error:
        raise DataError(f"{path}: is no table ({one_line(error)}); {expected}") from error
    (_, columns), *rows = found or [(1, [])]
    return Table(columns, [row for _, row in rows], [line for line, _ in rows], separator)
