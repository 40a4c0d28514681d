"""The pictures of an epoch, drawn, cut and made float, batch by batch, where they are needed."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor

from flowercolor.config import TrainConfig
from flowercolor.dataset import FlowerDataset, to_pairs
from flowercolor.ranks import ranks

__all__ = ["Batch", "Drawn", "draw_epoch", "feed", "resident"]

AHEAD = 2


class Drawn(NamedTuple):
    """What chance decides on for an epoch of N photos.

    Attributes:
        order: int64 [N], the photos in the order of their turn.
        flips: bool [N], by photo, which are mirrored; None where none are.
        crops: float32 [N, 3], by photo, as `dataset.to_pairs` takes them; None for whole ones.
    """

    order: Tensor
    flips: Tensor | None
    crops: Tensor | None

    def to(self, device: torch.device) -> "Drawn":
        """The same, on that device."""
        order, *chance = self
        return Drawn(order.to(device), *(None if of is None else of.to(device) for of in chance))


def draw_epoch(config: TrainConfig, count: int, epoch: int) -> Drawn:
    """What the seed and the number of the epoch give, and nothing else does.

    So a resumed run needs no random state to see the same pictures again.
    """
    rng = torch.Generator().manual_seed(config.seed + 1_000_003 * epoch)
    order = torch.randperm(count, generator=rng)
    flips = torch.rand(count, generator=rng) < 0.5 if config.flip else None
    crops = None
    if config.crop < 1:
        crops = torch.rand(count, 3, generator=rng)
        crops[:, 0] = (config.crop + (1 - config.crop) * crops[:, 0]).sqrt()
    return Drawn(order, flips, crops)


class Batch(NamedTuple):
    """What a process learns from in one step.

    Attributes:
        grey: float32 [B, 1, S, S] in 0 to 1, on the device.
        real: float32 RGB [B, 3, S, S] in 0 to 1, on the device.
        classes: int64 [B], which flower each shows, on the device; None where nobody says.
        photos: B; 0 for a photo that is only there because this process got none.
        weight: Its photos times the processes, over the photos of all: a mean of this over the
            processes is a mean over the photos. 1 where there are no others.
    """

    grey: Tensor
    real: Tensor
    classes: Tensor | None
    photos: int
    weight: float


def resident(device: torch.device, *datasets: FlowerDataset) -> list[FlowerDataset]:
    """The datasets, with their pictures on the GPU where at most half of its free memory goes.

    Pictures that several of them share are moved once. On a CPU they are left as they are.
    """
    if device.type != "cuda":
        return list(datasets)
    moved: dict[int, Tensor] = {}
    for photos in {id(dataset.photos): dataset.photos for dataset in datasets}.values():
        free_bytes, _ = torch.cuda.mem_get_info(device)
        if photos.rgb.nbytes <= free_bytes // 2:
            moved[id(photos)] = torch.from_numpy(photos.rgb).to(device)
    return [
        FlowerDataset(dataset.photos, dataset.indices, moved.get(id(dataset.photos)))
        for dataset in datasets
    ]


def feed(
    dataset: FlowerDataset,
    drawn: Drawn,
    batch_size: int,
    device: torch.device,
    *,
    skip: int = 0,
    classes: Tensor | None = None,
) -> Iterator[Batch]:
    """This process's batches of an epoch: under `torchrun` its share of each.

    Args:
        dataset: The N photos.
        drawn: Their order, and what is done to each.
        batch_size: Photos per step, of all processes together.
        device: Where to.
        skip: Steps to leave out at the beginning.
        classes: int64 [N], the class of each photo.
    """
    place = ranks()
    drawn = drawn.to(dataset.device)
    classes = None if classes is None else classes.to(dataset.device)
    shared = drawn.order.split(batch_size)[skip:]
    counts = [len(positions[place.rank :: place.size]) for positions in shared]
    # Who gets no photo of a small last batch has to take part nonetheless: with one that
    # counts for nothing, but in batch norm's statistics where those are of the joined batch.
    own = [
        positions[place.rank :: place.size] if count else positions[:1]
        for positions, count in zip(shared, counts, strict=True)
    ]
    streams = device.type == "cuda" and dataset.device.type == "cpu"
    pixels = _streamed(dataset, own, device) if streams else map(dataset.pixels, own)
    for positions, rgb, count, of_all in zip(own, pixels, counts, shared, strict=True):
        chance = [
            None if of is None else of[positions].to(device, non_blocking=True) for of in drawn[1:]
        ]
        pair = to_pairs(rgb.to(device), *chance)
        shown = None if classes is None else classes[positions].to(device, non_blocking=True)
        yield Batch(*pair, shown, count, place.size * count / len(of_all))


def _streamed(
    dataset: FlowerDataset, batches: Sequence[Tensor], device: torch.device
) -> Iterator[Tensor]:
    """The pictures of each batch on the GPU, read and sent while it is busy with another."""
    sending = torch.cuda.Stream(device)
    with ThreadPoolExecutor(1) as reader:
        waiting: deque[Future[Tensor]] = deque()
        for positions in [*batches, *[None] * AHEAD]:
            if positions is not None:
                waiting.append(reader.submit(lambda of: dataset.pixels(of).pin_memory(), positions))
            if waiting and (positions is None or len(waiting) > AHEAD):
                with torch.cuda.stream(sending):
                    sent = waiting.popleft().result().to(device, non_blocking=True)
                learning = torch.cuda.current_stream(device)
                learning.wait_stream(sending)
                sent.record_stream(learning)
                yield sent
