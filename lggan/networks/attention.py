"""Weight maps that fuse the global and the local picture (specification A.6)."""

from __future__ import annotations

from torch import Tensor, nn

from lggan.config import GeneratorConfig
from lggan.networks.decoder import Decoder


class AttentionFusion(nn.Module):
    """Predicts, per pixel, how much of the local and how much of the global picture to take; the two add to one.

    Shapes: quarter [N, 4 ngf, H/4, W/4] -> weight of the local picture [N, 1, H, W] in (0, 1).
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.decoder = Decoder(config)
        self.weights = nn.Conv2d(config.ngf, 2, 1)

    def forward(self, quarter: Tensor) -> Tensor:
        weights = self.weights(self.decoder(quarter)).softmax(dim=1)  # [N, 2, H, W]: local, global
        return weights[:, :1]


def fuse(local: Tensor, overall: Tensor, local_weight: Tensor) -> Tensor:
    """``w * local + (1 - w) * global``; images [N, 3, H, W], weight [N, 1, H, W]."""
    return overall + local_weight * (local - overall)
