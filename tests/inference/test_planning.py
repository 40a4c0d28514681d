import os
import shutil
import unicodedata
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowercolor.errors import ImageError, SettingError
from flowercolor.inference.planning import Job, plan
from flowercolor.photos.formats import WRITABLE
from flowercolor.photos.writer import write_photo
from flowercolor.provenance import PROGRAM
from tests.helpers import Recorder
from tests.inference.helpers import TREES, names, no_entry, pick_inputs, save, touch


def test_a_photo_is_written_beside_itself(here: Path) -> None:
    [photo] = touch(here, "box/rose.jpg")
    assert names(plan([photo]), here) == {"box/rose.jpg": "box/rose_color.jpg"}


def test_a_folder_is_written_into_one_beside_it(here: Path) -> None:
    touch(here, "box/b.jpg", "box/a.png", "box/notes.txt", "box/._a.png", "box/deep/c.jpg")
    assert names(plan([here / "box"]), here) == {
        "box/a.png": "box_color/a.png",
        "box/b.jpg": "box_color/b.jpg",
    }


@pytest.mark.parametrize("output", [None, Path("out")])
def test_a_photos_result_has_one_name_whether_it_was_named_or_its_folder(
    here: Path, output: Path | None
) -> None:
    """Else what puts one photo right would leave the result that was wrong."""
    output = output and here / output
    photos = touch(here, "box/a.heic", "box/a.png", "box/b.JPG", "box/b.jpg", "box/c.png")
    whole = names(plan([here / "box/*"], output), here)
    assert len({Path(target).stem for target in whole.values()}) == len(photos)
    assert names(plan(photos[::-1], output), here) == whole
    for photo in photos:
        assert names(plan([photo], output), here).items() <= whole.items()
    [alone] = plan([here / "box/a.heic"], "out", exclude=["a.png"])
    assert alone.target == Path("out/a.png"), "its neighbor is left out"
    made = here / "box/d.png"
    write_photo(made, np.zeros((9, 9, 3), np.uint8), software=PROGRAM)
    [alone] = plan(touch(here, "box/d.heic"), "out")
    assert alone.target == Path("out/d.png"), "its neighbor is a result"


def test_what_is_no_other_photo_changes_no_name(here: Path) -> None:
    """The photo itself in other letters, as some disks have it; a folder; a BMP made before."""
    [rose] = touch(here, "box/rose.jpg")
    (here / "box/Rose.JPG").hardlink_to(rose)
    [job] = plan([rose], "out")
    assert job.target == Path("out/rose.jpg")
    (here / "box/tulip.png").mkdir()
    [job] = plan(touch(here, "box/tulip.gif"), "out")
    assert job.target == Path("out/tulip.png")
    for _ in range(2):
        [job] = plan([rose], here / "box", ending="bmp")
        assert job.target == here / "box/rose.bmp"
        touch(here, "box/rose.bmp")


def test_recursive_keeps_the_tree(here: Path) -> None:
    touch(here, "box/a.jpg", "box/deep/c.jpg", "box/deep/er/a.jpg")
    assert names(plan([here / "box"], here / "out", recursive=True), here) == {
        "box/a.jpg": "out/a.jpg",
        "box/deep/c.jpg": "out/deep/c.jpg",
        "box/deep/er/a.jpg": "out/deep/er/a.jpg",
    }


@pytest.mark.parametrize(("given", "folder"), [(".", "here_color"), ("deep/..", "here_color")])
def test_the_current_folder_is_written_into_one_beside_it(
    here: Path, given: str, folder: str
) -> None:
    touch(here, "rose.jpg", "deep/rose.jpg")
    [job] = plan([given])
    assert job.target.resolve() == here.parent / folder / "rose.jpg"


def test_patterns_are_expanded_but_a_file_of_that_name_goes_first(here: Path) -> None:
    touch(here, "b1.jpg", "b2.jpg", "b[12].jpg", "deep/er/c.jpg")
    assert [job.source.name for job in plan(["b?.jpg"])] == ["b1.jpg", "b2.jpg"]
    assert [job.source.name for job in plan(["b[12].jpg"])] == ["b[12].jpg"]
    assert [job.source.name for job in plan(["**/c.*"])] == ["c.jpg"]


def test_brackets_may_be_those_of_a_folders_name(here: Path) -> None:
    touch(here, "box [1962]/a.png", "box 7/b.png")
    assert [job.source.name for job in plan(["box [1962]/*.png"])] == ["a.png"]
    assert [job.source.name for job in plan(["box [78]/*.png"])] == ["b.png"]


def test_hidden_folders_are_passed_over(here: Path) -> None:
    touch(here, "box/a.png", "box/.thumbnails/a.png", "box/deep/.originals/b.png")
    assert [job.source.name for job in plan(["box"], recursive=True)] == ["a.png"]


def test_a_folder_that_cannot_be_read_is_refused(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(here / "box" / "a.png")
    no_entry(monkeypatch, here / "box")
    with pytest.raises(ImageError, match=r"box: cannot be read: Permission denied$"):
        plan([here / "box"])


def test_a_photo_named_twice_is_taken_once(here: Path) -> None:
    touch(here, "box/a.jpg", "box/b.jpg")
    given: list[str | Path] = [
        "box/a.jpg",
        "./box/a.jpg",
        here / "box" / "a.jpg",
        "box/../box/a.jpg",
        "box",
        "box/*",
    ]
    assert [str(job.source) for job in plan(given)] == [
        str(Path(path)) for path in ("box/a.jpg", "box/b.jpg")
    ]


def test_the_output_folder_inside_an_input_folder_is_not_read_again(here: Path) -> None:
    touch(here, "box/a.jpg", "box/out/a.jpg", "box/outer/b.jpg")
    jobs = plan(["box"], Path("box/out"), recursive=True)
    assert [job.source.as_posix() for job in jobs] == ["box/a.jpg", "box/outer/b.jpg"]


@pytest.mark.parametrize("output", [".", ".."])
def test_the_output_folder_may_hold_the_input_folder(here: Path, output: str) -> None:
    touch(here, "box/a.jpg")
    assert [job.target for job in plan(["box"], Path(output))] == [Path(output, "a.jpg")]


def test_a_folder_is_not_its_own_output(here: Path) -> None:
    touch(here, "box/a.jpg")
    with pytest.raises(SettingError, match="own output folder"):
        plan(["box"], here / "box")


def test_an_output_folder_that_a_pattern_finds_is_left_out(here: Path) -> None:
    """As the second time that a command with `*` runs."""
    touch(here, "a.jpg", "out/a.jpg")
    progress = Recorder()
    jobs = plan(["*"], "out", progress=progress)
    assert jobs == [Job(Path("a.jpg"), Path("out/a.jpg"))]
    assert progress.notes == ["The output folder is among the photos, left out: out"]
    with pytest.raises(SettingError, match="own output folder"):
        plan(["out"], "out", progress=progress)


@pytest.mark.parametrize("recursive", [True, False])
def test_photos_in_an_output_folder_below_the_input_are_told_of(
    here: Path, recursive: bool
) -> None:
    """But not what flowercolor made there, nor what is a target and told of later."""
    for name in ("one.png", "out/one.png", "out/two.png", "out/deep/four.png"):
        save(here / "box" / name)
    write_photo(here / "box/out/made.png", np.zeros((9, 9, 3), np.uint8), software=PROGRAM)
    progress = Recorder()
    jobs = plan("box", "box/out", recursive=recursive, progress=progress)
    assert [job.source.as_posix() for job in jobs] == ["box/one.png"]
    assert progress.notes == [
        f"The output folder {Path('box/out')} holds 2 photos that flowercolor did not make, "
        "left out"
    ]
    for photo in ("two.png", "deep/four.png"):
        (here / "box" / "out" / photo).unlink()
    progress = Recorder()
    plan("box", "box/out", recursive=recursive, progress=progress)
    assert progress.notes == []


def test_photos_in_the_output_folder_that_are_named_are_not_told_of(here: Path) -> None:
    for name in ("one.png", "out/two.png"):
        save(here / "box" / name)
    progress = Recorder()
    jobs = plan(["box", "box/out/two.png"], "box/out", progress=progress)
    assert len(jobs) == 2
    assert progress.notes == []


def test_one_photo_takes_a_file_or_a_folder(here: Path) -> None:
    touch(here, "a.jpg", "album.v2/old.jpg")
    assert plan(["a.jpg"], Path("b.png")) == [Job(Path("a.jpg"), Path("b.png"))]
    assert plan(["a.jpg"], Path("out")) == [Job(Path("a.jpg"), Path("out/a.jpg"))]
    assert plan(["a.jpg"], Path("album.v2")) == [Job(Path("a.jpg"), Path("album.v2/a.jpg"))]
    with pytest.raises(SettingError, match=r"'\.xyz'"):
        plan(["a.jpg"], Path("b.xyz"))
    for output in ("album.v3/", "b.png/"):
        [job] = plan(["a.jpg"], output)
        assert job.target == Path(output, "a.jpg")


def test_several_photos_take_a_folder_only(here: Path) -> None:
    touch(here, "a.jpg", "b.jpg", "box/c.jpg", "empty.v1")
    with pytest.raises(SettingError, match="2 photos"):
        plan(["a.jpg", "b.jpg"], Path("out.jpg"))
    with pytest.raises(SettingError, match="expected a folder"):
        plan(["box"], Path("out.jpg"))
    with pytest.raises(SettingError, match="expected a folder"):
        plan(["a.jpg", "b.jpg"], Path("empty.v1"))
    touch(here, "README")
    with pytest.raises(SettingError, match=r"README: is a file .* expected a folder"):
        plan(["a.jpg"], Path("README"))
    assert [job.target.parent.name for job in plan(["a.jpg", "b.jpg"], Path("v1.2"))] == [
        "v1.2"
    ] * 2


def test_what_a_folder_holds_is_not_taken_for_a_mistyped_name(here: Path) -> None:
    save(here / "box" / "a.png")
    (here / "box" / "b.png").symlink_to("nowhere.png")
    with pytest.raises(SettingError, match=r"x\.png: is a file or named like one; expected a fol"):
        plan("box", "x.png")


def test_endings_are_kept_where_they_can_be_written(here: Path) -> None:
    touch(here, "a.JPG", "b.heic", "c.gif", "d", "e.tar.tiff", "f.MPO")
    assert names(plan(sorted(here.iterdir()), here / "out"), here) == {
        "a.JPG": "out/a.JPG",
        "b.heic": "out/b.png",
        "c.gif": "out/c.png",
        "d": "out/d.png",
        "e.tar.tiff": "out/e.tar.tiff",
        "f.MPO": "out/f.jpg",
    }
    wanted = plan(["a.JPG", "e.tar.tiff"], ending=".webp")
    assert [job.target.name for job in wanted] == ["a_color.webp", "e.tar_color.webp"]


def test_photos_of_one_name_keep_their_folders(here: Path) -> None:
    touch(here, "box/a/x.jpg", "box/b/x.jpg", "box/b/y.jpg")
    jobs = plan([here / "box/a/x.jpg", here / "box/b/x.jpg", here / "box/b/y.jpg"], here / "out")
    assert names(jobs, here) == {
        "box/a/x.jpg": "out/a/x.jpg",
        "box/b/x.jpg": "out/b/x.jpg",
        "box/b/y.jpg": "out/y.jpg",
    }
    trees = plan([here / "box/a", here / "box/b"], here / "out", recursive=True)
    assert names(trees, here)["box/a/x.jpg"] == "out/a/x.jpg"


def test_a_pattern_keeps_the_tree_below_its_fixed_part_however_many_it_finds(here: Path) -> None:
    first, second = "box/1962/rose.jpg", "box/1971/rose.jpg"
    results = {first: "out/1962/rose.jpg", second: "out/1971/rose.jpg"}
    for pattern in ("box/*/*.jpg", "./box/19*", "box/**/rose.jpg"):
        touch(here, first)
        assert names(plan([f"{here}/{pattern}"], here / "out"), here) == {first: results[first]}
        touch(here, second)
        assert names(plan([f"{here}/{pattern}"], here / "out"), here) == results
        shutil.rmtree(here / "box/1971")
    assert names(plan([here / "box/1962/*.jpg"], here / "out"), here) == {first: "out/rose.jpg"}
    assert names(plan([here / "box/*/*.jpg"]), here) == {first: "box/1962/rose_color.jpg"}
    assert names(plan([here / "box/*"]), here) == {first: "box/1962_color/rose.jpg"}


def test_photos_that_differ_in_their_ending_keep_it_in_the_name(here: Path) -> None:
    touch(here, "box/x.gif", "box/x.png", "other/y.png")
    jobs = plan([here / "box/x.gif", here / "box/x.png", here / "other/y.png"])
    assert names(jobs, here) == {
        "box/x.gif": "box/x_color.gif.png",
        "box/x.png": "box/x_color.png.png",
        "other/y.png": "other/y_color.png",
    }


def test_a_number_is_the_last_resort(here: Path) -> None:
    """Folder and ending are in the names already."""
    touch(here, "x.jpg", "x.png", "x.jpg.png")
    jobs = plan([here / "x.jpg", here / "x.png", here / "x.jpg.png"], here / "out", ending=".png")
    assert names(jobs, here) == {
        "x.jpg": "out/x.jpg.png",
        "x.png": "out/x.png.png",
        "x.jpg.png": "out/x.jpg-2.png",
    }


def test_names_that_some_systems_take_for_one_are_kept_apart(here: Path) -> None:
    """Whether by case or by the coding of an accent."""
    sources = touch(here, "a/x.jpg", "b/X.JPG", "a/\u00e9.jpg", "b/e\u0301.jpg")
    assert names(plan(sources, here / "out"), here) == {
        "a/x.jpg": "out/a/x.jpg",
        "b/X.JPG": "out/b/X.JPG",
        "a/\u00e9.jpg": "out/a/\u00e9.jpg",
        "b/e\u0301.jpg": "out/b/e\u0301.jpg",
    }


def one_file_somewhere(path: Path) -> str:
    """What is equal where some system takes two paths for one file."""
    return unicodedata.normalize("NFC", str(path.resolve()).casefold())


@settings(deadline=None, max_examples=80)
@given(
    tree=TREES,
    data=st.data(),
    with_output=st.booleans(),
    recursive=st.booleans(),
    ending=st.sampled_from([None, ".png", ".jpg"]),
)
def test_each_photo_meant_gets_a_target_of_its_own(
    tree: list[str], data: st.DataObject, with_output: bool, recursive: bool, ending: str | None
) -> None:
    with TemporaryDirectory() as name:
        root = Path(name).resolve() / "in"
        touch(root, *(path.lstrip("/") for path in tree))
        inputs = pick_inputs(data, root)
        output = root.parent / "out" if with_output else None
        jobs = plan(inputs, output, recursive=recursive, ending=ending)

        meant = {path for path in inputs if path.is_file()}
        for path in inputs:
            if path.is_dir():
                below = path.rglob("*") if recursive else path.iterdir()
                meant |= {one for one in below if one.is_file()}
        skipped = meant - {job.source for job in jobs}
        # Only what lies in the folder that an input folder's photos go to may be left out.
        homes = {path.with_name(f"{path.name}_color") for path in inputs if path.is_dir()}
        assert all(homes & set(path.parents) and not with_output for path in skipped)
        assert len(jobs) == len({job.source for job in jobs})

        assert len({one_file_somewhere(job.target) for job in jobs}) == len(jobs)
        assert all(job.target.suffix.lower() in WRITABLE for job in jobs)
        if output:
            assert all(output in job.target.parents for job in jobs)
            assert not {job.target for job in jobs} & {job.source for job in jobs}


def test_what_is_no_name_is_refused(here: Path) -> None:
    """`Path` makes the current folder of an empty one."""
    save(here / "rose.png")
    expected = r"; expected a file or a folder \(the one you are in is called \.\)$"
    for inputs in ("", [""], ["rose.png", ""]):
        with pytest.raises(SettingError, match=f"^inputs is an empty name{expected}"):
            plan(inputs)
    with pytest.raises(SettingError, match=f"^output is an empty name{expected}"):
        plan("rose.png", "")
    with pytest.raises(SettingError, match=f"^inputs is None{expected}"):
        plan(None)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match=f"^inputs is None{expected}"):
        plan([None])  # type: ignore[list-item]
    with pytest.raises(SettingError, match=f"^target is an empty name{expected}"):
        Job(Path("rose.png"), "")  # type: ignore[arg-type]
    assert [job.source for job in plan(".")] == [Path("rose.png")]


def test_a_job_takes_names_as_texts() -> None:
    job = Job("a.jpg", "b.jpg")  # type: ignore[arg-type]
    assert job == Job(Path("a.jpg"), Path("b.jpg"))


def test_an_ending_that_cannot_be_written_is_refused_at_once(here: Path) -> None:
    save(here / "rose.png")
    for ending in (".xyz", "xyz"):
        with pytest.raises(SettingError, match=r"^\*\.xyz: has the ending '\.xyz'; expected"):
            plan(["rose.png"], ending=ending)
    assert plan(["rose.png"], ending="jpg") == plan(["rose.png"], ending=".jpg")


def test_a_new_folder_whose_name_has_a_point_ends_with_a_slash(here: Path) -> None:
    save(here / "rose.png")
    with pytest.raises(SettingError, match=r"^on 3\.6\.1962: .*'\.1962'; .*ends with a slash$"):
        plan(["rose.png"], "on 3.6.1962")
    [job] = plan(["rose.png"], "on 3.6.1962/")
    assert job.target == Path("on 3.6.1962", "rose.png")


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="the system has no such names")
@pytest.mark.parametrize("pattern", [False, True])
def test_no_result_is_put_beside_a_stream(here: Path, *, pattern: bool) -> None:
    """Not even where a file is behind it."""
    with save(here / "rose.png").open("rb") as photo:
        stream = f"/dev/fd/{photo.fileno()}"
        given = stream.replace("fd/", "[f]d/") if pattern else stream
        with pytest.raises(SettingError, match=f"^{stream}: is a stream; expected a file, or - "):
            plan([given])


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="the system has no such files")
def test_a_device_is_called_so(here: Path) -> None:
    save(here / "rose.png")
    with pytest.raises(
        SettingError, match=r"^/dev/null: is a device or a pipe; expected a file or"
    ):
        plan(["rose.png"], "/dev/null")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no such pipes")
def test_a_pipe_is_no_output(here: Path) -> None:
    save(here / "rose.png")
    os.mkfifo(here / "out.png")
    with pytest.raises(SettingError, match=r"^out\.png: is a device or a pipe; expected"):
        plan(["rose.png"], "out.png")


def test_a_path_by_a_folder_that_is_not_there_is_where_it_would_lead(here: Path) -> None:
    save(here / "rose.png")
    [job] = plan(["rose.png"], "nowhere/../rose.png")
    assert job.target == here / "rose.png", "which is the photo itself"
    [job] = plan(["rose.png"], "nowhere/deep/out.png")
    assert job.target == Path("nowhere/deep/out.png")
