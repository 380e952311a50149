"""Class-feature classification (specification A.5): in training, each class's features must tell the class."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

_SCALE = 256.0


class ClassScores(NamedTuple):
    """``scores`` [N, heads, heads], row c scores class c's features; ``present`` [N, heads] of zeros and ones."""

    scores: Tensor
    present: Tensor


class ClassFeatureClassifier(nn.Module):
    """Scores the mean of each class's masked features with one linear layer.

    The mean runs over all pixels of the picture, not over the class's own, so that it grows with the class's area.

    Shapes: feature [N, C, H, W], masks [N, heads, H, W] -> `ClassScores`.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, heads)

    def forward(self, feature: Tensor, masks: Tensor) -> ClassScores:
        pixels = feature.shape[2] * feature.shape[3]
        # A sum per class over flattened pixels; no masked copies of the feature map. In half precision a large class
        # would sum up to infinity, hence the (exact) division by a power of two before it.
        summed = torch.einsum("nkp,ncp->nkc", masks.flatten(2), feature.flatten(2) / _SCALE)  # [N, heads, C]
        pooled = summed * (_SCALE / pixels)
        present = (masks.amax(dim=(2, 3)) > 0).to(feature.dtype)  # [N, heads]
        return ClassScores(self.linear(pooled), present)
