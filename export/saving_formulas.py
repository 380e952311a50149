"""The formulas behind `export.savings`: one function per rewrite.

The algebra stands in the files of `export.rewrites`; here is what it does to the number of multiplications. Rewrites
are taken in the order of `Rewrite`, each after those before it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from export.label_counts import class_windows, distinct_patches, distinct_windows, symbol_map
from export.layer_table import Layer
from export.rewrites.names import Rewrite
from export.rewrites.winograd import winograd_pays
from lggan.config import GeneratorConfig
from lggan.cross_view_config import NO_GROUP, CrossViewConfig
from lggan.networks.upsample import SemanticAwareUpsample
from lggan.task import AnyConfig

FLOAT = 4  # bytes
_TILE, _TRANSFORMED = 4, 6  # Winograd's F(4x4, 3x3): pixels per side of a tile, of its input


@dataclass(frozen=True)
class Work:
    """Of some operations: MACs, numbers that are weights, numbers that they give."""

    macs: int = 0
    weights: int = 0
    activations: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(self.macs + other.macs, self.weights + other.weights, self.activations + other.activations)


@dataclass(frozen=True)
class Scene:
    """What the formulas read: the network, its layers, and a label map [H, W] of its size.

    ``instance`` is [H, W] exactly if the network has an edge channel.
    """

    config: AnyConfig
    layers: dict[str, Layer]
    label: NDArray[np.uint8]
    instance: NDArray[np.int32] | None

    def convolutions(self, *endings: str) -> list[Layer]:
        """Layers whose names end so."""
        return [layer for name, layer in self.layers.items() if name.endswith(endings)]

    def of_kind(self, kind: type[nn.Module]) -> list[Layer]:
        """Layers of this kind."""
        return [layer for layer in self.layers.values() if layer.kind is kind]


@dataclass(frozen=True)
class Change:
    """The work of the operations that a rewrite concerns, before and after it, and a sentence about it."""

    before: Work
    after: Work
    note: str


def _spectral_norm(scene: Scene) -> Change | None:
    layers = scene.convolutions(".conv_0", ".conv_1", ".conv_s")
    if not layers:
        return None
    before, after = Work(), Work()
    for layer in layers:
        count, rows = math.prod(layer.weight), layer.weight[0]
        # sigma = u' (W v), then W / sigma
        before += Work(count + rows, count + rows + count // rows, rows + count)
        after += Work(0, count, 0)
    return Change(before, after, f"{len(layers)} weights are divided by their singular value once, not per picture")


def _batch_norm(scene: Scene) -> Change | None:
    maps = [math.prod(layer.output) for layer in scene.convolutions(".gamma")]
    if not maps:
        return None
    statistics = sum(2 * layer.output[0] for layer in scene.convolutions(".gamma"))
    # normalised, 1 + gamma, product, sum -> product, sum
    return Change(
        Work(0, statistics, 4 * sum(maps)),
        Work(0, 0, 2 * sum(maps)),
        f"the statistics of {len(maps)} norms are part of the weights of scale and shift",
    )


def _dead_biases(scene: Scene) -> Change | None:
    endings = (".conv1", ".conv2", ".conv3", ".conv4", ".conv5", ".up1", ".up2")
    dead = sum(layer.bias for layer in scene.convolutions(*endings))
    in_blocks = scene.convolutions(".conv_0", ".conv_1")
    kept = sum(layer.bias for layer in in_blocks if _ends_a_chain(scene, layer))
    moved = sum(layer.bias for layer in in_blocks) - kept
    note = f"{dead} numbers that the following norm subtracts again"
    if in_blocks:
        note += f", {moved} that the running means further on take over"
    return Change(Work(0, dead + moved + kept, 0), Work(0, kept, 0), note)


def _ends_a_chain(scene: Scene, layer: Layer) -> bool:
    """Whether a SPADE block's convolution keeps its bias: no norm follows, or an upsampling that depends on values."""
    block, _, name = layer.name.rpartition(".")
    blocks, _, index = block.rpartition(".")
    is_last = f"{blocks}.{int(index) + 1}.conv_0" not in scene.layers
    doubling = f"{blocks.removesuffix('blocks')}doublings.{index}"
    return name == "conv_1" and (is_last or doubling in scene.layers)


def _gamma_beta(scene: Scene) -> Change | None:
    pairs = scene.convolutions(".gamma", ".beta")
    if not pairs:
        return None
    both = sum((_convolution(layer) for layer in pairs), Work())
    spared = sum(math.prod(layer.source) for layer in scene.convolutions(".gamma"))
    return Change(both, both, f"the same multiplications; {_mebibytes(spared)} less to read")


def _spade_patches(scene: Scene) -> Change | None:
    shared = scene.convolutions(".shared")
    if not shared:
        return None
    symbols, size = _symbols(scene)
    counted = {}
    before, after = Work(), Work()
    for layer in shared:
        hidden, height, width = layer.output
        scale = scene.layers[layer.name.removesuffix("shared") + "gamma"]
        maps = 2 * scale.output[0]
        if (height, width) not in counted:
            small = symbols[:: scene.config.height // height, :: scene.config.width // width]
            counted[(height, width)] = distinct_patches(small, 3, 3), distinct_patches(small, 5, 5)
        three, five = counted[(height, width)]
        weights = 9 * hidden * maps + maps
        before += _convolution(layer) + Work(9 * hidden * maps * layer.pixels, weights, maps * layer.pixels)
        before += Work(activations=hidden * layer.pixels + math.prod(layer.source))  # behind its ReLU; the layout
        table = 9 * size * hidden + hidden
        rows = hidden * three + 9 * hidden * five  # the latter gathered, for gamma and beta alike
        after += Work(9 * hidden * maps * five, weights + table, rows + maps * (five + layer.pixels))
    shares = ", ".join(
        f"{100 * five / (height * width):.1f} % at {height}x{width}"
        for (height, width), (_, five) in sorted(counted.items(), reverse=True)[:3]
    )
    note = f"distinct 5x5 neighbourhoods: {shares}; the hidden map by look-up, gamma and beta from the same rows of it"
    return Change(before, after, note)


def _label_stem(scene: Scene) -> Change | None:
    if not isinstance(scene.config, GeneratorConfig):
        return None
    conv = scene.layers["encoder.conv1"]
    maps, _, kernel, _ = conv.weight
    symbols, size = _symbols(scene)
    around = np.pad(symbols, kernel // 2, mode="reflect")
    columns = distinct_windows(around, kernel, 1)
    table = kernel * kernel * size * maps
    return Change(
        Work(_convolution(conv).macs, math.prod(conv.weight), math.prod(conv.source) + math.prod(conv.output)),
        Work(0, table, kernel * columns * maps + math.prod(conv.output)),
        f"{kernel} look-ups per pixel, and {kernel * kernel} for each of {columns} distinct columns of {kernel} pixels",
    )


def _class_heads(scene: Scene) -> Change | None:
    bank = scene.layers["local_branch.heads"]
    count, out, channels, kernel, _ = bank.weight
    heads = _heads(scene)
    pixels, around = heads.size, (heads.shape[0] + kernel - 1) * (heads.shape[1] + kernel - 1)
    strips, pairs = _class_strips(heads, count, kernel), class_windows(heads, count, kernel)
    taps = out * kernel * kernel
    weights = math.prod(bank.weight) + bank.bias
    # masked features per head; answers, and what tanh makes of them
    before = Work(count * pixels * taps * channels, weights, count * (channels * around + 2 * out * pixels))
    # features of each strip, and its products; the same of each pair
    after = Work(strips * taps * channels, weights, strips * kernel * (channels + out) + 2 * out * pairs)
    fuse = scene.layers.get("local_branch.fuse")
    per_answer = out  # what an answer adds to: a sum of heads is a fusion with a 1x1 kernel
    if fuse is not None:
        per_answer = math.prod(fuse.weight) // (count * out)
        fuse_weights = math.prod(fuse.weight) + fuse.bias
        before += Work(math.prod(fuse.weight) * pixels, fuse_weights, math.prod(fuse.output))
        after += Work(0, fuse_weights, math.prod(fuse.output))
    # the constant answers of all heads are one more channel
    after += Work(per_answer * (out * pairs + pixels), 0, per_answer * pixels)
    note = (
        f"{pairs / pixels:.2f} of {count} heads per pixel. The graph multiplies more than this: lists of strips are "
        f"rounded up to whole blocks, bands share {kernel - 1} rows, and all heads of a band are fused at each pixel"
    )
    return Change(before, after, note)


def _class_strips(heads: NDArray[np.int64], count: int, kernel: int) -> int:
    """Pairs of a row of some window and a class that occurs in it, the map reflected at its borders."""
    around = np.pad(heads, kernel // 2, mode="reflect")
    columns = [around[:, left : left + heads.shape[1]] for left in range(kernel)]
    present = np.unique(heads[heads < count])
    return sum(int(np.logical_or.reduce([column == head for column in columns]).sum()) for head in present)


def _attention_sigmoid(scene: Scene) -> Change | None:
    conv = scene.layers["attention.weights"]
    maps, channels = conv.weight[:2]
    pixels = conv.pixels
    return Change(
        Work(maps * channels * pixels, maps * channels + maps, (2 * maps + 1) * pixels),
        Work(channels * pixels, channels + 1, 2 * pixels),
        "one weight map instead of two that add to one",
    )


def project_first(scene: Scene) -> Change | None:
    before, after, places = Work(), Work(), 0
    for layer in scene.of_kind(SemanticAwareUpsample):
        project = scene.layers.get(f"{layer.name}.project")
        if project is None:
            continue
        places += 1
        out, channels = project.weight[:2]
        taps = math.prod(scene.layers[f"{layer.name}.predict"].weight[:1]) * layer.source_pixels  # k² per output pixel
        weights = out * channels + out
        before += Work(taps * channels + out * channels * layer.pixels, weights, (channels + out) * layer.pixels)
        after += Work(
            taps * out + out * channels * layer.source_pixels,
            weights,
            out * (layer.source_pixels + layer.pixels),
        )
    note = f"{places} upsamplings reassemble fewer channels, and project a quarter of the pixels"
    return Change(before, after, note) if places else None


def _winograd(scene: Scene) -> Change | None:
    endings = (".conv_0", ".conv_1", ".conv1", ".conv2", ".up1")
    layers = [
        layer
        for layer in scene.convolutions(*endings)
        if (layer.kind, layer.weight[2:], layer.stride) == (nn.Conv2d, (3, 3), 1)
        and winograd_pays(layer.weight[1], layer.weight[0], layer.pixels)
    ]
    before, after = Work(), Work()
    squared = _TRANSFORMED * _TRANSFORMED
    for layer in layers:
        out, channels = layer.weight[:2]
        tiles = math.prod(-(-side // _TILE) for side in layer.output[1:])
        transforms = squared * squared * channels + _TILE * _TILE * squared * out
        before += Work(_convolution(layer).macs, math.prod(layer.weight), math.prod(layer.output))
        after += Work(
            tiles * (squared * channels * out + transforms),
            squared * channels * out,
            tiles * squared * (channels + out) + math.prod(layer.output),
        )
    return Change(before, after, f"{len(layers)} convolutions, transforms included") if layers else None


def _convolution(layer: Layer) -> Work:
    """A convolution and what it gives."""
    count = math.prod(layer.weight)
    return Work(count * layer.pixels, count + layer.bias, math.prod(layer.output))


def _symbols(scene: Scene) -> tuple[NDArray[np.int64], int]:
    """The label map with its edges as one map of numbers, and how many numbers there are, outside included."""
    config = scene.config
    return symbol_map(scene.label, config.classes, scene.instance), (config.classes + 1) * (1 + config.edges) + 1


def _heads(scene: Scene) -> NDArray[np.int64]:
    """The head of each pixel, the number of heads for none."""
    config = scene.config
    table = np.full(256, config.heads, np.int64)
    if isinstance(config, CrossViewConfig):
        groups = np.array(config.groups)
        table[: config.classes] = np.where(groups == NO_GROUP, config.heads, groups)
    else:
        table[: config.classes] = np.minimum(np.arange(config.classes), config.heads - 1)
    return table[scene.label]


def _mebibytes(floats: int) -> str:
    return f"{FLOAT * floats / (1 << 20):.1f} MiB"


FORMULAS: dict[Rewrite, Callable[[Scene], Change | None]] = {
    Rewrite.SPECTRAL_NORM: _spectral_norm,
    Rewrite.BATCH_NORM: _batch_norm,
    Rewrite.DEAD_BIASES: _dead_biases,
    Rewrite.GAMMA_BETA: _gamma_beta,
    Rewrite.SPADE_PATCHES: _spade_patches,
    Rewrite.LABEL_STEM: _label_stem,
    Rewrite.CLASS_HEADS: _class_heads,
    Rewrite.ATTENTION_SIGMOID: _attention_sigmoid,
    Rewrite.PROJECT_FIRST: project_first,
    Rewrite.WINOGRAD: _winograd,
}
