"""The kinds of pictures that Python programs have: their luma, and the way back."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from flowercolor.errors import ImageError
from flowercolor.photos import icc
from flowercolor.photos.formats import with_depth
from flowercolor.photos.reader import Photo, photo_of, read_photo

if TYPE_CHECKING:
    import torch

Array = npt.NDArray[Any]
Picture = TypeVar("Picture", Image.Image, Array, "torch.Tensor")
"""What is given back as the kind that it came as."""

LEAST_COLOR = 8
"""Between the channels of a pixel, in levels of 255: what has less is gray, as far as one sees."""

_EXPECTED = (
    "expected a Pillow image, a path, a NumPy array gray [H, W] or RGB [H, W, 3], a torch tensor "
    "[H, W], [1, H, W] or [3, H, W], or a list of such"
)


def luma_of(picture: Any) -> tuple[Array, Callable[[Array], Any]]:
    """The luma of a picture, and what makes of its RGB a picture of the same kind.

    Args:
        picture: A Pillow image or a path, an array or a tensor, as `colorize` takes them.

    Returns:
        The luma, uint8 or uint16 [H, W], and a function of RGB [H, W, 3] in that dtype.

    Raises:
        ImageError: It is none of those, is empty, or cannot be read.
    """
    if isinstance(picture, (str, Path)):
        return _of_photo(read_photo(picture))
    if isinstance(picture, Image.Image):
        return _of_photo(_opened(picture))
    if isinstance(picture, np.ndarray):
        return _gray(picture), lambda rgb: rgb
    torch = sys.modules.get("torch")  # whoever has a tensor has imported it
    if torch is not None and isinstance(picture, torch.Tensor):
        return _of_tensor(picture)
    raise ImageError(f"image: a {type(picture).__name__}; {_EXPECTED}")


def mask_of(picture: Any) -> npt.NDArray[np.uint8]:
    """The luma of a picture at 8 bits, uint8 [H, W]; as for `luma_of`, and of booleans too."""
    if isinstance(picture, np.ndarray) and picture.dtype == bool:
        picture = picture * np.uint8(255)
    return with_depth(luma_of(picture)[0], np.uint8)


def colors_of(picture: Any) -> Array:
    """The colors of a picture in no order that matters, uint8 or uint16 RGB [N, 1, 3].

    Args:
        picture: As for `luma_of`, in color.

    Raises:
        ImageError: It has no colors, is no picture, is empty, or cannot be read.
    """
    if isinstance(picture, (str, Path)):
        photo, name = read_photo(picture), str(picture)
    elif isinstance(picture, Image.Image):
        photo, name = _opened(picture), "the reference"
    else:
        luma_of(picture)  # refuses what is no picture
        pixels: Array = picture if isinstance(picture, np.ndarray) else _pixels_of(picture)
        if pixels.ndim == 2:
            raise ImageError("the reference: is gray; expected RGB, to be like")
        return pixels.reshape(-1, 1, 3)
    if photo.sample is None or np.ptp(photo.sample, axis=-1).max() <= LEAST_COLOR:
        raise ImageError(f"{name}: has no colors; expected a photo in color to be like")
    return photo.sample


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
    if image.mode in ("I", "F") or 0 in image.size:
        raise ImageError(
            f"image: a Pillow image of mode {image.mode} and {image.width}x{image.height} pixels; "
            "expected some pixels, of 8 or 16 bits a channel"
        )
    try:
        return photo_of(image)
    except (OSError, ValueError, SyntaxError) as error:  # it reads the file when it has to
        raise ImageError(f"image: {error}; expected a whole picture") from error


def _gray(image: Array) -> Array:
    if image.dtype not in (np.uint8, np.uint16) or image.size == 0:
        raise ImageError(
            f"image: an array of {image.size} values of {image.dtype}; expected uint8 or uint16"
        )
    if image.ndim == 2:
        return image
    if image.ndim == 3 and image.shape[2] == 3:
        luma: Array = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        return luma
    raise ImageError(
        f"image: an array of shape {image.shape}; expected gray [H, W] or RGB [H, W, 3]"
    )


def _of_tensor(tensor: "torch.Tensor") -> tuple[Array, Callable[[Array], "torch.Tensor"]]:
    import torch  # noqa: PLC0415 - it is loaded

    def tensor_of(rgb: Array) -> "torch.Tensor":
        planes = np.ascontiguousarray(np.moveaxis(rgb, 2, 0))
        if tensor.dtype.is_floating_point:
            planes = planes / np.float64(65535)
        return torch.from_numpy(planes).to(tensor.device, tensor.dtype)

    return _gray(_pixels_of(tensor)), tensor_of


def _pixels_of(tensor: "torch.Tensor") -> Array:
    """The same as an array, [H, W] or [H, W, 3], uint8, or uint16 of float."""
    import torch  # noqa: PLC0415 - it is loaded

    is_float = tensor.dtype.is_floating_point
    if tensor.ndim not in (2, 3) or (tensor.ndim == 3 and tensor.shape[0] not in (1, 3)):
        raise ImageError(f"image: a tensor of shape {tuple(tensor.shape)}; {_EXPECTED}")
    if not (is_float or tensor.dtype == torch.uint8) or tensor.numel() == 0:
        raise ImageError(
            f"image: a tensor of {tensor.numel()} values of {tensor.dtype}; expected uint8, or "
            "float from 0 to 1"
        )
    values = tensor.detach().cpu()
    if is_float:
        if not ((values >= 0) & (values <= 1)).all():  # neither is NaN
            raise ImageError("image: a tensor with values beyond 0 to 1; expected float in there")
        pixels: Array = (values.double().numpy() * 65535).round().astype(np.uint16)
    else:
        pixels = values.numpy()
    if pixels.ndim == 3:
        pixels = pixels[0] if len(pixels) == 1 else np.ascontiguousarray(np.moveaxis(pixels, 0, 2))
    return pixels
