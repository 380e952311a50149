"""The modules that are traced into graphs: bytes in, picture out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from lggan.networks.build import AnyGenerator
from lggan.networks.cross_view import CrossViewGenerator
from lggan.networks.cross_view_inputs import bytes_to_unit, lookup_tables
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


class ViewsToPicture(nn.Module):
    """The cross-view generator behind two look-ups: the colour and the group of each value that a label byte can have.

    The tables hold colours as the network reads them, in [-1, 1]: bytes stand at the very edge of the graph only,
    where TensorRT has them. Values that are no class are black and belong to no group.

    Shapes: source uint8 [N, H, W, 3], label uint8 [N, 1, H, W] -> float [N, 3, H, W], mostly in [-1, 1]. H and W are
    multiples of 4, at least 8.
    """

    colors: Tensor
    groups: Tensor

    def __init__(self, generator: CrossViewGenerator) -> None:
        super().__init__()
        self.generator = generator
        colors, groups = lookup_tables(generator.config)
        self.register_buffer("colors", bytes_to_unit(colors))  # [256, 3]
        self.register_buffer("groups", groups.to(torch.int32))  # [256]

    def forward(self, source: Tensor, label: Tensor) -> Tensor:
        photo = bytes_to_unit(source)  # [N, H, W, 3]
        ids = label.to(torch.int32)[:, 0]  # [N, H, W]
        painted = embedding(ids, self.colors)  # [N, H, W, 3]
        conditions = torch.cat([photo, painted], dim=3).permute(0, 3, 1, 2)  # [N, 6, H, W]
        groups = embedding(ids, self.groups.unsqueeze(1)).permute(0, 3, 1, 2)  # [N, 1, H, W]
        return self.generator(conditions, groups).final


PictureGraph = LabelsToPicture | ViewsToPicture


def picture_graph(generator: AnyGenerator) -> PictureGraph:
    """The generator with its inputs' encoding in front, as its task wants it."""
    return ViewsToPicture(generator) if isinstance(generator, CrossViewGenerator) else LabelsToPicture(generator)
