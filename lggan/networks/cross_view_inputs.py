"""From a photo's and a label map's bytes to what the cross-view generator reads."""

from __future__ import annotations

import torch
from torch import Tensor

from lggan.cross_view_config import NO_GROUP, CrossViewConfig

NO_HEAD = 255  # in a map of groups: no head paints this pixel


def encode_cross_view(source: Tensor, label: Tensor, config: CrossViewConfig) -> tuple[Tensor, Tensor]:
    """The generator's two inputs from bytes.

    Ids that are no class, 255 among them, are black and belong to no head.

    Args:
        source: photo of the scene, uint8 [N, H, W, 3].
        label: label map of the target view, uint8 [N, 1, H, W].

    Returns:
        conditions float32 [N, 6, H, W] in [-1, 1], the photo and the painted label map; groups uint8 [N, 1, H, W],
        0..G-1 or `NO_HEAD`.
    """
    colors, groups = lookup_tables(config, label.device)
    ids = label[:, 0].to(torch.int64)  # [N, H, W]
    views = torch.cat([source, colors[ids]], dim=3)  # [N, H, W, 6]
    return bytes_to_unit(views.permute(0, 3, 1, 2)), groups[ids].unsqueeze(1)


def lookup_tables(config: CrossViewConfig, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Colour uint8 [256, 3] and group uint8 [256] of every value a label map can hold."""
    colors = torch.zeros(256, 3, dtype=torch.uint8)
    groups = torch.full((256,), NO_HEAD, dtype=torch.uint8)
    colors[: config.classes] = torch.tensor(config.colors, dtype=torch.uint8)
    groups[: config.classes] = torch.tensor(
        [NO_HEAD if group == NO_GROUP else group for group in config.groups], dtype=torch.uint8
    )
    return colors.to(device), groups.to(device)


def bytes_to_unit(picture: Tensor) -> Tensor:
    """uint8 0..255 -> float32 [-1, 1]."""
    return picture.to(torch.float32) / 127.5 - 1.0
