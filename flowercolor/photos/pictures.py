"""The kinds of pictures that Python programs have: their luma, and the way back."""

import io
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from flowercolor.errors import ImageError, SettingError
from flowercolor.hints.hint import Color
from flowercolor.hints.palette import Palette
from flowercolor.memory_budget import LACK, OR_RAISE, codec_memory_errors, lacks_memory
from flowercolor.photos import icc
from flowercolor.photos.formats import native, usual_pixels, with_depth
from flowercolor.photos.integrity import damage
from flowercolor.photos.reader import Photo, decode_with, photo_of

if TYPE_CHECKING:
    import torch

Array = npt.NDArray[Any]


class Tensor(Protocol):
    """A `torch.Tensor`, whose name is `Any` to a type checker that finds no torch."""

    def detach(self) -> Any:
        """As torch says."""


ImageOrFile = TypeVar("ImageOrFile", bound=str | Path | bytes | Image.Image)
"""What is given back as a Pillow image."""

TensorLike = TypeVar("TensorLike", bound=Tensor)
"""What is given back as the kind that it came as."""

LEAST_COLOR = 8
"""Between the channels of a pixel, in levels of 255: what has less is gray, as far as one sees."""

_FILE = (str, Path, bytes)
_ROUNDING = 1e-3
"""How far beyond black and white a float may lie, as resizing leaves some: a quarter of a level."""

_OR_READ = ", or give `read_photo(path, max_pixels=...).luma`"
_ARRAY_SHAPES = "gray [H, W] or RGB [H, W, 3]"
_TENSOR_SHAPES = "[H, W], [1, H, W] or [3, H, W]"


def luma_of(picture: Any, name: str = "image") -> tuple[Array, Callable[[Array], Any]]:
    """The luma of a picture, and what makes of its RGB a picture of the same kind.

    Args:
        picture: A Pillow image, a file's path or bytes, an array or a tensor, as `colorize` takes
            them.
        name: What an error calls it that is no file.

    Returns:
        The luma, uint8 or uint16 [H, W], and a function of RGB [H, W, 3] in that dtype.

    Raises:
        ImageError: It is none of those, is empty, or cannot be read.
    """
    if isinstance(picture, _FILE):
        return _of_photo(_read(picture, name, _OR_READ))
    torch = sys.modules.get("torch")  # whoever has a tensor has imported it
    batch = "give the pictures of a batch as list(image)" if name == "image" else ""
    with called(name):
        if isinstance(picture, Image.Image):
            return _of_photo(_opened(picture))
        if torch is not None and isinstance(picture, torch.Tensor):
            return _of_tensor(picture, batch)
        if isinstance(picture, np.ndarray):
            picture = np.asarray(picture)  # no mask, which arithmetic would heed
            return _gray(picture, batch), lambda rgb: rgb.astype(picture.dtype, copy=False)
        cure = "; give its file's path or bytes" if hasattr(picture, "read") else ""
        cure = "; give image.getvalue()" if isinstance(picture, io.BytesIO) else cure
        cure = "; give bytes(image)" if isinstance(picture, (bytearray, memoryview)) else cure
        raise ImageError(
            f"is of the type {type(picture).__name__}; expected a Pillow image, a path, a file's "
            f"bytes, a NumPy array {_ARRAY_SHAPES}, or a torch tensor {_TENSOR_SHAPES}"
            + (", or a list of such" if name == "image" else "")
            + cure
        )


@contextmanager
def called(name: str) -> Iterator[None]:
    """Have errors say of which picture they are."""
    try:
        yield
    except (ImageError, SettingError) as error:
        raise type(error)(f"{name}: {error}") from error


def in_unit(values: Array) -> bool:
    """Whether all values are from 0 to 1, but for rounding; NaN is not."""
    return bool(values.min() >= -_ROUNDING and values.max() <= 1 + _ROUNDING)


def mask_of(picture: Any) -> npt.NDArray[np.uint8]:
    """The luma of a picture at 8 bits, uint8 [H, W]; as for `luma_of`, and of booleans too.

    Where no pixel is above 1, as in an array of 0 and 1, 1 counts as white. Of a Pillow image or a
    path, what is transparent is black: nothing is painted there.
    """
    torch = sys.modules.get("torch")
    if isinstance(picture, np.ndarray) and picture.dtype == bool:
        picture = picture.astype(np.uint8)
    elif torch is not None and isinstance(picture, torch.Tensor) and picture.dtype == torch.bool:
        picture = picture.to(torch.uint8)
    if isinstance(picture, _FILE):
        luma = _painted(_read(picture, "mask", _OR_READ))
    elif isinstance(picture, Image.Image):
        with called("mask"):
            luma = _painted(_opened(picture))
    else:
        luma = luma_of(picture, "mask")[0]
    return with_depth(luma * np.iinfo(luma.dtype).max if luma.max() == 1 else luma, np.uint8)


def palette_of(like: Any = None, palette: str | Sequence[Color] | None = None) -> Palette | None:
    """What leads the colors, of `like` and `palette` as `Colorizer.__call__` takes them.

    Raises:
        SettingError: Both are given, or a color is none.
        ImageError: `like` has no colors, or cannot be read.
    """
    if palette is None:
        palette = ()
    try:
        colors = re.split("[,;]", palette) if isinstance(palette, str) else list(palette)
    except TypeError:
        raise SettingError(
            f"palette is {palette!r}; expected colors, such as 'crimson,ivory' or a list of such"
        ) from None
    if like is not None and colors:
        raise SettingError("`like` and `palette` are both given; leave one of them out")
    if like is not None:
        return Palette.of_pixels(colors_of(like))
    return Palette.of_colors(colors) if colors else None


def _painted(photo: Photo) -> Array:
    if photo.alpha is None:
        return photo.luma
    return cv2.multiply(photo.luma, photo.alpha, scale=1 / np.iinfo(photo.luma.dtype).max)


def colors_of(picture: Any) -> Array:
    """The colors of a picture in no order that matters, uint8 or uint16 RGB [N, 1, 3].

    Args:
        picture: As for `luma_of`, in color.

    Raises:
        ImageError: It has no colors, is no picture, is empty, or cannot be read.
    """
    if isinstance(picture, _FILE):
        name = str(picture) if isinstance(picture, (str, Path)) else "like"
        sample = _read(picture, name).sample
    elif isinstance(picture, Image.Image):
        name = "like"
        with called(name):
            sample = _opened(picture).sample
    else:
        luma_of(picture, "like")  # refuses what is no picture
        pixels: Array = picture if isinstance(picture, np.ndarray) else _pixels_of(picture)
        name, sample = "like", pixels.reshape(-1, 1, 3) if pixels.ndim == 3 else None
    if sample is None or np.ptp(with_depth(sample, np.uint8), axis=-1).max() <= LEAST_COLOR:
        raise ImageError(f"{name}: has no colors; expected a photo in color to be like")
    return sample


def _read(source: str | Path | bytes, name: str, or_else: str = "") -> Photo:
    """A photo's file; who gives it so has no `max_pixels` to raise, and may do `or_else`."""
    if not isinstance(source, bytes):
        name = str(source) or "''"
    try:
        return decode_with(photo_of, source, name)
    except ImageError as error:
        raise ImageError(str(error).replace(OR_RAISE, or_else)) from error


def _of_photo(photo: Photo) -> tuple[Array, Callable[[Array], Image.Image]]:
    metadata = photo.metadata

    def image_of(rgb: Array) -> Image.Image:
        image = Image.fromarray(with_depth(rgb, np.uint8))
        image.info["icc_profile"] = icc.srgb_profile()
        if metadata.exif:
            image.info["exif"] = metadata.exif
        if metadata.dpi:
            image.info["dpi"] = metadata.dpi
        return image

    return photo.luma, image_of


def _opened(image: Image.Image) -> Photo:
    if 0 in image.size:
        raise ImageError(f"is empty, {image.width}x{image.height} pixels; expected some")
    if image.mode in ("I", "F"):  # whose white is not known: an "I" may be of 8 bits or of 16
        mode, white = ("I;16", 65535) if image.mode == "I" else ("L", 255)
        raise ImageError(
            f"is a Pillow image of mode {image.mode}, 32 bits a pixel; expected 8 bits, or 16 of "
            f"gray; have its values from 0 to {white}, then use image.convert({mode!r})"
        )
    if getattr(image, "tile", ()) and getattr(image, "fp", image) is None:
        raise ImageError(
            "is closed, and its pixels were not read before; expected an open one; give its path, "
            "or call image.load() in time"
        )
    try:
        with codec_memory_errors(usual_pixels(image)):
            return photo_of(_with_fitting_info(image))
    except ImageError:
        raise
    except Exception as error:  # Pillow reads the file now, and raises whatever its parsing meets
        if lacks_memory(error):
            raise ImageError(LACK) from error
        raise ImageError(f"{damage(error)}; expected a picture that Pillow reads whole") from error


def _with_fitting_info(image: Image.Image) -> Image.Image:
    """Without a transparency that is of another mode, as where `info` was taken from another."""
    kinds: dict[str, type | tuple[type, ...]] = {"P": (int, bytes), "RGB": tuple}
    transparency = image.info.get("transparency")
    if transparency is None or isinstance(transparency, kinds.get(image.mode, int)):
        return image
    fitting = image.copy()
    del fitting.info["transparency"]
    return fitting


def _gray(image: Array, batch: str = "") -> Array:
    shape = image.shape
    if image.size == 0:
        raise ImageError(f"is empty, of shape {shape}; expected some pixels")
    if image.dtype.newbyteorder("=") not in (np.uint8, np.uint16):
        is_whole = image.dtype.kind in "iu"
        levels, top = ("image", 255) if is_whole else ("(255 * image).round()", 1)
        cure = f", such as {levels}.astype('uint8') where it is from 0 to {top}"
        if image.dtype.kind not in "iufb":
            cure = "; give pictures of several sizes, or paths, as a list" if batch else ""
        raise ImageError(f"is an array of {image.dtype}; expected uint8 or uint16{cure}")
    if image.ndim != 2 and shape[2:] != (3,):
        raise ImageError(
            f"is an array of shape {shape}; expected {_ARRAY_SHAPES}"
            + _cure(shape, "image.transpose(1, 2, 0)", 0, batch)
        )
    image = native(image)
    luma: Array = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return luma


def _cure(shape: tuple[int, ...], turn: str, channels_axis: int, batch: str) -> str:
    """What to do with a picture of such a shape, or with a `batch`; mostly nothing."""
    if len(shape) == 3 and shape[channels_axis] == 3:
        return f"; use {turn} where the 3 are its channels" + (f", or {batch}" if batch else "")
    is_batch = len(shape) == 4 or (len(shape) == 3 and shape[-1] > 4 and shape[0] not in (1, 4))
    return f"; {batch}" if batch and is_batch else ""


def _of_tensor(
    tensor: "torch.Tensor", batch: str
) -> tuple[Array, Callable[[Array], "torch.Tensor"]]:
    import torch  # noqa: PLC0415 - it is loaded

    def tensor_of(rgb: Array) -> "torch.Tensor":
        planes = np.ascontiguousarray(np.moveaxis(rgb, 2, 0))
        if tensor.dtype.is_floating_point:
            planes = planes / np.float64(65535)
        return torch.from_numpy(planes).to(tensor.device, tensor.dtype)

    return _gray(_pixels_of(tensor, batch)), tensor_of


def _pixels_of(tensor: "torch.Tensor", batch: str = "") -> Array:
    """The same as an array, [H, W] or [H, W, 3], uint8, or uint16 of float."""
    import torch  # noqa: PLC0415 - it is loaded

    shape = tuple(tensor.shape)
    is_float = tensor.dtype.is_floating_point
    if tensor.layout != torch.strided or tensor.is_meta:
        if tensor.is_meta:
            raise ImageError("is a tensor of the device meta, without values; expected some")
        raise ImageError("is a sparse tensor; expected a dense one, such as image.to_dense()")
    if tensor.numel() == 0:
        raise ImageError(f"is empty, of shape {shape}; expected some pixels")
    if tensor.ndim != 2 and not (tensor.ndim == 3 and shape[0] in (1, 3)):
        raise ImageError(
            f"is a tensor of shape {shape}; expected {_TENSOR_SHAPES}"
            + _cure(shape, "image.permute(2, 0, 1)", -1, batch)
        )
    if not (is_float or tensor.dtype == torch.uint8):
        is_bool = tensor.dtype == torch.bool
        raise ImageError(
            f"is a tensor of {tensor.dtype}; expected uint8, or float from 0 to 1, such as "
            + ("image.float()" if is_bool else "image.to(torch.uint8) where it is from 0 to 255")
        )
    values = tensor.detach().cpu()
    if is_float:
        floats = values.double().numpy()
        if not np.isfinite(floats).all():
            raise ImageError("has values that are NaN or infinite; expected float from 0 to 1")
        if not in_unit(floats):
            raise ImageError(
                f"has values from {floats.min():g} to {floats.max():g}; expected float from 0 to "
                "1, such as image / 255 where it is from 0 to 255, or image.clamp(0, 1) of what a "
                "resize left beyond"
            )
        pixels: Array = (floats.clip(0, 1) * 65535).round().astype(np.uint16)
    else:
        pixels = values.numpy()
    if pixels.ndim == 3:
        pixels = pixels[0] if len(pixels) == 1 else np.ascontiguousarray(np.moveaxis(pixels, 0, 2))
    return pixels
