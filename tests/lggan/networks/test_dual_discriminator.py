"""The dual discriminator: sizes, widths, and one whole forward pass by hand."""

from __future__ import annotations

import torch
from torch.nn.functional import conv2d, leaky_relu

from lggan.networks.dual_discriminator import DualDiscriminator


def test_sizes_and_parameters() -> None:
    with torch.device("meta"):
        network = DualDiscriminator()
        for side, patches in ((256, 30), (64, 6)):
            verdicts = network(torch.empty(2, 6, side, side), torch.empty(2, 3, side, side))
            assert [verdict.shape for verdict in verdicts] == [(2, 1, patches, patches)] * 2
    each = sum(parameter.numel() for parameter in network.beside_source.parameters())
    weights = 16 * (6 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512)
    assert each == weights + 64 + 128 + 256 + 512 + 1
    assert round(each / 1e6, 3) == 2.768  # as published
    assert sum(parameter.numel() for parameter in network.parameters()) == 2 * each


def test_forward_pass_by_hand() -> None:
    torch.manual_seed(0)
    network = DualDiscriminator(width=2).double()
    conditions, picture = torch.randn(2, 6, 64, 48).double(), torch.randn(2, 3, 64, 48).double()
    for judge, seen, verdict in (
        (network.beside_source, conditions[:, :3], network(conditions, picture)[0]),
        (network.beside_semantics, conditions[:, 3:], network(conditions, picture)[1]),
    ):
        x = torch.cat([seen, picture], dim=1)
        x = leaky_relu(conv2d(x, judge.first.weight, judge.first.bias, stride=2, padding=1), 0.2)
        for conv, stride in zip(judge.middle, (2, 2, 1), strict=True):
            x = conv2d(x, conv.weight, conv.bias, stride=stride, padding=1)
            mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), correction=0, keepdim=True)
            x = leaky_relu((x - mean) / torch.sqrt(variance + 1e-5), 0.2)
        expected = conv2d(x, judge.last.weight, judge.last.bias, padding=1)
        torch.testing.assert_close(verdict, expected, rtol=0, atol=1e-10)


def test_each_judge_sees_its_own_condition() -> None:
    torch.manual_seed(0)
    network = DualDiscriminator(width=2)
    conditions, picture = torch.randn(1, 6, 32, 32), torch.randn(1, 3, 32, 32)
    before = network(conditions, picture)
    other = conditions.clone()
    other[:, :3] += 1
    after = network(other, picture)
    assert not torch.equal(before[0], after[0])
    assert torch.equal(before[1], after[1])
