"""The cross-view objectives against their formulas in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from lggan.config import SauConfig, SauPlacement
from lggan.cross_view_config import CrossViewConfig
from lggan.losses.config import CrossViewLossWeights
from lggan.losses.cross_view_objective import (
    cross_view_discriminator_terms,
    cross_view_generator_terms,
    total_variation,
)
from lggan.networks.class_routed import HeadForm
from lggan.networks.cross_view import CrossViewGenerator
from lggan.networks.cross_view_inputs import NO_HEAD
from lggan.networks.dual_discriminator import DualDiscriminator
from lggan.networks.generator import Synthesis

CONFIG = CrossViewConfig(
    classes=3,
    height=32,
    width=32,
    colors=((0, 0, 0),) * 3,
    groups=(0, 1, 2),
    ngf=2,
    residual_blocks=1,
    sau=SauConfig(placement=SauPlacement.NONE),
)
Case = tuple[CrossViewGenerator, DualDiscriminator, Synthesis, Tensor, Tensor, Tensor]


@pytest.fixture
def case() -> Case:
    """Generator, discriminator, synthesis, conditions, groups, photo."""
    torch.manual_seed(0)
    generator, discriminator = CrossViewGenerator(CONFIG), DualDiscriminator(width=2)
    for parameter in (*generator.parameters(), *discriminator.parameters()):
        torch.nn.init.normal_(parameter, 0.0, 0.3)
    conditions = torch.rand(2, 6, 32, 32) * 2 - 1
    groups = torch.tensor([0, 1, NO_HEAD, 0], dtype=torch.uint8).view(1, 1, 2, 2)  # head 2 is absent
    groups = groups.repeat_interleave(16, 2).repeat_interleave(16, 3).repeat(2, 1, 1, 1)
    photo = torch.rand(2, 3, 32, 32) * 2 - 1
    return generator, discriminator, generator(conditions, groups), conditions, groups, photo


def cross_entropy(logits: Tensor, target: float) -> float:
    """Of the published network's sigmoid outputs."""
    p = 1 / (1 + np.exp(-logits.detach().double().numpy()))
    return float(-(target * np.log(p) + (1 - target) * np.log(1 - p)).mean())


def test_generator_terms_by_hand(case: Case) -> None:
    generator, discriminator, synthesis, conditions, groups, photo = case
    weights = CrossViewLossWeights(2.0, 3.0, 5.0, 7.0, 11.0)
    terms = cross_view_generator_terms(synthesis, conditions, photo, discriminator, None, weights)
    assert set(terms) == {"adversarial", "reconstruction", "local", "total_variation"}  # no perceptual network
    adversarial = reconstruction = variation = 0.0
    for picture in synthesis[:3]:
        for verdict in discriminator(conditions, picture):
            adversarial += cross_entropy(verdict, 1.0)
        x = picture.detach().double().numpy()
        reconstruction += float(np.abs(x - photo.numpy()).mean())
        variation += float(np.abs(np.diff(x, axis=2)).sum() + np.abs(np.diff(x, axis=3)).sum())
    generator.local_branch.form = HeadForm.DENSE
    feature: list[Tensor] = []
    generator.local_branch.decoder.register_forward_hook(lambda *arguments: feature.append(arguments[2]))
    generator(conditions, groups)
    masks = torch.cat([groups == head for head in range(3)], dim=1).float()
    pictures = generator.local_branch.heads.dense(feature[0], masks).tanh()  # [N, 3 heads, 3, H, W]
    local = sum((pictures[:, h] - photo * masks[:, h : h + 1]).abs().mean().item() for h in range(3))
    assert terms["adversarial"].item() == pytest.approx(2 * adversarial, rel=1e-5)
    assert terms["reconstruction"].item() == pytest.approx(3 * reconstruction, rel=1e-5)
    assert terms["local"].item() == pytest.approx(5 * local, rel=1e-5)
    assert terms["total_variation"].item() == pytest.approx(11 * variation, rel=1e-5)


def test_discriminator_terms_by_hand(case: Case) -> None:
    generator, discriminator, synthesis, conditions, _, photo = case
    terms = cross_view_discriminator_terms(synthesis[:3], conditions, photo, discriminator)
    fake = sum(cross_entropy(v, 0.0) for picture in synthesis[:3] for v in discriminator(conditions, picture))
    real = 3 * sum(cross_entropy(v, 1.0) for v in discriminator(conditions, photo))
    assert terms["discriminator_fake"].item() == pytest.approx(0.5 * fake, rel=1e-5)
    assert terms["discriminator_real"].item() == pytest.approx(0.5 * real, rel=1e-5)
    sum(terms.values()).backward()  # type: ignore[union-attr]
    assert all(parameter.grad is None for parameter in generator.parameters())
    assert all(parameter.grad is not None for parameter in discriminator.parameters())


def test_total_variation_is_a_sum() -> None:
    assert total_variation(torch.zeros(2, 3, 4, 5)).item() == 0
    picture = torch.zeros(1, 1, 2, 3)
    picture[0, 0, 0, 1] = 2.0  # two horizontal neighbours and one vertical
    assert total_variation(picture).item() == 6
    assert total_variation(picture.repeat(3, 1, 1, 1)).item() == 18
