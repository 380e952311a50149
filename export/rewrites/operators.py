"""The operators that rewritten generators call."""

from __future__ import annotations

from export.operators import CustomOperator
from export.rewrites.class_heads import PAINT_HEADS
from export.rewrites.label_patches import LABEL_PATCHES
from export.rewrites.label_stem import CONVOLVE_LABELS
from export.rewrites.matrix_conv import MATRIX_CONVOLUTION
from export.rewrites.spade_patches import MODULATE_PATCHES
from export.rewrites.winograd import WINOGRAD_CONVOLUTION

OPERATORS: tuple[CustomOperator, ...] = (
    LABEL_PATCHES,
    CONVOLVE_LABELS,
    MODULATE_PATCHES,
    PAINT_HEADS,
    WINOGRAD_CONVOLUTION,
    MATRIX_CONVOLUTION,
)
