"""The page from a server on this computer: saved photos then come from the library itself.

So TIFF, HEIC, 16 bits and metadata are read and kept as by `flowercolor colorize`. Each request
brings its photo and takes the result along: nothing is kept, so visitors cannot mix.
"""

import json
import re
import secrets
import socket
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import uvicorn
from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from flowercolor.errors import FlowercolorError, ImageError, SettingError, one_line
from flowercolor.hints.guidance import Guidance
from flowercolor.hints.hint import Hint
from flowercolor.inference.batch import Writing, convert, several_pictures
from flowercolor.inference.colorizer import Colorizer
from flowercolor.memory_budget import OR_RAISE, photo_memory_errors
from flowercolor.page.build import HEADERS, MAX_MEGAPIXELS, page_files
from flowercolor.photos.formats import WRITABLE, with_depth
from flowercolor.photos.reader import Photo, read_photo
from flowercolor.photos.writer import encode_photo

MAX_BODY_BYTES = 1_000_000_000
MAX_WAITING = 8
"""Photos of all visitors together that are under way; only one of them is computed at a time."""

LOCAL = "127.0.0.1"
_HEADERS = HEADERS | {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",  # the address holds the token
    "X-Content-Type-Options": "nosniff",
}
_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
}
_OCTETS = "application/octet-stream"


class RefusedError(Exception):
    """What a visitor is told, and the status of HTTP."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Converted(NamedTuple):
    """A photo's file.

    Attributes:
        ending: How its name ends, such as ".tif".
        facts: As JSON, what the page cannot see in it of the photo that it was made from.
    """

    content: bytes
    ending: str
    facts: str = "{}"


@photo_memory_errors("the picture")
def gray_png(photo: bytes, *, max_pixels: int) -> Converted:
    """What a browser cannot read as a PNG that it can: the photo's luma at 8 bits, and its opacity.

    Raises:
        ImageError: It cannot be read either, or is too large.
        DeviceError: There is too little memory.
    """
    read = _read(photo, max_pixels)
    luma = with_depth(read.luma, np.uint8)
    content = encode_photo(np.dstack((luma, luma, luma)), "PNG", alpha=read.alpha)
    facts = {"colored": read.colored, "several": several_pictures(read)}
    return Converted(content, ".png", json.dumps(facts))


@photo_memory_errors("the picture")
def colored(
    photo: bytes, colorizer: Colorizer, ending: str, guidance: Guidance, *, max_pixels: int
) -> Converted:
    """The photo's file in color, as `flowercolor colorize` writes it.

    Args:
        ending: Of the format wanted, such as ".png"; "" for the photo's own.

    Raises:
        ImageError: It cannot be read, or is too large.
        SettingError: There is no such format.
        DeviceError: There is too little memory.
    """
    if ending and ending not in WRITABLE:
        raise SettingError(f"format {ending!r}: expected one of {', '.join(WRITABLE)}")
    read = _read(photo, max_pixels)
    read_format = read.metadata.file_format
    endings = {name: known for known, name in reversed(WRITABLE.items())}
    file_format = WRITABLE[ending] if ending else read_format if read_format in endings else "PNG"
    content = convert(read, colorizer, file_format, Writing(), guidance=guidance)
    return Converted(content, endings[file_format])


def _read(photo: bytes, max_pixels: int) -> Photo:
    """The photo, whose pixels the page counts once, also with 16-bit color or opacity."""
    try:
        read = read_photo(photo, max_pixels=2 * max_pixels)
    except ImageError as error:
        if OR_RAISE not in str(error):
            raise
        read = None
    if read is None or read.luma.size > max_pixels:
        raise ImageError(
            f"has more than the {max_pixels / 1e6:.0f} megapixels that the page has room for. "
            "Reduce it first, or use the command flowercolor colorize."
        )
    return read


def _plain(error: Exception) -> str:
    """What an error says, but for parameters, of which the page has none."""
    return re.sub(r" or `\w+`", "", str(error)).removeprefix("the picture: ")


def application(
    checkpoint: Path,
    token: str,
    *,
    hosts: tuple[str, ...] = (LOCAL, "localhost"),
    max_pixels: int = MAX_MEGAPIXELS * 1_000_000,
    max_body_bytes: int = MAX_BODY_BYTES,
    max_waiting: int = MAX_WAITING,
) -> Starlette:
    """The ASGI application: the page and two requests below "/<token>/", and nothing else.

    Args:
        token: What the address holds, so that nobody finds it who was not given it.
        hosts: By which names it answers; any other is a page that had its own name lead here.

    Raises:
        CheckpointError: The weights cannot be read.
    """
    files = page_files(checkpoint, served=True)
    one_at_a_time = CapacityLimiter(1)  # it has all processors already
    waiting = 0

    @lru_cache(maxsize=4)
    def colorizer(vividness: float | None, strength: float) -> Colorizer:
        return Colorizer.from_checkpoint(checkpoint, vividness=vividness, strength=strength)

    def page(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in files:
            return Response("There is nothing here.", 404, _HEADERS)
        kind = _TYPES.get(Path(name).suffix, _OCTETS)
        return Response(files[name], 200, _HEADERS, media_type=kind)

    async def body(request: Request) -> bytes:
        content = bytearray()
        async for part in request.stream():
            content += part
            if len(content) > max_body_bytes:
                raise RefusedError(413, f"is larger than {max_body_bytes / 1e6:.0f} MB.")
        return bytes(content)

    async def answer(work: Callable[[], Converted]) -> Response:
        result = await to_thread.run_sync(work, limiter=one_at_a_time)
        about = {"Photo-Ending": result.ending, "Photo-Facts": result.facts}
        return Response(result.content, 200, _HEADERS | about, media_type=_OCTETS)

    async def post(request: Request) -> Response:
        nonlocal waiting
        waiting += 1
        try:
            if waiting > max_waiting:
                raise RefusedError(503, "has to wait: too many photos are under way. Try it again.")
            photo = await body(request)
            if request.path_params["method"] == "gray":
                return await answer(partial(gray_png, photo, max_pixels=max_pixels))
            given = request.query_params
            vividness = given.get("vividness")
            strength = float(given.get("strength", 1))
            made = colorizer(float(vividness) if vividness else None, strength)
            ending = given.get("format", "")
            guidance = Guidance([Hint.parse(text) for text in given.getlist("hint")])
            work = partial(colored, photo, made, ending, guidance, max_pixels=max_pixels)
            return await answer(work)
        except RefusedError as error:
            return Response(str(error), error.status, _HEADERS)
        except (FlowercolorError, ValueError) as error:
            return Response(_plain(error), 400, _HEADERS)
        finally:
            waiting -= 1

    return Starlette(
        routes=[
            Route(f"/{token}/", page),
            Route(f"/{token}/{{name:path}}", page),
            Route(f"/{token}/{{method:str}}", post, methods=["POST"]),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))],
    )


def serve(
    checkpoint: Path,
    *,
    host: str = LOCAL,
    port: int = 0,
    on_start: Callable[[str], None],
) -> None:
    """Serve the page until Ctrl-C.

    Args:
        port: 0 takes a free one.
        on_start: Called with the page's address once it can be opened.

    Raises:
        CheckpointError: The weights cannot be read.
        SettingError: The address cannot be had.
    """
    token = secrets.token_urlsafe(16)
    hosts = (LOCAL, "localhost") if host == LOCAL else ("*",)
    served = application(checkpoint, token, hosts=hosts)
    config = uvicorn.Config(
        served, log_level="critical", lifespan="off", timeout_graceful_shutdown=1
    )
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or one_line(error)
            raise SettingError(
                f"{host}:{port}: cannot be served from: {reason}; choose another --port"
            ) from error
        listening.listen()
        on_start(f"http://{host}:{listening.getsockname()[1]}/{token}/")
        uvicorn.Server(config).run(sockets=[listening])
