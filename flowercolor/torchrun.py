"""Which of several processes this is, as `torchrun` tells each by its environment."""

import os
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

Item = TypeVar("Item")


class Ranks(NamedTuple):
    """The place of this process among those that work on one job.

    Attributes:
        rank: Its number, from 0. Number 0 leads: it alone writes what there is one of.
        size: How many there are; 1 without `torchrun`.
        local_rank: Its number on this machine, which is that of its GPU.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """Whether it is this process that writes and talks."""
        return self.rank == 0


def ranks() -> Ranks:
    """This process's place, from the variables RANK, WORLD_SIZE and LOCAL_RANK."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    if any(name not in os.environ for name in names):
        return Ranks()
    return Ranks(*(int(os.environ[name]) for name in names))


def shard(items: Sequence[Item]) -> Sequence[Item]:
    """Every n-th item for this rank, so that the processes together have each of them once."""
    place = ranks()
    return items[place.rank :: place.size]
