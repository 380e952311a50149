"""The whole training run: from a preset and a folder of data to a checkpoint that can be exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from lggan.data.open import open_dataset
from lggan.data.plan import BatchPlan
from lggan.losses.perceptual import build_perceptual_loss
from lggan.losses.perceptual_weights import find_perceptual_weights
from lggan.preset import Preset
from lggan.training.distributed import process_group
from lggan.training.interruption import stop_signal
from lggan.training.journal import FILE as JOURNAL_FILE
from lggan.training.loop import GENERATOR_FILE, SAMPLES_FOLDER, STATE_FILE, TrainingLoop, TrainResult
from lggan.training.options import TrainOptions
from lggan.training.state import Past, Stretch, adopt_networks, restore_state
from lggan.training.tasks import task_for
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
        UsageError: the folder holds another run; options contradict; the preset's perceptual loss has no weights.
        MissingError: the disk is full, CUDA is absent.
        BackendError: a loss became NaN or infinite; another process died.
    """
    progress = progress or SilentProgress()
    state_path = options.output / STATE_FILE
    if not options.resume and state_path.exists():
        raise UsageError(f"{options.output} holds a run already; add --resume or choose another --out")
    if options.resume and options.start is not None:
        raise UsageError("--resume continues this folder's run, --start-from begins a new one; give one of them")
    dataset = open_dataset(preset, options.data, "train")
    weights = find_perceptual_weights(preset.train.perceptual, options.perceptual_weights)
    perceptual = build_perceptual_loss(preset.train.perceptual, weights)
    plan = BatchPlan(len(dataset), preset.train.batch, preset.train.seed, dataset.slack, preset.train.flip)
    total = options.steps or (preset.train.epochs + preset.train.decay_epochs) * plan.steps_per_epoch
    settings = _settings(preset, weights, len(dataset))

    with process_group(options.device, options.peer_timeout) as process, stop_signal() as stop:
        _check_shares(preset.train.batch, process.ranks, options.computing.accumulate)
        options.precision.autocast(process.device)  # refuses what the device cannot do, before any work
        trainer = Trainer(task_for(preset), preset.train, process, options.precision, perceptual, options.computing)
        first, past = _beginning(state_path, options, trainer, settings)
        how = (options.precision.value, process.device.type, process.ranks, torch.get_num_threads())
        past = past.then(Stretch(first, *how, options.computing.accumulate))
        if process.leads:
            _remove_leftovers(options.output)
        if process.leads and not options.resume:
            write_text(options.output / SETTINGS_FILE, json.dumps(settings, indent=2), force=True)
        process.barrier()
        run = TrainingLoop(preset, options, process, trainer, dataset, plan, settings, past)
        return run.go(first, total, stop, progress)


def _check_shares(batch: int, ranks: int, accumulate: int) -> None:
    if batch % (ranks * accumulate):
        raise UsageError(
            f"batch {batch} cannot be shared evenly by {ranks} processes with {accumulate} micro-batches each; "
            f"choose --batch as a multiple of {ranks * accumulate}, or another --accumulate"
        )


def _settings(preset: Preset, weights: Path | None, examples: int) -> dict[str, Any]:
    """What must be equal for a run to continue: not its length, nor how it is computed (see `Stretch`)."""
    plain = preset.to_dict()
    for name in ("epochs", "decay_epochs"):
        plain["train"].pop(name)
    plain["perceptual_weights_sha256"] = sha256_of(weights) if weights is not None else None
    plain["examples"] = examples
    settings: dict[str, Any] = json.loads(json.dumps(plain))  # what reading it back will give
    return settings


def _beginning(state_path: Path, options: TrainOptions, trainer: Trainer, settings: dict[str, Any]) -> tuple[int, Past]:
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
