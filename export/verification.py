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

from export.branches import Branch, tensors_by_name
from export.external_data import Serialized
from export.layouts import CheckInput
from export.names import IMAGE
from lggan.networks.build import AnyGenerator
from lggan.networks.semantics import decode_image
from lggan.synthesis import network_inputs
from runtime.contract.errors import BackendError, GateError, InputError
from runtime.contract.progress import Task

TOLERANCE = 1e-3  # of the float image in [-1, 1]: an eighth of one of the 255 steps between two byte values
_PEAK = 2.0  # from -1 to 1
_NAMES = {
    IMAGE: "final image",
    Branch.GLOBAL_IMAGE.value: "global image",
    Branch.LOCAL_IMAGE.value: "local image",
    Branch.ATTENTION_LOCAL.value: "attention weight",
}  # in messages


@dataclass(frozen=True)
class BranchDifference:
    """How far one of the intermediate pictures is from PyTorch's, as in `Difference`.

    Attributes:
        branch: which one. The weight's range is [0, 1], the pictures' is [-1, 1]; PSNR is of the range.
        max_abs, mean_abs, psnr_db: of the float values.
    """

    branch: Branch
    max_abs: float
    mean_abs: float
    psnr_db: float | None


@dataclass(frozen=True)
class Difference:
    """How far two float images are from each other.

    Attributes:
        maps: number of label maps.
        max_abs, mean_abs: of the differences of the float images, whose range is [-1, 1] (a cross-view model's may
            reach beyond it, and is not clamped here).
        psnr_db: 10 log10(2² / mean squared difference); None where there is no difference at all.
        max_levels: of the byte images, in steps of 0..255; None where the graph gives none.
        branches: of the intermediate pictures; empty where the graph gives none.
    """

    maps: int
    max_abs: float
    mean_abs: float
    psnr_db: float | None
    max_levels: int | None
    branches: tuple[BranchDifference, ...] = ()


def compare(
    generator: AnyGenerator,
    inputs: Sequence[CheckInput],
    float_model: Serialized,
    image_model: Serialized | None,
    task: Task,
) -> Difference:
    """Run the generator in PyTorch (float32) and its graph in ONNX Runtime (CPU) on the same label maps.

    The two graphs are loaded one after the other: each takes the memory of all weights.

    Args:
        generator: as loaded, without any of the rewrites that the graph has undergone.
        inputs: batches of label maps.
        float_model: serialized graph with float output; those of `Branch` that it has are compared as well.
        image_model: serialized graph with byte output, or None.
        task: advanced by one per batch.

    Raises:
        InputError: no label map, or PyTorch itself gives values that are not numbers.
        BackendError: ONNX Runtime does not take or run the graph.
        GateError: ONNX Runtime gives values that are not numbers.
    """
    if not inputs:
        raise InputError("there is no label map to compare PyTorch and ONNX Runtime on; name one")
    session = _session(float_model)
    names = [entry.name for entry in session.get_outputs()]
    sums = {IMAGE: _Sums(_PEAK), **{branch.value: _Sums(branch.peak) for branch in Branch if branch.value in names}}
    pictures = []
    for check in inputs:
        expected = _run_torch(generator, check)
        for (name, total), found in zip(sums.items(), _run(session, list(sums), check), strict=True):
            total.add(expected[name], found, f"{_NAMES[name]} of {check.name!r}")
        pictures.append(decode_image(expected[IMAGE]).numpy())  # [N, H, W, 3]
        task.advance(note=check.name)
    del session
    overall = sums.pop(IMAGE)
    return Difference(
        maps=sum(len(check.label) for check in inputs),
        max_abs=overall.largest,
        mean_abs=overall.mean,
        psnr_db=overall.psnr_db,
        max_levels=None if image_model is None else _levels(image_model, inputs, pictures),
        branches=tuple(
            BranchDifference(Branch(name), each.largest, each.mean, each.psnr_db) for name, each in sums.items()
        ),
    )


def check_gate(difference: Difference, generator: AnyGenerator, inputs: Sequence[CheckInput]) -> None:
    """Refuse a graph that does not compute what the generator computes.

    Raises:
        GateError: the float images differ by more than `TOLERANCE`, or the bytes by more than one level. The message
            tells a fault of the export from a network that amplifies rounding errors, and names the branch that is
            furthest off.
    """
    if difference.max_abs <= TOLERANCE and (difference.max_levels or 0) <= 1:
        return
    rounding = max(rounding_of_torch(generator, check) for check in inputs)
    levels = "" if difference.max_levels is None else f" and {difference.max_levels} of 255 levels"
    where = f" ({_where(difference.branches)})" if difference.branches else ""
    cause = (
        "so this network amplifies rounding errors, as one that is not trained to the end may: train it on"
        if rounding > TOLERANCE / 4
        else "so this is a fault of the export or of a backend: please report it"
    )
    raise GateError(
        f"ONNX Runtime and PyTorch differ by {difference.max_abs:.2e} on a scale of -1 to 1{levels}, more than "
        f"{TOLERANCE:.0e} or one level{where}; nothing was written. "
        f"PyTorch in float32 differs from itself in float64 by {rounding:.2e}, {cause}"
    )


def rounding_of_torch(generator: AnyGenerator, check: CheckInput) -> float:
    """Largest difference between the generator in float32 and in float64 on the same map: its own rounding error."""
    with torch.inference_mode():
        inputs = network_inputs(generator.config, check.batch)
        single = generator(*inputs).final
        wide = [tensor.double() if tensor.is_floating_point() else tensor for tensor in inputs]
        double = copy.deepcopy(generator).double()(*wide).final
    return float((single.double() - double).abs().max())


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

    branches = {
        each.branch.value: {
            "max_abs": _rounded(each.max_abs),
            "mean_abs": _rounded(each.mean_abs),
            "psnr_db": None if each.psnr_db is None else _rounded(each.psnr_db),
        }
        for each in difference.branches
    }
    return {
        **figures(difference),
        "tolerance": TOLERANCE,
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
        **({"branches": branches} if branches else {}),
        "one_class": {**figures(one_class), "torch_rounding": _rounded(one_class_rounding)},
    }


class _Sums:
    """Running totals of the differences of one output; ``peak`` is the width of its range."""

    def __init__(self, peak: float) -> None:
        self.peak = peak
        self.count = 0
        self.largest = self.absolute = self.squared = 0.0

    def add(self, expected: Tensor, found: np.ndarray, what: str) -> None:
        reference = expected.numpy()
        _check_shape(found, reference.shape, what)
        if not np.isfinite(reference).all():
            raise InputError(
                f"PyTorch gives values that are not numbers in the {what}; the training diverged, repeat it"
            )
        if not np.isfinite(found).all():
            count = int((~np.isfinite(found)).sum())
            raise GateError(
                f"ONNX Runtime gives {count} of {found.size} values that are not numbers in the {what}, PyTorch none; "
                "nothing was written. This is a fault of the export or of a backend: please report it"
            )
        difference = np.abs(found.astype(np.float64) - reference.astype(np.float64))
        self.count += difference.size
        self.largest = max(self.largest, float(difference.max()))
        self.absolute += float(difference.sum())
        self.squared += float((difference**2).sum())

    @property
    def mean(self) -> float:
        return self.absolute / self.count

    @property
    def psnr_db(self) -> float | None:
        return 10 * math.log10(self.peak**2 * self.count / self.squared) if self.squared > 0 else None


def _check_shape(found: np.ndarray, expected: tuple[int, ...], what: str) -> None:
    if found.shape != expected:
        raise BackendError(f"the exported graph gives {list(found.shape)} for the {what}, PyTorch {list(expected)}")


def _where(branches: Sequence[BranchDifference]) -> str:
    """In which branch to look for a fault, and how far off each is."""
    ordered = sorted(branches, key=lambda each: each.max_abs / each.branch.peak, reverse=True)
    figures = ", ".join(f"{_NAMES[each.branch.value]} {each.max_abs:.1e}" for each in ordered)
    return f"the branches agree: {figures}" if ordered[0].max_abs <= TOLERANCE else f"furthest off: {figures}"


def _run_torch(generator: AnyGenerator, check: CheckInput) -> dict[str, Tensor]:
    """The float images [N, 3, H, W] and the weight [N, 1, H, W] that PyTorch gives, by their names in a graph."""
    with torch.inference_mode():
        return tensors_by_name(generator(*network_inputs(generator.config, check.batch)))


def _levels(model: Serialized, inputs: Sequence[CheckInput], expected: Sequence[np.ndarray]) -> int:
    """Largest difference of the byte images [N, H, W, 3]."""
    session = _session(model)
    largest = 0
    for check, picture in zip(inputs, expected, strict=True):
        found = _run(session, [IMAGE], check)[0]
        _check_shape(found, picture.shape, f"bytes of {check.name!r}")
        largest = max(largest, int(np.abs(found.astype(np.int16) - picture.astype(np.int16)).max()))
    return largest


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _session(model: Serialized) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    model.lend_to(options)
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors only; they are raised as well
    try:
        return onnxruntime.InferenceSession(model.data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise BackendError(f"ONNX Runtime does not accept the exported graph: {_first_line(error)}") from error


def _run(session: onnxruntime.InferenceSession, outputs: list[str], check: CheckInput) -> list[np.ndarray]:
    try:
        found: list[np.ndarray] = session.run(outputs, check.batch.feeds())
    except Exception as error:
        raise BackendError(f"ONNX Runtime failed on the exported graph: {_first_line(error)}") from error
    return found


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:300]
