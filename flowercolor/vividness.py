"""Two generators as the ends of a vividness scale, in one checkpoint."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from flowercolor._version import __version__
from flowercolor.checkpoint import VIVID, check_vividness, load_generator, named, save_checkpoint
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

    They must have learned from one parent, or nothing useful lies between them. What they share
    is stored once.

    Args:
        safe: The checkpoint that vividness 0 gives; with a scale already, its default.
        vivid: The checkpoint that vividness 1 gives; likewise.
        vividness: The default on the scale.
        hints: A checkpoint whose branch for hints serves both; None for that of the safe one.

    Raises:
        CheckpointError: One of them cannot be read, or lacks the branch that is asked of it, or
            their networks are not alike, or have not learned from one parent.
        SettingError: The vividness is not within 0 to 1, or the file is there already.
        StorageError: The file cannot be written.
    """
    import torch  # noqa: PLC0415

    check_vividness(vividness)
    if is_there(output):
        raise SettingError(f"{output}: is there already; expected the name of a new file")
    safe_generator, info = load_generator(safe)
    vivid_generator, vivid_info = load_generator(vivid)
    networks = [replace(each.config.network, hints=False) for each in (info, vivid_info)]
    if networks[0] != networks[1]:
        pairs = zip(*(asdict(network).items() for network in networks), strict=True)
        others = ", ".join(f"{k} {new}, not {old}" for (k, old), (_, new) in pairs if new != old)
        raise CheckpointError(
            f"{vivid}: holds another kind of network than {safe}: {others}; a vividness scale "
            "needs two of one kind, that learned from one parent"
        )
    _check_one_parent(safe_generator, vivid_generator, vivid)
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
    tensors = {**named(safe_generator, "generator."), **differing}
    if hints:
        branch = load_generator(hints)[0].hints
        if branch is None:
            raise CheckpointError(
                f"{hints}: has no branch for hints; expected a run of `train --recipe hints`"
            )
        tensors |= named(branch, "generator.hints.")
        joined = replace(joined, config=joined.config.changed(hints=True))
    save_checkpoint(output, joined, tensors, half=True, overwrite=False)


def _check_one_parent(safe: "UNet", vivid: "UNet", path: Path) -> None:
    """Refuse networks that began at other random weights: those are as good as orthogonal."""
    import torch  # noqa: PLC0415 - it is loaded by now

    vivid_weights = vivid.state_dict()
    for name, weight in safe.state_dict().items():
        shared = name in vivid_weights  # but for a branch for hints
        if shared and weight.ndim > 1 and weight.numel() >= MIN_COMPARED:
            pair = weight.flatten(), vivid_weights[name].flatten()
            if torch.cosine_similarity(*pair, dim=0) < MIN_COSINE:
                raise CheckpointError(
                    f"{path}: did not learn from the same parent as the other network, and nothing "
                    "useful lies between two such; train the vivid one begun from the safe "
                    "one"
                )
