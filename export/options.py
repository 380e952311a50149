"""What a caller can ask of the export."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from export.target import Target
from export.variants import Variant
from runtime.profiler.worker import LabelMap


class OutputKind(str, Enum):
    """What the graph ends in.

    IMAGE: ``image`` uint8 [N, H, W, 3], ready to be written as a picture.
    FLOAT: ``image`` float32 [N, 3, H, W] in [-1, 1]. A cross-view model's may reach beyond it: the network does not
        squash its sum (specification G.26), and only bytes are clamped.
    """

    IMAGE = "image"
    FLOAT = "float"


@dataclass(frozen=True)
class ExportOptions:
    """Options of `export.onnx_export.export_onnx`.

    Attributes:
        target: see `export.target.Target`.
        output: see `OutputKind`.
        variant: see `export.variants.Variant`.
        maps: label maps to compare PyTorch with ONNX Runtime on, ids below K, sides multiples of the model's stride;
            a bare array, uint8 [H, W], is a label map alone. Instance maps and photos that the model wants and that are
            not given are made up. None for the built-in maps (`export.layouts`).
    """

    target: Target = Target.TENSORRT
    output: OutputKind = OutputKind.IMAGE
    variant: Variant = Variant.FULL
    maps: Sequence[LabelMap | np.ndarray] | None = None
