"""The options of `colorize` that say what color things were."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowercolor.errors import DataError, FlowercolorError, ImageError

if TYPE_CHECKING:
    from flowercolor.hints.guidance import Guidance
    from flowercolor.inference.planning import Job
    from flowercolor.progress import Progress


def _option(name: str, text: str, metavar: str) -> Any:
    return typer.Option(name, help=text, metavar=metavar, rich_help_panel="What color it was")


Hints = Annotated[
    list[str] | None,
    _option(
        "--hint",
        "The color of a place of the upright photo, in pixels or percents, such as "
        "412,300=crimson or 40%,60%=#c02040; gray says that it has none. Of several photos it goes "
        "to each; see --hints. May be repeated.",
        "X,Y=COLOR",
    ),
]
HintsFile = Annotated[
    Path | None,
    _option(
        "--hints",
        "A file of hints, of many photos by their names: JSON, or CSV with the columns file, "
        "x, y and color.",
        "FILE",
    ),
]
Like = Annotated[
    Path | None,
    _option(
        "--like",
        "A photo in color whose palette leads the colors, of one photo or of a series.",
        "PHOTO",
    ),
]
PaletteColors = Annotated[
    str | None,
    _option("--palette", "Colors that lead, such as crimson,ivory,#335522.", "COLORS"),
]
Leaves = Annotated[
    list[str] | None,
    _option(
        "--leave",
        "Leave gray what is like this place, or a disk of that radius in pixels. May be repeated.",
        "X,Y[,RADIUS]",
    ),
]
Mask = Annotated[
    Path | None,
    _option(
        "--mask",
        "Leave gray what is white in this picture, which is stretched over the photo.",
        "FILE",
    ),
]

_WHITE = 128  # of 255, from which on a mask leaves more gray than not


@contextmanager
def _named(option: str, kind: type[FlowercolorError]) -> Iterator[None]:
    """Have an error of an option's file say whose it is."""
    try:
        yield
    except kind as error:
        raise type(error)(f"{option} {error}") from error


def read_guidance(
    jobs: "Sequence[Job]",
    progress: "Progress",
    *,
    hint: Sequence[str] | None,
    hints: Path | None,
    like: Path | None,
    palette: str | None,
    leave: Sequence[str] | None,
    mask: Path | None,
) -> "Callable[[Path], Guidance]":
    """What leads the colors of each photo, by the options of those names.

    Raises:
        SettingError: An option does not say what it should.
        ImageError: The reference or the mask cannot be read.
        DataError: The file of hints cannot be read, or is one of other photos.
    """
    from dataclasses import replace

    from flowercolor.hints.guidance import Guidance
    from flowercolor.hints.hint import Hint, Leave
    from flowercolor.hints.hint_file import HintFile
    from flowercolor.photos.pictures import mask_of, palette_of

    with _named("--like", ImageError):
        leading = palette_of(like, palette)
    with _named("--mask", ImageError):
        stays_gray = mask_of(mask) if mask else None
    if stays_gray is not None and stays_gray.max() < _WHITE:
        progress.note(f"--mask {mask}: has nothing white, so it leaves nothing gray")
    elif stays_gray is not None and stays_gray.min() >= _WHITE:
        progress.note(f"--mask {mask}: is white all over, so all stays gray")
    shared = Guidance(
        [Hint.parse(text) for text in hint or ()],
        leading,
        [Leave.parse(text) for text in leave or ()],
        stays_gray,
    )
    if not hints:
        return lambda _: shared
    if str(hints) == "-":
        raise DataError("--hints -: is not read from standard input; expected a file")
    with _named("--hints", DataError):
        by_photo = HintFile(hints).by_photo([job.source for job in jobs] or "-", progress)
    return lambda photo: replace(shared, hints=[*shared.hints, *by_photo[photo]])
