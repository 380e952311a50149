"""The largest absolute value of every channel of a graph's tensors over label maps."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from onnx import ModelProto

from calibration.activations import BUDGET_BYTES, activations
from calibration.maps import CalibrationMaps
from runtime.contract.progress import Progress


def channel_peaks(
    model: ModelProto,
    tensors: Collection[str],
    maps: CalibrationMaps,
    progress: Progress,
    threads: int | None = None,
    budget_bytes: int = BUDGET_BYTES,
) -> dict[str, np.ndarray]:
    """Run the graph over all label maps and look at its channels.

    Args:
        model: FP32 graph.
        tensors: float32 [N, C, H, W], of the main graph.
        maps: the label maps.
        progress: where to report: one step a map.
        threads: of ONNX Runtime; its own choice if None.
        budget_bytes: of memory for the tensors of one map.

    Returns:
        Tensor -> float32 [C], max |x|.

    Raises:
        InputError: a value that is not finite.
        BackendError: ONNX Runtime cannot load or run the graph.
    """
    names = tuple(dict.fromkeys(tensors))
    peaks: dict[str, np.ndarray] = {}
    with progress.task(f"largest values of the channels of {len(names)} tensors", len(maps)) as task:
        for activation in activations(model, names, maps, threads, budget_bytes):
            values = activation.values
            others = tuple(side for side in range(values.ndim) if side != 1)
            # no copy of |x|
            found = np.maximum(values.max(axis=others, initial=0.0), -values.min(axis=others, initial=0.0))
            known = peaks.get(activation.tensor)
            peaks[activation.tensor] = found if known is None else np.maximum(known, found)
            task.advance(1 / len(names), activation.map_name)
    return peaks
