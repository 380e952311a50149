"""Upsampling from pixels of the own class only: the mask against plain loops, and the module with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from lggan.config import SauConfig, SauMask, SauWindow
from lggan.networks.upsample import SemanticAwareUpsample, mask_other_classes, semantic_aware_upsample
from tests.lggan import plain_loops


def masked_by_loops(feature: np.ndarray, logits: np.ndarray, classes: np.ndarray, k: int, s: int, d: int) -> np.ndarray:
    """Softmax over the taps of the own class alone (over all where there is none), then the weighted sum.

    A tap lies ``d`` pixels from the next on the map enlarged by nearest neighbour; ``classes`` is [N, sh, sw].
    """
    n, channels, h, w = feature.shape
    output = np.zeros((n, channels, s * h, s * w))
    for b, py, px in np.ndindex(n, s * h, s * w):
        sub = (py % s) * s + px % s
        taps = []
        for iy, ix in np.ndindex(k, k):
            y, x = (py + (iy - k // 2) * d) // s, (px + (ix - k // 2) * d) // s
            inside = 0 <= y < h and 0 <= x < w
            same = inside and classes[b, y * s, x * s] == classes[b, py, px]  # nearest takes the upper left pixel
            taps.append((logits[b, (iy * k + ix) * s * s + sub, py // s, px // s], y, x, inside, same))
        kept = [tap for tap in taps if tap[4]] or taps
        weights = plain_loops.softmax(np.array([tap[0] for tap in kept]), 0)
        for weight, (_, y, x, inside, _) in zip(weights, kept, strict=True):
            if inside:
                output[b, :, py, px] += weight * feature[b, :, y, x]
    return output


def random_map(n: int, height: int, width: int, classes: int, seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, classes, (n, height, width)))


@pytest.mark.parametrize("classes", [1, 2, 5, 40])
@pytest.mark.parametrize(("k", "dilation"), [(3, 2), (5, 2), (3, 1), (5, 1)])
def test_the_mask_against_plain_loops(k: int, dilation: int, classes: int) -> None:
    draw = torch.Generator().manual_seed(k + classes)
    feature = torch.randn(2, 3, 3, 5, dtype=torch.float64, generator=draw)
    logits = 2 * torch.randn(2, 4 * k * k, 3, 5, dtype=torch.float64, generator=draw)
    label = random_map(2, 6, 10, classes, seed=k)
    masked = mask_other_classes(logits, label, k, 2, dilation)
    made = semantic_aware_upsample(feature, masked, k, 2, dilation)
    expected = masked_by_loops(feature.numpy(), logits.numpy(), label.numpy(), k, 2, dilation)
    np.testing.assert_allclose(made.numpy(), expected, atol=1e-12)


def test_a_class_that_the_source_lost_draws_on_everything() -> None:
    """One pixel of class 1 at an odd place: nearest neighbour drops it from the source, so its taps keep theirs."""
    label = torch.zeros(1, 4, 4, dtype=torch.int64)
    label[0, 1, 1] = 1
    logits = torch.randn(1, 36, 2, 2)
    masked = mask_other_classes(logits, label, 3, 2, 2).view(9, 4, 2, 2)
    assert torch.equal(masked[:, 3, 0, 0], logits.view(9, 4, 2, 2)[:, 3, 0, 0])  # output pixel (1, 1)
    assert (masked[0, 3, 1, 1] == logits.view(9, 4, 2, 2)[0, 3, 1, 1]).all()  # upper left neighbour, same class
    assert masked[8, 3, 1, 1] < -1e3  # beyond the border there is no class


def test_the_map_may_be_larger_than_the_output() -> None:
    """Deep in the network the picture's class map is reduced by nearest neighbour first."""
    logits = torch.randn(1, 36, 2, 3, dtype=torch.float64)
    label = random_map(1, 16, 24, 3, seed=1)
    assert torch.equal(
        mask_other_classes(logits, label, 3, 2, 2), mask_other_classes(logits, label[:, ::4, ::4], 3, 2, 2)
    )


@pytest.mark.parametrize("window", list(SauWindow))
def test_no_class_leaks_into_another(window: SauWindow) -> None:
    """Two halves of a picture: what stands in one does not move the other, and its gradient stays there."""
    torch.manual_seed(0)
    config = SauConfig(kernel=5, compressed=4, encoder_kernel=1, window=window, mask=SauMask.SAME_CLASS)
    module = SemanticAwareUpsample(3, 3, config).double()
    label = torch.zeros(1, 8, 16, dtype=torch.int64)
    label[:, :, 8:] = 1
    feature = torch.randn(1, 3, 4, 8, dtype=torch.float64, requires_grad=True)
    made = module(feature, label)
    made[..., :8].sum().backward()
    assert feature.grad is not None
    assert not feature.grad[..., 4:].any()
    assert feature.grad[..., :4].any()
    other = feature.detach().clone()
    other[..., 4:] += 1
    assert torch.equal(module(other, label)[..., :8], made[..., :8])
    assert not torch.equal(module(other, label)[..., 8:], made[..., 8:])


def test_the_module_needs_the_map_and_half_precision_survives_it() -> None:
    module = SemanticAwareUpsample(2, 2, SauConfig(kernel=3, compressed=2, mask=SauMask.SAME_CLASS))
    with pytest.raises(ValueError, match="class map"):
        module(torch.zeros(1, 2, 2, 2))
    logits = torch.randn(1, 36, 4, 4).half()
    masked = mask_other_classes(logits, random_map(1, 8, 8, 3, seed=2), 3, 2, 2)
    assert masked.dtype == torch.float16
    assert torch.isfinite(masked).all()


def test_without_a_mask_the_map_is_ignored() -> None:
    torch.manual_seed(0)
    module = SemanticAwareUpsample(2, 4, SauConfig(kernel=3, compressed=2))
    feature = torch.randn(1, 2, 4, 4)
    assert torch.equal(module(feature, random_map(1, 8, 8, 3, seed=3)), module(feature))
