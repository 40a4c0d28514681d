import threading

import pytest

from flowercolor.background import Background


def fail() -> None:
    raise ValueError("broken")


def test_the_caller_goes_on_and_the_pieces_keep_their_order() -> None:
    done: list[int] = []
    go_on = threading.Event()

    def first() -> None:
        assert go_on.wait(timeout=10)
        done.append(1)

    with Background() as background:
        background.do(first)
        assert not done
        go_on.set()
        background.do(lambda: done.append(2))
    assert done == [1, 2]


def test_what_went_wrong_is_told_before_the_next_piece_begins() -> None:
    begun = False

    def begin() -> None:
        nonlocal begun
        begun = True

    with Background() as background:
        background.do(fail)
        with pytest.raises(ValueError, match="broken"):
            background.do(begin)
        background.wait()  # told once
    assert not begun


def test_what_went_wrong_last_is_told_at_the_end() -> None:
    background = Background()
    background.do(fail)
    with pytest.raises(ValueError, match="broken"), background:
        pass


def test_an_error_of_the_callers_own_comes_first() -> None:
    done: list[int] = []
    with pytest.raises(KeyError), Background() as background:
        background.do(lambda: done.append(1))
        background.do(fail)
        raise KeyError
    assert done == [1]
