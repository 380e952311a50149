"""The modules that are traced into graphs: bytes in, picture out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from export.branches import GraphOutputs
from export.rewrites.label_reading import alphabet_of
from export.target import Target
from lggan.networks.build import AnyGenerator
from lggan.networks.cross_view import CrossViewGenerator
from lggan.networks.cross_view_inputs import bytes_to_unit, lookup_tables
from lggan.networks.generator import LGGANGenerator
from lggan.networks.local_branch import head_map
from lggan.networks.semantics import encode_semantics


class LabelsToPicture(nn.Module):
    """The generator behind its one-hot encoding, so that both end up in one graph.

    Shapes: label uint8 [N, 1, H, W] (ids 0..K-1), and instance int32 [N, 1, H, W] exactly where the generator has an
    edge channel -> float [N, 3, H, W] in [-1, 1], and the branches where ``outputs`` asks for them. H and W are
    multiples of the generator's stride.
    """

    def __init__(self, generator: LGGANGenerator, outputs: GraphOutputs = GraphOutputs.IMAGE) -> None:
        super().__init__()
        self.generator = generator
        self.outputs = outputs

    def forward(self, label: Tensor, instance: Tensor | None = None) -> tuple[Tensor, ...]:
        semantics = encode_semantics(label, self.generator.config.classes, instance)  # [N, S, H, W]
        return self.outputs.of(self.generator(semantics))


class SymbolsToPicture(nn.Module):
    """The generator rewritten to read symbols (`export.rewrites.label_reading`), behind their making.

    Shapes: as of `LabelsToPicture`.
    """

    def __init__(self, generator: LGGANGenerator, outputs: GraphOutputs = GraphOutputs.IMAGE) -> None:
        super().__init__()
        self.generator = generator
        self.outputs = outputs
        self.alphabet = alphabet_of(generator)

    def forward(self, label: Tensor, instance: Tensor | None = None) -> tuple[Tensor, ...]:
        config = self.generator.config
        symbols = self.alphabet.symbols(label, instance)  # [N, 1, H, W]
        classes = self.alphabet.classes_of(symbols)[:, 0]  # [N, H, W]
        routes = head_map(classes, config.classes, config.heads)
        return self.outputs.of(self.generator.synthesise(symbols, classes, routes))


class ViewsToPicture(nn.Module):
    """The cross-view generator behind two look-ups: the colour and the group of each value that a label byte can have.

    The tables hold colours as the network reads them, in [-1, 1]: bytes stand at the very edge of the graph only,
    where TensorRT has them. Values that are no class are black and belong to no group.

    Shapes: source uint8 [N, H, W, 3], label uint8 [N, 1, H, W] -> float [N, 3, H, W], mostly in [-1, 1], and the
    branches where ``outputs`` asks for them. H and W are multiples of 4, at least 8.
    """

    colors: Tensor
    groups: Tensor

    def __init__(self, generator: CrossViewGenerator, outputs: GraphOutputs = GraphOutputs.IMAGE) -> None:
        super().__init__()
        self.generator = generator
        self.outputs = outputs
        colors, groups = lookup_tables(generator.config)
        self.register_buffer("colors", bytes_to_unit(colors))  # [256, 3]
        self.register_buffer("groups", groups.to(torch.int32))  # [256]

    def forward(self, source: Tensor, label: Tensor) -> tuple[Tensor, ...]:
        photo = bytes_to_unit(source)  # [N, H, W, 3]
        ids = label.to(torch.int32)[:, 0]  # [N, H, W]
        painted = embedding(ids, self.colors)  # [N, H, W, 3]
        conditions = torch.cat([photo, painted], dim=3).permute(0, 3, 1, 2)  # [N, 6, H, W]
        groups = embedding(ids, self.groups.unsqueeze(1)).permute(0, 3, 1, 2)  # [N, 1, H, W]
        return self.outputs.of(self.generator(conditions, groups))


PictureGraph = LabelsToPicture | SymbolsToPicture | ViewsToPicture


def picture_graph(generator: AnyGenerator, target: Target, outputs: GraphOutputs = GraphOutputs.IMAGE) -> PictureGraph:
    """A rewritten generator (`export.rewrites.plan`) with its inputs' encoding in front, as task and target want it."""
    if isinstance(generator, CrossViewGenerator):
        return ViewsToPicture(generator, outputs)
    return SymbolsToPicture(generator, outputs) if target is Target.CPU else LabelsToPicture(generator, outputs)
