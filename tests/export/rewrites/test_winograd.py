from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, instance_norm

from export.rewrites import winograd
from export.rewrites.winograd import (
    WINOGRAD_CONVOLUTION,
    WinogradConv2d,
    transformed_kernels,
    use_winograd,
    winograd_matrices,
    winograd_pays,
)
from lggan.config import SauPlacement, UpsamplingDepth
from lggan.networks.generator import LGGANGenerator
from lggan.networks.local_branch import ResidualBlock
from lggan.networks.semantics import encode_semantics
from tests.export.rewrites.hard_maps import hard_maps
from tests.export.rewrites.onnx_runs import run_body
from tests.export.samples import Case, random_generator


def _conv(margin: int, channels: tuple[int, int] = (5, 3)) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(*channels, 3, padding=margin).double().requires_grad_(False)


@pytest.mark.parametrize("margin", [0, 1])
@pytest.mark.parametrize("size", [(3, 3), (4, 4), (5, 9), (6, 10), (7, 8), (8, 12), (18, 34)])
def test_any_size_gives_the_direct_convolution(margin: int, size: tuple[int, int]) -> None:
    conv = _conv(margin)
    x = torch.randn(2, 5, *size, dtype=torch.float64)
    torch.testing.assert_close(WinogradConv2d(conv)(x), conv(x), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("margin", [0, 1])
def test_on_one_hot_maps(margin: int) -> None:
    conv = _conv(margin, (4, 3))
    for name, label in hard_maps(4, 9, 14).items():
        x = encode_semantics(torch.from_numpy(label)[None, None], 4).double()
        assert float((WinogradConv2d(conv)(x) - conv(x)).abs().max()) < 1e-12, name


@pytest.mark.parametrize("ragged", [0, 1])
@pytest.mark.parametrize("margin", [0, 1])
def test_the_body_is_the_operator(margin: int, ragged: int) -> None:
    conv = _conv(margin).float()
    kernels = transformed_kernels(conv.weight).float()
    sizes = [(8, 12)] + [(9, 6), (4, 5), (7, 8)] * ragged
    for rows, columns in sizes:
        x = torch.randn(2, 5, rows + 2 - 2 * margin, columns + 2 - 2 * margin)
        (actual,) = run_body(WINOGRAD_CONVOLUTION, [x, kernels], (margin, ragged))
        expected = conv2d(x, conv.weight, padding=margin).numpy()
        assert actual.shape == expected.shape
        np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_the_matrices_are_exact_in_float32() -> None:
    a, _, b = winograd_matrices()
    for matrix in (np.kron(a, a), np.kron(b, b)):
        assert np.array_equal(matrix.astype(np.float32), matrix)


def test_one_dimension_by_hand() -> None:
    a, g, b = winograd_matrices()
    signal, kernel = np.array([3.0, -1, 4, 1, -5, 9]), np.array([2.0, -6, 5])
    expected = [signal[i : i + 3] @ kernel for i in range(4)]
    np.testing.assert_allclose(a @ ((g @ kernel) * (b @ signal)), expected, rtol=1e-12)


def test_a_residual_tower_in_float32_stays_near_the_exact_one() -> None:
    torch.manual_seed(0)
    exact = nn.Sequential(*(ResidualBlock(64) for _ in range(9))).double().requires_grad_(False)
    tower = nn.Sequential(*(ResidualBlock(64) for _ in range(9))).requires_grad_(False)
    tower.load_state_dict(exact.state_dict())
    x = torch.randn(1, 64, 16, 32).relu()
    direct = float((tower(x) - exact(x.double())).abs().max())
    for block in tower:
        block.conv1, block.conv2 = WinogradConv2d(block.conv1), WinogradConv2d(block.conv2)  # type: ignore[union-attr]
    error = float((tower(x) - exact(x.double())).abs().max())
    assert error < 1e-4  # of values of a standard deviation of three
    assert error < 20 * direct


def test_constants_larger_than_the_signal_do_not_spoil_it() -> None:
    # A bias of a thousand in front of an instance norm: what is left is the signal.
    torch.manual_seed(0)
    conv = nn.Conv2d(16, 8, 3, bias=False).requires_grad_(False)
    x = torch.randn(1, 16, 18, 34) + 100
    expected = instance_norm(conv2d(x.double(), conv.weight.double()))
    assert float((instance_norm(WinogradConv2d(conv)(x)) - expected).abs().max()) < 2e-2
    assert float((instance_norm(conv(x)) - expected).abs().max()) < 2e-2


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(2, 2, 3, stride=2),
        nn.Conv2d(2, 2, 1),
        nn.Conv2d(2, 2, 3, padding=2),
        nn.Conv2d(2, 2, 3, groups=2),
        nn.Conv2d(2, 2, 3, dilation=2),
        nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"),
    ],
)
def test_other_convolutions_are_refused(conv: nn.Conv2d) -> None:
    with pytest.raises(ValueError, match="no 3x3 convolution"):
        WinogradConv2d(conv)


def test_a_broken_promise_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="7 x 8 was promised to be a multiple of 4"):
        WinogradConv2d(_conv(1), ragged=False)(torch.zeros(1, 5, 7, 8).double())


def test_where_it_pays() -> None:
    assert winograd_pays(256, 256, 64 * 128)  # the tower
    assert winograd_pays(512, 512, 64 * 64)
    assert winograd_pays(128, 128, 128 * 128)
    assert not winograd_pays(512, 512, 32 * 64)
    assert not winograd_pays(256, 128, 128 * 256)
    assert not winograd_pays(64, 64, 256 * 512)
    assert not winograd_pays(1024, 1024, 16 * 32)
    assert not winograd_pays(1024, 512, 32 * 64)


@pytest.mark.parametrize(
    ("case", "depth", "replaced"),
    [
        (Case(), UpsamplingDepth.NORMAL, 2 + 14),  # tower, global branch
        (Case(), UpsamplingDepth.MORE, 2 + 14),
        (Case(placement=SauPlacement.ENCODER), UpsamplingDepth.NORMAL, 2 + 14 + 2),  # and two decoders
        (Case(cross_view=True), None, 2),
        (Case(cross_view=True, placement=SauPlacement.ENCODER), None, 2 + 3),
    ],
)
def test_a_generator_computes_the_same(
    case: Case, depth: UpsamplingDepth | None, replaced: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(winograd, "_FEWEST_CHANNELS", 1)
    monkeypatch.setattr(winograd, "_FEWEST_PIXELS", 1)
    generator, _ = random_generator(case)
    torch.manual_seed(0)
    inputs: tuple[torch.Tensor, ...]
    if isinstance(generator, LGGANGenerator):
        config = replace(generator.config, depth=depth, height=64, width=128)
        generator = LGGANGenerator(config).eval().requires_grad_(False)
        labels = torch.randint(0, config.classes, (2, 1, 64, 128))
        inputs = (encode_semantics(labels, config.classes).double(),)
    else:
        inputs = torch.randn(2, 6, 36, 44).double(), torch.randint(0, 3, (2, 1, 36, 44))  # a tower of 9 x 11
    generator = generator.double()
    expected = generator(*inputs).final
    use_winograd(generator)
    assert sum(isinstance(module, WinogradConv2d) for module in generator.modules()) == replaced
    torch.testing.assert_close(generator(*inputs).final, expected, rtol=1e-8, atol=1e-10)
