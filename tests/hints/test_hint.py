import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flowercolor.errors import DataError, SettingError
from flowercolor.hints.hint import Hint, HintFile, Leave, chroma_of, chroma_to_color, rgb_of


def test_pixels_and_shares_say_the_same_place() -> None:
    assert Hint.parse("412,300=crimson").place(640, 480) == (412, 300)
    assert Hint.parse("25%, 50%=#dc143c").place(640, 480) == (160, 240)
    assert Hint.parse("100%,0%=gray").place(640, 480) == (639.5, 0)
    assert Leave.parse("5,6").place(10, 10) == (5, 6)


def test_what_is_written_says_the_hint_again() -> None:
    for text in ("412,300=crimson", "40%,60%=#c02040", "1.5,2=gray"):
        assert str(Hint.parse(text)) == text
    assert str(Hint(1, 2, (220, 20, 60))) == "1,2=#dc143c"
    assert str(Leave.parse("40%,60%,25")) == "40%,60%,25"


def test_the_chroma_is_that_of_jpeg() -> None:
    """By Pillow, which cuts to levels; every gray has none."""
    for color in ("crimson", "#336699", "ivory"):
        rgb = rgb_of(color, "a color")
        _, cb, cr = Image.new("RGB", (1, 1), rgb).convert("YCbCr").getpixel((0, 0))  # type: ignore[misc]
        expected = (np.array([cb, cr]) - 128) / 255
        assert np.allclose(Hint(0, 0, color).chroma(), expected, atol=1.1 / 255)
    for gray in ("gray", "white", "black", "#808080"):
        assert np.allclose(Hint(0, 0, gray).chroma(), 0, atol=1e-12)


def test_a_color_comes_back_from_its_chroma_and_luma() -> None:
    luma = (0.299 * 220 + 0.587 * 20 + 0.114 * 60) / 255
    assert chroma_to_color(luma, *chroma_of((220, 20, 60))) == "#dc143c"
    assert chroma_to_color(1.0, 0.3, 0.3) == "#ffffff", "white has no room for chroma"


@pytest.mark.parametrize("luma", [0.05, 0.3, 0.7, 0.95])
def test_a_color_too_strong_for_its_luma_is_weakened_and_keeps_it(luma: float) -> None:
    """Clipping the channels would change the luma, and the hue."""
    for cb, cr in ((0.4, 0.1), (-0.4, 0.2), (0.2, -0.4), (-0.1, -0.3)):
        red, green, blue = rgb_of(chroma_to_color(luma, cb, cr), "a color")
        assert abs(0.299 * red + 0.587 * green + 0.114 * blue - 255 * luma) < 1.1
        weaker = chroma_of((red, green, blue))
        turned = np.degrees(np.arctan2(weaker[1], weaker[0]) - np.arctan2(cr, cb))
        assert abs((turned + 180) % 360 - 180) < 6


@pytest.mark.parametrize(
    "text", ["", "412,300", "412=red", "1,2,3=red", "x,y=red", "1,2=", "1,2=redd", "101%,1%=red"]
)
def test_a_wrong_hint_is_refused_by_a_right_one(text: str) -> None:
    with pytest.raises(SettingError, match=r"crimson") as refused:
        Hint.parse(text)
    assert "\n" not in str(refused.value)


def test_a_color_may_have_the_numbers_of_an_array() -> None:
    assert rgb_of(np.array([1, 2, 3], np.uint8), "a color") == (1, 2, 3)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [Hint, Leave])
@pytest.mark.parametrize("text", [None, 5])
def test_what_is_no_text_is_refused(kind: Any, text: Any) -> None:
    with pytest.raises(SettingError, match=rf"{text}: expected X,Y"):
        kind.parse(text)


@pytest.mark.parametrize("text", ["", "1", "1,2,3,4", "x,2", "1,2,x", "1,2,0", "1,2,-3", "-1,2"])
def test_a_wrong_place_to_leave_is_refused_by_a_right_one(text: str) -> None:
    with pytest.raises(SettingError, match=r"412,300"):
        Leave.parse(text)


@pytest.mark.parametrize(("x", "y"), [(640, 0), (0, 480), (10_000, 3)])
def test_a_place_outside_of_the_photo_is_refused_by_one_within_any(x: float, y: float) -> None:
    for place, right in ((Hint(x, y, "red"), "40%,60%=#c02040"), (Leave(x, y), "40%,60%,25")):
        with pytest.raises(SettingError, match=rf"640x480 pixels.* within it, such as {right}$"):
            place.place(640, 480)


@pytest.mark.parametrize("radius", ["5%", 10**9, [5], True, float("nan")])
def test_what_is_no_radius_is_refused_by_both_bounds(radius: Any) -> None:
    with pytest.raises(SettingError, match=r"^leave 1,2,.*a number .* above 0 and below 1,000,000"):
        Leave(1, 2, radius)


@pytest.mark.parametrize("x", ["5", None, [5], True, -1, 1e9, 10**400, float("nan")])
def test_what_is_no_place_is_refused_by_what_is(x: Any) -> None:
    with pytest.raises(SettingError, match="is no place; expected a number of pixels from 0, or a"):
        Hint(x, 5, "red")


@pytest.mark.parametrize(
    ("color", "css"),
    [("light pink", "lightpink"), ("Dark-Red", "darkred"), ("C02040", "#c02040"), ("RED", "red")],
)
def test_a_color_is_taken_as_people_spell_it(color: str, css: str) -> None:
    assert rgb_of(color, "a color") == rgb_of(css, "a color")


def test_the_nearest_name_is_offered() -> None:
    with pytest.raises(
        SettingError, match=r"'light pnik' is no color, perhaps lightpink; expected"
    ):
        rgb_of("light pnik", "a color")


NO_LEVELS = [(0.9, 0.1, 0.2), (True, False, True), ("1", "2", "3"), ("a", "b", "c"), b"red"]


@pytest.mark.parametrize("color", [(1, 2), (1, 2, 300), (-1, 0, 0), 7, None, *NO_LEVELS])
def test_what_is_no_color_is_refused(color: object) -> None:
    with pytest.raises(SettingError, match=r"is no color; .*three whole numbers from 0 to 255"):
        Hint(1, 2, color)  # type: ignore[arg-type]


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
    assert hints.hints_of(Path("box/G\u00e4nse.jpg")) == [Hint(1, 2, "red")]
    [name] = hints.by_name
    assert hints.photos_of(name, [Path("G\u00e4nse.jpg")]) != []
    assert hints.hints_of(Path("box/rose.jpg")) == []


@pytest.mark.parametrize(
    ("name", "content"), [("a.csv", CSV), ("b.csv", CSV.replace(",", ";")), ("a.json", JSON)]
)
def test_a_file_has_the_hints_of_many_photos(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    file = HintFile(path)
    assert file.hints_of(Path("box/rose.jpg")) == [Hint(412, 300, "crimson")]
    assert file.hints_of(Path("box/1962/lily.jpg")) == [Hint("40%", "60%", "ivory")]
    assert file.hints_of(Path("box/1971/lily.jpg")) == []
    assert file.hints_of(Path("primrose.jpg")) == [], "a name is a whole name"
    photos = [Path("box/rose.jpg"), Path("primrose.jpg"), Path("box/1962/rose.jpg")]
    assert file.photos_of("rose.jpg", photos) == [photos[0], photos[2]]
    assert file.photos_of("1962/rose.jpg", photos) == [photos[2]]


@pytest.mark.parametrize("kind", [lambda x, y: Hint(x, y, "red"), Leave])
def test_a_share_that_is_given_as_pixels_is_told(kind: Callable[..., object]) -> None:
    with pytest.raises(SettingError, match=r"within the first pixel; .* write 50%,25% for shares"):
        kind(0.5, 0.25)
    kind(0.5, 0)
    kind(0.5, 100)


def test_a_list_is_for_every_photo(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"x": 1, "y": 2, "color": "red"}]')
    assert HintFile(tmp_path / "a.json").hints_of(Path("b.jpg")) == [Hint(1, 2, "red")]


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
        ('[{"x": 1, "y": 2, "color": [1, 2, 3]}]', "hint 1: its color is neither a text nor a n"),
        ("x,y,colour\n1,2,red\n", "its first line has 'colour', none of file, x, y, color, per"),
        ("x\ty\tcolor\tradius\n1\t2\tred\t3\n", "its first line has 'radius', none of file, x,"),
        ("x,y,color,x\n1,2,red,3\n", "its first line has the column x twice"),
        ("x,y,color\n1,2,red,\n1,2,red,3\n", "hint 2 has '3', whose column has no name"),
        ("x,y,color,\n1,2,red,3\n", "hint 1 has '3', whose column has no name"),
        ("file,x,y,color\na.jpg,1,2,red\n,1,3,blue\n", "hint 2 names no file, and others do"),
    ],
)
def test_nothing_that_a_file_says_is_dropped(tmp_path: Path, content: str, found: str) -> None:
    (tmp_path / "a").write_text(content)
    with pytest.raises(DataError) as refused:
        HintFile(tmp_path / "a")
    assert f"{tmp_path / 'a'}: {found}" in str(refused.value)
    assert '; expected JSON such as {"rose.jpg": [' in str(refused.value)


def test_an_empty_last_column_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y,color,\n1,2,red,\n")
    assert HintFile(tmp_path / "a.csv").by_name[""] == [Hint(1, 2, "red")]


def test_only_a_file_is_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder; expected a JSON or CSV"):
        HintFile(tmp_path)
    with pytest.raises(DataError, match="no such file; expected a JSON or CSV"):
        HintFile(tmp_path / "none.csv")
