"""What the trainer asks of a task: networks, batches, losses, and what to show."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from lggan.losses.perceptual import PerceptualLoss
from lggan.networks.build import AnyGenerator
from lggan.networks.generator import Synthesis


class HalfSteps(str, Enum):
    """Which network's half of a step comes first."""

    GENERATOR_FIRST = "generator first"
    DISCRIMINATOR_FIRST = "discriminator first"


@dataclass(frozen=True)
class Batch:
    """Examples on the training device.

    Attributes:
        inputs: the generator's arguments; the first, float [N, C, H, W], is what the discriminator sees as well.
        photo: the real pictures, float [N, 3, H, W] in [-1, 1].
        counts: for loss terms that average over something else than the examples, by the term's name: over how many
            of it here, float []. What is averaged over several batches then weighs each by its count.
    """

    inputs: tuple[Tensor, ...]
    photo: Tensor
    counts: dict[str, Tensor] = field(default_factory=dict)


class TrainingTask(Protocol):
    """One of the paper's two tasks, as the trainer sees it."""

    order: HalfSteps

    def generator(self) -> AnyGenerator:
        """A generator with initial weights, ready for training."""

    def discriminator(self) -> nn.Module:
        """A discriminator with initial weights, ready for training."""

    def batch(self, examples: Any, device: torch.device) -> Batch:
        """Bytes of the data set, as the loader collated them, to what the networks read."""

    def generator_terms(
        self, synthesis: Synthesis, batch: Batch, discriminator: nn.Module, perceptual: PerceptualLoss | None
    ) -> dict[str, Tensor]:
        """Weighted loss terms of the generator by name; their sum is what it minimises."""

    def discriminator_terms(self, synthesis: Synthesis, batch: Batch, discriminator: nn.Module) -> dict[str, Tensor]:
        """Loss terms of the discriminator by name, each beginning with ``discriminator``; no gradient reaches the
        generator."""

    def rate_factor(self, epoch: int) -> float:
        """Factor on the initial learning rates in an epoch (from 0)."""

    def titles(self) -> tuple[str, ...]:
        """What the pictures of `pictures` show."""

    def pictures(self, generator: nn.Module, example: Any, device: torch.device) -> list[np.ndarray]:
        """One example and what the generator (in evaluation mode) makes of it: uint8 [H, W, 3] each."""
