"""The page from a server on this computer: saved photos then come from the library itself.

So TIFF, HEIC, 16 bits and metadata are read and kept as by `flowercolor colorize`. Each request
brings its photo and takes the result along: nothing is kept, so visitors cannot mix.
"""

import errno
import json
import re
import secrets
import socket
from collections.abc import Callable
from contextlib import ExitStack
from functools import lru_cache, partial
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import numpy as np
import uvicorn
from anyio import CapacityLimiter, current_time, fail_after, to_thread
from starlette.applications import Starlette
from starlette.datastructures import QueryParams
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from flowercolor.errors import FlowercolorError, ImageError, SettingError, one_line
from flowercolor.hints.guidance import Guidance
from flowercolor.hints.hint import Hint
from flowercolor.inference.batch import Writing, convert, several_pictures
from flowercolor.inference.colorizer import Colorizer
from flowercolor.memory_budget import OR_RAISE, max_file_bytes, photo_memory_errors
from flowercolor.page.build import HEADERS, MAX_MEGAPIXELS, page_files
from flowercolor.photos.formats import WRITABLE, with_depth
from flowercolor.photos.reader import Photo, read_photo
from flowercolor.photos.writer import encode_photo

MAX_BODY_BYTES = max_file_bytes(2 * MAX_MEGAPIXELS * 1_000_000)
MAX_WAITING = 8
"""Photos of all visitors together that are under way; only one of them is computed at a time."""
MAX_SILENCE_S = 20.0
MIN_BYTES_PER_S = 10_000
"""What comes more slowly takes the place of others."""

LOCAL = "127.0.0.1"
EVERYWHERE = {"0.0.0.0": LOCAL, "::": "[::1]"}
"""To listen at all addresses, and what this computer itself then calls the page's."""
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
    facts = {
        "colored": read.colored,
        "faint": read.faint,
        "several": several_pictures(read),
    }
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


def _number(given: QueryParams, name: str) -> float | None:
    text = given.get(name)
    try:
        return float(text) if text else None
    except ValueError:
        raise SettingError(f"{name} is {text!r}; expected a number") from None


def is_local(host: str) -> bool:
    """Whether what listens there is for this computer alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def application(
    checkpoint: Path,
    token: str,
    *,
    hosts: tuple[str, ...] = (LOCAL, "localhost"),
    max_pixels: int = MAX_MEGAPIXELS * 1_000_000,
    max_body_bytes: int = MAX_BODY_BYTES,
    max_waiting: int = MAX_WAITING,
    max_silence_s: float = MAX_SILENCE_S,
) -> Starlette:
    """The ASGI application: the page and two requests below "/<token>/", and nothing else.

    Args:
        token: What the address holds, so that nobody finds it who was not given it.
        hosts: By which names it answers; any other is a page that had its own name lead here.
        max_silence_s: For so long no byte of a photo may come, and so far its transfer may lie
            behind `MIN_BYTES_PER_S`.

    Raises:
        CheckpointError: The weights cannot be read.
    """
    files = page_files(checkpoint, served=True)
    one_at_a_time = CapacityLimiter(1)  # it has all processors already
    waiting = 0
    nothing = Response("There is nothing here.", 404, _HEADERS)

    @lru_cache(maxsize=4)
    def colorizer(vividness: float | None, strength: float) -> Colorizer:
        return Colorizer.from_checkpoint(checkpoint, vividness=vividness, strength=strength)

    def page(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in files:
            return nothing
        kind = _TYPES.get(Path(name).suffix, _OCTETS)
        return Response(files[name], 200, _HEADERS, media_type=kind)

    async def body(request: Request) -> bytes:
        too_large = RefusedError(413, f"is larger than {max_body_bytes / 1e6:.0f} MB.")
        if int(request.headers.get("content-length", 0)) > max_body_bytes:
            raise too_large
        content = bytearray()
        start = current_time()
        with fail_after(max_silence_s) as transfer:
            async for part in request.stream():
                content += part
                slowest = start + len(content) / MIN_BYTES_PER_S
                transfer.deadline = min(current_time(), slowest) + max_silence_s
                if len(content) > max_body_bytes:
                    raise too_large
        return bytes(content)

    async def answer(work: Callable[[], Converted]) -> Response:
        result = await to_thread.run_sync(work, limiter=one_at_a_time)
        about = {"Photo-Ending": result.ending, "Photo-Facts": result.facts}
        return Response(result.content, 200, _HEADERS | about, media_type=_OCTETS)

    async def post(request: Request) -> Response:
        nonlocal waiting
        if request.path_params["method"] not in ("gray", "colorize"):
            return nothing
        waiting += 1
        try:
            if waiting > max_waiting:
                raise RefusedError(503, "has to wait: too many photos are under way. Try it again.")
            photo = await body(request)
            if request.path_params["method"] == "gray":
                return await answer(partial(gray_png, photo, max_pixels=max_pixels))
            given = request.query_params
            strength = _number(given, "strength")
            strength = 1.0 if strength is None else strength
            made = colorizer(_number(given, "vividness"), strength)
            ending = given.get("format", "")
            guidance = Guidance([Hint.parse(text) for text in given.getlist("hint")])
            work = partial(colored, photo, made, ending, guidance, max_pixels=max_pixels)
            return await answer(work)
        except RefusedError as error:
            return PlainTextResponse(str(error), error.status, _HEADERS)
        except TimeoutError:
            said = f"comes too slowly, or not for {max_silence_s:g} s. Try it again."
            return PlainTextResponse(said, 408, _HEADERS | {"Connection": "close"})
        except (FlowercolorError, ValueError) as error:
            return PlainTextResponse(_plain(error), 400, _HEADERS)
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
    named = f"[{host}]" if ":" in host else host
    # "[" is what older versions of Starlette take for the name in "[::1]:8000"; no other has one.
    hosts = (named, LOCAL, "localhost", "[") if is_local(host) else ("*",)
    served = application(checkpoint, token, hosts=hosts)
    config = uvicorn.Config(
        served, log_level="critical", lifespan="off", timeout_graceful_shutdown=1
    )
    with ExitStack() as stack:
        try:
            # The first is one of IPv4, where there is any.
            family, *_, place = min(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
            listening = stack.enter_context(socket.socket(family))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((place[0], port, *place[2:]))
        except (OSError, OverflowError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or one_line(error)
            of_port = getattr(error, "errno", None) in (errno.EADDRINUSE, errno.EACCES)
            of_port = of_port or isinstance(error, OverflowError)
            cure = "choose another --port" if of_port else "give --host an address of this computer"
            raise SettingError(
                f"{named}:{port}: cannot be served from: {reason}; {cure}"
            ) from error
        listening.listen()
        on_start(f"http://{EVERYWHERE.get(host, named)}:{listening.getsockname()[1]}/{token}/")
        uvicorn.Server(config).run(sockets=[listening])
