"""The proof that goes into every exported file: PyTorch and ONNX Runtime give the same pictures."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from export.layouts import CheckInput
from export.names import IMAGE
from lggan.networks.build import AnyGenerator
from lggan.networks.semantics import decode_image
from lggan.synthesis import network_inputs
from runtime.contract.errors import BackendError, GateError
from runtime.contract.progress import Task

TOLERANCE = 1e-3  # of the float image in [-1, 1]: an eighth of one of the 255 steps between two byte values
_PEAK = 2.0  # from -1 to 1


@dataclass(frozen=True)
class Difference:
    """How far two float images are from each other.

    Attributes:
        maps: number of label maps.
        max_abs, mean_abs: of the differences of the float images, whose range is [-1, 1] (a cross-view model's may
            reach beyond it, and is not clamped here).
        psnr_db: 10 log10(2² / mean squared difference); None where there is no difference at all.
        max_levels: of the byte images, in steps of 0..255; None where the graph gives none.
    """

    maps: int
    max_abs: float
    mean_abs: float
    psnr_db: float | None
    max_levels: int | None


def compare(
    generator: AnyGenerator,
    inputs: Sequence[CheckInput],
    float_model: bytes,
    image_model: bytes | None,
    task: Task,
) -> Difference:
    """Run the generator in PyTorch (float32) and its graph in ONNX Runtime (CPU) on the same label maps.

    Args:
        generator: as loaded, without any of the rewrites that the graph has undergone.
        inputs: batches of label maps.
        float_model: serialized graph with float output.
        image_model: serialized graph with byte output, or None.
        task: advanced by one per batch.

    Raises:
        BackendError: ONNX Runtime does not take or run the graph.
    """
    float_session, image_session = _session(float_model), _session(image_model) if image_model else None
    worst, total, squares, count, maps, levels = 0.0, 0.0, 0.0, 0, 0, 0
    for check in inputs:
        reference = _run_torch(generator, check)
        difference = np.abs(_run(float_session, check).astype(np.float64) - reference.numpy().astype(np.float64))
        # max() would pass over a NaN that is not the first element
        worst = max(worst, float(difference.max())) if np.isfinite(difference).all() else math.inf
        total += float(difference.sum())
        squares += float((difference**2).sum())
        count += difference.size
        maps += len(check.label)
        if image_session is not None:
            pixels = _run(image_session, check).astype(np.int16) - decode_image(reference).numpy().astype(np.int16)
            levels = max(levels, int(np.abs(pixels).max()))
        task.advance(note=check.name)
    return Difference(
        maps=maps,
        max_abs=worst,
        mean_abs=total / count,
        psnr_db=10 * math.log10(_PEAK**2 * count / squares) if squares > 0 else None,
        max_levels=levels if image_session is not None else None,
    )


def check_gate(difference: Difference, generator: AnyGenerator, inputs: Sequence[CheckInput]) -> None:
    """Refuse a graph that does not compute what the generator computes.

    Raises:
        GateError: the float images differ by more than `TOLERANCE`, or the bytes by more than one level. The message
            tells a fault of the export from a network that amplifies rounding errors.
    """
    if difference.max_abs <= TOLERANCE and (difference.max_levels or 0) <= 1:
        return
    rounding = max(rounding_of_torch(generator, check) for check in inputs)
    levels = "" if difference.max_levels is None else f" and {difference.max_levels} of 255 levels"
    cause = (
        "so this network amplifies rounding errors, as one that is not trained to the end may: train it on"
        if rounding > TOLERANCE / 4
        else "so this is a fault of the export or of a backend: please report it"
    )
    raise GateError(
        f"ONNX Runtime and PyTorch differ by {difference.max_abs:.2e} on a scale of -1 to 1{levels}, more than "
        f"{TOLERANCE:.0e} or one level; nothing was written. PyTorch in float32 differs from itself in float64 by "
        f"{rounding:.2e}, {cause}"
    )


def rounding_of_torch(generator: AnyGenerator, check: CheckInput) -> float:
    """Largest difference between the generator in float32 and in float64 on the same map: its own rounding error."""
    with torch.inference_mode():
        inputs = network_inputs(generator.config, check.batch)
        single = generator(*inputs).final
        wide = [tensor.double() if tensor.is_floating_point() else tensor for tensor in inputs]
        double = copy.deepcopy(generator).double()(*wide).final
    return float((single.double() - double).abs().max())


def _run_torch(generator: AnyGenerator, check: CheckInput) -> Tensor:
    """The float image [N, 3, H, W] that PyTorch gives."""
    with torch.inference_mode():
        final: Tensor = generator(*network_inputs(generator.config, check.batch)).final
    return final


def to_card(difference: Difference, one_class: Difference, one_class_rounding: float) -> dict[str, Any]:
    """What the model card keeps, figures rounded to four digits."""

    def figures(of: Difference) -> dict[str, Any]:
        return {
            "maps": of.maps,
            "max_abs": _rounded(of.max_abs),
            "mean_abs": _rounded(of.mean_abs),
            "psnr_db": None if of.psnr_db is None else _rounded(of.psnr_db),
            "max_levels": of.max_levels,
        }

    return {
        **figures(difference),
        "tolerance": TOLERANCE,
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
        "one_class": {**figures(one_class), "torch_rounding": _rounded(one_class_rounding)},
    }


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _session(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors only; they are raised as well
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise BackendError(f"ONNX Runtime does not accept the exported graph: {_first_line(error)}") from error


def _run(session: onnxruntime.InferenceSession, check: CheckInput) -> np.ndarray:
    try:
        return session.run([IMAGE], check.batch.feeds())[0]
    except Exception as error:
        raise BackendError(f"ONNX Runtime failed on the exported graph: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:300]
