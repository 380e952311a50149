"""The conditional multi-scale patch discriminator (specification A.8)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, instance_norm, leaky_relu
from torch.nn.utils.parametrizations import spectral_norm

LEAK = 0.2
LAYERS = 5


class PatchDiscriminator(nn.Module):
    """Five 4x4 convolutions; three in the middle with spectral and instance normalisation.

    Shapes: [N, in_channels, H, W] -> the five outputs, the last [N, 1, h, w] being the verdict per patch.
    """

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, width, 4, stride=2, padding=2)
        self.middle = nn.ModuleList(
            spectral_norm(nn.Conv2d(before * width, after * width, 4, stride=stride, padding=2, bias=False))
            for before, after, stride in ((1, 2, 2), (2, 4, 2), (4, 8, 1))
        )
        self.last = nn.Conv2d(8 * width, 1, 4, stride=1, padding=2)

    def forward(self, x: Tensor) -> list[Tensor]:
        outputs = [leaky_relu(self.first(x), LEAK)]
        for conv in self.middle:
            outputs.append(leaky_relu(instance_norm(conv(outputs[-1])), LEAK))
        outputs.append(self.last(outputs[-1]))
        return outputs


class MultiScaleDiscriminator(nn.Module):
    """Patch discriminators on the picture and on its half-size copy, each with weights of its own.

    The input is the label map's channels and the picture, concatenated: what the paper calls the semantic-guided
    discriminator.

    Shapes: [N, S + 3, H, W] -> per scale the five outputs of `PatchDiscriminator`.
    """

    def __init__(self, semantic_channels: int, width: int = 64, scales: int = 2) -> None:
        super().__init__()
        self.scales = nn.ModuleList(PatchDiscriminator(semantic_channels + 3, width) for _ in range(scales))

    def forward(self, pair: Tensor) -> list[list[Tensor]]:
        outputs = []
        for index, scale in enumerate(self.scales):
            if index:
                pair = avg_pool2d(pair, 3, stride=2, padding=1, count_include_pad=False)
            outputs.append(scale(pair))
        return outputs
