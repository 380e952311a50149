"""The sizes of an official generator, read from its tensors: a file may be of another width than the released ones."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from lggan.config import SauConfig, SauPlacement, SauWindow
from lggan.task import Task
from runtime.contract.errors import InputError

_MAX_WIDTH = 1024  # channels of the first layer; the released networks have 64
_MAX_HIDDEN = 8192  # of the SPADE modulations; the released networks have 128

# A damaged tensor must not decide alone: several tell each size, and most votes win. (names, dimension, per unit)
_WIDTH = ((r"conv1\.weight", 0, 1), (r"conv2\.weight", 1, 1), (r"conv3\.weight", 1, 2), (r"conv_img\.weight", 1, 1),
          (r"deconv5_\w+\.weight", 1, 1))  # fmt: skip
_INPUTS = ((r"conv1\.weight", 1, 1), (r".+\.mlp_shared\.0\.weight", 1, 1))
_HIDDEN = ((r".+\.mlp_shared\.0\.weight", 0, 1), (r".+\.mlp_(gamma|beta)\.weight", 1, 1))
_FUSED = ((r"deconv9\.weight", 1, 3),)
_COMPRESSED = ((r".+\.sakg_block\.feature_channel_compression\.weight", 0, 1),)
_TAPS = ((r".+\.sakg_block\.semantic_kernel_generation\.weight", 0, 4),)  # 4 output pixels per source pixel
_SAU_CONTEXT = ((r".+\.sakg_block\.semantic_kernel_generation\.weight", 2, 1),)


@dataclass(frozen=True)
class OfficialShape:
    """Sizes of an official generator.

    Attributes:
        ngf: width.
        inputs: S, channels of its first layer: one per class, and one for instance edges where there are any; 6 in
            cross-view translation.
        spade_hidden: hidden channels of the SPADE modulations; 0 in cross-view translation, which has none.
        heads: local sub-generators that are numbered in the file, unused ones included.
        residual_blocks: of the tower.
        sau: placement ``none`` in the released files; else semantic-aware upsampling as specification B.3 has it.
    """

    ngf: int
    inputs: int
    spade_hidden: int
    heads: int
    residual_blocks: int
    sau: SauConfig


def measure(official: Mapping[str, Tensor], task: Task, expected: OfficialShape) -> OfficialShape:
    """Read the sizes off the tensors' shapes.

    Args:
        expected: what a preset has; taken where the file's tensors are undecided or silent.

    Raises:
        InputError: a size that no LGGAN has.
    """
    semantic = task is Task.SEMANTIC_SYNTHESIS
    shape = OfficialShape(
        ngf=_most(_told(official, _WIDTH), expected.ngf),
        inputs=_most(_told(official, _INPUTS), expected.inputs),
        spade_hidden=_most(_told(official, _HIDDEN), expected.spade_hidden) if semantic else 0,
        heads=_heads(official, expected.heads, semantic),
        residual_blocks=max(_numbers(official, r"resnet_blocks(\d+)\..+"), default=0),
        sau=_sau(official),
    )
    for name, value, most in (("ngf", shape.ngf, _MAX_WIDTH), ("SPADE hidden width", shape.spade_hidden, _MAX_HIDDEN)):
        if value > most:
            raise InputError(f"its {name} would be {value}, more than {most}; it is no LGGAN generator")
    return shape


def _heads(official: Mapping[str, Tensor], expected: int, semantic: bool) -> int:
    """In semantic synthesis the fusing convolution tells the number, too, and heads count from 0."""
    last = max(_numbers(official, r"deconv5_(\d+)\..+"), default=-1 if semantic else 0)
    if not semantic:
        return last
    return _most([last + 1, *_told(official, _FUSED)], expected)


def _sau(official: Mapping[str, Tensor]) -> SauConfig:
    if not any(".sakg_block." in name for name in official):
        return SauConfig(placement=SauPlacement.NONE)
    kernel = math.isqrt(_most(_told(official, _TAPS), 25))
    context = _most(_told(official, _SAU_CONTEXT), 1)
    sau = SauConfig(placement=SauPlacement.DECODERS, encoder_kernel=1, window=SauWindow.EXPANDED)
    sau = replace(sau, compressed=min(_most(_told(official, _COMPRESSED), 64), _MAX_WIDTH))
    if kernel % 2 and kernel <= 31 and context % 2 and context <= 31:
        sau = replace(sau, kernel=kernel, encoder_kernel=context)
    return sau


def _told(official: Mapping[str, Tensor], witnesses: tuple[tuple[str, int, int], ...]) -> list[int]:
    """What each tensor with a matching name says: the length of a dimension, in units."""
    said = []
    for pattern, dimension, unit in witnesses:
        name = re.compile(pattern)
        for key, tensor in official.items():
            if tensor.dim() == 4 and name.fullmatch(key) and tensor.shape[dimension] % unit == 0:
                said.append(tensor.shape[dimension] // unit)
    return [value for value in said if value > 0]


def _most(votes: list[int], expected: int) -> int:
    """The most frequent value; among equals the expected one, else the first."""
    counts = Counter(votes)
    if not counts:
        return expected
    most = max(counts.values())
    return expected if counts[expected] == most else next(value for value in votes if counts[value] == most)


def _numbers(official: Mapping[str, Tensor], pattern: str) -> Iterator[int]:
    name = re.compile(pattern)
    for key in official:
        match = name.fullmatch(key)
        if match and len(match[1]) <= 9:
            yield int(match[1])
