from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from flowercolor.checkpoint import (
    CheckpointInfo,
    load_generator,
    load_tensors,
    named,
    save_checkpoint,
)
from flowercolor.config import NetworkConfig, TrainConfig
from flowercolor.errors import CheckpointError
from flowercolor.networks.unet import UNet
from flowercolor.vividness import join, notes_on_ends


def save_seeded(
    path: Path, *, seed: int = 0, moved: float = 0.0, base_channels: int = 2, hints: bool = False
) -> Path:
    """A checkpoint of random weights, and so much more in each."""
    torch.manual_seed(seed)
    config = TrainConfig(NetworkConfig(base_channels, "chroma", hints=hints))
    tensors = named(UNet(config.network), "generator.")
    for value in filter(Tensor.is_floating_point, tensors.values()):
        value.add_(moved)
    save_checkpoint(path, CheckpointInfo(config), tensors)
    return path


def test_a_joined_file_has_the_branch_for_hints_of_a_third(tmp_path: Path) -> None:
    paths = {name: tmp_path / f"{name}.safetensors" for name in ("safe", "vivid", "branch")}
    save_seeded(paths["safe"])
    save_seeded(paths["vivid"], moved=0.01)
    save_seeded(paths["branch"], hints=True, moved=0.02)
    both = tmp_path / "both.safetensors"
    join(paths["safe"], paths["vivid"], both, hints=paths["branch"])
    generator, _ = load_generator(both, vividness=1)
    branch = load_generator(paths["branch"])[0].hints
    assert generator.hints is not None
    assert branch is not None
    for name, value in generator.hints.state_dict().items():
        assert torch.allclose(value, branch.state_dict()[name], atol=1e-3), "in half precision"
    with pytest.raises(CheckpointError, match="has no branch for hints; expected a run"):
        join(paths["safe"], paths["vivid"], tmp_path / "a.safetensors", hints=paths["safe"])
    join(both, paths["vivid"], tmp_path / "kept.safetensors")
    assert load_generator(tmp_path / "kept.safetensors")[0].hints is not None


def test_what_a_joined_file_does_not_keep_is_told(tmp_path: Path) -> None:
    plain, branch, other = (
        save_seeded(tmp_path / name, moved=0.01 * (name == "branch"), hints=name != "plain")
        for name in ("plain", "branch", "other")
    )
    remedy = f"`hints` {branch} takes this one"
    told = [f"{branch} has a branch for hints, which is not kept; {remedy}"]
    assert list(notes_on_ends(plain, branch)) == told
    kept = [f"{branch} has a branch for hints, that of {other} is kept; {remedy}"]
    assert list(notes_on_ends(other, branch)) == kept
    assert list(notes_on_ends(plain, branch, hints=branch)) == []
    assert list(notes_on_ends(branch, plain)) == []


def test_two_of_the_same_random_beginning_alone_are_told(tmp_path: Path) -> None:
    safe = save_seeded(tmp_path / "safe")
    vivid = save_seeded(tmp_path / "vivid", moved=0.01)
    [told] = notes_on_ends(safe, vivid)
    assert told.startswith(f"neither {safe} nor {vivid} was begun from a checkpoint")
    info, tensors = load_tensors(vivid)
    save_checkpoint(vivid, replace(info, start_l1=0.1), tensors)
    assert list(notes_on_ends(safe, vivid)) == []


@pytest.mark.parametrize(
    ("branch", "said"),
    [
        ({"base_channels": 3}, "holds another kind of network than .*: base_channels 3, not 2; "),
        ({"seed": 1}, "began at other weights than .*, and a branch for hints needs"),
    ],
)
def test_a_branch_for_hints_of_another_network_is_refused(
    branch: dict[str, Any], said: str, tmp_path: Path
) -> None:
    """Nothing could load the first, and the second would read what it has not learned from."""
    safe, vivid = save_seeded(tmp_path / "safe"), save_seeded(tmp_path / "vivid", moved=0.01)
    other = save_seeded(tmp_path / "other", hints=True, **branch)
    with pytest.raises(CheckpointError, match=said) as caught:
        join(safe, vivid, tmp_path / "both.safetensors", hints=other)
    assert str(caught.value).startswith(f"{other}: ")
    assert not (tmp_path / "both.safetensors").exists()


def test_another_branch_for_hints_takes_the_place_of_the_first(tmp_path: Path) -> None:
    safe, other = (save_seeded(tmp_path / name, hints=True) for name in ("safe", "other"))
    vivid, both = save_seeded(tmp_path / "vivid", moved=0.01), tmp_path / "both.safetensors"
    info, tensors = load_tensors(other)
    branch = {name for name in tensors if name.startswith("generator.hints.")}
    save_checkpoint(
        other,
        info,
        {
            name: torch.randn_like(value) if name in branch else value
            for name, value in tensors.items()
        },
    )
    join(safe, vivid, both, hints=other)
    joined, expected = load_tensors(both)[1], load_tensors(other)[1]
    for name in branch:
        assert torch.equal(joined[name], expected[name].to(joined[name].dtype))


def test_the_same_weights_twice_are_no_scale(tmp_path: Path) -> None:
    safe, copy = save_seeded(tmp_path / "safe"), save_seeded(tmp_path / "copy")
    for vivid in (safe, copy):
        with pytest.raises(CheckpointError, match=f"^{vivid}: holds the same weights as {safe}, "):
            join(safe, vivid, tmp_path / "both.safetensors")
    assert not (tmp_path / "both.safetensors").exists()
