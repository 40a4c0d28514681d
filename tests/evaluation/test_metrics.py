import numpy as np
import numpy.typing as npt
import pytest
import torch
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from flowercolor.evaluation.metrics import (
    PSNR_LIMIT_DB,
    ciede2000,
    colorfulness_per_image,
    l1_per_image,
    measure,
    psnr_per_image,
    rgb_to_lab,
    saturated,
    ssim_per_image,
    stained,
)


def test_l1_is_the_mean_absolute_difference_of_each_picture() -> None:
    rng = torch.Generator().manual_seed(0)
    fake = torch.rand(4, 3, 6, 5, generator=rng) * 3 - 1
    real = torch.rand(4, 3, 6, 5, generator=rng)
    expected = [
        np.abs(np.clip(one.numpy(), 0, 1) - other.numpy()).mean()
        for one, other in zip(fake, real, strict=True)
    ]
    torch.testing.assert_close(l1_per_image(fake, real), torch.tensor(np.array(expected)))


def test_l1_of_equal_pictures_is_0_and_of_black_on_white_1() -> None:
    white = torch.ones(1, 3, 2, 2)
    assert l1_per_image(white, white).item() == 0
    assert l1_per_image(torch.zeros_like(white), white).item() == 1


def test_l1_is_computed_in_float32() -> None:
    """Half precision would lose the fourth digit of a score."""
    rng = torch.Generator().manual_seed(0)
    fake = torch.rand(1, 3, 64, 64, generator=rng).half()
    real = torch.rand(1, 3, 64, 64, generator=rng)
    l1 = l1_per_image(fake, real)
    assert l1.dtype == torch.float32
    torch.testing.assert_close(l1, (fake.double() - real.double()).abs().mean().float()[None])


@pytest.fixture
def pictures() -> tuple[Tensor, Tensor]:
    """Generated and true: noise on noise, and a plain pair; float32 [3, 3, 24, 32]."""
    rng = torch.Generator().manual_seed(1)
    real = torch.rand(3, 3, 24, 32, generator=rng)
    fake = (real + 0.3 * torch.randn(real.shape, generator=rng)).clamp(0, 1)
    real[2], fake[2] = torch.tensor([0.8, 0.1, 0.3])[:, None, None], 0.5
    return fake, real


def arrays(pictures: Tensor) -> list[npt.NDArray[np.float64]]:
    """As scikit-image wants them: float64 [H, W, 3] each."""
    return list(pictures.permute(0, 2, 3, 1).double().numpy())


def test_psnr_is_that_of_scikit_image(pictures: tuple[Tensor, Tensor]) -> None:
    fake, real = map(arrays, pictures)
    expected = [
        peak_signal_noise_ratio(true, shown, data_range=1)  # type: ignore[no-untyped-call]
        for shown, true in zip(fake, real, strict=True)
    ]
    np.testing.assert_allclose(psnr_per_image(*pictures), expected, rtol=1e-5)


def test_psnr_of_equal_pictures_is_the_limit() -> None:
    """Infinity would swallow the mean of a thousand others."""
    white = torch.ones(1, 3, 11, 11)
    assert psnr_per_image(white, white).item() == pytest.approx(PSNR_LIMIT_DB)
    assert psnr_per_image(0 * white, white).item() == 0


def test_ssim_is_that_of_scikit_image(pictures: tuple[Tensor, Tensor]) -> None:
    fake, real = map(arrays, pictures)
    expected = [
        structural_similarity(  # type: ignore[no-untyped-call]
            shown,
            true,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1,
            channel_axis=-1,
        )
        for shown, true in zip(fake, real, strict=True)
    ]
    np.testing.assert_allclose(ssim_per_image(*pictures), expected, atol=2e-5)
    torch.testing.assert_close(ssim_per_image(pictures[1], pictures[1]), torch.ones(3))


def test_lab_is_that_of_scikit_image(pictures: tuple[Tensor, Tensor]) -> None:
    """To within the fourth digit, to which IEC 61966-2-1 gives the matrix."""
    dark = torch.cat((pictures[1], pictures[1] / 50))
    np.testing.assert_allclose(arrays(rgb_to_lab(dark)), rgb2lab(arrays(dark)), atol=0.03)


def test_gray_has_no_chroma() -> None:
    gray = torch.linspace(0, 1, 256).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    lab = rgb_to_lab(gray)
    torch.testing.assert_close(lab[:, 1:], torch.zeros(1, 2, 16, 16), atol=1e-3, rtol=0)
    assert lab[0, 0].aminmax().min.item() == pytest.approx(0, abs=1e-4)
    assert lab[0, 0].aminmax().max.item() == pytest.approx(100, abs=1e-4)


# From table 1 of Sharma, Wu and Dalal 2005: L, a, b of one and other color, and CIEDE2000.
# Hues that lie opposite, grays, hues over 0, and differences of every size.
SHARMA = [
    (50.0, 2.6772, -79.7751, 50.0, 0.0, -82.7485, 2.0425),
    (50.0, -1.3802, -84.2814, 50.0, 0.0, -82.7485, 1.0),
    (50.0, 0.0, 0.0, 50.0, -1.0, 2.0, 2.3669),
    (50.0, -1.0, 2.0, 50.0, 0.0, 0.0, 2.3669),
    (50.0, 2.49, -0.001, 50.0, -2.49, 0.0009, 7.1792),
    (50.0, 2.49, -0.001, 50.0, -2.49, 0.0011, 7.2195),
    (50.0, -0.001, 2.49, 50.0, 0.0009, -2.49, 4.8045),
    (50.0, -0.001, 2.49, 50.0, 0.0011, -2.49, 4.7461),
    (50.0, 2.5, 0.0, 50.0, 0.0, -2.5, 4.3065),
    (50.0, 2.5, 0.0, 73.0, 25.0, -18.0, 27.1492),
    (50.0, 2.5, 0.0, 58.0, 24.0, 15.0, 19.4535),
    (60.2574, -34.0099, 36.2677, 60.4626, -34.1751, 39.4387, 1.2644),
    (22.7233, 20.0904, -46.694, 23.0331, 14.973, -42.5619, 2.0373),
    (90.8027, -2.0831, 1.441, 91.1528, -1.6435, 0.0447, 1.4441),
    (2.0776, 0.0795, -1.135, 0.9033, -0.0636, -0.5514, 0.9082),
]


def test_ciede2000_is_as_published() -> None:
    table = torch.tensor(SHARMA, dtype=torch.float64)
    one, other = table[:, 0:3, None, None], table[:, 3:6, None, None]
    for difference in (ciede2000(one, other), ciede2000(other, one)):
        torch.testing.assert_close(difference.flatten(), table[:, 6], atol=5e-5, rtol=0)
    assert torch.equal(ciede2000(one, one), torch.zeros(len(table), 1, 1, dtype=torch.float64))


def test_ciede2000_of_pictures_is_that_of_scikit_image(pictures: tuple[Tensor, Tensor]) -> None:
    fake, real = (rgb2lab(arrays(one)) for one in pictures)
    differences = deltaE_ciede2000(fake, real)  # type: ignore[no-untyped-call]
    expected = differences.mean(axis=(1, 2))
    np.testing.assert_allclose(measure(*pictures)["ciede2000"], expected, atol=5e-3)


def test_colorfulness_is_as_published(pictures: tuple[Tensor, Tensor]) -> None:
    def published(rgb: npt.NDArray[np.float64]) -> float:
        red, green, blue = (255 * rgb[:, :, channel] for channel in range(3))
        rg, yb = red - green, 0.5 * (red + green) - blue
        sigma_rgyb = np.sqrt(np.var(rg) + np.var(yb))
        mu_rgyb = np.sqrt(np.mean(rg) ** 2 + np.mean(yb) ** 2)
        return float(sigma_rgyb + 0.3 * mu_rgyb)

    both = torch.cat(pictures)
    expected = [published(rgb) for rgb in arrays(both)]
    np.testing.assert_allclose(colorfulness_per_image(both), expected, rtol=1e-5)


def test_colorfulness_keeps_the_signs() -> None:
    """By hand: half red, half green. rg is 255 and -255, yb twice 127.5."""
    picture = torch.zeros(1, 3, 1, 2)
    picture[0, 0, 0, 0] = picture[0, 1, 0, 1] = 1
    assert colorfulness_per_image(picture).item() == pytest.approx(255 + 0.3 * 127.5)
    assert colorfulness_per_image(torch.full((1, 3, 4, 4), 0.4)).item() == 0


def test_colorfulness_can_be_learned_from_gray_pictures_on() -> None:
    gray = torch.rand(1, 1, 4, 4).expand(-1, 3, -1, -1).clone().requires_grad_()
    flat = torch.full((1, 3, 4, 4), 0.4, requires_grad=True)
    for picture in (gray, flat):
        colorfulness_per_image(picture).sum().backward()
        assert picture.grad is not None
        assert torch.isfinite(picture.grad).all()


def test_each_score_stands_under_its_name(pictures: tuple[Tensor, Tensor]) -> None:
    scores = measure(*pictures)
    assert next(iter(scores)) == "l1"
    assert torch.equal(scores["l1"], l1_per_image(*pictures))
    assert torch.equal(scores["psnr"], psnr_per_image(*pictures))
    assert torch.equal(scores["ssim"], ssim_per_image(*pictures))
    assert torch.equal(scores["colorfulness"], colorfulness_per_image(pictures[0]))
    difference = scores["colorfulness"] - colorfulness_per_image(pictures[1])
    assert torch.equal(scores["colorfulness_difference"], difference)
    assert all(score.shape == (3,) for score in scores.values())


def test_saturated_regions_are_those_of_the_truth() -> None:
    """A quarter is red, the rest gray; the generated picture is off by 0.3 there, else by 0.1."""
    real = torch.full((2, 3, 16, 16), 0.5)
    real[0, :, :8, :8] = torch.tensor([0.9, 0.2, 0.2])[:, None, None]
    fake = real + 0.1
    fake[0, :, :8, :8] = real[0, :, :8, :8] - torch.tensor([0.5, 0.2, 0.2])[:, None, None]
    assert saturated(rgb_to_lab(real)).flatten(1).sum(1).tolist() == [64, 0]
    scores = measure(fake, real)
    assert scores["saturated_l1"][0].item() == pytest.approx(0.3)
    assert scores["saturated_l1"][1].isnan()
    assert scores["l1"].tolist() == pytest.approx([0.15, 0.1])


def test_a_stain_is_strong_and_of_an_opposed_hue() -> None:
    """Green foliage in CIELAB: magenta is a stain; yellow, pale pink, and any gray are none."""
    green = (50.0, -30.0, 25.0)
    colors = {
        (50.0, 40.0, -30.0): True,  # magenta
        (50.0, 5.0, 40.0): False,  # orange: less than a right angle away
        (50.0, 10.0, -8.0): False,  # pink, but pale
        (50.0, 0.0, 0.0): False,
    }
    fake = torch.tensor(list(colors)).T[None, :, None]
    real = torch.tensor([green] * len(colors)).T[None, :, None]
    assert stained(fake, real).flatten().tolist() == list(colors.values())
    assert not stained(fake, torch.zeros_like(real)).any(), "gray has no hue to be far from"
    assert measure(torch.full((1, 3, 16, 16), 0.5), torch.rand(1, 3, 16, 16))["stain"] == 0
