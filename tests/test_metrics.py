import numpy as np
import torch

from flowercolor.metrics import l1_per_image


def test_l1_is_the_mean_absolute_difference_of_each_picture() -> None:
    rng = torch.Generator().manual_seed(0)
    fake = torch.rand(4, 3, 6, 5, generator=rng) * 3 - 1
    real = torch.rand(4, 3, 6, 5, generator=rng)
    expected = [
        np.abs(np.clip(one.numpy(), 0, 1) - other.numpy()).mean()
        for one, other in zip(fake, real, strict=True)
    ]
    torch.testing.assert_close(l1_per_image(fake, real), torch.tensor(np.array(expected)))


def test_l1_of_equal_pictures_is_0_and_of_black_on_white_1() -> None:
    white = torch.ones(1, 3, 2, 2)
    assert l1_per_image(white, white).item() == 0
    assert l1_per_image(torch.zeros_like(white), white).item() == 1


def test_l1_is_computed_in_float32() -> None:
    """Half precision would lose the fourth digit of a score."""
    rng = torch.Generator().manual_seed(0)
    fake = torch.rand(1, 3, 64, 64, generator=rng).half()
    real = torch.rand(1, 3, 64, 64, generator=rng)
    l1 = l1_per_image(fake, real)
    assert l1.dtype == torch.float32
    torch.testing.assert_close(l1, (fake.double() - real.double()).abs().mean().float()[None])
