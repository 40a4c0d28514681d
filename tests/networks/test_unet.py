import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from flowercolor.config import NetworkConfig
from flowercolor.hints.attention import HINT_CHANNELS
from flowercolor.hints.palette import COLOR_CHANNELS
from flowercolor.networks.discriminator import Discriminator
from flowercolor.networks.efficientnet_lite import prepared
from flowercolor.networks.unet import Supervised, UNet, fuse_batch_norm
from tests.helpers import rgb_to_luma


def test_the_designed_generator_has_31_million_weights() -> None:
    with torch.device("meta"):
        generator = UNet(NetworkConfig())
    count = sum(parameter.numel() for parameter in generator.parameters())
    assert round(count / 1e6, 1) == 31.0


def test_the_generator_halves_the_picture_and_doubles_the_channels_four_times() -> None:
    generator = UNet(NetworkConfig(base_channels=2)).eval()
    shapes: list[tuple[int, ...]] = []
    levels = [generator.stem, *generator.downs, *generator.ups]
    for level in levels:
        level.register_forward_hook(lambda _m, _i, out: shapes.append(tuple(out.shape[1:])))
    generator(torch.zeros(1, 1, 32, 48))
    down = [(2, 32, 48), (4, 16, 24), (8, 8, 12), (16, 4, 6), (32, 2, 3)]
    assert shapes == [*down, *reversed(down[:-1])]


def test_a_level_is_two_convolutions_each_with_batch_norm_and_relu() -> None:
    kinds = [type(layer) for layer in UNet(NetworkConfig(base_channels=2)).stem]
    assert kinds == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU] * 2


def test_every_level_reaches_the_result_through_its_skip_connection() -> None:
    """With the way up from the level below cut, what the stem saw still colors."""
    generator = UNet(NetworkConfig(base_channels=2)).eval()
    for lift in generator.lifts:
        nn.init.zeros_(lift.weight)  # type: ignore[arg-type]
        nn.init.zeros_(lift.bias)  # type: ignore[arg-type]
    rng = torch.Generator().manual_seed(0)
    one, other = generator(torch.rand(2, 1, 16, 16, generator=rng))
    assert not torch.equal(one, other)


def test_each_level_up_sees_its_own_level_before_what_is_lifted() -> None:
    generator = UNet(NetworkConfig(base_channels=2)).eval()
    levels: list[Tensor] = []
    joined: list[Tensor] = []
    for level in (generator.stem, *generator.downs):
        level.register_forward_hook(lambda _m, _i, out: levels.append(out))
    for up in generator.ups:
        up.register_forward_pre_hook(lambda _m, given: joined.append(given[0]))
    generator(torch.rand(1, 1, 32, 32))
    for skipped, given in zip(reversed(levels[:-1]), joined, strict=True):
        assert torch.equal(given.chunk(2, dim=1)[0], skipped)
    assert all(isinstance(down[0], nn.MaxPool2d) for down in generator.downs)  # type: ignore[index]


CONFIGS = [
    NetworkConfig(2),
    NetworkConfig(2, "chroma"),
    NetworkConfig(2, "chroma", "efficientnet-lite0"),
]


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("size_px", [(16, 16), (32, 16), (48, 80), (16, 208)])
def test_any_size_divisible_by_16_goes_through(
    config: NetworkConfig, size_px: tuple[int, int]
) -> None:
    generator = UNet(config).eval()
    assert generator(torch.rand(2, 1, *size_px)).shape == (2, 3, *size_px)


@pytest.mark.parametrize("config", CONFIGS)
def test_only_the_finer_levels_of_the_way_up_learn_where_the_deep_ones_are_frozen(
    config: NetworkConfig,
) -> None:
    generator = UNet(config)
    generator.freeze_deep()
    generator(torch.rand(2, 1, 32, 32)).mean().backward()
    learning = {name for name, own in generator.named_parameters() if own.requires_grad}
    reached = {
        name
        for name, own in generator.named_parameters()
        if own.grad is not None and own.grad.any()
    }
    assert learning == reached
    places = {".".join(name.split(".")[:2]) for name in learning}
    assert places == {
        *(f"{way}.{level}" for way in ("lifts", "ups") for level in (1, 2, 3)),
        "head.weight",
        "head.bias",
    }


def test_an_encoder_that_has_learned_before_sees_gray_as_it_learned_to() -> None:
    """And what it makes of it, not what the stem does, is what the lower levels go on with."""
    generator = UNet(CONFIGS[2]).eval()
    given: list[Tensor] = []
    for down in generator.downs:
        down.register_forward_pre_hook(lambda _m, inputs: given.append(inputs[0]))
    gray = torch.rand(2, 1, 32, 48)
    _, lowest = generator.forward_with_bottleneck(gray)
    x = prepared(gray)
    for down, seen in zip(generator.downs, list(given), strict=True):
        assert torch.equal(seen, x)
        x = down(x)
    assert torch.equal(lowest, x)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_the_stem_is_told_that_the_one_channel_is_the_last(order: torch.memory_format) -> None:
    """Both orders put it into the same memory; a GPU's way back goes by the strides."""
    generator = UNet(NetworkConfig(2))
    given: list[Tensor] = []
    generator.stem.register_forward_pre_hook(lambda _module, inputs: given.append(inputs[0]))
    gray = torch.empty(2, 1, 32, 48, memory_format=order).copy_(torch.rand(2, 1, 32, 48))
    generator(gray)
    assert given[0].stride() == (32 * 48, 1, 48, 1)
    assert torch.equal(given[0], gray)


def test_the_chroma_output_keeps_the_gray_picture_as_its_luma() -> None:
    torch.manual_seed(0)
    generator = UNet(NetworkConfig(2, "chroma"))
    gray = torch.rand(2, 1, 32, 32)
    rgb = generator(gray)
    torch.testing.assert_close(rgb_to_luma(rgb), gray, atol=1e-6, rtol=0)
    assert (rgb - gray).abs().max() > 0.01
    luma = torch.rand(2, 1, 32, 32)
    other = generator(gray, luma)
    torch.testing.assert_close(other - luma, rgb - gray, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("config", "channels"), [(CONFIGS[0], 32), (CONFIGS[1], 32), (CONFIGS[2], 320)]
)
def test_a_supervised_generator_colors_as_it_would_alone(
    config: NetworkConfig, channels: int
) -> None:
    """And tells the class from the mean of its lowest level, one 16th of the picture's size."""
    torch.manual_seed(0)
    generator = UNet(config)
    supervised = Supervised(generator, classes=5)
    gray = torch.rand(3, 1, 32, 48)
    lowest: list[torch.Tensor] = []
    generator.downs[-1].register_forward_hook(lambda *call: lowest.append(call[2]))
    fake, logits = supervised(gray)
    assert torch.equal(fake, generator(gray))
    assert lowest[0].shape == (3, channels, 2, 3)
    torch.testing.assert_close(logits, supervised.classifier(lowest[0].mean(dim=(2, 3))))
    assert logits.shape == (3, 5)


def test_the_discriminator_is_built_as_designed() -> None:
    """SN(C64)-SN(C128)-SN(C256)-SN(C512)-SN(C512)-SN(C1), each but the last with BN, LeakyReLU."""
    with torch.device("meta"):
        *strided, last = Discriminator().layers
    channels = [3, 64, 128, 256, 512, 512]
    assert len(strided) == 3 * 5
    for level in range(5):
        convolution, norm, relu = strided[3 * level : 3 * level + 3]
        assert_convolution(convolution, channels[level], channels[level + 1], stride=2, padding=1)
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.num_features == channels[level + 1]
        assert isinstance(relu, nn.LeakyReLU)
        assert relu.negative_slope == 0.2
    assert_convolution(last, 512, 1, stride=1, padding=0)


def assert_convolution(
    layer: nn.Module, channels_in: int, channels_out: int, stride: int, padding: int
) -> None:
    """The layer is a 4x4 convolution under spectral normalization."""
    assert isinstance(layer, nn.Conv2d)
    assert (layer.in_channels, layer.out_channels) == (channels_in, channels_out)
    assert layer.kernel_size == (4, 4)
    assert layer.stride == (stride, stride)
    assert layer.padding == (padding, padding)
    assert parametrize.is_parametrized(layer, "weight")
    (normalization,) = layer.parametrizations.weight  # type: ignore[misc, union-attr]
    assert type(normalization).__name__ == "_SpectralNorm"
    assert normalization.n_power_iterations == 1


@pytest.mark.parametrize(
    ("size_px", "picture_px", "logits_px"),
    [(128, 128, 1), (128, 256, 5), (64, 64, 1), (32, 32, 1), (16, 16, 1), (48, 48, 3)],
)
def test_the_discriminator_gives_one_logit_at_its_size_and_a_map_above(
    size_px: int, picture_px: int, logits_px: int
) -> None:
    with torch.device("meta"):
        logits = Discriminator(size_px)(torch.empty(2, 3, picture_px, picture_px))
    assert logits.shape == (2, 1, logits_px, logits_px)


def test_the_discriminators_logits_are_not_squashed() -> None:
    """A sigmoid at the end would be applied twice, once more in the loss."""
    torch.manual_seed(0)
    logits = Discriminator(16)(torch.rand(16, 3, 16, 16) * 50)
    assert logits.min() < 0


def test_spectral_norm_brings_the_largest_singular_value_to_1() -> None:
    """Also after weights have grown, within some forward passes in training mode."""
    torch.manual_seed(0)
    discriminator = Discriminator(32)
    with torch.no_grad():
        for parameter in discriminator.parameters():
            parameter.mul_(3).add_(0.01 * torch.randn_like(parameter))
        for _ in range(40):
            discriminator(torch.rand(2, 3, 32, 32))
    discriminator.eval()
    convolutions = [layer for layer in discriminator.layers if isinstance(layer, nn.Conv2d)]
    largest = torch.stack([largest_singular_value(layer.weight) for layer in convolutions])
    torch.testing.assert_close(largest, torch.ones(len(convolutions)), atol=0.03, rtol=0)


def largest_singular_value(weight: Tensor) -> Tensor:
    """Of the convolution's weight as a matrix with a row per output channel."""
    largest: Tensor = torch.linalg.matrix_norm(weight.detach().flatten(1), 2)
    return largest


@pytest.mark.parametrize("config", CONFIGS)
def test_fusing_batch_norm_changes_nothing_but_rounding(config: NetworkConfig) -> None:
    torch.manual_seed(0)
    generator = UNet(config)
    gray = torch.rand(3, 1, 32, 48)
    for _ in range(3):
        generator(gray)  # gives batch norm statistics that are not 0 and 1
    generator.eval()

    fused = fuse_batch_norm(generator)

    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in generator.modules())
    assert torch.allclose(fused(gray), generator(gray), atol=1e-5)


def test_the_branch_for_hints_changes_nothing_beside_it() -> None:
    torch.manual_seed(0)
    generator = UNet(NetworkConfig(4, "chroma", hints=True)).eval()
    gray = torch.rand(2, 1, 32, 48)
    predicted, features = generator.predict_with_hint_features(gray)
    assert torch.equal(predicted, generator.predict(gray)[0])
    assert features.shape == (2, HINT_CHANNELS + COLOR_CHANNELS, 32, 48)
    features.sum().backward()
    learned = {name for name, value in generator.named_parameters() if value.grad is not None}
    assert learned
    assert all(name.startswith("hints.") for name in learned)
