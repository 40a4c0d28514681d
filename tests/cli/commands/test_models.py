import json
import os
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from flowercolor import paths
from flowercolor.checkpoint import (
    load_tensors,
    save_checkpoint,
)
from tests.cli.helpers import (
    TINY,
    Trained,
    assert_one_line_of_error,
    flowercolor,
    gray_photo,
    metrics,
    stopped_at_once,
    succeed,
)


def moved_on(checkpoint: Path) -> Path:
    """Beside it, a checkpoint of weights that are a little larger."""
    info, tensors = load_tensors(checkpoint)
    moved = {name: value * 1.1 for name, value in tensors.items() if name.startswith("generator.")}
    path = checkpoint.with_name("moved.safetensors")
    save_checkpoint(path, info, moved)
    return path


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
    assert f"Looked for runs in {paths.runs_dir()}; " in result.stderr
    assert "Left out: " in result.stderr
    assert "torn" in result.stderr
    table = succeed("models").stdout
    assert f"{run['best_l1']:.4f} at 16 px" in table
    assert "x[b]" in table
    assert trained.run.name in table


def test_models_marks_a_joined_file_and_a_validation_score(trained: Trained, weights: Path) -> None:
    info, tensors = load_tensors(weights)
    config = replace(info.config, validation=True)
    save_checkpoint(weights, replace(info, config=config, best_l1=0.0712), tensors)
    run, vivid = paths.runs_dir() / "both", moved_on(weights)
    succeed("join", weights, vivid, "-o", run / "best.safetensors", "--note", "Two ends.")
    [joined] = [
        one
        for one in map(json.loads, succeed("models", "--json").stdout.splitlines())
        if one["name"] == "both"
    ]
    assert (joined["validation"], joined["vividness"], joined["note"]) == (True, 0.5, "Two ends.")
    table = succeed("models").stdout
    assert "0.0712 at 16 px, val., safe end" in table
    assert "2 rgb, joined" in table


def test_what_two_ends_did_not_share_in_training_is_told(
    trained: Trained, weights: Path, here: Path
) -> None:
    info, tensors = load_tensors(moved_on(weights))
    other = replace(
        info,
        config=info.config.changed(size_px=2 * info.config.size_px),
        data={**info.data, "fingerprint": "another", "content_crc32": 1},
    )
    save_checkpoint(Path("other.safetensors"), other, tensors)
    said = succeed("join", weights, "other.safetensors", "-o", "both.safetensors").stderr
    assert f"other.safetensors learned at {other.config.size_px} px and " in said
    assert "other.safetensors learned from other photos than" in said
    said = succeed("join", weights, moved_on(weights), "-o", "alike.safetensors").stderr
    assert "learned" not in said


def test_of_a_joined_file_the_point_that_is_taken_is_told(weights: Path, here: Path) -> None:
    succeed("join", weights, moved_on(weights), "-o", "both.safetensors", "--vividness", "0.6")
    said = "both is a vividness scale; its default, 0.6, is taken.\n"
    assert said in succeed("join", weights, "both.safetensors", "-o", "a.safetensors").stderr
    assert said in succeed("join", "both.safetensors", weights, "-o", "b.safetensors").stderr
    export = ("export", "--checkpoint", "both.safetensors")
    assert said in succeed(*export, "both.onnx").stderr
    for target, more in (("c.onnx", ("--vividness", "1")), ("page.html", ())):
        assert "is taken" not in succeed(*export, target, *more).stderr


def test_a_run_without_its_best_is_said_to_be_one_wherever_its_weights_are_taken(
    trained: Trained, archive: Path, here: Path
) -> None:
    (trained.run / "best.safetensors").unlink()
    begun = paths.runs_dir() / "begun"
    assert stopped_at_once("train", "--data", archive, "--out", begun, *TINY).exit_code == 130
    photo = gray_photo(here / "photo.png")
    listed = " ".join(succeed("models").stdout.replace("│", " ").split())
    for run, missing in (
        (begun, "no epoch of it has ended"),
        (trained.run, "its best.safetensors is missing, and last.safetensors is taken"),
    ):
        assert all(word in listed for word in missing.split())
        again = ("--out", f"again {run.name}", "--epochs", "1", *TINY)
        commands: list[tuple[str | Path, ...]] = [
            ("colorize", photo, "--checkpoint", run.name, "--overwrite"),
            ("eval", "--checkpoint", run.name),
            ("export", f"{run.name}.html", "--checkpoint", run.name),
            ("join", run.name, moved_on(run / "last.safetensors"), "-o", f"{run.name}.safetensors"),
            ("train", "--start-from", run.name, "--data", archive, *again),
        ]
        told = {command[0]: succeed(*command).stderr for command in commands}
        assert [name for name, said in told.items() if f": {missing}" not in said] == []
        without_graph = "No graph of the losses: no epoch of its run has ended."
        assert (without_graph in told["eval"]) is (run is begun)
        with socket.socket() as taken:  # so that the page's server ends
            taken.bind(("127.0.0.1", 0))
            port = str(taken.getsockname()[1])
            served = flowercolor("web", "--port", port, "--checkpoint", run.name)
        assert f": {missing}" in served.stderr


def test_a_bad_run_hides_no_other(trained: Trained, weights: Path) -> None:
    """Whatever its header says; and what it says steers no terminal."""
    info, _ = load_tensors(weights)
    headers = {
        "odd": {**json.loads(info.to_json()), "created": 5},
        "deep": "[" * 100_000,
        "steering": {**json.loads(info.to_json()), "created": "\x1b[2J1999"},
    }
    for name, header in headers.items():
        run = paths.runs_dir() / name
        run.mkdir()
        text = header if isinstance(header, str) else json.dumps(header)
        save_file({"x": torch.zeros(1)}, run / "best.safetensors", metadata={"flowercolor": text})
    result = succeed("models")
    assert trained.run.name in result.stdout
    assert "\x1b[2J" not in result.stdout
    left_out = [line for line in result.stderr.splitlines() if line.startswith("Left out: ")]
    assert len(left_out) == 2


@pytest.mark.parametrize(
    "args",
    [
        ["export", "-"],
        ["join", "a", "b", "-o", "-"],
        ["eval", "--results", "-"],
        ["train", "--out", "-"],
    ],
)
def test_what_standard_output_cannot_hold_is_refused(here: Path, args: list[str]) -> None:
    assert_one_line_of_error(
        flowercolor(*args), "-: standard output cannot hold this; name", code=2
    )
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("args", [["eval", "--results"], ["train", "--out"]])
@pytest.mark.parametrize("there", [os.devnull, "a.txt"])
def test_no_folder_is_made_of_a_file(here: Path, args: list[str], there: str) -> None:
    (here / "a.txt").touch()
    result = flowercolor(*args, there)
    assert_one_line_of_error(result, f"{there}: is no folder; expected one, or a", code=2)


def test_export_writes_a_page_as_a_file_or_a_folder(weights: Path, here: Path) -> None:
    for target in ("page.html", "site"):
        done = succeed("export", target, "--checkpoint", weights)
        assert done.stdout == f"{target}\n"
        files = [here / target, *(here / target).rglob("*")]
        size_mb = sum(path.stat().st_size for path in files if path.is_file()) / 1e6
        begins = f"Wrote the page with the weights of garden, {size_mb:.1f} MB: "
        assert begins + ("open it in" if "." in target else "put the folder on") in done.stderr
    assert (here / "page.html").read_bytes().startswith(b"<!doctype html>")
    assert (here / "site" / "index.html").is_file()
    assert_one_line_of_error(flowercolor("export", "page.html"), "is there already", code=2)
