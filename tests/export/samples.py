"""Small generators with random weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from lggan.config import SauMask, SauPlacement, SauWindow
from lggan.cross_view_config import CrossViewConfig
from lggan.networks.build import AnyGenerator
from lggan.networks.cross_view import CrossViewGenerator
from lggan.networks.generator import LGGANGenerator
from lggan.preset import load_preset
from runtime.contract.card import ModelCard


@dataclass(frozen=True)
class Sample:
    """A checkpoint on the disk, the generator that is in it, and its card."""

    path: Path
    generator: AnyGenerator
    card: ModelCard


@dataclass(frozen=True)
class Case:
    """What differs between the samples."""

    placement: SauPlacement = SauPlacement.DECODERS
    edges: bool = False
    window: SauWindow = SauWindow.SOURCE
    kernel: int = 3
    mask: SauMask = SauMask.NONE
    cross_view: bool = False


def random_generator(case: Case) -> tuple[AnyGenerator, ModelCard]:
    """The preset `tiny` or `tiny_cross_view` with random weights, biases and running statistics, none trivial."""
    preset = load_preset("tiny_cross_view" if case.cross_view else "tiny")
    config = preset.generator
    sau = replace(config.sau, placement=case.placement, window=case.window, kernel=case.kernel, mask=case.mask)
    generator: AnyGenerator
    if isinstance(config, CrossViewConfig):
        generator = CrossViewGenerator(replace(config, residual_blocks=1, sau=sau))
    else:
        generator = LGGANGenerator(replace(config, edges=case.edges, residual_blocks=1, sau=sau))
    draw = torch.Generator().manual_seed(1)
    for name, tensor in [*generator.named_parameters(), *generator.named_buffers()]:
        tensor.requires_grad_(False)
        if name.endswith("running_var"):
            tensor.uniform_(0.3, 2.0, generator=draw)
        elif name.endswith(("bias", "running_mean")):
            tensor.normal_(0, 0.3, generator=draw)
        elif tensor.dim() > 1:
            tensor.normal_(0, tensor[0].numel() ** -0.5, generator=draw)
    plain = generator.config.to_dict()
    return generator.eval(), replace(preset.card(), instances=case.edges, generator=plain, licence="test only")
