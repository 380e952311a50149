"""A graph run piece by piece: what one run passes on to the next, and how large tensors are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnxruntime
from onnx import ModelProto, TensorProto, helper

from calibration.pieces import Piece, cut, piece_model
from calibration.sessions import SessionKind, open_session, run_session
from runtime.contract.errors import InputError

_FLOAT_BYTES = 4


class PieceRun:
    """A piece of the graph and its session, which is opened when the first feeds show the types of the inputs."""

    def __init__(self, model: ModelProto, piece: Piece, threads: int | None) -> None:
        self._model, self._piece, self._threads = model, piece, threads
        self._session: onnxruntime.InferenceSession | None = None
        self.wanted = piece.wanted

    def __call__(self, live: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run on ``live``, the tensors at hand; put in what later pieces need, take out what none does.

        Returns:
            The wanted tensors, by name.
        """
        piece = self._piece
        if self._session is None:
            self._session = self._open(live)
        arrays = run_session(self._session, piece.outputs, {name: live[name] for name in piece.inputs})
        values = dict(zip(piece.outputs, arrays, strict=True))
        live.update({name: values[name] for name in piece.passed_on})
        for name in piece.done_with:
            live.pop(name, None)
        return {name: values[name] for name in piece.wanted}

    def _open(self, live: Mapping[str, np.ndarray]) -> onnxruntime.InferenceSession:
        session = open_session(
            piece_model(self._model, self._piece, live), "a piece of the graph", self._threads, SessionKind.LEAN
        )
        kinds = {output.name: output.type for output in session.get_outputs()}
        for name in self.wanted:
            if kinds[name] != "tensor(float)":
                raise InputError(
                    f"the tensor {name!r} is of type {kinds[name]}, not float32; give the FP32 model that `lggan "
                    "export` writes"
                )
        return session


def tensor_sizes(
    model: ModelProto, tensors: Sequence[str], feeds: Mapping[str, np.ndarray], threads: int | None
) -> dict[str, int]:
    """Bytes of float32 tensors for one set of inputs, found by a run that returns shapes alone.

    Raises:
        BackendError: ONNX Runtime cannot load or run the graph.
    """
    if not tensors:
        return {}
    (whole,) = cut(model, tensors, dict.fromkeys(tensors, 0), budget=1)
    probe = piece_model(model, whole, feeds)
    taken = {name for node in probe.graph.node for name in (*node.input, *node.output)}
    shapes = {name: _unused(f"{name}/shape", taken) for name in tensors}
    del probe.graph.output[:]
    for name, shape in shapes.items():
        probe.graph.node.append(helper.make_node("Shape", [name], [shape]))
        probe.graph.output.append(helper.make_tensor_value_info(shape, TensorProto.INT64, None))
    session = open_session(probe, "the FP32 graph", threads)
    del probe
    found = run_session(session, tuple(shapes.values()), {name: feeds[name] for name in whole.inputs})
    return {name: math.prod(shape.tolist()) * _FLOAT_BYTES for name, shape in zip(tensors, found, strict=True)}


def _unused(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name
