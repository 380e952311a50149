"""The whole training run: from a preset and a folder of data to a checkpoint that can be exported."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from lggan.data.dataset import DataConfig, PairDataset
from lggan.data.pairs import Pair, find_pairs
from lggan.data.plan import BatchPlan
from lggan.losses.perceptual import PerceptualFeatures, build_perceptual_loss
from lggan.preset import Preset
from lggan.training.distributed import process_group
from lggan.training.interruption import stop_signal
from lggan.training.journal import FILE as JOURNAL_FILE
from lggan.training.loop import GENERATOR_FILE, SAMPLES_FOLDER, STATE_FILE, TrainingLoop, TrainResult
from lggan.training.options import TrainOptions
from lggan.training.state import Past, Stretch, adopt_networks, restore_state
from lggan.training.trainer import Trainer
from runtime.contract.errors import UsageError
from runtime.contract.files import sha256_of, write_text
from runtime.contract.progress import Progress, SilentProgress

SETTINGS_FILE = "settings.json"


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

    with process_group(options.device) as process, stop_signal() as stop:
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
        run = TrainingLoop(preset, options, process, trainer, dataset, plan, settings, past)
        return run.go(first, total, stop, progress)


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


def _remove_leftovers(run: Path) -> None:
    """Delete the temporary files of a run that was killed while it wrote (`runtime.contract.files.atomic_path`)."""
    for file in (STATE_FILE, GENERATOR_FILE, SETTINGS_FILE, JOURNAL_FILE):
        for leftover in run.glob(f".{Path(file).stem}-*{Path(file).suffix}"):
            leftover.unlink(missing_ok=True)
    for leftover in (run / SAMPLES_FOLDER).glob(".step_*-*.png"):
        leftover.unlink(missing_ok=True)
