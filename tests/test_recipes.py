from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from flowercolor.config import TrainConfig
from flowercolor.errors import SettingError
from flowercolor.recipes import RECIPES, recipe


def test_faithful_is_the_design() -> None:
    assert recipe("faithful") == TrainConfig()


def flat(config: TrainConfig) -> dict[str, Any]:
    settings = asdict(config)
    network: dict[str, Any] = settings.pop("network")
    return network | settings


def test_recipes_are_what_the_docs_say_of_them() -> None:
    """A row for each setting, a column for each recipe; what is not there is the default."""
    text = (Path(__file__).parents[1] / "docs" / "training.md").read_text(encoding="utf-8")
    parts = text.partition("## Recipes\n")[2].split("\n\n")
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
