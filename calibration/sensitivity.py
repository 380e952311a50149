"""The error that each convolution makes at the picture when it alone is quantised.

Only the part of the graph behind a convolution runs again for it, fed with tensors of a run of the FP32 graph. All
graphs are computed node by node as they are written, without ONNX Runtime's fusions: so the errors are those that runs
of the whole graph give, bit for bit, and do not depend on what was cut where, on the budget or on interruptions.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import ModelProto, TensorProto

from calibration.convolutions import Convolution
from calibration.graph_hash import graph_sha256
from calibration.graphs import element_types
from calibration.maps import CalibrationMaps
from calibration.qdq import Placement
from calibration.quality import BYTE_PEAK, FLOAT_PEAK, mean_square, peak_of, psnr_of
from calibration.sensitivity_journal import ErrorJournal
from calibration.sensitivity_layers import LayerPart, LayerParts
from calibration.sensitivity_plan import Group, plan_groups
from calibration.sensitivity_survey import Survey, survey_graph
from calibration.sessions import SessionKind, open_session, run_session
from calibration.suffix import prefix_model, without_weights
from runtime.contract.errors import UsageError
from runtime.contract.progress import Progress, Task

DEFAULT_BUDGET = 1 << 30
_CONVOLUTION = re.compile(r"(?P<module>.+)/Conv(Transpose)?(_\d+)?")


@dataclass(frozen=True)
class LayerError:
    """What quantising one layer alone costs.

    Attributes:
        names: of the convolutions that were quantised together, mostly one.
        mse: mean squared error of the picture over all maps, in units of [-1, 1] squared (floats) or grey levels
            squared (bytes); ``inf`` where the picture was not finite.
        psnr: the same in dB; ``inf`` for no error, ``-inf`` where the picture was not finite.
    """

    names: tuple[str, ...]
    mse: float
    psnr: float

    @property
    def name(self) -> str:
        """The convolution's name, or that of the module that several of them belong to."""
        return self.names[0] if len(self.names) == 1 else _module(self.names[0])


def units_of(convolutions: Sequence[Convolution]) -> tuple[tuple[str, ...], ...]:
    """Put the convolutions that belong to one module together, such as the class heads; in the order of the graph.

    A module is what stands before ``/Conv``, ``/Conv_2``, ... in the name of the node.
    """
    units: dict[str, list[str]] = {}
    for convolution in convolutions:
        units.setdefault(_module(convolution.name), []).append(convolution.name)
    return tuple(tuple(names) for names in units.values())


def layer_errors(
    model: ModelProto,
    convolutions: Sequence[Convolution],
    thresholds: Mapping[str, float],
    placement: Placement,
    maps: CalibrationMaps,
    output: str,
    progress: Progress,
    journal: Path | None = None,
    budget_bytes: int = DEFAULT_BUDGET,
    threads: int | None = None,
) -> tuple[LayerError, ...]:
    """Measure the error of each layer (`units_of`) alone.

    The FP32 graph runs once over all maps, and then, up to where it is needed, once for each group of layers and map.
    A layer's part of the graph is loaded once for as many maps as fit into the budget.

    Args:
        model: FP32 graph.
        convolutions: of that graph, that can be quantised.
        thresholds: of the tensors that `insert_qdq` asks for, for all of them.
        placement: of the Q/DQ.
        maps: label maps on which the error is measured.
        output: name of the picture, float32 [N, 3, H, W] or uint8 [N, H, W, 3]; any tensor of the main graph.
        progress: where to report; the steps are layers times maps, each weighted with its work.
        journal: file in which finished work is kept; a run with the same arguments goes on where it was.
        budget_bytes: of the FP32 graph's tensors that are kept at once.
        threads: of ONNX Runtime; None leaves it to it.

    Returns:
        One error for each layer, in the order of the graph.

    Raises:
        UsageError: no such output, or a budget below 1 byte.
        InputError: an FP32 picture is not finite, or the journal belongs to another measurement.
        MissingError: the journal cannot be written.
        BackendError: ONNX Runtime cannot load or run a graph.
    """
    if budget_bytes < 1:
        raise UsageError(f"the budget is {budget_bytes} bytes; give at least 1")
    types = element_types(without_weights(model))
    if output not in types:
        raise UsageError(f"the graph has no tensor {output!r} at which errors could be measured")
    peak = BYTE_PEAK if types[output] == TensorProto.UINT8 else FLOAT_PEAK
    units = units_of(convolutions)
    with ErrorJournal(journal, _header(model, thresholds, placement, maps, output)) as done:
        missing = [unit for unit in units if not set(range(len(maps))) <= done.errors_of(unit).keys()]
        if missing:
            survey = survey_graph(model, types, maps, output, progress, threads)
            parts = LayerParts(model, convolutions, thresholds, placement, output, types, survey, budget_bytes)
            measurement = _Measurement(model, types, survey, parts, maps, output, done, threads)
            measurement.run(missing, budget_bytes, progress)
        means = [math.fsum(done.errors_of(unit)[index] for index in range(len(maps))) / len(maps) for unit in units]
    return tuple(LayerError(unit, mean, psnr_of(mean, peak)) for unit, mean in zip(units, means, strict=True))


@dataclass(frozen=True)
class _Measurement:
    """Everything that is the same for all layers."""

    model: ModelProto
    types: Mapping[str, int]
    survey: Survey
    parts: LayerParts
    maps: CalibrationMaps
    output: str
    done: ErrorJournal
    threads: int | None

    def run(self, units: Sequence[tuple[str, ...]], budget_bytes: int, progress: Progress) -> None:
        """Measure what the journal does not have yet of the given layers."""
        layers = [self.parts.describe(unit) for unit in units]
        groups = plan_groups([layer.frontier for layer in layers], self.survey.sizes, len(self.maps), budget_bytes)
        runs = {layer.names: len(self.maps) - len(self.done.errors_of(layer.names)) for layer in layers}
        fetches = sum(1 for group in groups if group.tensors) * len(self.maps)
        work = sum(layer.work * runs[layer.names] for layer in layers) + fetches * self.parts.whole_work
        total = sum(runs.values())
        with progress.task("error of each layer alone", total) as task:
            scaled = _WeightedTask(task, total / max(work, 1.0))
            for group in groups:
                self._measure_group([layers[member] for member in group.members], group, scaled)

    def _measure_group(self, layers: Sequence[LayerPart], group: Group, task: _WeightedTask) -> None:
        fetch = None
        if group.tensors:
            prefix = prefix_model(self.model, group.tensors, self.types, self.survey.shapes)
            fetch = open_session(prefix, "the FP32 graph", self.threads, SessionKind.AS_WRITTEN)
        feeds = enumerate(self.maps.feeds())
        while chunk := dict(itertools.islice(feeds, group.maps_at_once)):
            missing = {layer: chunk.keys() - self.done.errors_of(layer.names).keys() for layer in layers}
            kept: dict[int, dict[str, np.ndarray]] = {}
            for index in sorted(set().union(*missing.values())):
                kept[index] = dict(chunk[index])
                if fetch is not None:
                    tensors = run_session(fetch, group.tensors, _wanted(fetch, chunk[index]))
                    kept[index].update(zip(group.tensors, tensors, strict=True))
                    task.advance(self.parts.whole_work, self.maps.names[index])
            for layer, indices in missing.items():
                if indices:
                    errors = self._errors(layer, {index: kept[index] for index in sorted(indices)})
                    self.done.add(layer.names, errors)
                    task.advance(layer.work * len(errors), self._note(layer, errors))

    def _errors(self, layer: LayerPart, feeds: Mapping[int, Mapping[str, np.ndarray]]) -> dict[int, float]:
        """Mean squared error on each of the maps, whose tensors are given."""
        if not layer.reaches:
            return dict.fromkeys(feeds, 0.0)
        session = open_session(
            self.parts.model(layer.names), f"the graph behind {layer.names[0]}", self.threads, SessionKind.AS_WRITTEN
        )
        errors = {}
        for index, feed in feeds.items():
            picture = run_session(session, [self.output], _wanted(session, feed))[0]
            errors[index] = mean_square(self.survey.pictures[index], picture)
        return errors

    def _note(self, layer: LayerPart, errors: Mapping[int, float]) -> str:
        psnr = psnr_of(math.fsum(errors.values()) / len(errors), peak_of(self.survey.pictures[0]))
        return f"{layer.names[0]} {psnr:.1f} dB"


@dataclass(frozen=True)
class _WeightedTask:
    """A task whose steps are weighted with their work, so that the time it foretells is right."""

    task: Task
    steps_per_work: float

    def advance(self, work: float, note: str) -> None:
        self.task.advance(work * self.steps_per_work, note)


def _wanted(session: onnxruntime.InferenceSession, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What a session takes of the tensors at hand."""
    return {value.name: feed[value.name] for value in session.get_inputs()}


def _header(
    model: ModelProto, thresholds: Mapping[str, float], placement: Placement, maps: CalibrationMaps, output: str
) -> dict[str, str]:
    """What the errors depend on."""
    return {
        "graph": graph_sha256(model),
        "label maps": _sha256([maps.sha256, *maps.names]),  # errors are kept by the position of their map
        "thresholds": _sha256(sorted(thresholds.items())),
        "placement": placement.value,
        "output": output,
    }


def _sha256(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _module(name: str) -> str:
    found = _CONVOLUTION.fullmatch(name)
    return found["module"] if found else name
