import dataclasses
import os
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, random_split
from torchvision.transforms.functional import to_tensor

from flowercolor.data.dataset import (
    FlowerDataset,
    get_data,
    notes_on_gray,
    read_column,
    read_labels,
    split,
    split_validation,
    to_pairs,
    with_twins,
)
from flowercolor.data.photo_cache import Photos
from flowercolor.data.sources import merge
from flowercolor.errors import DataError
from flowercolor.evaluation.by_kind import read_kinds
from tests.helpers import Recorder
from tests.pictures import plainly_decoded

SIZE_PX = 16


# Splitting


@pytest.mark.parametrize(
    ("count", "train_count"), [(8189, 7370), (12, 10), (10, 9), (3, 2), (2, 1)]
)
def test_the_split_is_the_usual_one(photos: Photos, count: int, train_count: int) -> None:
    """Others make it by `torch.manual_seed(42)` before `random_split`."""
    many = dataclasses.replace(
        photos,
        names=tuple(f"image_{number:05}.jpg" for number in range(count)),
        rgb=np.zeros((count, 1, 1, 3), np.uint8),
        sizes_px=np.ones((count, 2), np.int32),
    )
    before = torch.get_rng_state()
    train_set, test_set = split(many)
    assert torch.equal(torch.get_rng_state(), before), "the caller's random numbers were used"

    with torch.random.fork_rng():
        torch.manual_seed(42)
        train, test = random_split(range(count), [train_count, count - train_count])  # type: ignore[arg-type, var-annotated]
    assert train_set.indices.tolist() == list(train.indices)
    assert test_set.indices.tolist() == list(test.indices)


def test_one_photo_is_too_few(tmp_path: Path, pictures: dict[str, bytes]) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(next(iter(pictures.values())))
    with pytest.raises(DataError, match="found 1 photo; a training and a test set need 2"):
        get_data(tmp_path / "photos", SIZE_PX)


# Serving


def test_an_item_is_what_plain_opencv_and_torchvision_give(
    photos: Photos, pictures: dict[str, bytes]
) -> None:
    flowers = FlowerDataset(photos, [4, 0, 11])
    assert len(flowers) == 3
    assert flowers.names == ["jpg/image_00005.jpg", "jpg/image_00001.jpg", "jpg/image_00012.jpg"]
    for position, name in enumerate(flowers.names):
        rgb = plainly_decoded(pictures[name], SIZE_PX)
        gray, real, size = flowers[position]
        expected_gray = to_tensor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))
        torch.testing.assert_close(real, to_tensor(rgb), atol=1e-7, rtol=0)
        torch.testing.assert_close(gray, expected_gray, atol=1e-7, rtol=0)
        number = int(name[10:15])
        assert size == (40 + number, 60 - 2 * number)


def test_a_batch_is_its_items(photos: Photos) -> None:
    flowers = FlowerDataset(photos, [4, 0, 11, 7])
    for positions in ([3, 1], torch.tensor([3, 1])):
        gray, real = flowers.batch(positions)
        assert gray.shape == (2, 1, SIZE_PX, SIZE_PX)
        assert real.shape == (2, 3, SIZE_PX, SIZE_PX)
        assert real.is_contiguous(memory_format=torch.channels_last)
        for row, position in enumerate([3, 1]):
            assert torch.equal(gray[row], flowers[position][0])
            assert torch.equal(real[row], flowers[position][1])


def test_flips_mirror_the_chosen_pictures_and_their_gray(photos: Photos) -> None:
    flowers = FlowerDataset(photos)
    gray, real = flowers.batch([0, 1])
    flipped_gray, flipped_real = to_pairs(flowers.pixels([0, 1]), torch.tensor([True, False]))
    assert torch.equal(flipped_real[0], real[0].flip(-1))
    assert torch.equal(flipped_gray[0], gray[0].flip(-1))
    assert torch.equal(flipped_real[1], real[1])
    assert torch.equal(flipped_gray[1], gray[1])
    assert not torch.equal(flipped_real[0], real[0])


def test_a_crop_of_everything_changes_nothing(photos: Photos) -> None:
    pixels = FlowerDataset(photos).pixels([0, 1])
    gray, real = to_pairs(pixels, crops=torch.tensor([[1, 1, 0.3, 0.9], [1, 1, 0, 1]]))
    assert torch.equal(real, to_pairs(pixels)[1])
    assert torch.equal(gray, to_pairs(pixels)[0])


@pytest.mark.parametrize("left", [0, 1])
@pytest.mark.parametrize("top", [0, 1])
def test_a_crop_is_the_part_of_the_picture_it_names(photos: Photos, left: int, top: int) -> None:
    """Each corner of 8 px, enlarged to 16, as `interpolate` does it but at its rim."""
    pixels = FlowerDataset(photos).pixels([0])
    gray, cropped = to_pairs(pixels, crops=torch.tensor([[0.5, 0.5, left, top]]))
    part = pixels.permute(0, 3, 1, 2)[:, :, 8 * top : 8 * top + 8, 8 * left : 8 * left + 8]
    expected = nn.functional.interpolate(part / 255, scale_factor=2, mode="bilinear")
    inner = (..., slice(1, -1), slice(1, -1))
    assert (cropped - expected)[inner].abs().max() <= 0.51 / 255
    luma = 0.299 * cropped[:, 0] + 0.587 * cropped[:, 1] + 0.114 * cropped[:, 2]
    assert (gray[:, 0] - luma).abs().max() <= 0.51 / 255


def test_the_validation_part_is_a_twentieth_of_the_training_photos() -> None:
    rng = np.random.default_rng(0)
    count = 407
    rgb = rng.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
    names = tuple(map(str, range(count)))
    photos = Photos(Path(), names, rgb, np.full((count, 2), 16, np.int32), "made up")
    whole = FlowerDataset(photos, torch.randperm(count)[:360])
    learned, held = split_validation(whole)
    assert not learned.kept_for_validation.any()
    assert held.kept_for_validation.all()
    assert not merge([learned, learned]).kept_for_validation.any(), "counted within each source"
    assert sorted(learned.names + held.names) == sorted(whole.names)
    assert 10 < len(held) < 26
    # Who leaves some out holds back the same of the others.
    fewer = split_validation(whole.without(whole.names[:50]))[1]
    assert set(fewer.names) == set(held.names) - set(whole.names[:50])


def test_photos_can_be_left_out_by_name(photos: Photos) -> None:
    flowers = FlowerDataset(photos, [3, 1, 2])
    names = flowers.names
    for others in ([names[1], "unknown"], names[1]):
        assert flowers.without(others).names == [names[0], names[2]]
    assert flowers.without(f"old/{names[1]}").names == names
    assert torch.equal(flowers.without([names[0]]).batch([0])[1], flowers.batch([1])[1])


def test_positions_count_as_in_a_list(photos: Photos) -> None:
    flowers = FlowerDataset(photos, [5, 6])
    assert torch.equal(flowers[-1][1], flowers[1][1])
    with pytest.raises(IndexError):
        flowers[2]
    assert len(list(flowers)) == 2  # type: ignore[call-overload]


def test_a_pickled_dataset_is_the_same(photos: Photos) -> None:
    flowers = FlowerDataset(photos, [4, 0, 11])
    again = pickle.loads(pickle.dumps(flowers))
    assert again.names == flowers.names
    for one, other in zip(again.batch(range(3)), flowers.batch(range(3)), strict=True):
        assert torch.equal(one, other)


def test_a_dataset_goes_into_torchs_loader(photos: Photos) -> None:
    loader = DataLoader(FlowerDataset(photos), batch_size=5)
    assert [len(gray) for gray, _, _ in loader] == [5, 5, 2]


# Twins


def test_twins_are_those_across_the_split(photos: Photos, tmp_path: Path) -> None:
    train_set, test_set = FlowerDataset(photos, range(8)), FlowerDataset(photos, range(8, 12))
    names = photos.names
    pairs = [(0, 9), (8, 3), (10, 11), (1, 2)]
    listing = tmp_path / "twins.tsv"
    lines = "".join(f"{names[a]}\t{names[b]}\n" for a, b in pairs) + "x\ty\n\n"
    for separator in "\t;,":  # with a mark, as Windows writes
        listing.write_text(lines.replace("\t", separator), encoding="utf-8-sig")
        notes = Recorder()
        assert with_twins(listing, test_set, train_set, notes) == [names[8], names[9]]
        said = "2 of the 4 photos have a twin on the other side of the split"
        assert notes.notes == [f"{listing}: {said}"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file; expected two names with a tab"),
        (b"\xff\xfe\x00", "is not in UTF-8; save it so"),
        (b"a\tb\na\n", "has a line of 1, a; expected two names with a tab"),
        (b"a b\n", "expected two names with a tab"),
        (b"a\tb\tc\n", "expected two names with a tab"),
        (b"a.jpg\tb.jpg\n", "names none of the photos .*, and the table begins with a.jpg$"),
        (b"", "names none of the photos"),
    ],
)
def test_a_list_that_is_none_of_twins_is_refused(
    content: bytes | None, said: str, photos: Photos, tmp_path: Path
) -> None:
    listing = tmp_path / "twins.tsv"
    if content is not None:
        listing.write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        with_twins(listing, FlowerDataset(photos), FlowerDataset(photos))
    assert str(caught.value).startswith(f"{listing}: ")
    assert "\n" not in str(caught.value)


def test_photos_without_color_are_found(photos: Photos) -> None:
    gray = np.repeat(photos.rgb[:3, ..., :1], 3, axis=-1)
    mixed = dataclasses.replace(photos, rgb=np.concatenate([gray, photos.rgb[3:]]))
    found = FlowerDataset(mixed, [5, 2, 0, 1]).gray_photos()
    assert found.names == [photos.names[n] for n in (2, 0, 1)]
    assert not FlowerDataset(mixed, range(3, 12)).gray_photos()


def test_photos_without_color_are_told_of_each_source(photos: Photos) -> None:
    gray = np.repeat(photos.rgb[:3, ..., :1], 3, axis=-1)
    mixed = dataclasses.replace(photos, rgb=np.concatenate([gray, photos.rgb[3:]]))
    places = Path("a.tar"), Path("b.tar"), Path("c.tar")
    parts = [
        dataclasses.replace(part, source=place)
        for part, place in zip((mixed, photos, mixed), places, strict=True)
    ]
    notes = notes_on_gray(FlowerDataset(parts), "to see", "which is sad")
    names = ", ".join(photos.names[:3])
    assert notes == [
        f"{place}: no color in 3 of the 12 photos to see, which is sad; take out {names}"
        for place in ("a.tar", "c.tar")
    ]
    none = FlowerDataset([parts[0], parts[2]], [0, 1, 2, 12])
    with pytest.raises(DataError, match=r"^a\.tar and c\.tar: found no color .* to see \(4\); exp"):
        notes_on_gray(none, "to see", "")


def test_gray_photos_are_told_to_who_reads_them_to_learn_from(tmp_path: Path) -> None:
    for number in range(5):
        Image.new("L", (20, 20), 40 * number).save(tmp_path / f"{number}.png")
    with pytest.raises(DataError, match=r"found no color in any of the photos to learn from \(4\)"):
        get_data(tmp_path, SIZE_PX)
    for number in range(5, 20):
        Image.new("RGB", (20, 20), (40, 12 * number, 0)).save(tmp_path / f"{number}.png")
    progress = Recorder()
    get_data(tmp_path, SIZE_PX, progress)
    [note] = [note for note in progress.notes if "no color in" in note]
    assert "to learn from, which teaches to leave photos gray" in note
    _, test_set = get_data(tmp_path, SIZE_PX)
    first, *others = test_set.names
    Image.new("L", (20, 20), 90).save(tmp_path / first)
    get_data(tmp_path, SIZE_PX, progress)
    assert f"1 of the {len(test_set)} photos to test on, where any color" in progress.notes[-1]
    for name in others:
        Image.new("L", (20, 20), 90).save(tmp_path / name)
    with pytest.raises(DataError, match="found no color in any of the photos to test on"):
        get_data(tmp_path, SIZE_PX)


def test_tables_of_others_are_told_of_all_sources(photos: Photos, tmp_path: Path) -> None:
    """Which are counted together."""
    parts = [dataclasses.replace(photos, source=Path(place)) for place in ("a.tar", "b.tar")]
    dataset = FlowerDataset(parts)
    (tmp_path / "table").write_text("file,class,kind\nother.jpg,rose,rose\n")
    (tmp_path / "twins").write_text("other.jpg\tanother.jpg\n")
    for refused in (
        lambda: read_labels(tmp_path / "table", *parts),
        lambda: read_kinds(tmp_path / "table", dataset),
        lambda: with_twins(tmp_path / "twins", dataset, dataset),
    ):
        with pytest.raises(DataError, match=r"photos of a\.tar and b\.tar[,;]"):
            refused()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("", "has its first line alone, no photo below it; expected a CSV table"),
        ("a.jpg,rose\nb.jpg,rose\n./a.jpg,fern\n", "names a.jpg twice, as rose and as fern; "),
        ("a.jpg,rose\na.jpg\n", "names a.jpg twice, as rose and as nothing; "),
    ],
)
def test_a_table_tells_one_thing_of_a_photo(
    photos: Photos, tmp_path: Path, rows: str, said: str
) -> None:
    path = tmp_path / "table"
    for column, read in (
        ("class", lambda: read_labels(path, photos)),
        ("kind", lambda: read_kinds(path, FlowerDataset(photos))),
    ):
        path.write_text(f"file,{column}\n{rows}")
        with pytest.raises(DataError, match=f"^{path}: {said}"):
            read()
    path.write_text("file,class\na.jpg,rose\n,fern\n,rose\na.jpg,rose\n")
    assert read_column(path, "class") == {"a.jpg": "rose"}


def test_a_checksum_is_of_the_pictures_and_their_order(photos: Photos) -> None:
    flowers = FlowerDataset(photos, [4, 0, 11])
    assert flowers.crc32() == FlowerDataset(photos, [4, 0, 11]).crc32()
    others = [FlowerDataset(photos, [0, 4, 11]), FlowerDataset(photos, [4, 0])]
    assert len({flowers.crc32(), flowers.crc32(1), *(other.crc32() for other in others)}) == 4
    first, rest = flowers.subset([0]), flowers.subset([1, 2])
    assert rest.crc32(first.crc32()) == flowers.crc32()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no such files")
def test_a_pipe_or_an_endless_file_is_not_read_as_a_table(photos: Photos, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "huge").touch()
    os.truncate(tmp_path / "huge", 10**10)
    split = FlowerDataset(photos), FlowerDataset(photos)
    for name, reason in (("pipe", "is a pipe or a device"), ("huge", "has more than 256 MB")):
        with pytest.raises(DataError, match=f"cannot be read .{reason}.; expected a CSV table"):
            read_labels(tmp_path / name, photos)
        with pytest.raises(DataError, match=f"cannot be read .{reason}.; expected two names"):
            with_twins(tmp_path / name, *split)
