from pathlib import Path

import pytest

from flowercolor.csv_tables import parse_table, read_text
from flowercolor.errors import DataError

ROSES = "file,class\nrösä.jpg, rose \n\nlily.jpg\n"


@pytest.mark.parametrize("separator", ",;\t")
@pytest.mark.parametrize(("mark", "end"), [("", "\n"), ("\ufeff", "\r\n"), ("\ufeff\n", "\n")])
def test_a_table_is_read_as_any_program_writes_it(
    separator: str, mark: str, end: str, tmp_path: Path
) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes((mark + ROSES.replace(",", separator).replace("\n", end)).encode())
    table = parse_table(read_text(path, "expected a table"), path, "expected a table")
    assert table.separator == separator
    assert table.named() == [
        {"file": "rösä.jpg", "class": "rose"},
        {"file": "lily.jpg", "class": ""},
    ]


def test_quoted_cells_may_hold_separators_and_lines() -> None:
    table = parse_table('file,class\n"a, b.jpg","tea\nrose"\n', Path("t"), "")
    assert (table.rows, table.lines) == ([["a, b.jpg", "tea\nrose"]], [3])


def test_nothing_is_an_empty_table() -> None:
    assert parse_table("", Path("t"), "") == ([], [], [], ",")


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-16-le"])
def test_another_encoding_is_refused_by_what_to_do(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(ROSES.replace("ä", "e"), encoding=encoding)
    with pytest.raises(DataError) as refused:
        read_text(path, "expected a table")
    assert str(refused.value) == f"{path}: is not in UTF-8; save it so, in Excel as CSV UTF-8"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none.csv", "no such file"),
        (".", "is a folder"),
        ("none\0.csv", r"cannot be read \(embedded null byte\)"),
        ("large.csv", r"cannot be read \(has more than 1 MB\)"),
    ],
)
def test_what_cannot_be_read_is_refused(name: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "large.csv").write_bytes(b"a" * ((1 << 20) + 1))
    with pytest.raises(DataError, match=f"{said}; expected a table$"):
        read_text(tmp_path / name, "expected a table", max_bytes=1 << 20)


def test_a_cell_beyond_all_measure_is_refused() -> None:
    with pytest.raises(DataError, match=r"t: is no table \(field larger .*\); expected a table$"):
        parse_table("a" * 200_000, Path("t"), "expected a table")
