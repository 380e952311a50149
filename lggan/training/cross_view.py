"""Training of cross-view translation (specification C.3)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from lggan.cross_view_config import CrossViewConfig
from lggan.data.dataset import photo_to_unit
from lggan.data.strips_dataset import CrossViewExample
from lggan.losses.config import CrossViewLossWeights
from lggan.losses.cross_view_objective import cross_view_discriminator_terms, cross_view_generator_terms
from lggan.losses.perceptual import PerceptualLoss
from lggan.networks.cross_view import CrossViewGenerator
from lggan.networks.cross_view_inputs import bytes_to_unit
from lggan.networks.dual_discriminator import DualDiscriminator
from lggan.networks.generator import Synthesis
from lggan.networks.initialisation import initialise_normal
from lggan.preset import TrainConfig
from lggan.training.schedule import early_rate_factor
from lggan.training.show import as_picture, picture_rows
from lggan.training.task import Batch, HalfSteps


class CrossView:
    """A photo of a scene from another place; see `lggan.training.task.TrainingTask`."""

    order = HalfSteps.DISCRIMINATOR_FIRST

    def __init__(self, config: CrossViewConfig, losses: CrossViewLossWeights, train: TrainConfig) -> None:
        self._config = config
        self._losses = losses
        self._train = train

    def generator(self) -> CrossViewGenerator:
        generator = CrossViewGenerator(self._config)
        initialise_normal(generator)
        return generator

    def discriminator(self) -> DualDiscriminator:
        discriminator = DualDiscriminator(self._train.discriminator_width)
        initialise_normal(discriminator)
        return discriminator

    def batch(self, examples: CrossViewExample, device: torch.device) -> Batch:
        views = torch.cat([examples.source, examples.guide], dim=1).to(device, non_blocking=True)  # [N, 6, H, W]
        group = examples.group.to(device, non_blocking=True)
        photo = photo_to_unit(examples.photo.to(device, non_blocking=True))
        return Batch((bytes_to_unit(views), group), photo)

    def generator_terms(
        self, synthesis: Synthesis, batch: Batch, discriminator: nn.Module, perceptual: PerceptualLoss | None
    ) -> dict[str, Tensor]:
        terms = cross_view_generator_terms(
            synthesis, batch.inputs[0], batch.photo, discriminator, perceptual, self._losses
        )
        # The one term that is a sum: of a share of the batch it is brought to what the whole one would give.
        terms["total_variation"] = terms["total_variation"] * (self._train.batch / batch.photo.shape[0])
        return terms

    def discriminator_terms(self, synthesis: Synthesis, batch: Batch, discriminator: nn.Module) -> dict[str, Tensor]:
        pictures = (synthesis.final, synthesis.global_image, synthesis.local_image)
        return cross_view_discriminator_terms(pictures, batch.inputs[0], batch.photo, discriminator)

    def rate_factor(self, epoch: int) -> float:
        return early_rate_factor(epoch, self._train.epochs, self._train.decay_epochs)

    def titles(self) -> tuple[str, ...]:
        return ("source", "label map", "final", "global", "local", "share of local", "photo")

    def pictures(self, generator: nn.Module, example: CrossViewExample, device: torch.device) -> list[np.ndarray]:
        single = CrossViewExample(*(part.unsqueeze(0) for part in example))
        made = generator(*self.batch(single, device).inputs)
        return [as_picture(example.source), as_picture(example.guide), *picture_rows(made, example.photo)]
