"""One training step of either task: one network's half, then the other's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm, parametrize
from torch.optim import Adam, Optimizer

from lggan.losses.perceptual import PerceptualLoss
from lggan.networks.generator import Synthesis
from lggan.preset import Fakes, TrainConfig
from lggan.training.compilation import explained, prepare
from lggan.training.computing import Computing
from lggan.training.distributed import Process
from lggan.training.ema import Average
from lggan.training.power_iteration import held
from lggan.training.precision import TrainPrecision
from lggan.training.state import TrainingState
from lggan.training.task import Batch, HalfSteps, TrainingTask
from runtime.contract.errors import BackendError

SMALLEST_SCALE = 2.0**-16  # of the FP16 loss; gradients that overflow even so are not finite in any type


@dataclass(frozen=True)
class _Part:
    """One micro-batch of this process, and by how much its counted terms weigh more than an average part's."""

    batch: Batch
    weights: dict[str, Tensor]


class Trainer:
    """Holds the networks and their optimisers and makes steps."""

    def __init__(
        self,
        task: TrainingTask,
        train: TrainConfig,
        process: Process,
        precision: TrainPrecision,
        perceptual: PerceptualLoss | None,
        computing: Computing | None = None,
    ) -> None:
        self.task = task
        self.process = process
        self.precision = precision
        self.computing = computing or Computing()
        self.perceptual = perceptual.to(process.device) if perceptual is not None else None
        self._train = train
        torch.manual_seed(train.seed)
        generator = task.generator().to(process.device)
        discriminator = task.discriminator().to(process.device)
        self.computing.layout.networks(generator, discriminator)
        average = Average(generator, train.ema)
        process.synchronise_norms(generator)
        prepare(self.computing.execution, generator, discriminator)
        self._wrapped_generator = process.wrap(generator)
        self._wrapped_discriminator = process.wrap(discriminator)
        betas = (train.beta1, train.beta2)
        self.state = TrainingState(
            generator=generator,
            discriminator=discriminator,
            average=average,
            generator_optimizer=Adam(generator.parameters(), train.lr_generator, betas),
            discriminator_optimizer=Adam(discriminator.parameters(), train.lr_discriminator, betas),
            scalers=(precision.scaler(), precision.scaler()),
        )

    def step(self, examples: Any, step: int, epoch: int) -> dict[str, float]:
        """Make one step on this process's share of the batch.

        Args:
            examples: batched tensors, as the task's data set gives them; as many as there are micro-batches, or a
                multiple.
            step: from 0.
            epoch: from 0; decides the learning rate.

        Returns:
            The weighted loss terms of the whole batch, over all processes, by name.

        Raises:
            BackendError: a loss or a gradient is not finite; names the step and the term. The networks' weights are
                left as they were before the failing half-step. Raised in every process alike, with words in the
                leading one (see `Process.stop_together`).
        """
        self._set_rates(epoch)
        self._wrapped_generator.train()
        parts = self._parts(examples)
        with explained(self.computing.execution):
            if self.task.order is HalfSteps.GENERATOR_FIRST:
                terms = self._generator_first(parts, step)
            else:
                terms = self._discriminator_first(parts, step)
        self.state.average.update(self.state.generator, step)
        return terms

    def _generator_first(self, parts: Sequence[_Part], step: int) -> dict[str, float]:
        kept: list[Synthesis] = []

        def generator_terms(index: int, batch: Batch) -> dict[str, Tensor]:
            synthesis = self._wrapped_generator(*batch.inputs)
            if self._train.fakes is Fakes.REUSED:
                kept.append(_pictures_alone(synthesis))
            return self._judged(synthesis, batch)

        def discriminator_terms(index: int, batch: Batch) -> dict[str, Tensor]:
            synthesis = kept[index] if kept else self._made_anew(batch)
            return self.task.discriminator_terms(synthesis, batch, self._wrapped_discriminator)

        terms = self._generator_half(parts, generator_terms, step)
        return {**terms, **self._discriminator_half(parts, discriminator_terms, step)}

    def _discriminator_first(self, parts: Sequence[_Part], step: int) -> dict[str, float]:
        """Both halves look at the same pictures. Of several micro-batches they are made twice, to keep one at a time
        in memory."""
        kept: list[Synthesis] = []

        def discriminator_terms(index: int, batch: Batch) -> dict[str, Tensor]:
            if len(parts) == 1:
                kept.append(self._wrapped_generator(*batch.inputs))
            synthesis = kept[0] if kept else self._made_anew(batch)
            return self.task.discriminator_terms(synthesis, batch, self._wrapped_discriminator)

        def generator_terms(index: int, batch: Batch) -> dict[str, Tensor]:
            return self._judged(kept[0] if kept else self._wrapped_generator(*batch.inputs), batch)

        discriminator = self._discriminator_half(parts, discriminator_terms, step)
        return {**self._generator_half(parts, generator_terms, step), **discriminator}

    def _judged(self, synthesis: Synthesis, batch: Batch) -> dict[str, Tensor]:
        return self.task.generator_terms(synthesis, batch, self.state.discriminator, self.perceptual)

    @torch.no_grad()
    def _made_anew(self, batch: Batch) -> Synthesis:
        return self.state.generator(*batch.inputs)

    def _generator_half(
        self, parts: Sequence[_Part], terms_of: Callable[[int, Batch], dict[str, Tensor]], step: int
    ) -> dict[str, float]:
        self.state.discriminator.requires_grad_(False)
        try:
            terms = self._backward(self._wrapped_generator, parts, terms_of, 0)
        finally:
            self.state.discriminator.requires_grad_(True)
        return self._descend(terms, self.state.generator_optimizer, 0, step)

    def _discriminator_half(
        self, parts: Sequence[_Part], terms_of: Callable[[int, Batch], dict[str, Tensor]], step: int
    ) -> dict[str, float]:
        terms = self._backward(self._wrapped_discriminator, parts, terms_of, 1)
        return self._descend(terms, self.state.discriminator_optimizer, 1, step)

    def _backward(
        self,
        learner: nn.Module,
        parts: Sequence[_Part],
        terms_of: Callable[[int, Batch], dict[str, Tensor]],
        half: int,
    ) -> dict[str, Tensor]:
        """Gradients of all parts in the learner, averaged over parts and processes; this process's mean terms."""
        learner.zero_grad(set_to_none=True)
        means: dict[str, Tensor] = {}
        for index, part in enumerate(parts):
            alone: AbstractContextManager[object] = nullcontext()
            if index < len(parts) - 1:
                alone = self.process.local_gradients(learner)
            # All parts see the spectral norms of the first one's power iteration, so that they see the same weights.
            steady = held(self.state.generator, self.state.discriminator) if index else nullcontext()
            with alone, steady:
                # One set of normalised weights per part: every reading is a power iteration of its own.
                with self.precision.autocast(self.process.device), parametrize.cached():
                    terms = terms_of(index, part.batch)
                shares = {name: _weighed(term, part, name) / len(parts) for name, term in terms.items()}
                self.state.scalers[half].scale(torch.stack(list(shares.values())).sum()).backward()
            for name, share in shares.items():
                means[name] = means[name] + share.detach() if index else share.detach()
        return means

    def _descend(self, terms: dict[str, Tensor], optimizer: Optimizer, half: int, step: int) -> dict[str, float]:
        scaler = self.state.scalers[half]
        values = self.process.total(torch.stack(list(terms.values()))) / self.process.ranks
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = get_total_norm(gradients).to(values.dtype)
        *numbers, length = torch.cat([values, norm.view(1)]).tolist()  # the step's one wait for the device
        found = dict(zip(terms, numbers, strict=True))
        bad = [name for name, value in found.items() if not math.isfinite(value)]
        if bad:
            raise self._not_finite(f"the loss is not finite at step {step + 1} (term: {', '.join(bad)})")
        if not math.isfinite(length) and not scaler.is_enabled():
            network = ("generator", "discriminator")[half]
            raise self._not_finite(f"the {network}'s gradient is not finite at step {step + 1}, though its loss is")
        scaler.step(optimizer)  # scaled gradients that overflow are left out, and the scale is lowered
        scaler.update()
        if scaler.is_enabled() and scaler.get_scale() < SMALLEST_SCALE:
            raise self._not_finite(f"gradients overflow at step {step + 1}, however small the loss is scaled")
        return found

    def _not_finite(self, what: str) -> BackendError:
        advice = "the state of the last saving is kept: resume with lower learning rates"
        return self.process.stop_together(BackendError(f"{what}; {advice}"))

    def _parts(self, examples: Any) -> list[_Part]:
        count = self.computing.accumulate
        chunks = [tensor.chunk(count) for tensor in examples]
        batches = [
            self._laid_out(self.task.batch(type(examples)(*part), self.process.device))
            for part in zip(*chunks, strict=True)
        ]
        weights: list[dict[str, Tensor]] = [{} for _ in batches]
        if count * self.process.ranks > 1:
            for name in batches[0].counts:
                counts = torch.stack([batch.counts[name] for batch in batches])
                mean = self.process.total(counts.sum()) / (count * self.process.ranks)
                for weight, ours in zip(weights, counts, strict=True):
                    weight[name] = torch.where(mean > 0, ours / mean, 1.0)
        return [_Part(batch, weight) for batch, weight in zip(batches, weights, strict=True)]

    def _laid_out(self, batch: Batch) -> Batch:
        layout = self.computing.layout
        inputs = tuple(layout.tensor(values) if values.is_floating_point() else values for values in batch.inputs)
        return replace(batch, inputs=inputs, photo=layout.tensor(batch.photo))

    def _set_rates(self, epoch: int) -> None:
        factor = self.task.rate_factor(epoch)
        for optimizer, rate in (
            (self.state.generator_optimizer, self._train.lr_generator),
            (self.state.discriminator_optimizer, self._train.lr_discriminator),
        ):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor


def _weighed(term: Tensor, part: _Part, name: str) -> Tensor:
    return term * part.weights[name] if name in part.weights else term


def _pictures_alone(synthesis: Synthesis) -> Synthesis:
    """What the discriminator looks at, without the graph and the answers that only the generator's losses need."""
    return synthesis._replace(
        final=synthesis.final.detach(),
        global_image=synthesis.global_image.detach(),
        local_image=synthesis.local_image.detach(),
        attention_local=synthesis.attention_local.detach(),
        answers=None,
        classification=None,
    )
