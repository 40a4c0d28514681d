import ast
import re
from pathlib import Path

import pytest

import flowercolor
from flowercolor.cli.console import command, say
from flowercolor.config import settings


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("give a smaller `batch_size`, then `size_px`", "give a smaller --batch-size, then --size"),
        ('use `device="cpu"`, or a built one', "use --device cpu, or a built one"),
        ("raise `max_pixels`", "raise --max-megapixels"),
        ("`recursive` looks into subfolders", "-r looks into subfolders"),
        ("leave `compiled` out", "leave --compile out"),
        ("Error: epochs is 0; expected 1 or more", "Error: --epochs is 0; expected 1 or more"),
        ("name another folder by `run`", "name another folder by --out"),
        # What is no parameter of the command, or a name of something else.
        ("give `recolor`", "give `recolor`"),
        ("or a file with `from_file`", "or a file with `flowercolor download --from-file`"),
        ("run `flowercolor train --data PATH`", "run `flowercolor train --data PATH`"),
        ("epochs are many; device is there", "epochs are many; device is there"),
        ("data: is there; my_size_px is one", "data: is there; my_size_px is one"),
    ],
)
def test_parameters_are_shown_as_the_options_of_the_command(
    message: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    @command
    def train(
        *,
        data: str = "",
        batch_size: int = 1,
        size_px: int = 16,
        device: str = "auto",
        compiled: bool = False,
        epochs: int = 1,
        recursive: bool = False,
        out: str = "",
        max_megapixels: int = 1,
    ) -> None:
        say(message)

    train()
    assert capsys.readouterr().err == f"{shown}\n"


def test_errors_name_settings_in_a_way_that_is_shown_as_an_option() -> None:
    """In backquotes, or as the first word before "is"."""
    names = {setting.name for setting in settings() if "_" in setting.name}
    others = {
        f"{path}:{node.lineno}: {node.value}"
        for path in Path(flowercolor.__file__).parent.rglob("*.py")
        for raised in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(raised, ast.Raise)
        for node in ast.walk(raised)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if names & {*re.findall(r"\w+", re.sub(r"`[^`]*`|^\w+ is ", "", node.value))}
        if " " in node.value
    }
    assert others == set()
