import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from flowercolor.checkpoint import read_ends
from flowercolor.errors import CheckpointError, SettingError
from flowercolor.page.build import export_page, page_files, single_file
from flowercolor.photos.formats import (
    _NO_PHOTOS,
    _PREVIEWS,
    BEGINNINGS,
    SUFFIXES,
    UNREADABLE,
    holds_no_photos,
)
from flowercolor.runs import bundled_checkpoint


def test_the_bundled_page_is_one_file_of_at_most_40_megabytes() -> None:
    files = page_files(bundled_checkpoint())
    html = single_file(files)
    assert len(html) <= 40e6
    text = re.sub(r"[A-Za-z0-9+/=]{500,}", "", html.decode())
    assert re.findall(r"(?:src|href)=\"(?!data:)[^\"]*", text) == []
    assert re.findall(r"^\s*(?:import|export) ", text, re.MULTILINE) == []
    assert re.findall(r"https?://", text) == []
    assert "connect-src" not in text  # so that default-src 'none' holds for it
    about = json.loads(re.findall(r'id="about">(.*?)</script>', text)[0])
    assert about["name"] == "bundled"
    assert about["vividness"] == 0.5


def test_the_page_knows_the_photos_in_a_folder_by_the_endings_of_the_command(tiny: Path) -> None:
    pattern = re.findall(r"PICTURE = /(.*)/i", page_files(tiny)["dropped.js"].decode())[0]
    others = {".txt", ".pdf", ".xmp", ".html"}
    assert {end for end in SUFFIXES | others if re.search(pattern, "a" + end)} == SUFFIXES


def test_the_page_passes_over_the_folders_that_the_command_does(tiny: Path) -> None:
    pattern = re.findall(r"NO_PHOTOS =\s+/(.*)/i", page_files(tiny)["dropped.js"].decode())[0]
    waste = {*_NO_PHOTOS, *("My photos" + ending for ending in _PREVIEWS)}
    photos = {"1962", "recycle", "snapshot", "@eadir 2", "my lrdata", "a.lrdata.old", "#recycle2"}
    found = {name for name in waste | photos if re.search(pattern, name)}
    assert found == {name for name in waste | photos if holds_no_photos(name)} == waste


def test_the_page_knows_the_beginnings_of_photos_that_the_command_does(tiny: Path) -> None:
    script = page_files(tiny)["worker/decoding.js"].decode()
    pattern = re.compile(re.findall(r"PHOTO = /(.*)/s", script)[0].encode("latin-1"), re.DOTALL)
    for start, at, kind in (*BEGINNINGS, *UNREADABLE):
        is_known = kind in {"JPEG", "PNG", "GIF", "BMP", "WEBP", "AVIF", "HEIF"}
        assert bool(pattern.match(b"RIFF    "[:at] + start)) == is_known, kind


def test_only_the_generator_goes_into_the_page(tiny: Path) -> None:
    weights = load(page_files(tiny)["weights.safetensors"])
    assert {name.partition(".")[0] for name in weights} == {"generator"}
    _, ends = read_ends(tiny)
    for name, value in weights.items():
        np.testing.assert_array_equal(value, ends[name])


def test_a_folder_has_the_headers_for_threads(tiny: Path, tmp_path: Path) -> None:
    export_page(tiny, tmp_path / "site")
    assert "Cross-Origin-Embedder-Policy: require-corp" in (tmp_path / "site/_headers").read_text()
    assert (tmp_path / "site" / "index.html").is_file()


def test_the_vividness_that_a_page_begins_with_can_be_chosen(tiny: Path) -> None:
    assert b'"vividness": 0.2' in page_files(bundled_checkpoint(), vividness=0.2)["index.html"]
    with pytest.raises(CheckpointError, match="no vividness scale"):
        page_files(tiny, vividness=0.2)


def test_a_name_ends_no_script(tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "a<b.safetensors"
    path.write_bytes(tiny.read_bytes())
    html = page_files(path)["index.html"].decode()
    assert "a<b" not in html
    assert json.loads(re.findall(r'id="about">(.*?)</script>', html)[0])["name"] == "a<b"


def test_weights_that_do_not_fit_give_no_page(tiny: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.safetensors"
    content = tiny.read_bytes()
    header_bytes = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + header_bytes])["__metadata__"]
    weights = load(content)
    weights["generator.head.weight"] = weights["generator.head.weight"][:, :2]
    damaged.write_bytes(save(weights, metadata))
    with pytest.raises(CheckpointError, match="do not fit"):
        export_page(damaged, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mine.html", "is there"),
        ("full", "is there"),
        ("page.pdf", "another ending"),
        (os.devnull, "is there"),
    ],
)
def test_what_is_there_or_named_otherwise_is_refused(
    tiny: Path, tmp_path: Path, name: str, said: str
) -> None:
    (tmp_path / "mine.html").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    with pytest.raises(SettingError, match=said):
        export_page(tiny, tmp_path / name)
    assert (tmp_path / "mine.html").read_text() == "mine"
