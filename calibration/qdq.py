"""Writing INT8 into an FP32 graph: a ``QuantizeLinear`` and a ``DequantizeLinear`` at the inputs of convolutions.

What stands where:

* **Inputs.** One Q/DQ pair for each tensor that chosen convolutions read, directly in front of them and behind any
  ``Pad``, because TensorRT fuses a convolution only with its immediate neighbours. Everybody else keeps reading the
  float tensor. The class heads read a masked copy of the features each; a pair stands behind each mask, where it fuses
  with the multiplication, and all of them have the range of the features: quantising and masking can change places.
* **Weights.** INT8 in the file, a ``DequantizeLinear`` with one scale per output channel behind them.
* **Biases** stay float: they are added to the sums before anything is rounded.
* **Residual additions** stay float on both branches. Quantising the skip pays where the sum is quantised at once, for
  a next convolution alone. Here normalisations, in FP32, read the sums (all but the last one): a pair on the skip would
  round it and save nothing.
* **Nothing else**: normalisations, activations and the nodes of this project keep their types.

TensorRT wants int8 and zero points of 0 everywhere. ONNX Runtime (1.20 to 1.32, looked up in the graphs that it
optimised) replaces a convolution by its ``QLinearConv`` only under conditions of its own, so `Placement.ONNX_RUNTIME`
differs:

* a pair behind each chosen convolution too, for everybody who reads it; behind its ``Relu``, where that is the only
  reader. No pair behind a ``ConvTranspose``, of which ONNX Runtime has no INT8 form, and none at a result of the graph;
* activations are uint8: zero point 128, which is int8 under another name, or 0 where nothing can be negative. A
  ``Relu`` disappears into the convolution only if the type itself ends at zero, and 255 steps are better than 127;
* biases are int32 in units of the sums: before version 1.21, a float bias alone prevents the replacement.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from calibration.convolutions import Convolution, find_convolutions
from calibration.graphs import STANDARD_DOMAINS, constants_to_initializers, refuse_control_flow
from calibration.origins import Origins
from calibration.weights import INT8_MAX, quantize_weight
from runtime.contract.errors import InputError

_UINT8_MAX = 255
_QUANTISED = frozenset(("QuantizeLinear", "DequantizeLinear", "QLinearConv", "ConvInteger", "DynamicQuantizeLinear"))


class Placement(str, Enum):
    """For whom the Q/DQ pairs are placed; see the module's text."""

    TENSORRT = "tensorrt"
    ONNX_RUNTIME = "onnxruntime"


def pays_in_int8(convolution: Convolution, placement: Placement) -> bool:
    """Whether a convolution has an INT8 kernel: ONNX Runtime has none for ``ConvTranspose``.

    Few output channels are no reason against it. Alone, the class heads are slower so in ONNX Runtime (16 to 3 channels
    by 7x7 at 192x256 pixels: 8 ms instead of 5.6), but a picture takes 181 ms with them in INT8 and 197 with them in
    FP32, by what need not be reordered and restored between them (1.32, two threads, AVX-512 with VNNI).
    """
    return placement is Placement.TENSORRT or convolution.op_type == "Conv"


def quantized_tensors(model: ModelProto, chosen: Collection[str], placement: Placement) -> tuple[str, ...]:
    """Tensors whose ranges `insert_qdq` needs, in the order of the graph.

    Args:
        model: FP32 graph.
        chosen: names of convolutions (`calibration.convolutions`).
        placement: see `Placement`.

    Raises:
        InputError: quantised already, or a name that is no eligible convolution.
    """
    sites = _find_sites(model, chosen, placement)
    return tuple(dict.fromkeys((*sites.inputs.values(), *sites.outputs.values())))


def insert_qdq(
    model: ModelProto, chosen: Collection[str], thresholds: Mapping[str, float], placement: Placement
) -> ModelProto:
    """Make a copy of an FP32 graph in which the chosen convolutions read INT8.

    Args:
        model: FP32 graph.
        chosen: names of convolutions (`calibration.convolutions`); in any order.
        thresholds: tensor -> largest |x| that INT8 shall hold, for `quantized_tensors`; others are not looked at. The
            scale is a 127th of it, the zero point 0.
        placement: see `Placement`.

    Raises:
        InputError: quantised already, a name that is no eligible convolution, a tensor without a threshold or with one
            that is no number above zero, weights that are not finite.
    """
    result = ModelProto()
    result.CopyFrom(model)
    refuse_control_flow([*result.graph.node, *(node for f in result.functions for node in f.node)])
    constants_to_initializers(result)
    _Writer(result, _find_sites(result, chosen, placement), thresholds, placement).run()
    return result


@dataclass(frozen=True)
class _Sites:
    """Where pairs stand: quantised tensor -> tensor whose range it has.

    Attributes:
        convolutions: the chosen ones by name, in the order of the graph.
        inputs: tensors that are quantised for chosen convolutions alone.
        outputs: tensors that are quantised for everybody who reads them.
    """

    convolutions: Mapping[str, Convolution]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


def _find_sites(model: ModelProto, chosen: Collection[str], placement: Placement) -> _Sites:
    for node in model.graph.node:
        if node.op_type in _QUANTISED and node.domain in STANDARD_DOMAINS:
            raise InputError(
                f"the model is quantised already (node {node.name or node.output[0]!r}); give the FP32 model that it "
                "was made from"
            )
    eligible = find_convolutions(model)
    unknown = sorted(set(chosen) - {convolution.name for convolution in eligible})
    if unknown:
        raise InputError(f"{unknown[0]!r} is no convolution that INT8 could compute; {len(eligible)} are in the graph")
    convolutions = {one.name: one for one in eligible if one.name in set(chosen)}
    origins = Origins(model.graph.node)
    inputs = {one.input: origins.range_source(one.input) for one in convolutions.values()}
    outputs: dict[str, str] = {}
    if placement is Placement.ONNX_RUNTIME:
        readers = _readers(model.graph.node)
        results = {value.name for value in model.graph.output}
        for one in convolutions.values():
            tensor = _behind(one, readers, results)
            if tensor is not None:
                outputs[tensor] = origins.range_source(tensor)
    return _Sites(convolutions, {name: of for name, of in inputs.items() if name not in outputs}, outputs)


def _behind(one: Convolution, readers: Mapping[str, list[NodeProto]], results: Collection[str]) -> str | None:
    """The tensor that is quantised behind a convolution: behind its Relu, if nobody else reads it in between.

    None for a ``ConvTranspose``, of which ONNX Runtime has no INT8 form, and for a result of the graph, which keeps
    its precision.
    """
    if one.op_type != "Conv":
        return None
    tensor = one.output
    following = readers[tensor]
    if len(following) == 1 and following[0].op_type == "Relu" and tensor not in results:
        tensor = following[0].output[0]
    return None if tensor in results else tensor


def _readers(nodes: Iterable[NodeProto]) -> dict[str, list[NodeProto]]:
    readers: dict[str, list[NodeProto]] = defaultdict(list)
    for node in nodes:
        for name in node.input:
            readers[name].append(node)
    return readers


class _Writer:
    """Builds the new list of nodes; ``_dequantized`` says under which name a tensor exists behind its pair."""

    def __init__(self, model: ModelProto, sites: _Sites, thresholds: Mapping[str, float], placement: Placement) -> None:
        self._graph = model.graph
        self._sites = sites
        self._unsigned = placement is Placement.ONNX_RUNTIME
        self._origins = Origins(model.graph.node)
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self._taken = {name for node in model.graph.node for name in (*node.input, *node.output)} | set(self._tensors)
        self._steps = {
            name: _step(of, thresholds, self._levels(name))
            for name, of in (*sites.inputs.items(), *sites.outputs.items())
        }
        self._dequantized: dict[str, str] = {}
        self._zero_points: dict[int, str] = {}
        self._weights: dict[tuple[str, int], tuple[str, np.ndarray]] = {}
        self._nodes: list[NodeProto] = []

    def run(self) -> None:
        for node in self._graph.node:
            for position, name in enumerate(node.input):
                if name in self._sites.outputs:
                    node.input[position] = self._dequantized[name]
            one = self._sites.convolutions.get(node.name)
            if one is not None and one.output == node.output[0]:
                self._quantize_inputs(node, one)
            self._nodes.append(node)
            for name in node.output:
                if name in self._sites.outputs:
                    self._write_pair(name)
        nodes = [NodeProto.FromString(node.SerializeToString()) for node in self._nodes]
        del self._graph.node[:]
        self._graph.node.extend(nodes)
        self._replace_tensors()

    def _quantize_inputs(self, node: NodeProto, one: Convolution) -> None:
        if one.input not in self._dequantized:
            self._write_pair(one.input)
        node.input[0] = self._dequantized[one.input]
        key = (one.weight, one.axis)
        if key not in self._weights:
            weight = quantize_weight(numpy_helper.to_array(self._tensors[one.weight]), one.axis, one.weight)
            name = self._write_constant(one.weight, weight.values, weight.scales, one.axis)
            self._weights[key] = name, weight.scales
        node.input[1], scales = self._weights[key]
        if self._unsigned and one.op_type == "Conv" and one.bias is not None and one.bias in self._tensors:
            self._quantize_bias(node, one.bias, self._steps[one.input] * scales)

    def _quantize_bias(self, node: NodeProto, bias: str, units: np.ndarray) -> None:
        levels = np.rint(numpy_helper.to_array(self._tensors[bias]) / units.astype(np.float64))
        if np.abs(levels).max(initial=0.0) <= np.iinfo(np.int32).max:  # else it stays float, and the sums with it
            node.input[2] = self._write_constant(f"{node.name}/bias", levels.astype(np.int32), units, 0)

    def _levels(self, name: str) -> int:
        """Steps between zero and the largest value."""
        return _UINT8_MAX if self._unsigned and self._origins.never_negative(name) else INT8_MAX

    def _write_pair(self, name: str) -> None:
        kind = "uint8" if self._unsigned else "int8"
        middle = INT8_MAX + 1 if self._unsigned and self._levels(name) == INT8_MAX else 0
        scale = self._add(f"{name}/scale", np.array(self._steps[name], np.float32))
        if middle not in self._zero_points:
            self._zero_points[middle] = self._add(f"{kind}/{middle}", np.array(middle, kind))
        zero = self._zero_points[middle]
        quantized, dequantized = self._fresh(f"{name}/{kind}"), self._fresh(f"{name}/dequantized")
        self._nodes += [
            helper.make_node("QuantizeLinear", [name, scale, zero], [quantized], f"{name}/quantize"),
            helper.make_node("DequantizeLinear", [quantized, scale, zero], [dequantized], f"{name}/dequantize"),
        ]
        self._dequantized[name] = dequantized

    def _write_constant(self, name: str, values: np.ndarray, scales: np.ndarray, axis: int) -> str:
        """Integers in the file and their DequantizeLinear; returns the name of its output."""
        integers, scale = self._add(f"{name}/{values.dtype}", values), self._add(f"{name}/scales", scales)
        output = self._fresh(f"{name}/dequantized")
        self._nodes.append(
            helper.make_node("DequantizeLinear", [integers, scale], [output], f"{name}/dequantize", axis=axis)
        )
        return output

    def _add(self, name: str, values: np.ndarray) -> str:
        name = self._fresh(name)
        self._tensors[name] = numpy_helper.from_array(values, name)
        return name

    def _fresh(self, name: str) -> str:
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name

    def _replace_tensors(self) -> None:
        """Initialisers old and new, without the weights and biases whose floats nobody reads any more."""
        read = {name for node in self._graph.node for name in node.input}
        read |= {value.name for value in self._graph.output}
        replaced = {name for one in self._sites.convolutions.values() for name in (one.weight, one.bias)}
        kept = [tensor for name, tensor in self._tensors.items() if name in read or name not in replaced]
        kept = [TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)


def _step(name: str, thresholds: Mapping[str, float], levels: int) -> np.float32:
    """What one level is worth, for the range of the tensor ``name``."""
    threshold = thresholds.get(name)
    if threshold is None:
        raise InputError(f"there is no range for the tensor {name!r}; collect the ranges of this graph again")
    with np.errstate(over="ignore"):
        step = np.float32(threshold / levels)
    if not (math.isfinite(step) and step > 0):
        raise InputError(
            f"the range of the tensor {name!r} is {threshold:g}, which INT8 cannot have: it must be a number above "
            "zero; calibrate with other label maps, or leave the convolutions that read it out"
        )
    return step
