"""Tensors of a graph one by one, map by map, without keeping them: for what is computed from their values."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto

from calibration.maps import CalibrationMaps
from calibration.piece_runs import PieceRun, tensor_sizes
from calibration.pieces import cut
from runtime.contract.errors import InputError

BUDGET_BYTES = 1 << 28


@dataclass(frozen=True)
class Activation:
    """What a tensor is on one label map.

    Attributes:
        map_name: of the label map.
        tensor: name.
        values: float32, N = 1.
    """

    map_name: str
    tensor: str
    values: np.ndarray


def activations(
    model: ModelProto,
    tensors: Collection[str],
    maps: CalibrationMaps,
    threads: int | None = None,
    budget_bytes: int = BUDGET_BYTES,
) -> Iterator[Activation]:
    """Run the graph over the label maps and give its tensors, all of a map before the next one.

    The graph runs in pieces whose asked tensors fit the budget together; keep none of them for longer than needed.

    Args:
        model: FP32 graph.
        tensors: float32 tensors of the main graph, inputs of the graph included; each is given once a map.
        maps: the label maps.
        threads: of ONNX Runtime; its own choice if None.
        budget_bytes: of memory for the tensors asked for, of one map.

    Raises:
        InputError: a value that is NaN or infinite, with the tensor and the map; or a name that is no such tensor.
        BackendError: ONNX Runtime cannot load or run the graph.
    """
    inputs = {value.name for value in model.graph.input}
    given = [name for name in dict.fromkeys(tensors) if name in inputs]
    wanted = [name for name in dict.fromkeys(tensors) if name not in inputs]
    _refuse_unknown(model, wanted)
    runs: list[PieceRun] | None = None
    for map_name, feeds in zip(maps.names, maps.feeds(), strict=True):
        yield from (_checked(Activation(map_name, name, feeds[name])) for name in given)
        if runs is None:
            sizes = tensor_sizes(model, wanted, feeds, threads)
            pieces = cut(model, wanted, sizes, budget_bytes) if wanted else ()
            runs = [PieceRun(model, piece, threads) for piece in pieces]
        live = dict(feeds)
        for run in runs:
            values = run(live)
            for name in tuple(values):
                yield _checked(Activation(map_name, name, values.pop(name)))


def _refuse_unknown(model: ModelProto, tensors: Collection[str]) -> None:
    made = {name for node in model.graph.node for name in node.output}
    for name in tensors:
        if name not in made:
            raise InputError(f"the main graph has no tensor {name!r}; `lggan inspect MODEL` lists what it has")


def _checked(activation: Activation) -> Activation:
    if activation.values.dtype != np.float32 or not np.isfinite(activation.values).all():
        what = "values that are not finite" if activation.values.dtype == np.float32 else f"{activation.values.dtype}"
        raise InputError(
            f"the tensor {activation.tensor!r} is {what} on the label map {activation.map_name}, where float32 "
            "numbers were expected; check the weights that lead to it and train or export the model again"
        )
    return activation
