import pytest

from flowercolor.config import TrainConfig
from flowercolor.errors import SettingError
from flowercolor.recipes import RECIPES, recipe


def test_faithful_is_the_design() -> None:
    assert recipe("faithful") == TrainConfig()


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_found_by_its_name(name: str) -> None:
    assert recipe(name) is RECIPES[name]


def test_recipes_differ() -> None:
    assert len(set(RECIPES.values())) == len(RECIPES)


def test_an_unknown_recipe_is_refused_with_those_there_are() -> None:
    with pytest.raises(SettingError) as caught:
        recipe("soup")
    expected = f"recipe soup: there is none of that name; there are {', '.join(RECIPES)}"
    assert str(caught.value) == expected
