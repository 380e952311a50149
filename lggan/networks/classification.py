"""Class-feature classification (specification A.5): in training, each class's features must tell the class."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class ClassScores(NamedTuple):
    """``scores`` [N, heads, heads], row c scores class c's features; ``present`` [N, heads] of zeros and ones."""

    scores: Tensor
    present: Tensor


class ClassFeatureClassifier(nn.Module):
    """Scores the mean of each class's masked features with one linear layer.

    The mean runs over all pixels of the picture, not over the class's own, so that it grows with the class's area.

    Shapes: feature [N, C, H, W], heads int64 [N, H, W] of ids not below 0; those beyond the scored heads count for
    none -> `ClassScores`.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, heads)

    def forward(self, feature: Tensor, heads: Tensor) -> ClassScores:
        n, channels, height, width = feature.shape
        scored = self.linear.out_features
        bins = n * (scored + 1)  # the last of each picture takes what is not scored
        first = torch.arange(0, bins, scored + 1, device=heads.device).view(n, 1, 1)
        places = (heads.clamp(max=scored) + first).flatten()  # [N * H * W]
        # Half precision would sum a large class up to infinity.
        exact = torch.promote_types(feature.dtype, torch.float32)
        lines = feature.permute(0, 2, 3, 1).reshape(-1, channels).to(exact)  # [N * H * W, C]
        summed = lines.new_zeros(bins, channels).index_add_(0, places, lines)
        pooled = summed.view(n, scored + 1, channels)[:, :scored] / (height * width)  # [N, heads, C]
        present = lines.new_zeros(bins).index_fill_(0, places, 1.0).view(n, scored + 1)[:, :scored]
        return ClassScores(self.linear(pooled.to(self.linear.weight.dtype)), present)
