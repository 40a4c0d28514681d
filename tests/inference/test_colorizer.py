import os
import pickle
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

import flowercolor
from flowercolor import paths
from flowercolor.color import rgb_to_chroma
from flowercolor.config import NetworkConfig, Precision
from flowercolor.errors import CheckpointError, DeviceError, ImageError, SettingError
from flowercolor.hints.guidance import Guidance
from flowercolor.hints.hint import Hint, Leave
from flowercolor.inference.colorizer import Colorizer, _loaded, colorize
from flowercolor.inference.contact_sheet import variants
from flowercolor.inference.torch_backend import TorchBackend
from flowercolor.inference.upsampling import shrink
from flowercolor.networks.unet import UNet
from flowercolor.progress import Silent
from flowercolor.runs import BEST, bundled_checkpoint
from flowercolor.vividness import join
from tests.helpers import Recorder, save_network
from tests.inference import helpers
from tests.inference.helpers import as_backend
from tests.pictures import Array, gray_of

pytestmark = pytest.mark.usefixtures("backend")


def make_generator(seed: int = 0) -> UNet:
    """One that colors strongly, and each seed otherwise."""
    torch.manual_seed(seed)
    generator = UNet(NetworkConfig(2))
    for module in generator.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # one pass sets the running statistics
    generator(torch.rand(4, 1, 32, 32))
    return generator.eval()


def make_colorizer(*, render_size_px: int = 32, **settings: Any) -> Colorizer:
    return Colorizer(as_backend(make_generator()), render_size_px=render_size_px, **settings)


def on_torch(device: str, precision: Precision) -> Colorizer:
    backend = TorchBackend(make_generator(), device=device, precision=precision, progress=Silent())
    return Colorizer(backend, render_size_px=32)


def colorizer_at(render_size_px: int) -> Colorizer:
    return _colorizer_at(render_size_px, helpers.backend)


@cache
def _colorizer_at(render_size_px: int, _backend: str) -> Colorizer:
    return make_colorizer(render_size_px=render_size_px)


class Fake:
    """A backend but for what it computes."""

    package = "none"
    device = "cpu"

    def with_hint_features(self, _gray: Array) -> tuple[Array, Array]:
        raise NotImplementedError

    @contextmanager
    def shared(self, _workers: int) -> Iterator[Callable[[], None]]:
        yield lambda: None


def save_generator(path: Path, seed: int, *, parent: int | None = None) -> Path:
    """A checkpoint; with a parent, of weights halfway from that one's."""
    generator = make_generator(seed)
    if parent is not None:
        old = make_generator(parent).state_dict()
        state = generator.state_dict()
        generator.load_state_dict({name: (state[name] + old[name]) / 2 for name in state})
    return save_network(path, generator)


def photo(shape: tuple[int, ...], dtype: Any = np.uint8) -> Array:
    """Smooth grays or colors."""
    height, width = shape[:2]
    noise = np.random.default_rng(0).uniform(0.2, 0.8, (4, 4, *shape[2:])).astype(np.float32)
    return np.rint(cv2.resize(noise, (width, height)) * np.iinfo(dtype).max).astype(dtype)


@pytest.fixture(autouse=True)
def _nothing_loaded() -> None:
    _loaded.cache_clear()


# Kinds of images


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(33, 50), (50, 33, 3), (1, 1), (1, 9), (200, 3)])
def test_an_array_comes_back_in_color_in_its_own_size_and_depth(
    shape: tuple[int, ...], dtype: Any
) -> None:
    image = photo(shape, dtype)
    before = image.copy()
    colored = make_colorizer()(image)
    assert colored.shape == (*shape[:2], 3)
    assert colored.dtype == dtype
    luma = image if image.ndim == 2 else gray_of(image)
    assert np.abs(gray_of(colored).astype(int) - luma).max() <= 1
    assert np.ptp(colored.astype(int), axis=2).max() > 0.02 * np.iinfo(dtype).max
    assert np.array_equal(image, before)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "La"])
def test_a_pillow_image_comes_back_as_one(mode: str) -> None:
    image = Image.fromarray(photo((33, 50, 3)))
    image = (image.convert("LA") if mode == "La" else image).convert(mode)
    colored = make_colorizer()(image)
    assert isinstance(colored, Image.Image)
    assert colored.mode == "RGB"
    assert colored.size == (50, 33)
    luma = gray_of(np.asarray(image.convert("LA" if mode == "La" else "RGB").convert("RGB")))
    assert np.abs(gray_of(np.asarray(colored)).astype(int) - luma).max() <= 1


def test_a_16_bit_pillow_image_keeps_its_tones() -> None:
    """Pillow's own conversion would turn all above 255 white."""
    deep = photo((33, 50), np.uint16)
    colored = make_colorizer()(Image.fromarray(deep))
    assert np.abs(gray_of(np.asarray(colored)) - deep / 257).max() <= 1.5


def test_a_pillow_image_and_its_array_are_colored_alike() -> None:
    image = photo((33, 50, 3))
    colorizer = make_colorizer()
    assert np.array_equal(np.asarray(colorizer(Image.fromarray(image))), colorizer(image))


def test_a_color_image_is_colored_from_its_luma() -> None:
    image = photo((33, 50, 3))
    colorizer = make_colorizer()
    assert np.array_equal(colorizer(image), colorizer(gray_of(image)))


def test_a_pickled_colorizer_is_the_same(backend: str) -> None:
    colorizer = make_colorizer(strength=1.2)
    again = pickle.loads(pickle.dumps(colorizer))
    assert repr(again) == repr(colorizer)
    assert again.network.package == backend
    np.testing.assert_array_equal(again(helpers.gray()), colorizer(helpers.gray()))


def test_a_path_of_too_many_pixels_says_what_takes_it(tmp_path: Path) -> None:
    """Neither the file of a photo nor that of its mask has a parameter `max_pixels` here."""
    path = helpers.save(tmp_path / "a.bmp")
    content = path.read_bytes()
    path.write_bytes(content[:18] + struct.pack("<ii", 1 << 15, 1 << 15) + content[26:])
    cure = "or give `read_photo(path, max_pixels=...).luma`"
    for give in ({"image": path}, {"image": helpers.gray(), "mask": path}):
        with pytest.raises(ImageError) as refused:
            make_colorizer()(**give)
        assert str(refused.value).endswith(f"at most 300; reduce it first, {cure}")
    with pytest.raises(ImageError, match=r"at most 300; reduce it first$"):
        make_colorizer()(helpers.gray(), like=path)


@pytest.mark.parametrize(
    "view",
    [
        lambda image: image[::-1],
        lambda image: image[:, ::-1],
        lambda image: image[::2, 1::2],
        lambda image: image.T,
        np.asfortranarray,
    ],
)
def test_an_array_may_lie_in_memory_as_it_likes(view: Callable[[Array], Array]) -> None:
    image = view(photo((40, 40)))
    expected = make_colorizer()(np.ascontiguousarray(image))
    image.flags.writeable = False
    assert np.array_equal(make_colorizer()(image), expected)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4), bool),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 1), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((0, 4), np.uint8),
        Image.new("L", (0, 4)),
        Image.new("F", (4, 4)),
        Image.new("I", (4, 4)),
    ],
)
def test_what_is_no_photo_is_refused(image: Any) -> None:
    with pytest.raises(ImageError, match=r"^image: .*; expected") as caught:
        make_colorizer()(image)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("call", [Colorizer.render, Colorizer.shrink])
def test_a_part_refuses_what_is_no_luma_and_takes_a_color_picture(call: Any) -> None:
    for wrong in (photo((33, 50))[None], photo((33, 50)) / 255, [1]):
        with pytest.raises(ImageError, match=r"^luma: is .*; expected"):
            call(make_colorizer(), wrong)
    color = photo((33, 50, 3))
    assert np.array_equal(call(make_colorizer(), color), call(make_colorizer(), gray_of(color)))


def test_small_lumas_are_floats_of_one_size_or_none() -> None:
    small = shrink(photo((33, 50)), 32, 32)
    colorizer = make_colorizer()
    assert colorizer.chroma([]) == []
    (chroma,) = colorizer.chroma([small.astype(np.float64)])
    assert np.array_equal(chroma, colorizer.chroma([small])[0])
    for wrong in (photo((32, 32)), small[None], small[1:], 128 * small, small - 1, small * np.nan):
        with pytest.raises(ImageError, match=r"^smalls\[1\]: (is|has) .*; expected float \[h, w\]"):
            colorizer.chroma([small, wrong])


def test_a_picture_of_a_list_is_refused_by_its_number() -> None:
    with pytest.raises(ImageError, match=r"^image\[1\]: is empty"):
        make_colorizer()([photo((33, 50)), photo((33, 50))[:0]])


# Settings


@pytest.mark.parametrize("strength", [-0.1, 1.6, float("nan")])
def test_a_strength_out_of_range_is_refused(strength: float) -> None:
    with pytest.raises(SettingError, match=f"strength is {strength}; expected 0 to 1.5"):
        make_colorizer(strength=strength)


def test_a_render_size_below_what_the_network_takes_is_refused() -> None:
    with pytest.raises(SettingError, match="render_size_px is 15; expected 16 to 1024"):
        make_colorizer(render_size_px=15)


def test_a_render_size_that_would_run_for_minutes_is_refused() -> None:
    with pytest.raises(SettingError, match="render_size_px is 1025; expected 16 to 1024"):
        make_colorizer(render_size_px=1025)


@pytest.mark.parametrize("side", [0, -1, 0.5, None])
def test_a_photo_of_no_size_has_no_working_size(side: Any) -> None:
    with pytest.raises(SettingError, match=rf"^width_px is {side}; expected "):
        make_colorizer().working_size_px(9, side)


@pytest.mark.parametrize(
    ("name", "value"),
    [("strength", "1"), ("strength", None), ("strength", True), ("render_size_px", 128.5)],
)
def test_a_setting_of_another_kind_is_refused(name: str, value: Any) -> None:
    with pytest.raises(SettingError, match=rf"^{name} is {value!r}; expected a (whole )?number$"):
        make_colorizer(**{name: value})
    assert make_colorizer(strength=np.float32(0.5)).strength == 0.5


@pytest.mark.parametrize("name", ["strength", "vividness", "render_size_px"])
def test_a_setting_that_no_cache_can_look_up_is_refused_by_name(name: str) -> None:
    setting: dict[str, Any] = {name: [1]}
    with pytest.raises(SettingError, match=rf"^{name} is \[1\]; expected a (whole )?number$"):
        colorize(np.zeros((8, 8), np.uint8), **setting)


def test_a_name_of_weights_is_no_backend() -> None:
    with pytest.raises(SettingError, match=r"^network is 'bundled'; .*from_checkpoint"):
        Colorizer("bundled")  # type: ignore[arg-type]


def test_strength_0_gives_gray_and_more_gives_more_color() -> None:
    image = photo((33, 50))
    assert np.array_equal(make_colorizer(strength=0)(image), np.dstack([image] * 3))
    weak, strong = (
        np.ptp(make_colorizer(strength=strength)(image).astype(int), axis=2).mean()
        for strength in (0.3, 1)
    )
    assert 0 < weak < 0.5 * strong


@settings(deadline=None, max_examples=50)
@given(st.integers(100, 9000), st.integers(100, 9000), st.sampled_from([64, 160, 512]))
def test_the_working_size_keeps_aspect_and_area(height: int, width: int, size_px: int) -> None:
    small = colorizer_at(size_px).working_size_px(height, width)
    scales = small[0] / height, small[1] / width
    # Each side is rounded to whole pixels.
    expected = size_px / (height * width) ** 0.5
    assert abs(scales[0] - expected) * height <= 0.5
    assert abs(scales[1] - expected) * width <= 0.5


def test_the_working_size_has_a_pixel_at_least() -> None:
    assert make_colorizer(render_size_px=16).working_size_px(1, 100_000) == (1, 64)


# The chroma


@pytest.mark.parametrize("shape", [(32, 32), (21, 45), (1, 40)])
def test_the_chroma_is_the_networks_of_the_small_photo(shape: tuple[int, int]) -> None:
    """What is padded for the network is cut off again, and changes little inside."""
    small = shrink(photo(shape), *shape)
    (chroma,) = make_colorizer().chroma([small])
    assert chroma.dtype == np.float32
    assert chroma.shape == (2, *shape)
    below, right = -shape[0] % 16, -shape[1] % 16
    padded = cv2.copyMakeBorder(small, 0, below, 0, right, cv2.BORDER_REFLECT_101)
    with torch.no_grad():
        rgb = make_generator()(torch.from_numpy(padded)[None, None])
    expected = rgb_to_chroma(rgb)[0, :, : shape[0], : shape[1]].numpy()
    np.testing.assert_allclose(chroma, expected, atol=1e-5)


def test_photos_in_one_pass_are_colored_as_one_by_one() -> None:
    smalls = [shrink(photo((60, 50)) // divisor, 21, 45) for divisor in (1, 2, 3)]
    colorizer = make_colorizer()
    together = colorizer.chroma(smalls)
    for small, chroma in zip(smalls, together, strict=True):
        np.testing.assert_allclose(chroma, colorizer.chroma([small])[0], atol=1e-5)
    assert np.abs(together[0] - together[2]).max() > 0.01


def test_bfloat16_colors_almost_alike() -> None:
    small = shrink(photo((60, 50)), 32, 32)
    (exact,) = on_torch("cpu", "float32").chroma([small])
    (fast,) = on_torch("cpu", "bf16").chroma([small])
    assert fast.dtype == np.float32
    assert 0 < np.abs(exact - fast).max() < 0.05


# Weights


def test_colorize_is_the_colorizer_of_a_checkpoint(tmp_path: Path) -> None:
    image = photo((33, 50))
    path = save_generator(tmp_path / "a.safetensors", 1)
    colored = flowercolor.colorize(
        image, checkpoint=path, render_size_px=48, strength=0.8, device="cpu"
    )
    one = Colorizer.from_checkpoint(path, render_size_px=48, strength=0.8, device="cpu")
    assert one.name == "a"
    assert np.array_equal(colored, one(image))


def test_weights_are_loaded_once_and_again_when_they_change(tmp_path: Path) -> None:
    image = photo((33, 50))
    path = save_generator(tmp_path / "a.safetensors", 1)
    first = colorize(image, checkpoint=path, render_size_px=32)
    assert np.array_equal(colorize(image, checkpoint=str(path), render_size_px=32), first)
    assert _loaded.cache_info().misses == 1

    save_generator(path, 2)
    os.utime(path, (1, 1))
    assert not np.array_equal(colorize(image, checkpoint=path, render_size_px=32), first)
    assert _loaded.cache_info().misses == 2


def test_vividness_goes_from_the_safe_to_the_vivid(tmp_path: Path) -> None:
    ends = [
        save_generator(tmp_path / "safe.safetensors", 1),
        save_generator(tmp_path / "vivid.safetensors", 2, parent=1),
    ]
    both = tmp_path / "both.safetensors"
    join(ends[0], ends[1], both, vividness=0.5)
    image = photo((33, 50))

    def colored(path: Path, vividness: float | None = None) -> Array:
        rgb = colorize(image, checkpoint=path, vividness=vividness, render_size_px=32, device="cpu")
        return rgb.astype(np.int32)

    safe, middle, vivid = (colored(both, vividness) for vividness in (0, 0.5, 1))
    assert abs(safe - colored(ends[0])).max() <= 3  # stored in half precision
    assert abs(vivid - colored(ends[1])).max() <= 3
    assert np.array_equal(colored(both), middle)
    assert min(abs(middle - safe).mean(), abs(middle - vivid).mean()) > 1
    chosen, default = (
        Colorizer.from_checkpoint(both, vividness=vividness).software() for vividness in (0.5, None)
    )
    assert chosen == default, "the same setting is the same record"
    with pytest.raises(CheckpointError, match="no vividness scale"):
        colored(ends[0], 0.5)


def test_weights_are_the_bundled_ones_unless_others_are_named() -> None:
    image = photo((33, 50))

    def colored(checkpoint: str | Path | None = None) -> bytes:
        return colorize(image, checkpoint=checkpoint, render_size_px=32).tobytes()

    run = save_generator(paths.runs_dir() / "mine" / BEST, 2)
    assert colored() == colored(bundled_checkpoint()) == colored("bundled")
    assert colored("mine") == colored("last") == colored(run) != colored()


def test_a_missing_checkpoint_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"^his: no such checkpoint"):
        colorize(photo((33, 50)), checkpoint="his")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail] . DefaultCPUAllocator: can't allocate memory: 9 bytes."),
        MemoryError("Unable to allocate 37.3 GiB"),
        torch.OutOfMemoryError("made up"),
    ],
)
def test_a_cpu_that_runs_out_of_memory_says_what_helps(error: Exception) -> None:
    class Full(Fake):
        def __call__(self, _gray: Array) -> Array:
            raise error

    full = Colorizer(Full())
    with pytest.raises(
        DeviceError, match=r"^image: out of memory.* while coloring; give a smaller photo or `ren"
    ):
        full(photo((20, 30)))


def test_colors_that_are_no_numbers_are_refused() -> None:
    class Broken(Fake):
        def __call__(self, gray: Array) -> Array:
            return np.full((len(gray), 2, *gray.shape[2:]), np.nan, np.float32)

    with pytest.raises(CheckpointError, match="no finite numbers"):
        Colorizer(Broken())(photo((20, 30)))


def test_a_working_size_beyond_all_memory_says_what_helps() -> None:
    colorizer = make_colorizer()
    colorizer.render_size_px = 20_000_000
    with pytest.raises(
        DeviceError, match=r"out of memory while coloring; give a smaller photo or `render_size_px`"
    ):
        colorizer.shrink(photo((20, 30)))


def test_a_colorizer_says_what_it_is() -> None:
    ours = make_colorizer()
    settings = f"render_size_px=32, strength=1, backend={helpers.backend!r}, device='cpu'"
    assert repr(ours) == f"<Colorizer 'of the caller': {settings}>"
    ours.vividness = 0.3
    assert repr(ours) == f"<Colorizer 'of the caller': vividness=0.3, {settings}>"


@pytest.mark.parametrize("told", [False, True])
def test_bf16_on_a_cpu_not_made_for_it_is_said_to_be_slow(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, told: bool
) -> None:
    """Whoever gives no progress hears it as a warning of the line that asked."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    path, said = save_generator(tmp_path / "a.safetensors", 1), "this CPU is not made for bf16, "
    progress = Recorder() if told else None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Colorizer.from_checkpoint(path, precision="bf16", progress=progress)
    if progress:
        assert [note.startswith(f"WARNING: {said}") for note in progress.notes] == [True]
        assert not caught
    else:
        assert [str(one.message).startswith(said) for one in caught] == [True]
        assert caught[0].filename == __file__


def test_a_pillow_image_of_a_file_that_was_cut_is_refused(tmp_path: Path) -> None:
    Image.fromarray(photo((40, 40))).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:-200])
    with (
        Image.open(tmp_path / "a.png") as image,
        pytest.raises(ImageError, match="image: the file ends"),
    ):
        make_colorizer()(image)


@pytest.mark.cuda
@pytest.mark.parametrize(("precision", "levels"), [("float32", 2), ("auto", 10)])
def test_a_gpu_colors_almost_alike(precision: Precision, levels: int) -> None:
    """Rounded to TF32, or to bfloat16, on the way."""
    gray = photo((70, 50))
    on_cpu = make_colorizer()(gray)
    on_gpu = on_torch("cuda", precision)(gray)
    assert np.abs(on_gpu.astype(int) - on_cpu).max() <= levels
    assert np.ptp(on_gpu.astype(int), axis=2).max() > 2 * levels


def test_paths_tensors_and_lists_come_back_in_color(tmp_path: Path) -> None:
    gray = photo((33, 50))
    Image.fromarray(gray).save(tmp_path / "a.png")
    colorizer = make_colorizer()
    expected = colorizer(gray)
    image, named = colorizer([tmp_path / "a.png"]), colorizer(str(tmp_path / "a.png"))
    assert [np.array_equal(np.asarray(one), expected) for one in (*image, named)] == [True] * 2
    tensors = colorizer([torch.from_numpy(gray), torch.from_numpy(gray)[None]])
    assert [np.array_equal(one.movedim(0, 2), expected) for one in tensors] == [True] * 2
    assert colorizer([]) == []
    arrays: list[Array] = colorizer((gray, gray))  # the types too
    content = (tmp_path / "a.png").read_bytes()
    of_bytes: Image.Image = colorizer(content)
    mixed = colorizer([gray, Image.fromarray(gray), str(tmp_path / "a.png"), content])
    colored = (*arrays, of_bytes, *mixed)
    assert [np.array_equal(np.asarray(one), expected) for one in colored] == [True] * 7
    with pytest.raises(ImageError, match=r"^image\[1\]: is a damaged PNG"):
        colorizer([content, content[:-30]])


def test_a_misspelled_setting_is_one_of_what_was_called() -> None:
    with pytest.raises(TypeError, match=r"^colorize\(\) got .*'strenght'"):
        colorize(photo((33, 50)), strenght=1)  # type: ignore[call-overload]


def test_a_device_of_torch_is_a_device() -> None:
    gray = photo((33, 50))
    on_cpu = colorize(gray, device=torch.device("cpu"))
    assert np.array_equal(on_cpu, colorize(gray, device="cpu"))


# Hints


def with_hints() -> Colorizer:
    torch.manual_seed(3)
    return Colorizer(as_backend(UNet(NetworkConfig(4, "chroma", hints=True))))


def test_a_hint_holds_at_its_place_and_the_luma_everywhere() -> None:
    """Within 5 levels of the asked chroma, as far as a place within one pixel of 128 goes."""
    luma, ours = photo((90, 130)), with_hints()
    luma[40:60, 60:90] = 120
    colored = ours(luma, hints=[Hint(75, 50, "#a04040")])
    red, green, blue = colored[50, 75].astype(int)
    asked = np.array(Hint(75, 50, "#a04040").chroma())
    had = np.array([(blue - 120) / 1.772, (red - 120) / 1.402]) / 255
    assert np.abs(had - asked).max() < 5 / 255, (red, green, blue)
    assert np.abs(cv2.cvtColor(colored, cv2.COLOR_RGB2GRAY).astype(int) - luma).max() <= 1


def test_no_hint_changes_no_bit() -> None:
    luma, ours = photo((33, 50)), with_hints()
    assert np.array_equal(ours(luma, hints=[]), ours(luma))
    assert np.array_equal(ours(luma, hints=None, leave=None, palette=None), ours(luma))
    without = Colorizer(as_backend(without_branch(with_hints_generator())))
    assert np.array_equal(ours(luma), without(luma))


def with_hints_generator() -> UNet:
    torch.manual_seed(3)
    return UNet(NetworkConfig(4, "chroma", hints=True))


def without_branch(generator: UNet) -> UNet:
    plain = UNet(NetworkConfig(4, "chroma"))
    state = generator.state_dict()
    plain.load_state_dict({name: state[name] for name in plain.state_dict()})
    return plain


def test_hints_go_with_every_kind_of_picture(tmp_path: Path) -> None:
    luma, ours = photo((33, 50)), with_hints()
    hints = [Hint("50%", "50%", "crimson")]
    expected = ours(luma, hints=hints)
    assert not np.array_equal(expected, ours(luma))
    image = Image.fromarray(luma)
    image.save(tmp_path / "a.png")
    for picture in (image, tmp_path / "a.png"):
        assert np.array_equal(np.asarray(ours(picture, hints=hints)), expected)
    assert np.array_equal(ours(torch.from_numpy(luma), hints=hints).movedim(0, 2).numpy(), expected)
    assert np.array_equal(ours([luma, luma], hints=hints)[1], expected)
    with pytest.raises(
        SettingError, match=r"^image\[1\]: hint .* lies outside the photo of 20x20 "
    ):
        ours([luma, luma[:20, :20]], hints=[Hint(30, 30, "crimson")])


def test_what_is_left_stays_gray() -> None:
    luma, ours = photo((60, 80)), with_hints()
    plain = ours(luma)
    disk = ours(luma, leave=[Leave(40, 30, 10)])
    assert (np.ptp(disk[25:36, 35:46], axis=-1) == 0).all()
    far = np.hypot(*np.ogrid[-30:30, -40:40]) > 12
    assert np.array_equal(disk[far], plain[far])
    mask = np.zeros((60, 80), np.uint8)
    mask[:, :40] = 255
    masked = ours(luma, mask=mask)
    assert (np.ptp(masked[:, :40], axis=-1) == 0).all()
    assert np.array_equal(masked[:, 40:], plain[:, 40:])
    assert (np.ptp(ours(luma, leave=[Leave(40, 30)])[30, 40]) == 0).all()


def test_a_palette_and_a_photo_lead_the_colors() -> None:
    luma, ours = photo((60, 80)), with_hints()
    plain = ours(luma)
    assert not np.array_equal(ours(luma, palette=["crimson", "ivory"]), plain)
    reference = np.zeros((20, 20, 3), np.uint8)
    reference[:] = (200, 40, 40)
    assert not np.array_equal(ours(luma, like=reference), plain)
    with pytest.raises(SettingError, match="`like` and `palette` are both given"):
        ours(luma, like=reference, palette=["red"])
    for gray in (luma, np.dstack([luma] * 3), torch.from_numpy(luma).expand(3, -1, -1)):
        with pytest.raises(ImageError, match=r"^like: has no colors; expected a photo"):
            ours(luma, like=gray)


def test_a_network_without_the_branch_says_how_to_get_one() -> None:
    plain = Colorizer(as_backend(without_branch(with_hints_generator())))
    with pytest.raises(CheckpointError, match=r"no branch for hints.*--recipe hints"):
        plain(photo((20, 30)), hints=[Hint(1, 1, "red")])
    assert plain(photo((20, 30)), leave=[Leave(5, 5, 3)]).shape == (20, 30, 3)


def test_other_hints_make_another_picture_of_the_record() -> None:
    ours = with_hints()
    plain = ours.software()
    one, other = (ours.software(Guidance([Hint(1, 2, color)])) for color in ("red", "blue"))
    assert len({plain, one, other}) == 3
    assert one.startswith(plain + ", hints ")


@pytest.mark.parametrize(
    "wrong",
    [
        {"hints": Hint(1, 1, "red")},
        {"hints": [(1, 1, "red")]},
        {"leave": [(10, 10)]},
        {"leave": ["10,10"]},
    ],
)
def test_what_is_no_hint_is_refused_by_what_is(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=r"expected a list of (Hint|Leave), such as \["):
        with_hints()(photo((20, 30)), **wrong)


def test_hints_alone_are_guidance_and_what_is_none_is_refused() -> None:
    luma, ours = photo((20, 30)), with_hints()
    hints = [Hint(1, 1, "red")]
    assert np.array_equal(ours.render(luma, guidance=hints), ours(luma, hints=hints))
    assert ours.software(hints) == ours.software(Guidance(hints))
    assert np.array_equal(variants(luma, ours, 2, hints), variants(luma, ours, 2, Guidance(hints)))
    wrong: Any
    for wrong in (hints[0], "red", {"hints": hints}):
        with pytest.raises(SettingError, match=r"expected a list of Hint, such as \["):
            ours.render(luma, guidance=wrong)
    for wrong in ("red", ["red"]):
        with pytest.raises(SettingError, match=r"expected what `flowercolor\.photos\."):
            Guidance(palette=wrong)
    for wrong in ("mask.png", np.zeros((2, 2)), np.zeros((2, 2, 3), np.uint8), [[255]]):
        with pytest.raises(SettingError, match=r"^mask is .*; expected a uint8 array \[h, w\]"):
            Guidance(mask=wrong)


@pytest.mark.parametrize("palette", [5, True, (0.9, 0.1, 0.2), [(0.9, 0.1, 0.2)], b"red", ""])
def test_what_is_no_palette_is_refused(palette: Any) -> None:
    with pytest.raises(SettingError, match=r"^palette.*; expected (colors|a CSS name)"):
        with_hints()(photo((20, 30)), palette=palette)


def test_a_palette_in_one_text_and_a_mask_of_booleans_are_taken() -> None:
    luma, ours = photo((60, 80)), with_hints()
    one_text = ours(luma, palette="crimson, ivory")
    assert np.array_equal(one_text, ours(luma, palette=["crimson", "ivory"]))
    array: Any = np.array(["crimson", "ivory"])
    assert np.array_equal(one_text, ours(luma, palette=array))
    mask = np.zeros((60, 80), bool)
    mask[:, :40] = True
    assert np.array_equal(ours(luma, mask=mask), ours(luma, mask=mask * np.uint8(255)))
    led = ours.render(luma, guidance=Guidance(mask=mask.astype(np.uint8)))
    assert np.array_equal(led, ours(luma, mask=mask))
