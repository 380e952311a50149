"""Exported graphs that several tests look at: one export per case and target in a session."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from export.onnx_export import export_onnx
from export.options import ExportOptions
from export.target import Target
from tests.export.samples import Case, Sample

_MADE: dict[tuple[Case, Target], onnx.ModelProto] = {}


def exported_graph(sample: Sample, case: Case, target: Target, folder: Path) -> onnx.ModelProto:
    """What ``lggan export --target`` writes for a case, compared with PyTorch on one small map. Do not change it."""
    if (case, target) not in _MADE:
        side = max(sample.card.stride, sample.card.smallest_side)
        label = np.random.default_rng(2).integers(0, len(sample.card.classes), (side // 8, side // 8), dtype=np.uint8)
        options = ExportOptions(target=target, maps=[label.repeat(8, axis=0).repeat(8, axis=1)])
        result = export_onnx(sample.path, folder / "model.onnx", options, force=True)
        _MADE[case, target] = onnx.load(str(result.path))
    return _MADE[case, target]
