"""Histograms of a graph's tensors over label maps, collected with ONNX Runtime on the CPU."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence

import onnxruntime
from onnx import ModelProto

from calibration.graph_hash import graph_sha256
from calibration.histogram import Histogram
from calibration.maps import CalibrationMaps
from calibration.piece_runs import PieceRun, tensor_sizes
from calibration.pieces import cut
from calibration.ranges import Ranges
from runtime.contract.errors import InputError
from runtime.contract.progress import Progress


def collect_ranges(
    model: ModelProto,
    tensors: Sequence[str],
    maps: CalibrationMaps,
    progress: Progress,
    threads: int | None = None,
    budget_bytes: int = 1 << 30,
) -> Ranges:
    """Run the graph over all label maps and count the values of some of its tensors.

    The graph is cut into pieces whose wanted tensors fit the budget together. For each map the pieces run one after
    the other, each fed with what the earlier ones passed on; so every node runs once a map and nothing is kept for
    longer than the next piece needs it. One run more, on the largest map, finds out the sizes first.

    Args:
        model: FP32 model; not changed.
        tensors: names of float32 tensors that nodes of the main graph make.
        maps: the label maps.
        progress: where to report: one step a map.
        threads: of ONNX Runtime; its own choice if None.
        budget_bytes: of memory for the wanted tensors. What runs beside them comes on top: the weights, and the
            tensors between the nodes of a piece and between the pieces.

    Returns:
        The histograms, in the order of the graph. The budget has no influence on them.

    Raises:
        InputError: a name that is no such tensor, or values that are NaN or infinite (with the tensor and the map).
        BackendError: ONNX Runtime cannot load or run the graph.
    """
    makers = _makers(model, tensors)
    sizes = _sizes(model, tuple(makers), maps, threads, progress)
    # an output may be there twice for a moment, in ONNX Runtime and as an array
    runs = [PieceRun(model, piece, threads) for piece in cut(model, makers, sizes, budget_bytes / 2)]
    found = {name: Histogram.empty() for run in runs for name in run.wanted}
    with progress.task(f"ranges of {len(makers)} tensors", len(maps)) as task:
        for map_name, feeds in zip(maps.names, maps.feeds(), strict=True):
            live = dict(feeds)
            for run in runs:
                values = run(live)
                for name in run.wanted:
                    try:
                        counted = Histogram.of(values.pop(name))
                    except ValueError as error:
                        raise InputError(
                            f"the tensor {name!r}, made by the node {makers[name]!r}, has {error} on the label map "
                            f"{map_name}, so it has no range; check the weights that lead to it and train or export "
                            "the model again"
                        ) from error
                    found[name] = found[name].merged(counted)
                task.advance(1 / len(runs), map_name)
    return Ranges(
        graph_sha256=graph_sha256(model),
        data_sha256=maps.sha256,
        maps=len(maps),
        names=maps.names,
        tensors=found,
        made_by=f"{_tool()}, ONNX Runtime {onnxruntime.__version__}",
    )


def _makers(model: ModelProto, tensors: Sequence[str]) -> dict[str, str]:
    """Tensor -> name (or operator) of the node that makes it, in the order of the graph.

    Raises:
        InputError: no tensors, or one that no node of the main graph makes.
    """
    if not tensors:
        raise InputError("no tensors to collect ranges of: the model has no convolution that INT8 could compute")
    nodes = model.graph.node
    constants = {tensor.name for tensor in model.graph.initializer}
    constants |= {name for node in nodes if node.op_type == "Constant" for name in node.output}
    inputs = {info.name for info in model.graph.input} - constants
    asked = set(tensors)
    made = {name: node.name or node.op_type for node in nodes for name in node.output if name in asked}
    for name in tensors:
        if name in constants:
            raise InputError(f"the tensor {name!r} is a constant of the graph; its range follows from its values alone")
        if name in inputs:
            raise InputError(f"{name!r} is an input of the graph; ranges are collected of tensors that nodes make")
        if name not in made:
            raise InputError(f"the main graph has no tensor {name!r}; `lggan inspect MODEL` lists what it has")
    return made


def _sizes(
    model: ModelProto, tensors: Sequence[str], maps: CalibrationMaps, threads: int | None, progress: Progress
) -> dict[str, int]:
    """Bytes of each tensor on the largest label map."""
    feeds = max(maps.feeds(), key=lambda feed: sum(array.nbytes for array in feed.values()))
    with progress.task("sizes of the tensors", 1) as task:
        sizes = tensor_sizes(model, tensors, feeds, threads)
        task.advance(1)
    return sizes


def _tool() -> str:
    try:
        return f"lggan-edge {importlib.metadata.version('lggan-edge')}"
    except importlib.metadata.PackageNotFoundError:
        return "lggan-edge (not installed)"
