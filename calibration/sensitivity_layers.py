"""What runs again when one layer is quantised: the part of the typed graph behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onnx import ModelProto

from calibration.convolutions import Convolution
from calibration.qdq import Placement, insert_qdq
from calibration.sensitivity_survey import Survey
from calibration.suffix import Cut, changed_tensors, cut_behind, cut_to_fit, suffix_model, without_weights

# Time for an element of a tensor that is no convolution's, in multiply-accumulates. For the progress bar alone.
_ELEMENT_WORK = 16


@dataclass(frozen=True)
class LayerPart:
    """The part of a graph behind one quantised layer.

    Attributes:
        names: of the convolutions that are quantised together.
        frontier: names of the tensors that it is fed with.
        work: roughly what a run of it costs, multiply-accumulates.
        reaches: whether the layer has any influence on the picture.
    """

    names: tuple[str, ...]
    frontier: tuple[str, ...]
    work: float
    reaches: bool


class LayerParts:
    """Makes these parts, each when it is wanted: keeping all of them would be the model many times over.

    Attributes:
        whole_work: roughly what a run of the whole graph costs, multiply-accumulates.
    """

    def __init__(
        self,
        model: ModelProto,
        convolutions: Sequence[Convolution],
        thresholds: Mapping[str, float],
        placement: Placement,
        output: str,
        types: Mapping[str, int],
        survey: Survey,
        budget_bytes: int,
    ) -> None:
        """Take what `sensitivity.layer_errors` was given, the element types of all tensors, and the survey."""
        self._model, self._thresholds, self._placement = model, thresholds, placement
        self._output, self._types, self._survey, self._budget = output, types, survey, budget_bytes
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self._convolutions = {one.name: one for one in convolutions}
        self._work = {name: float(_ELEMENT_WORK * size // 4) for name, size in survey.sizes.items()}
        bodies = {(function.domain, function.name): len(function.node) for function in model.functions}
        for node in model.graph.node:
            for name in node.output:
                self._work[name] = self._work.get(name, 0.0) * bodies.get((node.domain, node.op_type), 1)
        for one in convolutions:
            elements = math.prod(side or 1 for side in survey.shapes.get(one.counted, (0,)))
            self._work[one.output] = float(elements * one.macs_per_element)
        self.whole_work = math.fsum(self._work.values())

    def describe(self, names: tuple[str, ...]) -> LayerPart:
        """Find where the graph is cut for a layer."""
        typed, cut = self._cut(names)
        tensors = [name for position in cut.nodes for name in typed.graph.node[position].output]
        return LayerPart(names, cut.frontier, sum(self._work.get(name, 0.0) for name in tensors), bool(cut.nodes))

    def model(self, names: tuple[str, ...]) -> ModelProto:
        """The part as a model: inputs are its frontier, its only output the picture."""
        typed, cut = self._cut(names)
        return suffix_model(typed, cut, self._output, self._types, self._survey.shapes, self._weights)

    def _cut(self, names: tuple[str, ...]) -> tuple[ModelProto, Cut]:
        own = [self._convolutions[name] for name in names]
        bare = without_weights(self._model, {name for one in own for name in (one.weight, one.bias) if name})
        typed = insert_qdq(bare, names, self._thresholds, self._placement)
        cut = cut_behind(typed, changed_tensors(bare, typed), self._output, self._weights)
        return typed, cut_to_fit(typed, cut, self._weights, self._survey.sizes, self._budget)
