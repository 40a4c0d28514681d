"""Whether a picture still looks like its flower: a classifier that knows true photos judges it.

The idea of Zhang, Isola and Efros 2016, section 3.2: a classifier of photos in color does worse
on gray ones, and better again on those that were colored well.
"""

import hashlib
import json
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.optim import SGD
from torch.optim.lr_scheduler import OneCycleLR
from torchvision.models import resnet18
from torchvision.transforms import v2

from flowercolor import paths
from flowercolor.config import Precision
from flowercolor.data.dataset import FlowerDataset
from flowercolor.devices import autocast
from flowercolor.files import write_bytes
from flowercolor.progress import Progress, Silent

CROP_SHARES = (0.5, 1.0)
WEIGHT_DECAY = 5e-4
LABEL_SMOOTHING = 0.1

_RECIPE_VERSION = 1  # to be raised with any change that has it learn something else


class Recipe(NamedTuple):
    """How the classifier learns and judges.

    Attributes:
        size_px: Side of the pictures that it judges.
        crop_px: Side of the crops that it learns from. Crops magnify: smaller ones make flowers as
            large as those it will be asked about, or a little smaller, which is best (Touvron et
            al. 2019), and cost half.
        lr: The highest learning rate.
    """

    size_px: int = 64
    crop_px: int = 48
    epochs: int = 30
    batch_size: int = 64
    lr: float = 0.1
    precision: Precision = "auto"


RECIPE = Recipe()


def load_classifier(
    train_set: FlowerDataset,
    labels: Tensor,
    *,
    device: torch.device | str = "cpu",
    recipe: Recipe | None = None,
    progress: Progress | None = None,
) -> nn.Module:
    """A classifier that has seen the true photos of a training set, and nothing else.

    A ResNet-18 (He et al. 2016), in evaluation mode, from RGB [B, 3, 64, 64] in -1 to 1 to
    logits [B, classes]. The first call trains it from random weights, minutes for thousands of
    photos, and keeps it in the cache for later ones with the same photos and classes.

    Args:
        labels: int64 [N], the class of each photo of `train_set.sources`.

    Raises:
        StorageError: The cache cannot be written.
    """
    target = torch.device(device)
    size_px = train_set.photos.rgb.shape[1]
    known = (train_set.fingerprint, size_px, train_set.indices.tolist(), labels.tolist())
    key = hashlib.blake2b(json.dumps([_RECIPE_VERSION, *known]).encode(), digest_size=12)
    file = paths.cache_dir() / "classifiers" / f"{key.hexdigest()}.safetensors"
    # Its random numbers are its own: the caller's, on the CPU and that GPU, are left as they were.
    with torch.random.fork_rng([target] if target.type == "cuda" else []):
        torch.manual_seed(0)
        network: nn.Module = resnet18(num_classes=int(labels.max()) + 1)
        network = network.to(target).to(memory_format=torch.channels_last)
        try:
            network.load_state_dict(load_file(file))
        except (OSError, SafetensorError, RuntimeError):
            _train(
                network,
                train_set,
                labels[train_set.indices],
                target,
                recipe=recipe or RECIPE,
                progress=progress or Silent(),
            )
            weights = network.state_dict()
            write_bytes(file, save({k: v.cpu().contiguous() for k, v in weights.items()}))
    return network.eval()


def _train(
    network: nn.Module,
    train_set: FlowerDataset,
    labels: Tensor,
    device: torch.device,
    *,
    recipe: Recipe,
    progress: Progress,
) -> None:
    _, crop_px, epochs, batch_size, lr, precision = recipe
    augment = v2.Compose([v2.RandomResizedCrop(crop_px, CROP_SHARES), v2.RandomHorizontalFlip()])
    steps = -(-len(train_set) // batch_size)
    optimizer = SGD(
        network.parameters(), lr, weight_decay=WEIGHT_DECAY, nesterov=True, momentum=0.9
    )
    schedule = OneCycleLR(optimizer, lr, total_steps=epochs * steps)
    network.train()
    with progress.task("Learning to tell flowers apart", epochs * steps, "steps") as task:
        for _ in range(epochs):
            for positions in torch.randperm(len(train_set)).tensor_split(steps):
                _, real = train_set.batch(positions)
                crops = torch.stack([augment(picture) for picture in real])
                crops = crops.to(device, memory_format=torch.channels_last)
                with autocast(device, precision):
                    logits = network(2 * crops - 1)
                loss = F.cross_entropy(
                    logits.float(), labels[positions].to(device), label_smoothing=LABEL_SMOOTHING
                )
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()
                task.advance()


@torch.inference_mode()
def recognized(
    classifier: nn.Module,
    labels: Tensor,
    pictures: Tensor,
    positions: Tensor,
    recipe: Recipe | None = None,
) -> Tensor:
    """1 where the classifier takes a picture for its own class, else 0; float32 [B].

    Args:
        classifier: What `load_classifier` gave.
        labels: int64 [N], the class of each photo of a set.
        pictures: RGB [B, 3, H, W] in 0 to 1, on the classifier's device; gray as three equal
            channels.
        positions: int64 [B], which photos of the set they show.
    """
    size_px = (recipe or RECIPE).size_px
    small = F.interpolate(
        pictures.float(), (size_px, size_px), mode="bilinear", antialias=True, align_corners=False
    )
    logits: Tensor = classifier(2 * small - 1)
    return (logits.argmax(dim=1) == labels[positions].to(pictures.device)).float()
