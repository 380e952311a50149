"""What generator and dual discriminator minimise in cross-view translation, term by term (specification C.3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss

from lggan.losses.class_losses import local_loss
from lggan.losses.config import CrossViewLossWeights
from lggan.losses.perceptual import PerceptualLoss
from lggan.networks.generator import Synthesis


def cross_view_generator_terms(
    synthesis: Synthesis,
    conditions: Tensor,
    photo: Tensor,
    discriminator: nn.Module,
    perceptual: PerceptualLoss | None,
    weights: CrossViewLossWeights,
) -> dict[str, Tensor]:
    """Weighted terms of the generator's loss, by name; their sum is what to minimise.

    Args:
        synthesis: of the generator in training mode.
        conditions: [N, 6, H, W], what the generator saw.
        photo: the real picture of the target view [N, 3, H, W] in [-1, 1].
        discriminator: a `DualDiscriminator`, or one wrapped for several processes.
        perceptual: the loss over features of a fixed network; None leaves the term out.
    """
    pictures = (synthesis.final, synthesis.global_image, synthesis.local_image)
    verdicts = discriminator(conditions.repeat(len(pictures), 1, 1, 1), torch.cat([p.float() for p in pictures]))
    assert synthesis.answers is not None  # only the form for export leaves them out
    terms = {
        # All pictures have one size, so the mean over the three together is a third of the sum of their means.
        "adversarial": weights.adversarial * len(pictures) * _total(_verdict(v, real=True) for v in verdicts),
        "reconstruction": weights.reconstruction * _total(l1_loss(p.float(), photo) for p in pictures),
        "local": weights.local * local_loss(synthesis.answers, synthesis.heads, photo),
        "total_variation": weights.total_variation * _total(total_variation(p) for p in pictures),
    }
    if perceptual is not None and weights.perceptual:
        real_features = perceptual.features(photo)
        terms["perceptual"] = weights.perceptual * _total(perceptual.distance(p, real_features) for p in pictures)
    return terms


def cross_view_discriminator_terms(
    pictures: Sequence[Tensor], conditions: Tensor, photo: Tensor, discriminator: nn.Module
) -> dict[str, Tensor]:
    """Terms of the discriminator's loss, each verdict on a fake weighed against one on the photo, half and half.

    The photo's term counts once per kind of fake.
    """
    count, n = len(pictures), photo.shape[0]
    shown = torch.cat([*(picture.detach().float() for picture in pictures), photo])
    verdicts = discriminator(conditions.repeat(count + 1, 1, 1, 1), shown)
    fake = _total(_verdict(verdict[: count * n], real=False) for verdict in verdicts)
    real = _total(_verdict(verdict[count * n :], real=True) for verdict in verdicts)
    return {"discriminator_fake": 0.5 * count * fake, "discriminator_real": 0.5 * count * real}


def total_variation(picture: Tensor) -> Tensor:
    """Sum of |difference| over all horizontal and all vertical neighbours, channels and pictures of [N, 3, H, W]."""
    picture = picture.float()
    across = (picture[..., :, 1:] - picture[..., :, :-1]).abs().sum()
    return across + (picture[..., 1:, :] - picture[..., :-1, :]).abs().sum()


def _verdict(logits: Tensor, *, real: bool) -> Tensor:
    """Cross-entropy of the verdicts against what is claimed, averaged over patches and pictures."""
    logits = logits.float()
    return binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


def _total(values: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(values)).sum()
