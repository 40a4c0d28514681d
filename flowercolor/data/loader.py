"""The batches of an epoch: shuffled, augmented and made float, on the device."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor

from flowercolor.color import rgb_to_chroma
from flowercolor.config import TrainConfig
from flowercolor.data.dataset import FlowerDataset, to_pairs
from flowercolor.data.degradation import DRAWS, degrade
from flowercolor.data.simulated_hints import SimulatedHints, draw_hints, place_hints
from flowercolor.data.sources import Pool, draw
from flowercolor.torchrun import ranks

AHEAD = 2


class EpochPlan(NamedTuple):
    """The random choices of an epoch of N photos.

    Attributes:
        order: int64 [N], the photos in the order of their turn; what follows is in that order.
        flips: bool [N], which are mirrored; None where none are.
        crops: float32 [N, 4], as `dataset.to_pairs` takes them; None for whole ones.
        degradations: float32 [N, DRAWS], as `degradation.degrade` takes them; None for none.
        grain_seed: What the grain of the epoch follows from.
    """

    order: Tensor
    flips: Tensor | None
    crops: Tensor | None
    degradations: Tensor | None
    grain_seed: int

    def to(self, device: torch.device) -> "EpochPlan":
        """The same, on that device."""
        return EpochPlan._make(v.to(device) if isinstance(v, Tensor) else v for v in self)


def draw_epoch(
    config: TrainConfig, count: int, epoch: int, pools: Sequence[Pool] = ()
) -> EpochPlan:
    """What the seed and the number of the epoch give, and nothing else does.

    So a resumed run needs no random state to see the same pictures again.

    Args:
        pools: How many photos to draw from where; none for each photo once.
    """
    seed = config.seed + 1_000_003 * epoch
    rng = torch.Generator().manual_seed(seed)
    order = draw(pools, rng) if pools else torch.randperm(count, generator=rng)
    count = len(order)
    # By photo where each comes once: so a photo's draws do not depend on its turn.
    turns = torch.arange(count) if pools else order
    flips = (torch.rand(count, generator=rng) < 0.5)[turns] if config.flip else None
    crops = None
    if config.crop < 1 or config.aspect > 1:
        side, *place = torch.rand(count, 3, generator=rng).unbind(1)
        side = (config.crop + (1 - config.crop) * side).sqrt()
        width = height = side
        if config.aspect > 1:
            # Its logarithm is uniform between those of 1 / aspect and aspect.
            root = config.aspect ** (torch.rand(count, generator=rng) - 0.5)
            width, height = side * root, side / root
            excess = torch.maximum(width, height).clamp(min=1)
            width, height = width / excess, height / excess
        crops = torch.stack((width, height, *place), dim=1)[turns]
    degradations = None
    if config.degrade:
        degradations = torch.rand(count, DRAWS, generator=rng)
        degradations[:, 0] = (degradations[:, 0] < config.degrade).float()
        degradations = degradations[turns]
    return EpochPlan(order, flips, crops, degradations, seed)


class Batch(NamedTuple):
    """What a process learns from in one step.

    Attributes:
        gray: float32 [B, 1, S, S] in 0 to 1, on the device: what the generator sees.
        luma: The photo's own, like it; the same tensor unless the gray was degraded.
        real: float32 RGB [B, 3, S, S] in 0 to 1, on the device.
        classes: int64 [B], the class of each, on the device; None without labels.
        photos: B; 0 for a photo that is only there because this process got none.
        weight: Its photos times the processes, over the photos of all: a mean of this over the
            processes is a mean over the photos. 1 where there are no others.
        hints: Of each photo, as many for all; None where none are learned.
    """

    gray: Tensor
    luma: Tensor
    real: Tensor
    classes: Tensor | None
    photos: int
    weight: float
    hints: SimulatedHints | None = None


def to_device(device: torch.device, *datasets: FlowerDataset) -> list[FlowerDataset]:
    """The datasets, with their pictures on the GPU where at most half of its free memory goes.

    Pictures that several of them share are moved once. On a CPU they are left as they are.
    """
    if device.type != "cuda":
        return list(datasets)
    moved: dict[tuple[int, ...], Tensor | None] = {}
    result = []
    for dataset in datasets:
        key = tuple(map(id, dataset.sources))
        if key not in moved:
            free_bytes, _ = torch.cuda.mem_get_info(device)
            # Several are joined there, so for a moment they are there twice.
            needed_bytes = sum(photos.rgb.nbytes for photos in dataset.sources) * min(len(key), 2)
            moved[key] = None
            if needed_bytes <= free_bytes // 2:
                parts = [torch.from_numpy(photos.rgb).to(device) for photos in dataset.sources]
                moved[key] = parts[0] if len(parts) == 1 else torch.cat(parts)
        result.append(FlowerDataset(dataset.sources, dataset.indices, moved[key]))
    return result


def batches(
    dataset: FlowerDataset,
    plan: EpochPlan,
    batch_size: int,
    device: torch.device,
    *,
    skip: int = 0,
    classes: Tensor | None = None,
    with_hints: bool = False,
) -> Iterator[Batch]:
    """This process's batches of an epoch: under `torchrun` its share of each.

    Args:
        plan: Their order, and what is done to each.
        batch_size: Photos per step, of all processes together.
        classes: int64 [N], the class of each photo.
    """
    place = ranks()
    plan = plan.to(dataset.device)
    classes = None if classes is None else classes.to(dataset.device)
    shared = torch.arange(len(plan.order), device=dataset.device).split(batch_size)[skip:]
    counts = [len(turns[place.rank :: place.size]) for turns in shared]
    # Who gets no photo of a small last batch has to take part nonetheless: with one that
    # counts for nothing, but in batch norm's statistics where those are of the joined batch.
    parts = [slice(place.rank, None, place.size) if count else slice(1) for count in counts]
    local = [turns[part] for turns, part in zip(shared, parts, strict=True)]
    chosen = [plan.order[turns] for turns in local]
    rng = torch.Generator(device)
    # What CUDA is sent it takes a copy of first; MPS may read it once it is gone (pytorch 189690).
    ahead = device.type == "cuda"
    streams = device.type == "cuda" and dataset.device.type == "cpu"
    pixels = _streamed(dataset, chosen, device) if streams else map(dataset.pixels, chosen)
    for step, (turns, rgb, count) in enumerate(zip(local, pixels, counts, strict=True)):
        flips, crops, degradations = (
            None if values is None else values[turns].to(device, non_blocking=ahead)
            for values in (plan.flips, plan.crops, plan.degradations)
        )
        luma, real = to_pairs(rgb.to(device), flips, crops)
        gray = luma
        if degradations is not None:
            rng.manual_seed(plan.grain_seed + 1 + skip + step)
            # Drawn for the whole batch: whose share a photo is does not change its grain.
            grain = torch.randn(len(shared[step]), *luma.shape[1:], device=device, generator=rng)
            gray = degrade(luma, real, degradations, grain[parts[step]])
        hints = None
        if with_hints:
            rng_of_hints = torch.Generator().manual_seed(plan.grain_seed + 1 + skip + step)
            draws = draw_hints(len(shared[step]), rng_of_hints)
            hints = place_hints(rgb_to_chroma(real), draws.rows(parts[step]))
        labels = None if classes is None else classes[chosen[step]].to(device, non_blocking=ahead)
        weight = place.size * count / len(shared[step])
        yield Batch(gray, luma, real, labels, count, weight, hints)


def _streamed(
    dataset: FlowerDataset, batches: Sequence[Tensor], device: torch.device
) -> Iterator[Tensor]:
    """The pictures of each batch on the GPU, read and sent while it is busy with another."""
    sending = torch.cuda.Stream(device)
    with ThreadPoolExecutor(1) as reader:
        waiting: deque[Future[Tensor]] = deque()
        for positions in [*batches, *[None] * AHEAD]:
            if positions is not None:
                waiting.append(
                    reader.submit(lambda rows: dataset.pixels(rows).pin_memory(), positions)
                )
            if waiting and (positions is None or len(waiting) > AHEAD):
                with torch.cuda.stream(sending):
                    sent = waiting.popleft().result().to(device, non_blocking=True)
                learning = torch.cuda.current_stream(device)
                learning.wait_stream(sending)
                sent.record_stream(learning)
                yield sent
