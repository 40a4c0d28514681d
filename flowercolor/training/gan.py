"""One training step: the discriminator's, then the generator's.

In the order of Isola et al. 2017 (section 3.3) and Goodfellow et al. 2014 (algorithm 1): D
learns from real and generated pictures, then G from what D has become and from L1.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.optim.swa_utils import update_bn

from flowercolor.color import rgb_to_chroma
from flowercolor.config import Precision, TrainConfig
from flowercolor.data.dataset import FlowerDataset
from flowercolor.data.loader import Batch
from flowercolor.devices import autocast, deterministic
from flowercolor.distributed import all_reduce_sum, average_buffers, parallel
from flowercolor.errors import CheckpointError
from flowercolor.evaluation.metrics import colorfulness_per_image
from flowercolor.hints.palette import bins_of
from flowercolor.networks.unet import Hinted, Supervised
from flowercolor.runs import LAST
from flowercolor.torchrun import ranks, shard
from flowercolor.training.build_networks import (
    ForwardPasses,
    MovingAverage,
    build_networks,
    build_optimizer,
    compile_passes,
    compiler_errors,
)
from flowercolor.training.cuda_graphs import CudaGraphs
from flowercolor.training.losses import adversarial_loss, classification_loss, discriminator_loss
from flowercolor.training.resume import load_state, state_tensors

FEW_PHOTOS = 64
_SQUARES = 4.0
_LAMBDA_BINS = 0.5


class GAN:
    """The generator, the discriminator, and what they learn with.

    Args:
        classes: How many classes the photos have, where they are classified.

    Attributes:
        evaluated: What is tested and shown: the generator, or the moving average of its
            weights.
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
        self.generator, self.discriminator = build_networks(config, device)
        self._modules: dict[str, nn.Module] = {"discriminator.": self.discriminator}
        learner: nn.Module = self.generator
        if config.network.hints:
            learner = Hinted(self.generator)
        if config.lambda_class:
            learner = supervised = Supervised(self.generator, classes).to(device)
            self._modules["classifier."] = supervised.classifier
        self._optimizer_g = build_optimizer(learner.parameters(), config.lr, device)
        self._optimizer_d = build_optimizer(self.discriminator.parameters(), config.lr, device)
        self._optimizers = {"optimizer_g.": self._optimizer_g, "optimizer_d.": self._optimizer_d}

        self._average: MovingAverage | None = None
        self.evaluated = self.generator
        if config.ema:
            self._average = MovingAverage(self.generator, config.ema)
            self.evaluated = self._average.network
            self._modules["live."] = self.generator
        self._modules["generator."] = self.evaluated

        self._eager = ForwardPasses(
            parallel(learner, device), parallel(self.discriminator, device), self.discriminator
        )
        self._compiled = compile_passes(self._eager) if compiled else self._eager
        # An epoch's last batch may be smaller. Compiling for that one takes as long again, or
        # moves all to code for any size.
        self._full_batch = len(range(ranks().rank, config.batch_size, ranks().size))
        on_gpu = device.type == "cuda"
        # Where a GPU reads it: a number would be recorded as it was.
        self._lr = torch.tensor(config.lr, device=device) if on_gpu else None
        self._graphs: CudaGraphs[Batch] | None = None
        # What processes send each other is not recorded, nor batches of varying numbers of hints.
        if on_gpu and ranks().size == 1 and not config.network.hints:
            self._graphs = CudaGraphs()
        self._metrics = ["loss_g", "l1"]
        if config.lambda_adv:
            self._metrics += ["loss_d", "adversarial", "d_real", "d_fake"]
        if config.lambda_color:
            self._metrics += ["loss_color"]
        if config.lambda_class:
            self._metrics += ["loss_class", "class_accuracy"]
        if config.network.hints:
            self._metrics += ["loss_bins"]
        # The sums of the metrics, and of the photos. Reading them at every step would make the
        # device wait.
        self._totals = torch.zeros(len(self._metrics) + 1, device=device)

    @deterministic()
    @compiler_errors()
    def step(self, batch: Batch, lr: float, *, gradient_norms: bool = False) -> dict[str, float]:
        """Learn from a batch: first the discriminator, then the generator.

        Args:
            gradient_norms: Also measure what each loss sends into the generator, which costs
                another pass back through it and waits for the device.

        Returns:
            If `gradient_norms`, and there is an adversarial term, the norms `grad_l1` and
            `grad_adversarial`, each with the weight of its term.

        Raises:
            SettingError: The networks are to be compiled, and there is no compiler for it.
        """
        rate = lr if self._lr is None else self._lr.fill_(lr)
        for optimizer in self._optimizers.values():
            optimizer.param_groups[0]["lr"] = rate
        gradient_norms = gradient_norms and bool(self.config.lambda_adv)
        if self.config.network.hints:
            norms = self._hint_step(batch)
        elif self._graphs:
            norms = self._graphs(self._step, batch, gradient_norms)
        else:
            norms = self._step(batch, gradient_norms)
        names = ("grad_l1", "grad_adversarial")
        return dict(zip(names, norms.tolist(), strict=True)) if len(norms) else {}

    def _step(self, batch: Batch, gradient_norms: bool) -> Tensor:
        config, real = self.config, batch.real
        networks = self._compiled if batch.photos == self._full_batch else self._eager
        metrics: dict[str, Tensor] = {}
        norms = torch.empty(0)

        # Both steps use one fake picture.
        self.generator.train()
        with autocast(self.device, self.precision):
            output = networks.generator(batch.gray, batch.luma)
        fake, class_logits = output if config.lambda_class else (output, None)
        fake = fake.float()  # as `real` is: D is compiled once for both

        # The discriminator's step. Detaching the fake stops the gradient: only D learns.
        if config.lambda_adv:
            with autocast(self.device, self.precision):
                logits_real = networks.discriminator(real).float()
                logits_fake = networks.discriminator(fake.detach()).float()
            loss_d = discriminator_loss(logits_real, logits_fake)
            self._optimizer_d.zero_grad(set_to_none=True)
            (batch.weight * loss_d).backward()
            self._optimizer_d.step()
            metrics["loss_d"] = loss_d
            metrics["d_real"] = logits_real.sigmoid().mean()
            metrics["d_fake"] = logits_fake.sigmoid().mean()

        # The generator's step.
        metrics["l1"] = l1 = F.l1_loss(fake, real)
        loss_g = config.lambda_l1 * l1
        if config.lambda_adv:
            # The fake is NOT detached. D is frozen, but the gradient goes through it into the
            # picture and on into the generator.
            self.discriminator.requires_grad_(False)
            with autocast(self.device, self.precision):
                logits = networks.frozen_discriminator(fake).float()
            self.discriminator.requires_grad_(True)
            metrics["adversarial"] = adversarial_loss(logits)
            weighted = config.lambda_adv * metrics["adversarial"]
            if gradient_norms:
                norms = self._gradient_norms(batch.weight * loss_g, batch.weight * weighted)
            loss_g = loss_g + weighted
        if config.lambda_color:
            loss_color = F.l1_loss(colorfulness_per_image(fake), colorfulness_per_image(real))
            metrics["loss_color"] = loss_color
            loss_g = loss_g + config.lambda_color * loss_color
        if config.lambda_class:
            assert class_logits is not None  # what `Supervised` gives
            assert batch.classes is not None  # what `train` has made sure of
            loss_class, accuracy = classification_loss(class_logits.float(), batch.classes)
            metrics |= {"loss_class": loss_class, "class_accuracy": accuracy}
            loss_g = loss_g + config.lambda_class * loss_class
        metrics["loss_g"] = loss_g
        self._update_generator(metrics, batch)
        return norms

    def _hint_step(self, batch: Batch) -> Tensor:
        """The branch for hints learns, from L1 and from the bins of the true chroma."""
        assert batch.hints is not None  # what `train` has made sure of
        with autocast(self.device, self.precision):
            fake, logits = self._eager.generator(batch.gray, batch.luma, *batch.hints)
        bins = bins_of(torch, rgb_to_chroma(batch.real)).long()
        l1, loss_bins = F.l1_loss(fake, batch.real), F.cross_entropy(logits, bins)
        # Squares beside: a flower all of another color counts for more than a tint all over.
        loss = self.config.lambda_l1 * (l1 + _SQUARES * F.mse_loss(fake, batch.real))
        loss_g = loss + _LAMBDA_BINS * loss_bins
        self._update_generator({"loss_g": loss_g, "l1": l1, "loss_bins": loss_bins}, batch)
        return torch.empty(0)

    def _update_generator(self, metrics: Mapping[str, Tensor], batch: Batch) -> None:
        self._optimizer_g.zero_grad(set_to_none=True)
        (batch.weight * metrics["loss_g"]).backward()
        self._optimizer_g.step()
        if self._average:
            self._average.update()
        means = [metrics[name].detach() for name in self._metrics]
        self._totals += torch.stack([*means, torch.ones_like(means[0])]) * batch.photos

    def _gradient_norms(self, *losses: Tensor) -> Tensor:
        parameters = [value for value in self.generator.parameters() if value.requires_grad]
        norms = []
        for loss in losses:
            gradients = torch.autograd.grad(loss, parameters, retain_graph=True)
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            norms.append(all_reduce_sum(flat / ranks().size).norm())
        return torch.stack(norms)

    def means(self) -> dict[str, float]:
        """The metrics' means over the photos since the last call; waits for the device."""
        *sums, photos = all_reduce_sum(self._totals).tolist()
        self._totals.zero_()
        return {name: total / photos for name, total in zip(self._metrics, sums, strict=True)}

    @deterministic()
    def recalibrate(
        self, dataset: FlowerDataset, positions: Sequence[int], few: int = FEW_PHOTOS
    ) -> None:
        """Measure batch norm's statistics of the averaged weights anew, on whole photos.

        Those that were averaged along are of the weights that learned, and of crops: flowers
        seen larger. Without an average, and where the branch for hints learns, this does nothing.
        Nor with few photos, which mostly are of one kind: their statistics are not those of others,
        and trained weights that take them paint photos of that very kind worse.

        Args:
            positions: Some of them; a thousand are enough.
            few: Fewer than so many are too few.
        """
        if not self._average or self.config.network.hints or len(positions) < few:
            return
        batches = recalibration_batches(positions, self.config.batch_size)
        with autocast(self.device, self.precision):
            update_bn(
                (dataset.batch(batch)[0].to(self.device) for batch in batches), self.evaluated
            )

    def sync_buffers(self) -> None:
        """Average batch norm's running statistics over the processes."""
        average_buffers(*self._modules.values())

    def state(self) -> dict[str, Tensor]:
        """All that resuming needs, as tensors by name; each process must ask."""
        totals = all_reduce_sum(self._totals.clone())
        return {"totals": totals} | state_tensors(self._modules, self._optimizers)

    def restore(self, tensors: Mapping[str, Tensor], path: Path) -> None:
        """Put what `state` gave back into its places.

        Raises:
            CheckpointError: It does not fit; `path` is named as where it came from.
        """
        if "totals" not in tensors:
            raise CheckpointError(f"{path}: holds weights only; resuming needs the {LAST} of a run")
        idle = "" if self.config.lambda_adv else "optimizer_d."
        load_state(tensors, path, self._modules, self._optimizers, totals=self._totals, idle=idle)
        if self._average:
            self._average.begun = True
        if self._graphs:  # what was recorded is about the moments of before
            self._graphs = CudaGraphs()
        if ranks().leads:
            self._totals.copy_(tensors["totals"])


def recalibration_batches(positions: Sequence[int], batch_size: int) -> tuple[Tensor, ...]:
    """This process's shard of some positions, in batches of nearly one size each.

    At 16 px batch norm cannot do with a last batch of one. As many batches in each process: batch
    norm over the joined batch waits for the others at each.
    """
    local = torch.as_tensor(shard(positions) or positions[:1])
    count = len(positions) // max(batch_size, ranks().size)
    return local.tensor_split(max(1, count))
