"""The training and test set: pairs of gray and true picture, the split, labels, near copies."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import accumulate
from pathlib import Path
from zlib import crc32

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import Dataset, random_split

from flowercolor.color import luma_u8
from flowercolor.config import texts
from flowercolor.csv_tables import parse_table, read_text
from flowercolor.data.photo_cache import Photos, read_data
from flowercolor.errors import DataError, counted, first_few
from flowercolor.memory_budget import MAX_PIXELS
from flowercolor.progress import Progress

SPLIT_SEED = 42
TRAIN_SHARE = 0.9
VALIDATION_EVERY = 20
COLORED_SPREAD = 16
"""By how many of 255 levels the channels differ somewhere in a photo with colors."""


class FlowerDataset(Dataset[tuple[Tensor, Tensor, tuple[int, int]]]):
    """Pairs of gray and true picture, with the photo's original size.

    Args:
        photos: The decoded photos, of one source or of several.
        indices: int64 [N], which of them belong to this set, in this order, counted through all
            sources; all by default.
        rgb: All their pictures as one tensor, such as a copy on a GPU; those of `photos` by
            default.
    """

    def __init__(
        self,
        photos: Photos | Sequence[Photos],
        indices: Sequence[int] | Tensor | None = None,
        rgb: Tensor | None = None,
    ) -> None:
        self.sources = (photos,) if isinstance(photos, Photos) else tuple(photos)
        *starts, count = accumulate((len(source.names) for source in self.sources), initial=0)
        self.indices = torch.as_tensor(range(count) if indices is None else indices)
        self._starts = torch.tensor(starts)
        self._rgb = [rgb] if rgb is not None else [torch.from_numpy(s.rgb) for s in self.sources]
        self._places = self.indices.to(self.device)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """Gray float [1, S, S], RGB float [3, S, S], both in 0 to 1, and (height, width)."""
        gray, real = self.batch([range(len(self))[index]])
        source = int(self.source_numbers[index])
        height, width = self.sources[source].sizes_px[self.indices[index] - self._starts[source]]
        return gray[0], real[0], (int(height), int(width))

    @property
    def photos(self) -> Photos:
        """The decoded photos of the first source, which mostly is the only one."""
        return self.sources[0]

    @property
    def fingerprint(self) -> str:
        """Names the content of all its sources, in their order; that of one as `Photos` has it."""
        fingerprints = [photos.fingerprint for photos in self.sources]
        if len(fingerprints) == 1:
            return fingerprints[0]
        return blake2b("\0".join(fingerprints).encode(), digest_size=12).hexdigest()

    @property
    def source_numbers(self) -> Tensor:
        """int64 [N], which source each photo of this set comes from, from 0."""
        return torch.bucketize(self.indices, self._starts, right=True) - 1

    @property
    def names(self) -> list[str]:
        """The photos' names, in the order of this set."""
        names = [name for source in self.sources for name in source.names]
        return [names[index] for index in self.indices]

    def subset(self, positions: Sequence[int] | Tensor) -> "FlowerDataset":
        """The pictures at these positions of this set, as another set."""
        indices = self.indices[torch.as_tensor(positions, dtype=torch.long)]
        return FlowerDataset(self.sources, indices, self._rgb[0] if len(self._rgb) == 1 else None)

    @property
    def kept_for_validation(self) -> Tensor:
        """Bool [N], which photos `split_validation` keeps apart: a twentieth of each source."""
        numbers = self.indices - self._starts[self.source_numbers]
        return numbers % VALIDATION_EVERY == 0

    def without(self, names: str | Collection[str]) -> "FlowerDataset":
        """This set without the photo of this name, or the photos of these."""
        names = texts(names)
        return self.subset([i for i, name in enumerate(self.names) if name not in names])

    def pixels(self, positions: Sequence[int] | Tensor) -> Tensor:
        """The pictures as they are stored, uint8 RGB [B, S, S, 3]."""
        indices = self._places[torch.as_tensor(positions)]
        if len(self._rgb) == 1:
            return self._rgb[0][indices]
        pixels = torch.empty(len(indices), *self._rgb[0].shape[1:], dtype=torch.uint8)
        numbers = torch.bucketize(indices, self._starts, right=True) - 1
        for number, (start, rgb) in enumerate(zip(self._starts, self._rgb, strict=True)):
            chosen = numbers == number
            pixels[chosen] = rgb[indices[chosen] - start]
        return pixels

    def crc32(self, start: int = 0) -> int:
        """A checksum of the pictures in the order of this set, going on from another one."""
        for pixels in self._blocks():
            start = crc32(pixels.tobytes(), start)
        return start

    def gray_photos(self) -> "FlowerDataset":
        """The photos that have no color: in none of their pixels do the channels differ much."""
        spreads = [np.ptp(pixels, axis=-1).max(axis=(1, 2)) for pixels in self._blocks()]
        in_order = [spread for block in spreads for spread in block]
        return self.subset([i for i, spread in enumerate(in_order) if spread < COLORED_SPREAD])

    def _blocks(self) -> Iterator[npt.NDArray[np.uint8]]:
        for positions in torch.arange(len(self)).split(256):
            yield self.pixels(positions).cpu().numpy()

    @property
    def device(self) -> torch.device:
        """Where the pictures lie. Positions that lie elsewhere make a GPU wait for them."""
        return self._rgb[0].device

    def batch(self, positions: Sequence[int] | Tensor) -> tuple[Tensor, Tensor]:
        """Gray [B, 1, S, S] and RGB [B, 3, S, S], float32 in 0 to 1, channels last in memory."""
        return to_pairs(self.pixels(positions))


def to_pairs(
    rgb: Tensor, flips: Tensor | None = None, crops: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Gray [B, 1, S, S] and RGB [B, 3, S, S], float32 in 0 to 1, channels last in memory.

    Computed where the pictures are, so that on a GPU bytes travel and floats do not.

    Args:
        rgb: uint8 RGB [B, S, S, 3].
        flips: bool [B], which of them to mirror.
        crops: float [B, 4] in 0 to 1, what to enlarge to the whole: its width and height as
            shares, and where between left and right, and top and bottom, it lies.
    """
    rgb = rgb.permute(0, 3, 1, 2)
    if flips is not None:
        rgb = torch.where(flips[:, None, None, None], rgb.flip(-1), rgb)
    if crops is not None:
        extent, place = crops[:, :2], crops[:, 2:]
        shift = (place * 2 - 1) * (1 - extent)
        theta = torch.cat((torch.diag_embed(extent), shift[:, :, None]), dim=2)
        grid = F.affine_grid(theta, list(rgb.shape), align_corners=False)
        # To the outermost pixels' middles: the padding "border", which MPS lacks before torch 2.13.
        grid = grid.clamp(1 / rgb.shape[-1] - 1, 1 - 1 / rgb.shape[-1])
        rgb = F.grid_sample(rgb.float(), grid, align_corners=False)
        rgb = rgb.round().to(torch.uint8)
    return luma_u8(rgb).float() / 255, rgb.float() / 255


def in_words(sources: Iterable[Photos]) -> str:
    """Where photos are from: "garden.tar and roses"."""
    return " and ".join(str(photos.source) for photos in sources)


JUDGED_GRAY = "where any color counts as an error"
"""What photos without color do among those that a network is judged on."""


def notes_on_gray(dataset: FlowerDataset, use: str, effect: str) -> list[str]:
    """A line for each source that has photos without color, with the first of them.

    Args:
        use: What the photos are for: "to learn from".
        effect: What the lack of color does there: "which teaches to leave photos gray".

    Raises:
        DataError: None of the photos has any color.
    """
    gray = dataset.gray_photos()
    if len(gray) == len(dataset) > 0:
        raise DataError(
            f"{in_words(dataset.sources)}: found no color in any of the photos {use} "
            f"({len(dataset):,}); expected photos in color"
        )
    notes = []
    for number, photos in enumerate(dataset.sources):
        count = int((dataset.source_numbers == number).sum())
        named = zip(gray.names, gray.source_numbers, strict=True)
        if names := sorted(name for name, source in named if source == number):
            first = first_few(names)
            notes.append(
                f"{photos.source}: no color in {len(names):,} of the {counted(count, 'photo')} "
                f"{use}, {effect}; take out {first}"
            )
    return notes


def split_validation(train_set: FlowerDataset) -> tuple[FlowerDataset, FlowerDataset]:
    """The training set without a twentieth of it, and that twentieth, to choose settings on.

    Taken by photo number, so that leaving some photos out moves no other from side to side.

    Raises:
        DataError: There are too few photos for both.
    """
    held = train_set.kept_for_validation
    if held.all() or not held.any():
        raise DataError(
            f"{train_set.photos.source}: leaves {counted(len(train_set), 'photo')} to learn "
            f"from, too few to keep one in {VALIDATION_EVERY} apart for validation; leave "
            "`validation` out, or give more"
        )
    return train_set.subset((~held).nonzero()[:, 0]), train_set.subset(held.nonzero()[:, 0])


def get_data(
    source: str | Path,
    size_px: int = 128,
    progress: Progress | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
) -> tuple[FlowerDataset, FlowerDataset]:
    """The training and the test set of an archive or folder: `split` of what `read_data` reads.

    Raises:
        DataError: As those two say, or none of the photos to learn from has any color.
    """
    train_set, test_set = split(read_data(source, size_px, progress, max_pixels=max_pixels))
    check_color(train_set, test_set, progress)
    return train_set, test_set


def check_color(
    train_set: FlowerDataset, test_set: FlowerDataset, progress: Progress | None
) -> None:
    """Tell `progress` which photos to learn from, and to test on, have no color.

    Raises:
        DataError: None of the one or the other has any.
    """
    notes = notes_on_gray(train_set, "to learn from", "which teaches to leave photos gray")
    notes += notes_on_gray(test_set, "to test on", JUDGED_GRAY)
    for note in notes:
        if progress:
            progress.note(note)


def split(photos: Photos) -> tuple[FlowerDataset, FlowerDataset]:
    """Photos as a training and a test set: 90 and 10 percent.

    By `random_split` under manual seed 42 over the photos in archive order, so that scores compare
    with those that others got from the same split.

    Raises:
        DataError: There are no two photos.
    """
    count = len(photos.names)
    if count < 2:
        source = photos.source
        raise DataError(
            f"{source}: found {counted(count, 'photo')}; a training and a test set need 2 or more"
        )
    n_train = min(max(1, int(TRAIN_SHARE * count)), count - 1)
    rng = torch.Generator().manual_seed(SPLIT_SEED)
    train, test = random_split(range(count), [n_train, count - n_train], generator=rng)  # type: ignore[arg-type, var-annotated]
    return FlowerDataset(photos, train.indices), FlowerDataset(photos, test.indices)


def read_labels(path: Path, *photos: Photos, partly: bool = False) -> Tensor:
    """The class of each photo, int64 [N]: the place of its name among the sorted ones.

    Args:
        path: A CSV file with a header and, among others, the columns `file` or `name`, the
            photo's name, and `class`, any text. Rows of other photos do not matter.
        partly: Let photos without a class be -1; else each must have one.

    Raises:
        DataError: The file cannot be read, is no such table, or leaves photos without a class.
    """
    classes = read_column(path, "class")
    names = [plain_name(name) for source in photos for name in source.names]
    missing = [name for name in names if not classes.get(name)]
    if len(missing) == len(names) or (missing and not partly):
        needed = "some of them" if partly else "each"
        raise DataError(
            f"{path}: names no class for {len(missing):,} of the {counted(len(names), 'photo')} of "
            f"{in_words(photos)}, such as {missing[0]}; expected one for {needed}, by that name, "
            f"folders and all; the table begins with {next(iter(classes), None)}"
        )
    texts = sorted({classes[name] for name in names if classes.get(name)})
    number = {text: place for place, text in enumerate(texts)}
    return torch.tensor([number.get(classes.get(name, ""), -1) for name in names])


def check_classes(path: Path, classes: Tensor) -> None:
    """Make sure that photos to learn from have classes to be told apart.

    Args:
        path: The table that the classes are from.
        classes: int64 [N], as `read_labels` gives them.

    Raises:
        DataError: There are not two of them.
    """
    found = len(classes[classes >= 0].unique())
    if found < 2:
        raise DataError(
            f"{path}: names {'one class alone' if found else 'no class'} for the photos to learn "
            f"from ({len(classes):,}), which teaches nothing; expected two or more"
        )


def read_column(path: Path, column: str) -> dict[str, str]:
    """By photo, with its `plain_name`, what a table has in a column.

    Args:
        path: A CSV file with a header, whose column `file` or `name` has the photos' names.

    Raises:
        DataError: The file cannot be read, is no such table, has no rows, or has two values for
            a photo.
    """
    expected = (
        f"expected a CSV table with the columns file and {column} (file may be called name), a "
        "photo on each line"
    )
    table = parse_table(read_text(path, expected), path, expected)
    key = "file" if "file" in table.columns else "name"
    if not {key, column} <= set(table.columns):
        found = ", ".join(table.columns) or "nothing"
        raise DataError(f"{path}: its first line has {found}; {expected}")
    if not table.rows:
        raise DataError(f"{path}: has its first line alone, no photo below it; {expected}")
    values: dict[str, str] = {}
    for row in table.named():
        name, value = plain_name(row[key]), row[column]
        if name and values.setdefault(name, value) != value:
            both = " and as ".join(text or "nothing" for text in (values[name], value))
            raise DataError(f"{path}: names {name} twice, as {both}; expected one {column} a photo")
    return values


def plain_name(name: str) -> str:
    """A photo's name as tables have it: `tar` may begin those of its members with `./`."""
    return name.removeprefix("./")


def with_twins(
    path: Path, dataset: FlowerDataset, others: FlowerDataset, progress: Progress | None = None
) -> list[str]:
    """The photos of a set that have a twin in another.

    Args:
        path: A text file of pairs: the names of two photos, a tab (or a semicolon or a comma)
            between them, on each line.
        progress: Told how many there are.

    Raises:
        DataError: The file cannot be read, is no list of pairs, or is one of other photos.
    """
    expected = "expected two names with a tab between them on each line"
    table = parse_table(read_text(path, expected), path, expected)
    pairs = [tuple(row) for row in (table.columns, *table.rows) if row]
    if wrong := [pair for pair in pairs if len(pair) != 2]:
        raise DataError(f"{path}: has a line of {len(wrong[0])}, {wrong[0][0]}; {expected}")
    names, other_names = set(dataset.names), set(others.names)
    if not any(name in names or name in other_names for pair in pairs for name in pair):
        begins = f", and the table begins with {pairs[0][0]}" if pairs else ""
        raise DataError(
            f"{path}: names none of the photos of {in_words(dataset.sources)}; they are named like "
            f"{dataset.photos.names[0]}{begins}"
        )
    twins = {name for name, other in pairs if other in other_names}
    twins |= {other for name, other in pairs if name in other_names}
    found = [name for name in dataset.names if name in twins]
    if progress:
        progress.note(
            f"{path}: {len(found):,} of the {len(dataset):,} photos have a twin on the other side "
            "of the split"
        )
    return found
