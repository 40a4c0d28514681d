import json
from pathlib import Path

import pytest

from flowercolor.errors import DataError
from flowercolor.hints.hint import Hint
from flowercolor.hints.hint_file import HintFile
from tests.helpers import Recorder

CSV = "file,x,y,color\nrose.jpg,412,300,crimson\n1962/lily.jpg,40%,60%,ivory\n"
JSON = json.dumps(
    {
        "rose.jpg": [{"x": 412, "y": 300, "color": "crimson"}],
        "1962/lily.jpg": [{"x": "40%", "y": "60%", "color": "ivory"}],
    }
)


def test_a_table_of_semicolons_may_have_decimal_commas(tmp_path: Path) -> None:
    path = tmp_path / "hints.csv"
    for table in ("X;Y;Color\n12,5;40,25%;red\n", 'x,y,color\n"12,5","40,25%",red\n'):
        path.write_text(table)
        assert HintFile(path).by_name[""] == [Hint(12.5, "40.25%", "red")]


def test_names_are_compared_as_letters_however_a_program_codes_them(tmp_path: Path) -> None:
    """A spreadsheet writes capitals where it likes, and macOS codes an umlaut as two."""
    path = tmp_path / "hints.csv"
    path.write_text("File;x;y;color\nGa\u0308nse.jpg;1;2;red\n", "utf-8")
    hints = HintFile(path)
    photos = [Path("box/G\u00e4nse.jpg"), Path("box/rose.jpg")]
    assert hints.by_photo(photos) == {photos[0]: [Hint(1, 2, "red")], photos[1]: []}


@pytest.mark.parametrize(
    ("name", "content"), [("a.csv", CSV), ("b.csv", CSV.replace(",", ";")), ("a.json", JSON)]
)
def test_a_file_has_the_hints_of_many_photos(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    file = HintFile(path)
    names = ["box/rose.jpg", "box/1962/lily.jpg", "box/1971/lily.jpg", "primrose.jpg"]
    rose, lily, other, primrose = photos = [Path(name) for name in names]
    assert file.by_photo(photos) == {
        rose: [Hint(412, 300, "crimson")],
        lily: [Hint("40%", "60%", "ivory")],
        other: [],
        primrose: [],  # a name is a whole name
    }
    progress = Recorder()
    file.by_photo([rose, Path("lilly.jpg")], progress)
    told = f"{path}: has hints for 1962/lily.jpg (perhaps lilly.jpg), which is none of the photos"
    assert progress.notes == [told]
    scans = [Path(f"Bild_{number:03}.jpg") for number in range(1, 13)]
    scans.append(Path("Bild_003.tif"))  # another photo
    (tmp_path / "scans.csv").write_text("file,x,y,color\nBild_03.JPG,1,2,red\n")
    with pytest.raises(
        DataError, match=r"Bild_03.JPG \(perhaps Bild_003.jpg\), and none of the 13"
    ):
        HintFile(tmp_path / "scans.csv").by_photo(scans)
    with pytest.raises(DataError, match=r"a.*: has hints for .*, and b.jpg is not one of them; ex"):
        file.by_photo("b.jpg")
    assert HintFile(str(path)).by_photo(names[0]) == file.by_photo([rose])
    with pytest.raises(DataError, match=r"rose.jpg is 2 of the photos, such as box/rose.jpg and "):
        file.by_photo([rose, Path("box/1962/rose.jpg")])


@pytest.mark.parametrize("name", ["a.jpg", "./a.jpg", "old/../a.jpg", "{here}/a.jpg"])
def test_a_name_that_is_one_photos_whole_path_means_no_other(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hints.csv").write_text(f"file,x,y,color\n{name.format(here=tmp_path)},1,2,red\n")
    photos = [Path("old/a.jpg"), Path("a.jpg")]
    hints = HintFile(tmp_path / "hints.csv").by_photo(photos)
    assert hints == {photos[0]: [], photos[1]: [Hint(1, 2, "red")]}


def test_a_list_is_for_every_photo(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"x": 1, "y": 2, "color": "red"}]')
    assert HintFile(tmp_path / "a.json").by_photo([Path("b")]) == {Path("b"): [Hint(1, 2, "red")]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'[{"x": 1',
        b"[" * 100_000,
        b'{"a": 1}',
        b"[1]",
        b'[{"x": 1, "y": 2}]',
        b"x;y\n1;2\n",
        b'[{"x": 1, "y": 2, "color": "redd"}]',
        b"x,y,color\n1,2\n",
    ],
)
def test_a_file_that_says_no_hints_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "hints"
    path.write_bytes(content)
    with pytest.raises(DataError, match="expected") as refused:
        HintFile(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"[]", "has no hints; expected"),
        (b"x,y,color\n", "has no hints; expected"),
        (
            "x;y;color\n1;2;gr\xfcn\n".encode("cp1252"),
            "is not in UTF-8; save it so, in Excel as CSV UTF-8",
        ),
    ],
)
def test_a_file_is_refused_for_what_is_wrong(tmp_path: Path, content: bytes, found: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DataError, match=f"a.csv: {found}"):
        HintFile(tmp_path / "a.csv")


WRITTEN_TWICE = json.dumps({"a.jpg": [], "b.jpg": []}).replace("b", "a")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (WRITTEN_TWICE, "has 'a.jpg' twice; name it once, for all of it"),
        ('[{"x": 1, "x": 2, "y": 3, "color": "red"}]', "has 'x' twice; name it once"),
        ("[" * 100_000, "is nested beyond all measure"),
        ('[{"x": %s1, "y": 2, "color": "red"}]' % ("[" * 500), "is no JSON at line 1, column "),
        ('[{"x": %s}]' % ("9" * 5000), "has a number of 5,000 digits"),
        ('[\n{"x": 1 "y": 2}]', "is no JSON at line 2, column 9 "),
        ('[{"x": 1, "y": 2, "colour": "red"}]', "hint 1 has 'colour', none of x, y, color, per"),
        ('[{"x": 1, "y": 2, "color": "red", "radius": 3}]', "hint 1 has 'radius', none of x, y, c"),
        ('[{"file": "a.jpg", "x": 1, "y": 2, "color": "red"}]', "hint 1 has 'file', none of x, y"),
        ('[{"x": 1, "y": 2}]', "hint 1 lacks color"),
        ('{"a": [{"x": 1, "y": 2}]}', "hint 1 of a lacks color"),
        ('{"a": [], "b": {}}', "b has no list of hints"),
        ('[{"x": 1, "y": 2, "color": [1, 2, 3]}]', "hint 1: its color is neither a text nor a n"),
        ("x,y,colour\n1,2,red\n", "its first line has 'colour', none of file, x, y, color, per"),
        ("x\ty\tcolor\tradius\n1\t2\tred\t3\n", "its first line has 'radius', none of file, x,"),
        ("x,y,color,x\n1,2,red,3\n", "its first line has the column x twice"),
        ("x,y,color\n1,2,red,\n1,2,red,3\n", "line 3 has '3', whose column has no name"),
        ("x,y,color,\n1,2,red,3\n", "line 2 has '3', whose column has no name"),
        ("file,x,y,color\na.jpg,1,2,red\n,1,3,blue\n", "line 3 names no file, and others do"),
    ],
)
def test_nothing_that_a_file_says_is_dropped(tmp_path: Path, content: str, found: str) -> None:
    (tmp_path / "a").write_text(content)
    with pytest.raises(DataError) as refused:
        HintFile(tmp_path / "a")
    assert f"{tmp_path / 'a'}: {found}" in str(refused.value)
    assert '; expected JSON such as {"rose.jpg": [' in str(refused.value)


def test_a_color_that_is_none_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("file,x,y,color\na.jpg,1,2,red\n\nb.jpg,1,2,\n")
    with pytest.raises(DataError, match=r"a.csv: line 4: hint 1,2=: '' is no color"):
        HintFile(tmp_path / "a.csv")


def test_an_empty_last_column_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y,color,\n1,2,red,\n")
    assert HintFile(tmp_path / "a.csv").by_name[""] == [Hint(1, 2, "red")]


def test_only_a_file_is_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder; expected a JSON or CSV"):
        HintFile(tmp_path)
    with pytest.raises(DataError, match="no such file; expected a JSON or CSV"):
        HintFile(tmp_path / "none.csv")
