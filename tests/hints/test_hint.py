import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flowercolor.errors import SettingError
from flowercolor.hints.hint import Hint, Leave, chroma_of, chroma_to_color, rgb_of
from flowercolor.hints.palette import Palette


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


@pytest.mark.parametrize("color", ["#ff000080", "#f008", "rgba(255, 0, 0, 128)", "#ff0000ff"])
def test_a_color_with_opacity_is_none(color: str) -> None:
    for refuse in (lambda: Hint(1, 2, color), lambda: Palette.of_colors([color])):
        with pytest.raises(SettingError, match=re.escape(f"{color!r} is no color; expected a CSS")):
            refuse()


def test_what_is_no_color_is_named_as_it_was_given() -> None:
    with pytest.raises(SettingError, match=r"^hint 10,10=\(300, 0, 0\): \(300, 0, 0\) is no color"):
        Hint(10, 10, (300, 0, 0))


NO_LEVELS = [(0.9, 0.1, 0.2), (True, False, True), ("1", "2", "3"), ("a", "b", "c"), b"red"]


@pytest.mark.parametrize("color", [(1, 2), (1, 2, 300), (-1, 0, 0), 7, None, *NO_LEVELS])
def test_what_is_no_color_is_refused(color: object) -> None:
    with pytest.raises(SettingError, match=r"is no color; .*three whole numbers from 0 to 255"):
        Hint(1, 2, color)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [lambda x, y: Hint(x, y, "red"), Leave])
def test_a_share_that_is_given_as_pixels_is_told(kind: Callable[..., object]) -> None:
    with pytest.raises(SettingError, match=r"within the first pixel; .* write 50%,25% for shares"):
        kind(0.5, 0.25)
    kind(0.5, 0)
    kind(0.5, 100)
