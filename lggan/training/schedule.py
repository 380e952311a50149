"""The learning rate over the epochs."""

from __future__ import annotations


def rate_factor(epoch: int, epochs: int, decay_epochs: int) -> float:
    """Factor on the initial learning rate: 1 for the first ``epochs``, then falling linearly, never reaching zero.

    A run that is prolonged beyond both keeps the last factor.

    Args:
        epoch: from 0.
    """
    if epoch < epochs or decay_epochs == 0:
        return 1.0
    return max(1.0, decay_epochs - (epoch - epochs)) / decay_epochs
