"""What the class-specific heads answer, kept only where it is not a constant (specification F.4)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lggan.networks.uncompiled import uncompiled


class HeadAnswers(NamedTuple):
    """Pictures of K heads in sparse form.

    A head whose class lies outside a pixel's kernel window sees nothing but zeros there and answers with a constant of
    its own. Hence its picture is that constant but for J listed pairs of pixel and head.

    Attributes:
        values: [J, out] in (-1, 1), the answer of each pair, tanh applied.
        image: int64 [J], which picture of the batch.
        pixel: int64 [J], y * W + x.
        head: int64 [J], 0..K-1. Pairs are sorted by image, then head, then pixel; none occurs twice.
        constant: [K, out] in (-1, 1), the answer everywhere else.
        size: (N, H, W).
        blocks: int64 [S, 2], always on the CPU: head and length of the S runs of pairs of one image and head.
    """

    values: Tensor
    image: Tensor
    pixel: Tensor
    head: Tensor
    constant: Tensor
    size: tuple[int, int, int]
    blocks: Tensor

    def places(self) -> Tensor:
        """int64 [J], where in the flattened pixels of the batch, [N * H * W], each pair stands."""
        return self.image * (self.size[1] * self.size[2]) + self.pixel

    def by_block(self) -> list[tuple[int, Tensor, Tensor]]:
        """Each block's head and its parts of ``places()`` and ``values``; one empty block where there is no pair."""
        heads, lengths = self.blocks.T.tolist() if len(self.blocks) else ([0], [0])
        return list(zip(heads, self.places().split(lengths), self.values.split(lengths), strict=True))


@uncompiled
def sum_of_heads(answers: HeadAnswers) -> Tensor:
    """The sum of all heads' pictures [N, out, H, W]; differentiable, of the type of ``values``."""
    n, height, width = answers.size
    beyond = answers.values - answers.constant.index_select(0, answers.head)  # [J, out]
    base = answers.constant.sum(dim=0).expand(n * height * width, -1)  # [N * H * W, out]
    total = base.index_add(0, answers.places(), beyond)
    return total.view(n, height, width, -1).permute(0, 3, 1, 2)


def to_dense(answers: HeadAnswers) -> Tensor:
    """Every head's picture in full: [N, K, out, H, W]."""
    n, height, width = answers.size
    heads, out = answers.constant.shape
    full = answers.constant.view(1, heads, out, 1).expand(n, -1, -1, height * width).permute(0, 1, 3, 2)
    place = (answers.image, answers.head, answers.pixel)
    full = torch.index_put(full, place, answers.values)  # [N, K, H * W, out]
    return full.permute(0, 1, 3, 2).reshape(n, heads, out, height, width)
