"""The multi-scale patch discriminator: sizes, widths and one whole forward pass by hand."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import avg_pool2d, conv2d, leaky_relu

from lggan.networks.discriminator import MultiScaleDiscriminator


def test_sizes_at_256_by_512() -> None:
    with torch.device("meta"):
        outputs = MultiScaleDiscriminator(36)(torch.empty(1, 39, 256, 512))
    sizes = [[tuple(layer.shape[1:]) for layer in scale] for scale in outputs]
    assert sizes == [
        [(64, 129, 257), (128, 65, 129), (256, 33, 65), (512, 34, 66), (1, 35, 67)],
        [(64, 65, 129), (128, 33, 65), (256, 17, 33), (512, 18, 34), (1, 19, 35)],
    ]


@pytest.mark.parametrize(("semantic_channels", "millions"), [(36, 5.601), (151, 5.837)])
def test_parameters(semantic_channels: int, millions: float) -> None:
    with torch.device("meta"):
        count = sum(p.numel() for p in MultiScaleDiscriminator(semantic_channels).parameters())
    taps = 16
    one = (semantic_channels + 3) * 64 * taps + 64 + (64 * 128 + 128 * 256 + 256 * 512) * taps + 512 * taps + 1
    assert count == 2 * one
    assert count / 1e6 == pytest.approx(millions, abs=5e-4)


def test_forward_pass_by_hand() -> None:
    torch.manual_seed(0)
    network = MultiScaleDiscriminator(3, width=2).double().eval()
    pair = torch.randn(2, 6, 32, 48, dtype=torch.float64)
    outputs = network(pair)

    x = avg_pool2d(torch.nn.functional.pad(pair, (1, 1, 1, 1)), 3, stride=2)  # zeros count as pixels here ...
    counted = avg_pool2d(torch.nn.functional.pad(torch.ones_like(pair), (1, 1, 1, 1)), 3, stride=2)
    x = x / counted  # ... and are taken out of the mean again
    scale = network.scales[1]
    expected = leaky_relu(conv2d(x, scale.first.weight, scale.first.bias, stride=2, padding=2), 0.2)
    torch.testing.assert_close(outputs[1][0], expected)
    for index, stride in enumerate((2, 2, 1)):
        conv = scale.middle[index]
        assert conv.bias is None
        original = conv.parametrizations.weight.original
        largest = torch.linalg.matrix_norm(original.flatten(1), ord=2)
        normalised = conv.weight
        # Fifteen power iterations at construction find the largest singular value up to some per cent, from below.
        assert 0 <= (largest * normalised.norm() / original.norm()).item() - 1 < 0.1
        x = conv2d(expected, normalised, stride=stride, padding=2)
        mean, variance = x.mean(dim=(2, 3), keepdim=True), x.var(dim=(2, 3), correction=0, keepdim=True)
        expected = leaky_relu((x - mean) / torch.sqrt(variance + 1e-5), 0.2)
        torch.testing.assert_close(outputs[1][index + 1], expected)
    last = conv2d(expected, scale.last.weight, scale.last.bias, padding=2)
    torch.testing.assert_close(outputs[1][4], last)
