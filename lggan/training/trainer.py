"""One training step: the generator against the discriminator, then the other way round (specification C.1, C.2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.utils import parametrize
from torch.optim import Adam, Optimizer

from lggan.data.dataset import Example, photo_to_unit
from lggan.losses.objective import discriminator_terms, generator_terms
from lggan.losses.perceptual import PerceptualLoss
from lggan.networks.discriminator import MultiScaleDiscriminator
from lggan.networks.generator import LGGANGenerator, Synthesis, add_spectral_norm
from lggan.networks.initialisation import initialise
from lggan.networks.semantics import encode_semantics
from lggan.preset import Fakes, Preset
from lggan.training.distributed import Process
from lggan.training.ema import Average
from lggan.training.precision import TrainPrecision
from lggan.training.schedule import rate_factor
from lggan.training.state import TrainingState
from runtime.contract.errors import BackendError


class Trainer:
    """Holds the networks and their optimisers and makes steps."""

    def __init__(
        self, preset: Preset, process: Process, precision: TrainPrecision, perceptual: PerceptualLoss | None
    ) -> None:
        self.preset = preset
        self.process = process
        self.precision = precision
        self.perceptual = perceptual.to(process.device) if perceptual is not None else None
        torch.manual_seed(preset.train.seed)
        generator = LGGANGenerator(preset.generator)
        add_spectral_norm(generator)
        discriminator = MultiScaleDiscriminator(
            preset.generator.semantic_channels, preset.train.discriminator_width
        )
        for network in (generator, discriminator):
            initialise(network)
            network.to(process.device)
        average = Average(generator, preset.train.ema)
        self._discriminator = discriminator
        self._wrapped_generator = process.wrap(process.synchronise_norms(generator))
        self._wrapped_discriminator = process.wrap(discriminator)
        betas = (preset.train.beta1, preset.train.beta2)
        self.state = TrainingState(
            generator=generator,
            discriminator=discriminator,
            average=average,
            generator_optimizer=Adam(generator.parameters(), preset.train.lr_generator, betas),
            discriminator_optimizer=Adam(discriminator.parameters(), preset.train.lr_discriminator, betas),
            scalers=(precision.scaler(), precision.scaler()),
        )

    def step(self, examples: Example, step: int, epoch: int) -> dict[str, float]:
        """Make one step on this process's share of the batch.

        Args:
            examples: batched tensors, see `lggan.data.dataset.Example`.
            step: from 0.
            epoch: from 0; decides the learning rate.

        Returns:
            The weighted loss terms by name.

        Raises:
            BackendError: a loss is not finite; names the step and the term. The networks are left as they were
                before the failing half-step.
        """
        self._set_rates(epoch)
        device = self.process.device
        photo = photo_to_unit(examples.photo.to(device, non_blocking=True))
        edges = examples.instance.to(device) if self.preset.generator.edges else None
        semantics = encode_semantics(examples.label.to(device), self.preset.generator.classes, edges)

        synthesis, terms = self._generator_step(semantics, photo, step)
        terms.update(self._discriminator_step(synthesis, semantics, photo, step))
        self.state.average.update(self.state.generator, step)
        return terms

    def _generator_step(self, semantics: Tensor, photo: Tensor, step: int) -> tuple[Synthesis, dict[str, float]]:
        self._wrapped_generator.train()
        self._discriminator.requires_grad_(False)
        # One set of normalised weights for the step: every reading in training mode is a power iteration of its own.
        with self.precision.autocast(self.process.device), parametrize.cached():
            synthesis = self._wrapped_generator(semantics)
            terms = generator_terms(
                synthesis, semantics, photo, self._discriminator, self.perceptual, self.preset.losses
            )
        self._discriminator.requires_grad_(True)
        self._descend(terms, self.state.generator_optimizer, self.state.scalers[0], step)
        return synthesis, _values(terms)

    def _discriminator_step(
        self, synthesis: Synthesis, semantics: Tensor, photo: Tensor, step: int
    ) -> dict[str, float]:
        with self.precision.autocast(self.process.device), parametrize.cached():
            if self.preset.train.fakes is Fakes.REGENERATED:
                with torch.no_grad():
                    synthesis = self.state.generator(semantics)
            pictures = (synthesis.final, synthesis.global_image, synthesis.local_image)
            terms = discriminator_terms(pictures, semantics, photo, self._wrapped_discriminator)
        self._descend(terms, self.state.discriminator_optimizer, self.state.scalers[1], step)
        return _values(terms)

    def _descend(self, terms: dict[str, Tensor], optimizer: Optimizer, scaler: torch.amp.GradScaler, step: int) -> None:
        loss = torch.stack(list(terms.values())).sum()
        if not math.isfinite(float(loss.detach())):
            bad = ", ".join(name for name, term in terms.items() if not math.isfinite(float(term.detach())))
            raise BackendError(
                f"the loss is not finite at step {step + 1} (term: {bad}); the state of the last saving is kept: "
                "resume with lower learning rates"
            )
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    def _set_rates(self, epoch: int) -> None:
        train = self.preset.train
        factor = rate_factor(epoch, train.epochs, train.decay_epochs)
        for optimizer, rate in (
            (self.state.generator_optimizer, train.lr_generator),
            (self.state.discriminator_optimizer, train.lr_discriminator),
        ):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor


def _values(terms: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(term.detach()) for name, term in terms.items()}


