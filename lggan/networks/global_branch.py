"""The global, image-level branch: a SPADE generator that starts from the encoder's deepest map (specification A.3)."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu

from lggan.config import GeneratorConfig, SauPlacement, UpsamplingDepth
from lggan.networks.spade import LEAK, SPADEResBlock
from lggan.networks.upsample import SemanticAwareUpsample


class GlobalBranch(nn.Module):
    """Seven SPADE residual blocks with a doubling between them: 5 doublings, or 6 with depth ``more``.

    Shapes: deep [N, 16 ngf, h, w] (any h, w), semantics [N, S, H, W], classes [N, H, W] or None (see
    `lggan.networks.upsample`) -> image [N, 3, H, W] in (-1, 1).
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.stride = config.stride
        widths = [16, 16, 16, 16, 8, 4, 2, 1]
        channels = [config.width_of(factor) for factor in widths]
        self.blocks = nn.ModuleList(
            SPADEResBlock(before, after, config.semantic_channels, config.spade_hidden)
            for before, after in pairwise(channels)
        )
        # No doubling between the two middle blocks at normal depth.
        doubled = (True, config.depth is UpsamplingDepth.MORE, True, True, True, True)
        self.doublings = nn.ModuleList(
            _doubling(width, config) if double else NoDoubling()
            for width, double in zip(channels[1:-1], doubled, strict=True)
        )
        self.image = nn.Conv2d(config.ngf, 3, 3, padding=1)

    def forward(self, deep: Tensor, semantics: Tensor, classes: Tensor | None = None) -> Tensor:
        grid = (semantics.shape[2] // self.stride, semantics.shape[3] // self.stride)
        x = interpolate(deep, size=grid, mode="nearest")  # [N, 16 ngf, H/stride, W/stride]
        for index, block in enumerate(self.blocks):
            x = block(x, semantics)
            if index < len(self.doublings):
                x = self.doublings[index](x, classes)
        return self.image(leaky_relu(x, LEAK)).tanh()  # [N, 3, H, W]


class NearestDoubling(nn.Module):
    """Each pixel twice in both directions, whatever its class. Shapes: [N, C, H, W] -> [N, C, 2H, 2W]."""

    def forward(self, x: Tensor, classes: Tensor | None = None) -> Tensor:
        return interpolate(x, scale_factor=2.0, mode="nearest")


class NoDoubling(nn.Module):
    """Stands where two blocks follow each other at one resolution. Shapes: [N, C, H, W] -> the same."""

    def forward(self, x: Tensor, classes: Tensor | None = None) -> Tensor:
        return x


def _doubling(channels: int, config: GeneratorConfig) -> nn.Module:
    if config.sau.placement is SauPlacement.GLOBAL:
        return SemanticAwareUpsample(channels, channels, config.sau)
    return NearestDoubling()
