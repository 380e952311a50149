"""From the label map's bytes to the channels that the networks read."""

from __future__ import annotations

import torch
from torch import Tensor


def encode_semantics(label: Tensor, classes: int, instance: Tensor | None = None) -> Tensor:
    """One-hot label map, with the instance edges as last channel where instances are given.

    Args:
        label: [N, 1, H, W], any integer type, ids 0..K-1; an id outside belongs to no class (all channels zero).
        classes: K.
        instance: [N, 1, H, W] integer instance ids, or None.

    Returns:
        float32 [N, K (+1), H, W] of zeros and ones.
    """
    ids = torch.arange(classes, dtype=torch.int32, device=label.device).view(1, classes, 1, 1)
    one_hot = (label.to(torch.int32) == ids).to(torch.float32)  # [N, K, H, W]
    if instance is None:
        return one_hot
    return torch.cat([one_hot, instance_edges(instance)], dim=1)  # [N, K + 1, H, W]


def instance_edges(instance: Tensor) -> Tensor:
    """1 where the instance id differs from that of any of the four neighbours, else 0.

    Both pixels of a differing pair are marked; outside the picture there is no neighbour.

    Args:
        instance: [N, 1, H, W] integer ids.

    Returns:
        float32 [N, 1, H, W].
    """
    ids = instance.to(torch.int32)
    across = (ids[..., :, 1:] != ids[..., :, :-1]).to(torch.float32)  # [N, 1, H, W - 1]
    down = (ids[..., 1:, :] != ids[..., :-1, :]).to(torch.float32)  # [N, 1, H - 1, W]
    pad = torch.nn.functional.pad
    return torch.maximum(
        torch.maximum(pad(across, (0, 1)), pad(across, (1, 0))),
        torch.maximum(pad(down, (0, 0, 0, 1)), pad(down, (0, 0, 1, 0))),
    )


def decode_image(image: Tensor) -> Tensor:
    """From [-1, 1] float NCHW to uint8 NHWC: clamp, scale by 127.5, round half to even."""
    pixels = torch.round((image.float().clamp(-1.0, 1.0) + 1.0) * 127.5)
    return pixels.to(torch.uint8).permute(0, 2, 3, 1)
