"""A picture of how far the training has come: label maps, pictures and photos side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from lggan.data.dataset import PairDataset
from lggan.data.plan import View
from lggan.networks.generator import LGGANGenerator
from lggan.networks.semantics import decode_image, encode_semantics
from runtime.contract.card import ClassInfo
from runtime.contract.labels import colorize
from runtime.contract.pictures import write_grid

TITLES = ("label map", "final", "global", "local", "share of local", "photo")


@torch.no_grad()
def write_samples(
    path: Path, generator: LGGANGenerator, dataset: PairDataset, indices: Sequence[int], classes: Sequence[ClassInfo]
) -> None:
    """Write a PNG with one row per example: label map, final, global and local picture, attention, photo.

    The generator is run in evaluation mode and put back into the mode it was in.
    """
    was_training = generator.training
    generator.eval()
    device = next(generator.parameters()).device
    rows = []
    for index in indices:
        example = dataset[View(index, 0, 0, False)]
        edges = example.instance.unsqueeze(0).to(device) if generator.config.edges else None
        semantics = encode_semantics(example.label.unsqueeze(0).to(device), generator.config.classes, edges)
        made = generator(semantics)
        share = (made.attention_local * 2 - 1).expand(-1, 3, -1, -1)
        pictures = [decode_image(p)[0].cpu().numpy() for p in (made.final, made.global_image, made.local_image, share)]
        photo = np.ascontiguousarray(example.photo.permute(1, 2, 0).numpy())
        rows.append([colorize(example.label[0].numpy(), classes), *pictures, photo])
    generator.train(was_training)
    write_grid(path, rows, TITLES, force=True)
