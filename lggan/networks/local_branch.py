"""The local, class-specific branch (specification A.4)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import instance_norm, pad, relu

from lggan.config import GeneratorConfig
from lggan.networks.class_routed import ClassRoutedConv2d
from lggan.networks.decoder import Decoder


class LocalSynthesis(NamedTuple):
    """``image`` [N, 3, H, W]; ``feature`` [N, ngf, H, W]; ``per_class`` [N, heads, 3, H, W] in (-1, 1)."""

    image: Tensor
    feature: Tensor
    per_class: Tensor


class ResidualBlock(nn.Module):
    """Two reflect-padded 3x3 convolutions with instance normalisation, ReLU between them, none after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3)
        self.conv2 = nn.Conv2d(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        inner = relu(instance_norm(self.conv1(pad(x, (1, 1, 1, 1), mode="reflect"))))
        return x + instance_norm(self.conv2(pad(inner, (1, 1, 1, 1), mode="reflect")))


class LocalBranch(nn.Module):
    """Residual tower, decoder, one sub-generator per class on the features of its class, and their fusion.

    Shapes: quarter [N, 4 ngf, H/4, W/4], masks [N, heads, H, W] -> `LocalSynthesis`.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.tower = nn.Sequential(*(ResidualBlock(4 * config.ngf) for _ in range(config.residual_blocks)))
        self.decoder = Decoder(config)
        self.heads = ClassRoutedConv2d(config.heads, config.ngf, 3, kernel=7)
        self.fuse = nn.Conv2d(3 * config.heads, 3, 3, padding=1)

    def forward(self, quarter: Tensor, masks: Tensor) -> LocalSynthesis:
        feature = self.decoder(self.tower(quarter))  # [N, ngf, H, W]
        per_class = self.heads(feature, masks).tanh()  # [N, heads, 3, H, W]
        image = self.fuse(per_class.flatten(1, 2)).tanh()  # [N, 3, H, W]
        return LocalSynthesis(image, feature, per_class)


def head_masks(semantics: Tensor, classes: int, heads: int) -> Tensor:
    """Which head serves which pixel: the one-hot channels; the last head takes all classes beyond the first heads.

    Args:
        semantics: [N, S, H, W], one-hot in its first ``classes`` channels.

    Returns:
        [N, heads, H, W].
    """
    if heads == classes:
        return semantics[:, :classes]
    rest = semantics[:, heads - 1 : classes].sum(dim=1, keepdim=True)  # [N, 1, H, W]
    return torch.cat([semantics[:, : heads - 1], rest], dim=1)
