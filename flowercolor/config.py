"""The settings of a network and of a training run, as plain frozen data.

They travel inside every checkpoint as JSON, so a file of weights says what it is.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from numbers import Integral, Real
from typing import Any, Literal, NamedTuple, Self, get_args, get_type_hints

from flowercolor.errors import SettingError

Output = Literal["rgb", "chroma"]
Encoder = Literal["plain", "efficientnet-lite0"]
LrDecay = Literal["none", "cosine"]
Criterion = Literal["l1", "vivid"]
DeviceName = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "float32", "bf16"]
BackendName = Literal["auto", "onnxruntime", "torch"]
Subsampling = Literal["4:4:4", "4:2:2", "4:2:0"]

PANELS = ("data", "network", "losses", "schedule", "run")
"""The settings in groups, in the order of `train --help`."""

STRIDE = 16
"""The U-Net halves its picture four times, so both sides must be multiples of this."""

ENCODER_NORM_EPS = 1e-3  # of EfficientNet's batch norm; that of the other layers is torch's 1e-5
MAX_MEGAPIXELS = 300
RENDER_SIZE_PX = 128
"""At how many pixels squared the network sees a photo where nobody says otherwise."""

MAX_RENDER_SIZE_PX = 1024
"""With hints 1.7 GB and 25 s of a core, growing by its square; useful is a quarter of it."""

MAX_BASE_CHANNELS = 4096
"""128 GB of weights; beyond what torch counts sizes in, a header could ask for anything."""

MAX_STRENGTH = 1.5
MAX_VARIANTS = 12

QUALITY = 95
"""Of JPEG, WebP and AVIF, where nobody says otherwise."""

MAX_SEED = 2**63
"""With what is added for each epoch, it still fits into the 64 bits that torch takes."""


def _setting(default: Any, panel: str, text: str, metavar: str | None = None) -> Any:
    """A field that carries what the command line and the docs say of it: see `settings`."""
    if metavar is None:
        metavar = {bool: "", int: "N", str: "NAME"}[type(default)]
    return field(default=default, metadata={"panel": panel, "metavar": metavar, "help": text})


@dataclass(frozen=True)
class NetworkConfig:
    """What is needed to build the generator again; `settings` says what each value does."""

    base_channels: int = _setting(
        64,
        "network",
        "Channels of the first level; each level below has twice as many. Half of it is four "
        "times faster and somewhat worse.",
    )
    output: Output = _setting(
        "rgb",
        "network",
        "What is predicted: rgb, or chroma, two color differences on the photo's own luma, "
        "which is steadier.",
    )
    encoder: Encoder = _setting(
        "plain",
        "network",
        "The way down: plain, the design's, or efficientnet-lite0, pretrained on ImageNet; a new "
        "run with it needs the extra pretrained.",
    )
    hints: bool = _setting(
        False,
        "network",
        "Train a branch for hints of color alone, beside a trained network; see the recipe "
        "hints. Needs --start-from.",
    )

    def __post_init__(self) -> None:
        check_kinds(self)
        in_range("base_channels", self.base_channels, int, 1, MAX_BASE_CHANNELS)
        one_of("output", self.output, Output)
        one_of("encoder", self.encoder, Encoder)


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a training run learns. The defaults are the design.

    `settings` says what each value does. Sources: cosine decay is that of Loshchilov and Hutter
    2017, section 3; colorfulness that of Hasler and Süsstrunk 2003.
    """

    network: NetworkConfig = field(default_factory=NetworkConfig)
    epochs: int = _setting(116, "schedule", "Passes over the photos; more learn more, ever slower.")
    batch_size: int = _setting(
        32, "schedule", "Photos per step; larger is smoother and needs more memory."
    )
    test_batch_size: int = _setting(
        1, "run", "Photos per step when testing; changes speed only. Give a GPU 64."
    )
    lr: float = _setting(
        2e-4,
        "schedule",
        "Learning rate of both networks; higher is faster, too high never settles.",
        "RATE",
    )
    lr_decay: LrDecay = _setting(
        "none",
        "schedule",
        "cosine lets the learning rate fall to 0 over the run, along half a wave: smaller steps "
        "settle lower; none keeps it.",
    )
    lambda_l1: float = _setting(
        50.0,
        "losses",
        "Weight of being close to the true colors; higher is safer and duller.",
        "WEIGHT",
    )
    lambda_adv: float = _setting(
        1.0,
        "losses",
        "Weight of the adversarial term; higher is livelier, 0 trains without a discriminator.",
        "WEIGHT",
    )
    lambda_color: float = _setting(
        0.0,
        "losses",
        "Weight of the distance in colorfulness from the true photo; higher is livelier, with no "
        "discriminator needed.",
        "WEIGHT",
    )
    lambda_class: float = _setting(
        0.0,
        "losses",
        "Weight of classifying the photo beside coloring it, which helps to color; needs --labels.",
        "WEIGHT",
    )
    freeze_deep: bool = _setting(
        False,
        "network",
        "Train only the finer levels of the way up: faster, and `join` makes a smaller file. "
        "Needs --start-from.",
    )
    size_px: int = _setting(
        128,
        "data",
        "Side of the training pictures in pixels, a multiple of 16; larger sees finer things and "
        "costs its square.",
        "PX",
    )
    flip: bool = _setting(False, "data", "Mirror half of the photos at random.")
    crop: float = _setting(
        1.0,
        "data",
        "Show another crop of a photo in each epoch, of at least this share of its area; 1 shows "
        "it whole.",
        "SHARE",
    )
    aspect: float = _setting(
        1.0,
        "data",
        "Stretch the crops at random, by up to this ratio of their sides either way; 1 keeps "
        "their shape.",
        "RATIO",
    )
    degrade: float = _setting(
        0.0,
        "data",
        "Show this share of the photos, 0 to 1, as old ones: grainy, faded, soft, printed, on "
        "another film. The colors to learn stay the photo's own.",
        "SHARE",
    )
    ema: float = _setting(
        0.0,
        "schedule",
        "Test and save an exponential moving average of the generator's weights: 0.998 averages "
        "over some 1 / (1 - 0.998) = 500 steps; 0 keeps none.",
        "DECAY",
    )
    criterion: Criterion = _setting(
        "l1",
        "schedule",
        "What the best epoch is chosen by: l1, the test L1, or vivid, with a thousandth of the "
        "distance in colorfulness.",
    )
    patience: int = _setting(
        0, "schedule", "Stop after so many epochs without a new best; 0 never does."
    )
    validation: bool = _setting(
        False,
        "data",
        "Test on a twentieth of the training photos, kept apart, and leave the test photos alone: "
        "for choosing settings.",
    )
    seed: int = _setting(42, "run", "Seed of the first weights and of the order of the photos.")

    def __post_init__(self) -> None:
        check_kinds(self)
        if not isinstance(self.network, NetworkConfig):
            raise SettingError(f"network is {self.network!r}; expected a NetworkConfig")
        for name in ("epochs", "batch_size", "test_batch_size"):
            in_range(name, getattr(self, name), int, 1)
        in_range("patience", self.patience, int, 0)
        in_range("seed", self.seed, int, 0, MAX_SEED)
        in_range("size_px", self.size_px, int, STRIDE)
        for name in ("lambda_l1", "lambda_adv", "lambda_color", "lambda_class"):
            in_range(name, getattr(self, name), float, 0)
        for name, holds, expected in (
            ("size_px", not self.size_px % STRIDE, f"a multiple of {STRIDE}, such as 128"),
            ("lr", 0 < self.lr < 1, "more than 0 and less than 1"),
            ("crop", 0 < self.crop <= 1, "more than 0 and at most 1"),
            ("aspect", 1 <= self.aspect <= 4, "1 to 4"),
            ("degrade", 0 <= self.degrade <= 1, "0 to 1"),
            ("ema", 0 <= self.ema < 1, "0 or more and less than 1"),
        ):
            if not holds:
                raise SettingError(f"{name} is {getattr(self, name)}; expected {expected}")
        one_of("lr_decay", self.lr_decay, LrDecay)
        one_of("criterion", self.criterion, Criterion)
        if not (self.lambda_l1 or self.lambda_adv):
            raise SettingError(
                "`lambda_l1` and `lambda_adv` are both 0, which leaves nothing to learn; raise one"
            )

    @property
    def test_part(self) -> str:
        """What a test is taken on, for titles: "test", or "validation"."""
        return "validation" if self.validation else "test"

    def changed(self, **given: Any) -> Self:
        """These settings but for those given by name, the network's among them.

        Raises:
            SettingError: A value is out of range.
        """
        names = given.keys() & {known.name for known in fields(NetworkConfig)}
        network = replace(self.network, **{name: given.pop(name) for name in names})
        return replace(self, network=network, **given)

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


class Setting(NamedTuple):
    """One setting, for whoever shows them all.

    Attributes:
        kind: The type of its values.
        default: The design's.
        panel: Which of `PANELS` it belongs to.
        metavar: What stands for a value; "" for a switch.
        help: What it does to the result.
    """

    name: str
    kind: Any
    default: Any
    panel: str
    metavar: str
    help: str

    @property
    def option(self) -> str:
        """What it is called on the command line."""
        return "--" + self.name.removesuffix("_px").replace("_", "-")


def settings() -> list[Setting]:
    """Every setting of a run and of its network, panel by panel."""
    known = [
        Setting(each.name, get_type_hints(config)[each.name], each.default, **each.metadata)
        for config in (NetworkConfig, TrainConfig)
        for each in fields(config)
        if each.metadata
    ]
    return sorted(known, key=lambda setting: PANELS.index(setting.panel))


_KINDS = {
    bool: (bool, "true or false"),
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
}


def of_kind(name: str, value: Any, kind: type) -> Any:
    """The value of the setting `name`, NumPy's too, as a plain bool, int or number.

    Raises:
        SettingError: It is of another kind.
    """
    base, expected = _KINDS[kind]
    if not isinstance(value, base) or (isinstance(value, bool) and kind is not bool):
        raise SettingError(f"{name} is {value!r}; expected {expected}")
    return value if isinstance(value, (int, float)) else kind(value)


def in_range(name: str, value: Any, kind: type, low: float, high: float = math.inf) -> Any:
    """What `of_kind` gives, within bounds.

    Raises:
        SettingError: It is of another kind, below `low`, above `high`, or infinite.
    """
    value = of_kind(name, value, kind)
    if not (low <= value <= high and value < math.inf):
        expected = f"{low} or more" if high == math.inf else f"{low} to {high}"
        raise SettingError(f"{name} is {value}; expected {expected}")
    return value


def texts(given: str | Collection[str]) -> Collection[str]:
    """The texts of a list; of a single one, that one, and not its letters."""
    return [given] if isinstance(given, str) else given


def check_kinds(config: Any) -> None:
    """Have what each field of a frozen dataclass holds of its own kind, plain.

    Raises:
        SettingError: It is of another.
    """
    for each in fields(config):
        if each.type in _KINDS:
            value = of_kind(each.name, getattr(config, each.name), each.type)
            object.__setattr__(config, each.name, value)  # JSON takes none of NumPy's


def device_kind(device: object) -> str:
    """Of a device or its name, such as "cuda:1", what stands before its number, or "auto".

    Raises:
        SettingError: There is no such kind, or it has no numbers.
    """
    kind, colon, number = str(device).partition(":")
    numbered = number.isdecimal() if kind == "cuda" else number == "0" and kind != "auto"
    if kind not in get_args(DeviceName) or (colon and not numbered):
        names = ", ".join(get_args(DeviceName))
        raise SettingError(
            f"device is {device!r}; expected one of {names}, or one of several GPUs, such as cuda:1"
        )
    return kind


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
        _CHROMA, network=NetworkConfig(32, "chroma", "efficientnet-lite0"), epochs=12, lr=1e-3
    ),
    "hints": replace(
        _CHROMA,
        network=NetworkConfig(output="chroma", hints=True),
        epochs=1,
        batch_size=16,
        lr=3e-3,
        aspect=1.5,
        ema=0.99,
    ),
    "vivid": replace(
        _CHROMA, epochs=5, lr=1e-4, lambda_l1=200, lambda_adv=1.0, ema=0.998, criterion="vivid"
    ),
}
"""The design; L1 alone on two color differences; the same with an encoder that has learned
before; a branch for hints beside such a network; from it to livelier colors."""

CONTINUING = frozenset({"vivid", "hints"})
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
