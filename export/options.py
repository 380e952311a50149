"""What a caller can ask of the export."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from export.variants import Variant


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
        output: see `OutputKind`.
        variant: see `export.variants.Variant`.
        maps: label maps to compare PyTorch with ONNX Runtime on, uint8 [H, W] each, ids below K, sides
            multiples of the model's stride; None for the built-in ones (`export.layouts`).
    """

    output: OutputKind = OutputKind.IMAGE
    variant: Variant = Variant.FULL
    maps: Sequence[np.ndarray] | None = None
