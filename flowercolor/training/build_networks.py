"""The networks of a run, built, put on their device and compiled."""

import copy
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple, cast

import torch
from torch import nn
from torch.optim import Adam
from torch.optim.swa_utils import get_ema_multi_avg_fn

from flowercolor.config import TrainConfig
from flowercolor.distributed import synchronized
from flowercolor.errors import SettingError
from flowercolor.networks.discriminator import Discriminator
from flowercolor.networks.unet import UNet


class ForwardPasses(NamedTuple):
    """The networks as a step calls them: shared among processes, perhaps compiled."""

    generator: nn.Module
    discriminator: nn.Module
    frozen_discriminator: nn.Module


def build_networks(config: TrainConfig, device: torch.device) -> tuple[UNet, Discriminator]:
    """Generator and discriminator with the first weights that the seed gives."""
    torch.manual_seed(config.seed)
    networks = (UNet(config.network), Discriminator(config.size_px))
    generator, discriminator = (
        synchronized(network.to(device).to(memory_format=torch.channels_last), device)
        for network in networks
    )
    if config.freeze_deep:
        cast(UNet, generator).freeze_deep()
    if config.network.hints:
        cast(UNet, generator).freeze_all_but_hints()
    return cast(UNet, generator), cast(Discriminator, discriminator)


def build_optimizer(parameters: Iterable[nn.Parameter], lr: float, device: torch.device) -> Adam:
    """Adam over the parameters that learn."""
    learning = [parameter for parameter in parameters if parameter.requires_grad]
    on_gpu = device.type == "cuda"
    return Adam(learning, lr, fused=on_gpu or device.type == "cpu", capturable=on_gpu)


def compile_passes(passes: ForwardPasses) -> ForwardPasses:
    """The same, compiled at their first call."""
    from torch._functorch import config as functorch  # noqa: PLC0415 - of use here alone
    from torch._inductor import list_options  # noqa: PLC0415 - 2 s that only this needs

    # It would warn of CUDA's compiler on a machine without a GPU, where nothing wants that one.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    # The norms of two losses' gradients go back through one pass more than once, which a compiled
    # network refuses where it may write over what it kept for the way back.
    functorch.donated_buffer = False
    # The compiler finds by trials which order of adding is the fastest, and those may end otherwise
    # once its cache is gone. Torch 2.10 and later can be kept from it: a step on an H200 took no
    # longer, and the sums are the same wherever the same torch makes them.
    options = {"deterministic": True} if "deterministic" in list_options() else None
    compiler = partial(torch.compile, dynamic=False, options=options)
    return ForwardPasses(*(cast(nn.Module, compiler(network)) for network in passes))


@contextmanager
def compiler_errors() -> Iterator[None]:
    """Turn what the compiler raises at a first pass into a `SettingError` of one line."""
    try:
        yield
    except RuntimeError as error:
        # Its errors are of no class that torch makes public.
        if not type(error).__module__.startswith(("torch._dynamo.", "torch._inductor.")):
            raise
        # One line, and after it where in torch. Older versions have one before that ends with a
        # colon.
        first, *more = str(error).splitlines() or [""]
        reason = more[0] if first.endswith(":") and more else first
        raise SettingError(
            f"`compiled`: torch cannot compile the networks here ({reason}); it needs a C++ "
            "compiler such as g++, and Triton for a GPU: install them, or leave `compiled` out"
        ) from error


class MovingAverage:
    """An exponential moving average of a generator's weights and of batch norm's statistics.

    Averaged weights need averaged statistics as well. The first update copies the generator.

    Args:
        decay: What of the average stays at each update, from 0 to 1.

    Attributes:
        network: A generator of averaged weights.
    """

    def __init__(self, generator: UNet, decay: float) -> None:
        self.network, self._generator = copy.deepcopy(generator), generator
        self._averaged, self._live = (
            [value for value in network.state_dict().values() if value.is_floating_point()]
            for network in (self.network, generator)
        )
        # Not torch's `AveragedModel`: it sends a count to the GPU at each step, and waits.
        self._lerp = get_ema_multi_avg_fn(decay)
        self.begun = False

    def update(self) -> None:
        """Follow the generator's last step."""
        if self.begun:
            self._lerp(self._averaged, self._live, 0)
        else:
            self.network.load_state_dict(self._generator.state_dict())
            self.begun = True
