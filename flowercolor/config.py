"""The settings of a network and of a training run, as plain frozen data.

They travel inside every checkpoint as JSON, so a file of weights says what it is.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Self, get_args

from flowercolor.errors import SettingError

Output = Literal["rgb", "chroma"]
Encoder = Literal["plain", "efficientnet-lite0"]
LrDecay = Literal["none", "cosine"]
Criterion = Literal["l1", "vivid"]
DeviceName = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "float32", "bf16"]
Subsampling = Literal["4:4:4", "4:2:2", "4:2:0"]

STRIDE = 16
"""The U-Net halves its picture four times, so both sides must be multiples of this."""

RENDER_SIZE_PX = 128
"""At how many pixels squared the network sees a photo where nobody says otherwise."""

MAX_STRENGTH = 1.5
MAX_VARIANTS = 12

QUALITY = 95
"""Of JPEG, WebP and AVIF, where nobody says otherwise."""

MAX_SEED = 2**63
"""With what is added for each epoch, it still fits into the 64 bits that torch takes."""


@dataclass(frozen=True)
class NetworkConfig:
    """What is needed to build the generator again.

    Attributes:
        base_channels: Channels of the first level; each of the four levels below has twice
            as many. 64 is the design and has 31.0 M weights; half of it costs a quarter.
        output: "rgb", the design, predicts the three colors; "chroma" predicts two color
            differences and keeps the gray photo as the luma.
        encoder: The way down: "plain", the design, or "efficientnet-lite0", which begins with
            weights that tell the classes of ImageNet; its own width is fixed.
    """

    base_channels: int = 64
    output: Output = "rgb"
    encoder: Encoder = "plain"

    def __post_init__(self) -> None:
        _whole("base_channels", self.base_channels, 1)
        one_of("output", self.output, Output)
        one_of("encoder", self.encoder, Encoder)


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a training run learns. The defaults are the design.

    Attributes:
        network: The generator's settings.
        epochs: Passes over the training photos.
        batch_size: Photos per training step.
        test_batch_size: Photos per step while testing; changes speed, not scores.
        lr: Learning rate of Adam, the same for both networks.
        lr_decay: "cosine" lowers it to 0 over the run, along half a wave (Loshchilov and
            Hutter 2017, section 3); "none", the design, keeps it.
        lambda_l1: Weight of the L1 term in the generator's loss.
        lambda_adv: Weight of the adversarial term; 0 trains the generator on L1 alone
            and leaves the discriminator as it is.
        lambda_color: Weight of the distance between the colorfulness of the generated and of
            the true picture, in the units of Hasler and Süsstrunk 2003. 0, the design, leaves
            it out.
        lambda_class: Weight of telling a photo's class beside its colors; needs photos with
            classes. 0, the design, leaves it out.
        freeze_deep: Leave the weights of the generator's way down and of the first level of its
            way up as they are; batch norm's statistics there go on. What it becomes then shares
            nine tenths of its weights with what it began from.
        size_px: Side of the square pictures that the networks see; a multiple of 16.
        flip: Mirror half of the training photos, at random.
        crop: The least share of a training photo's area that a random crop keeps, the crop
            being enlarged to the whole again; 1 leaves the photos whole.
        degrade: The share of the training photos whose gray is shown as an old photo's: grainy,
            faded, soft, on another film. The colors to be learned stay the photo's own.
        ema: Decay per step of an exponential moving average of the generator's weights,
            which is then what is tested and saved as the best; 0 keeps none.
        criterion: What decides on the best: "l1", the test L1, or "vivid", to which a
            thousandth of the distance in mean colorfulness from the true photos is added,
            since L1 alone prefers gray.
        patience: Stop after so many epochs without a new best; 0 never does.
        validation: Keep a twentieth of the training photos apart and test on those, so that
            settings can be chosen without a look at the test photos.
        seed: Seed of the weights and of the order of the photos.
    """

    network: NetworkConfig = field(default_factory=NetworkConfig)
    epochs: int = 116
    batch_size: int = 32
    test_batch_size: int = 1
    lr: float = 2e-4
    lr_decay: LrDecay = "none"
    lambda_l1: float = 50.0
    lambda_adv: float = 1.0
    lambda_color: float = 0.0
    lambda_class: float = 0.0
    freeze_deep: bool = False
    size_px: int = 128
    flip: bool = False
    crop: float = 1.0
    degrade: float = 0.0
    ema: float = 0.0
    criterion: Criterion = "l1"
    patience: int = 0
    validation: bool = False
    seed: int = 42

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "test_batch_size"):
            _whole(name, getattr(self, name), 1)
        for name in ("patience", "seed"):
            _whole(name, getattr(self, name), 0)
        _whole("size_px", self.size_px, STRIDE)
        for name in ("lambda_l1", "lambda_adv", "lambda_color", "lambda_class"):
            _at_least(name, getattr(self, name), 0)
        if not 0 < self.lr < 1:
            raise SettingError(f"lr is {self.lr}; expected more than 0 and less than 1")
        if not 0 < self.crop <= 1:
            raise SettingError(f"crop is {self.crop}; expected more than 0 and at most 1")
        if not 0 <= self.degrade <= 1:
            raise SettingError(f"degrade is {self.degrade}; expected 0 to 1")
        if not 0 <= self.ema < 1:
            raise SettingError(f"ema is {self.ema}; expected 0 or more and less than 1")
        one_of("lr_decay", self.lr_decay, LrDecay)
        one_of("criterion", self.criterion, Criterion)
        if self.size_px % STRIDE:
            raise SettingError(
                f"size_px is {self.size_px}; expected a multiple of {STRIDE}, such as 128"
            )
        if self.seed > MAX_SEED:
            raise SettingError(f"seed is {self.seed}; expected {MAX_SEED} or less")
        if not (self.lambda_l1 or self.lambda_adv):
            raise SettingError(
                "lambda_l1 and lambda_adv are both 0; there is nothing to learn from"
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The settings that `dataclasses.asdict` gave, perhaps by way of JSON.

        Raises:
            SettingError: A key is unknown or a value is out of range.
        """
        network = values.get("network", {})
        for kind, given in ((NetworkConfig, network), (cls, values)):
            unknown = sorted(set(given) - {known.name for known in fields(kind)})
            if unknown:
                raise SettingError(
                    f"{kind.__name__}: unknown settings {', '.join(unknown)}; "
                    "another version of flowercolor wrote them"
                )
        return cls(**{**values, "network": NetworkConfig(**network)})


def _whole(name: str, value: int, bound: int) -> None:
    if not isinstance(value, int):
        raise SettingError(f"{name} is {value}; expected a whole number")
    _at_least(name, value, bound)


def _at_least(name: str, value: float, bound: float) -> None:
    if not bound <= value < math.inf:
        raise SettingError(f"{name} is {value}; expected {bound} or more")


def one_of(name: str, value: str, choices: Any) -> None:
    """Make sure that the setting `name` has one of the values of a `Literal`.

    Raises:
        SettingError: It has another.
    """
    if value not in get_args(choices):
        raise SettingError(f"{name} is {value!r}; expected one of {', '.join(get_args(choices))}")


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
