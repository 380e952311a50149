"""Spatially-adaptive normalisation and the residual block made of it (specification A.3)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu, relu

LEAK = 0.2


class SPADE(nn.Module):
    """Batch normalisation without affine parameters, modulated per pixel by the label map.

    ``bn(x) * (1 + gamma) + beta`` with gamma and beta convolved from the label map, which is brought to the size of x
    by nearest neighbour. The statistics are BatchNorm's: of the batch in training, running ones otherwise.

    Shapes: x [N, C, H, W], semantics [N, S, H', W'] -> [N, C, H, W].
    """

    def __init__(self, channels: int, semantic_channels: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1, affine=False)
        self.shared = nn.Conv2d(semantic_channels, hidden, 3, padding=1)
        self.gamma = nn.Conv2d(hidden, channels, 3, padding=1)
        self.beta = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, x: Tensor, semantics: Tensor) -> Tensor:
        layout = interpolate(semantics, size=x.shape[2:], mode="nearest")  # [N, S, H, W]
        hidden = relu(self.shared(layout))  # [N, hidden, H, W]
        return self.norm(x) * (1 + self.gamma(hidden)) + self.beta(hidden)


class SPADEResBlock(nn.Module):
    """Two SPADE-normalised 3x3 convolutions around a shortcut; the shortcut is learned where the width changes.

    Shapes: [N, in_channels, H, W] -> [N, out_channels, H, W].
    """

    def __init__(self, in_channels: int, out_channels: int, semantic_channels: int, hidden: int) -> None:
        super().__init__()
        middle = min(in_channels, out_channels)
        self.norm_0 = SPADE(in_channels, semantic_channels, hidden)
        self.conv_0 = nn.Conv2d(in_channels, middle, 3, padding=1)
        self.norm_1 = SPADE(middle, semantic_channels, hidden)
        self.conv_1 = nn.Conv2d(middle, out_channels, 3, padding=1)
        learned = in_channels != out_channels
        self.norm_s = SPADE(in_channels, semantic_channels, hidden) if learned else None
        self.conv_s = nn.Conv2d(in_channels, out_channels, 1, bias=False) if learned else None

    def forward(self, x: Tensor, semantics: Tensor) -> Tensor:
        shortcut = x
        if self.norm_s is not None and self.conv_s is not None:
            shortcut = self.conv_s(self.norm_s(x, semantics))  # no activation on the shortcut
        residual = self.conv_0(leaky_relu(self.norm_0(x, semantics), LEAK))
        residual = self.conv_1(leaky_relu(self.norm_1(residual, semantics), LEAK))
        return shortcut + residual


def spectrally_normalised(block: SPADEResBlock) -> list[nn.Module]:
    """The convolutions of a block that spectral normalisation applies to in training."""
    return [conv for conv in (block.conv_0, block.conv_1, block.conv_s) if conv is not None]
