from flowercolor.errors import ImageError, counted, one_line, printable


def test_an_error_is_one_line() -> None:
    assert one_line(ValueError("two\n  lines")) == "two lines"
    assert one_line(KeyError()) == "KeyError"


def test_a_name_of_several_lines_makes_no_message_of_several() -> None:
    assert str(ImageError("a\n\x1b[31m.jpg: is empty")) == r"a\n\x1b[31m.jpg: is empty"


def test_one_is_not_several() -> None:
    words = [counted(number, "photo") for number in (0, 1, 2, 8189)]
    assert words == ["0 photos", "1 photo", "2 photos", "8,189 photos"]


def test_what_steers_a_terminal_is_shown_as_escapes() -> None:
    assert printable("a\x1b[31m\x9b\tb\u202ec") == r"a\x1b[31m\x9b\tb\u202ec"
    assert printable("Löwenzahn 🌼 蒲公英") == "Löwenzahn 🌼 蒲公英"
