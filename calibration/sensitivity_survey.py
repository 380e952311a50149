"""The FP32 graph's pictures and the sizes of its tensors: what measuring single layers starts from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, TensorProto, helper

from calibration.maps import CalibrationMaps
from calibration.sessions import SessionKind, open_session, run_session
from calibration.suffix import prefix_model
from runtime.contract.errors import InputError
from runtime.contract.progress import Progress


@dataclass(frozen=True)
class Survey:
    """What one run of the FP32 graph over all maps tells.

    Attributes:
        pictures: one for each map.
        shapes: sides of every tensor, inputs included; None where the maps differ.
        sizes: bytes of every tensor that a node makes, for the largest map.
    """

    pictures: tuple[np.ndarray, ...]
    shapes: Mapping[str, tuple[int | None, ...]]
    sizes: Mapping[str, int]


def survey_graph(
    model: ModelProto,
    types: Mapping[str, int],
    maps: CalibrationMaps,
    output: str,
    progress: Progress,
    threads: int | None = None,
) -> Survey:
    """Run the FP32 graph over all maps; no tensor is kept but the pictures.

    Args:
        model: FP32 graph.
        types: element type of every tensor (`graphs.element_types`).
        maps: label maps.
        output: name of the picture.
        progress: where to report.
        threads: of ONNX Runtime; None leaves it to it.

    Raises:
        InputError: a picture is not finite.
        BackendError: ONNX Runtime cannot load or run the graph.
    """
    probe = prefix_model(model, [output], types, {})
    made = [name for node in probe.graph.node for name in node.output if name]
    asked = [f"{name}/shape" for name in made]
    for name, shape_name in zip(made, asked, strict=True):
        probe.graph.node.append(helper.make_node("Shape", [name], [shape_name]))
        probe.graph.output.append(helper.make_tensor_value_info(shape_name, TensorProto.INT64, None))
    session = open_session(probe, "the FP32 graph", threads, SessionKind.AS_WRITTEN)
    pictures = []
    shapes: dict[str, tuple[int | None, ...]] = {}
    sizes: dict[str, int] = {}
    with progress.task("pictures of the FP32 graph", len(maps)) as task:
        for map_name, feed in zip(maps.names, maps.feeds(), strict=True):
            picture, *sides = run_session(session, [output, *asked], feed)
            if picture.dtype != np.uint8 and not np.isfinite(picture).all():
                raise InputError(
                    f"the FP32 picture of {map_name} has values that are not finite; train or import the model again"
                )
            pictures.append(picture)
            found = {name: tuple(shape.tolist()) for name, shape in zip(made, sides, strict=True)}
            for name, shape in {**{name: array.shape for name, array in feed.items()}, **found}.items():
                shapes[name] = _common(shapes.get(name, shape), shape)
            for name, shape in found.items():
                width = helper.tensor_dtype_to_np_dtype(types[name]).itemsize
                sizes[name] = max(sizes.get(name, 0), math.prod(shape) * width)
            task.advance(1, map_name)
    return Survey(tuple(pictures), shapes, sizes)


def _common(one: tuple[int | None, ...], other: tuple[int, ...]) -> tuple[int | None, ...]:
    return tuple(a if a == b else None for a, b in zip(one, other, strict=True))
