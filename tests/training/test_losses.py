import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F  # noqa: N812

from flowercolor.training.losses import adversarial_loss, classification_loss, discriminator_loss


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_the_losses_equal_plain_cross_entropy_on_probabilities(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    real, fake = torch.randn(2, 4, 1, 3, 3, generator=rng, dtype=torch.float64) * 4
    bce = nn.BCELoss()
    ones, zeros = torch.ones_like(real), torch.zeros_like(real)
    expected = bce(real.sigmoid(), ones) + bce(fake.sigmoid(), zeros)
    torch.testing.assert_close(discriminator_loss(real, fake), expected)
    torch.testing.assert_close(adversarial_loss(fake), bce(fake.sigmoid(), ones))


def test_a_discriminator_that_cannot_tell_pays_two_bits_in_nats() -> None:
    unsure = torch.zeros(5, 1, 1, 1)
    assert discriminator_loss(unsure, unsure).item() == pytest.approx(2 * math.log(2))
    assert adversarial_loss(unsure).item() == pytest.approx(math.log(2))


def test_descent_makes_real_logits_grow_and_fake_ones_fall_for_the_discriminator() -> None:
    real, fake = torch.randn(2, 6, 1, 1, 1, requires_grad=True).unbind()
    real_grad, fake_grad = torch.autograd.grad(discriminator_loss(real, fake), (real, fake))
    assert (real_grad < 0).all()
    assert (fake_grad > 0).all()


def test_descent_makes_fake_logits_grow_for_the_generator() -> None:
    fake = torch.randn(6, 1, 1, 1, requires_grad=True)
    (grad,) = torch.autograd.grad(adversarial_loss(fake), fake)
    assert (grad < 0).all()


def test_the_generator_learns_most_where_it_is_seen_through() -> None:
    """The loss does not saturate: a fake found out for certain still has its full gradient."""
    fake = torch.tensor([-80.0, 0.0, 80.0], requires_grad=True)
    loss = adversarial_loss(fake)
    (grad,) = torch.autograd.grad(loss, fake)
    assert loss.item() == pytest.approx((80 + math.log(2)) / 3)
    torch.testing.assert_close(grad, torch.tensor([-1 / 3, -1 / 6, 0]))


def test_photos_without_a_class_do_not_count() -> None:
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    classes = torch.tensor([0, 1, 2, 0, 1, 2])
    whole, accuracy = classification_loss(logits, classes)
    assert torch.equal(whole, F.cross_entropy(logits, classes))
    torch.testing.assert_close(accuracy, (logits.argmax(1) == classes).float().mean())
    partly, accuracy = classification_loss(logits, torch.tensor([0, -1, 2, -1, -1, -1]))
    torch.testing.assert_close(partly, F.cross_entropy(logits[[0, 2]], classes[[0, 2]]))
    expected = (logits.argmax(1) == classes)[[0, 2]].float().mean()
    torch.testing.assert_close(accuracy, expected)


def test_a_batch_without_any_class_teaches_nothing() -> None:
    logits = torch.randn(4, 3).requires_grad_()
    loss, accuracy = classification_loss(logits, torch.full((4,), -1))
    loss.backward()
    assert loss == accuracy == 0
    assert logits.grad is not None
    assert not logits.grad.any()
