import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from flowercolor.checkpoint import (
    CheckpointInfo,
    load_tensors,
    named,
    read_info,
    save_checkpoint,
)
from flowercolor.config import NetworkConfig
from flowercolor.data.dataset import FlowerDataset, get_data, split_validation
from flowercolor.data.photo_cache import Photos
from flowercolor.errors import CheckpointError, DataError, SettingError
from flowercolor.evaluation import plots
from flowercolor.files import write_text
from flowercolor.networks.unet import UNet
from flowercolor.runs import BEST, LAST, LOCK, LOSSES, METRICS, SAMPLES
from flowercolor.runs import CONFIG as CONFIG_FILE
from flowercolor.training.loop import train
from flowercolor.training.setup import check_folder
from tests.helpers import Recorder
from tests.training.helpers import (
    CONFIG,
    Sets,
    after,
    assert_resume_refused,
    assert_same_run,
    changed,
    go,
    labeled,
)


def test_photos_of_another_size_are_refused(sets: Sets, run: Path) -> None:
    with pytest.raises(SettingError, match=r"size_px is 32, and the photos of .* read at 16 px; "):
        go(changed(size_px=32), sets, run)
    assert not run.exists()


def test_a_folder_that_holds_a_run_takes_no_other(
    sets: Sets, run: Path, uninterrupted: Path
) -> None:
    """Its best network would pass for that of the new run until that has one."""
    for name in (BEST, LAST):
        run.mkdir(exist_ok=True)
        (run / name).write_bytes((uninterrupted / name).read_bytes())
        way = "without a last.safetensors it cannot go on: delete its best" * (name == BEST)
        with pytest.raises(SettingError, match=f"holds a run already; {way}"):
            go(changed(epochs=1), sets, run)
        assert (run / name).read_bytes() == (uninterrupted / name).read_bytes()
        (run / name).unlink()
    assert list(run.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (CONFIG_FILE, '{"config": {"theme": "dark"}}'),
        (METRICS, '{"epoch": 1, "step": 1}\n'),
        (LOSSES, "mine"),
        (f"{SAMPLES}/epoch_0001.png", "mine"),
        (SAMPLES, "mine"),
        (LOCK, "mine"),
    ],
)
def test_a_run_writes_over_nothing_that_no_run_left(
    sets: Sets, run: Path, name: str, content: str
) -> None:
    write_text(run / name, content)
    found = re.escape(f"{run / name}: is there already, and no `train` left it; name another")
    with pytest.raises(SettingError, match=f"^{found} folder by `run`, or move it away$"):
        check_folder(run)
    with pytest.raises(SettingError, match=f"^{found}"):
        go(changed(epochs=1), sets, run)
    files = [path for path in run.rglob("*") if path.is_file()]
    assert [(path, path.read_text()) for path in files] == [(run / name, content)]


def test_a_link_that_leads_nowhere_is_not_written_through(run: Path) -> None:
    run.mkdir()
    (run / LOSSES).symlink_to(run / "elsewhere.png")
    with pytest.raises(SettingError, match=r"losses\.png: is there already"):
        check_folder(run)


def test_what_a_run_leaves_before_its_first_save_is_in_no_ones_way(
    sets: Sets, run: Path, uninterrupted: Path
) -> None:
    """Nor is what a run does not write."""
    for name in (LOCK, "notes.txt", f"{SAMPLES}/mine.png"):
        write_text(run / name, "" if name == LOCK else "mine")
    check_folder(run)
    for name in (CONFIG_FILE, METRICS, LOSSES, f"{SAMPLES}/epoch_0001.png"):
        (run / name).write_bytes((uninterrupted / name).read_bytes())
    assert go(changed(epochs=1), sets, run).finished
    assert (run / "notes.txt").read_text() == (run / SAMPLES / "mine.png").read_text() == "mine"


def test_a_run_does_not_lie_among_the_photos_that_it_learns_from(tmp_path: Path) -> None:
    """What it draws would be learned from by the next, and could not be resumed itself."""
    rng = np.random.default_rng(0)
    for number in range(12):
        plots.save_picture(
            torch.from_numpy(rng.random((3, 20, 20), np.float32)),
            tmp_path / "garden" / f"{number}.jpg",
        )
    sets = get_data(tmp_path / "garden", CONFIG.size_px)
    for run in (tmp_path / "garden" / "run", tmp_path / "x" / ".." / "garden"):
        with pytest.raises(SettingError, match=r"lies among the photos of .*garden, and"):
            go(changed(epochs=1), sets, run)
        assert len(list((tmp_path / "garden").iterdir())) == 12
    assert go(changed(epochs=1), sets, tmp_path / "garden run").finished


def test_a_beginning_that_knows_the_validation_part_is_noted(
    sets: Sets, photos: Photos, tmp_path: Path
) -> None:
    """Unless it learned from other photos."""
    others = dataclasses.replace(photos, fingerprint="others")
    other_sets = FlowerDataset(others, range(10)), FlowerDataset(others, [10, 11])

    def noted(name: str, validation: bool, parent: str | None = None, data: Sets = sets) -> bool:
        start_from = tmp_path / parent / BEST if parent else None
        notes = Recorder()
        config = changed(epochs=1, batch_size=5, validation=validation)
        data = split_validation(data[0]) if validation else data
        go(config, data, tmp_path / name, start_from=start_from, progress=notes)
        return any("has learned from the validation part" in note for note in notes.notes)

    assert not noted("whole", validation=False)
    assert not noted("part", validation=True)
    assert noted("child", validation=True, parent="whole")
    assert not noted("brother", validation=True, parent="part")
    assert not noted("stranger", validation=True, parent="whole", data=other_sets)


def test_validation_is_on_photos_that_are_kept_apart(sets: Sets, run: Path) -> None:
    config = changed(epochs=1, batch_size=5, validation=True)
    with pytest.raises(SettingError, match="hold those that it keeps apart; give the two sets"):
        go(config, sets, run)
    assert not run.exists()
    assert go(config, split_validation(sets[0]), run).finished


@pytest.mark.parametrize("size_px", [16, 32])
def test_going_on_at_another_size_is_said(
    photos: Photos, uninterrupted: Path, run: Path, size_px: int
) -> None:
    notes = Recorder()
    learned_px = CONFIG.size_px
    rgb = photos.rgb.repeat(size_px // learned_px, axis=1).repeat(size_px // learned_px, axis=2)
    larger = dataclasses.replace(photos, rgb=rgb)
    sets = FlowerDataset(larger, range(10)), FlowerDataset(larger, [10, 11])
    config = changed(epochs=1, size_px=size_px)
    go(config, sets, run, start_from=uninterrupted / BEST, progress=notes)
    said = (
        f"{uninterrupted / BEST}: learned at {learned_px} px, and this run learns at {size_px} px; "
        f"give `size_px` {learned_px} to stay there"
    )
    assert (said in notes.notes) == (size_px != learned_px)


@pytest.mark.parametrize("hints", [False, True])
@pytest.mark.parametrize("vividness", [None, 0.6])
def test_what_a_run_does_not_keep_of_what_it_begins_with_is_told(
    sets: Sets, run: Path, tmp_path: Path, vividness: float | None, hints: bool
) -> None:
    network = NetworkConfig(2, "chroma", hints=hints)
    info = CheckpointInfo(changed(network=network), vividness=vividness)
    both = tmp_path / "both.safetensors"
    save_checkpoint(both, info, named(UNet(network), "generator."))
    notes = Recorder()
    plain = changed(network=NetworkConfig(2, "chroma"), epochs=1)
    go(plain, sets, run, start_from=both, progress=notes)
    lost = ["is a vividness scale; its default, 0.6, is taken, and the scale is not kept"]
    lost *= vividness is not None
    if hints:
        lost += [
            "has a branch for hints, palettes and variants, which is not kept: "
            "`train --recipe hints --start-from` this run trains one anew"
        ]
    told = [note for note in notes.notes if note.startswith("both ")]
    assert told == ([f"both {'; it '.join(lost)}"] if lost else [])


def test_a_run_tells_what_it_began_with(sets: Sets, run: Path, uninterrupted: Path) -> None:
    config = changed(epochs=1)
    go(config, sets, run, start_from=uninterrupted / BEST, should_stop=after(1))
    resumed = go(config, sets, run, resume=True)
    assert resumed.start_l1 == pytest.approx(read_info(uninterrupted / BEST).test_l1, abs=1e-6)
    said = "Begun with the generator of uninterrupted."
    assert read_info(run / BEST).note == read_info(run / LAST).note == said
    assert json.loads((run / "config.json").read_text())["note"] == said


def test_weights_of_another_network_are_refused(sets: Sets, run: Path, uninterrupted: Path) -> None:
    with pytest.raises(
        CheckpointError,
        match="a network of `base_channels` 2 cannot go on as one of `base_channels` 1; expected",
    ) as caught:
        go(changed(network=NetworkConfig(1)), sets, run, start_from=uninterrupted / BEST)
    assert "\n" not in str(caught.value)


def test_a_supervised_run_goes_on_with_the_same_classes_only(
    sets: Sets, run: Path, tmp_path: Path
) -> None:
    labels, config = labeled(tmp_path, sets), changed(epochs=2, lambda_class=0.5)
    go(config, sets, tmp_path / "straight", labels=labels)
    go(config, sets, run, labels=labels, should_stop=after(4))
    with pytest.raises(CheckpointError, match="than those given now: other classes; resume"):
        go(config, sets, run, labels=labeled(tmp_path, sets, shift=1), resume=True)
    go(config, sets, run, labels=labels, resume=True)
    assert_same_run(run, tmp_path / "straight")


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_classes_and_their_weight_come_together(
    sets: Sets, run: Path, tmp_path: Path, weight: float
) -> None:
    labels = None if weight else labeled(tmp_path, sets)
    with pytest.raises(SettingError, match=f"lambda_class is {weight}, and there are .*labels"):
        go(changed(lambda_class=weight), sets, run, labels=labels)
    assert not run.exists()


def test_photos_without_a_class_are_counted(sets: Sets, run: Path, tmp_path: Path) -> None:
    labels = labeled(tmp_path, sets)
    few = labels.read_text().splitlines()[:6]
    labels.write_text("\n".join(few))
    notes = Recorder()
    go(changed(epochs=1, lambda_class=0.5), sets, run, labels=labels, progress=notes)
    said = f"{labels}: names no class for 5 of the 10 photos to learn from; they teach none"
    assert said in notes.notes


@pytest.mark.parametrize(("learned_from", "found"), [(10, "one class alone"), (0, "no class")])
def test_labels_that_tell_nothing_apart_are_refused(
    sets: Sets, run: Path, tmp_path: Path, learned_from: int, found: str
) -> None:
    """As those of one class are, and those of test photos alone."""
    names = sets[0].names[:learned_from] + sets[1].names[learned_from // 10 :]
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(["file,class", *(f"{name},rose" for name in names)]))
    said = rf"names {found} for the photos to learn from \(10\), which .*; expected two or more"
    with pytest.raises(DataError, match=said):
        go(changed(epochs=1, lambda_class=0.5), sets, run, labels=table)
    assert not run.exists()


def test_classes_that_would_teach_nothing_are_refused(
    sets: Sets, run: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    labels, config = labeled(tmp_path, sets), changed(lambda_class=0.5, freeze_deep=True)
    with pytest.raises(
        SettingError, match=r"`lambda_class` .* `freeze_deep` .*; leave one of them"
    ):
        go(config, sets, run, labels=labels, start_from=uninterrupted / BEST)
    assert not run.exists()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"lr": 2e-3}, r"with other settings than those given now: `lr` 0.001, not 0.002; "),
        (
            {"seed": 1, "network": NetworkConfig(3)},
            r"than those given now: `seed` 42, not 1, `base_channels` 2, not 3; ",
        ),
    ],
)
def test_going_on_with_other_settings_is_refused(
    sets: Sets, uninterrupted: Path, settings: dict[str, Any], reason: str
) -> None:
    assert_resume_refused(changed(**settings), sets, uninterrupted, reason)


def test_going_on_with_other_photos_is_refused(sets: Sets, uninterrupted: Path) -> None:
    photos = dataclasses.replace(sets[0].photos, rgb=sets[0].photos.rgb[::-1].copy())
    others = FlowerDataset(photos, range(10)), FlowerDataset(photos, [10, 11])
    assert_resume_refused(CONFIG, others, uninterrupted, "trained on other photos")


def test_copied_photos_are_the_same(sets: Sets, run: Path) -> None:
    """Their files have other times, by which a folder is known."""
    go(CONFIG, sets, run, should_stop=after(1))
    photos = dataclasses.replace(sets[0].photos, fingerprint="copy", source=Path("copy"))
    copies = FlowerDataset(photos, range(10)), FlowerDataset(photos, [10, 11])
    assert go(CONFIG, copies, run, resume=True).finished


def test_a_run_that_does_not_know_the_content_goes_by_the_fingerprint(
    sets: Sets, run: Path
) -> None:
    """As older versions wrote it."""
    go(CONFIG, sets, run, should_stop=after(1))
    info, tensors = load_tensors(run / LAST)
    data = {name: value for name, value in info.data.items() if name != "content_crc32"}
    save_checkpoint(run / LAST, dataclasses.replace(info, data=data), tensors)
    photos = dataclasses.replace(sets[0].photos, fingerprint="another")
    others = FlowerDataset(photos, range(10)), FlowerDataset(photos, [10, 11])
    assert_resume_refused(CONFIG, others, run, "trained on other photos")
    assert go(CONFIG, sets, run, resume=True).finished


def test_photos_that_were_moved_are_the_same(sets: Sets, run: Path) -> None:
    config = changed(epochs=1)
    go(config, sets, run, should_stop=after(1))
    moved = [
        FlowerDataset(dataclasses.replace(one.photos, source=Path("elsewhere")), one.indices)
        for one in sets
    ]
    assert go(config, (moved[0], moved[1]), run, resume=True).finished
    assert read_info(run / LAST).data["name"] == "elsewhere"


def test_going_on_from_a_run_of_an_older_version_is_refused(
    sets: Sets, run: Path, uninterrupted: Path
) -> None:
    """Its sums are others, and its metrics have no steps."""
    info, tensors = load_tensors(uninterrupted / LAST)
    data = {name: value for name, value in info.data.items() if name != "photos_crc32"}
    run.mkdir()
    save_checkpoint(run / LAST, dataclasses.replace(info, data=data, version="0.0.1"), tensors)
    assert_resume_refused(CONFIG, sets, run, "flowercolor 0.0.1 wrote it in a form that")


def test_going_on_from_nothing_is_refused(sets: Sets, run: Path) -> None:
    assert_resume_refused(CONFIG, sets, run, "no such file; expected a checkpoint")


def test_a_run_goes_on_with_the_photos_that_it_has_learned_from(
    photos: Photos, sets: Sets, run: Path
) -> None:
    """As many others would do as well, were they not told from them."""
    go(CONFIG, sets, run, should_stop=after(1))
    others = FlowerDataset(photos, [*range(9), 11]), FlowerDataset(photos, [10, 9])
    for train_set, test_set in ((others[0], sets[1]), (sets[0], others[1])):
        with pytest.raises(CheckpointError, match="trained on other photos, shares or classes"):
            go(CONFIG, (train_set, test_set), run, resume=True)
    assert go(CONFIG, sets, run, resume=True).finished


def test_a_run_is_not_resumed_and_begun_from_another_at_once(
    sets: Sets, run: Path, uninterrupted: Path
) -> None:
    go(CONFIG, sets, run, should_stop=after(1))
    with pytest.raises(SettingError, match="resumed or begun from a checkpoint, not both"):
        go(CONFIG, sets, run, resume=True, start_from=uninterrupted / BEST)


def test_a_resumed_run_may_test_faster(sets: Sets, tmp_path: Path) -> None:
    """The batch size of testing decides nothing that is learned."""
    once = dataclasses.replace(CONFIG, epochs=1)
    train(once, *sets, tmp_path, device="cpu")
    faster = dataclasses.replace(once, epochs=2, test_batch_size=once.test_batch_size + 1)
    assert train(faster, *sets, tmp_path, device="cpu", resume=True).epoch == 2


@pytest.mark.parametrize(
    ("left", "found"), [((10, 0), "10 photos"), ((1, 0), "1 photo"), ((0, 2), "0 photos")]
)
def test_a_set_without_photos_is_refused(
    sets: Sets, run: Path, left: tuple[int, int], found: str
) -> None:
    few = sets[0].subset(range(left[0])), sets[1].subset(range(left[1]))
    said = f"leaves {found} to learn from and .* to test on; "
    with pytest.raises(DataError, match=said) as caught:
        train(CONFIG, *few, run, device="cpu")
    assert "\n" not in str(caught.value)
    assert not run.exists()


def test_freezing_random_weights_is_refused(sets: Sets, run: Path, uninterrupted: Path) -> None:
    config = changed(freeze_deep=True, epochs=1)
    with pytest.raises(SettingError, match="`freeze_deep` needs a trained network"):
        go(config, sets, run)
    assert not run.exists()
    assert go(config, sets, run, start_from=uninterrupted / BEST).finished


@pytest.mark.parametrize("batch_size", [1, 3, 9])
def test_a_batch_of_one_photo_at_the_smallest_size_is_refused(
    sets: Sets, tmp_path: Path, batch_size: int
) -> None:
    config = dataclasses.replace(CONFIG, size_px=16, batch_size=batch_size)
    with pytest.raises(SettingError, match="leave a batch of one"):
        train(config, *sets, tmp_path, device="cpu")
    assert not list(tmp_path.iterdir())
