"""The two losses of the local branch: class-feature classification and the masked L1."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lggan.networks.classification import ClassScores


def classification_loss(classification: ClassScores) -> Tensor:
    """Cross-entropy of each present class's score against its own index, averaged over the classes present.

    Absent classes weigh zero; a batch without any scored class gives zero.
    """
    scores, present = classification
    n, heads, _ = scores.shape
    target = torch.arange(heads, device=scores.device).expand(n, heads)
    each = cross_entropy(scores.float().flatten(0, 1), target.reshape(-1), reduction="none")  # [N * heads]
    weight = present.float().reshape(-1)
    return (each * weight).sum() / weight.sum().clamp(min=1.0)


def local_loss(per_class: Tensor, photo: Tensor, masks: Tensor) -> Tensor:
    """Sum over the heads of ``mean |r_c - photo * m_c|``, each mean over all pixels of the batch.

    Shapes: per_class [N, heads, 3, H, W], photo [N, 3, H, W], masks [N, heads, H, W].
    """
    target = photo.unsqueeze(1) * masks.unsqueeze(2)  # [N, heads, 3, H, W]
    return (per_class.float() - target.float()).abs().mean(dim=(0, 2, 3, 4)).sum()
