import pytest

from flowercolor.torchrun import Ranks, ranks, shard
from tests.helpers import be_rank


def test_a_process_alone_leads_and_has_everything() -> None:
    assert ranks() == Ranks(0, 1, 0)
    assert ranks().leads
    assert shard("abc") == "abc"


def test_the_place_is_what_torchrun_says(monkeypatch: pytest.MonkeyPatch) -> None:
    be_rank(monkeypatch, 5, 8, 1)
    assert ranks() == Ranks(rank=5, size=8, local_rank=1)
    assert not ranks().leads


@pytest.mark.parametrize("missing", ["RANK", "WORLD_SIZE", "LOCAL_RANK"])
def test_half_of_the_variables_are_those_of_something_else(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    be_rank(monkeypatch, 1, 2, 1)
    monkeypatch.delenv(missing)
    assert ranks() == Ranks()


@pytest.mark.parametrize(("count", "size"), [(7, 3), (2, 3), (0, 2), (6, 2)])
def test_the_shares_are_each_item_once_and_alike_in_size(
    monkeypatch: pytest.MonkeyPatch, count: int, size: int
) -> None:
    shares = []
    for rank in range(size):
        be_rank(monkeypatch, rank, size)
        shares.append(shard(range(count)))
    assert sorted(item for items in shares for item in items) == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
