"""Bias correction: the mean error that INT8 gives each output channel of a convolution, taken from its bias.

Rounding moves the mean of an output channel, because weights are rounded once for all pixels. Each convolution is
looked at alone, reading what it reads in FP32: the mean of its rounded output minus that of the exact one. After M.
Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019.

With scales per output channel there is little to correct. On the CamVid example, all convolutions in INT8, the mean is
1 to 9 % of the power of the error in those that matter; correcting it brings 0.2 dB without equalisation and 0.05 dB
with it. Correcting convolution after convolution, each with the errors of those before it, brought no more. So it is an
option, and not what `lggan calibrate` does by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from onnx import ModelProto, numpy_helper

from calibration.activations import BUDGET_BYTES, activations
from calibration.convolutions import Convolution
from calibration.graphs import constants_to_initializers
from calibration.maps import CalibrationMaps
from calibration.origins import Origins
from calibration.own_constants import OwnConstants
from calibration.single_convolution import SingleConvolution, rounded_activation, rounded_weight
from runtime.contract.errors import InputError
from runtime.contract.progress import Progress


def bias_corrected(
    model: ModelProto,
    chosen: Iterable[Convolution],
    thresholds: Mapping[str, float],
    maps: CalibrationMaps,
    progress: Progress,
    threads: int | None = None,
    budget_bytes: int = BUDGET_BYTES,
) -> ModelProto:
    """Make a copy of an FP32 graph whose biases make up for INT8: what `calibration.qdq.insert_qdq` is to be given.

    The copy computes other FP32 pictures than the graph; only with the chosen convolutions in INT8 it comes closer to
    them. Left alone are convolutions whose output is read by instance normalisations only, which take every mean away,
    and those whose bias is computed. A convolution without a bias gets one.

    Args:
        model: FP32 graph; not changed.
        chosen: the convolutions that become INT8 (`calibration.convolutions`).
        thresholds: tensor -> largest |x| that INT8 holds, as for `insert_qdq`.
        maps: the label maps over which errors are averaged.
        progress: where to report.
        threads: of ONNX Runtime; its own choice if None.
        budget_bytes: of memory for the inputs of the convolutions, of one map.

    Raises:
        InputError: a tensor without a threshold above zero, values or weights that are not finite.
        BackendError: ONNX Runtime cannot load or run the graph or a convolution of it.
    """
    result = ModelProto()
    result.CopyFrom(model)
    constants_to_initializers(result)
    live = _correctable(result, chosen)
    if not live:
        return result
    constants = OwnConstants(result)
    nodes = {node.name: node for node in result.graph.node}
    for name, error in _mean_errors(result, live, thresholds, maps, progress, threads, budget_bytes).items():
        constants.add_to_bias(nodes[name], -error)
    constants.write()
    return result


def _correctable(model: ModelProto, chosen: Iterable[Convolution]) -> tuple[Convolution, ...]:
    constants = {tensor.name for tensor in model.graph.initializer}
    results = {value.name for value in model.graph.output}
    heard = {name for node in model.graph.node if node.op_type != "InstanceNormalization" for name in node.input}
    return tuple(
        one
        for one in chosen
        if (one.bias is None or one.bias in constants) and (one.output in results or one.output in heard)
    )


def _mean_errors(
    model: ModelProto,
    convolutions: tuple[Convolution, ...],
    thresholds: Mapping[str, float],
    maps: CalibrationMaps,
    progress: Progress,
    threads: int | None,
    budget_bytes: int,
) -> dict[str, np.ndarray]:
    """Convolution -> float32 [out], mean over the label maps, each map with the same weight."""
    origins = Origins(model.graph.node)
    nodes = {node.name: node for node in model.graph.node}
    wanted = {one.weight for one in convolutions}
    weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer if t.name in wanted}
    readers: dict[str, list[Convolution]] = {}
    for one in convolutions:
        readers.setdefault(one.input, []).append(one)
    ranges = {name: _threshold(thresholds, origins.range_source(name)) for name in readers}
    sums: dict[str, np.ndarray] = {}
    with progress.task(f"mean errors of {len(convolutions)} convolutions", len(maps)) as task:
        for activation in activations(model, readers, maps, threads, budget_bytes):
            exact, rounded = activation.values, rounded_activation(activation.values, ranges[activation.tensor])
            for one in readers[activation.tensor]:
                convolution = SingleConvolution(model, nodes[one.name], threads)
                weight = weights[one.weight]
                error = convolution(rounded, rounded_weight(weight, one.axis, one.weight)) - convolution(exact, weight)
                mean = error.mean(axis=(0, 2, 3), dtype=np.float64)
                sums[one.name] = sums.get(one.name, 0.0) + mean
            task.advance(1 / len(readers), activation.map_name)
    return {name: (total / len(maps)).astype(np.float32) for name, total in sums.items()}


def _threshold(thresholds: Mapping[str, float], tensor: str) -> float:
    threshold = thresholds.get(tensor, 0.0)
    if not threshold > 0:
        raise InputError(f"there is no range above zero for the tensor {tensor!r}; collect the ranges of this graph")
    return threshold
