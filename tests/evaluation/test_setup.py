import os
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from flowercolor.checkpoint import CheckpointInfo
from flowercolor.config import NetworkConfig, TrainConfig
from flowercolor.data.dataset import get_data
from flowercolor.errors import CheckpointError, DataError, SettingError
from flowercolor.evaluation.setup import (
    Candidate,
    Loaded,
    Part,
    choose_candidates,
    choose_photos,
    common_size_px,
    train_recognizer,
)
from flowercolor.networks.unet import UNet

INFO = CheckpointInfo(TrainConfig(NetworkConfig(1), size_px=16))


def loaded(run: Path, info: CheckpointInfo = INFO) -> dict[str, Loaded]:
    return {"mine": Loaded(Candidate(run / "best.safetensors"), UNet(info.config.network), info)}


def test_candidates_are_named_as_a_person_calls_them(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("rose.safetensors", "daisy.safetensors")]
    for file in files:
        file.touch()
    rose, daisy = map(str, files)
    assert choose_candidates(rose, [daisy]) == {
        "rose": Candidate(files[0]),
        "daisy": Candidate(files[1]),
    }
    assert list(choose_candidates(None, [daisy, rose])) == ["daisy", "rose"]
    assert list(choose_candidates(None, [rose])) == ["bundled", "rose"]
    assert choose_candidates(rose, vividness=[0, 0.5]) == {
        "rose 0": Candidate(files[0], 0),
        "rose 0.5": Candidate(files[0], 0.5),
    }
    with pytest.raises(SettingError, match="leave out `compare`"):
        choose_candidates(rose, [daisy], [0.5])
    with pytest.raises(CheckpointError, match=r"^tulip: no such checkpoint"):
        choose_candidates("tulip")


def test_the_size_is_the_one_given_or_that_of_all(tmp_path: Path) -> None:
    one = loaded(tmp_path)
    larger = replace(INFO, config=replace(INFO.config, size_px=32))
    both = {**one, "larger": loaded(tmp_path, larger)["mine"]}
    assert common_size_px(one) == 16
    assert common_size_px(one, 48) == common_size_px(both, 48) == 48
    with pytest.raises(
        CheckpointError,
        match="mine 16 px, larger 32 px; judge them at one, such as by `size_px` 16",
    ):
        common_size_px(both)
    for size_px in (0, 8, 24):
        with pytest.raises(SettingError, match=f"size is {size_px}; expected a multiple of 16"):
            common_size_px(one, size_px)


def test_the_photos_are_the_part_that_is_asked_for(archive: Path, tmp_path: Path) -> None:
    train_set, test_set = get_data(archive, 16)
    test = choose_photos(loaded(tmp_path), 16, sources=[archive])
    assert test.test_set.names == test_set.names
    assert test.train_set is not None
    assert test.train_set.names == train_set.names
    assert test.notes == ()
    whole = choose_photos(loaded(tmp_path), 16, sources=[archive], part="whole")
    assert len(whole.test_set) == 12
    assert whole.train_set is None
    assert whole.notes[0].startswith("No chroma medians")


def test_photos_without_color_are_counted_and_alone_refused(tmp_path: Path) -> None:
    for number in range(5):
        Image.new("L", (20, 20), 40 * number).save(tmp_path / f"{number}.jpg")
    parts: tuple[Part, ...] = ("test", "whole")
    for part in parts:
        with pytest.raises(DataError, match=r"found no color in any of the photos to judge on \("):
            choose_photos(loaded(tmp_path), 16, sources=[tmp_path], part=part)
    Image.new("RGB", (20, 20), (200, 20, 0)).save(tmp_path / "rose.jpg")
    notes = choose_photos(loaded(tmp_path), 16, sources=[tmp_path], part="whole").notes
    assert notes[-1] == (
        f"{tmp_path}: no color in 5 of the 6 photos to judge on, where any color counts as an "
        "error; take out 0.jpg, 1.jpg, 2.jpg, …"
    )


def test_a_classifier_of_one_class_is_refused(archive: Path, tmp_path: Path) -> None:
    """It would recognize whatever it is shown."""
    photos = choose_photos(loaded(tmp_path), 16, sources=[archive])
    table = tmp_path / "labels.csv"
    names = photos.test_set.photos.names
    table.write_text("\n".join(["file,class", *(f"{name},rose" for name in names)]))
    with pytest.raises(DataError, match="names one class alone for the photos to learn from"):
        train_recognizer(table, photos)


@pytest.mark.parametrize("part", ["validation", "whole"])
def test_what_a_network_may_know_by_heart_is_noted(
    folder: Path, tmp_path: Path, part: Part
) -> None:
    _, test_set = get_data(folder, 16)
    fingerprint = test_set.photos.fingerprint
    of_several = {"fingerprint": "of both", "sources": [{}, {"fingerprint": fingerprint}]}
    for data in ({"fingerprint": fingerprint}, of_several):
        same = replace(INFO, data=data)
        photos = choose_photos(loaded(tmp_path, same), 16, sources=[folder], part=part)
        assert any("by heart" in note for note in photos.notes)
    other = replace(INFO, data={"fingerprint": "other", "name": "roses"})
    parts: tuple[Part, ...] = ("test", part)
    for judged in parts:
        notes = choose_photos(loaded(tmp_path, other), 16, sources=[folder], part=judged).notes
        said = "mine learned from other data, roses; it may have seen some of these."
        assert notes[-1] == said


def test_results_among_the_photos_are_refused_before_these_are_read(
    folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingError, match="lies among the photos"):
        choose_photos(loaded(tmp_path), 16, sources=[folder], results=folder / "results")
    assert not (Path(os.environ["FLOWERCOLOR_CACHE_DIR"]) / "photos").exists()
