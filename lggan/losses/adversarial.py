"""Hinge losses and feature matching over the discriminator's outputs, per scale a list of five tensors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import l1_loss, relu


def generator_hinge(outputs: list[list[Tensor]]) -> Tensor:
    """``-mean D(fake)``, averaged over the scales."""
    return torch.stack([-scale[-1].float().mean() for scale in outputs]).mean()


def discriminator_hinge(outputs: list[list[Tensor]], *, real: bool) -> Tensor:
    """``mean relu(1 - D(real))`` or ``mean relu(1 + D(fake))``, averaged over the scales."""
    sign = -1.0 if real else 1.0
    return torch.stack([relu(1.0 + sign * scale[-1].float()).mean() for scale in outputs]).mean()


def feature_matching(fake: list[list[Tensor]], real: list[list[Tensor]]) -> Tensor:
    """L1 between all but the last outputs of fake and (detached) real, summed, divided by the number of scales."""
    total = torch.zeros((), device=fake[0][0].device)
    for fake_scale, real_scale in zip(fake, real, strict=True):
        for fake_layer, real_layer in zip(fake_scale[:-1], real_scale[:-1], strict=True):
            total = total + l1_loss(fake_layer.float(), real_layer.detach().float())
    return total / len(fake)


def rows(outputs: list[list[Tensor]], start: int, stop: int) -> list[list[Tensor]]:
    """The same outputs for a part of the batch: rows ``start`` to ``stop``."""
    return [[layer[start:stop] for layer in scale] for scale in outputs]
