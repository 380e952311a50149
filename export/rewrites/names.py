"""The exact rewrites that an export can apply."""

from __future__ import annotations

from enum import Enum


class Rewrite(str, Enum):
    """One exact rewrite of the generator; what the export of a target applies is decided in `export.rewrites.plan`.

    The values are the names in a file's account of its graph (`runtime.contract.graph_report.Saving`); the order is
    that in which they are accounted.

    SPECTRAL_NORM: the weights divided by their singular value once, not per picture.
    BATCH_NORM: SPADE's batch norm as part of its modulation.
    DEAD_BIASES: biases in front of an instance norm dropped, which subtracts them again.
    GAMMA_BETA: SPADE's two modulating convolutions as one.
    SPADE_PATCHES: SPADE's modulation once per distinct neighbourhood of the label map.
    LABEL_STEM: the encoder's first convolution, of a one-hot map, as look-ups.
    CLASS_HEADS: each class head around its class alone, the constant part of their fusion known beforehand.
    ATTENTION_SIGMOID: softmax over two weight maps as the sigmoid of their difference.
    PROJECT_FIRST: the 1x1 convolution before semantic-aware upsampling instead of behind it.
    WINOGRAD: dense 3x3 convolutions in tiles of 4x4 pixels, with a quarter of the multiplications.
    """

    SPECTRAL_NORM = "spectral-norm"
    BATCH_NORM = "batch-norm"
    DEAD_BIASES = "dead-biases"
    GAMMA_BETA = "gamma-beta"
    SPADE_PATCHES = "spade-patches"
    LABEL_STEM = "label-stem"
    CLASS_HEADS = "class-heads"
    ATTENTION_SIGMOID = "attention-sigmoid"
    PROJECT_FIRST = "project-first"
    WINOGRAD = "winograd"
