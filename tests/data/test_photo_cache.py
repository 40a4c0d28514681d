import bz2
import dataclasses
import gzip
import io
import json
import lzma
import os
import re
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from tarfile import CHRTYPE, DIRTYPE, FIFOTYPE, LNKTYPE, SYMTYPE
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from flowercolor import paths
from flowercolor.data import photo_cache as reader
from flowercolor.data.dataset import get_data
from flowercolor.data.photo_cache import Photos, read_data
from flowercolor.data.photo_files import SUFFIXES
from flowercolor.errors import DataError, SettingError, StorageError
from flowercolor.photos.icc import matrix_profile, srgb_profile
from flowercolor.photos.writer import encode_photo
from tests.helpers import Recorder
from tests.pictures import noise, plainly_decoded, saved, smooth, tar_of

SIZE_PX = 16
P3 = matrix_profile(((0.68, 0.32), (0.265, 0.69), (0.15, 0.06)), (0.3127, 0.3290), None)


def cache_files() -> list[Path]:
    return sorted(path for path in paths.cache_dir().rglob("*") if path.is_file())


def assert_same(photos: Photos, others: Photos) -> None:
    assert photos.names == others.names
    assert np.array_equal(photos.rgb, others.rgb)
    assert np.array_equal(photos.sizes_px, others.sizes_px)


# Reading


def test_pictures_that_runs_and_evaluations_left_are_no_photos(folder: Path) -> None:
    """Wherever they lie; what is called alike and is none of theirs is read."""
    run, results = folder / "jpg" / "first run", folder / "results"
    alike = folder / "own"
    photo = (folder / "jpg" / "image_00001.jpg").read_bytes()
    own = ("config.json", "samples/b.jpg", "scores.json", "pictures/c.jpg")
    ours = {
        run: ("config.json", "last.safetensors", "losses.jpg", "samples/epoch_0001.jpg"),
        results: ("contact.jpg", "pictures/jpg/a.jpg", "contact/rose.jpg"),
        alike: own,
    }
    for place, names in ours.items():
        for name in names:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(photo)
    (results / "scores.json").write_text('{"images": []}')
    recorder = Recorder()
    photos = read_data(folder, SIZE_PX, recorder)
    inside = [name for name in photos.names if "image_" not in name]
    assert inside == ["own/pictures/c.jpg", "own/samples/b.jpg"]
    made = f"{Path('jpg', 'first run')} (a run, 2 pictures), results (an evaluation, 3 pictures)"
    left_out = "pictures in the folders of runs and evaluations, left out"
    assert recorder.notes == [f"{folder}: {left_out}: {made}"]
    inner = ("", "samples"), ("", "pictures", "pictures/jpg", "contact")
    for place, origin, parts in ((run, "a run", inner[0]), (results, "an evaluation", inner[1])):
        for part in parts:
            with pytest.raises(
                DataError, match=f"the folder of {origin}, whose pictures are no ph"
            ):
                read_data(place / part, SIZE_PX)
    (run / "garden").mkdir()
    (run / "garden" / "rose.jpg").write_bytes(photo)
    assert read_data(run / "garden", SIZE_PX).names == ("rose.jpg",)


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("packed", [False, True])
def test_earlier_results_among_the_photos_are_left_out_by_what_their_file_says(
    folder: Path, pictures: dict[str, bytes], tmp_path: Path, ending: str, *, packed: bool
) -> None:
    """Such as `colorize box -o garden` puts there, by the names of their photos."""
    expected = read_data(folder, SIZE_PX)
    rgb = noise(40, 60, 3)
    made = {name: encode_photo(rgb, ending) for name in (f"a.{ending}", f"jpg/b.{ending}")}
    for name, content in made.items():
        (folder / name).write_bytes(content)
    plain = encode_photo(rgb, ending, software="another program")
    source = tar_of({**made, **pictures}, tmp_path / "both.tar") if packed else folder
    recorder = Recorder()
    for _ in ("decoded", "from the cache"):
        assert_same(read_data(source, SIZE_PX, recorder), expected)
    assert recorder.notes == 2 * [f"{source}: earlier results among the photos, left out: 2"]
    only = tar_of(made, tmp_path / "only.tar")
    with pytest.raises(DataError, match=r"holds earlier results alone \(2\); expected photos in t"):
        read_data(only, SIZE_PX)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / f"c.{ending}").write_bytes(plain)
    assert read_data(tmp_path / "one", SIZE_PX, recorder).names == (f"c.{ending}",)
    assert len(recorder.notes) == 2


def test_what_a_version_cached_that_knew_no_results_is_read_anew(archive: Path) -> None:
    expected = read_data(archive, SIZE_PX)
    index = cache_files()[0]
    listing = json.loads(index.read_text())
    assert listing.pop("results") == 0
    index.write_text(json.dumps(listing))
    progress = Recorder()
    assert_same(read_data(archive, SIZE_PX, progress), expected)
    assert [task.done for task in progress.tasks] == [12]


def test_an_archive_is_read_in_its_order(archive: Path, pictures: dict[str, bytes]) -> None:
    photos = read_data(archive, SIZE_PX)
    assert photos.names == tuple(pictures)
    assert photos.rgb.dtype == np.uint8
    expected = [plainly_decoded(content, SIZE_PX) for content in pictures.values()]
    assert np.array_equal(photos.rgb, expected)
    assert photos.sizes_px.tolist() == [[40 + n, 60 - 2 * n] for n in range(1, 13)]


def test_the_gray_version_is_opencvs(photos: Photos) -> None:
    expected = [cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) for rgb in photos.rgb]
    assert np.array_equal(photos.gray, expected)


def test_a_folder_gives_what_the_archive_gives(archive: Path, folder: Path) -> None:
    assert_same(read_data(folder, SIZE_PX), read_data(archive, SIZE_PX))
    assert_same(read_data(str(folder), SIZE_PX), read_data(str(archive), SIZE_PX))


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_an_archive_may_be_packed_in_any_way(
    archive: Path, tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    other = tmp_path / "flowers.archive"
    other.write_bytes(pack(gzip.decompress(archive.read_bytes())))
    assert_same(read_data(other, SIZE_PX), read_data(archive, SIZE_PX))


def test_files_that_are_no_photos_are_passed_over(folder: Path) -> None:
    """Also the `._a.jpg` that macOS leaves in archives and folders."""
    expected = read_data(folder, SIZE_PX)
    (folder / "readme.txt").write_text("")
    (folder / "jpg" / "._image_00001.jpg").write_text("")
    notes = Recorder()
    assert_same(read_data(folder, SIZE_PX, notes), expected)
    assert notes.notes == []


@pytest.mark.parametrize("hidden", [".a.jpg", ".thumbnails/a.jpg", "jpg/.originals/deep/a.jpg"])
def test_hidden_photos_are_passed_over(
    folder: Path, tmp_path: Path, pictures: dict[str, bytes], hidden: str
) -> None:
    """They are copies, or what someone did not want."""
    expected = read_data(folder, SIZE_PX)
    content = next(iter(pictures.values()))
    (folder / hidden).parent.mkdir(parents=True, exist_ok=True)
    (folder / hidden).write_bytes(content)
    photos = read_data(folder, SIZE_PX)
    assert_same(photos, expected)
    assert photos.fingerprint == expected.fingerprint
    both = tar_of({hidden: content, **pictures}, tmp_path / "both.tar")
    assert_same(read_data(both, SIZE_PX), expected)


def test_the_given_folder_may_be_hidden_or_lie_in_a_hidden_one(
    folder: Path, tmp_path: Path
) -> None:
    expected = read_data(folder, SIZE_PX)
    (tmp_path / ".hidden").mkdir()
    for name in (".hidden/photos", ".hidden/.photos"):
        folder = folder.rename(tmp_path / name)
        photos = read_data(folder, SIZE_PX)
        assert_same(photos, expected)
        assert photos.fingerprint == expected.fingerprint


@pytest.mark.parametrize("prefix", ["./", "../"])
def test_members_with_dots_for_folders_are_not_hidden(
    archive: Path, tmp_path: Path, pictures: dict[str, bytes], prefix: str
) -> None:
    """Such as `tar -c .` packs."""
    files = {prefix + name: content for name, content in pictures.items()}
    photos = read_data(tar_of(files, tmp_path / "dots.tar"), SIZE_PX)
    assert photos.names == tuple(files)
    assert np.array_equal(photos.rgb, read_data(archive, SIZE_PX).rgb)


def test_photos_in_upper_case_and_deeper_folders_are_found(folder: Path) -> None:
    deeper = folder / "a" / "B.JPG"
    deeper.parent.mkdir()
    (folder / "jpg" / "image_00001.jpg").rename(deeper)
    assert read_data(folder, SIZE_PX).names[0] == "a/B.JPG"


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (b"", "is empty; expected a photo"),
        (b"no picture", "is no photo that can be read, it begins with 'no picture'; expected one"),
        (b"\xff\xd8\xff\xe0 cut off", "is a damaged JPEG"),
    ],
)
def test_a_broken_photo_is_left_out_with_the_reason(
    folder: Path, broken: bytes, reason: str
) -> None:
    (folder / "jpg" / "image_00003.jpg").write_bytes(broken)
    notes = Recorder()
    photos = read_data(folder, SIZE_PX, notes)
    assert len(photos.names) == len(photos.rgb) == len(photos.sizes_px) == 11
    assert "jpg/image_00003.jpg" not in photos.names
    [note] = notes.notes
    assert note.startswith(f"{folder}: jpg/image_00003.jpg: {reason}")
    assert note.endswith("; left out")
    read_data(folder, SIZE_PX, notes)
    assert notes.notes == [note, note], "as long as it lies there"


def test_a_tiff_that_opencv_lacks_the_codec_of_is_not_called_damaged(folder: Path) -> None:
    Image.new("RGB", (8, 8), "red").save(folder / "a.tif", compression="zstd")
    recorder = Recorder()
    read_data(folder, SIZE_PX, recorder)
    assert [
        note for note in recorder.notes if "a TIFF of an unusual kind, which is not read" in note
    ]


def test_a_photo_that_came_by_half_is_left_out(folder: Path) -> None:
    """Some versions of OpenCV make the missing rows black and say nothing."""
    path = folder / "jpg" / "image_00003.jpg"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "jpg/image_00003.jpg" not in read_data(folder, SIZE_PX).names


def test_a_source_and_a_size_of_nothing_are_refused(folder: Path) -> None:
    for source, found in ((None, "None"), ("", "an empty name"), ([folder], "")):
        with pytest.raises(SettingError, match=f"source is {found}.*; expected a file or a folder"):
            read_data(source)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="size_px is 0; expected 1 or more"):
        read_data(folder, 0)


# The cache


def test_photos_are_decoded_once(archive: Path) -> None:
    progress = Recorder()
    first = read_data(archive, SIZE_PX, progress)
    assert_same(read_data(archive, SIZE_PX, progress), first)
    assert [task.done for task in progress.tasks] == [12]
    read_data(archive, 32, progress)
    assert [task.done for task in progress.tasks] == [12, 12]


def cut(pixels: Path, _index: Path) -> None:
    pixels.write_bytes(pixels.read_bytes()[:-1])


def alter(pixels: Path, _index: Path) -> None:
    content = bytearray(pixels.read_bytes())
    content[1000] ^= 1
    pixels.write_bytes(content)


def lose_pixels(pixels: Path, _index: Path) -> None:
    pixels.unlink()


def lose_index(_pixels: Path, index: Path) -> None:
    index.unlink()


def spoil_index(_pixels: Path, index: Path) -> None:
    index.write_text("[]")


def swap_names(_pixels: Path, index: Path) -> None:
    listing = json.loads(index.read_text())
    index.write_text(json.dumps({**listing, "names": listing["names"][::-1]}))


def lose_a_size(_pixels: Path, index: Path) -> None:
    listing = json.loads(index.read_text())
    index.write_text(json.dumps({**listing, "sizes_px": listing["sizes_px"][1:]}))


def lose_the_names(_pixels: Path, index: Path) -> None:
    listing = json.loads(index.read_text())
    del listing["names"]
    index.write_text(json.dumps(listing))


@pytest.mark.parametrize(
    "harm",
    [
        cut,
        alter,
        lose_pixels,
        lose_index,
        spoil_index,
        swap_names,
        lose_a_size,
        lose_the_names,
    ],
)
def test_a_harmed_cache_is_made_anew(archive: Path, harm: Callable[[Path, Path], None]) -> None:
    expected = read_data(archive, SIZE_PX)
    expected = dataclasses.replace(expected, rgb=expected.rgb.copy())
    index, pixels = cache_files()
    harm(pixels, index)
    progress = Recorder()
    assert_same(read_data(archive, SIZE_PX, progress), expected)
    assert [task.done for task in progress.tasks] == [12]
    assert cache_files() == [index, pixels]


def test_writing_into_the_pictures_does_not_change_the_cache(archive: Path) -> None:
    photos = read_data(archive, SIZE_PX)
    expected = photos.rgb.copy()
    photos.rgb[:] = 0
    progress = Recorder()
    assert np.array_equal(read_data(archive, SIZE_PX, progress).rgb, expected)
    assert not progress.tasks


def test_a_change_amid_a_plain_archive_changes_its_fingerprint(
    pictures: dict[str, bytes], tmp_path: Path
) -> None:
    """A compressed one has a checksum at its end."""
    plain = tar_of({**pictures, "film": bytes(3 * reader._CHUNK_BYTES)}, tmp_path / "a.tar")
    before = read_data(plain, SIZE_PX).fingerprint
    content = bytearray(plain.read_bytes())
    content[len(content) // 2] ^= 1
    plain.write_bytes(content)
    assert read_data(plain, SIZE_PX).fingerprint != before


def test_equal_sources_have_one_fingerprint_and_changed_ones_another(
    archive: Path, folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.tgz"
    copy.write_bytes(archive.read_bytes())
    assert read_data(copy).fingerprint == read_data(archive).fingerprint
    copy.write_bytes(gzip.compress(gzip.decompress(copy.read_bytes()), mtime=1))
    assert read_data(copy).fingerprint != read_data(archive).fingerprint

    seen = {read_data(folder).fingerprint}
    changed = folder / "jpg" / "image_00001.jpg"
    changed.write_bytes((folder / "jpg" / "image_00002.jpg").read_bytes())
    seen.add(read_data(folder).fingerprint)
    changed.rename(folder / "jpg" / "other.jpg")
    seen.add(read_data(folder).fingerprint)
    (folder / "jpg" / "other.jpg").unlink()
    seen.add(read_data(folder).fingerprint)
    assert len(seen) == 4


def test_names_that_are_no_utf_8_are_read(folder: Path) -> None:
    """Old discs have such names. Where the system refuses them, there is nothing to test."""
    odd = folder / "jpg" / "bl\udcfcte.jpg"
    try:
        (folder / "jpg" / "image_00001.jpg").rename(odd)
    except OSError:
        pytest.skip("the file system takes UTF-8 only")
    assert read_data(folder, SIZE_PX).names[0] == "jpg/bl\udcfcte.jpg"


# What cannot be read


def assert_refused(source: Path, reason: str) -> None:
    """`source` is refused in one line that names it, and nothing is left in the cache."""
    with pytest.raises(DataError, match=reason) as caught:
        get_data(source, SIZE_PX)
    message = str(caught.value)
    assert message.startswith(f"{source}: ")
    assert "\n" not in message
    assert cache_files() == []


def test_a_missing_path_is_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path / "none.tgz", "no such file or folder; expected an archive of photos")


def test_a_pipe_or_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert_refused(tmp_path / "loop", "is a link that leads nowhere")
    hang(tmp_path / "pipe")
    assert_refused(tmp_path / "pipe", "is a pipe or a device; expected an archive")


def test_links_to_folders_are_counted(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    said = []
    for name in ("one", ".two", "three"):
        (folder / "jpg" / name).symlink_to(tmp_path / "elsewhere")
        notes = Recorder()
        read_data(folder, 16, notes)
        said.append(notes.notes)
    one = f"{folder}: has a link to a folder, left out; expected the photos themselves"
    assert said == [[one], [one], [one.replace("a link to a folder", "2 links to folders")]]


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08 no gzip", bytes(5000)])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "flowers.tgz"
    path.write_bytes(content)
    said = r"not a whole tar archive \(.+\); expected a \.tgz|no photos found|is no archive; expect"
    assert_refused(path, said)


def test_an_archive_cut_off_anywhere_is_refused(archive: Path, tmp_path: Path) -> None:
    """Also in the header of a member, which tar takes for the end, and in the checksum."""
    content = archive.read_bytes()
    path = tmp_path / "cut.tgz"
    for end in [
        *range(0, len(content), len(content) // 60),
        *range(len(content) - 9, len(content)),
    ]:
        path.write_bytes(content[:end])
        assert_refused(path, "not a whole tar archive")


def test_an_archive_with_a_damaged_header_is_refused(archive: Path, tmp_path: Path) -> None:
    """Tar alone would take it for the end and lose the photos behind it."""
    content = bytearray(gzip.decompress(archive.read_bytes()))
    packed = bytearray(gzip.compress(content, compresslevel=0))
    packed[packed.index(b"jpg/image_00007")] ^= 1
    path = tmp_path / "damaged.tgz"
    path.write_bytes(packed)
    assert_refused(path, "not a whole tar archive")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_damaged_archive_is_refused(
    archive: Path, tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    packed = bytearray(pack(gzip.decompress(archive.read_bytes())))
    packed[len(packed) // 2] ^= 0xFF
    path = tmp_path / "damaged.archive"
    path.write_bytes(packed)
    assert_refused(path, "not a whole tar archive")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    assert_refused(tmp_path / "photos", "no photos found; expected .*jpg")


def test_an_archive_without_photos_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "texts.tgz"
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("readme.txt"), io.BytesIO())
    assert_refused(path, "no photos found; expected .*jpg")


def test_photos_that_are_all_broken_are_refused(folder: Path) -> None:
    for path in folder.rglob("*.jpg"):
        path.write_bytes(b"")
    assert_refused(folder, r"^\S+: all \d+ photos were left out, such as \S+jpg: .*empty")
    for path in sorted(folder.rglob("*.jpg"))[1:]:
        path.unlink()
    assert_refused(folder, r"^\S+: its one photo was left out: \S+jpg: .*empty")


def hang(path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("the system has no such files")
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (hang, "is a pipe or a device; expected a file"),
        (lambda path: path.symlink_to("nowhere"), "cannot be read: No such file"),
        (lambda path: path.symlink_to(path.name), "cannot be read: Too many levels"),
        (
            lambda path: os.truncate(path, 5 * 10**9),
            "has more than the 1,267 MB that 300",
        ),
    ],
    ids=["a pipe", "a link to nowhere", "a loop of links", "5 GB"],
)
def test_what_cannot_be_read_costs_only_itself(
    folder: Path, make: Callable[[Path], None], reason: str
) -> None:
    path = folder / "jpg" / "image_00003.jpg"
    path.unlink()
    if reason.startswith("has"):
        path.write_bytes(b"")
    make(path)
    notes = Recorder()
    assert len(read_data(folder, SIZE_PX, notes).names) == 11
    [note] = notes.notes
    assert note.startswith(f"{folder}: jpg/image_00003.jpg: {reason}")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no device that is always full")
def test_a_full_disk_is_reported_as_one_and_leaves_nothing(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_open = Path.open

    def full(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        return really_open(Path("/dev/full") if mode == "wb" else path, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(StorageError, match="the disk is full; free some space"):
        read_data(archive, SIZE_PX)
    assert not [path for path in paths.cache_dir().rglob("*") if path.is_file()]


def test_a_cache_that_is_no_folder_is_told_of(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FLOWERCOLOR_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(StorageError, match="cannot be written"):
        read_data(archive, SIZE_PX)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no such files")
def test_a_pipe_in_place_of_a_cached_file_is_not_waited_for(archive: Path) -> None:
    read_data(archive, 16)
    [pixels] = (paths.cache_dir() / "photos").glob("*.u8")
    pixels.unlink()
    os.mkfifo(pixels)
    with pytest.raises(StorageError, match="what is there is no file"):
        read_data(archive, 16)


def test_an_index_of_absurd_depth_is_made_anew(archive: Path) -> None:
    photos = read_data(archive, 16)
    [index] = (paths.cache_dir() / "photos").glob("*.json")
    index.write_text("[" * 100_000)
    assert read_data(archive, 16).names == photos.names


def test_a_color_profile_is_minded_as_at_coloring(tmp_path: Path) -> None:
    """OpenCV leaves it aside: wide colors would be learned duller than they are."""
    dull = (smooth(64, 64) // 2 + 64).astype(np.uint8)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(saved(dull, "PNG", icc_profile=P3))
    (tmp_path / "photos" / "b.png").write_bytes(saved(dull, "PNG", icc_profile=b"broken"))
    in_p3, in_srgb = read_data(tmp_path / "photos", SIZE_PX).rgb.astype(int)
    assert np.array_equal(in_srgb, plainly_decoded(saved(dull, "PNG"), SIZE_PX))
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(P3)),
        ImageCms.ImageCmsProfile(io.BytesIO(srgb_profile())),
        "RGB",
        "RGB",
    )
    expected = ImageCms.applyTransform(Image.fromarray(in_srgb.astype(np.uint8)), transform)
    assert np.abs(in_p3 - np.asarray(expected)).max() <= 2
    assert np.abs(in_p3 - in_srgb).max() > 8


def test_a_zip_is_refused_with_what_helps(tmp_path: Path, pictures: dict[str, bytes]) -> None:
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in pictures.items():
            archive.writestr(name, content)
    assert_refused(path, "is a zip archive; .* unpack it and name the folder")


def test_a_page_that_was_saved_as_an_archive_is_refused_with_what_helps(tmp_path: Path) -> None:
    (tmp_path / "photos.tgz").write_bytes(b"\xef\xbb\xbf<html>Please log in")
    assert_refused(tmp_path / "photos.tgz", "is a web page; .* download the file itself")


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_a_photo_is_no_damaged_archive_of_photos(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rose{suffix}"
    Image.new("RGB", (20, 20), "crimson").save(path)
    assert_refused(path, "is a single photo; expected a tar .*: name its folder$")


def test_what_has_nothing_of_an_archive_is_not_called_damaged(
    archive: Path, tmp_path: Path
) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(b"file,class\n" + b"a.jpg,rose\n" * 100)
    assert_refused(path, "is no archive; expected a tar archive or a folder of photos$")
    damaged = bytearray(gzip.decompress(archive.read_bytes()))
    damaged[0] ^= 1
    path.write_bytes(damaged)
    assert_refused(path, "not a whole tar archive")


@pytest.mark.parametrize("as_folder", [True, False])
def test_kinds_that_are_not_read_are_counted(
    tmp_path: Path, pictures: dict[str, bytes], as_folder: bool
) -> None:
    names = ["a.HEIC", "b.dng", "c.heic", "notes.txt", ".hidden.heic"]
    contents = {f"x/{name}": b"whatever" for name in names}
    contents["x/d.jpg"] = next(iter(pictures.values()))
    source = tar_of(contents, tmp_path / "x.tar")
    if as_folder:
        with tarfile.open(source) as archive:
            archive.extractall(tmp_path, filter="data")
        source = tmp_path / "x"
    said = "3 files of kinds not read for training (.dng, .heic; save as JPEG); left out"
    for _ in ("decoded", "cached"):
        notes = Recorder()
        assert len(read_data(source, SIZE_PX, notes).names) == 1
        assert notes.notes == [f"{source}: {said}"]


def tar_with(others: dict[str, bytes], path: Path, photos: dict[str, bytes]) -> Path:
    """A tar archive of photos and of members of these types of `tarfile`, by name."""
    with tarfile.open(tar_of(photos, path), "a") as packed:
        for name, kind in others.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, next(iter(photos), "annex/a.jpg")
            packed.addfile(member)
    return path


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        ([SYMTYPE, SYMTYPE, FIFOTYPE], "2 links and 1 pipe in place of photos (`tar -h` packs"),
        ([LNKTYPE], "1 hard link in place of photos"),
        ([CHRTYPE], "1 special file in place of photos"),
    ],
)
def test_what_an_archive_has_in_place_of_photos_is_counted(
    tmp_path: Path, pictures: dict[str, bytes], kinds: list[bytes], said: str
) -> None:
    """Also when they are read from the cache; and where there is nothing else, it is the reason."""
    others = {f"{number}.jpg": kind for number, kind in enumerate(kinds)}
    passed_over = {".hidden.jpg": SYMTYPE, "readme": SYMTYPE, "folder.jpg": DIRTYPE}
    assert_refused(
        tar_with(others | passed_over, tmp_path / "links.tar", {}),
        f"no photos found, but {re.escape(said)}.*; expected the photos themselves$",
    )
    source = tar_with(others | passed_over, tmp_path / "x.tar", pictures)
    for _ in range(2):
        notes = Recorder()
        assert read_data(source, SIZE_PX, notes).names == tuple(pictures)
        [note] = notes.notes
        assert note.startswith(f"{source}: {said}")
        assert note.endswith("; left out")


def rle_bmp(width_px: int, height_px: int) -> bytes:
    """One without pixels, of which OpenCV makes a black picture."""
    sizes = struct.pack("<IiiHHIIiiII", 40, width_px, height_px, 1, 8, 1, 2, 0, 0, 256, 0)
    pixels = bytes(1024) + b"\0\1"
    return b"BM" + struct.pack("<III", 14 + 40 + len(pixels), 0, 14 + 40 + 1024) + sizes + pixels


def test_photos_are_opened_as_at_coloring(tmp_path: Path) -> None:
    """What is no photo there is none here, and what is one is read."""
    rgb = smooth(64, 96)
    pages = [Image.fromarray(noise(8, 12, 3)), Image.fromarray(rgb)]
    small_first = saved(
        pages[0], "TIFF", save_all=True, append_images=pages[1:], tiffinfo={254: 1, 269: "a rose"}
    )
    at = small_first.index(struct.pack("<HHI", 254, 4, 1), small_first.index(b"a rose"))
    jpeg = saved(rgb, "JPEG")
    (tmp_path / "photos" / "@eaDir").mkdir(parents=True)
    for name, content in {
        "@eaDir/a.jpg": jpeg,
        "a.tif": small_first[: at + 8] + bytes(4) + small_first[at + 12 :],
        "b.jpg": jpeg[:-2],
        "raw.tif": saved(noise(8, 12), "TIFF", tiffinfo={50706: b"\1\4\0\0"}),
        "rle.bmp": rle_bmp(600, 500),
        "zeros.webp": saved(noise(64, 64, 3), "WEBP")[:-64] + bytes(64),
    }.items():
        (tmp_path / "photos" / name).write_bytes(content)
    notes = Recorder()
    photos = read_data(tmp_path / "photos", SIZE_PX, notes)
    assert photos.names == ("a.tif", "b.jpg")
    assert np.array_equal(photos.rgb[0], plainly_decoded(saved(rgb, "PNG"), SIZE_PX))
    assert np.array_equal(photos.rgb[1], plainly_decoded(jpeg, SIZE_PX))
    said = [note.partition("photos: ")[2] for note in notes.notes]
    assert said[0].startswith("raw.tif: is the raw file of a camera")
    assert said[1].startswith("rle.bmp: is a damaged BMP")
    assert said[2].startswith("zeros.webp: is a damaged WEBP")


@pytest.mark.parametrize("as_folder", [True, False])
def test_a_photo_beyond_the_budget_is_left_out_before_it_is_decoded(
    tmp_path: Path, pictures: dict[str, bytes], as_folder: bool
) -> None:
    """Where the budget is raised, the photo is there, whatever the cache has of before."""
    contents = {"a.jpg": next(iter(pictures.values())), "b.png": saved(smooth(200, 300), "PNG")}
    source = tar_of(contents, tmp_path / "x.tar")
    if as_folder:
        source = tmp_path / "x"
        source.mkdir()
        for name, content in contents.items():
            (source / name).write_bytes(content)
    notes = Recorder()
    photos = read_data(source, SIZE_PX, notes, max_pixels=50_000)
    assert photos.names == ("a.jpg",)
    [note] = notes.notes
    assert "b.png: has 60,000 pixels; expected at most 50,000; reduce" in note
    assert read_data(source, SIZE_PX).names == ("a.jpg", "b.png")


def test_a_cache_that_is_cut_while_it_is_used_costs_nothing(archive: Path) -> None:
    """Where the file is mapped into memory, the system kills the process."""
    photos = read_data(archive, SIZE_PX)
    expected = photos.rgb.copy()
    [pixels] = (paths.cache_dir() / "photos").glob("*.u8")
    os.truncate(pixels, 10)
    assert np.array_equal(photos.rgb, expected)
