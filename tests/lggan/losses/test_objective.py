"""The objectives put together from their terms: which picture counts how often, with which weight, and who learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lggan.losses.config import LossWeights
from lggan.losses.objective import discriminator_terms, generator_terms
from lggan.losses.perceptual import LayerScale, PerceptualLoss
from lggan.networks.class_routed import ClassRoutedConv2d
from lggan.networks.classification import ClassScores
from lggan.networks.discriminator import MultiScaleDiscriminator
from lggan.networks.generator import Synthesis
from lggan.networks.head_answers import to_dense


def random_synthesis(seed: int = 0) -> tuple[Synthesis, Tensor, Tensor]:
    """A synthesis, its label map [2, 2, H, W] and the photo [2, 3, H, W]."""
    draw = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=draw) * 2 - 1

    heads = torch.randint(0, 2, (2, 32, 32), generator=draw)
    masks = torch.stack([heads == 0, heads == 1], dim=1).float()
    images = [uniform(2, 3, 32, 32).requires_grad_() for _ in range(3)]
    answers = ClassRoutedConv2d(2, 4, 3, 7)(uniform(2, 4, 32, 32), heads)
    classification = ClassScores(uniform(2, 2, 2), torch.ones(2, 2))
    synthesis = Synthesis(*images, uniform(2, 1, 32, 32), heads, answers, classification)
    return synthesis, masks, uniform(2, 3, 32, 32)


@pytest.fixture
def discriminator() -> MultiScaleDiscriminator:
    torch.manual_seed(0)
    return MultiScaleDiscriminator(2, width=2).eval()


class _Layers(nn.Module):
    minimum_side = 1

    def forward(self, picture: Tensor) -> list[Tensor]:
        return [picture, picture[:, :, ::2, ::2] * 2]


def test_generator_terms_by_hand(discriminator: MultiScaleDiscriminator) -> None:
    synthesis, semantics, photo = random_synthesis()
    perceptual = PerceptualLoss(_Layers(), (0.5, 1.0), LayerScale.ABSOLUTE)
    weights = LossWeights(2.0, 3.0, 5.0, 7.0, 11.0, 13.0)
    terms = generator_terms(synthesis, semantics, photo, discriminator, perceptual, weights)

    adversarial = matching = features = reconstruction = 0.0
    with torch.no_grad():
        real = discriminator(torch.cat([semantics, photo], dim=1))
        for picture in synthesis[:3]:
            fake = discriminator(torch.cat([semantics, picture], dim=1))
            adversarial += np.mean([-scale[-1].mean().item() for scale in fake])
            for fake_scale, real_scale in zip(fake, real, strict=True):
                for f, r in zip(fake_scale[:4], real_scale[:4], strict=True):
                    matching += (f - r).abs().mean().item() / 2
            difference = (picture - photo).abs()
            features += 0.5 * difference.mean().item() + 1.0 * 2 * difference[:, :, ::2, ::2].mean().item()
            reconstruction += difference.mean().item()
        assert synthesis.classification is not None
        assert synthesis.answers is not None
        pictures = to_dense(synthesis.answers)
        scores = synthesis.classification.scores.log_softmax(dim=2)
        classification = -(scores[:, 0, 0] + scores[:, 1, 1]).sum().item() / 4
        local = sum((pictures[:, c] - photo * semantics[:, c : c + 1]).abs().mean().item() for c in range(2))
    expected = {
        "adversarial": 2 * adversarial,
        "feature_matching": 3 * matching,
        "perceptual": 5 * features,
        "classification": 7 * classification,
        "local": 11 * local,
        "reconstruction": 13 * reconstruction,
    }
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(expected, rel=1e-5)


def test_published_weights() -> None:
    assert LossWeights() == LossWeights(
        adversarial=1.0, feature_matching=10.0, perceptual=10.0, classification=1.0, local=1.0, reconstruction=0.0
    )


def test_terms_without_weight_are_left_out(discriminator: MultiScaleDiscriminator) -> None:
    synthesis, semantics, photo = random_synthesis()
    perceptual = PerceptualLoss(_Layers(), (0.5, 1.0), LayerScale.ABSOLUTE)
    names = set(generator_terms(synthesis, semantics, photo, discriminator, None, LossWeights()))
    assert names == {"adversarial", "feature_matching", "classification", "local"}
    with_perceptual = generator_terms(synthesis, semantics, photo, discriminator, perceptual, LossWeights(perceptual=0))
    assert set(with_perceptual) == names


def test_real_counts_three_times(discriminator: MultiScaleDiscriminator) -> None:
    synthesis, semantics, photo = random_synthesis()
    terms = discriminator_terms(synthesis[:3], semantics, photo, discriminator)

    def hinge(picture: Tensor, sign: float) -> float:
        outputs = discriminator(torch.cat([semantics, picture], dim=1))
        return float(np.mean([(1 + sign * scale[-1]).clamp(min=0).mean().item() for scale in outputs]))

    with torch.no_grad():
        fake = sum(hinge(picture, +1) for picture in synthesis[:3])
        real = 3 * hinge(photo, -1)
    assert terms["discriminator_fake"].item() == pytest.approx(fake, rel=1e-5)
    assert terms["discriminator_real"].item() == pytest.approx(real, rel=1e-5)
    assert set(terms) == {"discriminator_fake", "discriminator_real"}


def test_the_discriminators_step_does_not_reach_the_generator(discriminator: MultiScaleDiscriminator) -> None:
    synthesis, semantics, photo = random_synthesis()
    sum(discriminator_terms(synthesis[:3], semantics, photo, discriminator).values()).backward()  # type: ignore[union-attr]
    assert all(image.grad is None for image in synthesis[:3])
    assert all(parameter.grad is not None for parameter in discriminator.parameters())


def test_the_generators_step_reaches_all_three_pictures(discriminator: MultiScaleDiscriminator) -> None:
    synthesis, semantics, photo = random_synthesis()
    sum(generator_terms(synthesis, semantics, photo, discriminator, None, LossWeights()).values()).backward()  # type: ignore[union-attr]
    assert all(image.grad is not None and image.grad.abs().sum() > 0 for image in synthesis[:3])
