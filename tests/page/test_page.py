"""The page in a real browser, from disk and without a network."""

import gzip
import io
import itertools
import json
import re
import shutil
import struct
import zipfile
import zlib
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from flowercolor.errors import ImageError
from flowercolor.hints.guidance import Guidance
from flowercolor.hints.hint import Hint
from flowercolor.hints.proposals import propose
from flowercolor.inference.batch import remarks
from flowercolor.inference.colorizer import Colorizer
from flowercolor.inference.planning import plan
from flowercolor.page.build import MAX_MEGAPIXELS, export_page
from flowercolor.page.server import serve
from flowercolor.photos.formats import output_format
from flowercolor.photos.reader import read_photo
from flowercolor.photos.writer import encode_photo
from flowercolor.provenance import differences as settings_apart
from flowercolor.provenance import record_of
from tests.cli.helpers import succeed
from tests.page.browser import Browser, driver, needs_browser

pytestmark = [needs_browser, pytest.mark.slow]

HERE = Path(__file__).parent
DAHLIA = HERE.parents[1] / "docs" / "images" / "dahlia_gray.jpg"
READY = (
    "document.querySelectorAll('#photos img').length"
    " + document.querySelectorAll('#photos .failed').length >= args[0]"
)
COLORED = "document.querySelector('#frame.takes-hints')"
DROP = """
    const drop = (name) => {
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([], name));
        document.dispatchEvent(new DragEvent("drop", { dataTransfer }));
    };
"""
MOST_COLOR = """
    const image = document.querySelector(args[0]);
    const [width, height] = [image.naturalWidth, image.naturalHeight];
    const context = new OffscreenCanvas(width, height).getContext("2d");
    context.drawImage(image, 0, 0);
    const { data } = context.getImageData(0, 0, width, height);
    let most = 0;
    for (let k = 0; k < data.length; k += 4) {
        const [red, green, blue] = data.subarray(k, k + 3);
        most = Math.max(most, Math.max(red, green, blue) - Math.min(red, green, blue));
    }
    return most;
"""
TAB, ENTER, RIGHT, CONTROL, DELETE = "\ue004", "\ue007", "\ue014", "\ue009", "\ue017"


def open_with(browser: Browser, page: Path | str, *photos: Path) -> None:
    browser.resize(1280, 800)
    browser.open(page if isinstance(page, str) else page.as_uri())
    browser.choose(*photos)
    browser.wait(READY, len(photos))
    assert browser.run("return document.querySelectorAll('#photos .failed').length") == 0, text(
        browser, "#caption"
    )


def hold(browser: Browser, message: str) -> None:
    """Keep a message back from the worker, the first of which the expression is true."""
    browser.run(
        "window.release = null; const send = Worker.prototype.postMessage;"
        "Worker.prototype.postMessage = function ({ method, parameters }) {"
        f"  if (!({message})) return send.apply(this, arguments);"
        "  Worker.prototype.postMessage = send;"
        "  window.release = () => send.apply(this, arguments);"
        "};"
    )


def slide(browser: Browser, name: str, value: float) -> None:
    """Move a slider as the pointer does."""
    browser.run(
        "const slider = document.getElementById(args[0]); slider.value = args[1];"
        "for (const kind of ['input', 'change']) slider.dispatchEvent(new Event(kind));",
        name,
        value,
    )


def text(browser: Browser, selector: str) -> str:
    return str(browser.run("return document.querySelector(args[0]).innerText", selector))


def shown_remarks(browser: Browser) -> list[str]:
    """What is said of each photo."""
    return list(
        browser.run(
            "return [...document.querySelectorAll('#photos button')].map((button) => {"
            "button.click(); return document.querySelector('#remarks').textContent; })"
        )
    )


def too_large(path: Path) -> Path:
    """A PNG that says it has 65 megapixels, and holds none."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", 10_000, 6_401, 8, 0, 0, 0, 0)
    end = struct.pack(">I", zlib.crc32(chunk))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + end)
    return path


def serving(checkpoint: Path) -> str:
    """The address of a server that runs until the tests end."""
    addresses: Queue[str] = Queue()
    Thread(
        target=serve, args=(checkpoint,), kwargs={"on_start": addresses.put}, daemon=True
    ).start()
    return addresses.get(timeout=30)


def rgb(content: bytes) -> NDArray[Any]:
    with Image.open(io.BytesIO(content)) as image:
        assert image.mode in ("RGB", "RGBA")
        return np.asarray(image.convert("RGB"))


def differences(colored: NDArray[Any], colorizer: Colorizer, source: Path) -> tuple[int, int]:
    """How many levels a saved picture is off the command's, and its luma off the photo's."""
    luma = read_photo(source).luma
    expected = colorizer.render(luma)
    assert colored.shape == expected.shape
    gray = cv2.cvtColor(colored, cv2.COLOR_RGB2GRAY)
    return int(cv2.absdiff(colored, expected).max()), int(cv2.absdiff(gray, luma).max())


def soft_picture(height_px: int, width_px: int, channels: int = 3) -> NDArray[Any]:
    rng = np.random.default_rng(height_px)
    grid = rng.integers(40, 220, (height_px // 30 + 2, width_px // 30 + 2, channels), np.uint8)
    picture = cv2.resize(grid, (width_px, height_px), interpolation=cv2.INTER_CUBIC)
    return picture.reshape(height_px, width_px, channels)


def orientation(number: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Photos of each kind that the page reads."""
    folder = tmp_path_factory.mktemp("kinds")
    pictures: dict[str, tuple[NDArray[Any], dict[str, Any]]] = {
        "gray.jpg": (soft_picture(300, 200, 1)[..., 0], {"quality": 90}),
        "gray.png": (soft_picture(30, 20, 1)[..., 0], {}),
        "turned.jpg": (soft_picture(120, 310, 1)[..., 0], {"quality": 90, "exif": orientation(6)}),
        "color.jpg": (soft_picture(300, 200), {"quality": 95, "subsampling": 0}),
        "palette.png": (soft_picture(130, 131, 1)[..., 0], {}),
        "lossless.webp": (soft_picture(250, 260), {"lossless": True}),
        "small.png": (soft_picture(40, 61, 1)[..., 0], {}),
        "clear.png": (np.dstack([soft_picture(200, 150), np.full((200, 150), 255, np.uint8)]), {}),
    }
    pictures["clear.png"][0][:60, :, 3] = 0
    for name, (pixels, options) in pictures.items():
        image = Image.fromarray(pixels)
        image = image.convert("P") if name == "palette.png" else image
        image.save(folder / name, **options)
    return {name: folder / name for name in pictures}


def test_the_bundled_weights_color_a_photo_and_propose_colors_as_the_command_does(
    browser: Browser, bundled_page: Path
) -> None:
    colorizer = Colorizer.from_checkpoint(backend="onnxruntime", device="cpu")
    open_with(browser, bundled_page, DAHLIA)
    browser.wait("document.querySelectorAll('#tiles button').length")
    for number, hint in enumerate(propose(colorizer.see(read_photo(DAHLIA).luma), 3).hints, 2):
        browser.click(f"#tiles button:nth-child({number})")
        (spot,) = spots(browser)
        place = f"{spot['x']:.1%}", f"{spot['y']:.1%}"
        assert (*place, spot["color"]) == (hint.x, hint.y, hint.color)
    browser.click("#tiles button")  # as it is
    browser.click("#save")
    saved = browser.saved("dahlia_gray_color.png")
    assert max(differences(rgb(saved), colorizer, DAHLIA)) <= 1
    with Image.open(io.BytesIO(saved)) as image:
        assert image.info["Software"] == colorizer.software()
    slide(browser, "vividness", 0.25)
    browser.click("#save")
    safer = Colorizer.from_checkpoint(vividness=0.25, backend="onnxruntime", device="cpu")
    assert max(differences(rgb(browser.saved("dahlia_gray_color.png")), safer, DAHLIA)) <= 1
    browser.run("document.querySelector('#format').value = 'jpg'")
    browser.click("#save")
    saved = browser.saved("dahlia_gray_color.jpg")
    expected = safer.render(read_photo(DAHLIA).luma).astype(int)
    assert np.abs(rgb(saved) - expected).mean() < 2  # the browser halves the color's resolution
    with Image.open(io.BytesIO(saved)) as image:
        assert image.getexif()[0x0131] == safer.software()
    requests = [url for url in browser.requests() if url.startswith(("http", "ws"))]
    assert requests == []
    assert browser.console() == []


@pytest.mark.parametrize(
    ("width_px", "sides_px"),
    [(1280, (300, 200)), (390, (300, 200)), (1280, (20, 500)), (390, (500, 20))],
)
def test_nothing_moves_from_under_the_pointer_when_the_tiles_come(
    browser: Browser, tiny_page: Path, tmp_path: Path, width_px: int, sides_px: tuple[int, int]
) -> None:
    photo = tmp_path / "photo.png"
    photo_width_px, photo_height_px = sides_px
    Image.fromarray(soft_picture(photo_height_px, photo_width_px, 1)[..., 0]).save(photo)
    browser.resize(width_px, 800)
    browser.open(tiny_page.as_uri())
    browser.run(
        "window.places = []; const save = document.querySelector('#save');"
        "const note = () => { if (save.offsetParent && !save.disabled) places.push("
        "Math.round(save.getBoundingClientRect().y + scrollY)); requestAnimationFrame(note); };"
        "note();"
    )
    browser.choose(photo)
    browser.wait("document.querySelectorAll('#tiles button').length")
    places = browser.run("await new Promise((end) => setTimeout(end, 100)); return window.places")
    assert len(places) > 10
    assert max(places) - min(places) <= 1, sorted(set(places))
    tiles = browser.run("return document.querySelector('#tiles').getBoundingClientRect()")
    assert 100 < tiles["height"] < 1.1 * tiles["width"]


def test_a_photo_of_any_shape_is_printed_whole_on_one_page(
    browser: Browser, tiny_page: Path, tmp_path: Path
) -> None:
    sides_px = {"upright": (50, 75), "a long name " * 20: (40, 1000)}
    photos = [tmp_path / f"{name}.png" for name in sides_px]
    for path, (width_px, height_px) in zip(photos, sides_px.values(), strict=True):
        Image.fromarray(soft_picture(height_px, width_px, 1)[..., 0]).save(path)
    open_with(browser, tiny_page, *photos)
    ratio = "document.querySelector('#before').width / document.querySelector('#before').height"
    for number, (width_px, height_px) in enumerate(sides_px.values(), 1):
        browser.click(f"#photos li:nth-child({number}) button")
        browser.wait(f"Math.abs({ratio} - args[0]) < 0.01", width_px / height_px)
        for paper_cm in ((21, 29.7), (29.7, 21)):
            assert len(re.findall(rb"/Type /Page\b", browser.print(*paper_cm))) == 1, number


def test_every_kind_of_photo_comes_out_as_from_the_command(
    browser: Browser, tiny_page: Path, tiny: Path, kinds: dict[str, Path]
) -> None:
    jobs = plan([*kinds.values()], ending=".png")
    names = {job.source: job.target.name for job in jobs}
    open_with(browser, tiny_page, *kinds.values())
    browser.click("#save")
    assert browser.saved(names[kinds["gray.jpg"]])
    browser.click("#save-all")
    colorizer = Colorizer.from_checkpoint(tiny, backend="onnxruntime", device="cpu")
    with zipfile.ZipFile(io.BytesIO(browser.saved("flowercolor.zip"))) as packed:
        assert packed.testzip() is None
        assert packed.namelist() == [names[source] for source in kinds.values()]
        for name, source in kinds.items():
            content = packed.read(names[source])
            if name == "clear.png":  # what cannot be seen has no color there
                with Image.open(io.BytesIO(content)) as image:
                    alpha = np.asarray(image)[..., 3]
                assert (alpha == read_photo(source).alpha).all()
                continue
            assert max(differences(rgb(content), colorizer, source)) <= 1, name
    shown = text(browser, "#caption")
    assert "gray.jpg" in shown
    browser.click("#photos li:nth-child(4) button")
    assert "in color already" in text(browser, "#caption")


def test_the_first_photo_that_can_be_read_is_shown(
    browser: Browser, tiny_page: Path, tmp_path: Path
) -> None:
    broken = [tmp_path / name for name in ("a.tif", "b.png")]
    for path in broken:
        path.touch()
    browser.open(tiny_page.as_uri())
    browser.choose(*broken, DAHLIA)
    browser.wait(READY, 3)
    browser.wait("document.querySelector('#name').textContent === args[0]", DAHLIA.name)
    browser.click("#photos li:first-child button")
    assert "a.tif is empty" in text(browser, "#caption")


def test_an_ending_that_tells_no_photos_apart_is_in_no_name(
    browser: Browser, tiny_page: Path, tmp_path: Path
) -> None:
    unread = tmp_path / "dahlia_gray.tif"
    unread.touch()
    browser.open(tiny_page.as_uri())
    browser.choose(DAHLIA, DAHLIA, unread)
    browser.wait(READY, 3)
    browser.click("#save")
    assert browser.saved("dahlia_gray_color.png")
    browser.click("#save-all")
    with zipfile.ZipFile(io.BytesIO(browser.saved("flowercolor.zip"))) as packed:
        assert packed.namelist() == ["dahlia_gray_color.png", "dahlia_gray_color-2.png"]


def test_a_photo_is_upright_however_it_lies_in_its_file(
    browser: Browser, tiny_page: Path, tmp_path: Path
) -> None:
    picture = Image.fromarray(soft_picture(40, 90, 1)[..., 0])
    xmp = '<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="{}"/>'
    whole = PngInfo()
    whole.add_itxt("XML:com.adobe.xmp", xmp.format(8))
    late = PngInfo()
    late.add(b"eXIf", orientation(7).tobytes()[6:], after_idat=True)
    options: dict[str, dict[str, Any]] = {
        "xmp.jpg": {"xmp": xmp.format(6).encode()},
        "both.jpg": {"xmp": xmp.format(6).encode(), "exif": orientation(3)},
        "xmp.webp": {"xmp": xmp.format(5).encode(), "lossless": True},
        "xmp.png": {"pnginfo": whole},
        "late.png": {"pnginfo": late},
        "turned.avif": {"exif": orientation(6)},
    }
    for number in range(1, 9):
        for ending in ("jpg", "png", "webp"):
            options[f"{number}.{ending}"] = {"exif": orientation(number), "lossless": True}
    for name, option in options.items():
        picture.save(tmp_path / name, **option)
    open_with(browser, tiny_page, *(tmp_path / name for name in options))
    slide(browser, "strength", 0)
    browser.click("#for-all")
    browser.click("#save-all")
    with zipfile.ZipFile(io.BytesIO(browser.saved("flowercolor.zip"))) as packed:
        for name, saved in zip(options, packed.namelist(), strict=True):
            luma = read_photo(tmp_path / name).luma
            gray = rgb(packed.read(saved))[..., 1]
            assert gray.shape == luma.shape, name
            assert cv2.absdiff(gray, luma).max() <= 1, name


def test_what_has_no_room_for_color_faint_colors_or_several_frames_is_told(
    browser: Browser, tiny_page: Path, tmp_path: Path
) -> None:
    dark = soft_picture(40, 50, 1)[..., 0] // 16
    speck = dark.copy()
    speck[0, 0] = 99
    faint = soft_picture(40, 50, 1)[..., :1].repeat(3, axis=2) // 2 + 40
    faint[:, :25, 2] += 40
    shades = {
        "scan": np.asarray(Image.open(DAHLIA).convert("1")),
        "white": np.full_like(dark, 250),
        "dark": dark,
        "speck": speck,
        "gray": dark + 30,
        "faint": faint,
    }
    expected = {}
    for name, pixels in shades.items():
        path = tmp_path / f"{name}.png"
        Image.fromarray(pixels).save(path)
        expected[path] = f"It {said}." if (said := remarks(read_photo(path))) else ""
    assert "nearly black" in expected[tmp_path / "dark.png"]
    assert "toning" in expected[tmp_path / "faint.png"]
    frames = [Image.fromarray(soft_picture(30 + number, 40, 1)[:30, :, 0]) for number in range(3)]
    for ending in ("gif", "webp", "png", "avif"):
        still, moving = tmp_path / f"still.{ending}", tmp_path / f"moving.{ending}"
        frames[0].save(still)
        frames[0].save(moving, save_all=True, append_images=frames[1:], loop=0)
        expected[still] = ""
        expected[moving] = "It has several frames, of which the first is colored."
    plain = tmp_path / "plain.gif"  # without loop and delays
    frames[0].save(plain, save_all=True, append_images=frames[1:])
    whole = plain.read_bytes()
    for name, content in (("cut", whole[: -len(whole) // 3]), ("delay", delayed(frames[0]))):
        (tmp_path / f"{name}.gif").write_bytes(content)
    expected[plain] = expected[tmp_path / "cut.gif"] = expected[tmp_path / "moving.gif"]
    expected[tmp_path / "delay.gif"] = ""
    open_with(browser, tiny_page, *expected)
    assert shown_remarks(browser) == [*expected.values()]
    browser.click("#save-all")
    assert browser.saved("flowercolor.zip")
    told = [path.name for path, said in expected.items() if said]
    first = ", ".join(told[:3])
    said = f" With a remark: {len(told)} ({first}, …); choose one to see it."
    assert text(browser, "#status").endswith(said)


def delayed(picture: Image.Image) -> bytes:
    """A GIF of one frame with a loop and a delay."""
    content = io.BytesIO()
    picture.save(content, "GIF", loop=0, duration=100)
    return content.getvalue()


def test_a_name_that_turns_the_direction_of_text_turns_itself_alone(
    browser: Browser, tiny_page: Path, tmp_path: Path
) -> None:
    (tmp_path / "a\u202eb.jpg").write_bytes(DAHLIA.read_bytes())
    open_with(browser, tiny_page, tmp_path / "a\u202eb.jpg")
    name, size = browser.run(
        "return ['#name', '#size'].map((id) => {"
        "const { left, right } = document.querySelector(id).getBoundingClientRect();"
        "return [left, right]; })"
    )
    assert name[1] <= size[0]


def turned(jpeg: bytes) -> bytes:
    """The same picture, which EXIF says to lie on its side."""
    content = orientation(6).tobytes()
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + jpeg[2:]


def test_what_cannot_be_read_is_said_in_plain_words_and_the_rest_goes_on(
    browser: Browser, tiny_page: Path, tmp_path: Path
) -> None:
    dahlia = DAHLIA.read_bytes()
    zeros = bytearray(dahlia)
    zeros[len(dahlia) // 2 : len(dahlia) // 2 + 3000] = bytes(3000)
    lossy = io.BytesIO()
    Image.open(DAHLIA).save(lossy, "WEBP", quality=80)
    half = lossy.getvalue()[: lossy.tell() // 2]
    coded = io.BytesIO()
    Image.open(DAHLIA).save(coded, "AVIF")
    scans = io.BytesIO()
    Image.open(DAHLIA).convert("RGB").save(scans, "JPEG", progressive=True)
    icon = io.BytesIO()
    Image.open(DAHLIA).resize((64, 64)).save(icon, "ICO", bitmap_format="bmp")
    broken = {
        "torn.jpg": (dahlia[:200], "damaged"),
        **{
            f"{share}.jpg": (
                scans.getvalue()[: scans.tell() * share // 100] + dahlia[-2:],
                "some of its scans are missing",
            )
            for share in (20, 30, 50)
        },
        "zeros.jpg": (bytes(zeros), "a part of its pixels is zeros"),
        "short.jpg": (dahlia[: len(dahlia) // 2] + dahlia[-2:], "its pixels end too early"),
        "turned.jpg": (turned(dahlia[:40_000] + dahlia[-2:]), "its pixels end too early"),
        "zeros.webp": (half + bytes(lossy.tell() - len(half)), "it ends in zeros"),
        "zeros.avif": (coded.getvalue()[:-6000] + bytes(6000), "it ends in zeros"),
        "cut.jpg": (dahlia[:-20], "damaged"),
        "notes.txt": (b"no picture", "is no picture"),
        "icon.ico": (icon.getvalue(), "is no picture"),
        "drawing.svg": (b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "is no"),
        "scan.tif": (b"II*\0" + bytes(99), "TIFF"),
        "phone.heic": (b"\0\0\0\x18ftypheic" + bytes(99), "HEIC"),
        "empty.png": (b"", "is empty"),
    }
    paths, whole = [], [DAHLIA]
    for name, (content, _) in broken.items():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(content)
    browser.open(tiny_page.as_uri())
    for path in paths[1:10]:
        with pytest.raises(ImageError, match="is a damaged "):
            read_photo(path)
    for name, level in (("gray.jpg", 128), ("white.jpg", 255)):
        path = tmp_path / name
        Image.new("L", (2000, 2000), level).save(path, optimize=True)
        read_photo(path)
        whole.append(path)
    assert bytes(64) in whole[-1].read_bytes()
    whole.append(tmp_path / "scans.jpg")
    whole[-1].write_bytes(scans.getvalue())
    whole.append(tmp_path / "no_end.jpg")
    whole[-1].write_bytes(dahlia[:-2])
    read_photo(whole[-1])
    browser.choose(*paths, *whole)
    browser.wait(READY, len(paths) + len(whole))
    for number, (_, words) in enumerate(broken.values(), 1):
        browser.click(f"#photos li:nth-child({number}) button")
        assert words in text(browser, "#caption")
        assert browser.run("return document.querySelector('#save').disabled")
    for number in range(1, 1 + len(whole)):
        browser.click(f"#photos li:nth-last-child({number}) button")
        assert "damaged" not in text(browser, "#caption")


def spots(browser: Browser) -> list[dict[str, Any]]:
    """The hints of the photo shown: shares of its sides, and the color."""
    return list(
        browser.run(
            "return [...document.querySelectorAll('.spot')].map(({style, classList}) => ({"
            "x: parseFloat(style.left) / 100, y: parseFloat(style.top) / 100,"
            "color: classList.contains('no-color') ? 'gray' : style.getPropertyValue('--color')}))"
        )
    )


def guided(browser: Browser) -> Guidance:
    return Guidance(
        [
            Hint(f"{100 * x:.2f}%", f"{100 * y:.2f}%", color)
            for x, y, color in ((spot["x"], spot["y"], spot["color"]) for spot in spots(browser))
        ]
    )


def in_frame(browser: Browser, x: float, y: float) -> tuple[float, float]:
    """Where in the window a place of the photo is, in shares of its sides."""
    left, top, width, height = browser.run(
        "const {left, top, width, height} = document.querySelector('#frame')"
        ".getBoundingClientRect(); return [left, top, width, height]"
    )
    return left + x * width, top + y * height


def in_photo(browser: Browser, x: float, y: float) -> tuple[float, float]:
    """Which place of the photo is there in the window, in shares of its sides."""
    left, top = in_frame(browser, 0, 0)
    right, bottom = in_frame(browser, 1, 1)
    return (x - left) / (right - left), (y - top) / (bottom - top)


def test_a_click_and_a_likely_color_lead_the_picture_as_the_command_does(
    browser: Browser, tiny_page: Path, tiny: Path
) -> None:
    open_with(browser, tiny_page, DAHLIA)
    browser.point(in_frame(browser, 0.6, 0.4))
    browser.wait("document.querySelector('#likely button')")
    browser.click("#likely button")
    browser.point(in_frame(browser, 0.2, 0.2), in_frame(browser, 0.2, 0.2))
    browser.point(
        in_frame(browser, 0.2, 0.2), in_frame(browser, 0.25, 0.25), in_frame(browser, 0.3, 0.7)
    )
    browser.click("#no-color")
    first, second = spots(browser)
    assert first["color"].startswith("#")
    assert second["color"] == "gray"
    assert (second["x"], second["y"]) == pytest.approx((0.3, 0.7), abs=0.01)
    slide(browser, "strength", 0.8)
    browser.click("#save")
    colorizer = Colorizer.from_checkpoint(tiny, strength=0.8, backend="onnxruntime", device="cpu")
    luma = read_photo(DAHLIA).luma
    led = colorizer.render(luma, guidance=guided(browser)).astype(int)
    saved = rgb(browser.saved("dahlia_gray_color.png"))
    assert np.abs(saved - led).max() <= 1
    assert np.abs(saved - colorizer.render(luma).astype(int)).max() > 20
    browser.point(in_frame(browser, 0.3, 0.7), button=2)
    assert len(spots(browser)) == 1
    for _ in range(2):
        browser.click("#undo")
    assert len(spots(browser)) == 2
    assert browser.console() == []


@pytest.mark.parametrize("method", ["gray", "render", "thumbnail"])
def test_a_click_before_the_colors_are_shown_is_a_spot_of_the_photo_chosen(
    browser: Browser, tiny_page: Path, kinds: dict[str, Path], method: str
) -> None:
    if is_new := method == "thumbnail":  # it is being colored for the first time
        browser.resize(1280, 800)
        browser.open(tiny_page.as_uri())
        hold(browser, "method === 'thumbnail'")
        browser.choose(kinds["gray.jpg"])
    else:
        open_with(browser, tiny_page, DAHLIA, kinds["gray.jpg"])
        hold(browser, f"method === {method!r} && parameters.number === 1")
        browser.click("#photos li:nth-child(2) button")
    browser.wait("!!window.release")
    left, top = in_frame(browser, 0, 0)
    right, bottom = in_frame(browser, 1, 1)
    assert (right - left) / (bottom - top) == pytest.approx(200 / 300, abs=0.01)
    browser.point(in_frame(browser, 0.3, 0.4))
    browser.point(in_frame(browser, 0.3, 0.4))
    if not is_new:
        browser.click("#add-spot")
    places = [(0.3, 0.4), (0.5, 0.5)][: 2 - is_new]

    def check_places() -> None:
        shown = [(spot["x"], spot["y"]) for spot in spots(browser)]
        assert shown == [pytest.approx(place, abs=0.01) for place in places]

    check_places()
    assert browser.run("return document.querySelector('#undo').disabled")
    browser.run("window.release()")
    browser.wait("!document.querySelector('.spot').disabled")
    check_places()
    for spot in spots(browser):
        red, green, blue = bytes.fromhex(spot["color"][1:])
        assert not red == green == blue
    browser.wait("document.querySelector('#likely button')")
    for count in range(len(places))[::-1]:
        browser.press(f"{CONTROL}+z")
        assert len(spots(browser)) == count


def test_a_press_at_the_divider_adds_a_spot_and_a_drag_moves_the_divider(
    browser: Browser, tiny_page: Path
) -> None:
    open_with(browser, tiny_page, DAHLIA)
    for pointer_type in ("mouse", "touch"):
        press_and_drag_at_the_divider(browser, pointer_type)
        browser.click("#remove")


def press_and_drag_at_the_divider(browser: Browser, pointer_type: str) -> None:
    point = partial(browser.point, pointer_type=pointer_type)
    split = "return document.querySelector('#frame').style.getPropertyValue('--split')"
    browser.run("document.querySelector('#frame').style.removeProperty('--split')")
    x, y = in_frame(browser, 0.5, 0.3)
    point((x - 10, y), (x - 9, y + 1))
    [spot] = spots(browser)
    assert (spot["x"], spot["y"]) == pytest.approx((0.5, 0.3), abs=0.03)
    assert browser.run(split) == ""
    point((x - 10, y), (x - 60, y), (x - 120, y + 60))  # the spot is taken, the divider is not
    [spot] = spots(browser)
    assert (spot["x"], spot["y"]) == pytest.approx(in_photo(browser, x - 120, y + 60), abs=0.01)
    point((x + 10, y), (x + 60, y), in_frame(browser, 0.8, 0.3))
    assert browser.run(split) == "80%"
    knob = browser.run(
        "const {left, top, width, height} = document.querySelector('#divider span')"
        ".getBoundingClientRect(); return [left + width / 2, top + height / 2]"
    )
    point(knob)
    assert browser.run(split) == "80%"
    point(knob, (knob[0] - 60, knob[1]), in_frame(browser, 0.4, 0.9))
    assert browser.run(split) == "40%"
    assert spots(browser) == [spot]


def test_three_photos_with_a_hint_each_are_saved_together(
    browser: Browser, tiny_page: Path, tiny: Path, kinds: dict[str, Path]
) -> None:
    sources = [DAHLIA, kinds["turned.jpg"], kinds["lossless.webp"]]
    open_with(browser, tiny_page, *sources)
    guidances = []
    for number, _ in enumerate(sources, 1):
        browser.click(f"#photos li:nth-child({number}) button")
        browser.wait(COLORED)
        browser.point(in_frame(browser, 0.1 + 0.25 * number, 0.4))
        browser.run(
            "const field = document.querySelector('#field'); field.value = args[0];"
            "field.dispatchEvent(new Event('change'));",
            f"#{number}0a04{number}",
        )
        guidances.append(guided(browser))
    browser.click("#save-all")
    colorizer = Colorizer.from_checkpoint(tiny, backend="onnxruntime", device="cpu")
    with zipfile.ZipFile(io.BytesIO(browser.saved("flowercolor.zip"))) as packed:
        for source, guidance in zip(sources, guidances, strict=True):
            content = packed.read(f"{source.stem}_color.png")
            with Image.open(io.BytesIO(content)) as image:
                said = image.info["Software"]
            assert settings_apart(said, colorizer.software()) == "hints, now none"
            colored = rgb(content).astype(int)
            expected = colorizer.render(read_photo(source).luma, guidance=guidance)
            assert np.abs(colored - expected).max() <= 1, source
    said = "Saved in flowercolor.zip: 3 of 3 photos. In color already, and colored anew: 1."
    assert text(browser, "#status") == said


def test_where_web_has_ended_the_page_saves_what_it_can_and_says_so(
    browser: Browser, tiny: Path, kinds: dict[str, Path]
) -> None:
    open_with(browser, serving(tiny), DAHLIA)
    browser.run("window.fetch = () => Promise.reject(new TypeError())")
    browser.click("#save")
    browser.wait("document.querySelector('#status').textContent.includes('Choose PNG or JPEG')")
    browser.choose(kinds["lossless.webp"])
    browser.wait(READY, 2)
    assert "Choose PNG or JPEG" in text(browser, "#status"), "what matters stays"
    browser.click("#save-all")
    both = f"{DAHLIA.name}, lossless.webp could not be saved: "
    browser.wait("document.querySelector('#status').textContent.includes(args[0])", both)
    assert text(browser, "#status").count("Choose PNG or JPEG") == 1
    browser.run("document.querySelector('#format').value = 'png'")
    browser.click("#save")
    assert rgb(browser.saved(f"{DAHLIA.stem}_color.png")).ndim == 3
    assert "by the page alone" in text(browser, "#status")
    browser.click("#save-all")
    browser.saved("flowercolor.zip")
    assert "2 of 2 photos, by the page alone" in text(browser, "#status")


@pytest.mark.parametrize("is_served", [False, True], ids=["page", "web"])
def test_the_page_and_web_refuse_and_count_alike_what_they_do_not_save(
    browser: Browser, tiny_page: Path, tiny: Path, tmp_path: Path, is_served: bool
) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "gone.jpg").write_bytes(DAHLIA.read_bytes())
    refused = tmp_path / "notes.txt", too_large(tmp_path / "large.png")
    photos = [DAHLIA, *refused, tmp_path / "gone.jpg"]
    browser.resize(1280, 800)
    browser.open(serving(tiny) if is_served else tiny_page.as_uri())
    browser.requests()
    browser.choose(*photos)
    browser.wait(READY, len(photos))
    told = "Not read: 2 (notes.txt, large.png); choose one to see why."
    browser.wait("document.querySelector('#status.visible')?.textContent === args[0]", told)
    asked = [url for url in browser.requests() if url.endswith("/gray")]
    assert len(asked) == is_served  # for that alone which the browser does not know
    photos[-1].unlink()
    browser.click("#save-all")
    with zipfile.ZipFile(io.BytesIO(browser.saved("flowercolor.zip"))) as packed:
        assert [Path(name).stem for name in packed.namelist()] == [f"{DAHLIA.stem}_color"]
    assert text(browser, "#status") == (
        f"Saved in flowercolor.zip: 1 of 4 photos. {told} "
        "gone.jpg cannot be opened any more. Was it moved or changed?"
    )
    assert shown_remarks(browser)[2] == (
        f"has 65 megapixels, more than the {MAX_MEGAPIXELS} that the page has room for. Reduce it "
        "first, or use the command flowercolor colorize."
    )


def test_delete_removes_the_spot_that_was_placed_by_a_click(
    browser: Browser, tiny_page: Path
) -> None:
    """Also once its color was chosen, where that has the focus; in a field it deletes letters."""
    open_with(browser, tiny_page, DAHLIA)
    for then in ("", "#likely button", "#no-color"):
        browser.point(in_frame(browser, 0.4, 0.4))
        assert len(spots(browser)) == 1
        if then:
            browser.wait(f"document.querySelector('{then}')")
            browser.click(then)
        browser.press(DELETE)
        assert spots(browser) == []
    browser.point(in_frame(browser, 0.4, 0.4))
    browser.run("document.querySelector('#field').focus()")
    browser.press(DELETE)
    assert len(spots(browser)) == 1


def test_a_person_without_a_pointer_gives_hints_changes_undoes_and_saves(
    browser: Browser, tiny_page: Path
) -> None:
    open_with(browser, tiny_page, DAHLIA)
    browser.run("document.querySelector('#add-spot').focus()")
    browser.press(ENTER)
    browser.run("document.querySelector('#add-spot').focus()")
    browser.press(ENTER)
    assert len(spots(browser)) == 1, "a place has one color"
    browser.press(RIGHT, RIGHT)
    assert spots(browser)[0]["x"] == pytest.approx(0.52)
    browser.press(f"{CONTROL}+z")
    assert spots(browser)[0]["x"] == pytest.approx(0.51)
    browser.press(f"{CONTROL}+z", f"{CONTROL}+z")
    assert browser.run(
        "return [...document.querySelectorAll('.spot'), document.activeElement.id]"
    ) == ["add-spot"]
    browser.press(f"{CONTROL}+y", f"{CONTROL}+y")
    browser.run("document.querySelector('.spot').focus()")
    browser.press(DELETE)
    assert spots(browser) == []
    assert browser.run("return document.activeElement.id") == "add-spot"

    def go_to(identifier: str) -> None:
        for _ in range(30):
            if browser.run("return document.activeElement.id") == identifier:
                return
            browser.press(TAB)
        raise AssertionError(f"Tab does not lead to {identifier}")

    go_to("split")
    browser.press(RIGHT)
    split = "document.querySelector('#frame').style.getPropertyValue('--split')"
    assert browser.run(f"return {split}") == "51%"
    go_to("strength")
    browser.press(RIGHT, RIGHT)
    value = "document.querySelector('#strength').value"
    assert browser.run(f"return {value}") == "1.1"
    browser.press(f"{CONTROL}+z", f"{CONTROL}+z")
    assert browser.run(f"return {value}") == "1"
    browser.press(f"{CONTROL}+y")
    assert browser.run(f"return {value}") == "1.05"
    go_to("save")
    browser.press(ENTER)
    assert browser.saved("dahlia_gray_color.png")


def test_a_tile_leads_the_picture_and_another_takes_its_place(
    browser: Browser, tiny_page: Path
) -> None:
    open_with(browser, tiny_page, DAHLIA)
    browser.wait("document.querySelectorAll('#tiles button').length > 2")
    for number in (2, 3):
        browser.click(f"#tiles button:nth-child({number})")
        assert len(spots(browser)) == 1
        tile = f"#tiles button:nth-child({number})"
        assert browser.run("return document.querySelector(args[0]).ariaPressed", tile) == "true"
    browser.click("#tiles button:nth-child(1)")
    assert spots(browser) == []


def test_coloring_many_photos_can_be_stopped(
    browser: Browser, tiny_page: Path, tmp_path: Path
) -> None:
    photos = [tmp_path / f"{number}.png" for number in range(9)]
    for path in photos:
        Image.fromarray(soft_picture(60, 80, 1)[..., 0]).save(path)
    browser.resize(1280, 800)
    browser.open(tiny_page.as_uri())
    hold(browser, "method === 'open' && parameters.number === 1")
    browser.choose(*photos)
    browser.wait("!!window.release")
    assert "2 of 9" in text(browser, "#progress")
    stopping = browser.run(
        "document.querySelector('#stop').click();" + DROP + "drop('later.png');"
        "return [document.querySelector('#stop').disabled, ...['#progress-text', '#status',"
        "'#photos li:nth-child(9)', '#photos li:nth-child(10)']"
        ".map((name) => document.querySelector(name).textContent)]"
    )
    assert stopping == [True, "Stopping…", "Stopping.", "stopped", "waits"]
    browser.run("window.release()")
    # What was dropped after the click is looked at.
    browser.wait("document.querySelector('#photos li:nth-child(10)').innerText === 'not read'")
    browser.wait("document.querySelector('#progress').hidden")
    assert browser.run("return document.querySelectorAll('#photos img').length") == 2
    browser.click("#photos li:nth-child(9) button")
    assert "you stopped" in text(browser, "#caption")
    browser.choose(photos[0], photos[8])  # the first is colored, and stays alone
    browser.wait("document.querySelector('#photos li:nth-child(9) img')")
    assert browser.run("return document.querySelectorAll('#photos li').length") == 10
    assert "stopped" not in text(browser, "#caption")
    browser.wait("!document.querySelector('#save-all').disabled")
    assert text(browser, "#photos li:nth-child(8)") == "stopped"


def test_photos_that_come_while_all_are_saved_wait_for_it_and_stop_ends_the_saving(
    browser: Browser, tiny_page: Path, kinds: dict[str, Path]
) -> None:
    open_with(browser, tiny_page, DAHLIA, kinds["gray.jpg"])
    hold(browser, "method === 'save' && parameters.number === 1")
    browser.click("#save-all")
    browser.wait("!!window.release")
    browser.choose(kinds["turned.jpg"], kinds["small.png"])
    assert text(browser, "#progress-text") == "Saving 2 of 2"
    browser.click("#stop")
    assert text(browser, "#photos li:nth-child(3)") == "waits"
    browser.run("window.release()")
    stopped = "Stopped; nothing is saved."
    browser.wait("document.querySelector('#status').textContent === args[0]", stopped)
    browser.wait(READY, 4)
    browser.wait("!document.querySelector('#save-all').disabled")
    hold(browser, "method === 'open'")
    browser.choose(kinds["lossless.webp"])
    browser.wait("!!window.release")
    assert browser.run("return document.querySelector('#save-all').disabled")


def test_photos_that_wait_are_shown_at_once_and_so_is_what_saves_all(
    browser: Browser, tiny_page: Path
) -> None:
    browser.open(tiny_page.as_uri())
    tiles = browser.run(
        DROP + "const [row, saveAll] = ['#photos', '#save-all'].map((name) =>"
        "document.querySelector(name)); return ['a.png', 'b.png'].map((name) => { drop(name);"
        "return [row.checkVisibility() && row.innerText, saveAll.checkVisibility()]; })"
    )
    assert tiles == [[False, False], ["waits\nwaits", True]]


@pytest.mark.parametrize("is_stopped", [False, True], ids=["going on", "stopped"])
def test_use_for_all_reaches_photos_that_wait_or_are_being_colored(
    browser: Browser, tiny_page: Path, kinds: dict[str, Path], is_stopped: bool
) -> None:
    photos = [DAHLIA, *(kinds[name] for name in ("gray.jpg", "lossless.webp", "turned.jpg"))]
    browser.resize(1280, 800)
    browser.open(tiny_page.as_uri())
    hold(browser, "method === 'thumbnail' && parameters.number === 2")
    browser.choose(*photos)
    browser.wait("!!window.release")
    if is_stopped:
        browser.click("#stop")
    progress = (
        "return ['#progress-text', '#stop', '#progress'].map((id) => document.querySelector(id))"
        ".map(({innerText, disabled, hidden}) => [innerText, disabled, hidden])"
    )
    before = browser.run(progress)
    assert before[0][0] == ("Stopping…" if is_stopped else "Coloring 3 of 4")
    slide(browser, "strength", 0)
    browser.click("#for-all")
    browser.wait("document.querySelector('#status').innerText.startsWith('All photos have')")
    assert browser.run(progress) == before
    browser.run("window.release()")
    browser.wait(READY, 4 - is_stopped)
    browser.wait("!document.querySelector('#save-all').disabled")
    browser.click("#photos li:nth-child(4) button")
    assert browser.run("return document.querySelector('#strength').value") == "0"
    browser.click("#save-all")
    with zipfile.ZipFile(io.BytesIO(browser.saved("flowercolor.zip"))) as packed:
        saved = [rgb(packed.read(name)) for name in packed.namelist()]
    assert [np.ptp(pixels, axis=-1).max() for pixels in saved] == [0] * (4 - is_stopped)
    for number in range(1, len(saved) + 1):
        shade = browser.run(
            "const image = document.querySelector(args[0]); await image.decode();"
            "const context = new OffscreenCanvas(80, 60).getContext('2d');"
            "context.drawImage(image, 0, 0, 80, 60);"
            "const { data } = context.getImageData(0, 0, 80, 60);"
            "return Math.max(...data.filter((_, k) => k % 4 === 0)"
            ".map((red, k) => Math.abs(red - data[4 * k + 2])));",
            f"#photos li:nth-child({number}) img",
        )
        assert shade <= 2, number
    assert not browser.run("return !dispatchEvent(new Event('beforeunload', {cancelable: true}))")


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three photos, one in a folder below it, earlier results, waste, and much else."""
    folder = tmp_path_factory.mktemp("boxes") / "Omas Kiste"
    names = ["Rose 10.jpg", "Rose 2.JPG", "1962 Garten/Scan.jpg", ".trash/a.jpg", ".hidden.jpg"]
    names += ["1962 Garten/@eaDir/Scan.jpg/SYNOPHOTO_THUMB_XL.jpg", "$RECYCLE.BIN/$RABC.jpg"]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(DAHLIA.read_bytes())
    picture = np.random.default_rng(0).integers(256, size=(400, 400, 3), dtype=np.uint8)
    record = record_of("bundled", {})
    (folder / "Farbe").mkdir()
    for name in RESULTS:
        content = encode_photo(picture, output_format(Path(name)), software=record)
        (folder / "Farbe" / name).write_bytes(content)
    for number in range(120):  # an entry is read by 100
        (folder / f"note {number}.txt").write_text("no picture")
    return folder


RESULTS = [f"Rose 2{ending}" for ending in (".jpg", ".png", ".tif", ".webp", ".avif")]
RESULTS += ["Rose 2.JPG.variants.png"]
WITHOUT_HANDLES = "delete DataTransferItem.prototype.getAsFileSystemHandle"  # as Firefox and Safari


@pytest.mark.parametrize("where", ["page", "web"])
def test_the_photos_in_a_dropped_folder_are_taken_and_the_rest_is_counted(
    browser: Browser, tiny_page: Path, tiny: Path, box: Path, where: str
) -> None:
    (box.parent / "leer").mkdir(exist_ok=True)
    (box.parent / "Briefe").mkdir(exist_ok=True)
    (box.parent / "Briefe" / "an Oma.txt").write_text("no picture")
    browser.resize(1280, 800)
    browser.open(tiny_page.as_uri() if where == "page" else serving(tiny))
    browser.drop(box, DAHLIA, box.parent / "leer", box.parent / "Briefe")
    browser.wait("document.querySelector('#status.visible')")
    assert text(browser, "#status") == (
        "Omas Kiste: 120 other files left out. leer holds no photos. "
        "Briefe holds no photos, but 1 other file. "
        f"Earlier results among the photos, left out: {len(RESULTS)}."
    )
    names = "return [...document.querySelectorAll('#photos button')].map(({title}) => title)"
    inside = ["1962 Garten/Scan", "Rose 2", "Rose 10"]
    shown = [f"Omas Kiste/{name}" for name in ("1962 Garten/Scan.jpg", "Rose 2.JPG", "Rose 10.jpg")]
    assert browser.run(names) == [DAHLIA.name, *shown]
    browser.wait(READY, 4)
    assert shown_remarks(browser) == [""] * 4
    browser.click("#save-all")
    with zipfile.ZipFile(io.BytesIO(browser.saved("flowercolor.zip"))) as packed:
        stems = {name.partition("_color.")[0] for name in packed.namelist()}
    assert stems == {DAHLIA.stem, *(f"Omas Kiste/{name}" for name in inside)}
    browser.drop(box / "Farbe")
    told = f"There are only earlier results, which are taken for photos: {len(RESULTS)}."
    browser.wait("document.querySelector('#status').textContent === args[0]", told)
    assert len(browser.run(names)) == 4 + len(RESULTS)


def test_a_scan_in_black_and_white_alone_has_no_tiles_in_color(
    browser: Browser, tiny_page: Path, tmp_path: Path
) -> None:
    Image.open(DAHLIA).convert("1").save(tmp_path / "line.png")
    browser.open(tiny_page.as_uri())
    browser.choose(DAHLIA, tmp_path / "line.png")
    browser.wait(READY, 2)
    browser.wait("document.querySelectorAll('#tiles canvas').length")
    browser.click("#photos li:nth-child(2) button")
    browser.wait("document.querySelector('#variants').hidden")
    assert "only black and white" in text(browser, "#caption")
    assert browser.run(MOST_COLOR, "#photos li:nth-child(2) img") == 0
    assert browser.run(MOST_COLOR, "#photos li:nth-child(1) img") > 0


def test_nothing_of_the_colors_shines_through_the_gray_half(
    browser: Browser, tiny_page: Path, tmp_path: Path
) -> None:
    half = Image.open(DAHLIA).convert("RGBA")
    half.putalpha(128)
    half.save(tmp_path / "half.png")
    browser.open(tiny_page.as_uri())
    browser.choose(tmp_path / "half.png")
    browser.wait(READY, 1)
    clip = "return getComputedStyle(document.querySelector('#after')).clipPath"
    assert "50%" in browser.run(clip)


def test_a_server_takes_photos_of_a_folder_whose_names_some_system_lacks(
    browser: Browser, tiny: Path, tmp_path: Path
) -> None:
    names = ["Wer ist das?/a.jpg", "1962: Garten/b.jpg", "Oma?.jpg", "two\nlines.jpg"]
    for name in names:
        path = tmp_path / "fam" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(DAHLIA, path)
    browser.open(serving(tiny))
    browser.drop(tmp_path / "fam")
    browser.wait(READY, len(names))
    shown = "return [...document.querySelectorAll('#photos button')].map(({title}) => title)"
    assert sorted(browser.run(shown)) == sorted(f"fam/{name}" for name in names)
    browser.click("#save-all")
    with zipfile.ZipFile(io.BytesIO(browser.saved("flowercolor.zip"))) as packed:
        assert len(packed.namelist()) == len(names)


def test_of_a_folder_that_the_browser_does_not_open_it_is_said_so(
    browser: Browser, tiny_page: Path, box: Path
) -> None:
    browser.resize(1280, 800)
    browser.open(tiny_page.as_uri())
    browser.run(WITHOUT_HANDLES)
    told = (
        "Omas Kiste is a folder, which the page cannot open here. Open it, and drop the photos "
        "in it."
    )
    for paths, count in (((box,), 0), ((box, DAHLIA), 1)):
        browser.drop(*paths)
        browser.wait("document.querySelector('#status').textContent === args[0]", told)
        assert browser.run("return document.querySelectorAll('#photos li').length") == count
        browser.run("document.querySelector('#status').textContent = ''")
    browser.wait(READY, 1)
    assert shown_remarks(browser) == [""]


def test_leaving_asks_only_where_a_person_would_lose_what_was_chosen(
    browser: Browser, tiny_page: Path, kinds: dict[str, Path]
) -> None:
    leave = "return !dispatchEvent(new Event('beforeunload', {cancelable: true}))"
    open_with(browser, tiny_page, DAHLIA, kinds["gray.jpg"])
    assert not browser.run(leave)
    browser.click("#add-spot")
    assert browser.run(leave)
    browser.click("#undo")
    assert not browser.run(leave)
    slide(browser, "strength", 0.8)
    assert browser.run(leave)
    browser.click("#save")
    assert browser.saved("dahlia_gray_color.png")
    assert not browser.run(leave)
    browser.click("#for-all")
    assert browser.run(leave)
    browser.click("#save-all")
    assert browser.saved("flowercolor.zip")
    assert not browser.run(leave)
    slide(browser, "strength", 0.7)
    assert browser.reload()


def test_a_folder_that_is_opened_from_disk_says_that_it_needs_a_server(
    browser: Browser, tiny_page: Path, tiny: Path, tmp_path: Path
) -> None:
    export_page(tiny, tmp_path / "site")
    browser.open((tmp_path / "site" / "index.html").as_uri())
    browser.run("document.querySelector('#unserved').getAnimations()[0].finish()")  # of a second
    assert "This page needs a web server" in text(browser, "main")
    browser.open(tiny_page.as_uri())
    assert "server" not in text(browser, "main")


def test_a_folder_on_a_server_computes_with_threads(
    browser: Browser, tiny: Path, tmp_path: Path
) -> None:
    export_page(tiny, tmp_path / "site")

    class Handler(SimpleHTTPRequestHandler):
        def end_headers(self) -> None:
            for line in (tmp_path / "site" / "_headers").read_text().splitlines()[1:]:
                self.send_header(*line.strip().split(": "))
            super().end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=tmp_path / "site"))
    Thread(target=server.serve_forever).start()
    try:
        browser.requests()
        browser.open(f"http://127.0.0.1:{server.server_port}/")
        browser.choose(DAHLIA)
        browser.wait(READY, 1)
        assert browser.run("return crossOriginIsolated")
        assert browser.run("return document.querySelector('#unserved')") is None
        browser.click("#save")
        colorizer = Colorizer.from_checkpoint(tiny, backend="onnxruntime", device="cpu")
        saved = browser.saved("dahlia_gray_color.png")
        assert max(differences(rgb(saved), colorizer, DAHLIA)) <= 1
        home = f"http://127.0.0.1:{server.server_port}/"
        asked = [url for url in browser.requests() if url.startswith(("http", "ws"))]
        others = [url for url in asked if not url.startswith(home)]
        assert others == []
    finally:
        server.shutdown()
        server.server_close()


def test_the_served_page_reads_and_keeps_what_a_browser_cannot(
    browser: Browser, tiny: Path, tmp_path: Path
) -> None:
    source = tmp_path / "scan.tif"
    cv2.imwrite(str(source), soft_picture(90, 120, 1).astype(np.uint16) * 257)
    browser.resize(1280, 800)
    browser.open(serving(tiny))
    album = tmp_path / "album.tif"
    pages = [Image.fromarray(soft_picture(30, 40 + number)) for number in range(2)]
    pages[0].save(album, save_all=True, append_images=pages[1:])
    browser.choose(source, album)
    browser.wait(READY, 2)
    slide(browser, "strength", 0.8)
    browser.run("document.querySelector('#add-spot').click()")
    browser.click("#save")
    [spot] = spots(browser)
    hint = f"50.00%,50.00%={spot['color']}"
    args = ("--checkpoint", tiny, "--strength", "0.8", "--hint", hint)
    expected = succeed("colorize", source, *args)
    assert browser.saved("scan_color.tif") == Path(expected.stdout.strip()).read_bytes()
    browser.click("#photos li:nth-child(2) button")
    said = text(browser, "#remarks")
    assert "in color already" in said
    assert "It has 2 pages, of which the first is colored." in said


def test_a_photo_of_48_megapixels_takes_some_gigabyte_of_memory(
    tiny_page: Path, tiny: Path, tmp_path: Path
) -> None:
    source = tmp_path / "large.jpg"
    tones = soft_picture(250, 334, 1)[:, :, 0]
    photo = cv2.resize(tones, None, fx=24, fy=24, interpolation=cv2.INTER_NEAREST)
    Image.fromarray(photo).save(source)  # in areas of one tone, a PNG is packed soon
    colorizer = Colorizer.from_checkpoint(tiny, backend="onnxruntime", device="cpu")
    with driver() as start:  # of its own: a page leaves memory to the next in its process
        browser = start(tmp_path / "browser")
        open_with(browser, tiny_page, source)
        browser.click("#save")
        assert max(differences(rgb(browser.saved("large_color.png")), colorizer, source)) <= 1
        assert browser.memory_bytes() < 1.5e9


def test_it_is_accessible_and_fits_a_phone_light_and_dark(
    browser: Browser, tiny_page: Path
) -> None:
    axe = gzip.decompress((HERE / "axe.min.js.gz").read_bytes()).decode()
    for photos in ([], [DAHLIA, DAHLIA]):
        browser.open(tiny_page.as_uri())
        browser.run(axe)
        if photos:
            browser.choose(*photos)
            browser.wait(READY, len(photos))
            browser.run("document.querySelector('#add-spot').click()")
            browser.wait("document.querySelector('#likely button, #tiles button')")
        for width_px, dark in itertools.product((390, 1280), (False, True)):
            browser.resize(width_px, 844, dark=dark)
            too_wide = "document.documentElement.scrollWidth > innerWidth"
            assert not browser.run(f"return {too_wide}")
            found = browser.run("return JSON.stringify((await axe.run()).violations)")
            assert [(rule["id"], rule["nodes"][0]["html"]) for rule in json.loads(found)] == []
