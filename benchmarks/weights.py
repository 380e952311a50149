"""Full-width generators with weights that anyone can draw again: for measurements where no trained ones exist.

Every tensor is drawn from numpy's PCG64, seeded by the CRC-32 of its name, so equal names and shapes give equal values
on every machine. The scales keep all layers alive: convolutions divide by the root of what they sum, spectrally
normalised ones by their largest singular value, running variances lie around one.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import torch

from lggan.checkpoint import save_generator
from lggan.networks.build import AnyGenerator, build_generator
from lggan.networks.spade import SPADEResBlock, spectrally_normalised
from lggan.preset import Preset

_POWER_STEPS = 15
_GAINS = {  # name's beginning -> factor; without them the pictures would be nearly grey
    "local_branch.fuse.weight": 4.0,
    "global_branch.image.weight": 2.0,
}


def drawn_generator(preset: Preset) -> AnyGenerator:
    """The generator of a preset in evaluation mode, without spectral normalisation, with drawn weights."""
    generator = build_generator(preset.generator).eval().requires_grad_(False)
    for name, tensor in generator.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.from_numpy(_drawn(name, tuple(tensor.shape))))
    for block in generator.modules():
        if isinstance(block, SPADEResBlock):
            for conv in spectrally_normalised(block):
                weight = conv.weight
                assert isinstance(weight, torch.Tensor)
                weight.div_(_largest_singular_value(weight.flatten(1).numpy()))
    return generator


def write_checkpoint(preset: Preset, path: Path) -> None:
    """A checkpoint of `drawn_generator` that ``lggan export`` reads like any other; an existing file is replaced."""
    save_generator(path, drawn_generator(preset), preset.card(), force=True)


def _drawn(name: str, shape: tuple[int, ...]) -> np.ndarray:
    draw = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    if name.endswith("running_var"):
        values = draw.random(shape) + 0.5
    elif name.endswith("running_mean"):
        values = 0.2 * draw.standard_normal(shape)
    elif name.endswith("bias"):
        values = 0.1 * draw.standard_normal(shape)
    else:
        # The bank of class heads has its classes in front of what other convolutions have.
        summed = np.prod(shape[2:] if name == "local_branch.heads.weight" else shape[1:])
        values = _GAINS.get(name, 1.0) * draw.standard_normal(shape) / np.sqrt(summed)
    return values.astype(np.float32)


def _largest_singular_value(matrix: np.ndarray) -> float:
    """By power iteration, in float64."""
    wide = matrix.astype(np.float64)
    vector = np.ones(len(wide))
    for _ in range(_POWER_STEPS):
        other = wide.T @ vector
        vector = wide @ (other / np.linalg.norm(other))
        norm = float(np.linalg.norm(vector))
        vector /= norm
    return norm
