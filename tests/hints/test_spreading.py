import numpy as np

from flowercolor.hints.hint import Hint
from flowercolor.hints.spreading import Placed, likeness, placed, spread
from tests.hints.helpers import HEIGHT, WIDTH, two_halves

RED = (0.0, 0.3)


def hints(*points: tuple[int, int]) -> Placed:
    return Placed(np.array(points), np.array([RED] * len(points), np.float32))


def test_a_hint_holds_at_its_place_and_colors_what_is_like_it() -> None:
    seen = two_halves()
    moved = spread(seen, hints((16, 10)))
    assert np.allclose(moved[:, 16, 10], RED, atol=1e-3)
    assert (np.abs(moved[1, :, : WIDTH // 2] - 0.3) < 0.03).all(), "the whole left half is red"
    assert np.allclose(moved[:, :, WIDTH // 2 :], 0.05, atol=1e-3), "the right half is not"


def test_weights_that_vanish_are_none_whatever_numpy_is_told_to_raise() -> None:
    with np.errstate(all="raise"):
        assert np.isfinite(spread(two_halves(), hints((16, 10)))).all()


def test_without_hints_no_bit_changes() -> None:
    seen = two_halves(noise=1)
    none = Placed(np.empty((0, 2), np.int64), np.empty((0, 2), np.float32))
    assert np.array_equal(spread(seen, none), seen.chroma)


def test_the_pieces_that_fit_into_memory_do_not_show() -> None:
    seen = two_halves(noise=0.5)
    whole = spread(seen, hints((1, 1), (20, 30)))
    pieces = spread(seen, hints((1, 1), (20, 30)), chunk_elements=100)
    assert np.allclose(pieces, whole, atol=1e-6)


def test_places_go_to_the_pixel_of_the_small_copy_that_holds_them() -> None:
    at = placed(
        [Hint(0, 0, "red"), Hint(639, 479, "red"), Hint("50%", "50%", "red")], (480, 640), (96, 128)
    )
    assert at.points.tolist() == [[0, 0], [95, 127], [48, 64]]


def test_likeness_is_one_at_home_and_nothing_elsewhere() -> None:
    alike = likeness(two_halves(), (5, 5))
    assert alike.shape == (HEIGHT, WIDTH)
    assert alike[:, : WIDTH // 2].min() > 0.85
    assert alike[:, WIDTH // 2 :].max() < 0.01
