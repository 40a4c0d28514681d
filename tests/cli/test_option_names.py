import pytest

from flowercolor.cli.console import command, say


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
        max_megapixels: int = 1,
    ) -> None:
        say(message)

    train()
    assert capsys.readouterr().err == f"{shown}\n"
