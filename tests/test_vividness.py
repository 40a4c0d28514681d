from dataclasses import replace
from pathlib import Path

import pytest
import torch

from flowercolor.checkpoint import CheckpointInfo, load_generator, named, save_checkpoint
from flowercolor.config import NetworkConfig, TrainConfig
from flowercolor.errors import CheckpointError
from flowercolor.networks.unet import UNet
from flowercolor.vividness import join


def test_a_joined_file_has_the_branch_for_hints_of_a_third(tmp_path: Path) -> None:
    network = NetworkConfig(2, "chroma")
    paths = {}
    for seed, (name, hints) in enumerate({"safe": False, "vivid": False, "branch": True}.items()):
        torch.manual_seed(seed if hints else 0)
        config = TrainConfig(replace(network, hints=hints))
        paths[name] = tmp_path / f"{name}.safetensors"
        tensors = named(UNet(config.network), "generator.")
        save_checkpoint(paths[name], CheckpointInfo(config), tensors)
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
