"""The options of `train`, made from the settings that `config` describes."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from flowercolor.config import PANELS, Setting, settings


def option(panel: str, text: str, metavar: str | None = None, *names: str) -> Any:
    """An option of `train` in one of the groups that its help shows."""
    return typer.Option(*names, help=text, metavar=metavar, rich_help_panel=panel.capitalize())


def with_settings(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each setting, in the place of its last parameter, `**given`.

    They default to None, "not given": a resumed run keeps what it was started with.
    """
    signature = inspect.signature(function)
    *own, _given = signature.parameters.values()
    made = [
        inspect.Parameter(
            setting.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[setting.kind | None, _option_of(setting)],
        )
        for setting in settings()
    ]
    panels = [panel.capitalize() for panel in PANELS]

    def place(parameter: inspect.Parameter) -> int:
        return panels.index(parameter.annotation.__metadata__[0].rich_help_panel)

    keywords = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own]
    # Typer shows the groups in the order in which it meets them.
    ordered = sorted([*keywords, *made], key=place)
    function.__signature__ = signature.replace(parameters=ordered)  # type: ignore[attr-defined]
    return function


def _option_of(setting: Setting) -> Any:
    name, default = setting.option, setting.default
    if setting.kind is bool:
        off = name.replace("--", "--no-", 1)
        name, default = f"{name}/{off}", name if default else off
    elif setting.kind is float:
        default = f"{default:g}"
    text = setting.help.replace("[", "\\[")  # which Rich would take for its own
    text = f"{text} [dim]\\[default: {default}][/dim]"
    return option(setting.panel, text, setting.metavar or None, name)
