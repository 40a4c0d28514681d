import json
import os
import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
import torch
from PIL import Image

from flowercolor import paths
from flowercolor.checkpoint import CheckpointInfo, save_checkpoint
from flowercolor.config import NetworkConfig, TrainConfig
from flowercolor.data.sources import Source
from flowercolor.errors import DataError, SettingError
from flowercolor.networks.unet import UNet
from flowercolor.runs import CONFIG, LAST, read_metrics
from flowercolor.training.loop import train
from flowercolor.training.run_plan import new_run_folder, plan_run, read_run_data
from tests.helpers import Recorder, save_network
from tests.pictures import tar_of
from tests.training.helpers import after, assert_same_run


def test_runs_that_begin_together_keep_apart() -> None:
    now = datetime(2026, 5, 1, 12, 30, 59)
    runs = [new_run_folder(now).name for _ in range(3)]
    assert runs == ["2026-05-01-123059", "2026-05-01-123059-2", "2026-05-01-123059-3"]


@pytest.fixture
def garden(pictures: dict[str, bytes], tmp_path: Path) -> Path:
    """A plain tar of six more photos, two of each kind."""
    contents = {
        f"garden/{number}.jpg": pictures[name] for number, name in enumerate([*pictures][:6])
    }
    return tar_of(contents, tmp_path / "garden.tar")


SETTINGS = {"base_channels": 2, "size_px": 16, "batch_size": 4, "epochs": 2}


def test_each_source_is_split_by_its_own_and_shares_make_the_epoch(
    archive: Path, garden: Path
) -> None:
    plan = plan_run(sources=[Source(archive), Source(garden, 0.5)], settings=SETTINGS)
    data = read_run_data(plan)
    assert [len(data.train), len(data.test)] == [10 + 5, 2 + 1]
    alone = read_run_data(plan_run(sources=[Source(archive)], settings=SETTINGS))
    assert data.train.names[:10] == alone.train.names
    assert data.test.names[:2] == alone.test.names
    assert data.test.source_numbers.tolist() == [0, 0, 1]
    for position in range(15):
        number = data.train.source_numbers[position]
        source = data.train.sources[number]
        photo = source.rgb[source.names.index(data.train.names[position])]
        assert torch.equal(data.train.pixels([position])[0], torch.from_numpy(photo))
    assert data.shares == [None, 0.5]


def test_a_run_of_several_sources_tells_of_each_and_goes_on_with_them(
    archive: Path, garden: Path, tmp_path: Path
) -> None:
    table = tmp_path / "kinds.csv"
    table.write_text("name,kind\n" + "".join(f"garden/{n}.jpg,bed\n" for n in range(6)))
    sources = [Source(archive, 0.75), Source(garden, 0.25)]
    runs = [tmp_path / "straight", tmp_path / "parts"]
    for run in runs:
        plan = plan_run(sources=sources, settings=SETTINGS, out=run, by=table)
        train_set, test_set, left_out, shares = read_run_data(plan)
        stop = after(3) if run == runs[1] else after(-1)
        train(
            plan.config, train_set, test_set, run, left_out=left_out, shares=shares, by=plan.by,
            device="cpu", precision="float32", should_stop=stop, save_every_s=0,
        )  # fmt: skip
    plan = plan_run(resume=str(runs[1]))
    assert list(plan.sources) == [Source(archive.resolve(), 0.75), Source(garden.resolve(), 0.25)]
    assert plan.by == table
    train_set, test_set, left_out, shares = read_run_data(plan)
    train(
        plan.config, train_set, test_set, runs[1], left_out=left_out, shares=shares, by=plan.by,
        resume=True, device="cpu", precision="float32",
    )  # fmt: skip
    assert_same_run(*runs)
    row = read_metrics(runs[0])[-1]
    assert row["step"] == 2 * 4, "fifteen photos an epoch, in batches of 4"
    assert row["by_source"].keys() == {archive.name, "garden.tar"}
    assert [row["by_source"][name]["photos"] for name in (archive.name, "garden.tar")] == [2, 1]
    assert row["by_kind"] == {"bed": row["by_source"]["garden.tar"]}
    told = json.loads((runs[0] / "config.json").read_text())["data"]
    assert told["name"] == "flowers.tgz + garden.tar"
    assert [source["share"] for source in told["of_each"]] == [0.75, 0.25]
    garden.unlink()
    with pytest.raises(DataError, match=r"garden\.tar: is there no more, .* by `data` where"):
        plan_run(resume=str(runs[1]))


def test_gray_photos_are_named_and_alone_refused(tmp_path: Path) -> None:
    for number in range(5):
        Image.new("RGB", (20, 20), (40 * number,) * 3).save(tmp_path / f"{number}.png")
    plan = plan_run(sources=[Source(tmp_path)], settings=SETTINGS)
    with pytest.raises(DataError, match=r"found no color in any .* to learn from \(4\); exp"):
        read_run_data(plan)
    for number in range(5, 10):
        Image.new("RGB", (20, 20), (40, 20 * number, 0)).save(tmp_path / f"{number}.png")
    recorder = Recorder()
    read_run_data(plan, progress=recorder)
    [note] = recorder.notes
    names = re.fullmatch(rf"{tmp_path}: no color in (?:4|5) of the 9 .*; take out (.*), …", note)
    assert names is not None
    first = names[1].split(", ")
    assert first == sorted(first)
    assert {*first} < {f"{number}.png" for number in range(5)}
    again = Recorder()
    read_run_data(replace(plan, resume=True), progress=again)
    assert again.notes == [], "a run goes on with all its photos"


def test_last_is_the_newest_run_that_has_something_left_to_do() -> None:
    """Else the newest, of which one is told that there is nothing left."""

    def begun(name: str, epoch: int, age_s: int, **more: int) -> Path:
        run = paths.runs_dir() / name
        config = TrainConfig(epochs=2).changed(**more)
        info = CheckpointInfo(config, epoch=epoch, best_epoch=1, data={"name": "102flowers.tgz"})
        save_checkpoint(run / LAST, info, {})
        os.utime(run / LAST, (1_700_000_000 - age_s,) * 2)
        return run

    finished = begun("finished", 2, 0)
    assert plan_run(resume="last").run == finished
    begun("impatient", 3, 1, epochs=9, patience=2)
    stopped = begun("stopped", 1, 2)
    begun("older", 1, 3)
    assert plan_run(resume="last").run == stopped
    longer = plan_run(resume="last", settings={"epochs": 4})
    assert (longer.run, longer.config.epochs) == (finished, 4)


def test_what_of_a_recipe_does_not_count_beside_what_the_run_begins_with_is_told(
    tmp_path: Path,
) -> None:
    network = NetworkConfig(2, "chroma", "efficientnet-lite0")
    parent = save_network(tmp_path / "rose.safetensors", UNet(network))

    def noted(name: str | None, **settings: object) -> list[str]:
        plan = plan_run(recipe_name=name, start_from=str(parent), settings=settings)
        assert replace(plan.config.network, hints=False) == network
        return list(plan.notes)

    assert noted("faithful") == [
        "rose: the run goes on as its network, of `base_channels` 2, `output` chroma, `encoder` "
        "efficientnet-lite0, where the recipe faithful has `base_channels` 64, `output` rgb, "
        "`encoder` plain; without `start_from` it begins anew as that"
    ]
    [note] = noted("pretrained")
    assert "of `base_channels` 2, where the recipe pretrained has `base_channels` 32; " in note
    assert noted("pretrained", base_channels=2) == []
    assert noted(None) == noted("hints") == noted("vivid") == [], "which name no network"


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ((0.5, 0.6), "add up to 1.1; expected 1"),
        ((None, 1.0), "leaves nothing"),
        ((0.5, 0.2), "0.7"),
    ],
)
def test_shares_that_do_not_go_together_are_refused_before_anything_is_read(
    shares: tuple[float | None, ...], said: str
) -> None:
    with pytest.raises(SettingError, match=said):
        plan_run(sources=[Source(Path("nowhere"), share) for share in shares])


@pytest.mark.parametrize(
    "about",
    ['{"data": {"by": 7, "sources": 7}}', '{"data": {"sources": ["a", "b"]}}', "[" * 100_000],
)
def test_what_a_damaged_config_says_of_photos_counts_as_nothing(tmp_path: Path, about: str) -> None:
    save_checkpoint(tmp_path / LAST, CheckpointInfo(TrainConfig(), data={"name": "garden"}), {})
    (tmp_path / CONFIG).write_text(about)
    with pytest.raises(DataError, match=r"learned from garden, and its config.json, which is dam"):
        plan_run(resume=str(tmp_path))
    (tmp_path / CONFIG).unlink()
    with pytest.raises(DataError, match=r"learned from garden, and no config.json there says wher"):
        plan_run(resume=str(tmp_path))
