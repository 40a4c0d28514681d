from pathlib import Path

import numpy as np
import pytest

from flowercolor.inference.photo_search import Finder
from flowercolor.inference.planning import plan
from flowercolor.photos.writer import write_photo
from tests.helpers import Recorder
from tests.inference.helpers import touch


def test_what_a_nas_and_waste_bins_hold_is_no_photo(here: Path) -> None:
    touch(
        here,
        "nas/1962/rose.jpg",
        "nas/1962/@eaDir/rose.jpg/SYNOPHOTO_THUMB_M.jpg",
        "nas/#recycle/deleted.jpg",
        "nas/$RECYCLE.BIN/$RABC.jpg",
        "nas/Garden.lrdata/preview.jpg",
    )
    for given in ("nas", "nas/**/*.jpg"):
        jobs = plan([given], here / "out", recursive=True)
        assert [job.source.as_posix() for job in jobs] == ["nas/1962/rose.jpg"]
    [named] = plan(["nas/#recycle"], here / "out")
    assert named.source.name == "deleted.jpg", "what is named is meant"


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        (["*_proof.*"], ["a.jpg", "b.jpg", "c.jpg"]),
        (["PRIVATE"], ["a.jpg", "a_proof.jpg", "b.jpg"]),
        (["private/*", "deep"], ["a.jpg", "a_proof.jpg"]),
        (["deep/b.jpg"], ["a.jpg", "a_proof.jpg", "c.jpg"]),
        (["box/private/"], ["a.jpg", "a_proof.jpg", "b.jpg"]),
        (["./box/private"], ["a.jpg", "a_proof.jpg", "b.jpg"]),
        (["box/b.jpg", "a*"], ["b.jpg", "c.jpg"]),
        ("*_proof.*", ["a.jpg", "b.jpg", "c.jpg"]),
    ],
)
def test_patterns_leave_out_files_and_folders(
    here: Path, patterns: str | list[str], left: list[str]
) -> None:
    touch(here, "box/a.jpg", "box/a_proof.jpg", "box/deep/b.jpg", "box/private/c.jpg")
    progress = Recorder()
    jobs = plan(["box"], here / "out", recursive=True, exclude=patterns, progress=progress)
    assert sorted(job.source.name for job in jobs) == left
    assert any(note.startswith("Left out by `exclude`: ") for note in progress.notes)


def test_a_pattern_that_leaves_out_nothing_is_named(here: Path) -> None:
    touch(here, "box/a.jpg", "box/a_proof.jpg", "box/.old/b.jpg")
    progress = Recorder()
    plan(["box"], exclude=["*_Prof.*", "*proof*", "a_*", ".old"], progress=progress)
    assert progress.notes == [
        "Left out by `exclude`: 2",
        "`exclude` *_Prof.*: no photo or folder that was looked at has such a name",
    ]


def test_what_is_named_itself_and_within_a_folder_counts_once(here: Path) -> None:
    touch(here, "box/a.jpg", "box/b.dng", "box/c.xmp", "box/no.jpg", "box/1/x.jpg", "box/1/y.jpg")
    touch(here, "box/2/z.jpg", "box/2/w.jpg")
    progress = Recorder()
    jobs = plan(
        ["box", "box/1", "box/2/z.jpg", here / "box"],
        here / "out",
        exclude=["no.*"],
        progress=progress,
    )
    assert len(jobs) == 4
    assert progress.notes == [
        "1 photo in 1 subfolder not looked at: `recursive` looks into subfolders",
        "1 file of kinds that are not read, left out: .dng",
        "1 file of notes on photos, left out: .xmp",
        "Left out by `exclude`: 1",
    ]


def test_what_was_left_out_is_counted_in_a_line_for_each_kind(here: Path) -> None:
    touch(here, "box/a.jpg", "box/b.jp2", "box/c.dng", "box/d.JXL", "box/e.psd", "box/a.xmp")
    touch(here, "box/1/x.jpg", "box/1/y.jpg", "box/2/3/z.jpg", "box/2/notes.txt", "box/.h/w.jpg")
    progress = Recorder()
    assert [job.source.name for job in plan(["box"], progress=progress)] == ["a.jpg"]
    assert progress.notes == [
        "3 photos in 2 subfolders not looked at: `recursive` looks into subfolders",
        "4 files of kinds that are not read, left out: .dng, .jp2, .jxl, .psd",
        "1 file of notes on photos, left out: .xmp",
    ]
    assert Finder().notes() == []


@pytest.mark.parametrize("recursive", [False, True])
def test_links_to_folders_are_counted(here: Path, recursive: bool) -> None:
    touch(here, "box/a.jpg", "box/.hidden/b.jpg", "1962/c.jpg")
    for name in ("box/one", "box/.two"):
        (here / name).symlink_to(here / "1962")
    progress = Recorder()
    assert len(plan(["box"], here / "out", recursive=recursive, progress=progress)) == 1
    assert progress.notes == ["Left out: a link to a folder; name the folders themselves"]
    (here / "box" / "three").symlink_to(here / "1962")
    plan(["box"], here / "out", recursive=recursive, progress=progress)
    assert progress.notes[1] == "Left out: 2 links to folders; name the folders themselves"
    plan(["box", "1962"], here / "out", recursive=recursive, progress=progress)
    assert len(progress.notes) == 2, "what they lead to is colored"


def test_results_of_another_call_are_no_photos_that_were_not_looked_at(here: Path) -> None:
    touch(here, "box/a.jpg", "box/deep/b.jpg")
    (here / "box" / "colored").mkdir()
    for name in ("a.png", "c.png"):
        write_photo(here / "box" / "colored" / name, np.zeros((4, 4, 3), np.uint8))
    progress = Recorder()
    plan(["box"], progress=progress)
    assert progress.notes == [
        "1 photo in 1 subfolder not looked at: `recursive` looks into subfolders"
    ]


def test_photos_beside_their_results_are_counted_without_those(here: Path) -> None:
    touch(here, "box/a.jpg", "box/1/x.jpg", "box/1/y_color.jpg", "box/1/z.jpg", "box/2/w.jpg")
    for name in ("1/a.png", "1/x_color.jpg", "1/x.jpg.variants.png", "2/w_color.png"):
        write_photo(here / "box" / name, np.zeros((4, 4, 3), np.uint8))
    progress = Recorder()
    plan(["box"], here / "out", progress=progress)
    assert progress.notes == [
        "4 photos in 2 subfolders not looked at: `recursive` looks into subfolders"
    ]
