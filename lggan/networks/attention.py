"""Weight maps that fuse the global and the local picture (specification A.6)."""

from __future__ import annotations

from torch import Tensor, nn

from lggan.config import SauConfig
from lggan.networks.decoder import Decoder


class AttentionFusion(nn.Module):
    """Predicts, per pixel, how much of the local and how much of the global picture to take; the two add to one.

    Shapes: quarter [N, 4 width, H/4, W/4], classes [N, H, W] or None (see `lggan.networks.upsample`) -> weight of the
    local picture [N, 1, H, W] in (0, 1).
    """

    def __init__(self, width: int, sau: SauConfig) -> None:
        super().__init__()
        self.decoder = Decoder(width, sau)
        self.weights = nn.Conv2d(width, 2, 1)

    def forward(self, quarter: Tensor, classes: Tensor | None = None) -> Tensor:
        weights = self.weights(self.decoder(quarter, classes)).softmax(dim=1)  # [N, 2, H, W]: local, global
        return weights[:, :1]


def fuse(local: Tensor, overall: Tensor, local_weight: Tensor) -> Tensor:
    """``w * local + (1 - w) * global``; images [N, 3, H, W], weight [N, 1, H, W]."""
    return overall + local_weight * (local - overall)
