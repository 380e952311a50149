"""Hinge losses and feature matching against the formulas, on random outputs of two scales."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from lggan.losses.adversarial import discriminator_hinge, feature_matching, generator_hinge, rows

SIZES = [[(2, 3, 5), (3, 2, 4), (1, 4, 5)], [(2, 2, 3), (3, 1, 2), (1, 2, 3)]]


def random_outputs(seed: int) -> list[list[Tensor]]:
    draw = torch.Generator().manual_seed(seed)
    return [[2 * torch.randn(2, *size, generator=draw) for size in scale] for scale in SIZES]


def verdicts(outputs: list[list[Tensor]]) -> list[np.ndarray]:
    return [scale[-1].double().numpy() for scale in outputs]


def test_generator_hinge_is_the_mean_over_patches_then_scales() -> None:
    outputs = random_outputs(0)
    expected = np.mean([-verdict.mean() for verdict in verdicts(outputs)])
    assert generator_hinge(outputs).item() == pytest.approx(expected, abs=1e-6)


def test_discriminator_hinge() -> None:
    outputs = random_outputs(1)
    real = np.mean([np.mean([max(0.0, 1 - d) for d in verdict.flat]) for verdict in verdicts(outputs)])
    fake = np.mean([np.mean([max(0.0, 1 + d) for d in verdict.flat]) for verdict in verdicts(outputs)])
    assert discriminator_hinge(outputs, real=True).item() == pytest.approx(real, abs=1e-6)
    assert discriminator_hinge(outputs, real=False).item() == pytest.approx(fake, abs=1e-6)


def test_hinge_is_satisfied_beyond_the_margin() -> None:
    sure = [[torch.full((1, 1, 2, 2), 1.5)]]
    assert discriminator_hinge(sure, real=True).item() == 0
    assert discriminator_hinge(sure, real=False).item() == 2.5


def test_feature_matching_leaves_the_verdict_out_and_divides_by_the_scales() -> None:
    fake, real = random_outputs(2), random_outputs(3)
    expected = 0.0
    for fake_scale, real_scale in zip(fake, real, strict=True):
        for f, r in zip(fake_scale[:2], real_scale[:2], strict=True):
            expected += np.abs(f.double().numpy() - r.double().numpy()).mean()
    assert feature_matching(fake, real).item() == pytest.approx(expected / 2, abs=1e-6)


def test_feature_matching_does_not_teach_the_real_side() -> None:
    fake, real = ([[layer.requires_grad_() for layer in scale] for scale in random_outputs(seed)] for seed in (4, 5))
    feature_matching(fake, real).backward()
    assert all(layer.grad is not None for scale in fake for layer in scale[:-1])
    assert all(layer.grad is None for scale in real for layer in scale)


def test_half_precision_outputs_are_summed_in_single() -> None:
    outputs = [[layer.half() for layer in scale] for scale in random_outputs(6)]
    for loss in (generator_hinge(outputs), discriminator_hinge(outputs, real=True), feature_matching(outputs, outputs)):
        assert loss.dtype == torch.float32


def test_rows_cuts_every_layer() -> None:
    cut = rows(random_outputs(7), 1, 2)
    assert [[tuple(layer.shape[1:]) for layer in scale] for scale in cut] == SIZES
    assert torch.equal(cut[1][0], random_outputs(7)[1][0][1:2])
