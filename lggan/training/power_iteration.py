"""Spectral normalisation in training: when its power iteration moves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.utils.parametrize import ParametrizationList


@contextmanager
def held(*networks: nn.Module) -> Iterator[None]:
    """Within it, normalised weights keep the singular vectors they have; everything else stays in its mode."""
    lists = [module for network in networks for module in network.modules() if isinstance(module, ParametrizationList)]
    modes = [module.training for module in lists]
    for module in lists:
        module.train(False)
    try:
        yield
    finally:
        for module, mode in zip(lists, modes, strict=True):
            module.train(mode)
