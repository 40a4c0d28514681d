"""Two generators as the ends of a vividness scale, in one checkpoint."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from flowercolor._version import __version__
from flowercolor.checkpoint import (
    VIVID,
    check_vividness,
    load_generator,
    named,
    read_info,
    save_checkpoint,
)
from flowercolor.errors import CheckpointError, SettingError
from flowercolor.files import is_there

if TYPE_CHECKING:
    from flowercolor.networks.unet import UNet

MIN_COSINE = 0.3
MIN_COMPARED = 1000
"""Between the weights of a layer of two networks of one parent, in a layer with so many weights;
the bundled ends have 0.999 and more, random ones 0 within 0.1."""


def join(
    safe: Path,
    vivid: Path,
    output: Path,
    *,
    vividness: float = 0.5,
    note: str = "",
    hints: Path | None = None,
) -> None:
    """Write two generators as the ends of a vividness scale, in half precision.

    They must have begun at the same weights, or nothing useful lies between them, and so must the
    branch for hints. What they share is stored once.

    Args:
        safe: The checkpoint that vividness 0 gives; with a scale already, its default.
        vivid: The checkpoint that vividness 1 gives; likewise.
        vividness: The default on the scale.
        hints: A checkpoint whose branch for hints serves both; None for that of the safe one.

    Raises:
        CheckpointError: One of them cannot be read, or lacks the branch that is asked of it, or
            their networks are not alike, have not begun at the same weights, or are one.
        SettingError: The vividness is not within 0 to 1, or the file is there already.
        StorageError: The file cannot be written.
    """
    import torch  # noqa: PLC0415

    check_vividness(vividness)
    if is_there(output):
        raise SettingError(f"{output}: is there already; expected the name of a new file")
    safe_generator, info = load_generator(safe)
    vivid_generator = load_generator(vivid)[0]
    _check_alike(vivid, vivid_generator, safe, safe_generator, "a vividness scale")
    if info.vividness is not None:  # its score is that of its own safe end, and this another
        info = replace(info, test_l1=None, best_l1=None, best_score=None)
    joined = replace(
        info,
        vividness=vividness,
        note=note or f"{safe} and {vivid} as the ends of a vividness scale",
        version=__version__,
    )
    safe_weights = named(safe_generator, VIVID)
    differing = {
        name: value
        for name, value in named(vivid_generator, VIVID).items()
        if not (name.startswith(f"{VIVID}hints.") or torch.equal(value, safe_weights[name]))
    }
    if not differing:
        raise CheckpointError(
            f"{vivid}: holds the same weights as {safe}, and nothing lies between; expected "
            "those of a network that learned on from them"
        )
    tensors = {**named(safe_generator, "generator."), **differing}
    if hints:
        hinted = load_generator(hints)[0]
        if (branch := hinted.hints) is None:
            raise CheckpointError(
                f"{hints}: has no branch for hints; expected a run of `train --recipe hints`"
            )
        _check_alike(hints, hinted, safe, safe_generator, "a branch for hints")
        tensors |= named(branch, "generator.hints.")
        joined = replace(joined, config=joined.config.changed(hints=True))
    save_checkpoint(output, joined, tensors, half=True, overwrite=False)


def notes_on_ends(safe: Path, vivid: Path, hints: Path | None = None) -> Iterator[str]:
    """What is lost of the second end, its branch for hints or its training, or may go wrong."""
    first, second = read_info(safe), read_info(vivid)
    begun = (each.start_l1 is not None or each.config.network.hints for each in (first, second))
    if not any(begun):
        yield (
            f"neither {safe} nor {vivid} was begun from a checkpoint (`train --start-from`): where "
            "two share their random weights alone the middle may be worse than both ends, which "
            "`eval --vividness 0 --vividness 0.5` tells"
        )
    if second.config.network.hints and hints is None:
        kept = f"that of {safe} is kept" if first.config.network.hints else "which is not kept"
        yield f"{vivid} has a branch for hints, {kept}; `hints` {vivid} takes this one"
    if first.config.size_px != second.config.size_px:
        yield (
            f"{vivid} learned at {second.config.size_px} px and {safe} at "
            f"{first.config.size_px} px, which alone the file says; scores compare best at one size"
        )
    # Copied photos have another fingerprint and the same content.
    if all(first.data.get(key) != second.data.get(key) for key in ("fingerprint", "content_crc32")):
        yield (
            f"{vivid} learned from other photos than {safe}, whose alone the file names: `eval` "
            "cannot tell when it is judged on those that it knows"
        )


def _check_alike(path: Path, network: "UNet", safe: Path, safe_network: "UNet", use: str) -> None:
    """Refuse networks of two kinds, and such as began at other random weights.

    The weights of the latter are as good as orthogonal.
    """
    import torch  # noqa: PLC0415 - it is loaded by now

    kinds = (asdict(replace(each.config, hints=False)) for each in (safe_network, network))
    pairs = zip(*(kind.items() for kind in kinds), strict=True)
    if others := ", ".join(f"{k} {new}, not {old}" for (k, old), (_, new) in pairs if new != old):
        raise CheckpointError(
            f"{path}: holds another kind of network than {safe}: {others}; {use} needs networks of "
            "one kind, that began at the same weights"
        )
    weights = network.state_dict()
    for name, weight in safe_network.state_dict().items():
        if name.startswith("hints."):  # of which each has its own, or none
            continue
        if weight.ndim > 1 and weight.numel() >= MIN_COMPARED:
            pair = weight.flatten(), weights[name].flatten()
            if torch.cosine_similarity(*pair, dim=0) < MIN_COSINE:
                raise CheckpointError(
                    f"{path}: began at other weights than {safe}, and {use} needs networks of the "
                    "same; train it begun from that one, by `train --start-from`"
                )
