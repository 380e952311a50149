"""What the user asks of a training run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import torch

from lggan.training.computing import Computing
from lggan.training.distributed import PEER_TIMEOUT
from lggan.training.precision import TrainPrecision
from runtime.contract.errors import UsageError


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
        computing: micro-batches, memory layout, compilation.
        perceptual_weights: file with the weights of the preset's perceptual network; None looks for them in torch
            hub's cache.
        save_every, sample_every, log_every: in steps.
        workers: processes that load data; 0 loads in this one. They decide the speed, not the order.
        prefetch: batches that each of them loads ahead.
        peer_timeout: seconds to wait for another training process before it counts as lost.
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
    computing: Computing = field(default_factory=Computing)
    perceptual_weights: Path | None = None
    save_every: int = 200
    sample_every: int = 500
    log_every: int = 10
    workers: int = 0
    prefetch: int = 2
    peer_timeout: float = PEER_TIMEOUT
    weights_dtype: torch.dtype = torch.float32
    licence: str = ""

    def __post_init__(self) -> None:
        for name in ("steps", "save_every", "sample_every", "log_every", "prefetch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}; it must be positive")
        if not 0 < self.peer_timeout < math.inf:
            raise UsageError(f"peer_timeout is {self.peer_timeout}; it must be positive and finite")
        if self.workers < 0:
            raise UsageError(f"workers is {self.workers}; it cannot be negative")
