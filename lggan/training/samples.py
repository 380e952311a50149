"""A picture of how far the training has come: what goes in, what comes out, and photos side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from lggan.data.open import ExampleDataset
from lggan.data.plan import View
from lggan.networks.build import AnyGenerator
from lggan.training.task import TrainingTask
from runtime.contract.pictures import write_grid


@torch.no_grad()
def write_samples(
    path: Path, task: TrainingTask, generator: AnyGenerator, dataset: ExampleDataset, indices: Sequence[int]
) -> None:
    """Write a PNG with one row per example, see `TrainingTask.pictures`.

    The generator is run in evaluation mode and put back into the mode it was in.
    """
    was_training = generator.training
    generator.eval()
    device = next(generator.parameters()).device
    rows = [task.pictures(generator, dataset[View(index, 0, 0, False)], device) for index in indices]
    generator.train(was_training)
    write_grid(path, rows, task.titles(), force=True)
