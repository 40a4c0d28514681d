import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from flowercolor import paths
from flowercolor.checkpoint import (
    load_tensors,
    save_checkpoint,
)
from flowercolor.data.oxford102 import Archive
from flowercolor.evaluation import classifier, report
from flowercolor.evaluation.classifier import Recipe
from flowercolor.runs import find_checkpoint
from tests.cli.helpers import (
    TINY,
    Site,
    Trained,
    assert_one_line_of_error,
    flowercolor,
    in_rank,
    last_line,
    metrics,
    succeed,
    tiny,
    write_labels,
)

LAST = ("--checkpoint", "last")


def test_eval_writes_pictures_and_scores_that_agree(
    trained: Trained, archive: Path, here: Path
) -> None:
    result = succeed("eval", *LAST, "--results", "scored", "--device", "cpu")
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
    assert "No graph of the losses: this checkpoint is of no run's folder." in result.stderr
    assert (here / "results" / "losses.png").read_text() == "somebody's own"
    assert (here / "results" / "scores.json").is_file()


def test_eval_does_not_take_other_photos_for_those_of_a_copied_checkpoint(
    trained: Trained, archive: Path, here: Path
) -> None:
    (here / "copy.safetensors").write_bytes((trained.run / "best.safetensors").read_bytes())
    refused = flowercolor("eval", "--checkpoint", "copy.safetensors")
    assert refused.exit_code == 1
    said = f"copy.safetensors: learned from {archive.name}, and no config.json there says where"
    assert said in last_line(refused.stderr)
    succeed("eval", "--checkpoint", "copy.safetensors", "--data", archive)


def test_eval_without_the_flowers_says_what_else_can_be_judged_on(
    published: Archive, site: Site, here: Path
) -> None:
    """Unless they were asked for."""
    for file in site.folder.iterdir():
        file.unlink()
    refused = flowercolor("eval")
    ways = (
        "or a file with `flowercolor download --from-file`; or judge on photos of your own by "
        "--data, or a run of yours on its own by --checkpoint"
    )
    assert refused.exit_code == 1
    assert re.search(rf"^Error: .*the server answers 404.*{ways}$", last_line(refused.stderr))
    assert "of your own" not in flowercolor("eval", "--data", "oxford102").stderr
    assert "or learn from photos of your own by --data" in flowercolor("train", *TINY).stderr


def test_eval_puts_checkpoints_side_by_side(
    trained: Trained, weights: Path, archive: Path, here: Path
) -> None:
    """Without --checkpoint, several stand by themselves."""
    run = trained.run.name
    several: list[list[str | Path]] = [["--checkpoint", "last"], ["--compare", run]]
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
    """By whatever spelling; the bundled weights are named by leaving --checkpoint out."""
    run = trained.run.name
    best = trained.run / "best.safetensors"
    spelled = trained.run / ".." / run / best.name
    several: list[tuple[Path, list[str | Path]]] = [
        (best, ["--checkpoint", run, "--compare", run]),
        (best, ["--checkpoint", "last", "--compare", run]),
        (find_checkpoint(), ["--compare", "bundled"]),
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
    succeed("eval", *LAST)
    [own, *others] = json.loads((here / "results" / "scores.json").read_text())["rows"]
    assert (own, len(others)) == (trained.run.name, 4)
    for name in others:
        shutil.copytree(trained.run, paths.runs_dir() / name)
        copied = shutil.copy(weights, here / f"{name}.safetensors")
        for spec, remedy in ((name, "rename its folder"), (copied, "rename the file")):
            refused = flowercolor("eval", "--checkpoint", trained.run, "--compare", spec)
            assert_one_line_of_error(refused, f"is named {name}, like a row", remedy, code=2)


def test_eval_compares_sizes_at_one_that_is_named(
    trained: Trained, weights: Path, archive: Path, here: Path
) -> None:
    info, tensors = load_tensors(weights)
    save_checkpoint(
        here / "big.safetensors", replace(info, config=replace(info.config, size_px=32)), tensors
    )
    args = ("eval", "--checkpoint", weights, "--compare", "big.safetensors")
    result = flowercolor(*args)
    assert_one_line_of_error(result, "garden 16 px, big 32 px", "such as by --size 16")
    refused = flowercolor("eval", "--checkpoint", weights, "--data", "not looked at", "--hints")
    way = f"`flowercolor train --recipe hints --start-from {weights}`"
    assert way in last_line(refused.stderr)
    assert refused.exit_code == 1
    assert_one_line_of_error(flowercolor(*args, "--size", "24"), "size is 24; expected", code=2)
    succeed(*args, "--data", archive, "--size", "32")
    document = json.loads((here / "results" / "scores.json").read_text())
    assert document["size_px"] == 32
    # The same weights in both files.
    garden, big = (document["rows"][name]["l1"]["mean"] for name in ("garden", "big"))
    assert garden == big


def test_an_interrupted_eval_says_that_a_part_of_the_results_is_there(
    weights: Path, archive: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = ("eval", "--checkpoint", weights, "--data", archive, "--whole", "--results", "out")
    with monkeypatch.context() as patch:
        patch.setattr(report, "_draw", Mock(side_effect=KeyboardInterrupt))
        stopped = flowercolor(*args)
    assert stopped.exit_code == 130
    said = "out: holds a part of the results; the same command begins anew\nInterrupted.\n"
    assert stopped.stderr.endswith(said)
    succeed(*args)
    assert "unfinished" not in json.loads((here / "out" / "scores.json").read_text())


def test_eval_scores_each_kind_of_photo(weights: Path, archive: Path, here: Path) -> None:
    table = here / "kinds.csv"
    lines = [
        f"jpg/image_{number:05}.jpg,{'../a b' if number < 5 else 'rose'}" for number in range(1, 13)
    ]
    table.write_text("\n".join(["name,kind", *lines]))
    args = ("eval", "--checkpoint", weights, "--data", archive, "--whole", "--by", "kinds.csv")
    result = succeed(*args)
    document = json.loads((here / "results" / "scores.json").read_text())
    by_kind = document["kinds"]["garden"]
    assert [(kind, scores["photos"]) for kind, scores in by_kind.items()] == [
        ("../a b", 4),
        ("rose", 8),
        ("all photos", 12),
    ]
    images = [image["rows"] for image in document["images"] if image["kind"] == "rose"]
    l1, gray_l1 = (
        np.array([rows[row]["l1"] for rows in images]) for row in ("garden", "gray photo")
    )
    rose = by_kind["rose"]
    assert rose["l1"]["mean"] == pytest.approx(l1.mean())
    assert rose["l1_of_gray"]["mean"] == pytest.approx(l1.mean() / gray_l1.mean())
    assert rose["worse_than_gray"]["mean"] == (l1 > gray_l1).mean()
    assert f"{rose['l1_of_gray']['mean']:.3f}" in result.stdout
    assert f"{rose['l1_of_gray']['low']:.3f}…{rose['l1_of_gray']['high']:.3f}" in result.stdout
    assert "| rose (8) |" in (here / "results" / "scores.md").read_text()
    sheets = here / "results" / "contact"
    assert {path.name for path in sheets.iterdir()} == {".._a b.png", "rose.png"}

    # Without kinds, the sheets of before go.
    succeed(*args[:-2])
    assert not sheets.exists()
    table.write_text("\n".join(["file,kind", *lines[1:]]))
    said = "kinds.csv: names no kind for 1 of the 12 photos; they count for all photos"
    assert said in succeed(*args).stderr
    scores = (here / "results" / "scores.md").read_text()
    assert "| ../a b (3) |" in scores
    assert "| all photos (12) |" in scores


def test_eval_judges_all_sources_of_a_run_as_its_training_did(
    archive: Path, folder: Path, here: Path
) -> None:
    """Without a word about them, and where they are named, with the table of the training too."""
    for name in ("jpg/image_00001.jpg", "jpg/image_00002.jpg"):
        (folder / name).unlink()
    sources = ("--data", archive, "--data", folder)
    table = here / "kinds.csv"
    table.write_text("\n".join(["file,kind", *(f"jpg/image_{n:05}.jpg,a" for n in range(1, 13))]))
    for more in ((), ("--validation",)):
        where = ("train", "--out", f"run{len(more)}", "--epochs", "2", *sources, *more)
        succeed(*where, "--by", table, *tiny("--batch-size", "7"))
    cases: list[tuple[str, tuple[str | Path, ...]]] = [
        ("run0", ()),
        ("run0", sources),
        ("run0", ("--by", table)),
        ("run1", ("--validation",)),
    ]
    for run, options in cases:
        result = succeed("eval", "--checkpoint", run, "--device", "cpu", *options)
        document = json.loads((here / "results" / "scores.json").read_text())
        best = min((row for row in metrics(here / run) if "test_l1" in row), key=_test_l1)
        assert document["mean_l1"] == pytest.approx(best["test_l1"], abs=1e-6)
        assert document["sources"] == [document["data"], str(folder)] == [str(archive), str(folder)]
        assert "other data" not in result.stderr
        groups = best["by_kind" if "--by" in options else "by_source"]
        scores = document["kinds"][run]
        assert scores.keys() == {*groups, "all photos"}
        for group, figures in groups.items():
            assert scores[group]["photos"] == figures["photos"]
            assert scores[group]["l1"]["mean"] == pytest.approx(figures["l1"], abs=1e-6)
    result = succeed("eval", "--checkpoint", "run0", "--data", folder)
    assert "other data" not in result.stderr
    assert "sources" not in json.loads((here / "results" / "scores.json").read_text())
    notes = succeed("eval", "--checkpoint", "run0", "--data", folder, "--data", folder / "jpg")
    assert "run0 learned from other data, flowers.tgz + photos" in notes.stderr


def _test_l1(row: dict[str, Any]) -> float:
    l1: float = row["test_l1"]
    return l1


def test_eval_judges_whole_data(
    trained: Trained, weights: Path, archive: Path, folder: Path, here: Path
) -> None:
    def rows(*args: str | Path) -> tuple[list[str], list[str]]:
        succeed("eval", "--whole", "--batch-size", "4", *(args or LAST))
        document = json.loads((here / "results" / "scores.json").read_text())
        assert document["photos"] == 12
        return list(document["rows"])[1:], document["notes"]

    shutil.copytree(folder, here / "others")
    first, second = sorted((here / "others" / "jpg").iterdir())[:2]
    shutil.copy(first, second)
    medians = ["gray photo", "median chroma", "median chroma by luma", "true photos"]
    none, no_medians = ["gray photo", "true photos"], "No chroma medians: no training split"
    # Other photos: the medians are those of what the run learned from.
    found, [note] = rows("--data", "others", *LAST)
    assert found == medians
    assert "learned from other data, flowers.tgz; it may have seen some of these" in note
    # Its own photos, and weights that say nothing of what they learned from.
    for where in ((), ("--data", folder, *LAST)):
        found, notes = rows(*where)
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
    max((folder / "jpg").iterdir()).unlink()
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


@pytest.mark.parametrize(("name", "more"), [("losses.png", []), ("hints.png", ["--hints"])])
def test_eval_writes_over_nobodys_file(
    trained: Trained, here: Path, name: str, more: list[str]
) -> None:
    """And says so before any work."""
    shutil.rmtree(paths.cache_dir(), ignore_errors=True)
    (here / name).write_text("mine")
    refused = flowercolor("eval", *LAST, "--results", ".", *more)
    said = f"{name}: is there already, and no `eval` left it; name another folder by --results"
    assert said in last_line(refused.stderr)
    assert refused.exit_code == 2
    assert [path.name for path in here.iterdir()] == [name]
    assert (here / name).read_text() == "mine"
    assert not (paths.cache_dir() / "photos").exists(), "nothing was read for it"


def test_eval_tells_of_other_data(trained: Trained, folder: Path, here: Path) -> None:
    min((folder / "jpg").iterdir()).unlink()
    result = succeed("eval", *LAST, "--data", folder)
    assert f"{trained.run.name} learned from other data, flowers.tgz" in result.stderr
    assert "it may have seen some of these" in (here / "results" / "scores.md").read_text()


@pytest.mark.parametrize("more", [[], ["--validation"]])
def test_photos_that_were_moved_or_copied_are_a_runs_own(
    folder: Path, here: Path, more: list[str]
) -> None:
    """By their files they are others, which a run that went on with them has learned from."""
    succeed(
        "train",
        "--data",
        folder,
        "--out",
        "run",
        "--epochs",
        "1",
        *tiny("--batch-size", "7", *more),
    )
    copy = shutil.copytree(folder, here / "copy", copy_function=shutil.copy)
    by_heart = "" if more else "run has learned from the validation part"
    cases = {"": "", "--validation": by_heart, "--whole": "run learned from these very photos"}
    for option, said in cases.items():
        options = [option] if option else []
        notes = succeed("eval", "--checkpoint", "run", "--data", copy, *options).stderr
        assert said in notes
        assert ("by heart" in notes) == bool(said)
        assert "other data" not in notes
    larger = succeed(
        "eval", "--checkpoint", "run", "--data", copy, "--whole", "--size", "32"
    ).stderr
    assert "run learned from these very photos" in larger
    assert "No chroma medians" in larger
    shutil.rmtree(folder)
    succeed("train", "--resume", "run", "--data", copy, "--epochs", "2")
    for name in ("best", "last"):
        notes = succeed("eval", "--checkpoint", f"run/{name}.safetensors").stderr
        assert "other data" not in notes
    min(file for file in copy.rglob("*") if file.is_file()).unlink()
    changed = succeed("eval", "--checkpoint", "run/last.safetensors", "--data", copy).stderr
    assert "learned from copy as it was then; it may have seen some of these." in changed


def test_eval_leaves_twins_out(trained: Trained, here: Path) -> None:
    succeed("eval", *LAST)
    first, second = (
        i["name"] for i in json.loads(Path("results/scores.json").read_text())["images"]
    )
    train = {f"jpg/image_{number:05}.jpg" for number in range(1, 13)} - {first, second}
    Path("twins.tsv").write_text(f"{second}\t{min(train)}\n")
    result = succeed("eval", *LAST, "--twins", "twins.tsv")
    document = json.loads(Path("results/scores.json").read_text())
    assert document["without_twins"]["left_out"] == [second]
    [l1] = [i["rows"]["gray photo"]["l1"] for i in document["images"] if i["name"] == first]
    assert document["without_twins"]["rows"]["gray photo"]["l1"]["mean"] == l1
    assert "1 without a twin" in result.stdout
    for option in ("--twins", "--labels"):
        result = flowercolor("eval", "--whole", option, "twins.tsv")
        assert_one_line_of_error(result, f"{option} needs a training split", code=2)


@pytest.mark.parametrize("option", ["--labels", "--twins", "--by"])
def test_what_hints_would_leave_out_does_not_go_with_them(here: Path, option: str) -> None:
    result = flowercolor("eval", "--hints", option, "table.csv")
    assert_one_line_of_error(result, f"{option} and --hints do not go together", code=2)


def test_eval_goes_along_a_vividness(trained: Trained, here: Path) -> None:
    """From one end to the other: the ends score what the checkpoints themselves do."""
    best, weights = trained.run / "best.safetensors", here / "vivid.safetensors"
    info, tensors = load_tensors(best)
    save_checkpoint(weights, info, {name: value * 1.1 for name, value in tensors.items()})
    assert succeed("join", best, weights, "-o", "both.safetensors").stdout == "both.safetensors\n"
    written = Path("both.safetensors").read_bytes()
    again = flowercolor("join", best, weights, "-o", "both.safetensors")
    assert_one_line_of_error(again, "both.safetensors: is there already", code=2)
    assert Path("both.safetensors").read_bytes() == written
    data = ["--data", str(json.loads((trained.run / "config.json").read_text())["data"]["source"])]

    def l1(*options: str | Path) -> dict[str, float]:
        succeed("eval", *data, "--device", "cpu", *options)
        rows = json.loads(Path("results/scores.json").read_text())["rows"]
        return {row: scores["l1"]["mean"] for row, scores in rows.items() if "l1" in scores}

    shares = ["--vividness", "0", "--vividness", "0.5", "--vividness", "1"]
    curve = l1("--checkpoint", "both.safetensors", *shares)
    assert list(curve)[:3] == ["both 0", "both 0.5", "both 1"]
    assert curve["both 0"] == pytest.approx(l1("--checkpoint", best)[trained.run.name], abs=1e-3)
    assert curve["both 1"] == pytest.approx(l1("--checkpoint", weights)[weights.stem], abs=1e-3)
    assert l1("--checkpoint", "both.safetensors")["both"] == pytest.approx(curve["both 0.5"])
    refused = flowercolor("eval", *data, "--checkpoint", best, "--vividness", "0.5")
    assert_one_line_of_error(refused, "holds one network and no vividness scale")
    refused = flowercolor("eval", "--vividness", "0.5", "--compare", best)
    assert_one_line_of_error(refused, "leave out --compare", code=2)


def test_eval_judges_on_the_validation_part(trained: Trained, folder: Path, here: Path) -> None:
    def judged(*options: str) -> set[str]:
        told = succeed("eval", *LAST, "--device", "cpu", *options).stderr
        assert ("has learned from the validation part" in told) == ("--validation" in options)
        images = json.loads(Path("results/scores.json").read_text())["images"]
        return {image["name"] for image in images}

    held = judged("--validation")
    assert held == {"jpg/image_00001.jpg"}, "one in twenty, from the first"
    assert not held & judged()

    for photo in sorted((folder / "jpg").iterdir())[2:]:
        photo.unlink()
    refused = flowercolor("eval", *LAST, "--validation", "--data", folder)
    assert refused.exit_code == 1
    assert "too few to keep one in 20 apart" in last_line(refused.stderr)


def test_eval_tells_what_still_looks_like_its_flower(
    trained: Trained, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier, "RECIPE", Recipe(epochs=1, crop_px=16, size_px=16))
    table = write_labels(here)
    written_ns = []
    for _ in range(2):
        result = succeed("eval", *LAST, "--labels", "labels.csv", "--device", "cpu")
        document = json.loads(Path("results/scores.json").read_text())
        assert document["labels"] == "labels.csv"
        for row, scores in document["rows"].items():
            own = [image["rows"][row]["recognized"] for image in document["images"]]
            assert set(own) <= {0, 1}
            assert scores["recognized"]["mean"] == np.mean(own)
            assert f"{np.mean(own):.3f}" in result.stdout
        assert "recovered" in document["rows"][trained.run.name]
        assert "looks like its flower" in result.stdout
        [file] = (paths.cache_dir() / "classifiers").iterdir()
        written_ns.append(file.stat().st_mtime_ns)
    assert written_ns[0] == written_ns[1], "the second time it is not trained again"

    table.write_text("\n".join(table.read_text().splitlines()[:-3]))
    result = flowercolor("eval", *LAST, "--labels", "labels.csv")
    assert result.exit_code == 1
    said = "Error: labels.csv: names no class for 3 of the 12 photos of "
    assert last_line(result.stderr).startswith(said)


@pytest.mark.slow
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
