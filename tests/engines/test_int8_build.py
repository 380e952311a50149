"""TensorRT-RTX builds INT8 graphs, and computes in INT8 what the graph says."""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from collections.abc import Collection
from pathlib import Path

import onnx
import pytest

from calibration.convolutions import find_convolutions
from calibration.half import to_half
from calibration.qdq import Placement, insert_qdq, quantized_tensors
from engines.child import BuildFacts, Job, run_child
from runtime.contract.progress import SilentProgress
from tests.onnx_toys import CARD, toy_model
from tests.quantized_toys import (
    EVERY,
    all_cases,
    case_inputs,
    exported_generator,
    largest_values,
    tiny_label,
)

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed: nothing is built"
)
TARGETS = ("sm86", "sm89", "sm120")
SHAPES = {"label": ((1, 1, 32, 64), (1, 1, 64, 64), (2, 1, 96, 128))}
CASE_SHAPES = {
    "x": ((1, 4, 8, 8), (1, 4, 12, 12), (2, 4, 32, 40)),
    "mark": ((1, 1, 8, 8), (1, 1, 12, 12), (2, 1, 32, 40)),
}


def build(
    model: onnx.ModelProto, shapes: dict[str, tuple[tuple[int, ...], ...]], folder: Path
) -> tuple[BuildFacts, Counter[str]]:
    """What the parser saw, and the types that the convolutions' kernels read, from the builder's log."""
    job = Job(folder / "model.engine", TARGETS, shapes, folder / "log")
    facts = run_child(job, model.SerializeToString(), SilentProgress())
    assert job.plan.stat().st_size > 10_000
    return facts, kernels_of(job.log.read_text())


def kernels_of(log: str) -> Counter[str]:
    """How many convolutions' kernels read which type."""
    reads = re.compile(r"LayerType: (?:correlation|deconv|runtime_fusion), Inputs: \[ \{.*?Datatype: (\w+)")
    return Counter(reads.findall(log))


def in_int8(
    model: onnx.ModelProto, chosen: Collection[str], feeds: dict, shapes: dict, folder: Path, half: bool
) -> tuple[BuildFacts, Counter[str]]:
    largest = largest_values(model, quantized_tensors(model, chosen, Placement.TENSORRT), feeds)
    typed = insert_qdq(model, chosen, largest, Placement.TENSORRT)
    return build(to_half(typed)[0] if half else typed, shapes, folder)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    return exported_generator(tmp_path_factory.mktemp("exported"))


@pytest.mark.parametrize("half", [True, False])
def test_a_generator_whose_convolutions_are_all_int8(exported: onnx.ModelProto, tmp_path: Path, half: bool) -> None:
    every = [one.name for one in find_convolutions(exported)]
    facts, kernels = in_int8(exported, every, {"label": tiny_label(64)}, SHAPES, tmp_path, half)
    assert kernels == {"Int8": len(every)}
    assert facts.convolutions == {"int8": len(every)}
    assert facts.layers["convolution"] == len(every)
    assert facts.layers["dequantize"] == facts.layers["quantize"] + len(every)


@pytest.mark.parametrize(("half", "other"), [(True, "Half"), (False, "Float")])
def test_every_kind_of_convolution(tmp_path: Path, half: bool, other: str) -> None:
    facts, kernels = in_int8(all_cases(), EVERY, case_inputs(), CASE_SHAPES, tmp_path, half)
    assert (facts.layers["quantize"], facts.layers["dequantize"]) == (7, 15)
    # "up" is read, restored and computed in the type around it; should this fail, TensorRT-RTX has learnt INT8 there
    assert kernels == {"Int8": len(EVERY) - 1, other: 1}


@pytest.mark.parametrize(("half", "other"), [(True, "Half"), (False, "Float")])
def test_a_choice_is_kept(tmp_path: Path, half: bool, other: str) -> None:
    facts, kernels = in_int8(all_cases(), ("first", "right"), case_inputs(), CASE_SHAPES, tmp_path, half)
    assert kernels == {"Int8": 2, other: len(EVERY) - 2}
    assert facts.convolutions == {"int8": 2, {"Half": "fp16", "Float": "fp32"}[other]: len(EVERY) - 2}


def test_fp32_islands_around_integers_build(tmp_path: Path) -> None:
    model = insert_qdq(toy_model(), ["conv1", "conv3"], {"layout": 1.0, "up": 1e-4}, Placement.TENSORRT)
    typed, facts = to_half(model)
    assert {island.node for island in facts.islands} >= {"conv3", "up/quantize"}
    size = (1, 1, CARD.height, CARD.width)
    _, kernels = build(typed, {"label": (size, size, (4, 1, 32, 48))}, tmp_path)
    assert kernels["Int8"] == 2
