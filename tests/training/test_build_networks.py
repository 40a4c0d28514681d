import pytest

from flowercolor.errors import SettingError
from flowercolor.training.build_networks import compiler_errors


def test_what_a_compiler_says_is_one_line() -> None:
    error = type("InductorError", (RuntimeError,), {"__module__": "torch._inductor.exc"})
    match = r"^`compiled`: torch .* \(no g\+\+\); it needs a C\+\+ "
    with pytest.raises(SettingError, match=match), compiler_errors():
        raise error("An exception occurred:\nno g++\nat line 3")


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match=r"^two\nlines$"), compiler_errors():
        raise RuntimeError("two\nlines")
