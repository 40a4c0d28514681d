"""The application: its own options and its commands."""

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from flowercolor._version import __version__
from flowercolor.cli import console, streams
from flowercolor.cli.commands.colorize import colorize
from flowercolor.cli.commands.doctor import doctor
from flowercolor.cli.commands.download import download
from flowercolor.cli.commands.evaluate import evaluate
from flowercolor.cli.commands.models import export, join, models
from flowercolor.cli.commands.train import train
from flowercolor.cli.commands.web import web
from flowercolor.files import is_there
from flowercolor.torchrun import ranks

# Of Typer's own copy of click in newer versions, of click itself in older ones.
_UsageError: Any = typer.BadParameter.__base__


@contextmanager
def _usage_in_one_line() -> Iterator[None]:
    try:
        yield
    except _UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # the help, for who gave nothing at all
            raise
        message = _in_plain_words(error)
        where = error.ctx.command_path if error.ctx else "flowercolor"
        console.say(f"Error: {message.rstrip('.')}; see `{where} --help`")
        raise typer.Exit(console.EXIT_USAGE) from None
    except KeyboardInterrupt:  # of which Typer would make an exit code of 1
        raise typer.Exit(console.EXIT_INTERRUPTED) from None


def _in_plain_words(error: Any) -> str:
    """What is wrong, without the words in which Typer's libraries say that of a value."""
    found: Any = None
    reason = error.__cause__
    while hasattr(reason, "errors"):  # of pydantic: that of a list holds that of its item
        found = reason.errors()[0]
        reason = found.get("ctx", {}).get("error")
    if found is None:
        said = str(error.format_message())
        # The shell takes a color that begins with it for a comment.
        is_cut = "--palette' requires an argument" in said
        hint = "; put quotes around what begins with #" if is_cut else ""
        return said.rstrip(".") + hint
    param = error.param
    expected = {"int": ["a whole number"], "flo": ["a number"]}.get(found["type"][:3], [])
    if param.type_descriptor.choices:
        expected = [f"one of {', '.join(param.type_descriptor.choices)}"]
    elif param.min is not None:
        expected.append(
            f"{param.min} or more" if param.max is None else f"{param.min} to {param.max}"
        )
    said = f"; expected {', '.join(expected)}" if expected else f": {found['msg']}"
    return f"{param.opts[0]} is {found['input']}{said}"


# What the shell leaves as it is in quotes, and after an option's "=": it would become a folder.
_HOME = re.compile(r"^(--[\w-]+=)?(~)(?=$|[/\\])")


def _expanded(found: re.Match[str]) -> str:
    return (found[1] or "") + str(Path.home())


class _Application(TyperGroup):
    """Tells of what cannot be understood in one line, where Typer would draw a box."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with _usage_in_one_line():
            return super().make_context(*args, **kwargs)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands and is_there(Path(args[0])):
            said = console.command_line("flowercolor", "colorize", args[0])
            raise _UsageError(f"{args[0]}: is no command; to color it: `{said}`", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        with _usage_in_one_line():
            return super().invoke(ctx)


PATHS = frozenset({"FILE", "FOLDER", "PATH", "PHOTO", "PHOTO…", "TABLE", "TARGET"})
"""How the help shows what is a path."""


def _check_names(params: Iterable[Any], given: Mapping[Any, Any], ctx: Any) -> None:
    for param in params:
        value = given.get(param.name)
        values = value if isinstance(value, (list, tuple)) else [value]
        if param.metavar in PATHS and "" in values:
            name = param.opts[-1] if isinstance(param, TyperOption) else param.metavar.rstrip("…")
            meant = "expected a file or a folder (the one you are in is called .)"
            raise _UsageError(f"{name}: an empty name; {meant}", ctx)


_SHARED = frozenset({"colorize", "eval", "train"})


class _Command(TyperCommand):
    """Refuses what Typer lets pass: an empty name, and a second value where one is taken.

    Of the two values it would drop the first, and of the name make the folder that one is in.
    What several processes do not share, the leader does alone.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return self._parsed(ctx, [_HOME.sub(_expanded, word) for word in args])
        except _UsageError as error:
            error.ctx = error.ctx or ctx  # of an option without its value
            for word in args:
                if word.startswith("-") and is_there(Path(word)):
                    said = (
                        f"{word}: is no option; to name the file, put ./ before it, as in ./{word}"
                    )
                    raise _UsageError(said, ctx) from None
            raise

    def invoke(self, ctx: Any) -> Any:
        if ranks().leads or self.name in _SHARED:
            return super().invoke(ctx)
        return None

    def _parsed(self, ctx: Any, args: list[str]) -> list[str]:
        given = list(args)
        rest: list[str] = super().parse_args(ctx, args)
        parser: Any = self.make_parser(ctx)
        single = [
            copy(param)
            for param in self.params
            if isinstance(param, TyperOption) and not (param.multiple or param.is_flag)
        ]
        for param in single:
            param.multiple = True  # which makes the parser keep them all
            param.add_to_parser(parser, ctx)
        found = {} if ctx.resilient_parsing else parser.parse_args(given)[0]
        _check_names(self.params, found, ctx)
        for param in single:
            values = list(dict.fromkeys(found.get(param.name) or ()))
            if len(values) > 1:
                said = f"{param.opts[0]}: given {' and '.join(values)}; expected one"
                raise _UsageError(said, ctx)
        return rest


app = typer.Typer(
    name="flowercolor",
    cls=_Application,
    help="Turn gray photographs of flowers and gardens into color.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        console.check_stdout()
        console.print_result(f"flowercolor {__version__}")
        raise typer.Exit


@app.callback()
def _application(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_print_version, is_eager=True),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error comes from, as a traceback.")
    ] = False,
) -> None:
    console.debug = debug


for _name, _function in {
    "colorize": colorize,
    "web": web,
    "download": download,
    "train": train,
    "eval": evaluate,
    "models": models,
    "join": join,
    "doctor": doctor,
    "export": export,
}.items():
    app.command(_name, cls=_Command)(_function)


def main() -> None:
    """Run the command line."""
    # OpenCV, imported later, would tell of every tag of a TIFF that it does not know.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    # Torch, imported later: threads that wait for each other in a busy loop make training several
    # times slower than with one thread on a machine that has other work to do.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # where the caller closed it
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115
    console.allow_all_letters()
    try:
        console.guarded(lambda: app(prog_name="flowercolor"))
    finally:
        streams.flush()
