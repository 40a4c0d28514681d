import pytest

from flowercolor.provenance import differences, lost_by_hand, record_of


@pytest.mark.parametrize(
    ("before", "now", "changes"),
    [
        ("vividness 0.5", "vividness 1", "vividness 0.5, now 1"),
        ("strength 2", "vividness 1, strength 2", "vividness by default, now 1"),
        ("vividness 0.5, render size 64", "vividness 0.5", "render size 64, now 128"),
        (
            "hints 1a, palette 2b",
            "hints 3c, leave 4d",
            "other hints; palette or photo to be like, now none; no leave, now some",
        ),
        ("strength 0", "strength 0, mask 5e", "no mask, now some"),
    ],
)
def test_what_differs_between_two_results_is_named(before: str, now: str, changes: str) -> None:
    made = "flowercolor 0.1.0, colorized by the model roses, red"
    assert differences(f"{made}, {before}", f"{made}, {now}") == changes
    assert differences(f"{made}, {before}", f"{made}er, {before}") == (
        "weights roses, red, now roses, reder"
    )
    assert differences(f"{made}, {before}", f"{made}, {before}".replace(".1", ".2")) == (
        "version 0.1.0, now 0.2.0"
    )


def test_what_a_record_says_is_read_again() -> None:
    every = {"vividness": "0.5", "strength": "1.2", "render size": "64"}
    every |= dict.fromkeys(("hints", "palette", "leave", "mask"), "1a2b3c4d")
    said = differences(record_of("roses", dict.fromkeys(every)), record_of("roses", every))
    assert said == (
        "vividness by default, now 0.5; strength 1, now 1.2; render size 128, now 64; "
        "no hints, now some; no palette or photo to be like, now some; "
        "no leave, now some; no mask, now some"
    )


def test_what_was_given_by_hand_and_is_not_any_more() -> None:
    by_hand = record_of("roses", {"hints": "1a", "palette": "2b", "leave": "3c", "mask": "4d"})
    assert lost_by_hand(by_hand, record_of("roses", {})) == [
        "hints",
        "palette or photo to be like",
        "leave",
        "mask",
    ]
    others = {"hints": "4d", "palette": "1a", "leave": "3c", "mask": "5e"}
    assert lost_by_hand(by_hand, record_of("roses", others)) == []
    assert lost_by_hand("GIMP 2.10", record_of("roses", {})) == []
