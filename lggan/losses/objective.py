"""What the generator and the discriminator minimise, term by term (specification C.1)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import l1_loss

from lggan.losses.adversarial import discriminator_hinge, feature_matching, generator_hinge, rows
from lggan.losses.class_losses import classification_loss, local_loss
from lggan.losses.config import LossWeights
from lggan.losses.perceptual import PerceptualLoss
from lggan.networks.generator import Synthesis

Discriminate = Callable[[Tensor], list[list[Tensor]]]


def generator_terms(
    synthesis: Synthesis,
    semantics: Tensor,
    photo: Tensor,
    discriminate: Discriminate,
    perceptual: PerceptualLoss | None,
    weights: LossWeights,
) -> dict[str, Tensor]:
    """Weighted terms of the generator's loss, by name; their sum is what to minimise.

    The three pictures and the photo pass the discriminator as one batch, as in the published training.

    Args:
        synthesis: of the generator in training mode.
        semantics: [N, S, H, W].
        photo: the real picture [N, 3, H, W] in [-1, 1].
        discriminate: maps [M, S + 3, H, W] to the discriminator's outputs.
        perceptual: the loss over features of a fixed network; None leaves the term out.
    """
    pictures = (synthesis.final, synthesis.global_image, synthesis.local_image)
    outputs = discriminate(_pairs(semantics, (*pictures, photo)))
    assert synthesis.answers is not None  # only the dense form of the heads, for the export, leaves them out
    assert synthesis.classification is not None
    n = photo.shape[0]
    real = rows(outputs, 3 * n, 4 * n)
    fakes = [rows(outputs, index * n, (index + 1) * n) for index in range(3)]

    terms = {
        "adversarial": weights.adversarial * _total(generator_hinge(fake) for fake in fakes),
        "feature_matching": weights.feature_matching * _total(feature_matching(fake, real) for fake in fakes),
        "classification": weights.classification * classification_loss(synthesis.classification),
        "local": weights.local * local_loss(synthesis.answers, synthesis.heads, photo),
    }
    if perceptual is not None and weights.perceptual:
        real_features = perceptual.features(photo)
        terms["perceptual"] = weights.perceptual * _total(perceptual.distance(p, real_features) for p in pictures)
    if weights.reconstruction:
        terms["reconstruction"] = weights.reconstruction * _total(l1_loss(p.float(), photo) for p in pictures)
    return terms


def discriminator_terms(
    pictures: tuple[Tensor, Tensor, Tensor], semantics: Tensor, photo: Tensor, discriminate: Discriminate
) -> dict[str, Tensor]:
    """Terms of the discriminator's loss; the real term counts three times, once per kind of fake."""
    outputs = discriminate(_pairs(semantics, (*(picture.detach() for picture in pictures), photo)))
    n = photo.shape[0]
    fake = _total(discriminator_hinge(rows(outputs, i * n, (i + 1) * n), real=False) for i in range(3))
    real = 3 * discriminator_hinge(rows(outputs, 3 * n, 4 * n), real=True)
    return {"discriminator_fake": fake, "discriminator_real": real}


def _pairs(semantics: Tensor, pictures: tuple[Tensor, ...]) -> Tensor:
    """Every picture beside the label map: [len(pictures) * N, S + 3, H, W]."""
    return torch.cat([torch.cat([semantics, picture.to(semantics.dtype)], dim=1) for picture in pictures], dim=0)


def _total(values: object) -> Tensor:
    return torch.stack(list(values)).sum()  # type: ignore[call-overload]
