import numpy as np
import torch

from flowercolor.hints.spreading import Placed, spread
from flowercolor.networks.hints import apply_hints
from tests.hints.helpers import two_halves


def test_numpy_and_torch_agree() -> None:
    seen = two_halves(noise=0.5)
    points = np.array([[3, 4], [30, 40], [20, 20]])
    chroma = np.array([[0.1, 0.2], [-0.2, 0.1], [0, 0]], np.float32)
    parts = (seen.features, seen.chroma, seen.luma[None], points, chroma)
    features, *rest = (torch.from_numpy(part)[None] for part in parts)
    by_torch = apply_hints(features, *rest)
    assert np.allclose(spread(seen, Placed(points, chroma)), by_torch[0].numpy(), atol=1e-6)


def test_the_gradient_is_finite_whatever_the_features() -> None:
    features = (100 * torch.randn(1, 60, 8, 8)).requires_grad_()
    moved = apply_hints(
        features,
        torch.zeros(1, 2, 8, 8),
        torch.rand(1, 1, 8, 8),
        torch.tensor([[[1, 2], [1, 2]]]),
        torch.tensor([[[0.1, 0.2], [0.3, 0.1]]]),
    )
    moved.square().sum().backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()
