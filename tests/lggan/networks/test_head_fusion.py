"""The fusing convolution from sparse pictures against the convolution of the dense ones."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import conv2d

from lggan.networks.head_answers import to_dense
from lggan.networks.head_fusion import fused_heads
from tests.lggan.networks.head_maps import HEADS, head_maps, random_bank


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("name", head_maps())
def test_equals_a_convolution_over_all_heads(name: str, kernel: int) -> None:
    heads, bank = head_maps()[name], random_bank()
    feature = torch.randn(heads.shape[0], 2, *heads.shape[1:], dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 3 * HEADS, kernel, kernel, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(4, dtype=torch.float64, requires_grad=True)
    answers = bank(feature, heads)
    ours = fused_heads(answers, weight, bias)
    theirs = conv2d(to_dense(answers).flatten(1, 2), weight, bias, padding=kernel // 2)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)

    incoming = torch.randn_like(ours)
    inputs = (answers.values, bank.bias, weight, bias)
    for one, other in zip(
        torch.autograd.grad(ours, inputs, incoming, retain_graph=True),
        torch.autograd.grad(theirs, inputs, incoming),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


def test_autocast_leaves_it_in_float32() -> None:
    heads, bank = head_maps()["blocks"], random_bank().float()
    weight, bias = torch.randn(3, 3 * HEADS, 3, 3), torch.randn(3)
    answers = bank(torch.randn(3, 2, *heads.shape[1:]), heads)
    expected = fused_heads(answers, weight, bias)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(fused_heads(answers, weight, bias), expected)
