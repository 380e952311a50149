"""The whole training run: from a preset and a folder of data to a checkpoint that can be exported."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from lggan.checkpoint import deployable, save_generator
from lggan.data.dataset import DataConfig, Example, PairDataset
from lggan.data.pairs import Pair, find_pairs
from lggan.data.plan import BatchPlan
from lggan.losses.perceptual import PerceptualFeatures, build_perceptual_loss
from lggan.preset import Preset
from lggan.training.distributed import Process, process_group
from lggan.training.journal import FILE as JOURNAL_FILE
from lggan.training.journal import Journal
from lggan.training.precision import TrainPrecision
from lggan.training.samples import write_samples
from lggan.training.state import Past, Stretch, adopt_networks, restore_state, save_state
from lggan.training.trainer import Trainer
from runtime.contract.card import ModelCard
from runtime.contract.errors import LgganError, UsageError
from runtime.contract.files import sha256_of, write_text
from runtime.contract.progress import Progress, SilentProgress

STATE_FILE = "state.safetensors"
GENERATOR_FILE = "generator.safetensors"
SETTINGS_FILE = "settings.json"
SAMPLES_FOLDER = "samples"
SAMPLES = 4

_Done = tuple[int, dict[str, float], float]  # steps done, loss terms, seconds of the step


@dataclass(frozen=True)
class TrainOptions:
    """What the user asks of a run, beside the preset.

    Attributes:
        data: root of the data set.
        output: folder of the run; holds everything that the run writes.
        resume: continue the run in that folder.
        start: training state of another run whose weights to start from; optimisers and steps start afresh.
        steps: stop after so many in all; None for the preset's epochs.
        device: auto, cpu or cuda.
        precision: of the forward passes.
        perceptual_weights: file with the weights of the preset's perceptual network.
        save_every, sample_every, log_every: in steps.
        workers: processes that load data; 0 loads in this one.
        weights_dtype: of the final checkpoint, float32 or float16.
        licence: of the weights, for the card (it follows from the data's).
    """

    data: Path
    output: Path
    resume: bool = False
    start: Path | None = None
    steps: int | None = None
    device: str = "auto"
    precision: TrainPrecision = TrainPrecision.FP32
    perceptual_weights: Path | None = None
    save_every: int = 200
    sample_every: int = 500
    log_every: int = 10
    workers: int = 0
    weights_dtype: torch.dtype = torch.float32
    licence: str = ""

    def __post_init__(self) -> None:
        for name in ("steps", "save_every", "sample_every", "log_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}; it must be positive")
        if self.workers < 0:
            raise UsageError(f"workers is {self.workers}; it cannot be negative")


@dataclass(frozen=True)
class TrainResult:
    """What a run left behind: ``checkpoint`` is ready for export."""

    checkpoint: Path
    steps: int
    epochs: float
    seconds: float
    interrupted: bool
    terms: dict[str, float]


def train(preset: Preset, options: TrainOptions, progress: Progress | None = None) -> TrainResult:
    """Train a generator, or continue to.

    The folder receives ``settings.json``, ``metrics.jsonl``, ``tensorboard/``, ``samples/``, ``state.safetensors``
    (to resume) and ``generator.safetensors`` (averaged weights, spectral normalisation folded, to export). SIGINT
    and SIGTERM end the run after the current step with everything saved; after a kill, the last saved state is there.

    Raises:
        InputError: data or state files are bad.
        UsageError: the folder holds another run; options contradict.
        MissingError: the disk is full, CUDA is absent.
        BackendError: a loss became NaN or infinite.
    """
    progress = progress or SilentProgress()
    state_path = options.output / STATE_FILE
    if not options.resume and state_path.exists():
        raise UsageError(f"{options.output} holds a run already; add --resume or choose another --out")
    if options.resume and options.start is not None:
        raise UsageError("--resume continues this folder's run, --start-from begins a new one; give one of them")
    pairs = find_pairs(options.data, "train", preset.layout)
    data = _data_config(preset)
    dataset = PairDataset(pairs, preset.classes, preset.void, data)
    perceptual = build_perceptual_loss(_perceptual_kind(preset, options), options.perceptual_weights)
    plan = BatchPlan(len(pairs), preset.train.batch, preset.train.seed, data.slack, preset.train.flip)
    total = options.steps or (preset.train.epochs + preset.train.decay_epochs) * plan.steps_per_epoch
    settings = _settings(preset, options, pairs)

    with process_group(options.device) as process, _stop_signal() as stop:
        if preset.train.batch % process.ranks:
            raise UsageError(f"batch {preset.train.batch} cannot be shared by {process.ranks} processes evenly")
        options.precision.autocast(process.device)  # refuses what the device cannot do, before any work
        trainer = Trainer(preset, process, options.precision, perceptual)
        first, past = _beginning(state_path, options, trainer, settings)
        how = (options.precision.value, process.device.type, process.ranks, torch.get_num_threads())
        past = past.then(Stretch(first, *how))
        if process.leads:
            _remove_leftovers(options.output)
        if process.leads and not options.resume:
            write_text(options.output / SETTINGS_FILE, json.dumps(settings, indent=2), force=True)
        process.barrier()
        run = _Run(preset, options, process, trainer, dataset, plan, settings, past)
        return run.go(first, total, stop, progress)


class _Run:
    """The loop over the steps and what is written meanwhile."""

    def __init__(
        self,
        preset: Preset,
        options: TrainOptions,
        process: Process,
        trainer: Trainer,
        dataset: PairDataset,
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
        loader = DataLoader(
            self._dataset,
            batch_sampler=shards,  # drawn as they are needed: a published run has millions of views
            num_workers=self._options.workers,
            pin_memory=self._process.device.type == "cuda",
            persistent_workers=False,
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
        if self._process.ranks == 1:
            return stop.is_set()
        flag = torch.tensor([float(stop.is_set())], device=self._process.device)
        torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX)
        return bool(flag.item())

    def _save(self, step: int) -> None:
        path = self._options.output / STATE_FILE
        save_state(path, self._trainer.state, step, self._settings, self._past)

    def _sample(self, step: int) -> None:
        count = min(SAMPLES, len(self._dataset))
        indices = [index * len(self._dataset) // count for index in range(count)]
        path = self._options.output / SAMPLES_FOLDER / f"step_{step:06d}.png"
        write_samples(path, self._trainer.state.average.generator, self._dataset, indices, self._preset.classes)

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
        return replace(
            self._preset.card(), training=training, licence=self._options.licence, provenance=tuple(lines)
        )


def _data_config(preset: Preset) -> DataConfig:
    generator, train_config = preset.generator, preset.train
    load_height = train_config.load_height or generator.height
    load_width = train_config.load_width or generator.width
    if load_height < generator.height or load_width < generator.width:
        raise UsageError(
            f"the loading size {load_width}x{load_height} is smaller than the picture, "
            f"{generator.width}x{generator.height}"
        )
    return DataConfig(generator.height, generator.width, load_height, load_width, generator.edges)


def _perceptual_kind(preset: Preset, options: TrainOptions) -> PerceptualFeatures:
    """The preset's network; asked for without its weights it is an error, never a silent omission."""
    kind = preset.train.perceptual
    if kind is not PerceptualFeatures.NONE and options.perceptual_weights is None:
        raise UsageError(
            f"preset {preset.name} trains with {kind.value} features, whose weights do not come with this package; "
            f"give them with --perceptual-weights FILE, or leave the term out with --perceptual none"
        )
    return kind


def _settings(preset: Preset, options: TrainOptions, pairs: Sequence[Pair]) -> dict[str, Any]:
    """What must be equal for a run to continue: not its length, nor how it is computed (see `Stretch`)."""
    plain = preset.to_dict()
    for name in ("epochs", "decay_epochs"):
        plain["train"].pop(name)
    weights = options.perceptual_weights
    plain["perceptual_weights_sha256"] = sha256_of(weights) if weights is not None else None
    plain["examples"] = len(pairs)
    settings: dict[str, Any] = json.loads(json.dumps(plain))  # what reading it back will give
    return settings


def _beginning(
    state_path: Path, options: TrainOptions, trainer: Trainer, settings: dict[str, Any]
) -> tuple[int, Past]:
    """Steps done and past of the run: of the one to continue, of the one to start from, or of none."""
    if options.resume:
        return restore_state(state_path, trainer.state, settings)
    if options.start is not None:
        return 0, adopt_networks(options.start, trainer.state)
    return 0, Past()


def _examples(loader: Iterable[Example]) -> Iterator[Example]:
    """The loader's batches. An error of a loading process arrives with its traceback as text: only its end is ours."""
    try:
        yield from loader
    except LgganError as error:
        raise type(error)(str(error).rsplit(f"{type(error).__name__}: ", 1)[-1].strip()) from error


def _remove_leftovers(run: Path) -> None:
    """Delete the temporary files of a run that was killed while it wrote (`runtime.contract.files.atomic_path`)."""
    for file in (STATE_FILE, GENERATOR_FILE, SETTINGS_FILE, JOURNAL_FILE):
        for leftover in run.glob(f".{Path(file).stem}-*{Path(file).suffix}"):
            leftover.unlink(missing_ok=True)
    for leftover in (run / SAMPLES_FOLDER).glob(".step_*-*.png"):
        leftover.unlink(missing_ok=True)


def _note(terms: dict[str, float]) -> str:
    generator = sum(value for name, value in terms.items() if not name.startswith("discriminator"))
    discriminator = sum(value for name, value in terms.items() if name.startswith("discriminator"))
    return f"G {generator:.2f} D {discriminator:.2f}"


@contextmanager
def _stop_signal() -> Iterator[threading.Event]:
    """Turns SIGINT and SIGTERM into a wish to stop after the step; a second one is immediate."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def handle(number: int, frame: object) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
