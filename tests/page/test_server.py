import io
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import cv2
import numpy as np
import onnxruntime
import pytest
from PIL import Image
from starlette.applications import Starlette

from flowercolor.errors import DeviceError
from flowercolor.hints.guidance import Guidance
from flowercolor.inference.backends import load_backend
from flowercolor.inference.colorizer import Colorizer
from flowercolor.page.build import MAX_MEGAPIXELS
from flowercolor.page.server import MAX_BODY_BYTES, application, colored, is_local
from flowercolor.photos.writer import encode_photo
from tests.cli.helpers import succeed
from tests.inference.helpers import gray, save

TOKEN = "a-token"
ROOM = b"megapixels that the page has room for. Reduce it first, or use the command flowercolor"


def ask(
    served: Starlette,
    path: str,
    body: bytes | None = None,
    *,
    query: str = "",
    host: str = "127.0.0.1:8000",
    of_bytes: int | None = None,
    byte_s: float = math.inf,
) -> tuple[int, dict[str, str], bytes]:
    """The status, headers and content that it answers to a GET, or to a POST of that body.

    Args:
        of_bytes: Content-Length; where the body has fewer, the others come one by one.
        byte_s: How long each of these takes.
    """
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET" if body is None else "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(b"host", host.encode())],
    }
    if of_bytes is not None:
        scope["headers"] += [(b"content-length", str(of_bytes).encode())]
    sent: list[dict[str, Any]] = []
    parts = [body or b""]
    received = 0

    async def receive() -> dict[str, Any]:
        nonlocal received
        if not parts:
            await anyio.sleep(byte_s)
        part = parts.pop() if parts else b"0"
        received += len(part)
        return {"type": "http.request", "body": part, "more_body": received < (of_bytes or 0)}

    async def send(message: Any) -> None:
        sent.append(message)

    async def call() -> None:
        await served(scope, receive, send)

    anyio.run(call)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    content = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], headers, content


@pytest.fixture(scope="module")
def served(tiny: Path) -> Starlette:
    return application(tiny, TOKEN)


def deep_tiff(path: Path) -> Path:
    cv2.imwrite(str(path), gray(dtype=np.uint16))
    return path


def jpeg_of_a_camera(path: Path) -> Path:
    exif = Image.Exif()
    exif[0x0110], exif[0x0112] = "A camera", 6
    Image.fromarray(gray()).save(path, exif=exif, dpi=(300, 300))
    return path


@pytest.mark.parametrize(
    ("name", "make"),
    [("a.tif", deep_tiff), ("b.jpg", jpeg_of_a_camera), ("c.gif", save), ("d.webp", save)],
    ids=["16 bits", "EXIF and DPI", "GIF", "WebP"],
)
def test_a_photo_comes_out_byte_for_byte_as_from_the_command(
    served: Starlette, tiny: Path, tmp_path: Path, name: str, make: Callable[[Path], Path]
) -> None:
    source = make(tmp_path / name)
    query = "strength=1.2&format="
    status, headers, content = ask(served, f"/{TOKEN}/colorize", source.read_bytes(), query=query)
    assert status == 200
    args = ("--checkpoint", tiny, "--strength", "1.2")
    expected = Path(succeed("colorize", source, *args).stdout.strip())
    assert headers["photo-ending"] == expected.suffix
    assert content == expected.read_bytes()


def test_too_little_memory_for_a_photo_is_told_in_plain_words(tiny: Path) -> None:
    class Full(Colorizer):
        def render(self, luma: Any, *, guidance: Any = None) -> Any:
            raise MemoryError("Unable to allocate 561. MiB")

    photo = encode_photo(np.dstack([gray()] * 3), "PNG")
    full = Full(load_backend(tiny))
    with pytest.raises(DeviceError, match=r"^the picture: takes more memory than there is; "):
        colored(photo, full, "", Guidance(), max_pixels=10**6)


def test_no_parameter_is_named_that_the_page_has_not(
    served: Starlette, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Any:
        raise MemoryError

    photo = encode_photo(np.dstack([gray()] * 3), "PNG")
    query = "strength=0.7"
    assert ask(served, f"/{TOKEN}/colorize", photo, query=query)[0] == 200
    monkeypatch.setattr(onnxruntime.InferenceSession, "run", full)
    _, _, said = ask(served, f"/{TOKEN}/colorize", photo, query=query)
    assert said == b"out of memory while coloring; give a smaller photo"


def test_a_format_can_be_chosen(served: Starlette) -> None:
    buffer = io.BytesIO()
    Image.fromarray(gray()).save(buffer, "JPEG")
    path = f"/{TOKEN}/colorize"
    _, headers, content = ask(served, path, buffer.getvalue(), query="format=.png")
    assert headers["photo-ending"] == ".png"
    assert content.startswith(b"\x89PNG")
    status, _, content = ask(served, path, buffer.getvalue(), query="format=.exe")
    assert status == 400
    assert b"expected one of .jpg" in content


def test_strength_0_is_gray(served: Starlette, tmp_path: Path) -> None:
    photo = save(tmp_path / "a.png").read_bytes()
    _, _, content = ask(served, f"/{TOKEN}/colorize", photo, query="strength=0")
    with Image.open(io.BytesIO(content)) as image:
        assert np.ptp(np.asarray(image), axis=-1).max() == 0


def test_what_a_browser_cannot_read_becomes_a_png_of_its_luma(
    served: Starlette, tmp_path: Path
) -> None:
    source = deep_tiff(tmp_path / "a.tif")
    _, _, content = ask(served, f"/{TOKEN}/gray", source.read_bytes())
    with Image.open(io.BytesIO(content)) as image:
        shown = np.asarray(image)
    expected = cv2.convertScaleAbs(gray(dtype=np.uint16), alpha=1 / 257)
    np.testing.assert_array_equal(shown, np.dstack([expected] * 3))


def test_what_that_png_does_not_show_is_told_beside_it(served: Starlette, tmp_path: Path) -> None:
    planes = [gray(seed=number) for number in range(3)]
    first, *others = map(Image.fromarray, planes)
    first.save(tmp_path / "album.tif", save_all=True, append_images=others)
    Image.fromarray(np.dstack(planes)).save(tmp_path / "color.tif")
    for name, facts in (
        ("album.tif", {"colored": False, "faint": False, "several": "3 pages"}),
        ("color.tif", {"colored": True, "faint": False, "several": ""}),
    ):
        _, headers, _ = ask(served, f"/{TOKEN}/gray", (tmp_path / name).read_bytes())
        assert json.loads(headers["photo-facts"]) == facts


def test_opacity_and_16_bits_count_no_more_than_in_the_page(tiny: Path, tmp_path: Path) -> None:
    just = application(tiny, TOKEN, max_pixels=gray().size)
    clear = encode_photo(np.dstack([gray()] * 3), "PNG", alpha=gray())
    deep = encode_photo(np.dstack([gray(dtype=np.uint16)] * 3), "PNG")
    for photo in (clear, deep):
        assert ask(just, f"/{TOKEN}/gray", photo)[0] == 200
        assert ask(just, f"/{TOKEN}/colorize", photo)[0] == 200


def test_the_document_says_how_much_the_page_has_room_for() -> None:
    text = (Path(__file__).parents[2] / "docs" / "page.md").read_text(encoding="utf-8")
    assert set(re.findall(r"(\d+) megapixels \|", text)) - {"48"} == {str(MAX_MEGAPIXELS)}


def test_the_page_is_below_the_token_and_nothing_else_is_anywhere(served: Starlette) -> None:
    status, headers, content = ask(served, f"/{TOKEN}/")
    assert status == 200
    assert b'"served": true' in content
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    _, headers, _ = ask(served, f"/{TOKEN}/worker/worker.js")
    assert headers["content-type"].startswith("text/javascript")
    for path in ("/", "/index.html", "/another/", f"/{TOKEN}/../page.js", f"/{TOKEN}/none"):
        assert ask(served, path)[0] == 404, path
    assert ask(served, "/another/colorize", b"")[0] in (404, 405)


def test_another_name_that_leads_here_is_refused(served: Starlette) -> None:
    """A page elsewhere may have its own name lead to 127.0.0.1."""
    assert ask(served, f"/{TOKEN}/", host="evil.example")[0] == 400


def test_what_is_no_photo_or_too_large_is_refused_in_plain_words(
    tiny: Path, tmp_path: Path
) -> None:
    small = application(tiny, TOKEN, max_pixels=24 * 32 - 1, max_body_bytes=100_000)
    path = f"/{TOKEN}/colorize"
    photo = save(tmp_path / "a.png").read_bytes()
    twice = save(tmp_path / "b.png", np.tile(gray(), (3, 1))).read_bytes()
    for body, query, status, said in (
        (b"no picture", "", 400, b"is no photo"),
        (photo, "", 400, ROOM),
        (twice, "", 400, ROOM),
        (bytes(100_001), "", 413, b"larger than"),
        (photo, "strength=9", 400, b"strength is 9"),
        (photo, "strength=x", 400, b"strength is 'x'; expected a number"),
        (photo, "vividness=x", 400, b"vividness is 'x'; expected a number"),
        (photo, "vividness=0.5", 400, b"no vividness scale"),
    ):
        answer = ask(small, path, body, query=query)
        assert (answer[0], said in answer[2]) == (status, True), answer
    assert ask(application(tiny, TOKEN, max_waiting=0), path, photo)[0] == 503


def test_a_photo_that_stops_coming_keeps_nobody_waiting(tiny: Path, tmp_path: Path) -> None:
    photo = save(tmp_path / "a.png").read_bytes()
    served = application(tiny, TOKEN, max_waiting=1, max_silence_s=0.05)
    status, headers, said = ask(served, f"/{TOKEN}/gray", photo[:3], of_bytes=len(photo))
    assert (status, headers["connection"]) == (408, "close")
    assert said == b"comes too slowly, or not for 0.05 s. Try it again."
    assert ask(served, f"/{TOKEN}/gray", photo, of_bytes=len(photo))[0] == 200


def test_a_photo_that_comes_a_byte_at_a_time_keeps_nobody_waiting(tiny: Path) -> None:
    served = application(tiny, TOKEN, max_silence_s=0.05)
    assert ask(served, f"/{TOKEN}/gray", b"", of_bytes=200, byte_s=0.01)[0] == 408


def test_a_photo_that_says_to_be_too_large_is_not_read(tiny: Path) -> None:
    served = application(tiny, TOKEN, max_body_bytes=100_000)
    assert ask(served, f"/{TOKEN}/gray", b"abc", of_bytes=100_001)[0] == 413


def test_as_much_is_read_as_the_largest_photo_may_take() -> None:
    assert 4 * 2 * 64_000_000 < MAX_BODY_BYTES < 600_000_000


def test_nothing_answers_but_what_the_page_asks(served: Starlette, tmp_path: Path) -> None:
    photo = save(tmp_path / "a.png").read_bytes()
    assert ask(served, f"/{TOKEN}/anything", photo)[0] == 404


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("127.0.0.2", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("example.com", False),
    ],
)
def test_this_computer_alone_has_several_addresses(host: str, is_ours: bool) -> None:
    assert is_local(host) == is_ours
