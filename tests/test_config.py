import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowercolor.config import PANELS, RECIPES, NetworkConfig, TrainConfig, recipe
from flowercolor.config import settings as known_settings
from flowercolor.errors import SettingError

DOCS = Path(__file__).parents[1] / "docs" / "training.md"

NETWORKS = st.builds(
    NetworkConfig,
    base_channels=st.integers(1, 512),
    output=st.sampled_from(["rgb", "chroma"]),
    encoder=st.sampled_from(["plain", "efficientnet-lite0"]),
)
CONFIGS = st.builds(
    TrainConfig,
    network=NETWORKS,
    epochs=st.integers(1, 1000),
    batch_size=st.integers(1, 512),
    lr=st.floats(1e-9, 0.9),
    lambda_l1=st.floats(0, 1e3),
    lambda_adv=st.floats(1e-3, 10),
    size_px=st.integers(1, 32).map(lambda n: 16 * n),
    flip=st.booleans(),
    freeze_deep=st.booleans(),
    crop=st.floats(0.01, 1),
    aspect=st.floats(1, 4),
    degrade=st.floats(0, 1),
    ema=st.floats(0, 0.9999),
    lr_decay=st.sampled_from(["none", "cosine"]),
    criterion=st.sampled_from(["l1", "vivid"]),
    patience=st.integers(0, 100),
    validation=st.booleans(),
    seed=st.integers(0, 2**63),
)


def test_the_defaults_are_the_design() -> None:
    assert asdict(TrainConfig()) == {
        "network": {"base_channels": 64, "output": "rgb", "encoder": "plain", "hints": False},
        "epochs": 116,
        "batch_size": 32,
        "test_batch_size": 1,
        "lr": 2e-4,
        "lr_decay": "none",
        "lambda_l1": 50.0,
        "lambda_adv": 1.0,
        "lambda_color": 0.0,
        "lambda_class": 0.0,
        "freeze_deep": False,
        "size_px": 128,
        "flip": False,
        "crop": 1.0,
        "aspect": 1.0,
        "degrade": 0.0,
        "ema": 0.0,
        "criterion": "l1",
        "patience": 0,
        "validation": False,
        "seed": 42,
    }


@settings(deadline=None, max_examples=50)
@given(CONFIGS)
def test_settings_survive_json(config: TrainConfig) -> None:
    assert TrainConfig.from_dict(json.loads(json.dumps(asdict(config)))) == config


def test_settings_left_out_are_the_defaults() -> None:
    assert TrainConfig.from_dict({"epochs": 3}) == TrainConfig(epochs=3)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("test_batch_size", -1),
        ("lr", 0.0),
        ("lr", 1.0),
        ("lr", float("nan")),
        ("lambda_l1", -1.0),
        ("lambda_l1", float("nan")),
        ("lambda_l1", float("inf")),
        ("seed", 2**63 + 1),
        ("lambda_adv", -0.5),
        ("lambda_color", -0.5),
        ("size_px", 0),
        ("size_px", 120),
        ("size_px", -16),
        ("seed", -1),
        ("crop", 0),
        ("crop", 1.1),
        ("aspect", 0.5),
        ("aspect", 5),
        ("degrade", -0.1),
        ("degrade", 1.1),
        ("ema", -0.1),
        ("ema", 1.0),
        ("patience", -1),
        ("epochs", 2.0),
        ("size_px", 32.0),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(SettingError, match=rf"^{name} is {value}; expected") as caught:
        TrainConfig(**{name: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("base_channels", 0), ("base_channels", 2.5), ("output", "lab"), ("encoder", "vgg")],
)
def test_a_network_setting_out_of_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(SettingError, match=f"^{name} is {value!r}; expected"):
        NetworkConfig(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("lr", "1e-3", "a number"),
        ("lambda_adv", None, "a number"),
        ("aspect", True, "a number"),
        ("seed", "1", "a whole number"),
        ("flip", 1, "true or false"),
        ("network", "chroma", "a NetworkConfig"),
    ],
)
def test_a_setting_of_another_kind_is_refused_by_name(name: str, value: Any, expected: str) -> None:
    with pytest.raises(SettingError, match=f"^{name} is {value!r}; expected {expected}$"):
        TrainConfig(**{name: value})


def test_numbers_of_numpy_become_plain_ones() -> None:
    config = TrainConfig(epochs=np.int64(3), lr=np.float32(0.5))  # type: ignore[arg-type]
    assert config == TrainConfig(epochs=3, lr=0.5)
    assert json.loads(json.dumps(asdict(config)))["epochs"] == 3


@pytest.mark.parametrize("name", ["lr_decay", "criterion"])
def test_a_choice_that_there_is_not_is_refused_by_name(name: str) -> None:
    with pytest.raises(SettingError, match=f"^{name} is 'other'; expected one of"):
        TrainConfig(**{name: "other"})  # type: ignore[arg-type]


def test_a_loss_without_terms_is_refused() -> None:
    with pytest.raises(SettingError, match=r"^`lambda_l1` and `lambda_adv` are both 0, "):
        TrainConfig(lambda_l1=0, lambda_adv=0)


@pytest.mark.parametrize("values", [{"momentum": 1}, {"network": {"momentum": 1}}])
def test_an_unknown_setting_is_refused_by_name(values: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match="unknown settings momentum"):
        TrainConfig.from_dict(values)


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(AttributeError):
        TrainConfig().epochs = 3  # type: ignore[misc]


def test_faithful_is_the_design() -> None:
    assert recipe("faithful") == TrainConfig()


def settings_table() -> str:
    """The table of the docs, made from what the settings say of themselves."""
    lines = ["| option | default | what it does to the result |", "|---|---|---|"]
    for setting in known_settings():
        default = f"{setting.default:g}" if setting.kind is float else f"{setting.default}"
        name = f"{setting.option} {setting.metavar}".strip()
        if setting.kind is bool:
            name, default = f"{name}`, `--no-{setting.option[2:]}", "off"
        lines.append(f"| `{name}` | {default} | {setting.help} |")
    return "\n".join(lines) + "\n\n"


def with_settings_table(text: str) -> str:
    """The docs with the table of now in the place of theirs."""
    before, head, rest = text.partition("| option | default |")
    return before + settings_table() + rest.partition("\n\n")[2] if head else text


def test_the_docs_have_every_setting() -> None:
    """`python -m tests.test_config` puts the table of now into them."""
    text = DOCS.read_text(encoding="utf-8")
    assert settings_table() in text
    assert with_settings_table(text) == text


def test_every_setting_says_what_it_does() -> None:
    known = known_settings()
    assert sorted(one.name for one in known) == sorted(flat(TrainConfig()))
    assert {one.panel for one in known} == set(PANELS)
    assert [one.panel for one in known] == sorted((one.panel for one in known), key=PANELS.index)
    assert all(one.help.endswith(".") for one in known)
    assert [one.name for one in known if not one.metavar] == [
        one.name for one in known if one.kind is bool
    ]


def test_settings_are_changed_by_name_the_networks_too() -> None:
    changed = TrainConfig().changed(epochs=3, base_channels=8, output="chroma")
    assert changed == TrainConfig(NetworkConfig(8, "chroma"), epochs=3)


def flat(config: TrainConfig) -> dict[str, Any]:
    settings = asdict(config)
    network: dict[str, Any] = settings.pop("network")
    return network | settings


def test_recipes_are_what_the_docs_say_of_them() -> None:
    """A row for each setting, a column for each recipe; what is not there is the default."""
    parts = DOCS.read_text(encoding="utf-8").partition("## Recipes\n")[2].split("\n\n")
    table = next(part for part in parts if part.startswith("| setting"))
    lines = [line.strip("|").split("|") for line in table.splitlines()]
    head, _, *rows = [[cell.strip(" `") for cell in line] for line in lines]
    assert head[1:] == list(RECIPES)
    default = flat(TrainConfig())
    for column, name in enumerate(head[1:], 1):
        said = {row[0].removeprefix("--").replace("-", "_"): row[column] for row in rows}
        told = {
            key: text == "on" if isinstance(default[key], bool) else type(default[key])(text)
            for key, text in said.items()
        }
        assert {**default, **told} == flat(recipe(name))


def test_an_unknown_recipe_is_refused_with_those_there_are() -> None:
    with pytest.raises(SettingError) as caught:
        recipe("soup")
    expected = f"recipe soup: there is none of that name; there are {', '.join(RECIPES)}"
    assert str(caught.value) == expected


if __name__ == "__main__":
    DOCS.write_text(with_settings_table(DOCS.read_text(encoding="utf-8")), encoding="utf-8")
