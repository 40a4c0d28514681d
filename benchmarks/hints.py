"""What a hint does to the flower, to its likes and to the rest, and a palette to a series.

    python benchmarks/hints.py ARCHIVE [CHECKPOINT]

On the validation part of the archive, 128 px, at both ends of the vividness scale. The flower of a
photo is taken to be what has its most frequent strong hue that is not green, within 30 degrees, in
the middle of the picture; the hint lies in the middle of its largest part. The hinted petal is what
has the true chroma of that place within 20 levels and hangs together with it.
"""

import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from flowercolor.data.dataset import get_data, split_validation
from flowercolor.hints.guidance import Guidance
from flowercolor.hints.hint import Hint
from flowercolor.hints.palette import Palette
from flowercolor.inference.colorizer import Colorizer

Picture = npt.NDArray[Any]

PHOTOS = 300
OTHERS = ("crimson", "royalblue", "gold")


def say(line: str) -> None:
    """A line of the result."""
    sys.stdout.write(f"{line}\n")


def chroma_of(rgb: Picture) -> Picture:
    """Cb and Cr in levels of 255, [2, H, W]."""
    red, green, blue = np.moveaxis(rgb.astype(np.float32), -1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return np.stack(((blue - luma) / 1.772, (red - luma) / 1.402))


def flower_of(chroma: Picture) -> Picture | None:
    """Where the flower is, bool [H, W]; None where there is no clear one."""
    hue = np.degrees(np.arctan2(chroma[1], chroma[0])) % 360
    side = chroma.shape[-1]
    colored = (np.hypot(*chroma) > 25) & ~((hue > 190) & (hue < 262))
    colored[: side // 6] = colored[-side // 6 :] = False
    colored[:, : side // 6] = colored[:, -side // 6 :] = False
    if colored.sum() < 300:
        return None
    counts, _ = np.histogram(hue[colored], 12, (0, 360))
    near = np.abs((hue - 30 * (counts.argmax() + 0.5) + 180) % 360 - 180) < 30
    flower = colored & near
    return flower if flower.sum() >= 200 else None


def asked_of(color: str, luma: Picture) -> Picture:
    """The chroma that is asked for, as far as each luma allows, in levels, [2, H, W]."""
    cb, cr = Hint(0, 0, color).chroma()
    red, blue = 1.402 * cr, 1.772 * cb
    green = -(0.299 * red + 0.114 * blue) / 0.587
    room = [(1 - luma if d > 0 else luma) / max(abs(d), 1e-6) for d in (red, green, blue)]
    factor = np.minimum(np.min(room, axis=0), 1)
    return 255 * np.stack((cb * factor, cr * factor))


def one_hint(colorizer: Colorizer, photos: Picture) -> None:
    """Print what a hint on the flower does."""
    before: list[float] = []
    after: list[float] = []
    place, petal, petal_mean, likes, unlike = [], [], [], [], []
    for rgb in photos:
        real = chroma_of(rgb)
        flower = flower_of(real)
        if flower is None:
            continue
        gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        depth = cv2.distanceTransform(flower.astype(np.uint8), cv2.DIST_L2, 3)
        y, x = np.unravel_index(depth.argmax(), depth.shape)
        true = rgb[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2].reshape(-1, 3).mean(axis=0)
        automatic = colorizer(gray)
        hinted = colorizer(gray, hints=[Hint(int(x), int(y), [round(v) for v in true.tolist()])])
        for result, errors in ((automatic, before), (hinted, after)):
            errors.append(np.abs(result.astype(int) - rgb)[flower].mean() / 255)
        alike = flower & (np.hypot(*(real - real[:, y, x][:, None, None])) < 20)
        _, parts = cv2.connectedComponents(alike.astype(np.uint8))
        far = np.hypot(*(real - real[:, y, x][:, None, None])) > 51
        for color in OTHERS:
            moved = chroma_of(colorizer(gray, hints=[Hint(int(x), int(y), color)]))
            difference = moved - asked_of(color, gray / np.float32(255))
            off, hinted_petal = np.hypot(*difference), parts == parts[y, x]
            place.append(off[y, x])
            petal.append(off[hinted_petal].mean())
            petal_mean.append(np.hypot(*difference[:, hinted_petal].mean(axis=1)))
            likes.append(off[alike].mean())
            if far.sum() > 300:
                change = (moved - chroma_of(automatic))[:, far].mean(axis=1)
                unlike.append(np.hypot(*change))
    say(f"  {len(before)} photos with a clear flower")
    share = 1 - np.mean(after) / np.mean(before)
    say(f"  L1 of the flower {np.mean(before):.4f}, hinted {np.mean(after):.4f}: -{share:.0%}")
    say(f"  from the asked chroma at the place: {np.mean(place):.1f} levels")
    for name, values in (
        ("each pixel of the hinted petal", petal),
        ("that petal's mean chroma", petal_mean),
        ("each pixel of all that is like it", likes),
    ):
        say(f"  from it, {name}: median {np.median(values):.1f}, mean {np.mean(values):.1f}")
    say(f"  unlike parts moved by {np.mean(unlike):.1f}, median {np.median(unlike):.1f}")


def series(colorizer: Colorizer, photos: Picture) -> None:
    """Print the spread of the mean hue over near copies of a photo, without and with a palette."""
    spreads: dict[str, list[float]] = {"automatic": [], "--like": []}
    for rgb in photos[::6]:
        gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        copies = [gray, cv2.convertScaleAbs(gray, alpha=0.9), cv2.convertScaleAbs(gray, alpha=1.1)]
        copies += [gray[6:, 6:], gray[:-6, :-6], gray[3:-3, 3:-3]]
        reference = colorizer(gray)
        guidance = {
            "automatic": Guidance(),
            "--like": Guidance(palette=Palette.of_pixels(reference)),
        }
        for name, led in guidance.items():
            chroma = [chroma_of(colorizer.render(copy, guidance=led)) for copy in copies]
            vectors = np.array([c.reshape(2, -1).mean(axis=1) for c in chroma])
            hues = np.arctan2(vectors[:, 1], vectors[:, 0])
            length = min(1.0, np.hypot(np.cos(hues).mean(), np.sin(hues).mean()))
            spreads[name].append(np.degrees(np.sqrt(-2 * np.log(max(length, 1e-9)))))
    for name, values in spreads.items():
        say(
            f"  spread of the mean hue over near copies, {name}: median {np.median(values):.1f}, "
            f"mean {np.mean(values):.1f} degrees"
        )


def many(colorizer: Colorizer) -> None:
    """Print what 500 hints on 12 megapixels cost."""
    rng = np.random.default_rng(0)
    gray = cv2.resize(rng.integers(0, 256, (75, 100), np.uint8), (4000, 3000))
    places = rng.random((500, 2)) * (4000, 3000)
    hints = [Hint(float(x), float(y), "crimson") for x, y in places]
    times = []
    for some in ([], hints[:1], hints, [], hints[:1], hints):
        began = time.perf_counter()
        colorizer(gray, hints=some)
        times.append(time.perf_counter() - began)
    none, one, all_of_them = times[3:]
    say(f"  12 megapixels: {none:.2f} s, with a hint {one:.2f}, with 500 {all_of_them:.2f}")


def main() -> None:
    """Measure at both ends."""
    checkpoint = sys.argv[2] if len(sys.argv) > 2 else None
    train_set, _ = get_data(Path(sys.argv[1]), 128)
    _, validation = split_validation(train_set)
    positions = np.linspace(0, len(validation) - 1, min(PHOTOS, len(validation))).astype(int)
    real = validation.batch(positions.tolist())[1]
    photos = (real.numpy() * 255).round().astype(np.uint8).transpose(0, 2, 3, 1).copy()
    for vividness in (0.0, 1.0):
        say(f"vividness {vividness:g}")
        colorizer = Colorizer.from_checkpoint(checkpoint, vividness=vividness)
        one_hint(colorizer, photos)
        series(colorizer, photos)
    many(colorizer)


if __name__ == "__main__":
    main()
