"""Training of semantic image synthesis (specification C.1, C.2)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from lggan.config import GeneratorConfig
from lggan.data.dataset import Example, photo_to_unit
from lggan.losses.config import LossWeights
from lggan.losses.objective import discriminator_terms, generator_terms
from lggan.losses.perceptual import PerceptualLoss
from lggan.networks.discriminator import MultiScaleDiscriminator
from lggan.networks.generator import LGGANGenerator, Synthesis, add_spectral_norm
from lggan.networks.initialisation import initialise_xavier
from lggan.networks.semantics import encode_semantics
from lggan.preset import TrainConfig
from lggan.training.schedule import rate_factor
from lggan.training.show import picture_rows
from lggan.training.task import Batch, HalfSteps
from runtime.contract.card import ClassInfo
from runtime.contract.labels import colorize


class SemanticSynthesis:
    """A photo from a label map; see `lggan.training.task.TrainingTask`."""

    order = HalfSteps.GENERATOR_FIRST

    def __init__(
        self, config: GeneratorConfig, classes: tuple[ClassInfo, ...], losses: LossWeights, train: TrainConfig
    ) -> None:
        self._config = config
        self._classes = classes
        self._losses = losses
        self._train = train

    def generator(self) -> LGGANGenerator:
        generator = LGGANGenerator(self._config)
        add_spectral_norm(generator)
        initialise_xavier(generator)
        return generator

    def discriminator(self) -> MultiScaleDiscriminator:
        discriminator = MultiScaleDiscriminator(self._config.semantic_channels, self._train.discriminator_width)
        initialise_xavier(discriminator)
        return discriminator

    def batch(self, examples: Example, device: torch.device) -> Batch:
        edges = examples.instance.to(device, non_blocking=True) if self._config.edges else None
        label = examples.label.to(device, non_blocking=True)
        semantics = encode_semantics(label, self._config.classes, edges)  # [N, S, H, W]
        photo = photo_to_unit(examples.photo.to(device, non_blocking=True))
        scored = semantics[:, : self._config.scored_heads].amax(dim=(2, 3)).sum()  # classes present, over all examples
        return Batch((semantics,), photo, {"classification": scored})

    def generator_terms(
        self, synthesis: Synthesis, batch: Batch, discriminator: nn.Module, perceptual: PerceptualLoss | None
    ) -> dict[str, Tensor]:
        return generator_terms(synthesis, batch.inputs[0], batch.photo, discriminator, perceptual, self._losses)

    def discriminator_terms(self, synthesis: Synthesis, batch: Batch, discriminator: nn.Module) -> dict[str, Tensor]:
        pictures = (synthesis.final, synthesis.global_image, synthesis.local_image)
        return discriminator_terms(pictures, batch.inputs[0], batch.photo, discriminator)

    def rate_factor(self, epoch: int) -> float:
        return rate_factor(epoch, self._train.epochs, self._train.decay_epochs)

    def titles(self) -> tuple[str, ...]:
        return ("label map", "final", "global", "local", "share of local", "photo")

    def pictures(self, generator: nn.Module, example: Example, device: torch.device) -> list[np.ndarray]:
        single = Example(*(part.unsqueeze(0) for part in example))
        made = generator(*self.batch(single, device).inputs)
        return [colorize(example.label[0].numpy(), self._classes), *picture_rows(made, example.photo)]
