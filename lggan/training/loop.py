"""The loop over the steps of a training run, and what it writes meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from lggan.checkpoint import deployable, save_generator
from lggan.data.open import ExampleDataset
from lggan.data.plan import BatchPlan
from lggan.preset import Preset
from lggan.training.distributed import Process
from lggan.training.journal import Journal
from lggan.training.options import TrainOptions
from lggan.training.samples import write_samples
from lggan.training.state import Past, save_state
from lggan.training.trainer import Trainer
from runtime.contract.card import ModelCard
from runtime.contract.errors import LgganError
from runtime.contract.progress import Progress, SilentProgress

STATE_FILE = "state.safetensors"
GENERATOR_FILE = "generator.safetensors"
SAMPLES_FOLDER = "samples"
SAMPLES = 4

_Done = tuple[int, dict[str, float], float]  # steps done, loss terms, seconds of the step


@dataclass(frozen=True)
class TrainResult:
    """What a run left behind: ``checkpoint`` is ready for export."""

    checkpoint: Path
    steps: int
    epochs: float
    seconds: float
    interrupted: bool
    terms: dict[str, float]


class TrainingLoop:
    """The loop over the steps and what is written meanwhile."""

    def __init__(
        self,
        preset: Preset,
        options: TrainOptions,
        process: Process,
        trainer: Trainer,
        dataset: ExampleDataset,
        plan: BatchPlan,
        settings: dict[str, Any],
        past: Past,
    ) -> None:
        self._preset = preset
        self._options = options
        self._process = process
        self._trainer = trainer
        self._dataset = dataset
        self._plan = plan
        self._settings = settings
        self._past = past

    def go(self, first: int, total: int, stop: threading.Event, progress: Progress) -> TrainResult:
        begin = time.monotonic()
        done: _Done = (first, {}, 0.0)
        with ExitStack() as stack:
            journal = stack.enter_context(Journal(self._options.output, first)) if self._process.leads else None
            task = stack.enter_context((progress if journal else SilentProgress()).task("training", total - first))
            for done in self._steps(first, total, stop):
                step, terms, seconds = done
                if journal and (step % self._options.log_every == 0 or step == total):
                    journal.write(step, self._plan.epoch(step - 1), seconds, terms)
                task.advance(1, _note(terms))
        step, terms, _ = done
        if self._process.leads:
            self._save(step)
            self._finish(step, terms)
        return TrainResult(
            checkpoint=self._options.output / GENERATOR_FILE,
            steps=step,
            epochs=step / self._plan.steps_per_epoch,
            seconds=time.monotonic() - begin,
            interrupted=step < total,
            terms=terms,
        )

    def _steps(self, first: int, total: int, stop: threading.Event) -> Iterator[_Done]:
        shards = self._plan.shards(first, total, self._process.rank, self._process.ranks)
        loader: DataLoader[Any] = DataLoader(
            self._dataset,  # type: ignore[arg-type]
            batch_sampler=shards,  # drawn as they are needed: a published run has millions of views
            num_workers=self._options.workers,
            prefetch_factor=self._options.prefetch if self._options.workers else None,
            pin_memory=self._process.device.type == "cuda",
            persistent_workers=False,  # one iteration lasts for the whole run, and so do its workers
        )
        before = time.monotonic()
        for step, examples in enumerate(_examples(loader), start=first):
            terms = self._trainer.step(examples, step, self._plan.epoch(step))
            done = step + 1
            yield done, terms, time.monotonic() - before  # into the journal first: a saved state's step stands there
            if self._stops(stop):
                return
            if self._process.leads and done < total:
                if done % self._options.save_every == 0:
                    self._save(done)
                if done % self._options.sample_every == 0:
                    self._sample(done)
            before = time.monotonic()

    def _stops(self, stop: threading.Event) -> bool:
        """Whether any process was asked to stop; all must leave after the same step."""
        return self._process.any_of(stop.is_set())

    def _save(self, step: int) -> None:
        path = self._options.output / STATE_FILE
        save_state(path, self._trainer.state, step, self._settings, self._past)

    def _sample(self, step: int) -> None:
        count = min(SAMPLES, len(self._dataset))
        indices = [index * len(self._dataset) // count for index in range(count)]
        path = self._options.output / SAMPLES_FOLDER / f"step_{step:06d}.png"
        write_samples(path, self._trainer.task, self._trainer.state.average.generator, self._dataset, indices)

    def _finish(self, step: int, terms: dict[str, float]) -> None:
        self._sample(step)
        card = self._card(step, terms)
        generator = deployable(self._trainer.state.average.generator)
        dtype = self._options.weights_dtype
        save_generator(self._options.output / GENERATOR_FILE, generator, card, dtype=dtype, force=True)

    def _card(self, step: int, terms: dict[str, float]) -> ModelCard:
        training = {
            **self._settings,
            "steps": step,
            "epochs": round(step / self._plan.steps_per_epoch, 2),
            "final_losses": {name: round(value, 5) for name, value in terms.items()},
            "past": asdict(self._past),
            "torch": torch.__version__,
        }
        size = f"{self._preset.generator.height}x{self._preset.generator.width}"
        lines = [f"trained for {step} steps on {len(self._dataset)} examples at {size}"]
        if (origin := self._past.origin) is not None:
            before = f"{origin['height']}x{origin['width']}"
            state = origin["sha256"][:12]
            lines.insert(0, f"started from a run of {origin['steps']} steps at {before} (state {state})")
        return replace(self._preset.card(), training=training, licence=self._options.licence, provenance=tuple(lines))


def _examples(loader: Iterable[Any]) -> Iterator[Any]:
    """The loader's batches. An error of a loading process arrives with its traceback as text: only its end is ours."""
    try:
        yield from loader
    except LgganError as error:
        raise type(error)(str(error).rsplit(f"{type(error).__name__}: ", 1)[-1].strip()) from error


def _note(terms: dict[str, float]) -> str:
    generator = sum(value for name, value in terms.items() if not name.startswith("discriminator"))
    discriminator = sum(value for name, value in terms.items() if name.startswith("discriminator"))
    return f"G {generator:.2f} D {discriminator:.2f}"
