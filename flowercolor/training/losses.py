"""The losses beside L1: adversarial (Goodfellow et al. 2014, section 3) and of classes.

All of them take logits: `sigmoid` and binary cross-entropy in one step give the same value
and do not overflow under autocast.
"""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def discriminator_loss(logits_real: Tensor, logits_fake: Tensor) -> Tensor:
    """BCE(D(real), 1) + BCE(D(fake), 0), a scalar, from logits of any shape."""
    real = F.binary_cross_entropy_with_logits(logits_real, torch.ones_like(logits_real))
    fake = F.binary_cross_entropy_with_logits(logits_fake, torch.zeros_like(logits_fake))
    return real + fake


def adversarial_loss(logits_fake: Tensor) -> Tensor:
    """BCE(D(fake), 1), a scalar: what the generator pays for fakes that D recognizes.

    The form that does not saturate. The logits must come from a fake picture that is still
    attached to the generator, or nothing is learned from this term.
    """
    return F.binary_cross_entropy_with_logits(logits_fake, torch.ones_like(logits_fake))


def classification_loss(logits: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy and accuracy over the photos that have a class, both scalars.

    Args:
        logits: Float [B, C].
        classes: int64 [B]; -1 for a photo without a class. Where all are, both results are 0.
    """
    known = classes >= 0
    count = known.sum().clamp(min=1)
    loss = F.cross_entropy(logits, classes, ignore_index=-1, reduction="sum") / count
    accuracy = ((logits.argmax(dim=1) == classes) & known).sum() / count
    return loss, accuracy
