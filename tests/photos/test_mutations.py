"""Damaged and hostile photo files in great number: each is read, or refused in one line.

python -m pytest -m slow -s tests/photos/test_mutations.py  # 20,000 and more, with a report
"""

import io
import re
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from flowercolor.errors import ImageError
from flowercolor.inference.planning import plan
from flowercolor.photos.reader import Photo, read_photo
from flowercolor.photos.writer import encode_photo
from tests.pictures import camera_exif, deep_png, noise, saved, smooth

FEW = 12
MANY = 1000
"""Of each file in `whole_files`."""

PER_FOLDER = 500
LONGEST_S = 10.0
MOST_MEMORY_MB = 1200
"""Beyond what the process had: what a photo takes that is as large as the largest claim."""

WIDTH_PX, HEIGHT_PX = 80, 64
CLAIMS_PX = ((1, 16_000), (16_000, 1), (2_000, 2_000), (16_000, 16_000))

EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
CHECKED = ("png", "deflate.tif")
"""Those whose pixels have checksums."""

MEMORY = Path("/proc/self")


def whole_files() -> dict[str, bytes]:
    """A file of each kind, by a name that ends like one."""
    speckled = smooth(HEIGHT_PX, WIDTH_PX) // 2 + noise(HEIGHT_PX, WIDTH_PX, 3) // 4
    picture = Image.fromarray(speckled)
    frames = [Image.fromarray(np.roll(speckled, 9 * k, 1)) for k in range(3)]
    deep = speckled.astype(np.uint16) * 257
    exif = camera_exif()
    several = {"save_all": True, "append_images": frames[1:]}
    heif = pillow_heif.from_pillow(picture)
    heif.save(kept := io.BytesIO())
    files = {
        "baseline.jpg": saved(picture, "JPEG", exif=exif),
        "progressive.jpg": saved(picture, "JPEG", progressive=True),
        "gray.jpg": saved(picture.convert("L"), "JPEG"),
        "cmyk.jpg": saved(picture.convert("CMYK"), "JPEG"),
        "gray.png": saved(picture.convert("L"), "PNG"),
        "rgba.png": saved(picture.convert("RGBA"), "PNG", exif=exif),
        "palette.png": saved(picture.convert("P"), "PNG", transparency=3),
        "deep.png": deep_png(deep),
        "deep-gray.png": deep_png(deep[..., :1]),
        "plain.tif": saved(picture, "TIFF", exif=exif),
        "deep.tif": encode_photo(deep, "TIFF", software="scanner 1.0"),
        "pages.tif": saved(frames[0], "TIFF", compression="tiff_lzw", **several),
        "deflate.tif": saved(picture, "TIFF", compression="tiff_adobe_deflate"),
        "packbits.tif": saved(picture.convert("L"), "TIFF", compression="packbits"),
        "jpeg.tif": saved(picture, "TIFF", compression="jpeg"),
        "fax.tif": saved(picture.convert("1"), "TIFF", compression="group4"),
        "lossy.webp": saved(picture, "WEBP", exif=exif),
        "lossless.webp": saved(picture.convert("RGBA"), "WEBP", lossless=True),
        "animated.webp": saved(frames[0], "WEBP", **several),
        "rgb.bmp": saved(picture, "BMP"),
        "palette.bmp": saved(picture.convert("P"), "BMP"),
        "one.gif": saved(picture, "GIF"),
        "animated.gif": saved(frames[0], "GIF", **several),
        "phone.heic": kept.getvalue(),
    }
    return files | ({"photo.avif": saved(picture, "AVIF")} if "AVIF" in Image.SAVE else {})


def truncated(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: rng.integers(1, len(content))]


def with_flipped_bits(content: bytes, rng: np.random.Generator) -> bytes:
    damaged = bytearray(content)
    for at in rng.integers(0, len(content), rng.choice((1, 1, 2, 8, 64))):
        damaged[at] ^= 1 << int(rng.integers(8))
    return bytes(damaged)


def with_block(content: bytes, rng: np.random.Generator) -> bytes:
    """A block of a disk is zeros, or of another file."""
    start = int(rng.integers(len(content)))
    length = int(rng.choice((16, 64, 512, len(content))))
    length = len(content[start : start + length])
    block = bytes(length) if rng.random() < 0.5 else rng.bytes(length)
    return content[:start] + block + content[start + length :]


def shifted(content: bytes, rng: np.random.Generator) -> bytes:
    """Bytes were lost in the middle, or come twice."""
    start, other = sorted(int(at) for at in rng.integers(0, len(content), 2))
    if rng.random() < 0.5:
        return content[:start] + content[other:]
    return content[:other] + content[start:]


def with_hostile_header(content: bytes, rng: np.random.Generator) -> bytes:
    """Fields of the first 300 bytes, or the last, where a TIFF may have them, are extreme."""
    damaged = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        width = int(rng.choice((1, 2, 4)))
        near = int(rng.integers(min(300, len(content) - 4)))
        at = near if rng.random() < 0.7 else len(content) - 4 - near
        value = int(rng.choice(EXTREMES)) & ((1 << 8 * width) - 1)
        damaged[at : at + width] = value.to_bytes(width, "little" if rng.random() < 0.5 else "big")
    return resealed(bytes(damaged))


def claiming(content: bytes, rng: np.random.Generator) -> bytes:
    """Wherever the header may say the size, it says another."""
    old = WIDTH_PX, HEIGHT_PX
    new = CLAIMS_PX[rng.choice(4, p=(0.33, 0.33, 0.33, 0.01))]
    packings: tuple[Callable[[int, int], bytes], ...] = (
        *(partial(struct.pack, code) for code in (">II", "<II", ">HH", "<HH")),
        lambda height, width: struct.pack(">HH", width, height),
        lambda width, height: struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3],
        lambda width, height: b"/" + struct.pack("<I", (width - 1) | (height - 1) << 14)[:3],
    )
    for packed in packings:
        content = content.replace(packed(*old), packed(*new))
    for tag, kind, k in product((256, 257), (3, 4), (0, 1)):
        entry = struct.pack("<HHI", tag, kind, 1)
        content = content.replace(
            entry + old[k].to_bytes(4, "little"), entry + (new[k].to_bytes(4, "little"))
        )
    return resealed(content)


def resealed(content: bytes) -> bytes:
    """Where it is a PNG, with chunks whose checksums fit, so that the decoder goes on."""
    if not content.startswith(b"\x89PNG"):
        return content
    sealed = bytearray(content)
    at = 8
    while at + 12 <= len(sealed):
        end = at + 8 + int.from_bytes(sealed[at : at + 4], "big")
        if end + 4 > len(sealed):
            break
        sealed[end : end + 4] = struct.pack(">I", zlib.crc32(sealed[at + 4 : end]))
        at = end + 4
    return bytes(sealed)


Mutation = Callable[[bytes, np.random.Generator], bytes]
MUTATIONS: tuple[Mutation, ...] = (
    truncated,
    with_flipped_bits,
    with_block,
    shifted,
    with_hostile_header,
    claiming,
)
HOSTILE = ("with_hostile_header", "claiming")
"""Those that make the checksums fit."""


def mutated(
    files: dict[str, bytes], count: int, seed: int = 0
) -> Iterator[tuple[str, Mutation, bytes]]:
    """Of each file so many damaged ones, with what was done; the same for the same seed."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        for name, content in files.items():
            mutation = MUTATIONS[number % len(MUTATIONS)]
            yield name, mutation, mutation(content, rng)


@dataclass
class Report:
    """What became of the files.

    Attributes:
        tried: How many, by kind of damage.
        refusals: How many, by message.
        changed: How many were read, with other pixels than those of the whole file, by the
            whole file's name and the damage.
        faults: What should not be, a line each.
        slowest_s: The longest that one took, and its name.
        memory_mb: The most that one took beyond what was taken before it, and its name.
    """

    tried: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    changed: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest_s: tuple[float, str] = (0, "")
    memory_mb: tuple[float, str] = (0, "")

    def lines(self) -> Iterator[str]:
        yield f"{self.tried.total()} files: {dict(self.tried)}"
        yield f"refused: {self.refusals.total()}"
        yield from (f"{count:6d}  {message}" for message, count in self.refusals.most_common(40))
        yield f"read, with other pixels than the whole file: {self.changed.total()}"
        for name in whole_files():
            damages = {mutation: n for (of, mutation), n in self.changed.items() if of == name}
            yield f"{sum(damages.values()):6d}  {name}: {damages}"
        yield f"slowest: {self.slowest_s}; most memory, MB: {self.memory_mb}"
        yield f"faults: {self.faults}"


def peak_mb(*, anew: bool = False) -> float:
    """The most memory that the process had, on Linux since it was last asked `anew`; else 0."""
    if not (MEMORY / "clear_refs").exists():
        return 0
    if anew:
        (MEMORY / "clear_refs").write_text("5")
    found = re.search(r"VmHWM:\s+(\d+)", (MEMORY / "status").read_text())
    return int(found[1]) / 1024 if found else 0


def try_all(count: int, folder: Path) -> Report:
    """Have the damaged files planned and read, as `colorize` does, a folder after the other."""
    files = whole_files()
    whole = {name: read_photo(content) for name, content in files.items()}
    report = Report()
    made: dict[Path, tuple[str, str]] = {}
    for number, (name, mutation, content) in enumerate(mutated(files, count)):
        path = folder / f"{number}-{name}"
        path.write_bytes(content)
        made[path] = name, mutation.__name__
        if len(made) == PER_FOLDER or number == count * len(files) - 1:
            for job in plan(folder):
                try_one(job.source, *made.pop(job.source), whole, report)
                job.source.unlink()
            assert not made, "a photo was left out of the plan"
    return report


def try_one(path: Path, name: str, mutation: str, whole: dict[str, Photo], report: Report) -> None:
    report.tried[mutation] += 1
    before_mb = peak_mb(anew=True)
    start_s = time.perf_counter()
    try:
        photo = read_photo(path)
    except ImageError as error:
        message = str(error)
        if "\n" in message or not message.startswith(f"{path}: ") or "expected" not in message:
            report.faults.append(f"no such line: {message}")
        message = re.sub(r"b'.*'|b\".*\"", "…", message.removeprefix(f"{path}: "))
        report.refusals[re.sub(r"\d+", "N", message)[:110]] += 1
    except Exception as error:
        report.faults.append(f"{path.name}: {mutation}: {error!r}")
    else:
        same = photo.luma.shape == whole[name].luma.shape
        if not (same and np.array_equal(photo.luma, whole[name].luma)):
            report.changed[name, mutation] += 1
            if name.endswith(CHECKED) and mutation not in HOSTILE:
                report.faults.append(f"{path.name}: {mutation}: was taken for whole")
    report.slowest_s = max(report.slowest_s, (time.perf_counter() - start_s, f"{name} {mutation}"))
    report.memory_mb = max(report.memory_mb, (peak_mb() - before_mb, f"{name} {mutation}"))


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore")
def test_damaged_and_hostile_files_are_read_or_refused_in_a_line(
    count: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    report = try_all(count, folder)
    capfd.readouterr()  # what C libraries say of them
    if count == MANY:
        with capfd.disabled():
            sys.stdout.write("\n".join(("", *report.lines(), "")))
    assert report.faults == []
    assert report.slowest_s < (LONGEST_S,)
    assert report.memory_mb < (MOST_MEMORY_MB,)
