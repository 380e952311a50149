"""The learning rate over the epochs."""

from __future__ import annotations


def rate_factor(epoch: int, epochs: int, decay_epochs: int) -> float:
    """Factor on the initial learning rate: 1 for the first ``epochs``, then falling linearly, never reaching zero.

    The schedule of semantic synthesis. A run that is prolonged beyond both keeps the last factor.

    Args:
        epoch: from 0.
    """
    if epoch < epochs or decay_epochs == 0:
        return 1.0
    return max(1.0, decay_epochs - (epoch - epochs)) / decay_epochs


def early_rate_factor(epoch: int, epochs: int, decay_epochs: int) -> float:
    """The schedule of cross-view translation: ``1 - max(0, epoch + 2 - epochs) / (decay_epochs + 1)``.

    It begins to fall one epoch before the last of ``epochs`` is over and reaches zero in the last epoch of all, both
    as published. A run that is prolonged beyond learns nothing more; give it more epochs instead.

    Args:
        epoch: from 0.
    """
    if decay_epochs == 0:
        return 1.0
    return max(0.0, 1.0 - max(0, epoch + 2 - epochs) / (decay_epochs + 1))
