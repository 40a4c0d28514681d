import copy
import dataclasses
import functools
import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.backends import cudnn

from flowercolor.checkpoint import CheckpointInfo, load_tensors, save_checkpoint
from flowercolor.config import NetworkConfig, TrainConfig
from flowercolor.data.dataset import FlowerDataset
from flowercolor.data.loader import Batch, batches, draw_epoch, to_device
from flowercolor.data.photo_cache import Photos
from flowercolor.errors import CheckpointError, SettingError
from flowercolor.training.gan import GAN, recalibration_batches
from tests.helpers import be_rank
from tests.training.helpers import initial

CPU = torch.device("cpu")
CONFIG = TrainConfig(NetworkConfig(4), lr=1e-3, size_px=16, lambda_l1=2)
L1_ONLY = TrainConfig(NetworkConfig(2), lr=1e-3, size_px=16, lambda_adv=0)
ADVERSARIAL_ONLY = TrainConfig(NetworkConfig(4), lr=1e-3, size_px=16, lambda_l1=0)
SUPERVISED = TrainConfig(NetworkConfig(2), lr=1e-3, size_px=16, lambda_class=0.5)
AVERAGED = TrainConfig(NetworkConfig(2), lr=1e-3, size_px=16, ema=0.9)
STILL = 0.0  # a learning rate that moves nothing


def begin(config: TrainConfig = CONFIG, *, compiled: bool = False) -> GAN:
    return GAN(config, CPU, "float32", compiled, classes=3)


def batch(seed: int = 0, count: int = 10) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    real = torch.rand(count, 3, 16, 16, generator=rng)
    gray = real.mean(dim=1, keepdim=True)
    return Batch(gray, gray, real, torch.arange(count) % 3, count, 1.0)


def play(learning: GAN, steps: range, **options: Any) -> list[dict[str, float]]:
    """Learn from a few batches, each of which follows from its number."""
    return [learning.step(batch(number, 4), learning.config.lr, **options) for number in steps]


def clone(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in tensors.items()}


def different(tensors: dict[str, Tensor], others: dict[str, Tensor]) -> list[str]:
    assert tensors.keys() == others.keys()
    return [name for name in tensors if not torch.equal(tensors[name], others[name])]


def gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad.clone()


# The step


def test_the_adversarial_gradient_reaches_the_generator() -> None:
    """Without an L1 term it is the only thing that can move the generator."""
    learning = begin(ADVERSARIAL_ONLY)
    before = clone(dict(learning.generator.named_parameters()))
    learning.step(batch(), CONFIG.lr)
    moved = different(before, dict(learning.generator.named_parameters()))
    assert moved == list(before)


def test_the_adversarial_gradient_makes_fakes_look_real_to_the_discriminator() -> None:
    """Against a discriminator that stands still, the adversarial term falls."""
    learning = begin(ADVERSARIAL_ONLY)
    for parameter in learning.discriminator.parameters():
        parameter.register_hook(torch.zeros_like)
    terms = []
    for _ in range(15):
        learning.step(batch(), 3e-3)
        terms.append(learning.means()["adversarial"])
    assert terms[-1] < 0.7 * terms[0]


def test_a_step_is_the_plain_game() -> None:
    """D learns from real and detached fake, then G from what D has become and from L1."""
    learning = begin()
    learning.step(batch(), CONFIG.lr)

    generator, discriminator = initial(CONFIG)
    optimizer_g = torch.optim.Adam(generator.parameters(), CONFIG.lr)
    optimizer_d = torch.optim.Adam(discriminator.parameters(), CONFIG.lr)
    bce = nn.BCELoss()
    gray, _, real, *_ = batch()
    fake = generator(gray)
    judged_real = discriminator(real).sigmoid()
    judged_fake = discriminator(fake.detach()).sigmoid()
    loss_d = bce(judged_real, torch.ones(10, 1, 1, 1)) + bce(judged_fake, torch.zeros(10, 1, 1, 1))
    loss_d.backward()
    optimizer_d.step()
    adversarial = bce(discriminator(fake).sigmoid(), torch.ones(10, 1, 1, 1))
    l1 = (fake - real).abs().mean()
    loss_g = CONFIG.lambda_l1 * l1 + CONFIG.lambda_adv * adversarial
    loss_g.backward()
    optimizer_g.step()

    for mine, plain in ((learning._optimizer_g, optimizer_g), (learning._optimizer_d, optimizer_d)):
        assert {**mine.defaults, "fused": None} == plain.defaults

    expected_means = {
        "loss_g": loss_g,
        "loss_d": loss_d,
        "l1": l1,
        "adversarial": adversarial,
        "d_real": judged_real.mean(),
        "d_fake": judged_fake.mean(),
    }
    means = learning.means()
    assert means.keys() == expected_means.keys()
    for key, value in expected_means.items():
        assert means[key] == pytest.approx(value.item(), rel=1e-4)
    for one, other in ((learning.generator, generator), (learning.discriminator, discriminator)):
        after = one.state_dict()
        for name, expected in other.state_dict().items():
            if name in ("layers.0.bias", "layers.3.bias"):
                continue  # batch norm takes their effect away, their gradient is rounding alone
            # Adam's first step is lr times the gradient's sign, which rounding may turn where
            # the gradient is 0.
            close = (after[name] - expected).abs() < 0.3 * CONFIG.lr
            assert close.double().mean() > 0.98, name


def test_the_generators_step_leaves_no_gradient_in_the_discriminator() -> None:
    """Its gradients are after the step what they were before the generator's turn."""
    learning = begin()
    before: list[Tensor] = []

    def watch(discriminator: nn.Module, _logits: object, _inputs: object) -> None:
        before[:] = [gradient(p) for p in discriminator.parameters() if p.grad is not None]

    learning.discriminator.register_forward_hook(watch)
    learning.step(batch(), CONFIG.lr, gradient_norms=True)
    assert sum(gradient.abs().sum() for gradient in before) > 0
    for parameter, expected in zip(learning.discriminator.parameters(), before, strict=True):
        assert torch.equal(gradient(parameter), expected)
        assert parameter.requires_grad, "it must learn again at the next step"


def test_without_an_adversarial_term_the_discriminator_is_left_alone() -> None:
    learning = begin(L1_ONLY)
    assert learning.step(batch(), L1_ONLY.lr, gradient_norms=True) == {}
    generator, discriminator = initial(L1_ONLY)
    assert different(learning.discriminator.state_dict(), discriminator.state_dict()) == []
    assert not any(name.startswith("optimizer_d.") for name in learning.state())
    assert not torch.equal(learning.generator.head.weight, generator.head.weight)
    assert set(learning.means()) == {"loss_g", "l1"}


def test_a_step_is_as_long_as_it_is_told() -> None:
    learning = begin()
    before = clone(dict(learning.generator.named_parameters()))
    learning.step(batch(), STILL)
    assert different(before, dict(learning.generator.named_parameters())) == []


def test_means_are_over_the_photos_since_the_last_call() -> None:
    learning = begin(L1_ONLY)
    single = []
    for photos in (batch(1, 8), batch(2, 2)):
        learning.step(photos, STILL)
        single.append(learning.means()["l1"])
    for photos in (batch(1, 8), batch(2, 2)):
        learning.step(photos, STILL)
    expected = (8 * single[0] + 2 * single[1]) / 10
    assert learning.means()["l1"] == pytest.approx(expected, rel=1e-5)


def test_telling_the_class_is_a_term_of_the_generators_loss() -> None:
    learning = begin(SUPERVISED)
    classifier = copy.deepcopy(learning._modules["classifier."])
    generator, discriminator = initial(SUPERVISED)
    learning.step(batch(), STILL)
    means = learning.means()

    gray, _, real, classes, *_ = batch()
    assert classes is not None
    fake, lowest = generator.forward_with_bottleneck(gray)
    logits = classifier(lowest.mean(dim=(2, 3)))
    discriminator(real), discriminator(fake.detach())  # each pass brings spectral norm on
    adversarial = -discriminator(fake).sigmoid().log().mean()
    loss_class = nn.CrossEntropyLoss()(logits, classes)
    loss_g = SUPERVISED.lambda_l1 * (fake - real).abs().mean() + adversarial + 0.5 * loss_class
    assert means["loss_class"] == pytest.approx(loss_class.item(), rel=1e-4)
    assert means["loss_g"] == pytest.approx(loss_g.item(), rel=1e-4)
    right = sum(int(row.argmax()) == int(is_) for row, is_ in zip(logits, classes, strict=True))
    assert means["class_accuracy"] == pytest.approx(right / 10)


def test_classes_teach_the_generator_and_the_classifier() -> None:
    """With hardly any other term, what tells three kinds of gray apart is learned."""
    config = dataclasses.replace(SUPERVISED, lambda_l1=1e-6, lambda_adv=0, lr=1e-2)
    learning = begin(config)
    classes = torch.arange(12) % 3
    gray = (classes.float() / 2)[:, None, None, None] * torch.rand(12, 1, 16, 16)
    photos = Batch(gray, gray, gray.expand(12, 3, 16, 16), classes, 12, 1.0)
    before = clone(dict(learning.generator.named_parameters()))
    losses = []
    for _ in range(40):
        learning.step(photos, config.lr)
        losses.append(learning.means()["loss_class"])
    assert losses[-1] < 0.5 * losses[0]
    moved = different(before, dict(learning.generator.named_parameters()))
    assert "stem.0.weight" in moved


def test_a_network_that_sees_a_worn_photo_learns_the_colors_of_the_whole_one() -> None:
    chroma = NetworkConfig(2, "chroma")
    learning = begin(dataclasses.replace(L1_ONLY, network=chroma))
    photos = batch()
    learning.step(photos._replace(gray=photos.gray**2), STILL)
    with torch.no_grad():
        fake = learning.generator(photos.gray**2)
    expected = (fake + photos.luma - photos.gray**2 - photos.real).abs().mean()
    assert learning.means()["l1"] == pytest.approx(expected.item(), rel=1e-5)


# What each loss sends into the generator


def test_a_frozen_part_stays_and_the_rest_learns() -> None:
    learning = begin(dataclasses.replace(CONFIG, freeze_deep=True, ema=0.9))
    before = clone(dict(learning.evaluated.named_parameters()))
    [_, norms] = play(learning, range(2), gradient_norms=True)
    assert norms["grad_l1"] > 0
    moved = different(before, dict(learning.evaluated.named_parameters()))
    assert moved
    assert {name.partition(".")[0] for name in moved} == {"lifts", "ups", "head"}
    assert not any(name.startswith(("lifts.0.", "ups.0.")) for name in moved)


def test_the_norms_are_those_of_each_terms_own_gradient() -> None:
    learning = begin()
    generator, discriminator = initial(CONFIG)
    norms = learning.step(batch(), STILL, gradient_norms=True)

    gray, _, real, *_ = batch()
    fake = generator(gray)
    discriminator(real)  # each pass brings spectral norm on
    discriminator(fake.detach())
    adversarial = -discriminator(fake).sigmoid().log().mean()
    terms = {
        "grad_l1": CONFIG.lambda_l1 * (fake - real).abs().mean(),
        "grad_adversarial": CONFIG.lambda_adv * adversarial,
    }
    assert norms.keys() == terms.keys()
    for name, term in terms.items():
        generator.zero_grad()
        term.backward(retain_graph=True)
        squares = sum(gradient(p).double().square().sum().item() for p in generator.parameters())
        assert norms[name] == pytest.approx(squares**0.5, rel=1e-3)


def test_weighing_changes_nothing_that_is_learned() -> None:
    weighed, not_weighed = begin(AVERAGED), begin(AVERAGED)
    norms = play(weighed, range(3), gradient_norms=True)
    assert play(not_weighed, range(3)) == [{}] * 3
    assert all(set(of) == {"grad_l1", "grad_adversarial"} for of in norms)
    assert different(weighed.state(), not_weighed.state()) == []


# The running average


def test_what_is_judged_is_the_running_average_of_weights_and_of_batch_norm() -> None:
    learning = begin(AVERAGED)
    expected: dict[str, Tensor] = {}
    for number in range(5):
        play(learning, range(number, number + 1))
        now = clone(learning.generator.state_dict())
        expected = {k: 0.9 * expected.get(k, v) + 0.1 * v for k, v in now.items()}
    average = learning.evaluated.state_dict()
    assert "stem.1.running_var" in average
    for name, value in average.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, expected[name], atol=1e-6, rtol=1e-5)
            assert not torch.equal(value, now[name])
    state = learning.state()
    for name in average:
        assert torch.equal(state[f"generator.{name}"], average[name])
        assert torch.equal(state[f"live.{name}"], now[name])


def test_averaged_weights_get_the_statistics_of_whole_photos(photos: Photos) -> None:
    """Those of the first layer are the means over the photos; the rest is left alone."""
    config = dataclasses.replace(AVERAGED, batch_size=4)
    learning = begin(config)
    play(learning, range(3))
    before = clone(learning.state())
    flowers = FlowerDataset(photos)
    learning.recalibrate(flowers, range(8), few=9)
    assert different(before, learning.state()) == [], "few photos say little of others"
    learning.recalibrate(flowers, range(8), few=8)
    after = learning.state()
    moved = different(before, after)
    assert {name.rpartition(".")[2] for name in moved} == {
        "running_mean",
        "running_var",
        "num_batches_tracked",
    }
    assert all(name.startswith("generator.") for name in moved)
    first = learning.evaluated.stem[0](flowers.batch(range(8))[0])
    torch.testing.assert_close(learning.evaluated.stem[1].running_mean, first.mean(dim=(0, 2, 3)))
    assert different(clone(after), learning.state()) == []


def test_without_an_average_no_statistics_are_measured(photos: Photos) -> None:
    learning = begin()
    learning.step(batch(), CONFIG.lr)
    before = clone(learning.state())
    learning.recalibrate(FlowerDataset(photos), range(8), few=8)
    assert different(before, learning.state()) == []


def test_without_an_average_the_generator_itself_is_judged() -> None:
    learning = begin()
    assert learning.evaluated is learning.generator
    assert not any(name.startswith("live.") for name in learning.state())


# Going on


@pytest.mark.parametrize("config", [CONFIG, L1_ONLY, AVERAGED, SUPERVISED])
def test_a_restored_engine_goes_on_bit_for_bit(config: TrainConfig, tmp_path: Path) -> None:
    """Through a file, where all tensors lie row by row, unlike the weights in memory."""
    straight, restored = begin(config), begin(config)
    play(straight, range(3))
    save_checkpoint(tmp_path / "a", CheckpointInfo(config), straight.state())
    restored.restore(load_tensors(tmp_path / "a")[1], tmp_path / "a")
    assert different(straight.state(), restored.state()) == []
    for learning in (straight, restored):
        play(learning, range(3, 6))
    assert different(straight.state(), restored.state()) == []
    assert straight.means() == restored.means()


def test_moments_lie_in_memory_as_their_weights_do(tmp_path: Path) -> None:
    """Fused Adam goes through both in the order of memory."""
    learning, restored = begin(), begin()
    play(learning, range(1))
    save_checkpoint(tmp_path / "a", CheckpointInfo(CONFIG), learning.state())
    restored.restore(load_tensors(tmp_path / "a")[1], tmp_path / "a")
    strides = set()
    for parameter, moments in restored._optimizer_g.state.items():
        assert moments["exp_avg"].stride() == moments["exp_avg_sq"].stride() == parameter.stride()
        strides.add(parameter.is_contiguous())
    assert strides == {True, False}, "no weight lies channels last: this test shows nothing"


def test_weights_alone_are_no_state(tmp_path: Path) -> None:
    learning = begin()
    weights = {f"generator.{k}": v for k, v in learning.generator.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"a: holds weights only; resuming needs the last"):
        learning.restore(weights, tmp_path / "a")


def test_batch_norm_is_measured_in_as_many_steps_by_every_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On GPUs each step waits for the others: an odd one would wait for ever."""
    for photo_count, size in ((7, 2), (8, 3), (11, 4), (1, 2), (5, 1)):
        steps = []
        for rank in range(size):
            be_rank(monkeypatch, rank, size)
            steps.append([len(part) for part in recalibration_batches(range(photo_count), 2)])
        assert len({len(parts) for parts in steps}) == 1, (photo_count, size, steps)
        assert all(min(parts) >= 1 for parts in steps)


# Compiling


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch warns of what its own tracing does
def test_compiled_networks_learn_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced and taken apart as for a compiler, but run by torch itself, which is quick to make."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    config = TrainConfig(NetworkConfig(1), size_px=16, batch_size=4)
    torch.compiler.reset()
    plain, compiled = begin(config), begin(config, compiled=True)
    before = copy.deepcopy(plain.generator.state_dict())
    for learning in (plain, compiled):
        learning.step(batch(0, 4), STILL)
    # Weighing goes through one pass three times, which a compiler has to be told beforehand.
    norms = [
        learning.step(batch(1, 4), STILL, gradient_norms=True) for learning in (plain, compiled)
    ]
    assert norms[1] == pytest.approx(norms[0], rel=1e-3)
    assert compiled.means() == pytest.approx(plain.means(), rel=1e-4)
    compiled.step(batch(2, 4), 1e-3)
    assert different(before, compiled.evaluated.state_dict())


@pytest.mark.filterwarnings("ignore")
def test_a_compiler_is_kept_from_trials_where_torch_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it finds the fastest depends on the moment, and the last digits on what it finds."""
    from torch import _inductor

    given = []
    monkeypatch.setattr(torch, "compile", lambda network, **options: given.append(options))
    for known in (["max_autotune"], ["max_autotune", "deterministic"]):
        monkeypatch.setattr(_inductor, "list_options", known.copy)
        begin(compiled=True)
    assert [options["options"] for options in given] == 3 * [None] + 3 * [{"deterministic": True}]


def test_a_smaller_last_batch_is_not_compiled_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Tensor) -> Tensor:
        raise ZeroDivisionError

    monkeypatch.setattr(torch, "compile", lambda *_, **__: fail)
    learning = begin(dataclasses.replace(CONFIG, batch_size=4), compiled=True)
    with pytest.raises(ZeroDivisionError):
        learning.step(batch(0, 4), STILL)
    learning.step(batch(0, 3), STILL)


def test_the_discriminator_is_compiled_once_for_real_and_fake(photos: Photos) -> None:
    """A compiled network is made anew for each type and order of memory that it meets."""
    learning = GAN(CONFIG, CPU, "bf16", compiled=False)
    seen = []
    learning.discriminator.register_forward_pre_hook(
        lambda _module, inputs: seen.append((inputs[0].dtype, inputs[0].stride()))
    )
    [real] = batches(FlowerDataset(photos), draw_epoch(CONFIG, 12, 1), 12, CPU)
    learning.step(real, CONFIG.lr)
    assert seen == [(torch.float32, (768, 1, 48, 3))] * 3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_missing_compiler_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import config as inductor

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # compiled before: not again
    torch.compiler.reset()
    config = TrainConfig(NetworkConfig(1), size_px=16, lambda_adv=0, batch_size=4)
    learning = begin(config, compiled=True)
    with (
        inductor.patch({"cpp.cxx": ("no-such-compiler",)}),
        pytest.raises(SettingError, match=r"^`compiled`: torch cannot compile .*\+\+") as caught,
    ):
        learning.step(batch(0, 4), 1e-3)
    assert "no-such-compiler" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_errors_are_not_taken_for_a_compilers() -> None:
    with pytest.raises(RuntimeError, match="Sizes of tensors must match"):
        begin().step(batch()._replace(gray=torch.zeros(10, 1, 17, 17)), 1e-3)


def test_an_engine_goes_with_the_last_who_holds_it() -> None:
    """It does not wait for the garbage collector: on a GPU it holds gigabytes and recordings."""
    learning = begin()
    learning.step(batch(0, 4), STILL, gradient_norms=True)
    seen = weakref.ref(learning)
    gc.disable()
    try:
        del learning
        assert seen() is None
    finally:
        gc.enable()


def test_the_generator_learns_to_be_as_colorful_as_the_truth() -> None:
    """By that term alone, which beside L1 is a small one."""
    learning = begin(dataclasses.replace(L1_ONLY, lambda_l1=1e-9, lambda_color=1))
    watched = []
    for _ in range(30):
        learning.step(batch(), 3e-3)
        watched.append(learning.means())
    assert watched[0]["loss_g"] == pytest.approx(watched[0]["loss_color"])
    assert watched[-1]["loss_color"] < 0.5 * watched[0]["loss_color"]


def test_a_gpu_is_kept_to_convolutions_that_add_in_a_fixed_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On the way back too; and the caller's own flags come back."""
    seen = []
    learning = begin()

    def watch(*_: object) -> None:
        seen.append((cudnn.enabled, cudnn.deterministic, cudnn.benchmark))

    learning.generator.register_forward_pre_hook(watch)
    learning.generator.head.weight.register_hook(watch)
    monkeypatch.setattr(cudnn, "benchmark", True)
    learning.step(batch(), 1e-3)
    assert seen == [(True, True, False)] * 2
    assert (cudnn.deterministic, cudnn.benchmark) == (False, True)


@pytest.mark.cuda
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"ema": 0.9, "network": NetworkConfig(4, "chroma"), "lambda_class": 0.5},
        {"network": NetworkConfig(4, "chroma", "efficientnet-lite0"), "lambda_color": 0.5},
    ],
)
def test_a_step_on_a_gpu_does_not_wait_for_it(photos: Photos, settings: dict[str, Any]) -> None:
    """Nor does what feeds it, where the photos lie there."""
    gpu = torch.device("cuda")
    config = dataclasses.replace(CONFIG, flip=True, crop=0.6, degrade=0.5, **settings)
    learning = GAN(config, gpu, "auto", compiled=False, classes=3)
    [dataset] = to_device(gpu, FlowerDataset(photos))
    classes = torch.arange(len(dataset)) % 3
    drawn = draw_epoch(config, len(dataset), 1)
    for _ in range(4):  # the first batches of which are as told, the others replayed
        epoch = batches(dataset, drawn, 4, gpu, classes=classes)
        learning.step(next(epoch), config.lr)  # an epoch begins with sending what was drawn
        try:
            torch.cuda.set_sync_debug_mode("error")
            for this in epoch:
                learning.step(this, config.lr)
        finally:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.cuda
@pytest.mark.filterwarnings("ignore")  # torch warns of what its own tracing does
@pytest.mark.parametrize(
    ("settings", "compiled", "streams"),
    [
        ({}, False, False),
        ({"ema": 0.9, "lambda_class": 0.5, "degrade": 0.5}, False, True),
        ({"network": NetworkConfig(16, "chroma", "efficientnet-lite0")}, False, True),
        ({}, True, False),
    ],
)
def test_a_replayed_step_is_the_step(
    photos: Photos,
    settings: dict[str, Any],
    compiled: bool,
    streams: bool,
) -> None:
    """To the last bit, at other learning rates and on other pictures than were recorded.

    The pictures lie on the GPU, or come there batch by batch.
    """
    gpu = torch.device("cuda")
    settings = {"network": NetworkConfig(16), "batch_size": 5, **settings}
    config = dataclasses.replace(CONFIG, **settings)
    [dataset] = [FlowerDataset(photos)] if streams else to_device(gpu, FlowerDataset(photos))
    classes = torch.arange(len(dataset)) % 3

    def learn(*, replays: bool) -> tuple[dict[str, Tensor], list[dict[str, float]]]:
        learning = GAN(config, gpu, "auto", compiled, classes=3)
        if not replays:
            learning._graphs = None
        told = []
        for epoch in range(1, 9):
            drawn = draw_epoch(config, len(dataset), epoch)
            for step, this in enumerate(batches(dataset, drawn, 5, gpu, classes=classes)):
                told.append(learning.step(this, 1e-3 / epoch, gradient_norms=step == 1))
            told.append(learning.means())
        if learning._graphs:  # with 5 photos and with 2, and with norms of gradients
            assert len(learning._graphs._recorded) == 3
        return learning.state(), told

    state, told = learn(replays=True)
    expected = learn(replays=False)
    assert told == expected[1]
    assert different(state, expected[0]) == []
