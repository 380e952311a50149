"""SPADE and its residual block against plain loops, in training (batch statistics) and evaluation (running ones)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lggan.networks.spade import SPADE, SPADEResBlock
from tests.lggan import plain_loops


def nearest(layout: np.ndarray, height: int, width: int) -> np.ndarray:
    """Output pixel i takes input pixel floor(i * in / out)."""
    rows = [i * layout.shape[2] // height for i in range(height)]
    columns = [j * layout.shape[3] // width for j in range(width)]
    return layout[:, :, rows][:, :, :, columns]


def modulated(module: SPADE, x: np.ndarray, layout: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """The formula of the specification with given statistics, [C] each."""

    def convolved(conv: nn.Conv2d, values: np.ndarray) -> np.ndarray:
        assert conv.bias is not None
        return plain_loops.convolution(values, conv.weight.detach().numpy(), conv.bias.detach().numpy(), padding=1)

    hidden = np.maximum(convolved(module.shared, nearest(layout, *x.shape[2:])), 0)
    normal = (x - mean[:, None, None]) / np.sqrt(variance[:, None, None] + 1e-5)
    return normal * (1 + convolved(module.gamma, hidden)) + convolved(module.beta, hidden)


@pytest.fixture
def spade() -> SPADE:
    torch.manual_seed(3)
    module = SPADE(channels=3, semantic_channels=2, hidden=4).double()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module


@pytest.fixture
def inputs() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(4)
    x = 2 + torch.randn(2, 3, 3, 4, dtype=torch.float64, generator=draw)
    return x, torch.randn(2, 2, 6, 8, dtype=torch.float64, generator=draw)


def test_training_uses_and_remembers_the_statistics_of_the_batch(spade: SPADE, inputs: tuple[Tensor, Tensor]) -> None:
    x, layout = (tensor.numpy() for tensor in inputs)
    mean, variance = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
    expected = modulated(spade, x, layout, mean, variance)
    np.testing.assert_allclose(spade.train()(*inputs).detach().numpy(), expected, atol=1e-12)
    unbiased = x.var(axis=(0, 2, 3), ddof=1)
    np.testing.assert_allclose(spade.norm.running_mean, 0.1 * mean, atol=1e-12)
    np.testing.assert_allclose(spade.norm.running_var, 0.9 + 0.1 * unbiased, atol=1e-12)


def test_evaluation_uses_the_running_statistics(spade: SPADE, inputs: tuple[Tensor, Tensor]) -> None:
    mean, variance = np.array([0.5, -1.0, 2.0]), np.array([0.3, 2.0, 1.0])
    assert spade.norm.running_mean is not None
    assert spade.norm.running_var is not None
    spade.norm.running_mean.copy_(torch.from_numpy(mean))
    spade.norm.running_var.copy_(torch.from_numpy(variance))
    expected = modulated(spade, *(tensor.numpy() for tensor in inputs), mean, variance)
    np.testing.assert_allclose(spade.eval()(*inputs).detach().numpy(), expected, atol=1e-12)
    np.testing.assert_array_equal(spade.norm.running_mean, mean)


@pytest.mark.parametrize(("before", "after"), [(4, 2), (3, 3)])
def test_residual_block(before: int, after: int, inputs: tuple[Tensor, Tensor]) -> None:
    torch.manual_seed(5)
    block = SPADEResBlock(before, after, semantic_channels=2, hidden=3).double().eval()
    x, layout = torch.randn(1, before, 3, 4, dtype=torch.float64), inputs[1][:1]

    def normalised(norm: SPADE, values: np.ndarray) -> np.ndarray:
        assert norm.norm.running_mean is not None
        assert norm.norm.running_var is not None
        return modulated(norm, values, layout.numpy(), norm.norm.running_mean.numpy(), norm.norm.running_var.numpy())

    def convolved(conv: nn.Conv2d, values: np.ndarray, padding: int = 1) -> np.ndarray:
        bias = None if conv.bias is None else conv.bias.detach().numpy()
        return plain_loops.convolution(values, conv.weight.detach().numpy(), bias, padding=padding)

    def leaky(values: np.ndarray) -> np.ndarray:
        return np.where(values > 0, values, 0.2 * values)

    inner = convolved(block.conv_0, leaky(normalised(block.norm_0, x.numpy())))
    inner = convolved(block.conv_1, leaky(normalised(block.norm_1, inner)))
    shortcut = x.numpy()
    if before != after:
        assert block.norm_s is not None
        assert block.conv_s is not None
        assert block.conv_s.bias is None
        shortcut = convolved(block.conv_s, normalised(block.norm_s, x.numpy()), padding=0)
    else:
        assert block.norm_s is None
    np.testing.assert_allclose(block(x, layout).detach().numpy(), shortcut + inner, atol=1e-12)
