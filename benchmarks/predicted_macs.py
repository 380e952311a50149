"""The multiplications that `rewrites.py` predicts for each row: published, and after the rewrites of a target."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from rewrite_rows import PLAIN, Row, row_of
from torch import nn

from export.layer_table import Layer, layer_table
from export.rewrites.names import Rewrite
from export.rewrites.plan import rewrites_of
from export.saving_formulas import FORMULAS, Scene
from export.savings import published_macs
from export.target import Target
from lggan.config import GeneratorConfig, SauPlacement

_CONCERNED = {
    Row.STEM: (Rewrite.LABEL_STEM,),
    Row.SPADE: (Rewrite.BATCH_NORM, Rewrite.GAMMA_BETA, Rewrite.SPADE_PATCHES),
    Row.GLOBAL: (Rewrite.WINOGRAD,),
    Row.TOWER: (Rewrite.WINOGRAD,),
    Row.UPSAMPLING: (Rewrite.PROJECT_FIRST, Rewrite.WINOGRAD),
    Row.NORMS: (Rewrite.DEAD_BIASES,),
    Row.HEADS: (Rewrite.CLASS_HEADS,),
    Row.ATTENTION: (Rewrite.ATTENTION_SIGMOID,),
}


def concerned(row: Row, config: GeneratorConfig) -> tuple[Rewrite, ...]:
    """The rewrites that concern a row in one of the targets; nothing is done to transposed convolutions.

    Spectral norm is folded in the checkpoint that every form is made from.
    """
    is_transposed = row is Row.UPSAMPLING and config.sau.placement is SauPlacement.NONE
    return () if is_transposed else _CONCERNED.get(row, ())


def predicted_macs(
    config: GeneratorConfig, label: np.ndarray, instance: np.ndarray | None, forms: Sequence[str]
) -> dict[str, dict[Row, int]]:
    """Of each row by form, those of the published formulation for PLAIN.

    Args:
        config: of the generator.
        label: uint8 [H, W] of the generator's size.
        instance: int32 [H, W] exactly if the generator has an edge channel.
        forms: values of targets; PLAIN is always there.
    """
    scene = Scene(config, layer_table(config), label, instance)
    layers: dict[Row, dict[str, Layer]] = {row: {} for row in Row}
    for name, layer in scene.layers.items():
        layers[row_of(name.split("."), "Conv")][name] = layer
    published = {row: sum(map(_macs, own.values())) for row, own in layers.items()}
    # What is left is the reassembly of semantic-aware upsampling, and its projection behind it.
    published[Row.UPSAMPLING] += published_macs(config) - sum(published.values())
    found = {PLAIN: published}
    for form in forms:
        if form == PLAIN:
            continue
        applied = rewrites_of(Target(form))
        found[form] = dict(published)
        for row in Row:
            found[form][row] += sum(
                _change(scene, one, layers[row]) for one in concerned(row, config) if one in applied
            )
    return found


def _change(scene: Scene, rewrite: Rewrite, layers: Mapping[str, Layer]) -> int:
    """By how much the multiplications change; with Winograd's, which concerns several rows, those of ``layers``."""
    change = FORMULAS[rewrite](replace(scene, layers=dict(layers)) if rewrite is Rewrite.WINOGRAD else scene)
    return 0 if change is None else change.after.macs - change.before.macs


def _macs(layer: Layer) -> int:
    """Of a published layer; a transposed convolution is counted per input pixel, an upsampling as a whole not here."""
    pixels = layer.source_pixels if layer.kind is nn.ConvTranspose2d else layer.pixels
    return math.prod(layer.weight) * pixels if layer.weight else 0
