"""The module that is traced into the graph: label bytes in, picture out."""

from __future__ import annotations

from torch import Tensor, nn

from lggan.networks.generator import LGGANGenerator
from lggan.networks.semantics import encode_semantics


class LabelsToPicture(nn.Module):
    """The generator behind its one-hot encoding, so that both end up in one graph.

    Shapes: label uint8 [N, 1, H, W] (ids 0..K-1), and instance int32 [N, 1, H, W] exactly where the generator has an
    edge channel -> float [N, 3, H, W] in [-1, 1]. H and W are multiples of the generator's stride.
    """

    def __init__(self, generator: LGGANGenerator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, label: Tensor, instance: Tensor | None = None) -> Tensor:
        semantics = encode_semantics(label, self.generator.config.classes, instance)  # [N, S, H, W]
        return self.generator(semantics).final
