from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper
from torch.nn.functional import instance_norm

from export.names import DOMAIN
from export.opset import IR_VERSION, OPSET
from export.rewrites.instance_norm import OP_TYPE, attach_two_stage_norm, use_two_stage_norms
from export.target import Target
from runtime.contract.errors import BackendError
from tests.export.rewrites.hard_maps import hard_maps
from tests.export.samples import Case, Sample
from tests.export.small_exports import exported_graph


def _model(channels: int, epsilon: float = 1e-5) -> onnx.ModelProto:
    """A graph with one instance norm, as PyTorch's exporter writes it."""
    numbers = {"ones": np.ones(channels, np.float32), "zeros": np.zeros(channels, np.float32)}
    sizes = ["N", channels, "H", "W"]
    return helper.make_model(
        helper.make_graph(
            [helper.make_node("InstanceNormalization", ["x", "ones", "zeros"], ["y"], "norm", epsilon=epsilon)],
            "graph",
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, sizes)],
            [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, sizes)],
            [onnx.numpy_helper.from_array(array, name) for name, array in numbers.items()],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )


def _run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    y: np.ndarray = session.run(None, {"x": x})[0]
    return y


def _two_stage(model: onnx.ModelProto) -> onnx.ModelProto:
    use_two_stage_norms(model)
    attach_two_stage_norm(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def _error(y: np.ndarray, x: np.ndarray) -> float:
    return float(np.abs(y - instance_norm(torch.from_numpy(x).double()).numpy()).max())


@pytest.mark.parametrize("shape", [(1, 3, 2, 1), (1, 3, 1, 2), (2, 3, 5, 7), (3, 3, 16, 9)])
def test_any_size_gives_pytorchs_norm_in_float64(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).numpy()
    assert _error(_run(_two_stage(_model(3)), x), x) < 2e-6


def test_on_maps_made_of_labels() -> None:
    table = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    model = _two_stage(_model(4))
    for name, label in hard_maps(4, 32, 64).items():
        x = np.ascontiguousarray(table[np.minimum(label, 4)].transpose(2, 0, 1)[None])  # [1, 4, H, W]
        y = _run(model, x)
        assert np.isfinite(y).all(), name
        # Maps that are nearly flat have hardly a deviation but rounding's, which the norm makes larger.
        assert _error(y, x) < (1e-4 if x.std(axis=(2, 3)).min() < 0.1 else 5e-6), name


@pytest.mark.parametrize(("offset", "most", "gain"), [(0.0, 2e-6, 5), (30.0, 5e-5, 20)])
def test_large_flat_regions_do_not_add_up_their_rounding(offset: float, most: float, gain: float) -> None:
    draw = np.random.default_rng(0)
    regions = draw.integers(0, 35, (8, 16)).repeat(32, axis=0).repeat(32, axis=1)
    values = draw.normal(size=(35, 8)).astype(np.float32) + np.float32(offset)
    x = values[regions].transpose(2, 0, 1)[None] + draw.normal(size=(1, 8, 256, 512)).astype(np.float32) * 1e-3
    x = np.ascontiguousarray(x, np.float32)
    steady, plain = _error(_run(_two_stage(_model(8)), x), x), _error(_run(_model(8), x), x)
    assert steady < most
    assert plain > gain * steady


def test_another_epsilon_is_refused() -> None:
    with pytest.raises(BackendError, match=r"'norm' is an instance norm with epsilon 0\.001 instead of 1e-05"):
        use_two_stage_norms(_model(3, epsilon=1e-3))


def test_a_graph_without_norms_stays_as_it_is() -> None:
    model = _two_stage(_model(3))
    del model.graph.node[:], model.functions[:]
    attach_two_stage_norm(model)
    assert not model.functions


@pytest.mark.parametrize(("target", "two_stage", "plain"), [(Target.CPU, 11, 0), (Target.TENSORRT, 0, 11)])
def test_only_the_graph_for_the_cpu_has_them(
    sample: Sample, tmp_path: Path, target: Target, two_stage: int, plain: int
) -> None:
    graph = exported_graph(sample, Case(), target, tmp_path).graph
    count = Counter((node.domain, node.op_type) for node in graph.node)
    assert count[DOMAIN, OP_TYPE] == two_stage
    assert count["", "InstanceNormalization"] == plain
