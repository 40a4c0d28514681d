"""Scores of generated pictures against the true ones, one number per picture."""

from torch import Tensor

__all__ = ["l1_per_image"]


def l1_per_image(fake: Tensor, real: Tensor) -> Tensor:
    """The mean absolute difference of each picture, float32 [B].

    Args:
        fake: Float RGB [B, 3, H, W]. Clamped to 0 to 1 first, since nothing else can be shown.
        real: Float RGB [B, 3, H, W] in 0 to 1.
    """
    return (fake.float().clamp(0, 1) - real.float()).abs().mean(dim=(1, 2, 3))
