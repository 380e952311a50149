"""Head maps that bring the sparse evaluation of the class heads into every corner, and the bank in dense form."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lggan.networks.class_routed import ClassRoutedConv2d

HEADS = 6  # of which the maps leave out at least one, but for the noise


def head_maps() -> dict[str, Tensor]:
    """int64 [N, H, W] of 0..HEADS-1, or HEADS for no head, by name."""
    draw = torch.Generator().manual_seed(3)
    borders = torch.full((1, 12, 10), 0)
    borders[:, 0], borders[:, -1], borders[:, :, 0], borders[:, :, -1] = 1, 2, 3, 4
    corners = torch.full((1, 9, 11), 4)
    for index, (y, x) in enumerate([(0, 0), (0, -1), (-1, 0), (-1, -1)]):
        corners[0, y, x] = index  # a class of one pixel, seen up to four times in the reflected margin
    dots = torch.full((1, 14, 13), HEADS)
    dots[0, 1, 2], dots[0, 7, 6], dots[0, 12, 5], dots[0, 3, 11] = 2, 2, 0, 5
    blocks = torch.randint(0, HEADS - 1, (3, 4, 5), generator=draw).repeat_interleave(4, 1).repeat_interleave(3, 2)
    blocks[0][blocks[0] == 0] = HEADS  # each picture with classes of its own
    blocks[1] = 1
    blocks[2][blocks[2] < 3] = 3
    return {
        "borders": borders,
        "corners": corners,
        "dots on void": dots,
        "blocks": blocks,
        "noise": torch.randint(0, HEADS + 1, (2, 10, 9), generator=draw),
        "smallest": torch.randint(0, 3, (2, 4, 4), generator=draw),
        "flat": torch.randint(0, 3, (1, 4, 17), generator=draw),
        "narrow": torch.randint(0, 3, (1, 17, 4), generator=draw),
        "one class": torch.full((2, 8, 8), 3),
        "void beside a picture": torch.stack([torch.full((8, 9), HEADS), torch.arange(72).view(8, 9) // 30]),
        "void": torch.full((2, 6, 7), HEADS),
    }


def one_hot(heads: Tensor, count: int = HEADS) -> Tensor:
    """Masks, float64 [N, count, H, W]."""
    return torch.stack([heads == head for head in range(count)], dim=1).double()


def random_bank(heads: int = HEADS, channels: int = 2, kernel: int = 7) -> ClassRoutedConv2d:
    """A bank in float64 with weights and biases of note."""
    torch.manual_seed(heads + kernel)
    bank = ClassRoutedConv2d(heads, channels, 3, kernel).double()
    nn.init.normal_(bank.weight, std=0.3)
    nn.init.normal_(bank.bias)
    return bank
