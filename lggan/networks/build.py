"""The generator that a configuration describes."""

from __future__ import annotations

from lggan.cross_view_config import CrossViewConfig
from lggan.networks.cross_view import CrossViewGenerator
from lggan.networks.generator import LGGANGenerator
from lggan.task import AnyConfig

AnyGenerator = LGGANGenerator | CrossViewGenerator


def build_generator(config: AnyConfig) -> AnyGenerator:
    """A generator with PyTorch's initial weights, in training mode, without spectral normalisation."""
    return CrossViewGenerator(config) if isinstance(config, CrossViewConfig) else LGGANGenerator(config)
