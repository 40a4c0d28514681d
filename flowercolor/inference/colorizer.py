"""Coloring photos of any size: the network gives the chroma, the photo keeps its luma."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypedDict, TypeVar, Unpack, overload

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from flowercolor.checkpoint import read_info, weights_name
from flowercolor.config import (
    MAX_RENDER_SIZE_PX,
    MAX_STRENGTH,
    RENDER_SIZE_PX,
    STRIDE,
    BackendName,
    Precision,
    in_range,
)
from flowercolor.errors import CheckpointError, SettingError
from flowercolor.hints.guidance import Guidance
from flowercolor.hints.hint import Color, Hint, Leave
from flowercolor.hints.spreading import Seen
from flowercolor.inference.backends import Backend, load_backend
from flowercolor.inference.upsampling import check_small, render, shrink
from flowercolor.memory_budget import memory_errors, photo_memory_errors
from flowercolor.photos.pictures import (
    Array,
    ImageOrFile,
    TensorLike,
    called,
    luma_of,
    mask_of,
    palette_of,
)
from flowercolor.progress import Progress
from flowercolor.provenance import record_of
from flowercolor.runs import find_checkpoint

if TYPE_CHECKING:
    import torch

Depth = TypeVar("Depth", bound=np.generic)
One = TypeVar("One")
Several = list[One] | tuple[One, ...]


class GuidanceKeywords(TypedDict, total=False):
    """What leads the colors of a photo, as `Colorizer.__call__` takes it."""

    hints: Sequence[Hint] | None
    like: Any
    palette: str | Sequence[Color] | None
    leave: Sequence[Leave] | None
    mask: Any


class ColorizeKeywords(GuidanceKeywords, total=False):
    """What `colorize` takes beside the image."""

    checkpoint: str | Path | None
    render_size_px: int
    strength: float
    vividness: float | None
    device: "str | torch.device"


class Colorizer:
    """A loaded generator that colors photos.

    Args:
        network: As `backends.load_backend` gives it.
        render_size_px: The network sees each photo at about this many pixels squared, its
            aspect kept. Larger sees finer things, smaller sees more of the whole.
        strength: Factor of the chroma that is guessed, 0 (gray, but for hints) to 1.5.

    Attributes:
        name: What the weights are called, for the record in the pictures' metadata.
        vividness: Where on the vividness scale, if it is not the default.

    Raises:
        SettingError: A setting is out of range.
    """

    def __init__(
        self, network: Backend, *, render_size_px: int = RENDER_SIZE_PX, strength: float = 1.0
    ) -> None:
        if not callable(network):
            raise SettingError(
                f"network is {network!r}; expected a backend; `Colorizer.from_checkpoint` loads one"
            )
        self.render_size_px: int = in_range(
            "render_size_px", render_size_px, int, STRIDE, MAX_RENDER_SIZE_PX
        )
        self.strength: float = in_range("strength", strength, float, 0, MAX_STRENGTH)
        self.network = network
        self.name = "of the caller"
        self.vividness: float | None = None

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: str | Path | None = None,
        *,
        vividness: float | None = None,
        render_size_px: int = RENDER_SIZE_PX,
        strength: float = 1.0,
        backend: BackendName = "auto",
        device: "str | torch.device" = "auto",
        precision: Precision = "auto",
        progress: Progress | None = None,
    ) -> Self:
        """A colorizer with the weights of a checkpoint.

        Args:
            checkpoint: "bundled", "last", a run's name or a path; None means the bundled weights.
            vividness: Where on the vividness scale of a checkpoint that has one, such as the
                bundled one: 0 is the safest guess, 1 the liveliest. None means its own default.
            render_size_px: As for the class, and so is `strength`.
            backend: As for `backends.load_backend`, and so are those below.

        Raises:
            CheckpointError: There is no such checkpoint, it is damaged, or has no vividness scale.
            SettingError: A setting is out of range.
            DeviceError: The device is not there.
        """
        path = find_checkpoint(checkpoint)
        network = load_backend(
            path,
            vividness=vividness,
            backend=backend,
            device=device,
            precision=precision,
            progress=progress,
        )
        colorizer = cls(network, render_size_px=render_size_px, strength=strength)
        colorizer.name = weights_name(path)
        if vividness != read_info(path).vividness:  # the default is none that was chosen
            colorizer.vividness = vividness
        return colorizer

    def software(self, guidance: Guidance | Sequence[Hint] | None = None) -> str:
        """What its pictures say that made them: version, weights, settings that were chosen."""
        return record_of(
            self.name,
            {
                "vividness": None if self.vividness is None else f"{self.vividness:g}",
                "strength": f"{self.strength:g}",
                "render size": str(self.render_size_px),
                **Guidance.of(guidance).digests,
            },
        )

    def __repr__(self) -> str:
        vividness = "" if self.vividness is None else f"vividness={self.vividness:g}, "
        return (
            f"<{type(self).__name__} {self.name!r}: {vividness}"
            f"render_size_px={self.render_size_px}, strength={self.strength:g}, "
            f"backend={self.network.package!r}, device={self.network.device!r}>"
        )

    @overload
    def __call__(
        self, image: str | Path | bytes | Image.Image, **guidance: Unpack[GuidanceKeywords]
    ) -> Image.Image: ...

    @overload  # the shape that comes out is another
    def __call__(
        self, image: npt.NDArray[Depth], **guidance: Unpack[GuidanceKeywords]
    ) -> npt.NDArray[Depth]: ...

    @overload
    def __call__(self, image: TensorLike, **guidance: Unpack[GuidanceKeywords]) -> TensorLike: ...

    @overload
    def __call__(
        self, image: Several[ImageOrFile], **guidance: Unpack[GuidanceKeywords]
    ) -> list[Image.Image]: ...

    @overload
    def __call__(
        self, image: Several[npt.NDArray[Depth]], **guidance: Unpack[GuidanceKeywords]
    ) -> list[npt.NDArray[Depth]]: ...

    @overload
    def __call__(
        self, image: Several[TensorLike], **guidance: Unpack[GuidanceKeywords]
    ) -> list[TensorLike]: ...

    @overload
    def __call__(self, image: Several[Any], **guidance: Unpack[GuidanceKeywords]) -> list[Any]: ...

    def __call__(
        self,
        image: Any,
        *,
        hints: Sequence[Hint] | None = None,
        like: Any = None,
        palette: str | Sequence[Color] | None = None,
        leave: Sequence[Leave] | None = None,
        mask: Any = None,
    ) -> Any:
        """The image in color, at its own size and with its own luma.

        Args:
            image: As for `colorize`.
            hints: What color places of it have; of a list, of each.
            like: A photo in color, as for `image`, whose palette leads this one's.
            palette: Colors that lead this one's, as for `Hint`; in place of `like`.
            leave: Places of it that stay gray.
            mask: uint8 [h, w] of any size, or its file; white stays gray, black is colored. Of 0
                and 1 alone, 1 is white.

        Raises:
            SettingError: A hint lies outside of the photo; both `like` and `palette` are given.
            CheckpointError: There are hints, and the network has no branch for them.
        """
        covering = None if mask is None else mask_of(mask)
        hints, leave = () if hints is None else hints, () if leave is None else leave
        guidance = Guidance(hints, palette_of(like, palette), leave, covering)
        if isinstance(image, (list, tuple)):
            return [self._colored(one, guidance, f"image[{n}]") for n, one in enumerate(image)]
        return self._colored(image, guidance, "image")

    def _colored(self, image: Any, guidance: Guidance, name: str) -> Any:
        with photo_memory_errors(image if isinstance(image, (str, Path)) else name):
            luma, picture_of = luma_of(image, name)
            with called(name):
                return picture_of(self.render(luma, guidance=guidance))

    def render(
        self, luma: npt.NDArray[Depth], *, guidance: Guidance | Sequence[Hint] | None = None
    ) -> npt.NDArray[Depth]:
        """RGB [H, W, 3] of a luma, uint8 or uint16 [H, W], in the same dtype; hints alone will do.

        Raises:
            ImageError: It is another array.
            SettingError: A hint lies outside of the photo, or `guidance` is something else.
            CheckpointError: There are hints, and the network has no branch for them.
        """
        guidance = Guidance.of(guidance)
        luma, _ = luma_of(luma, "luma")
        photo_px = luma.shape[0], luma.shape[1]
        if guidance.needs_features:
            seen = self.see(luma)
            chroma = guidance.chroma(seen, photo_px)
            return render(luma, seen.luma, chroma, colored=guidance.colored(photo_px, seen))
        small = self.shrink(luma)
        chroma = self.chroma([small])[0]
        if not guidance:
            return render(luma, small, chroma, strength=self.strength)
        chroma = np.float32(self.strength) * chroma
        return render(luma, small, chroma, colored=guidance.colored(photo_px, None))

    @memory_errors("coloring", "photo or `render_size_px`")
    def see(self, luma: Array) -> Seen:
        """A photo as the network sees it, with what hints spread by and the chroma at `strength`.

        Args:
            luma: uint8 or uint16 [H, W].

        Raises:
            CheckpointError: The network has no branch for hints.
            DeviceError: The memory does not suffice.
        """
        small = self.shrink(luma)
        height, width = small.shape
        try:
            chroma, features = self.network.with_hint_features(_pad(small)[None, None])
        except NotImplementedError:
            raise CheckpointError(
                f"the weights of {self.name}: the network has no branch for hints; use the "
                "bundled weights, or train one by `flowercolor train --recipe hints --start-from` "
                "with these"
            ) from None
        self._check_finite(chroma)
        strength = np.float32(self.strength)
        return Seen(
            small,
            np.ascontiguousarray(chroma[0, :, :height, :width]) * strength,
            np.ascontiguousarray(features[0, :, :height, :width]),
        )

    def working_size_px(self, height_px: int, width_px: int) -> tuple[int, int]:
        """Height and width at which the network sees a photo of this height and width.

        Raises:
            SettingError: A side is less than 1.
        """
        for name, side in (("height_px", height_px), ("width_px", width_px)):
            in_range(name, side, int, 1)
        scale = self.render_size_px / (height_px * width_px) ** 0.5
        # A side of a few pixels is padded to STRIDE: the other must not grow without bounds.
        longest_px = 4 * self.render_size_px**2 // STRIDE
        height, width = (round(side * scale) for side in (height_px, width_px))
        return min(max(1, height), longest_px), min(max(1, width), longest_px)

    @memory_errors("coloring", "photo or `render_size_px`")
    def shrink(self, luma: Array) -> Array:
        """The luma, uint8 or uint16 [H, W], as the network sees it, float32 [h, w] in 0 to 1.

        Raises:
            ImageError: It is another array.
            DeviceError: The memory does not suffice.
        """
        luma, _ = luma_of(luma, "luma")
        return shrink(luma, *self.working_size_px(*luma.shape))

    @memory_errors("coloring", "photo or `render_size_px`")
    def chroma(self, smalls: Sequence[Array]) -> list[Array]:
        """The chroma of small lumas of one size, in one pass of the network.

        Args:
            smalls: Each float [h, w] in 0 to 1.

        Returns:
            For each, float32 [2, h, w], Cb before Cr.

        Raises:
            ImageError: One is another array, or of another size.
            DeviceError: The memory does not suffice.
            CheckpointError: The network gives what is no finite number.
        """
        if len(smalls) == 0:
            return []
        shape = np.shape(smalls[0])
        for number, small in enumerate(smalls):
            check_small(f"smalls[{number}]", small, shape)
        height, width = shape
        padded = np.stack([_pad(np.asarray(small, np.float32)) for small in smalls])
        chroma = self.network(padded[:, None])
        self._check_finite(chroma)
        return [np.ascontiguousarray(planes[:, :height, :width]) for planes in chroma]

    def _check_finite(self, chroma: Array) -> None:
        if not np.isfinite(chroma).all():
            raise CheckpointError(
                f"the weights of {self.name}: gave colors that are no finite numbers; expected "
                "those of a trained network: use another checkpoint"
            )


@overload
def colorize(
    image: str | Path | bytes | Image.Image, **settings: Unpack[ColorizeKeywords]
) -> Image.Image: ...


@overload  # the shape that comes out is another
def colorize(
    image: npt.NDArray[Depth], **settings: Unpack[ColorizeKeywords]
) -> npt.NDArray[Depth]: ...


@overload
def colorize(image: TensorLike, **settings: Unpack[ColorizeKeywords]) -> TensorLike: ...


@overload
def colorize(
    image: Several[ImageOrFile], **settings: Unpack[ColorizeKeywords]
) -> list[Image.Image]: ...


@overload
def colorize(
    image: Several[npt.NDArray[Depth]], **settings: Unpack[ColorizeKeywords]
) -> list[npt.NDArray[Depth]]: ...


@overload
def colorize(
    image: Several[TensorLike], **settings: Unpack[ColorizeKeywords]
) -> list[TensorLike]: ...


@overload
def colorize(image: Several[Any], **settings: Unpack[ColorizeKeywords]) -> list[Any]: ...


def colorize(
    image: Any,
    *,
    checkpoint: str | Path | None = None,
    render_size_px: int = RENDER_SIZE_PX,
    strength: float = 1.0,
    vividness: float | None = None,
    device: "str | torch.device" = "auto",
    hints: Sequence[Hint] | None = None,
    like: Any = None,
    palette: str | Sequence[Color] | None = None,
    leave: Sequence[Leave] | None = None,
    mask: Any = None,
) -> Any:
    """The image in color: same kind, same size, same luma at every pixel within one level.

    The weights are loaded at the first call and kept for the next ones with the same settings.

    Args:
        image: A Pillow image; a photo's path or bytes; an array, gray [H, W] or RGB [H, W, 3],
            uint8 or uint16; a torch tensor, [H, W], [1, H, W] or [3, H, W], uint8 or float from
            0 to 1; or a list of such. A color image is colored anew from its luma.
        checkpoint: "bundled", "last", a run's name or a path; None means the bundled weights.
        render_size_px: See `Colorizer`.
        strength: Factor of the chroma that is guessed, 0 (gray, but for hints) to 1.5.
        vividness: See `Colorizer.from_checkpoint`.
        device: "auto", "cpu", "cuda", one of several GPUs, such as "cuda:1", "mps", or a torch
            device.
        hints: See `Colorizer.__call__`, and so for `like`, `palette`, `leave` and `mask`.

    Returns:
        For a Pillow image or a file, a Pillow image of mode RGB, upright and in sRGB, with the
        EXIF and DPI in its `info`; for an array, RGB [H, W, 3], and for a tensor, RGB [3, H, W],
        of the dtype that came in; of a list, a list.

    Raises:
        ImageError: The image is of another shape or depth, empty, or cannot be read.
        CheckpointError: There is no such checkpoint, it is damaged, or has no vividness scale.
        SettingError: A setting is out of range.
        DeviceError: The device is not there, or there is too little memory.
    """
    path = find_checkpoint(checkpoint)
    settings: dict[str, Any] = {"render_size_px": render_size_px, "strength": strength}
    settings |= {"vividness": vividness, "device": device}
    try:
        colorizer = _loaded(path, path.stat().st_mtime_ns, **settings)
    except TypeError:  # what no cache can look up, such as a list, is no setting either
        colorizer = Colorizer.from_checkpoint(path, **settings)
    return colorizer(image, hints=hints, like=like, palette=palette, leave=leave, mask=mask)


@lru_cache(maxsize=2)
def _loaded(path: Path, _mtime_ns: int, **settings: Any) -> Colorizer:
    return Colorizer.from_checkpoint(path, **settings)


def _pad(small: Array) -> Array:
    """Mirrored at the lower and right edge, up to sizes that the network can halve."""
    below, right = (-side % STRIDE for side in small.shape)
    padded: Array = cv2.copyMakeBorder(small, 0, below, 0, right, cv2.BORDER_REFLECT_101)
    return padded
