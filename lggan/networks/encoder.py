"""The encoder that all branches share (specification A.2)."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.functional import instance_norm, relu

from lggan.config import GeneratorConfig, SauPlacement
from lggan.networks.upsample import SemanticAwareUpsample


class Encoding(NamedTuple):
    """``quarter``: [N, 4 ngf, H/4, W/4] (H/2, W/2 with SAU in the encoder); ``deep``: [N, 16 ngf, 1/4 of that]."""

    quarter: Tensor
    deep: Tensor


class Encoder(nn.Module):
    """Five convolutions with instance normalisation; the third's output feeds the local and attention branches.

    Shapes: semantics [N, S, H, W], classes [N, H, W] or None (see `lggan.networks.upsample`) -> `Encoding`.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        width = config.ngf
        self.conv1 = nn.Conv2d(config.semantic_channels, width, 7, padding=3, padding_mode="reflect")
        self.conv2 = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.conv3 = nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1)
        self.conv4 = nn.Conv2d(4 * width, config.width_of(8), 3, stride=2, padding=1)
        self.conv5 = nn.Conv2d(config.width_of(8), config.width_of(16), 3, stride=2, padding=1)
        self.upsample = (
            SemanticAwareUpsample(4 * width, 4 * width, config.sau)
            if config.sau.placement is SauPlacement.ENCODER
            else None
        )

    def forward(self, semantics: Tensor, classes: Tensor | None = None) -> Encoding:
        x = relu(instance_norm(self.conv1(semantics)))  # [N, ngf, H, W]
        x = relu(instance_norm(self.conv2(x)))  # [N, 2 ngf, H/2, W/2]
        quarter = relu(instance_norm(self.conv3(x)))  # [N, 4 ngf, H/4, W/4]
        if self.upsample is not None:
            quarter = self.upsample(quarter, classes)  # [N, 4 ngf, H/2, W/2]
        deep = relu(instance_norm(self.conv4(quarter)))  # [N, 8 ngf, H/8, W/8]
        deep = relu(instance_norm(self.conv5(deep)))  # [N, 16 ngf, H/16, W/16]
        return Encoding(quarter, deep)
