from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from engines.child import Job, run_child
from export.names import DOMAIN
from export.sau_function import ATTRIBUTES, OP_TYPE, SauGeometry, attach_sau_function, sau_function
from export.tensorrt_support import tensorrt_findings
from lggan.networks.upsample import semantic_aware_upsample
from runtime.contract.errors import UsageError
from runtime.contract.progress import SilentProgress

GEOMETRIES = [
    SauGeometry(5, 2, 2),
    SauGeometry(5, 2, 1),
    SauGeometry(3, 2, 2),
    SauGeometry(3, 2, 1),
    SauGeometry(1, 2, 2),
    SauGeometry(5, 4, 4),
    SauGeometry(5, 4, 1),
    SauGeometry(3, 1, 1),
    SauGeometry(3, 2, 3),  # skips source pixels
    SauGeometry(7, 3, 3),
    SauGeometry(13, 2, 2),  # window wider than the usual tile
]


def _model(geometries: list[SauGeometry], kind: int = TensorProto.FLOAT) -> onnx.ModelProto:
    """One node per geometry; all read the same feature."""
    nodes, inputs, outputs = [], [helper.make_tensor_value_info("feature", kind, ["N", "C", "H", "W"])], []
    for index, one in enumerate(geometries):
        channels = one.kernel**2 * one.scale**2
        inputs.append(helper.make_tensor_value_info(f"logits{index}", kind, ["N", channels, "H", "W"]))
        outputs.append(helper.make_tensor_value_info(f"output{index}", kind, ["N", "C", f"h{index}", f"w{index}"]))
        nodes.append(
            helper.make_node(
                OP_TYPE,
                ["feature", f"logits{index}"],
                [f"output{index}"],
                domain=DOMAIN,
                kernel=one.kernel,
                scale=one.scale,
                dilation=one.dilation,
                plugin_namespace="lggan",
                plugin_version="1",
            )
        )
    graph = helper.make_graph(nodes, "sau", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    attach_sau_function(model)
    return model


def _run(model: onnx.ModelProto, feature: np.ndarray, logits: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"feature": feature, "logits0": logits})[0]


def _loops(feature: np.ndarray, logits: np.ndarray, geometry: SauGeometry) -> np.ndarray:
    """Enlarge by nearest neighbour, then one weighted window per output pixel, in float64."""
    k, s, dilation = geometry.kernel, geometry.scale, geometry.dilation
    n, channels, h, w = feature.shape
    enlarged = feature.astype(np.float64).repeat(s, axis=2).repeat(s, axis=3)
    output = np.zeros((n, channels, s * h, s * w))
    for image, row, column in np.ndindex(n, s * h, s * w):
        sub = (row % s) * s + column % s
        taps = logits[image, sub :: s * s, row // s, column // s].astype(np.float64)
        weights = np.exp(taps - taps.max())
        weights /= weights.sum()
        for tap in range(k * k):
            y = row + (tap // k - k // 2) * dilation
            x = column + (tap % k - k // 2) * dilation
            if 0 <= y < s * h and 0 <= x < s * w:
                output[image, :, row, column] += weights[tap] * enlarged[image, :, y, x]
    return output


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_body_against_loops(geometry: SauGeometry) -> None:
    model = _model([geometry])
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    draw = np.random.default_rng(0)
    for n, channels, h, w in [(1, 2, 1, 1), (2, 3, 3, 5), (1, 1, 2, 8), (1, 2, 4, 9)]:
        feature = draw.standard_normal((n, channels, h, w)).astype(np.float32)
        logits = (3 * draw.standard_normal((n, geometry.kernel**2 * geometry.scale**2, h, w))).astype(np.float32)
        output = session.run(None, {"feature": feature, "logits0": logits})[0]
        np.testing.assert_allclose(output, _loops(feature, logits, geometry), atol=3e-6)


@pytest.mark.parametrize("geometry", [SauGeometry(5, 2, 2), SauGeometry(5, 2, 1), SauGeometry(1, 2, 2)], ids=str)
@pytest.mark.parametrize("tile", [(1, 1), (1, 8), (3, 2), (5, 1)], ids=str)
def test_any_tile_gives_the_same(geometry: SauGeometry, tile: tuple[int, int]) -> None:
    draw = np.random.default_rng(5)
    feature = draw.standard_normal((2, 3, 4, 7)).astype(np.float32)
    logits = (3 * draw.standard_normal((2, geometry.kernel**2 * geometry.scale**2, 4, 7))).astype(np.float32)
    model = _model([geometry])
    expected = _run(model, feature, logits)
    del model.functions[:]
    model.functions.append(sau_function(geometry, tile))
    np.testing.assert_allclose(_run(model, feature, logits), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "dtype", "tolerance"), [(TensorProto.FLOAT16, "e", 4e-3), (TensorProto.DOUBLE, "d", 3e-6)]
)
@pytest.mark.parametrize("dilation", [1, 2])
def test_body_in_other_float_types(kind: int, dtype: str, tolerance: float, dilation: int) -> None:
    geometry = SauGeometry(5, 2, dilation)
    draw = np.random.default_rng(1)
    feature = draw.standard_normal((1, 3, 4, 11)).astype(dtype)
    logits = draw.standard_normal((1, 100, 4, 11)).astype(dtype)
    output = _run(_model([geometry], kind), feature, logits)
    assert output.dtype == np.dtype(dtype)
    np.testing.assert_allclose(output, _loops(feature, logits, geometry), atol=tolerance)


@pytest.mark.parametrize("geometry", [SauGeometry(5, 2, 2), SauGeometry(5, 2, 1)], ids=str)
def test_body_equals_the_torch_operator(geometry: SauGeometry) -> None:
    draw = torch.Generator().manual_seed(2)
    feature, logits = torch.randn(2, 6, 9, 17, generator=draw), torch.randn(2, 100, 9, 17, generator=draw)
    expected = semantic_aware_upsample(feature, logits, geometry.kernel, geometry.scale, geometry.dilation)
    output = _run(_model([geometry]), feature.numpy(), logits.numpy())
    np.testing.assert_allclose(output, expected.numpy(), atol=3e-6)


def test_large_logits_do_not_overflow() -> None:
    geometry = SauGeometry(3, 2, 2)
    draw = np.random.default_rng(3)
    feature = draw.standard_normal((1, 2, 3, 3)).astype(np.float32)
    logits = (500 * draw.standard_normal((1, 36, 3, 3))).astype(np.float32)
    np.testing.assert_allclose(_run(_model([geometry]), feature, logits), _loops(feature, logits, geometry), atol=3e-6)


def test_pixels_beyond_the_window_add_nothing() -> None:
    """A huge value next to a window stays unseen: in the band it meets zeros, not small numbers."""
    geometry = SauGeometry(3, 2, 2)
    feature = np.zeros((1, 1, 2, 8), np.float32)
    feature[..., 5] = 3e38
    logits = np.zeros((1, 36, 2, 8), np.float32)
    output = _run(_model([geometry]), feature, logits)
    assert not output[..., : 2 * 4].any()
    assert not output[..., 2 * 7 :].any()
    assert np.isfinite(output).all()


def test_reference_numbers(shared_dir: Path) -> None:
    with np.load(shared_dir / "reference" / "semantic_aware_upsampling.npz", allow_pickle=False) as numbers:
        cases = sorted(name[0] for name in numbers if name.endswith("_output"))
        assert cases
        for case in cases:
            k, s = (int(value) for value in numbers[f"{case}_kernel_scale"])
            feature, logits = numbers[f"{case}_feature"], numbers[f"{case}_logits"]
            output = _run(_model([SauGeometry(k, s, s)]), feature.astype(np.float32), logits.astype(np.float32))
            np.testing.assert_allclose(output, numbers[f"{case}_output"], atol=1e-5)


def test_function_names_what_the_plugin_needs() -> None:
    function = sau_function(SauGeometry(5, 2, 2))
    assert (function.domain, function.name) == ("lggan", "SemanticAwareUpsample")
    assert tuple(function.attribute) == ATTRIBUTES
    assert {node.domain for node in function.node} == {""}


def test_two_geometries_in_one_model_are_refused() -> None:
    with pytest.raises(UsageError, match="2 different kernels"):
        _model([SauGeometry(5, 2, 2), SauGeometry(3, 2, 2)])


def test_two_nodes_of_one_geometry_share_the_body() -> None:
    model = _model([SauGeometry(3, 2, 2)] * 2)
    assert len(model.functions) == 1
    draw = np.random.default_rng(4)
    feeds = {"feature": draw.standard_normal((1, 2, 3, 4)).astype(np.float32)}
    feeds |= {f"logits{i}": draw.standard_normal((1, 36, 3, 4)).astype(np.float32) for i in range(2)}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for index, output in enumerate(session.run(None, feeds)):
        expected = _loops(feeds["feature"], feeds[f"logits{index}"], SauGeometry(3, 2, 2))
        np.testing.assert_allclose(output, expected, atol=3e-6)


@pytest.mark.parametrize("values", [(4, 2, 2), (0, 2, 2), (3, 0, 1), (3, 2, 0)])
def test_impossible_geometry(values: tuple[int, int, int]) -> None:
    with pytest.raises(UsageError, match="odd"):
        SauGeometry(*values)


@pytest.mark.parametrize("geometry", [SauGeometry(5, 2, 2), SauGeometry(5, 2, 1)])
def test_constants_are_tensors(geometry: SauGeometry) -> None:
    """ONNX Runtime 1.23, the last for Python 3.10, takes a ``value_ints`` of a function body for a scalar."""
    constants = [node for node in sau_function(geometry).node if node.op_type == "Constant"]
    assert constants
    assert {attribute.name for node in constants for attribute in node.attribute} == {"value"}


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_tensorrt_10_3_has_its_operators(geometry: SauGeometry, kind: int) -> None:
    assert not tensorrt_findings(_model([geometry], kind))


@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed: nothing is built"
)
@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16])
@pytest.mark.parametrize("geometry", [SauGeometry(5, 2, 2), SauGeometry(5, 2, 1)], ids=str)
def test_tensorrt_rtx_builds_it_for_any_size(geometry: SauGeometry, kind: int, tmp_path: Path) -> None:
    model = _model([geometry], kind)
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[1].dim_value = 16
    sizes = [(1, 1, 1), (1, 16, 32), (2, 33, 70)]
    profile = {name: tuple((n, c, h, w) for n, h, w in sizes) for name, c in (("feature", 16), ("logits0", 100))}
    job = Job(tmp_path / "sau.engine", ("sm86",), profile)
    facts = run_child(job, model.SerializeToString(), SilentProgress())
    assert facts.layers["matrix_multiply"] == 1 + (geometry.dilation != geometry.scale)
    assert job.plan.stat().st_size > 10_000
