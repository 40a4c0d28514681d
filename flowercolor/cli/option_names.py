"""The library's messages name parameters, such as `batch_size`, for which there are options."""

import re

_NAMED = re.compile(r'`(\w+)(?:="([\w:]+)")?`|(?<=: )(\w+)(?= is )')
_OTHERWISE = {
    "compiled": "--compile",
    "max_pixels": "--max-megapixels",
    "recursive": "-r",
    "render_size_px": "--render-size",
    "run": "--out",
    "size_px": "--size",
}

_OF_DOWNLOAD = ("from_file", "url")  # which other commands call

# Of the command that runs.
parameters: frozenset[str] = frozenset()


def with_options(message: str) -> str:
    """The message with the command's options in the places of parameters."""

    def option(named: re.Match[str]) -> str:
        name = named[1] or named[3]
        spelled = _OTHERWISE.get(name, f"--{name.replace('_', '-')}")
        known = name in parameters or spelled.lstrip("-").replace("-", "_") in parameters
        if not known and name in _OF_DOWNLOAD:
            return f"`flowercolor download {spelled}`"
        return " ".join(filter(None, (spelled, named[2]))) if known else named[0]

    return _NAMED.sub(option, message)
