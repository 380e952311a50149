"""Small generators with random weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from lggan.config import SauPlacement, SauWindow
from lggan.networks.generator import LGGANGenerator
from lggan.preset import load_preset
from runtime.contract.card import ModelCard


@dataclass(frozen=True)
class Sample:
    """A checkpoint on the disk, the generator that is in it, and its card."""

    path: Path
    generator: LGGANGenerator
    card: ModelCard


@dataclass(frozen=True)
class Case:
    """What differs between the samples."""

    placement: SauPlacement = SauPlacement.DECODERS
    edges: bool = False
    window: SauWindow = SauWindow.SOURCE
    kernel: int = 3


def random_generator(case: Case) -> tuple[LGGANGenerator, ModelCard]:
    """The preset `tiny` with random weights, biases and running statistics, none of them trivial."""
    preset = load_preset("tiny")
    sau = replace(preset.generator.sau, placement=case.placement, window=case.window, kernel=case.kernel)
    config = replace(preset.generator, edges=case.edges, residual_blocks=1, sau=sau)
    draw = torch.Generator().manual_seed(1)
    generator = LGGANGenerator(config).eval().requires_grad_(False)
    for name, tensor in [*generator.named_parameters(), *generator.named_buffers()]:
        if name.endswith("running_var"):
            tensor.uniform_(0.3, 2.0, generator=draw)
        elif name.endswith(("bias", "running_mean")):
            tensor.normal_(0, 0.3, generator=draw)
        elif tensor.dim() > 1:
            tensor.normal_(0, tensor[0].numel() ** -0.5, generator=draw)
    return generator, replace(preset.card(), instances=case.edges, generator=config.to_dict(), licence="test only")
