"""Exponential moving average of the generator's weights, which draw calmer pictures than the newest ones."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from lggan.networks.build import AnyGenerator

_BUFFERS_AS_THEY_ARE = ("running_mean", "running_var", "num_batches_tracked", "_u", "_v")


class Average:
    """Keeps an averaged copy of a generator.

    Early in training the decay is smaller, ``(1 + t) / (10 + t)``, so that the initial weights are soon forgotten.
    With ``decay`` 0 the copy simply follows.
    """

    def __init__(self, generator: AnyGenerator, decay: float) -> None:
        self.decay = decay
        self.generator = copy.deepcopy(generator).requires_grad_(False)

    @torch.no_grad()
    def update(self, generator: AnyGenerator, step: int) -> None:
        """Move the copy towards the generator, after step ``step`` (from 0)."""
        keep = min(self.decay, (1 + step) / (10 + step))
        current: dict[str, Tensor] = generator.state_dict()
        for name, mean in self.generator.state_dict().items():
            if name.endswith(_BUFFERS_AS_THEY_ARE) or not mean.is_floating_point():
                mean.copy_(current[name])
            else:
                mean.lerp_(current[name], 1.0 - keep)
