"""The two losses of the local branch: class-feature classification and the masked L1."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lggan.networks.classification import ClassScores
from lggan.networks.head_answers import HeadAnswers


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


def local_loss(answers: HeadAnswers, heads: Tensor, photo: Tensor) -> Tensor:
    """Sum over the heads of ``mean |r_c - photo * m_c|``, each mean over all pixels of the batch.

    A head is to paint the photo on its class's pixels and zero elsewhere. Evaluated on the pairs of pixel and head that
    ``answers`` lists; for all others the head's constant stands in (specification F.4.6).

    Shapes: heads int64 [N, H, W], photo [N, 3, H, W] -> scalar, float32 at least.
    """
    pixels = heads.numel()
    places = answers.places()  # [J]
    painted = photo.permute(0, 2, 3, 1).reshape(pixels, -1)[places]  # [J, 3]
    own = heads.flatten()[places] == answers.head  # [J]
    exact = torch.promote_types(answers.values.dtype, torch.float32)
    listed = (answers.values.to(exact) - painted.to(exact) * own.unsqueeze(1)).abs().sum()
    elsewhere = torch.full((answers.constant.shape[0],), pixels)  # [K], pixels that a head is not listed with
    elsewhere.index_add_(0, *answers.blocks.unbind(dim=1), alpha=-1)
    constants = answers.constant.to(exact).abs().sum(dim=1)  # [K]
    rest = (elsewhere.to(constants) * constants).sum()
    return (listed + rest) / (pixels * photo.shape[1])
