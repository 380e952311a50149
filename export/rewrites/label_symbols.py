"""The label map and its instance edges as one map of small whole numbers.

The networks read a one-hot map, with the instance edges as one channel more: K + 1 floats per pixel that say no more
than one number does. With e the edge (0 or 1) and c the class, K where the pixel belongs to none, the symbol is

    s = 2 c + e   (with edges),   s = c   (without)

A convolution of the one-hot map is then a sum of table look-ups, one per tap: entry s of the table is the tap's weight
column of class c (zeros where c = K), plus e times the column of the edge channel. Taps outside a zero-padded picture
see zeros too, but are a symbol of their own: what is computed from the label map has zeros there in turn, and not what
it has where no class is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lggan.networks.semantics import instance_edges


@dataclass(frozen=True)
class Alphabet:
    """Which symbols there are: K classes and none, with or without edges, and what is outside of the picture."""

    classes: int
    edges: bool

    @property
    def outside(self) -> int:
        """The symbol of places outside of the picture: the last one."""
        return (self.classes + 1) * (2 if self.edges else 1)

    @property
    def size(self) -> int:
        """Number of symbols."""
        return self.outside + 1

    def symbols(self, label: Tensor, instance: Tensor | None) -> Tensor:
        """Symbols int64 [N, 1, H, W] of label [N, 1, H, W] and, with edges, instance [N, 1, H, W], any integer type.

        Ids that are no class count as none.
        """
        ids = label.to(torch.int64)
        ids = torch.where((ids >= 0) & (ids < self.classes), ids, self.classes)
        if not self.edges:
            return ids
        assert instance is not None, "a network with an edge channel needs instances"
        return 2 * ids + instance_edges(instance).to(torch.int64)

    def classes_of(self, symbols: Tensor) -> Tensor:
        """The class of each symbol, 0..K-1, or K for none."""
        return symbols // 2 if self.edges else symbols

    def table(self, weight: Tensor) -> Tensor:
        """Look-up tables of a convolution's taps.

        Args:
            weight: [M, S, k, k] of a convolution over the one-hot map with its edge channel; S = K (+ 1).

        Returns:
            [k k, A, M] of the same type, A the alphabet's size: what a symbol adds to the M outputs at a tap.
        """
        maps, _, k, _ = weight.shape
        taps = weight.permute(2, 3, 1, 0).reshape(k * k, -1, maps)  # [k k, S, M]
        nothing = taps.new_zeros(k * k, 1, maps)
        rows = torch.cat([taps[:, : self.classes], nothing], dim=1)  # [k k, K + 1, M]
        if self.edges:
            edge = taps[:, self.classes :]  # [k k, 1, M]
            rows = torch.stack([rows, rows + edge], dim=2).flatten(1, 2)  # [k k, 2 (K + 1), M]
        return torch.cat([rows, nothing], dim=1).contiguous()
