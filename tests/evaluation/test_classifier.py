from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from flowercolor import paths
from flowercolor.color import to_rgb
from flowercolor.data.dataset import FlowerDataset, read_labels
from flowercolor.data.photo_cache import Photos
from flowercolor.errors import DataError, StorageError
from flowercolor.evaluation.classifier import Recipe, load_classifier, recognized
from flowercolor.evaluation.scoring import GRAY, TRUTH, Method, evaluate, summarize
from tests.helpers import Recorder

COUNT, CLASSES = 36, 3
LABELS = torch.arange(COUNT) % CLASSES
CHROMAS = torch.tensor([(0.15, -0.15), (-0.15, 0.15), (-0.1, -0.15)])


# The shipped rate is for larger batches: with these it is luck whether 40 steps suffice.
# In bfloat16 the same steps do not always give the same bits.
QUICK = Recipe(16, 16, epochs=20, batch_size=12, lr=0.01, precision="float32")
BRIEF = QUICK._replace(epochs=1)


def color(gray: Tensor, labels: Tensor) -> Tensor:
    """Give each picture [B, 1, H, W] the chroma of its class."""
    return to_rgb(gray, CHROMAS[labels][:, :, None, None].expand(-1, -1, *gray.shape[-2:]))


@pytest.fixture(scope="module")
def flowers() -> Photos:
    """Noise in the color of its class, which is all that tells the classes apart."""
    gray = 0.4 + 0.2 * torch.rand(COUNT, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    rgb = (255 * color(gray, LABELS)).round().byte().permute(0, 2, 3, 1).numpy()
    names = tuple(f"jpg/{number}.jpg" for number in range(COUNT))
    return Photos(Path("made-up.tgz"), names, rgb, np.full((COUNT, 2), 16, np.int32), "made-up")


@pytest.fixture
def train_set(flowers: Photos) -> FlowerDataset:
    return FlowerDataset(flowers, range(24))


@pytest.fixture
def test_set(flowers: Photos) -> FlowerDataset:
    return FlowerDataset(flowers, range(24, COUNT))


def files() -> list[Path]:
    return list((paths.cache_dir() / "classifiers").iterdir())


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(*pair) for pair in pairs)


# ---- labels ----


def write(path: Path, *rows: str, header: str = "file,class,name") -> Path:
    path.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
    return path


def test_a_photo_has_the_class_that_stands_beside_its_name(photos: Photos, tmp_path: Path) -> None:
    """In any order, with any names of classes, other photos and columns, as spreadsheets write."""
    kinds = ["rose", "10", "9"]
    rows = [f"{name},{kinds[place % 3]}" for place, name in enumerate(photos.names)]
    table = write(
        tmp_path / "labels.csv", "other.jpg,tulip", *rows[::-1], header="\ufefffile,class"
    )
    assert read_labels(table, photos).tolist() == [2, 0, 1] * 4
    table.write_text(table.read_text().replace(",", ";"))
    assert read_labels(table, photos).tolist() == [2, 0, 1] * 4


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file; expected a CSV table with the columns file and class"),
        (b"\xff\xfe\x00", "is not in UTF-8; save it so, in Excel as CSV UTF-8"),
        (b"", "its first line has nothing"),
        (b"photo,class\n", "its first line has photo, class; .*the columns file and class"),
        (
            b"file,class\n",
            "has its first line alone, no photo below it; expected a CSV table",
        ),
        (
            b"file,class\n1.jpg,7\n",
            "no class for 12 of the 12 .* of .*flowers.tgz, such as jpg/image_00001.jpg",
        ),
        (b"file,class\njpg/image_00001.jpg,7\n", "for 11 of the 12 .*such as jpg/image_00002.jpg"),
        (b"file,class\njpg/image_00001.jpg\njpg/image_00002.jpg,\n", "no class for 12 of the 12"),
    ],
)
def test_what_is_no_table_of_all_classes_is_refused(
    content: bytes | None, said: str, photos: Photos, tmp_path: Path
) -> None:
    table = tmp_path / "labels.csv"
    if content is not None:
        table.write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        read_labels(table, photos)
    assert str(caught.value).startswith(f"{table}: ")
    assert "\n" not in str(caught.value)


# ---- the classifier ----


@pytest.mark.slow
def test_it_knows_true_photos_and_not_gray_ones(
    train_set: FlowerDataset, test_set: FlowerDataset
) -> None:
    """And so tells who gives flowers their own colors, and who those of another."""
    classifier = load_classifier(train_set, LABELS, recipe=QUICK)
    labels = LABELS[test_set.indices]
    place = iter(labels.split(4))

    def right(gray: Tensor) -> Tensor:
        return color(gray, next(place))

    methods: dict[str, Method] = {
        "right": right,
        "one color": lambda gray: color(gray, torch.zeros(len(gray), dtype=torch.int64)),
        GRAY: lambda gray: gray.expand(-1, 3, -1, -1),
    }
    judge = partial(recognized, classifier, labels, recipe=QUICK)
    rows = evaluate(methods, test_set, batch_size=4, recognizer=judge)
    for row in rows.values():
        assert set(row["recognized"].tolist()) <= {0, 1}
    summary = summarize(rows)
    means = {name: scores["recognized"].mean for name, scores in summary.items()}
    chance = 1 / CLASSES
    assert means[TRUTH] == means["right"] == 1
    assert means[GRAY] <= chance + 0.01
    assert means["one color"] == pytest.approx(chance)
    assert summary[TRUTH]["recovered"] == summary["right"]["recovered"] == (1, 1, 1)
    assert summary[GRAY]["recovered"] == (0, 0, 0)


def test_it_is_trained_once_and_by_the_training_photos_alone(
    train_set: FlowerDataset, flowers: Photos
) -> None:
    progress = Recorder()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = load_classifier(train_set, LABELS, recipe=BRIEF, progress=progress)
    assert torch.equal(torch.get_rng_state(), before), "the caller's random numbers are used up"
    assert same(load_classifier(train_set, LABELS, recipe=BRIEF, progress=progress), first)
    [task] = progress.tasks
    assert task.done == task.total == 2
    [file] = files()

    # Without the file it comes out the same.
    file.unlink()
    torch.manual_seed(6)
    assert same(load_classifier(train_set, LABELS, recipe=BRIEF), first)
    assert files() == [file]

    # Other photos and other classes make other classifiers.
    load_classifier(FlowerDataset(flowers, range(23)), LABELS, recipe=BRIEF)
    load_classifier(train_set, LABELS.flip(0), recipe=BRIEF)
    assert len(files()) == 3
    # It trained in training mode, and judges in the other.
    assert first.get_buffer("bn1.num_batches_tracked") == 2
    assert not first.training


@pytest.mark.parametrize("content", [b"", b"damaged", None])
def test_a_damaged_file_is_made_again(content: bytes | None, train_set: FlowerDataset) -> None:
    first = load_classifier(train_set, LABELS, recipe=BRIEF)
    [file] = files()
    whole = file.read_bytes()
    file.write_bytes(whole[:-100] if content is None else content)
    assert same(load_classifier(train_set, LABELS, recipe=BRIEF), first)
    assert file.read_bytes() == whole


def test_a_cache_that_takes_no_files_is_reported(train_set: FlowerDataset) -> None:
    paths.cache_dir().mkdir()
    (paths.cache_dir() / "classifiers").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        load_classifier(train_set, LABELS, recipe=BRIEF)


def test_one_photo_is_enough(flowers: Photos) -> None:
    """At its own size, at which no batch is too small for batch norm."""
    brief = Recipe(epochs=1)
    alone = FlowerDataset(flowers, [4])
    judge = partial(recognized, load_classifier(alone, LABELS, recipe=brief), LABELS[[4]])
    assert evaluate({}, alone, recognizer=judge)[TRUTH]["recognized"].shape == (1,)
