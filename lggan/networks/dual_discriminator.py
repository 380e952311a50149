"""The dual discriminator of cross-view translation (specification A.8)."""

from __future__ import annotations

from torch import Tensor, cat, nn
from torch.nn.functional import instance_norm, leaky_relu

from lggan.networks.discriminator import LEAK

VIEW_CHANNELS = 6  # a condition and a picture, three channels each


class ViewDiscriminator(nn.Module):
    """Five 4x4 convolutions, instance normalisation in the middle three.

    The verdicts are logits: the published network's sigmoid is part of the loss here, where it is computed safely in
    any precision.

    Shapes: [N, 6, H, W] -> [N, 1, H/8 - 2, W/8 - 2], each verdict on a patch of 70 x 70 pixels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(VIEW_CHANNELS, width, 4, stride=2, padding=1)
        self.middle = nn.ModuleList(
            nn.Conv2d(before * width, after * width, 4, stride=stride, padding=1)
            for before, after, stride in ((1, 2, 2), (2, 4, 2), (4, 8, 1))
        )
        self.last = nn.Conv2d(8 * width, 1, 4, stride=1, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = leaky_relu(self.first(x), LEAK)  # [N, width, H/2, W/2]
        for conv in self.middle:
            x = leaky_relu(instance_norm(conv(x)), LEAK)
        return self.last(x)


class DualDiscriminator(nn.Module):
    """Two judges of the same picture: one beside the source photo, one beside the target's label map.

    Shapes: conditions [N, 6, H, W] (photo, painted label map), picture [N, 3, H, W] -> the two verdicts, logits
    [N, 1, h, w].
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.beside_source = ViewDiscriminator(width)
        self.beside_semantics = ViewDiscriminator(width)

    def forward(self, conditions: Tensor, picture: Tensor) -> tuple[Tensor, Tensor]:
        source, semantics = conditions[:, :3], conditions[:, 3:]
        picture = picture.to(conditions.dtype)
        first = self.beside_source(_beside(source, picture))
        return first, self.beside_semantics(_beside(semantics, picture))


def _beside(condition: Tensor, picture: Tensor) -> Tensor:
    return cat([condition, picture], dim=1)  # [N, 6, H, W]
