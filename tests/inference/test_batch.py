import errno
import io
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from flowercolor._version import __version__
from flowercolor.config import NetworkConfig
from flowercolor.errors import ImageError, SettingError, StorageError
from flowercolor.hints.guidance import Guidance
from flowercolor.hints.hint import Hint
from flowercolor.inference import batch
from flowercolor.inference.batch import Outcome, Writing, convert, run
from flowercolor.inference.colorizer import Colorizer
from flowercolor.inference.planning import Job, plan
from flowercolor.memory_budget import LACK, memory_errors
from flowercolor.networks.unet import UNet
from flowercolor.photos.reader import read_photo
from flowercolor.photos.writer import write_photo
from tests.helpers import Recorder
from tests.inference.helpers import (
    TREES,
    Array,
    as_backend,
    gray,
    leftovers,
    no_entry,
    pick_inputs,
    pixels,
    save,
    statuses,
)
from tests.pictures import noise

pytestmark = pytest.mark.usefixtures("backend")


@pytest.fixture
def colorizer() -> Colorizer:
    torch.manual_seed(0)
    generator = UNet(NetworkConfig(base_channels=2))
    return Colorizer(as_backend(generator), render_size_px=32)


class Hooked(Colorizer):
    """Calls the test before it works: at each photo, and at each pass of the network."""

    def __init__(
        self,
        colorizer: Colorizer,
        *,
        at_photo: Callable[[int], None] = lambda _number: None,
        at_pass: Callable[[Sequence[Array]], None] = lambda _smalls: None,
    ) -> None:
        super().__init__(colorizer.network, render_size_px=32)
        self._numbers = itertools.count()
        self._at_photo, self._at_pass = at_photo, at_pass

    def shrink(self, luma: Array) -> Array:
        self._at_photo(next(self._numbers))
        return super().shrink(luma)

    def chroma(self, smalls: Sequence[Array]) -> list[Array]:
        self._at_pass(smalls)
        return super().chroma(smalls)


@pytest.mark.parametrize("given", ["{}", "{}/*.png", "{}.png"])
def test_a_name_that_no_system_takes_costs_only_itself(
    here: Path, colorizer: Colorizer, given: str
) -> None:
    save(here / "a.png")
    outcomes = list(run(plan(["a.png", given.format("x" * 300)], here / "out"), colorizer))
    assert statuses(outcomes) == ["done", "failed"]
    assert "unexpected" not in outcomes[1].message


def test_a_folder_below_that_cannot_be_read_costs_only_itself(
    here: Path, colorizer: Colorizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(here / "box" / "a.png")
    save(here / "box" / "shut" / "b.png")
    no_entry(monkeypatch, here / "box" / "shut")
    outcomes = list(run(plan([here / "box"], here / "out", recursive=True), colorizer))
    assert statuses(outcomes) == ["done", "failed"]
    assert outcomes[1].message == f"{here / 'box' / 'shut'}: cannot be opened: Permission denied"


def test_what_is_missing_stays_in_the_plan_to_be_told(here: Path, colorizer: Colorizer) -> None:
    [outcome] = run(plan(["missing.jpg"]), colorizer)
    assert outcome.status == "failed"
    assert "missing.jpg" in outcome.message
    assert list(here.iterdir()) == []


@settings(deadline=None, max_examples=20)
@given(tree=TREES, data=st.data(), in_place=st.booleans())
def test_no_photo_is_ever_written_over(
    tree: list[str], data: st.DataObject, in_place: bool
) -> None:
    """Even with `overwrite`, and with outputs that lie among the photos."""
    torch.manual_seed(0)
    colorizer = Colorizer(as_backend(UNet(NetworkConfig(base_channels=1))), render_size_px=16)
    with TemporaryDirectory() as name:
        root = Path(name).resolve() / "in"
        for path in tree:
            save(root / path.lstrip("/"), gray(4, 4))
        inputs = pick_inputs(data, root)
        try:
            jobs = plan(inputs, root if in_place else None, recursive=True)
        except SettingError:
            return
        before = {job.source: job.source.read_bytes() for job in jobs}
        outcomes = list(run(jobs, colorizer, Writing(overwrite=True)))
        assert {source: source.read_bytes() for source in before} == before
        assert [outcome.job for outcome in outcomes] == jobs
        assert not leftovers(root)


def test_a_colored_photo_keeps_size_luma_and_format(tmp_path: Path, colorizer: Colorizer) -> None:
    sources = [
        save(tmp_path / "a.png", gray(33, 47)),
        save(tmp_path / "b.tif", gray(50, 20)),
        save(tmp_path / "c.webp", gray(16, 16)),
        save(tmp_path / "d.jpg", gray(40, 40)),
        save(tmp_path / "line.png", gray(1, 200)),
        save(tmp_path / "dot.png", gray(1, 1)),
    ]
    jobs = plan(sources, tmp_path / "out")
    outcomes = list(run(jobs, colorizer))
    assert statuses(outcomes) == ["done"] * 6
    for outcome in outcomes:
        colored = pixels(outcome.job.target)
        assert colored.shape == (outcome.height_px, outcome.width_px, 3)
        luma = read_photo(outcome.job.source).luma
        assert colored.shape[:2] == luma.shape
        away = np.abs(cv2.cvtColor(colored, cv2.COLOR_RGB2GRAY).astype(int) - luma)
        lossy = outcome.job.target.suffix in (".jpg", ".webp")
        assert away.max() <= (6 if lossy else 1)
        assert np.ptp(colored, axis=2).max() > 5, "it is gray still"
        with Image.open(outcome.job.source) as source, Image.open(outcome.job.target) as target:
            assert target.format == source.format


def test_sixteen_bits_stay_sixteen_bits(tmp_path: Path, colorizer: Colorizer) -> None:
    luma = gray(30, 40, dtype=np.uint16)
    source = save(tmp_path / "deep.png", luma)
    [outcome] = run(plan([source]), colorizer)
    colored: Any = cv2.imdecode(
        np.frombuffer(outcome.job.target.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED
    )
    assert colored.dtype == np.uint16
    away = np.abs(cv2.cvtColor(colored, cv2.COLOR_BGR2GRAY).astype(int) - luma)
    assert away.max() <= 1


def test_transparency_is_kept(tmp_path: Path, colorizer: Colorizer) -> None:
    alpha = gray(20, 30, seed=5)
    source = save(tmp_path / "a.png", np.dstack((gray(20, 30), alpha)))
    [outcome] = run(plan([source]), colorizer)
    colored = pixels(outcome.job.target)
    assert colored.shape == (20, 30, 4)
    assert np.array_equal(colored[..., 3], alpha)


def test_the_file_says_what_colored_it_and_what_its_source_said(
    tmp_path: Path, colorizer: Colorizer
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "Grandmother"
    Image.fromarray(gray()).save(tmp_path / "a.jpg", exif=exif, dpi=(300, 300))
    [outcome] = run(plan([tmp_path / "a.jpg"]), colorizer)
    with Image.open(outcome.job.target) as image:
        tags = image.getexif()
        assert image.info["dpi"] == (300, 300)
    software = tags[ExifTags.Base.Software]
    model = f"colorized by the model {colorizer.name}"
    assert software == f"flowercolor {__version__}, {model}, render size 32"
    assert tags[ExifTags.Base.Artist] == "Grandmother"


def test_the_writing_options_reach_the_file(tmp_path: Path, colorizer: Colorizer) -> None:
    source = save(tmp_path / "a.png", noise(64, 64))
    sizes = []
    for quality, subsampling in ((95, "4:4:4"), (95, "4:2:0"), (30, "4:2:0")):
        [job] = plan([source], tmp_path / f"{quality}{subsampling[-1]}.jpg")
        list(run([job], colorizer, Writing(quality, subsampling)))
        sizes.append(job.target.stat().st_size)
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 3
    with pytest.raises(SettingError, match="quality is 0"):
        Writing(quality=0)
    with pytest.raises(SettingError, match="subsampling is '4:1:1'; expected one of 4:4:4, "):
        Writing(subsampling="4:1:1")
    with pytest.raises(SettingError, match="overwrite is 5; expected true or false"):
        Writing(overwrite=5)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match=r"^max_pixels is 0; expected 1 or more$"):
        list(run([], colorizer, max_pixels=0))


def test_mixed_sizes_come_out_as_one_at_a_time(tmp_path: Path, colorizer: Colorizer) -> None:
    """Photos of one shape go through the network together, the others between them."""
    shapes = [(24, 32), (32, 24), (24, 32), (48, 64), (17, 17), (24, 32)]
    sources = [
        save(tmp_path / f"{number}.png", gray(*shape, seed=number))
        for number, shape in enumerate(shapes)
    ]
    passes: list[int] = []
    counting = Hooked(colorizer, at_pass=lambda smalls: passes.append(len(smalls)))
    outcomes = list(run(plan(sources, tmp_path / "out"), counting, workers=1))
    assert passes == [4, 1, 1]
    for outcome in outcomes:
        alone = colorizer(pixels(outcome.job.source))
        together = pixels(outcome.job.target)
        assert np.abs(alone.astype(int) - together).max() <= 1


@pytest.mark.parametrize(("count", "threads"), [(1, [4]), (2, [2]), (9, [1])])
def test_few_photos_get_all_the_threads(
    tmp_path: Path, colorizer: Colorizer, backend: str, count: int, threads: list[int]
) -> None:
    if backend == "onnxruntime":
        pytest.skip("its threads are its session's: tests/inference/test_onnx_backend.py")
    sources = [save(tmp_path / f"{number}.png") for number in range(count)]
    counts: set[int] = set()
    watched = Hooked(colorizer, at_pass=lambda _: counts.add(torch.get_num_threads()))
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        assert len(list(run(plan(sources, tmp_path / "out"), watched, workers=4))) == count
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)
    assert sorted(counts) == threads


def test_a_broken_photo_costs_only_itself(tmp_path: Path, colorizer: Colorizer) -> None:
    good = [save(tmp_path / f"{number}.png", gray(seed=number)) for number in range(10)]
    (tmp_path / "3.png").write_bytes(b"no photo at all")
    (tmp_path / "5.png").write_bytes(good[4].read_bytes()[:90])
    (tmp_path / "7.png").write_bytes(b"")
    jobs = plan([tmp_path], tmp_path / "out")
    outcomes = list(run(jobs, colorizer))
    assert [outcome.job for outcome in outcomes] == jobs
    failed = [outcome for outcome in outcomes if outcome.status != "done"]
    assert [outcome.job.source.name for outcome in failed] == ["3.png", "5.png", "7.png"]
    for outcome in failed:
        assert outcome.status == "failed"
        assert str(outcome.job.source) in outcome.message
        assert "\n" not in outcome.message
        assert not outcome.job.target.exists()
    assert len(list((tmp_path / "out").iterdir())) == 7


def test_outcomes_keep_the_order_of_the_jobs(tmp_path: Path, colorizer: Colorizer) -> None:
    sources = [save(tmp_path / f"{number}.png") for number in range(6)]
    slow_first = Hooked(colorizer, at_photo=lambda number: time.sleep(0.2 if number == 0 else 0))
    jobs = plan(sources, tmp_path / "out")
    assert [outcome.job for outcome in run(jobs, slow_first)] == jobs


def test_photos_larger_than_the_memory_meant_for_them_still_go_through(
    tmp_path: Path, colorizer: Colorizer
) -> None:
    sources = [save(tmp_path / f"{number}.png") for number in range(4)]
    jobs = plan(sources)
    assert statuses(list(run(jobs, colorizer, chunk_pixels=1))) == ["done"] * 4
    for most_pixels, lengths in ((1, [1] * 4), (2 * 24 * 32, [2, 2])):
        assert [len(chunk) for chunk, _ in batch._chunks(jobs, 8, most_pixels)] == lengths


@pytest.mark.parametrize(("budget", "most"), [(1, 1), (2 * 24 * 32, 2), (10**9, 5)])
def test_large_photos_are_not_held_by_all_workers_at_once(
    tmp_path: Path,
    colorizer: Colorizer,
    monkeypatch: pytest.MonkeyPatch,
    budget: int,
    most: int,
) -> None:
    """Begun and not finished are as many as there are workers and one, or as memory takes."""
    at_once: list[int] = []
    submit = ThreadPoolExecutor.submit

    def counted(self: ThreadPoolExecutor, *args: Any) -> Any:
        futures.append(submit(self, *args))
        at_once.append(len(futures) - len(finished))
        return futures[-1]

    futures: list[Any] = []
    finished: list[Outcome] = []
    monkeypatch.setattr(ThreadPoolExecutor, "submit", counted)
    jobs = plan([save(tmp_path / f"{number}.png") for number in range(8)])
    limits: Any = {"workers": 4, "chunk_pixels": 1, "pixels_in_flight": budget}
    finished.extend(run(jobs, colorizer, **limits))
    assert statuses(finished) == ["done"] * 8
    assert max(at_once) == most


def test_what_is_there_is_skipped_or_replaced(tmp_path: Path, colorizer: Colorizer) -> None:
    sources = [save(tmp_path / f"{number}.png", gray(seed=number)) for number in range(3)]
    jobs = plan(sources, tmp_path / "out")
    list(run(jobs[:2], colorizer))
    jobs[0].target.write_bytes(b"mine")
    again = list(run(jobs, colorizer))
    assert statuses(again) == ["skipped", "skipped", "done"]
    assert str(jobs[0].target) in again[0].message
    assert jobs[0].target.read_bytes() == b"mine"
    overwrite = Writing(overwrite=True)
    assert statuses(list(run(jobs, colorizer, overwrite))) == ["failed", "done", "done"]
    assert jobs[0].target.read_bytes() == b"mine"
    jobs[0].target.unlink()
    assert statuses(list(run(jobs, colorizer, overwrite))) == ["done"] * 3
    assert pixels(jobs[0].target).shape == (24, 32, 3)


@pytest.mark.parametrize("overwrite", [True, False])
def test_what_another_process_wrote_meanwhile_is_kept(
    tmp_path: Path, colorizer: Colorizer, overwrite: bool
) -> None:
    jobs = plan([save(tmp_path / "a.png")], tmp_path / "out")

    def beside(_: Sequence[Array]) -> None:
        save(jobs[0].target, gray(seed=9))

    writing = Writing(overwrite=overwrite)
    [outcome] = run(jobs, Hooked(colorizer, at_pass=beside), writing)
    assert outcome.status == ("failed" if overwrite else "skipped")
    assert f"{jobs[0].target}" in outcome.message
    assert "flowercolor did not make" in outcome.message
    assert np.array_equal(pixels(jobs[0].target), gray(seed=9))
    assert leftovers(tmp_path) == []


def test_a_guide_may_say_hints_alone_or_nothing_and_what_says_else_is_told(
    tmp_path: Path, colorizer: Colorizer
) -> None:
    jobs = plan([save(tmp_path / f"{name}.png") for name in ("a", "b", "c")])
    said: dict[str, Any] = {"a": [Hint(1, 1, "red")], "b": None, "c": "red"}
    a, b, c = run(jobs, colorizer, guide=lambda photo: said[photo.stem])
    assert "the network has no branch for hints" in a.message
    assert b.status == "done"
    assert c.message.startswith(f"{jobs[2].source}: hints is 'red'; expected a list of Hint, such")
    nothing: dict[str, list[Hint]] = {}
    [failed] = run(jobs[:1], colorizer, guide=lambda photo: nothing[photo.stem])
    assert failed.message == f"{jobs[0].source}: `guide` raised KeyError: '{jobs[0].source.stem}'"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"jobs": "box"}, "^jobs is 'box'; expected what `plan` gives$"),
        ({"jobs": [Path("a.png")]}, r"^jobs is \[.*\]; expected what `plan` gives$"),
        ({"colorizer": "bundled"}, "^colorizer is 'bundled'; expected a `Colorizer`$"),
        ({"writing": {"quality": 90}}, "^writing is {.*}; expected a `Writing`$"),
        ({"jobs": None}, "^jobs is None; expected what `plan` gives$"),
        ({"guide": Guidance()}, "^guide is .*; expected a function of a photo's path$"),
        ({"should_stop": True}, "^should_stop is True; expected a function of no arguments$"),
        ({"progress": print}, "^progress is .*; expected a `Progress`$"),
    ],
)
def test_what_is_not_of_its_kind_is_told(
    wrong: dict[str, Any], said: str, colorizer: Colorizer
) -> None:
    given: dict[str, Any] = {"jobs": [], "colorizer": colorizer}
    with pytest.raises(SettingError, match=said):
        next(run(**given | wrong))


def test_what_hints_put_right_of_another_photo_is_told_to_be_of_another(
    tmp_path: Path, colorizer: Colorizer
) -> None:
    """Else the advice for this photo would cost the correction of that one."""
    target, mask = tmp_path / "out/a.png", Guidance(mask=np.zeros((2, 2), np.uint8))
    list(run([Job(save(tmp_path / "a.png"), target)], colorizer, guide=lambda _: mask))
    others = plan([save(tmp_path / f"b/{name}.png", gray(20, 20)) for name in "ab"], target.parent)
    kept = next(run(others, colorizer, Writing(overwrite=True)))
    assert (kept.status, kept.reason) == ("skipped", "")
    assert "colored with mask, of a photo of another size; another `output`" in kept.message
    [alone] = run(others[:1], colorizer, Writing(overwrite=True))
    said = "replaced the result of a photo of another size, colored with mask"
    assert (alone.status, alone.message) == ("done", said)


@pytest.mark.parametrize("by_hand", [True, False])
def test_what_another_call_colored_meanwhile_counts_as_if_it_had_been_there(
    tmp_path: Path, colorizer: Colorizer, by_hand: bool
) -> None:
    """Also where this one overwrites: what hints have put right stays."""
    jobs = plan([save(tmp_path / f"{name}.png") for name in "ab"], tmp_path / "out")
    mask = Guidance(mask=np.zeros((2, 2), np.uint8)) if by_hand else Guidance()

    def beside(_: Sequence[Array]) -> None:
        list(run(jobs, colorizer, Writing(overwrite=by_hand), guide=lambda _: mask))

    first, second = run(
        jobs, Hooked(colorizer, at_pass=beside), Writing(overwrite=by_hand), workers=1
    )
    assert [first.status, second.status] == ["skipped", "skipped"]
    assert first.reason == (
        "colored with mask, now none" if by_hand else "there already by name and size"
    )


def test_what_another_process_colors_at_the_last_moment_counts_as_there_too(
    tmp_path: Path, colorizer: Colorizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = plan([save(tmp_path / "a.png")], tmp_path / "out")

    def twice(*args: Any, **options: Any) -> None:
        write_photo(*args, **options)
        write_photo(*args, **options)

    monkeypatch.setattr(batch, "write_photo", twice)
    [outcome] = run(jobs, colorizer)
    assert (outcome.status, outcome.reason) == ("skipped", "there already by name and size")
    assert read_photo(jobs[0].target).colored is not None
    monkeypatch.setattr(batch, "write_photo", failing_to_write)
    [outcome] = run(plan([tmp_path / "a.png"], tmp_path / "full"), colorizer)
    assert (outcome.status, outcome.message) == ("failed", "the disk is full")


def failing_to_write(*_: Any, **__: Any) -> None:
    raise StorageError("the disk is full")


@pytest.mark.parametrize("content", [None, b"", b"no photo"])
def test_a_result_makes_up_for_no_photo_that_is_missing_or_none(
    tmp_path: Path, colorizer: Colorizer, content: bytes | None
) -> None:
    """A name that was mistyped must not pass for one that is done."""
    target = tmp_path / "out.png"
    list(run([Job(save(tmp_path / "a.png"), target)], colorizer))
    other = tmp_path / "rsoe.png"
    if content is not None:
        other.write_bytes(content)
    [outcome] = run(plan([other], target), colorizer)
    assert outcome.status == "failed"
    assert str(other) in outcome.message


def test_an_empty_result_and_a_bmp_are_told_with_what_helps(
    tmp_path: Path, colorizer: Colorizer
) -> None:
    source = save(tmp_path / "a.png")
    empty = plan([source], tmp_path / "empty.png")
    empty[0].target.touch()
    bmp = plan([source], tmp_path / "out.bmp")
    list(run(bmp, colorizer))
    for jobs, said in ((empty, "is empty; `overwrite` replaces it"), (bmp, "delete it first")):
        [outcome] = run(jobs, colorizer)
        assert outcome.status == "skipped"
        assert said in outcome.message
    assert statuses(list(run(empty, colorizer, Writing(overwrite=True)))) == ["done"]


def test_naming_the_results_too_when_starting_again_changes_nothing(
    here: Path, colorizer: Colorizer
) -> None:
    """`flowercolor colorize *.png` twice in one folder."""
    save(here / "a.png")
    save(here / "b.png")
    list(run(plan(["a.png"]), colorizer))
    done = list(run(plan(["*.png"]), colorizer))
    assert [(outcome.job.source.name, outcome.status) for outcome in done] == [
        ("a.png", "skipped"),
        ("b.png", "done"),
    ]
    assert statuses(list(run(plan(["*.png"]), colorizer))) == ["skipped"] * 2
    replaced = run(plan(["*.png"]), colorizer, Writing(overwrite=True))
    assert statuses(list(replaced)) == ["done"] * 2
    assert {job.target.name for job in plan(["*.png"], ending=".jpg")} == {
        "a_color.jpg",
        "b_color.jpg",
    }
    assert sorted(path.name for path in here.iterdir()) == [
        "a.png",
        "a_color.png",
        "b.png",
        "b_color.png",
    ]


def test_a_photo_that_is_called_like_a_result_is_a_photo(here: Path, colorizer: Colorizer) -> None:
    before = save(here / "rose_color.png").read_bytes()
    save(here / "rose.png", gray(seed=1))
    first, second = run(plan(["rose.png", "rose_color.png"]), colorizer)
    target = first.job.target
    made_elsewhere = (
        "is there already, and flowercolor did not make it; another `output` keeps both"
    )
    assert first.message == f"{target} {made_elsewhere}"
    assert (first.status, second.status) == ("skipped", "done")
    assert second.job.target.name == "rose_color_color.png"
    assert (here / "rose_color.png").read_bytes() == before


def test_a_result_that_may_not_be_read_is_called_so(
    here: Path, colorizer: Colorizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is neither replaced nor said to be somebody's."""
    save(here / "box" / "a.png")
    [done] = run(plan(["box"], "box/out"), colorizer)
    result = done.job.target
    before = result.read_bytes()
    photo = save(here / "a.png")
    with monkeypatch.context() as patch:
        no_entry(patch, result)
        for overwrite, said in (
            (False, "is there already, and cannot be read (Permission denied); another `output` k"),
            (
                True,
                "box/out/a.png: cannot be read (Permission denied), and may be anything; choose",
            ),
        ):
            [outcome] = run(plan([photo], result), colorizer, Writing(overwrite=overwrite))
            assert said in outcome.message.replace("\\", "/")
        told = Recorder()
        result.rename(result.with_name("b.png"))
        no_entry(patch, result.with_name("b.png"))
        plan(["box"], "box/out", recursive=True, progress=told)
        assert told.notes == []
    assert result.with_name("b.png").read_bytes() == before


def test_another_photos_result_of_the_same_name_is_told_where_its_size_tells(
    here: Path, colorizer: Colorizer
) -> None:
    """And elsewhere what was compared, with the way that loses nothing."""
    save(here / "1962" / "rose.png")
    save(here / "1971" / "rose.png", gray(seed=1)[:-4])
    save(here / "1981" / "rose.png", gray(seed=1))
    list(run(plan("1962", "colored"), colorizer))
    for year, end in (
        ("1962", there := "by name and size; `overwrite` replaces it, another `output` keeps it"),
        ("1981", there),
        ("1971", "size; `overwrite` replaces it, another `output` keeps it"),
    ):
        [outcome] = run(plan(Path(year), "colored"), colorizer)
        assert outcome.status == "skipped"
        assert outcome.message.endswith(end)


def test_results_that_do_not_say_so_are_left_alone_all_the_same(
    here: Path, colorizer: Colorizer
) -> None:
    """BMP has no room for it; where they lie tells."""
    save(here / "a.bmp")
    list(run(plan(["a.bmp"]), colorizer))
    assert statuses(list(run(plan(["*.bmp"]), colorizer))) == ["skipped"] * 2
    assert len(list(here.iterdir())) == 2


@pytest.mark.parametrize(("pattern", "tree"), [("box/**/*.png", ""), ("**/*.png", "box")])
def test_a_pattern_that_finds_the_results_too_goes_on_where_it_stopped(
    here: Path, colorizer: Colorizer, pattern: str, tree: str
) -> None:
    save(here / "box" / "1961" / "a.png")
    save(here / "box" / "1962" / "b.png")
    output = here / "box" / "colored"
    first = plan([pattern], output)
    targets = [output / tree / "1961" / "a.png", output / tree / "1962" / "b.png"]
    assert [job.target for job in first] == targets
    list(run(first, colorizer))
    progress = Recorder()
    assert plan([pattern], output, progress=progress) == first
    assert progress.notes == ["Earlier results among the photos, left out: 2"]


@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif", ".webp"])
def test_a_result_among_the_photos_of_a_folder_is_no_photo(
    here: Path, colorizer: Colorizer, ending: str
) -> None:
    photo = save(here / "box" / f"a{ending}")
    list(run(plan([photo]), colorizer))
    save(here / "box" / "b.png")
    assert [job.source.name for job in plan(["box"], here / "out")] == [f"a{ending}", "b.png"]


def test_a_result_that_is_named_alone_is_meant(here: Path, colorizer: Colorizer) -> None:
    save(here / "a.png")
    [done] = run(plan(["a.png"], here / "out"), colorizer)
    for named in (done.job.target, here / "out"):
        assert [job.source for job in plan([named])] == [done.job.target]


@pytest.mark.parametrize("faint", [False, True])
def test_who_names_a_result_to_change_it_is_told_to_name_its_photo(
    here: Path, colorizer: Colorizer, faint: bool
) -> None:
    result, rgb = here / "out" / "a.png", noise(24, 32, 3)
    result.parent.mkdir()
    write_photo(result, rgb // 64 + 128 if faint else rgb, software=colorizer.software())
    [over] = run(plan(result, here / "out"), colorizer, Writing(overwrite=True))
    assert over.message.endswith("; give the photo that it was made from")
    [beside] = run(plan(result), colorizer)
    assert beside.status == "skipped"
    assert "give the photo that it was made from, or `recolor` colors" in beside.message
    assert [path.name for path in (here / "out").iterdir()] == [result.name]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("spelling", ["same", "relative", "symlink", "folder link", "hard link"])
def test_a_photo_is_not_written_over_however_it_is_spelled(
    here: Path, colorizer: Colorizer, spelling: str, overwrite: bool
) -> None:
    """A hard link stands for a name in other letters, on systems where case does not count."""
    source = save(here / "box" / "a.png")
    before = source.read_bytes()
    target = here / "b.png"
    if spelling == "same":
        target = source
    elif spelling == "relative":
        target = Path("box/../box/a.png")
    elif spelling == "symlink":
        target.symlink_to(source)
    elif spelling == "folder link":
        (here / "link").symlink_to(here / "box", target_is_directory=True)
        target = here / "link" / "a.png"
    else:
        target.hardlink_to(source)
    [outcome] = run([Job(source, target)], colorizer, Writing(overwrite=overwrite))
    assert outcome.status == "failed"
    assert outcome.message.startswith(f"{target}: the result would replace the photo; leave out")
    assert source.read_bytes() == before


def test_another_photo_is_not_written_over(here: Path, colorizer: Colorizer) -> None:
    first, second = save(here / "a.png"), save(here / "b.png", gray(seed=1))
    before = second.read_bytes()
    outcomes = list(
        run([Job(first, second), Job(second, here / "c.png")], colorizer, Writing(overwrite=True))
    )
    assert outcomes[0].status == "failed"
    assert second.read_bytes() == before


@pytest.mark.parametrize("ending", [".png", ".jpg", ".bmp"])
def test_overwriting_is_for_results_not_for_photos_of_the_same_name(
    here: Path, colorizer: Colorizer, ending: str
) -> None:
    """As scanners name them. BMP has no room to say what made it."""
    photo = save(here / "1962" / f"scan1{ending}")
    other = save(here / "1971" / f"scan1{ending}", gray(seed=1))
    before = other.read_bytes()
    [outcome] = run(plan([photo], here / "1971"), colorizer, Writing(overwrite=True))
    assert outcome.status == "failed"
    reason = (
        "is a BMP, which does not say" if ending == ".bmp" else "holds what flowercolor did not"
    )
    assert f"{other}: {reason}" in outcome.message
    assert other.read_bytes() == before


def test_a_link_that_leads_nowhere_fails_by_its_name(here: Path, colorizer: Colorizer) -> None:
    save(here / "box" / "a.png")
    (here / "box" / "b.png").symlink_to("not mounted/b.png")
    done, failed = run(plan(["box"]), colorizer)
    assert (done.status, failed.status) == ("done", "failed")
    assert f"{Path('box/b.png')}: is a link that leads nowhere" in failed.message


def test_of_an_album_it_is_said_that_the_first_page_was_colored(
    tmp_path: Path, colorizer: Colorizer
) -> None:
    pages = [Image.fromarray(gray(seed=number)) for number in range(3)]
    pages[0].save(tmp_path / "album.tif", save_all=True, append_images=pages[1:])
    [outcome] = run(plan([tmp_path / "album.tif"]), colorizer)
    assert (outcome.status, outcome.message) == (
        "done",
        "has 3 pages, of which the first was colored",
    )


@pytest.mark.parametrize("ending", [".gif", ".webp", ".png", ".avif"])
def test_of_an_animation_it_is_said_that_the_first_frame_was_colored(
    tmp_path: Path, colorizer: Colorizer, ending: str
) -> None:
    frames = [Image.fromarray(gray(seed=number)) for number in range(3)]
    frames[0].save(tmp_path / f"still{ending}")
    frames[0].save(tmp_path / f"moving{ending}", save_all=True, append_images=frames[1:], loop=0)
    moving, still = run(plan([tmp_path], tmp_path / "out"), colorizer)
    assert moving.message == "has several frames, of which the first was colored"
    assert (still.status, still.message) == ("done", "")


@pytest.mark.parametrize("ending", [".png", ".tif", ".jpg", "16.png"])
def test_a_scan_of_black_and_white_alone_is_said_to_leave_no_room_for_color(
    tmp_path: Path, colorizer: Colorizer, ending: str
) -> None:
    photo = Image.fromarray(gray(600, 700))
    scan: Any = photo.convert("1")
    if ending == ".jpg":
        scan = scan.convert("L")
    elif ending == "16.png":
        scan = Image.fromarray(np.asarray(scan).astype(np.uint16) * 65535)
    scan.save(tmp_path / f"scan{ending}", quality=90)
    photo.point(lambda level: 255 * (level > 80) or level).save(tmp_path / "photo.png")
    told = {
        outcome.job.source.stem: outcome.message
        for outcome in run(plan([tmp_path], tmp_path / "out"), colorizer)
    }
    assert told.pop("photo") == ""
    assert [*told.values()] == [
        "is only black and white, which leaves no room for color; scan it as gray"
    ]


def test_twelve_bits_in_sixteen_are_said_to_be_dark(tmp_path: Path, colorizer: Colorizer) -> None:
    Image.fromarray(gray(40, 50).astype(np.uint16) * 15).save(tmp_path / "a.png")
    [outcome] = run(plan([tmp_path / "a.png"], tmp_path / "b.png"), colorizer)
    assert outcome.message.startswith("is nearly black all over, ")


def test_colored_photos_are_left_alone_or_said_to_be_colored_anew(
    tmp_path: Path, colorizer: Colorizer
) -> None:
    y, x = np.mgrid[0:60, 0:80].astype(np.uint8)
    source = save(tmp_path / "a.png", np.dstack((x * 3, y * 4, 255 - x * 3)))
    plain = save(tmp_path / "b.png")
    sepia = save(tmp_path / "c.png", (gray()[..., None] * (1, 0.9, 0.75)).astype(np.uint8))
    half_blue = np.dstack((gray(),) * 3)
    half_blue[:, :16, 2] += 40
    faint = save(tmp_path / "d.png", half_blue)
    dated = np.dstack((gray(200, 300),) * 3)
    dated[190:194, 270:295] = (180, 40, 40)  # 0.17 %, as the stamp of a date
    stamp = save(tmp_path / "e.png", dated)
    jobs = plan([source, plain, sepia, faint, stamp], tmp_path / "out")
    skipping = list(run(jobs, colorizer))
    assert statuses(skipping) == ["skipped", "done", "done", "done", "done"]
    assert "in color" in skipping[0].message
    assert [outcome.message for outcome in skipping[1:3]] == ["", ""]
    for told in skipping[3:]:
        assert "has faint or few colors, taken for a toning or stains" in told.message
    again = list(run(jobs, colorizer, Writing(overwrite=True, recolor=True)))
    assert ["colored anew" in outcome.message for outcome in again] == [
        True,
        False,
        False,
        False,
        False,
    ]


def test_closing_early_leaves_whole_files_only(
    tmp_path: Path, colorizer: Colorizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = [save(tmp_path / f"{number:02}.png", gray(seed=number)) for number in range(30)]
    closed = threading.Event()
    shutdown = ThreadPoolExecutor.shutdown

    def closing(pool: ThreadPoolExecutor, **options: Any) -> None:
        closed.set()
        shutdown(pool, **options)

    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", closing)

    def wait(number: int) -> None:
        if number >= batch.CHUNK_PHOTOS:
            assert closed.wait(60)

    outcomes = run(plan(sources, tmp_path / "out"), Hooked(colorizer, at_photo=wait), workers=1)
    assert len(list(islice(outcomes, 2))) == 2
    outcomes.close()
    written = list((tmp_path / "out").iterdir())
    assert not leftovers(tmp_path)
    assert len(written) == batch.CHUNK_PHOTOS, "what was waiting is dropped"
    for path in written:
        assert pixels(path).shape == (24, 32, 3)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device")
@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif", ".webp"])
def test_a_full_disk_costs_one_photo_and_leaves_nothing(
    tmp_path: Path, colorizer: Colorizer, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    sources = [save(tmp_path / f"{letter}.png") for letter in "abc"]
    path_open: Any = Path.open
    opened = itertools.count(1)

    def full_at_the_second(path: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
        is_second = mode == "wb" and next(opened) == 2
        return path_open(Path("/dev/full") if is_second else path, mode, *args, **options)

    monkeypatch.setattr(Path, "open", full_at_the_second)
    outcomes = list(run(plan(sources, tmp_path / "out", ending=ending), colorizer, workers=1))
    assert statuses(outcomes) == ["done", "failed", "done"]
    assert "the disk is full" in outcomes[1].message
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == [f"a{ending}", f"c{ending}"]


def test_a_folder_that_cannot_be_made_costs_only_its_photos(
    here: Path, colorizer: Colorizer
) -> None:
    first, second = save(here / "a.png"), save(here / "b.png")
    (here / "taken").write_bytes(b"a file, not a folder")
    outcomes = list(
        run([Job(first, here / "taken" / "a.png"), Job(second, here / "c.png")], colorizer)
    )
    assert statuses(outcomes) == ["failed", "done"]
    assert "cannot be written" in outcomes[0].message


def test_a_read_only_folder_costs_only_its_photos(
    here: Path, colorizer: Colorizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for one who may not write there; `chmod` does not keep root out."""

    def refused(self: Path, **_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "touch", refused)
    source = save(here / "a.png")
    (here / "locked").mkdir()
    [outcome] = run([Job(source, here / "locked" / "a.png")], colorizer)
    assert outcome.status == "failed"
    assert "not allowed" in outcome.message


def test_what_nobody_foresaw_costs_one_photo_and_one_line(
    tmp_path: Path, colorizer: Colorizer
) -> None:
    def fail_at_the_first(number: int) -> None:
        if number == 0:
            raise RuntimeError("two\nlines")

    odd = Hooked(colorizer, at_photo=fail_at_the_first)
    outcomes = list(run(plan([save(tmp_path / "a.png"), save(tmp_path / "b.png")]), odd, workers=1))
    assert statuses(outcomes) == ["failed", "done"]
    assert outcomes[0].message == f"{tmp_path / 'a.png'}: unexpected RuntimeError: two lines"


def test_too_little_memory_names_the_photo_and_what_helps(
    tmp_path: Path, colorizer: Colorizer
) -> None:
    """In a photo's own work, and in the network's pass of several."""

    def lack(_: object) -> None:
        raise MemoryError("Unable to allocate 561. MiB for an array")

    class Full(Hooked):
        @memory_errors("coloring", "photo or `render_size_px`")
        def chroma(self, smalls: Sequence[Array]) -> list[Array]:
            return super().chroma(smalls)

    source = save(tmp_path / "a.png")
    [own] = run(plan([source]), Hooked(colorizer, at_photo=lack))
    [of_pass] = run(plan([source]), Full(colorizer, at_pass=lack))
    assert own.message == f"{source}: {LACK}"
    assert of_pass.message == (
        f"{source}: out of memory while coloring; give a smaller photo or `render_size_px`"
    )


def test_no_photos_no_jobs_no_outcomes(colorizer: Colorizer) -> None:
    assert plan([]) == []
    assert list(run([], colorizer)) == []


@pytest.fixture
def png() -> Iterator[bytes]:
    buffer = io.BytesIO()
    Image.fromarray(gray()).save(buffer, "PNG")
    yield buffer.getvalue()


@pytest.mark.parametrize(
    ("own", "wanted", "expected"),
    [("PNG", None, "PNG"), ("JPEG", None, "JPEG"), ("GIF", None, "PNG"), ("PNG", "jpg", "JPEG")],
)
def test_convert_keeps_the_format_unless_told(
    colorizer: Colorizer, own: str, wanted: str | None, expected: str
) -> None:
    buffer = io.BytesIO()
    Image.fromarray(gray()).save(buffer, own)
    content = convert(buffer.getvalue(), colorizer, wanted, Writing())
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == expected
        assert image.size == (32, 24)
        assert image.mode == "RGB"


def test_convert_gives_what_run_writes(tmp_path: Path, colorizer: Colorizer) -> None:
    source = save(tmp_path / "a.png", gray(30, 40))
    [outcome] = run(plan([source]), colorizer)
    written = outcome.job.target.read_bytes()
    assert convert(source, colorizer, None, Writing()) == written
    assert convert(source.read_bytes(), colorizer, None, Writing()) == written
    assert convert(read_photo(source), colorizer, None, Writing()) == written


def test_convert_refuses_what_is_no_photo(tmp_path: Path, colorizer: Colorizer) -> None:
    with pytest.raises(ImageError, match="the picture: is no photo"):
        convert(b"not a photo", colorizer, None, Writing())
    with pytest.raises(ImageError, match="the picture: is no path"):
        convert(None, colorizer, None, Writing())  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="file_format is ''; expected one of "):
        convert(save(tmp_path / "a.png", gray()), colorizer, "", Writing())
    with pytest.raises(SettingError, match="hints is 'red'; expected a list of Hint"):
        convert(tmp_path / "a.png", colorizer, None, Writing(), guidance="red")  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="there is no such file or folder"):
        convert(tmp_path / "missing.jpg", colorizer, None, Writing())


def test_a_photo_that_the_network_fails_on_costs_only_those_of_its_size(
    here: Path, colorizer: Colorizer
) -> None:
    save(here / "a.png", gray(24, 32))
    save(here / "b.png", gray(60, 20))

    def fail_at_portraits(smalls: Sequence[Array]) -> None:
        if smalls[0].shape[0] > smalls[0].shape[1]:
            raise RuntimeError("made up")

    odd = Hooked(colorizer, at_pass=fail_at_portraits)
    outcomes = list(run(plan([here / "a.png", here / "b.png"], here / "out"), odd))
    assert statuses(outcomes) == ["done", "failed"]
    assert "unexpected RuntimeError: made up" in outcomes[1].message


def test_a_result_of_other_settings_is_told_from_one_of_these(
    here: Path, colorizer: Colorizer
) -> None:
    jobs = plan([save(here / "a.png")])
    list(run(jobs, colorizer))
    [same] = run(jobs, colorizer)
    assert same.reason == "there already by name and size"
    stronger = Hooked(colorizer)
    stronger.strength, stronger.render_size_px = 1.2, 256
    [other] = run(jobs, stronger, guide=lambda _: Guidance(mask=np.zeros((2, 2), np.uint8)))
    assert other.status == "skipped"
    assert other.reason == (
        "colored with other settings (strength 1, now 1.2; render size "
        f"{colorizer.render_size_px}, now 256; no mask, now some)"
    )
    assert other.message == f"{jobs[0].target} is there already, {other.reason}; " + (
        "`overwrite` replaces it, another `output` keeps it"
    )


def test_a_result_may_keep_the_date_of_its_photo(here: Path, colorizer: Colorizer) -> None:
    photo = save(here / "a.png")
    os.utime(photo, (10**9, 10**9))
    [outcome] = run(plan([photo]), colorizer, Writing(keep_date=True))
    assert outcome.job.target.stat().st_mtime == 10**9


@pytest.mark.skipif(os.name == "nt", reason="links take rights on Windows")
def test_a_loop_of_links_costs_only_itself(here: Path, colorizer: Colorizer) -> None:
    save(here / "a.png")
    (here / "b.png").symlink_to("b.png")
    (here / "loop").symlink_to("loop", target_is_directory=True)
    outcomes = list(run(plan(["a.png", "b.png", "loop/c.png"], here / "out"), colorizer))
    assert statuses(outcomes) == ["done", "failed", "failed"]
    assert not any("unexpected" in outcome.message for outcome in outcomes)
