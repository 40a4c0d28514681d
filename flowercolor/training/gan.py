"""One step of the game between the two networks, and all the state that it changes."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch._functorch import config as functorch
from torch.nn import functional as F  # noqa: N812
from torch.optim import Adam
from torch.optim.swa_utils import get_ema_multi_avg_fn, update_bn

from flowercolor.checkpoint import load_into, named
from flowercolor.config import Precision, TrainConfig
from flowercolor.data.dataset import FlowerDataset
from flowercolor.data.loader import Batch
from flowercolor.devices import autocast, deterministic
from flowercolor.distributed import all_reduce_sum, average_buffers, parallel, synchronized
from flowercolor.errors import CheckpointError, SettingError
from flowercolor.evaluation.metrics import colorfulness_per_image
from flowercolor.networks.discriminator import Discriminator
from flowercolor.networks.unet import Supervised, UNet
from flowercolor.runs import LAST
from flowercolor.torchrun import ranks, shard
from flowercolor.training.cuda_graphs import CudaGraphs
from flowercolor.training.losses import adversarial_loss, discriminator_loss

_MOMENTS = ("exp_avg", "exp_avg_sq")  # as Adam calls them


class _Passes(NamedTuple):
    """The networks as a step goes through them.

    Attributes:
        generate: The generator, perhaps with the classifier.
        discriminator: The discriminator while it learns.
        frozen_discriminator: The same while it does not.
    """

    generate: nn.Module
    discriminator: nn.Module
    frozen_discriminator: nn.Module


@contextmanager
def _compiler_errors() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        # Compiling begins at the first pass; its errors are of no class that torch makes public.
        if not type(error).__module__.startswith(("torch._dynamo.", "torch._inductor.")):
            raise
        # One line, and after it where in torch. Older versions have one before that ends with a
        # colon.
        first, *more = str(error).splitlines() or [""]
        reason = more[0] if first.endswith(":") and more else first
        raise SettingError(
            f"--compile: torch cannot compile the networks here ({reason}); it needs a C++ "
            "compiler such as g++, and Triton for a GPU: install them, or leave --compile out"
        ) from error


def _compiler_options() -> dict[str, Any] | None:
    """How a network is compiled to the same sums wherever the same torch does it.

    Which order of adding is the fastest the compiler finds by trials, and those may end otherwise
    once its cache is gone. Torch 2.10 and later can be kept from it; a step on an H200 took no
    longer.
    """
    from torch._inductor import list_options  # noqa: PLC0415 - 2 s that only this needs

    return {"deterministic": True} if "deterministic" in list_options() else None


class GAN:
    """The generator, the discriminator, and what they learn with.

    Args:
        config: The settings of the run.
        device: Where to compute.
        precision: As for `devices.autocast`.
        compiled: Let `torch.compile` make the networks faster.
        classes: How many classes the photos have, where they are to be told.

    Attributes:
        generator: The network that learns.
        discriminator: Its opponent.
        evaluated: What is tested and shown: the generator, or the running average of its weights.
    """

    def __init__(
        self,
        config: TrainConfig,
        device: torch.device,
        precision: Precision,
        compiled: bool,
        classes: int = 0,
    ) -> None:
        self.config, self.device, self.precision = config, device, precision
        torch.manual_seed(config.seed)
        networks = (UNet(config.network), Discriminator(config.size_px))
        generator, discriminator = (
            synchronized(network.to(device).to(memory_format=torch.channels_last), device)
            for network in networks
        )
        self.generator = cast(UNet, generator)
        self.discriminator = cast(Discriminator, discriminator)
        if config.freeze_deep:
            self.generator.freeze_deep()
        learner: nn.Module = generator
        self._modules: dict[str, nn.Module] = {"discriminator.": discriminator}
        if config.lambda_class:
            learner = supervised = Supervised(self.generator, classes).to(device)
            self._modules["classifier."] = supervised.classifier
        self._on_gpu = on_gpu = device.type == "cuda"
        learning = [parameter for parameter in learner.parameters() if parameter.requires_grad]
        self._optimizer_g, self._optimizer_d = (
            Adam(of, config.lr, fused=on_gpu or device.type == "cpu", capturable=on_gpu)
            for of in (learning, list(discriminator.parameters()))
        )
        self._optimizers = {"optimizer_g.": self._optimizer_g, "optimizer_d.": self._optimizer_d}

        self.evaluated = self.generator
        self._average_begun = False
        if config.ema:
            self.evaluated = copy.deepcopy(self.generator)
            self._modules["live."] = generator
            # With the running statistics of batch norm, which averaged weights need as well.
            self._average, self._live = (
                [value for value in network.state_dict().values() if value.is_floating_point()]
                for network in (self.evaluated, self.generator)
            )
            self._follow = get_ema_multi_avg_fn(config.ema)
        self._modules["generator."] = self.evaluated

        plain = _Passes(parallel(learner, device), parallel(discriminator, device), discriminator)
        self._plain = self._passes = plain
        if compiled:
            # `_gradient_norms` goes back through the same pass more than once, which a compiled
            # network refuses where it may write over what it kept for the way back.
            functorch.donated_buffer = False
            compiler = partial(torch.compile, dynamic=False, options=_compiler_options())
            self._passes = _Passes(*(cast(nn.Module, compiler(network)) for network in plain))
        # An epoch's last batch may be smaller. Compiling for that one takes as long again, or
        # moves all to code for any size.
        self._full_batch = len(range(ranks().rank, config.batch_size, ranks().size))
        # Where a GPU reads it: a number would be recorded as it was.
        self._lr = torch.tensor(config.lr, device=device)
        self._graphs: CudaGraphs[Batch] | None = None
        if on_gpu and ranks().size == 1:  # what processes say to each other is not recorded
            self._graphs = CudaGraphs()
        self._watched = ["loss_g", "l1"]
        if config.lambda_adv:
            self._watched += ["loss_d", "adversarial", "d_real", "d_fake"]
        if config.lambda_color:
            self._watched += ["loss_color"]
        if config.lambda_class:
            self._watched += ["loss_class", "class_accuracy"]
        # The sums of what is watched, and of the photos. Reading them at every step would
        # make the device wait.
        self._totals = torch.zeros(len(self._watched) + 1, device=device)

    @deterministic()
    @_compiler_errors()
    def step(self, batch: Batch, lr: float, *, gradient_norms: bool = False) -> dict[str, float]:
        """Learn from a batch: first the discriminator, then the generator.

        Args:
            batch: The pictures.
            lr: Learning rate of both.
            gradient_norms: Also measure what each loss sends into the generator, which costs
                another pass back through it and waits for the device.

        Returns:
            If `gradient_norms`, and there is an adversarial term, the norms `grad_l1` and
            `grad_adversarial`, each with the weight of its term.

        Raises:
            SettingError: The networks are to be compiled, and there is no compiler for it.
        """
        rate = self._lr.fill_(lr) if self._on_gpu else lr
        for optimizer in self._optimizers.values():
            optimizer.param_groups[0]["lr"] = rate
        gradient_norms = gradient_norms and bool(self.config.lambda_adv)
        if self._graphs:
            norms = self._graphs(self._step, batch, gradient_norms)
        else:
            norms = self._step(batch, gradient_norms)
        names = ("grad_l1", "grad_adversarial")
        return dict(zip(names, norms.tolist(), strict=True)) if len(norms) else {}

    def _step(self, batch: Batch, gradient_norms: bool) -> Tensor:
        config, real = self.config, batch.real
        passes = self._passes if batch.photos == self._full_batch else self._plain
        self.generator.train()
        with autocast(self.device, self.precision):
            seen = passes.generate(batch.gray, batch.luma)
        fake, class_logits = seen if config.lambda_class else (seen, None)
        fake = fake.float()  # as `real` is: D is compiled once for both
        l1 = F.l1_loss(fake, real)
        loss_g = config.lambda_l1 * l1
        watched, norms = [l1], torch.empty(0)

        if config.lambda_adv:
            # The discriminator's step: the fake is detached, so only D learns.
            with autocast(self.device, self.precision):
                logits_real = passes.discriminator(real).float()
                logits_fake = passes.discriminator(fake.detach()).float()
            loss_d = discriminator_loss(logits_real, logits_fake)
            self._optimizer_d.zero_grad(set_to_none=True)
            (batch.weight * loss_d).backward()
            self._optimizer_d.step()

            # The generator's step: the fake is NOT detached. D is frozen, but the gradient
            # goes through it into the picture and on into the generator.
            self.discriminator.requires_grad_(False)
            with autocast(self.device, self.precision):
                logits = passes.frozen_discriminator(fake).float()
            self.discriminator.requires_grad_(True)
            adversarial = adversarial_loss(logits)
            if gradient_norms:
                norms = self._gradient_norms(
                    batch.weight * loss_g, batch.weight * config.lambda_adv * adversarial
                )
            loss_g = loss_g + config.lambda_adv * adversarial
            watched += [loss_d, adversarial, logits_real.sigmoid().mean()]
            watched += [logits_fake.sigmoid().mean()]

        if config.lambda_color:
            loss_color = F.l1_loss(colorfulness_per_image(fake), colorfulness_per_image(real))
            loss_g = loss_g + config.lambda_color * loss_color
            watched += [loss_color]

        if config.lambda_class:
            assert class_logits is not None  # what `Supervised` gives
            assert batch.classes is not None  # what `train` has made sure of
            loss_class = F.cross_entropy(class_logits.float(), batch.classes)
            loss_g = loss_g + config.lambda_class * loss_class
            right = class_logits.argmax(dim=1) == batch.classes
            watched += [loss_class, right.float().mean()]

        self._optimizer_g.zero_grad(set_to_none=True)
        (batch.weight * loss_g).backward()
        self._optimizer_g.step()
        if config.ema and self._average_begun:
            # Not torch's `AveragedModel`: it sends a count to the GPU at each step, and waits.
            self._follow(self._average, self._live, 0)
        elif config.ema:
            self.evaluated.load_state_dict(self.generator.state_dict())
            self._average_begun = True

        values = torch.stack([value.detach() for value in (loss_g, *watched, torch.ones_like(l1))])
        self._totals += values * batch.photos
        return norms

    def _gradient_norms(self, *losses: Tensor) -> Tensor:
        parameters = [own for own in self.generator.parameters() if own.requires_grad]
        norms = []
        for loss in losses:
            gradients = torch.autograd.grad(loss, parameters, retain_graph=True)
            own = torch.cat([gradient.flatten() for gradient in gradients])
            norms.append(all_reduce_sum(own / ranks().size).norm())
        return torch.stack(norms)

    def means(self) -> dict[str, float]:
        """The means over the photos since the last call, by name; waits for the device."""
        *sums, photos = all_reduce_sum(self._totals).tolist()
        self._totals.zero_()
        return {name: total / photos for name, total in zip(self._watched, sums, strict=True)}

    @deterministic()
    def recalibrate(self, dataset: FlowerDataset, positions: Sequence[int]) -> None:
        """Measure batch norm's statistics of the averaged weights anew, on whole photos.

        Those that were averaged along are of the weights that learned, and of crops: flowers
        seen larger. Without an average this does nothing.

        Args:
            dataset: The photos.
            positions: Some of them; a thousand are enough.
        """
        if not self.config.ema:
            return
        own = torch.as_tensor(shard(positions) or positions[:1])
        # Of nearly one size each: at 16 px batch norm cannot do with a last batch of one. As many
        # in each process: batch norm over the joined batch waits for the others at each.
        count = len(positions) // max(self.config.batch_size, ranks().size)
        batches = own.tensor_split(max(1, count))
        with autocast(self.device, self.precision):
            update_bn(
                (dataset.batch(batch)[0].to(self.device) for batch in batches), self.evaluated
            )

    def sync_buffers(self) -> None:
        """Bring together what each process knows alone: batch norm's running statistics."""
        average_buffers(*self._modules.values())

    def state(self) -> dict[str, Tensor]:
        """All that going on needs, as tensors by name; each process must ask."""
        tensors = {"totals": all_reduce_sum(self._totals.clone())}
        for prefix, module in self._modules.items():
            tensors |= named(module, prefix)
        for prefix, optimizer in self._optimizers.items():
            for number, values in optimizer.state_dict()["state"].items():
                tensors |= {f"{prefix}{number}.{name}": value for name, value in values.items()}
        return tensors

    def _shapes(self) -> dict[str, torch.Size]:
        """Of all that `state` gives beside the networks, once both have learned."""
        shapes = {"totals": self._totals.shape}
        for prefix, optimizer in self._optimizers.items():
            if optimizer is self._optimizer_g or self.config.lambda_adv:
                for number, parameter in enumerate(optimizer.param_groups[0]["params"]):
                    shapes[f"{prefix}{number}.step"] = torch.Size()
                    for name in _MOMENTS:
                        shapes[f"{prefix}{number}.{name}"] = parameter.shape
        return shapes

    def restore(self, tensors: Mapping[str, Tensor], path: Path) -> None:
        """Put what `state` gave back into its places.

        Raises:
            CheckpointError: It does not fit; `path` is named as where it came from.
        """
        if "totals" not in tensors:
            raise CheckpointError(f"{path}: holds weights only; resuming needs the {LAST} of a run")
        kept = ("totals", *self._optimizers)
        found = {name: value.shape for name, value in tensors.items() if name.startswith(kept)}
        if others := found.items() ^ self._shapes().items():
            raise CheckpointError(
                f"{path}: what it keeps of the optimizers does not fit the networks its header "
                f"describes: {min(others)[0]}; resuming needs the {LAST} of a run as it was written"
            )
        for prefix, module in self._modules.items():
            load_into(module, tensors, prefix, path)
        for prefix, optimizer in self._optimizers.items():
            state: dict[int, dict[str, Tensor]] = {}
            for name, value in tensors.items():
                if name.startswith(prefix):
                    number, key = name.removeprefix(prefix).split(".")
                    state.setdefault(int(number), {})[key] = value
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
            # Fused Adam goes through memory as it lies: moments stored row by row beside
            # weights stored channels last would be those of other weights, and nothing tells.
            for parameter, moments in optimizer.state.items():
                for name in _MOMENTS:
                    moments[name] = torch.empty_like(parameter).copy_(moments[name])
        self._average_begun = True
        if self._graphs:  # what was recorded is about the moments of before
            self._graphs = CudaGraphs()
        if ranks().leads:
            self._totals.copy_(tensors["totals"])
