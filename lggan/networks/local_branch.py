"""The local, class-specific branch (specification A.4)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import instance_norm, pad, relu

from lggan.config import GeneratorConfig
from lggan.networks.class_routed import ClassRoutedConv2d, HeadForm
from lggan.networks.decoder import Decoder
from lggan.networks.head_answers import HeadAnswers
from lggan.networks.head_fusion import fused_heads


class LocalSynthesis(NamedTuple):
    """``image`` [N, 3, H, W] in (-1, 1); ``feature`` [N, ngf, H, W]; ``answers`` of the heads, None in dense form."""

    image: Tensor
    feature: Tensor
    answers: HeadAnswers | None


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

    Shapes: quarter [N, 4 ngf, H/4, W/4], heads int64 [N, H, W] (0..K-1, K for none), classes int64 [N, H, W] or None
    (see `lggan.networks.upsample`) -> `LocalSynthesis`. The dense form reads masks [N, K, H, W] of zeros and ones in
    place of heads.

    Attributes:
        form: see `HeadForm`.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.form = HeadForm.ROUTED
        self.tower = nn.Sequential(*(ResidualBlock(4 * config.ngf) for _ in range(config.residual_blocks)))
        self.decoder = Decoder(config.ngf, config.sau)
        self.heads = ClassRoutedConv2d(config.heads, config.ngf, 3, kernel=7)
        self.fuse = nn.Conv2d(3 * config.heads, 3, 3, padding=1)

    def forward(self, quarter: Tensor, heads: Tensor, classes: Tensor | None = None) -> LocalSynthesis:
        feature = self.decoder(self.tower(quarter), classes)  # [N, ngf, H, W]
        if self.form is HeadForm.DENSE:
            pictures = self.heads.dense(feature, heads).tanh()  # [N, K, 3, H, W]
            return LocalSynthesis(self.fuse(pictures.flatten(1, 2)).tanh(), feature, None)
        answers = self.heads(feature, heads)
        assert self.fuse.bias is not None
        image = fused_heads(answers, self.fuse.weight, self.fuse.bias).tanh()  # [N, 3, H, W]
        return LocalSynthesis(image, feature, answers)


def class_map(semantics: Tensor, classes: int) -> Tensor:
    """The class of each pixel, int64 [N, H, W]: 0..classes-1, or ``classes`` where it belongs to none.

    Args:
        semantics: [N, S, H, W], one-hot or all zero in its first ``classes`` channels.
    """
    ids = torch.arange(1, classes + 1, device=semantics.device).view(1, classes, 1, 1)
    plus_one = (semantics[:, :classes] * ids).sum(dim=1).long()  # an order of magnitude faster than argmax on a CPU
    return torch.where(plus_one > 0, plus_one - 1, classes)


def head_map(classes: Tensor, count: int, heads: int) -> Tensor:
    """Which head serves each pixel: that of its class; the last one takes all classes beyond the first heads.

    Args:
        classes: class map of ``count`` classes, ``count`` for none.

    Returns:
        int64 [N, H, W], 0..heads-1, or ``heads`` for none.
    """
    if heads == count:
        return classes
    return torch.where(classes < count, classes.clamp(max=heads - 1), heads)


def head_masks(semantics: Tensor, classes: int, heads: int) -> Tensor:
    """`head_map` as masks: the one-hot channels, those of a merged last head added up.

    Args:
        semantics: [N, S, H, W], one-hot in its first ``classes`` channels.

    Returns:
        [N, heads, H, W].
    """
    if heads == classes:
        return semantics[:, :classes]
    rest = semantics[:, heads - 1 : classes].sum(dim=1, keepdim=True)  # [N, 1, H, W]
    return torch.cat([semantics[:, : heads - 1], rest], dim=1)
