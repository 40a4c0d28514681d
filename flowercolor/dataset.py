"""From an archive or a folder of photos to batches of grey and true pictures.

Photos are decoded once, in order, into one file of bytes in the cache, which later runs map
into memory. A batch is cut out of it and made grey and float on the way.
"""

import csv
import hashlib
import json
import lzma
import os
import tarfile
import zlib
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import Dataset, random_split

from flowercolor import paths
from flowercolor.color import luma_u8
from flowercolor.errors import DataError, one_line
from flowercolor.files import replacing, storage_errors, write_text
from flowercolor.progress import Progress, Silent

__all__ = [
    "FlowerDataset",
    "Photos",
    "get_data",
    "read_data",
    "read_labels",
    "split_validation",
    "to_pairs",
    "with_twins",
]

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

SPLIT_SEED = 42
TRAIN_SHARE = 0.9
VALIDATION_EVERY = 20

_READER_VERSION = 1
_CHUNK_BYTES = 1 << 22


@dataclass(frozen=True)
class Photos:
    """Decoded photos, in the order of their archive.

    Attributes:
        source: The archive or folder they came from.
        names: The N member names or relative paths.
        rgb: uint8 RGB [N, S, S, 3], squeezed to a square.
        sizes_px: int32 [N, 2], height and width before that.
        fingerprint: Names the source's content; equal sources have equal ones.
    """

    source: Path
    names: tuple[str, ...]
    rgb: npt.NDArray[np.uint8]
    sizes_px: npt.NDArray[np.int32]
    fingerprint: str

    @property
    def grey(self) -> npt.NDArray[np.uint8]:
        """uint8 [N, S, S], the grey version of `rgb` as OpenCV makes it; made at each call."""
        return np.stack([cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in self.rgb])


class FlowerDataset(Dataset[tuple[Tensor, Tensor, tuple[int, int]]]):
    """Pairs of grey and true picture, with the photo's original size.

    Args:
        photos: The decoded photos.
        indices: Which of them belong to this set, in this order; all by default.
        rgb: The pictures as a tensor, such as a copy on a GPU; those of `photos` by default.
    """

    def __init__(
        self,
        photos: Photos,
        indices: Sequence[int] | Tensor | None = None,
        rgb: Tensor | None = None,
    ) -> None:
        self.photos = photos
        self.indices = torch.as_tensor(range(len(photos.names)) if indices is None else indices)
        self._rgb = torch.from_numpy(photos.rgb) if rgb is None else rgb
        self._places = self.indices.to(self._rgb.device)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """Grey float [1, S, S], RGB float [3, S, S], both in 0 to 1, and (height, width)."""
        grey, real = self.batch([range(len(self))[index]])
        height, width = self.photos.sizes_px[self.indices[index]]
        return grey[0], real[0], (int(height), int(width))

    @property
    def names(self) -> list[str]:
        """The photos' names, in the order of this set."""
        return [self.photos.names[index] for index in self.indices]

    def subset(self, positions: Sequence[int] | Tensor) -> "FlowerDataset":
        """The pictures at these positions of this set, as a set of their own."""
        return FlowerDataset(
            self.photos, self.indices[torch.as_tensor(positions, dtype=torch.long)], self._rgb
        )

    def without(self, names: Collection[str]) -> "FlowerDataset":
        """This set without the photos of these names."""
        return self.subset([i for i, name in enumerate(self.names) if name not in names])

    def pixels(self, positions: Sequence[int] | Tensor) -> Tensor:
        """The pictures as they are stored, uint8 RGB [B, S, S, 3]."""
        return self._rgb[self._places[torch.as_tensor(positions)]]

    @property
    def device(self) -> torch.device:
        """Where the pictures lie. Positions that lie elsewhere make a GPU wait for them."""
        return self._rgb.device

    def batch(self, positions: Sequence[int] | Tensor) -> tuple[Tensor, Tensor]:
        """Grey [B, 1, S, S] and RGB [B, 3, S, S], float32 in 0 to 1, channels last in memory.

        Args:
            positions: Which pictures of this set.
        """
        return to_pairs(self.pixels(positions))


def to_pairs(
    rgb: Tensor, flips: Tensor | None = None, crops: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Grey [B, 1, S, S] and RGB [B, 3, S, S], float32 in 0 to 1, channels last in memory.

    Computed where the pictures are, so that on a GPU bytes travel and floats do not.

    Args:
        rgb: uint8 RGB [B, S, S, 3].
        flips: bool [B], which of them to mirror.
        crops: float [B, 3] in 0 to 1, what to enlarge to the whole: the side of a square, as
            a share of the picture's, and where between left and right, and top and bottom,
            it lies.
    """
    rgb = rgb.permute(0, 3, 1, 2)
    if flips is not None:
        rgb = torch.where(flips[:, None, None, None], rgb.flip(-1), rgb)
    if crops is not None:
        side, *place = crops.unbind(1)
        theta = torch.diag_embed(torch.stack((side, side), dim=1))
        shift = torch.stack(place, dim=1) * 2 - 1
        theta = torch.cat((theta, (shift * (1 - side[:, None]))[:, :, None]), dim=2)
        grid = F.affine_grid(theta, list(rgb.shape), align_corners=False)
        # To the outermost pixels' middles: the padding "border", which MPS lacks before torch 2.13.
        grid = grid.clamp(1 / rgb.shape[-1] - 1, 1 - 1 / rgb.shape[-1])
        rgb = F.grid_sample(rgb.float(), grid, align_corners=False)
        rgb = rgb.round().to(torch.uint8)
    return luma_u8(rgb).float() / 255, rgb.float() / 255


def split_validation(train_set: FlowerDataset) -> tuple[FlowerDataset, FlowerDataset]:
    """The training set without a twentieth of it, and that twentieth, to choose settings on.

    Taken by photo number, so that leaving some photos out moves no other from side to side.

    Raises:
        DataError: There are too few photos for both.
    """
    held = train_set.indices % VALIDATION_EVERY == 0
    if held.all() or not held.any():
        raise DataError(
            f"{train_set.photos.source}: {len(train_set)} training photos are too few to keep one "
            f"in {VALIDATION_EVERY} apart for validation; leave --validation out, or give more"
        )
    return train_set.subset((~held).nonzero()[:, 0]), train_set.subset(held.nonzero()[:, 0])


def get_data(
    source: Path, size_px: int = 128, progress: Progress | None = None
) -> tuple[FlowerDataset, FlowerDataset]:
    """The training and the test set of an archive or folder: 90 and 10 percent.

    The split is `random_split` under manual seed 42 over the photos in archive order, so
    that scores compare with those that others got from the same split.

    Raises:
        DataError: There are no two photos to be had from `source`.
    """
    photos = read_data(source, size_px, progress)
    count = len(photos.names)
    if count < 2:
        raise DataError(f"{source}: found {count} photo; a training and a test set need 2 or more")
    n_train = min(max(1, int(TRAIN_SHARE * count)), count - 1)
    rng = torch.Generator().manual_seed(SPLIT_SEED)
    train, test = random_split(range(count), [n_train, count - n_train], generator=rng)  # type: ignore[arg-type, var-annotated]
    return FlowerDataset(photos, train.indices), FlowerDataset(photos, test.indices)


def read_data(source: Path, size_px: int = 128, progress: Progress | None = None) -> Photos:
    """The photos of an archive (tar, compressed or not) or of a folder and those below it.

    Hidden files and folders in it, whose names begin with a dot, are passed over.

    The first call decodes them with OpenCV into the cache; later ones map that file and take
    well under a second. A cached file that was cut or altered is noticed and made anew.

    Args:
        source: The archive or folder. Folders are read in the order of their sorted paths.
        size_px: Side of the square that each photo is resized to, by `cv2.resize`.
        progress: Told of each photo, and of photos that are broken and left out.

    Raises:
        DataError: `source` is missing, is no archive, is cut off or holds no photo.
        StorageError: The cache cannot be written.
    """
    progress = progress or Silent()
    pictures = _pictures_below(source) if source.is_dir() else None
    fingerprint = _fingerprint(source, pictures)
    pixels = paths.cache_dir() / "photos" / f"{fingerprint}-{size_px}-v{_READER_VERSION}.u8"
    index = pixels.with_suffix(".json")
    if not _is_whole(pixels, index):
        _decode_all(source, pictures, size_px, pixels, index, progress=progress)
    listing = json.loads(index.read_text(encoding="utf-8"))
    shape = (len(listing["names"]), size_px, size_px, 3)
    return Photos(
        source=source,
        names=tuple(listing["names"]),
        # Copy-on-write: torch wants memory that could be written, the file must not change.
        rgb=np.memmap(pixels, dtype=np.uint8, mode="c", shape=shape),
        sizes_px=np.array(listing["sizes_px"], dtype=np.int32),
        fingerprint=fingerprint,
    )


def read_labels(path: Path, photos: Photos) -> Tensor:
    """The class of each photo, int64 [N]: the place of its name among the sorted ones.

    Args:
        path: A CSV file with a header and, among others, the columns `file`, the photo's name,
            and `class`, any text. Rows of other photos do not matter.
        photos: The N photos, each of which must have a class.

    Raises:
        DataError: The file cannot be read, is no such table, or leaves photos without a class.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            columns = table.fieldnames or ()
            classes = {row.get("file"): row.get("class") for row in table}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a CSV table: {one_line(error)}") from error
    if not {"file", "class"} <= set(columns):
        raise DataError(
            f"{path}: expected a CSV table with the columns file and class, the name and the "
            f"class of a photo on each line; its first line has {', '.join(columns) or 'nothing'}"
        )
    missing = [name for name in photos.names if not classes.get(name)]
    if missing:
        raise DataError(
            f"{path}: names no class for {len(missing):,} of the {len(photos.names):,} photos of "
            f"{photos.source}, such as {missing[0]}; expected one for each, by that name; the "
            f"table begins with {next(iter(classes), None)}"
        )
    texts = [classes[name] or "" for name in photos.names]
    number = {text: place for place, text in enumerate(sorted(set(texts)))}
    return torch.tensor([number[text] for text in texts])


def with_twins(path: Path, dataset: FlowerDataset, others: FlowerDataset) -> list[str]:
    """The photos of a set that have a twin in another.

    Args:
        path: A text file of pairs: the names of two photos, a tab between them, on each line.
        dataset: The photos to look among.
        others: Where their twins may be.

    Raises:
        DataError: The file cannot be read, is no list of pairs, or is one of other photos.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text: {error}") from error
    pairs = [tuple(line.split("\t")) for line in lines if line.strip()]
    if any(len(pair) != 2 for pair in pairs):
        raise DataError(f"{path}: expected two names with a tab between them on each line")
    own, foreign = set(dataset.names), set(others.names)
    if not any(name in own or name in foreign for pair in pairs for name in pair):
        raise DataError(
            f"{path}: names none of the photos of {dataset.photos.source}; they are named like "
            f"{dataset.photos.names[0]}"
        )
    twins = {one for one, other in pairs if other in foreign}
    twins |= {other for one, other in pairs if one in foreign}
    return [name for name in dataset.names if name in twins]


def _pictures_below(folder: Path) -> list[Path]:
    """The paths of its picture files, relative to it and sorted."""
    below = ((path, path.relative_to(folder)) for path in folder.rglob("*"))
    return sorted(name for path, name in below if _is_picture(name) and path.is_file())


def _is_picture(path: Path) -> bool:
    """Whether a path within the source ends like that of a photo, and no part of it is hidden.

    OpenCV decodes fewer formats than `images.is_picture` knows.
    """
    hidden = any(part.startswith(".") and part != ".." for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden


def _fingerprint(source: Path, pictures: list[Path] | None) -> str:
    """A name for the source's content, from what is cheap to see of it.

    Here and below, `pictures` are those of a folder, and None for an archive.
    """
    digest = hashlib.blake2b(digest_size=12)
    if pictures is not None:
        for picture in pictures:
            stat = (source / picture).stat()
            name = picture.as_posix()
            digest.update(os.fsencode(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\0"))
    elif source.is_file():
        with source.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            # The ends of a compressed archive hold its first photos and its checksum.
            for start in (0, max(0, size - _CHUNK_BYTES)):
                file.seek(start)
                digest.update(file.read(_CHUNK_BYTES))
            digest.update(str(size).encode())
    else:
        raise DataError(
            f"{source}: no such file or folder; expected an archive of photos or a folder "
            "of them (`flowercolor download` fetches the Oxford 102 flowers)"
        )
    return digest.hexdigest()


def _is_whole(pixels: Path, index: Path) -> bool:
    try:
        expected = json.loads(index.read_text(encoding="utf-8"))["crc32"]
        return bool(_crc32(pixels) == expected)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _crc32(path: Path) -> int:
    crc = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            crc = zlib.crc32(chunk, crc)
    return crc


def _decode_all(
    source: Path,
    pictures: list[Path] | None,
    size_px: int,
    pixels: Path,
    index: Path,
    *,
    progress: Progress,
) -> None:
    names: list[str] = []
    sizes_px: list[tuple[int, int]] = []
    crc = 0
    count = None if pictures is None else len(pictures)
    workers = os.cpu_count() or 1
    # OpenCV decodes outside the interpreter's lock, so threads are as good as processes
    # here and need no copies. A short queue keeps the memory small.
    waiting: deque[tuple[str, Future[_Decoded | None]]] = deque()
    with (
        ThreadPoolExecutor(workers) as pool,
        progress.task(f"Reading {source.name}", count, "photos") as task,
        replacing(pixels) as temporary,
        temporary.open("wb") as file,
    ):

        def take() -> None:
            nonlocal crc
            name, future = waiting.popleft()
            decoded = future.result()
            task.advance()
            if decoded is None:
                progress.note(f"{source}: {name} is not a readable picture; left out")
                return
            square, size = decoded
            names.append(name)
            sizes_px.append(size)
            raw = square.tobytes()
            crc = zlib.crc32(raw, crc)
            with storage_errors(pixels):
                file.write(raw)

        for name, content in _contents(source, pictures):
            waiting.append((name, pool.submit(_decode, content, size_px)))
            if len(waiting) > 8 * workers:
                take()
        while waiting:
            take()
        if not names:
            raise DataError(
                f"{source}: no photos found; expected {', '.join(sorted(SUFFIXES))} files "
                "that are not hidden nor in a hidden folder"
            )
    write_text(index, json.dumps({"names": names, "sizes_px": sizes_px, "crc32": crc}))


_Decoded = tuple[npt.NDArray[np.uint8], tuple[int, int]]


def _decode(content: bytes, size_px: int) -> _Decoded | None:
    """RGB uint8 [S, S, 3] and the height and width before; None for what is no picture."""
    try:
        bgr = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    if bgr is None:
        return None
    height, width = bgr.shape[:2]
    square = cv2.cvtColor(cv2.resize(bgr, (size_px, size_px)), cv2.COLOR_BGR2RGB)
    return square.astype(np.uint8, copy=False), (height, width)


def _contents(source: Path, pictures: list[Path] | None) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each picture file, in order."""
    if pictures is not None:
        for picture in pictures:
            path = source / picture
            try:
                content = path.read_bytes()
            except OSError as error:
                raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
            yield picture.as_posix(), content
        return
    try:
        with tarfile.open(source, "r:*") as archive:
            for member in archive:
                if member.isfile() and _is_picture(Path(member.name)):
                    file = archive.extractfile(member)
                    assert file is not None  # it is a file
                    yield member.name, file.read()
            # Tar takes a damaged header for its end. The checksum of what is packed does
            # not, and it is compared once all has been read.
            assert archive.fileobj is not None  # it is open
            while archive.fileobj.read(_CHUNK_BYTES):
                pass
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        reason = str(error).partition("\n")[0].rstrip(":")
        raise DataError(
            f"{source}: not a whole tar archive ({reason}); expected a .tgz of photos: "
            "copy or download it again"
        ) from error
