"""The page put together: what lies in `static`, the graph, and the weights of a checkpoint.

As a folder it is those files. As one file they all stand in its HTML, what is no text as base64:
a browser that opens a file from disk lets it load no other.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from safetensors.numpy import save

from flowercolor._version import __version__
from flowercolor.checkpoint import read_ends, read_weights, weights_name
from flowercolor.errors import SettingError
from flowercolor.files import filling, is_folder, is_there, write_bytes
from flowercolor.inference.onnx_backend import OnnxBackend, skeleton

HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
"""With them a browser computes with several threads."""

MAX_MEGAPIXELS = 64
"""That the page has room for: 48 take 1.1 GB of a browser's memory while one photo is open."""

_WORKER = "worker/worker.js"
_VENDORED = ("vendor/onnxruntime.mjs", "vendor/onnxruntime.wasm.gz")
_SKELETON = "skeleton.onnx"
_WEIGHTS = "weights.safetensors"
_FOLDER_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; "
    "connect-src 'self'; style-src 'self'; img-src blob: data:; base-uri 'none'; form-action 'none'"
)
_NOTICE = (
    "flowercolor, MIT and Apache-2.0 licenses; onnxruntime-web, Copyright (c) Microsoft "
    "Corporation, MIT license"
)
_UNSERVED = """<p id="unserved">This page needs a web server: opened from disk it can do nothing.
  Put its folder on a server, or make the page that is one file: flowercolor export page.html</p>
"""
_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([\w./]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?(?:function\*?|class|const|let) (\w+))", re.MULTILINE)


def export_page(checkpoint: Path, target: Path, *, vividness: float | None = None) -> None:
    """Write the page with the weights of a checkpoint.

    Args:
        target: A file named .html, or a folder, whose name has no ending; not there, or empty.
        vividness: Where the page begins on the vividness scale, 0 to 1; None means the
            checkpoint's default.

    Raises:
        CheckpointError: It cannot be read, does not fit its network, or has no vividness scale.
        SettingError: The target is there or named otherwise, or the vividness is out of range.
        StorageError: The page cannot be written.
    """
    ending = target.suffix.lower()
    if ending not in ("", ".html"):
        raise SettingError(
            f"{target}: has another ending; expected a file named .html, a folder, whose name has "
            "no ending, or a file named .onnx"
        )
    if is_there(target) and (not is_folder(target) or any(target.iterdir())):
        raise SettingError(f"{target}: is there already; expected a name that is free")
    files = page_files(checkpoint, vividness=vividness)
    if ending:
        write_bytes(target, single_file(files), overwrite=False)
        return
    # Its script removes it; but from disk, browsers load no modules.
    html = files["index.html"].decode().replace("<main>\n", f"<main>\n{_UNSERVED}")
    files["index.html"] = html.encode()
    # As Netlify and Cloudflare take them.
    lines = ["/*", *(f"  {name}: {value}" for name, value in HEADERS.items())]
    files["_headers"] = "\n".join([*lines, ""]).encode()
    with filling(target) as temporary:
        for name, content in files.items():
            (temporary / name).parent.mkdir(exist_ok=True)
            (temporary / name).write_bytes(content)


def page_files(
    checkpoint: Path, *, vividness: float | None = None, served: bool = False
) -> dict[str, bytes]:
    """The page as files by name, of which "index.html" is the one to open.

    Args:
        vividness: Where it begins on the vividness scale; None means the checkpoint's default.
        served: A server of `flowercolor.page.server` stands behind it.

    Raises:
        CheckpointError, SettingError: As for `export_page`.
    """
    info, weights = read_weights(checkpoint, vividness=vividness)
    network = info.config.network
    OnnxBackend(network, weights, threads=1, name=str(checkpoint))  # refuses what does not fit
    static = resources.files("flowercolor.page") / "static"
    folders = {"": static, "worker/": static / "worker", "vendor/": static / "vendor"}
    files = {
        name + item.name: item.read_bytes()
        for name, folder in folders.items()
        for item in folder.iterdir()
        if item.is_file()
    }
    files[_SKELETON] = skeleton(network)
    _, ends = read_ends(checkpoint)
    files[_WEIGHTS] = save({key: value for key, value in ends.items() if value.dtype.kind == "f"})
    about = {
        "name": weights_name(checkpoint),
        "version": __version__,
        "encoder": network.encoder,
        "output": network.output,
        "hints": network.hints,
        "vividness": info.vividness if vividness is None else vividness,
        "default_vividness": info.vividness,
        "max_megapixels": MAX_MEGAPIXELS,
        "served": served,
    }
    # Where it stands, no "</script>" of a name may end it.
    text = json.dumps(about).replace("<", "\\u003c")
    html = files["index.html"].decode().replace(">{}</script>", f">{text}</script>")
    head = '<meta charset="utf-8">\n'
    files["index.html"] = html.replace(head, head + _policy_tag(_FOLDER_POLICY)).encode()
    return files


def single_file(files: Mapping[str, bytes]) -> bytes:
    """The page as one file of HTML, from the files of `page_files`."""
    script = _bundled(files, "page.js")
    style = files["page.css"].decode()
    assets = {**files, _WORKER: _bundled(files, _WORKER).encode()}
    blocks = (
        f'<script type="application/octet-stream" id="asset-{name}">'
        f"{base64.b64encode(assets[name]).decode()}</script>"
        for name in (_WORKER, *_VENDORED, _SKELETON, _WEIGHTS)
    )
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}' blob: 'wasm-unsafe-eval'; "
        f"worker-src blob:; style-src '{_hash(style)}'; img-src blob: data:; "
        "base-uri 'none'; form-action 'none'"
    )
    html = files["index.html"].decode().replace(_policy_tag(_FOLDER_POLICY), _policy_tag(policy))
    for tag, inside in (
        ("<!doctype html>\n", f"<!doctype html>\n<!-- {_NOTICE} -->\n"),
        ('<link rel="stylesheet" href="page.css">', f"<style>{style}</style>"),
        (
            '<script type="module" src="page.js"></script>',
            "\n".join((f'<script type="module">{script}</script>', *blocks)),
        ),
    ):
        before, found, after = html.partition(tag)
        assert found, tag
        html = before + inside + after
    return html.encode()


def _policy_tag(policy: str) -> str:
    """What has the browser itself refuse the page any request beyond these."""
    return f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _bundled(files: Mapping[str, bytes], entry: str) -> str:
    """A JavaScript module and all that it imports, as one script; each keeps its own names."""
    done: dict[str, str] = {}

    def add(name: str) -> None:
        source, folder = files[name].decode(), name[: name.rfind("/") + 1]
        for _, imported in _IMPORT.findall(source):
            if folder + imported not in done:
                add(folder + imported)
        source = _IMPORT.sub(
            lambda found: f"const {{{found[1]}}} = {_variable(folder + found[2])};\n", source
        )
        exported = ", ".join(kind_and_name[1] for kind_and_name in _EXPORT.findall(source))
        body = _EXPORT.sub(r"\1", source)
        done[name] = f"const {_variable(name)} = (() => {{\n{body}return {{{exported}}};\n}})();\n"

    add(entry)
    script = "".join(done.values())
    assert "</script" not in script.lower()
    return script


def _variable(name: str) -> str:
    return "module_" + re.sub(r"\W", "_", name)
