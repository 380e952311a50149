"""What a generator made, as pictures for people."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from lggan.networks.generator import Synthesis
from lggan.networks.semantics import decode_image


def picture_rows(made: Synthesis, photo: Tensor) -> list[np.ndarray]:
    """Final, global and local picture, the local one's share (white is all), and the real photo.

    Args:
        made: of one example.
        photo: uint8 [3, H, W].

    Returns:
        uint8 [H, W, 3] each.
    """
    share = (made.attention_local * 2 - 1).expand(-1, 3, -1, -1)
    painted = (made.final, made.global_image, made.local_image, share)
    return [*(decode_image(picture)[0].cpu().numpy() for picture in painted), as_picture(photo)]


def as_picture(planes: Tensor) -> np.ndarray:
    """uint8 [3, H, W] -> [H, W, 3]."""
    return np.ascontiguousarray(planes.permute(1, 2, 0).cpu().numpy())
