"""A headless Chromium, driven by its own chromedriver over HTTP (W3C WebDriver)."""

import base64
import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_TIMEOUT_S = 120.0
_CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
_DRIVER = shutil.which("chromedriver") or ""

_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))

needs_browser = pytest.mark.skipif(not (_CHROMIUM and _DRIVER), reason="no Chromium")


class Browser:
    """One window.

    Attributes:
        folder: Where it keeps its files.
        downloads: Where in there it saves what it is given.
    """

    def __init__(self, session: str, folder: Path) -> None:
        self._session = session
        self.folder = folder
        self.downloads = folder / "downloads"

    def open(self, url: str) -> None:
        """Load a page whole; the driver alone, on a busy machine, returns before that."""
        self._post("url", {"url": url})
        self.wait("document.readyState === 'complete'")

    def reload(self) -> bool:
        """Load the page anew; whether the browser asked before, as it does after a click or key."""
        self._events()
        self._post("refresh", {})
        return any(event["method"] == "Page.javascriptDialogOpening" for event in self._events())

    def run(self, script: str, *args: Any) -> Any:
        """What the body of an async function returns; `args` is at hand in it."""
        wrapped = (
            "const done = arguments[arguments.length - 1], args = [...arguments].slice(0, -1);"
            f"(async () => {{ {script} }})().then((value) => done({{value}}),"
            "(error) => done({error: String(error)}));"
        )
        answer = self._post("execute/async", {"script": wrapped, "args": list(args)})
        assert "error" not in answer, answer
        return answer.get("value")

    def wait(self, script: str, *args: Any, timeout_s: float = _TIMEOUT_S) -> Any:
        """What the expression is once it is true."""
        end = time.monotonic() + timeout_s
        while not (value := self.run(f"return {script}", *args)):
            assert time.monotonic() < end, f"never true: {script}; {self._said()}"
            time.sleep(0.05)
        return value

    def choose(self, *paths: Path) -> None:
        """Give files to the page's file input."""
        self._keys("#files", "\n".join(map(str, paths)))

    def drop(self, *paths: Path) -> None:
        """Drop files and folders onto the page."""
        data = {"items": [], "files": list(map(str, paths)), "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.devtools(
                "Input.dispatchDragEvent", {"type": kind, "x": 200, "y": 300, "data": data}
            )

    def click(self, selector: str) -> None:
        self._post(f"element/{self._find(selector)}/click", {})

    def press(self, *keys: str) -> None:
        """Keys for whatever has the focus, by the characters of WebDriver; "a+b" is a chord."""
        actions = []
        for key in keys:
            chord = key.split("+")
            actions += [{"type": "keyDown", "value": value} for value in chord]
            actions += [{"type": "keyUp", "value": value} for value in reversed(chord)]
        self._post("actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def point(
        self, *places: tuple[float, float], button: int = 0, pointer_type: str = "mouse"
    ) -> None:
        """Press the pointer's button at the first place of the window, let go at the last."""
        moves = [
            {"type": "pointerMove", "x": round(x), "y": round(y), "duration": 0} for x, y in places
        ]
        down, up = ({"type": f"pointer{way}", "button": button} for way in ("Down", "Up"))
        source = {
            "type": "pointer",
            "id": pointer_type,
            "parameters": {"pointerType": pointer_type},
            "actions": [moves[0], down, *moves[1:], up],
        }
        self._post("actions", {"actions": [source]})

    def print(self, width_cm: float, height_cm: float) -> bytes:
        """The page as a PDF, on paper of this size."""
        page = {"width": width_cm, "height": height_cm}
        return base64.b64decode(self._post("print", {"page": page}))

    def screenshot(self) -> bytes:
        """The window as a PNG."""
        return base64.b64decode(self._get("screenshot"))

    def resize(self, width_px: int, height_px: int, *, dark: bool = False) -> None:
        metrics = {"width": width_px, "height": height_px, "deviceScaleFactor": 1, "mobile": False}
        self.devtools("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", {"features": [scheme]})

    def devtools(self, command: str, parameters: dict[str, Any]) -> Any:
        return self._post("goog/cdp/execute", {"cmd": command, "params": parameters})

    def saved(self, name: str, timeout_s: float = _TIMEOUT_S) -> bytes:
        """The content of a file once it is saved whole; it is taken out of the folder."""
        end = time.monotonic() + timeout_s
        path = self.downloads / name
        # Until it has all of a file Chromium holds the name by an empty one.
        while not (path.exists() and path.stat().st_size):
            assert time.monotonic() < end, f"{name} is not saved; {self._said()}"
            time.sleep(0.05)
        content = path.read_bytes()
        path.unlink()
        return content

    def memory_bytes(self) -> int:
        """The most that each process of the page has had in memory, together (Linux)."""
        total = 0
        for status in Path("/proc").glob("[0-9]*/status"):
            with suppress(OSError):
                command = status.with_name("cmdline").read_bytes()
                if b"--type=renderer" in command and str(self.folder).encode() in command:
                    peak = re.search(r"VmHWM:\s*(\d+) kB", status.read_text())
                    total += 1024 * int(peak[1]) if peak else 0
        return total

    def console(self) -> list[str]:
        """What was written on the console since the last call, mostly errors."""
        return [entry["message"] for entry in self._post("se/log", {"type": "browser"})]

    def requests(self) -> list[str]:
        """The addresses asked for since the last call."""
        return [
            event["params"]["request"]["url"]
            for event in self._events()
            if event["method"] == "Network.requestWillBeSent"
        ]

    def close(self) -> None:
        _call("DELETE", self._session)

    def _events(self) -> list[dict[str, Any]]:
        """What happened since the last call, as the protocol of the developer tools has it."""
        entries = self._post("se/log", {"type": "performance"})
        return [json.loads(entry["message"])["message"] for entry in entries]

    def _said(self) -> str:
        status = self.run("return document.querySelector('#status')?.textContent")
        return f"the page says {status!r}, its console {self.console()}"

    def _find(self, selector: str) -> str:
        found = self._post("element", {"using": "css selector", "value": selector})
        return str(found[_ELEMENT])

    def _keys(self, selector: str, text: str) -> None:
        self._post(f"element/{self._find(selector)}/value", {"text": text})

    def _post(self, command: str, body: dict[str, Any]) -> Any:
        return _call("POST", f"{self._session}/{command}", body)

    def _get(self, command: str) -> Any:
        return _call("GET", f"{self._session}/{command}")


def _call(method: str, url: str, body: dict[str, Any] | None = None) -> Any:
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, content, method=method)
    try:
        with _DIRECTLY.open(request, timeout=2 * _TIMEOUT_S) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        message = json.load(error)["value"]["message"]
        raise AssertionError(f"{url}: {message}") from None


@contextmanager
def driver() -> Iterator[Callable[[Path], Browser]]:
    """A function that opens a fresh browser, which keeps its files in the folder given."""
    process = subprocess.Popen(
        [_DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    opened: list[Browser] = []
    try:
        assert process.stdout
        lines = iter(process.stdout.readline, "")
        port = next(
            found[1] for line in lines if (found := re.search(r"successfully on port (\d+)", line))
        )

        def start(folder: Path) -> Browser:
            (folder / "downloads").mkdir(parents=True)
            options = {
                "binary": _CHROMIUM,
                "args": [
                    "--headless=new",
                    "--no-sandbox",  # which root has none of
                    "--disable-dev-shm-usage",
                    "--disable-background-networking",
                    "--force-color-profile=srgb",
                    "--proxy-server=127.0.0.1:9",  # nobody is there: no network but this machine
                    f"--user-data-dir={folder / 'profile'}",
                    "--window-size=1280,800",
                ],
                "prefs": {"download.default_directory": str(folder / "downloads")},
            }
            wanted = {
                "goog:chromeOptions": options,
                "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
                "timeouts": {"script": int(1000 * _TIMEOUT_S)},
            }
            base = f"http://127.0.0.1:{port}/session"
            session = _call("POST", base, {"capabilities": {"alwaysMatch": wanted}})
            browser = Browser(f"{base}/{session['sessionId']}", folder)
            opened.append(browser)
            return browser

        yield start
    finally:
        for browser in opened:
            with suppress(AssertionError, OSError):
                browser.close()
        process.terminate()
        process.wait()
        if process.stdout:
            process.stdout.close()
