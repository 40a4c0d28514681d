"""Bundles of training settings under a name; docs/trials.md says what was tried on the way."""

from dataclasses import replace

from flowercolor.config import NetworkConfig, TrainConfig
from flowercolor.errors import SettingError

__all__ = ["CONTINUING", "RECIPES", "recipe"]

_CHROMA = TrainConfig(
    network=NetworkConfig(output="chroma"),
    epochs=60,
    lr=5e-4,
    lr_decay="cosine",
    lambda_adv=0,
    flip=True,
    crop=0.6,
    ema=0.995,
)

RECIPES = {
    "faithful": TrainConfig(),
    "chroma": _CHROMA,
    "pretrained": replace(
        _CHROMA,
        network=NetworkConfig(32, "chroma", "efficientnet-lite0"),
        epochs=12,
        lr=1e-3,
    ),
    "vivid": replace(
        _CHROMA,
        epochs=5,
        lr=1e-4,
        lambda_l1=200,
        lambda_adv=1.0,
        ema=0.998,
        criterion="vivid",
    ),
}
"""The design; L1 alone on two color differences; the same with an encoder that has learned
before; from such a network to livelier colors."""

CONTINUING = frozenset({"vivid"})
"""Those of them that are too short to begin from random weights."""


def recipe(name: str) -> TrainConfig:
    """The settings of that name.

    Raises:
        SettingError: There is no such recipe.
    """
    if name not in RECIPES:
        raise SettingError(
            f"recipe {name}: there is none of that name; there are {', '.join(RECIPES)}"
        )
    return RECIPES[name]
