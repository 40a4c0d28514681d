from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flowercolor.data.dataset import FlowerDataset
from flowercolor.data.photo_cache import Photos
from flowercolor.data.sources import (
    Pool,
    Source,
    check_outside,
    draw,
    epoch_pools,
    merge,
    parse_source,
    some_of_each,
)
from flowercolor.errors import SettingError


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("a.tgz", Source(Path("a.tgz"))),
        ("a.tgz:0.3", Source(Path("a.tgz"), 0.3)),
        ("a.tgz:.3", Source(Path("a.tgz"), 0.3)),
        ("a:1", Source(Path("a"), 1.0)),
        ("C:/photos/a.tgz", Source(Path("C:/photos/a.tgz"))),
        ("C:/photos/a.tgz:0.3", Source(Path("C:/photos/a.tgz"), 0.3)),
        ("a:b", Source(Path("a:b"))),
        ("a:0.3:", Source(Path("a:0.3:"))),
        ("a:nan", Source(Path("a:nan"))),
        (":0.3", Source(Path(":0.3"))),
    ],
)
def test_only_a_trailing_number_is_a_share(here: Path, text: str, source: Source) -> None:
    assert parse_source(text) == source


@pytest.mark.skipif("sys.platform == 'win32'", reason="no colons in names there")
def test_what_exists_by_the_whole_name_is_meant(here: Path) -> None:
    (here / "summer:0.3").mkdir()
    assert parse_source("summer:0.3") == Source(Path("summer:0.3"))


@pytest.mark.parametrize("share", ["0", "0.0", "1.5", "30"])
def test_a_share_out_of_range_is_refused(here: Path, share: str) -> None:
    with pytest.raises(SettingError, match=f"a:{share}: the share is {share}; expected more"):
        parse_source(f"a:{share}")


def test_a_merged_dataset_is_its_parts_one_after_the_other(photos: Photos) -> None:
    first, second = FlowerDataset(photos, [7, 0]), FlowerDataset(photos, [3, 11, 5])
    merged = merge([first, second])
    assert merged.names == first.names + second.names
    assert merged.source_numbers.tolist() == [0, 0, 1, 1, 1]
    expected = torch.cat([first.pixels([0, 1]), second.pixels([0, 1, 2])])
    assert torch.equal(merged.pixels(range(5)), expected)
    assert torch.equal(merged.pixels([4, 0, 0]), expected[[4, 0, 0]])
    assert merged[3][2] == second[1][2]
    subset = merged.subset([3, 1])
    assert subset.names == [merged.names[3], merged.names[1]]
    assert torch.equal(subset.pixels([0, 1]), expected[[3, 1]])
    assert merge([first]) is first


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([12], [0, 1, 2, 3]),
        ([3], [0, 1, 2]),
        ([9, 3], [0, 1, 9, 10]),
        ([1, 3], [0, 1, 2, 3]),
        ([2, 0, 1], [0, 1, 2]),
        ([2] * 6, [0, 2, 4, 6]),
    ],
)
def test_some_of_each_source_are_its_first(
    photos: Photos, counts: list[int], expected: list[int]
) -> None:
    """Of one alone those that always were, so that its sheets are the same."""
    ends = [sum(counts[: number + 1]) for number in range(len(counts))]
    parts = [
        FlowerDataset(photos, range(end - count, end))
        for count, end in zip(counts, ends, strict=True)
    ]
    assert some_of_each(merge(parts), 4) == expected


@pytest.mark.parametrize(
    ("shares", "counts"),
    [
        ([], []),
        ([None, None], []),
        ([None, 0.5], [8, 8]),
        ([None, 0.2], [8, 2]),
        ([0.25, 0.75], [3, 9]),
    ],
)
def test_an_epoch_has_the_shares(
    photos: Photos, shares: list[float | None], counts: list[int]
) -> None:
    merged = merge([FlowerDataset(photos, range(8)), FlowerDataset(photos, range(8, 12))])
    assert [pool.drawn for pool in epoch_pools(merged, shares)] == counts


@given(st.integers(1, 9), st.integers(1, 40), st.integers(0, 2**32))
@settings(deadline=None, max_examples=30)
def test_no_photo_comes_again_before_the_others_of_its_source(
    count: int, drawn: int, seed: int
) -> None:
    rng = torch.Generator().manual_seed(seed)
    order = draw([Pool(torch.arange(100, 100 + count), drawn), Pool(torch.arange(3), 3)], rng)
    times = torch.bincount(order, minlength=110)
    assert len(order) == drawn + 3
    assert times[:3].tolist() == [1, 1, 1]
    of_source = times[100 : 100 + count]
    assert of_source.max() - of_source.min() <= 1


def test_what_is_drawn_does_not_come_to_lie_among_the_photos(tmp_path: Path) -> None:
    """Also where a link leads round to itself."""
    (tmp_path / "loop").symlink_to("loop")
    check_outside(tmp_path / "loop", tmp_path / "photos")
    (tmp_path / "photos").mkdir()
    check_outside(tmp_path / "loop", tmp_path / "photos")
    (tmp_path / "other").symlink_to("photos")
    with pytest.raises(SettingError, match="lies among the photos"):
        check_outside(tmp_path / "other" / "results", tmp_path / "photos")
