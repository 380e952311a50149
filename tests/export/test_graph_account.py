"""The account against counts by hand on a drawn graph, and against the layers of exported networks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from onnx import TensorProto, helper, numpy_helper, parser

from export.graph_account import account, graph_report, write_report
from export.graph_profile import labelled, profiled
from export.layouts import CheckInput, built_in
from export.rewrites import class_heads_band
from export.rewrites.names import Rewrite
from export.savings import savings
from export.target import Target
from lggan.cost import generator_cost
from lggan.networks.build import AnyGenerator
from runtime.contract.errors import BackendError
from runtime.contract.graph_report import GRAPH_KEY, BlockCost, GraphReport
from tests.export.samples import Case, Sample
from tests.export.small_exports import exported_graph

CHECK = CheckInput("drawn", np.arange(64, dtype=np.uint8).reshape(1, 1, 8, 8))
OPSETS = [helper.make_opsetid("", 18), helper.make_opsetid("lggan", 1)]


def _drawn(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], functions: str = "") -> onnx.ModelProto:
    """label uint8 [N, 1, H, W] -> nodes -> image, float."""
    graph = helper.make_graph(
        nodes,
        "drawn",
        [helper.make_tensor_value_info("label", TensorProto.UINT8, ["N", 1, "H", "W"])],
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    bodies = [parser.parse_function(functions)] if functions else []
    return helper.make_model(graph, opset_imports=OPSETS, functions=bodies, ir_version=8)


def _network() -> onnx.ModelProto:
    """An encoder, two branches that call one function, and their fusion."""
    node = helper.make_node
    weights = {
        "w1": np.ones((4, 1, 3, 3), np.float32),
        "w2": np.ones((4, 2, 3, 3), np.float32),
        "matrix": np.ones((8, 8), np.float32),
        "shape": np.array([1, 4, 64], np.int64),
        "axes": np.array([1], np.int64),
    }
    nodes = [
        node("Cast", ["label"], ["wide"], "Cast", to=TensorProto.FLOAT),
        node("Conv", ["wide", "w1"], ["c"], "encoder/conv1/Conv", pads=[1, 1, 1, 1]),  # [1, 4, 8, 8]
        node("Relu", ["c"], ["r"], "encoder/Relu"),
        node("ConvTranspose", ["r", "w2"], ["u"], "local_branch/decoder/up1/ConvTranspose",
             strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]),  # [1, 2, 16, 16]
        node("MaxPool", ["u"], ["p"], "local_branch/decoder/MaxPool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Mix", ["p", "matrix"], ["l"], "local_branch/mix/Mix", domain="lggan"),  # [1, 2, 8, 8]
        node("Mix", ["r", "matrix"], ["a"], "attention/mix/Mix", domain="lggan"),  # [1, 4, 8, 8]
        node("ReduceMean", ["a", "axes"], ["m"], "ReduceMean"),  # without a module: of the attention
        node("Reshape", ["r", "shape"], ["flat"], "encoder/Reshape"),
        node("Mul", ["l", "m"], ["image"], "Mul"),
    ]  # fmt: skip
    body = """
        <opset_import: ["" : 18], domain: "lggan"> Mix (x, matrix) => (y) {
            product = MatMul (x, matrix)
            y = CastLike (product, x)
        }
    """
    return _drawn(nodes, weights, body)


@pytest.fixture(scope="module")
def drawn() -> GraphReport:
    return account(_network(), CHECK)


def _blocks(report: GraphReport) -> dict[str, BlockCost]:
    return {block.name: block for block in report.blocks}


def test_multiplications_by_hand(drawn: GraphReport) -> None:
    macs = {name: block.macs for name, block in _blocks(drawn).items()}
    assert macs == {
        "inputs": 0,
        "encoder/conv1": 64 * 4 * 9,
        "local/decoder/up1": 64 * 4 * 2 * 9,  # per input pixel
        "local/mix": 2 * 8 * 8 * 8,
        "attention/mix": 4 * 8 * 8 * 8,
        "fusion": 0,
    }
    assert drawn.total().macs == sum(macs.values())


def test_bytes_by_hand(drawn: GraphReport) -> None:
    blocks = _blocks(drawn)
    assert blocks["encoder/conv1"].activation_bytes == 4 * 2 * 4 * 64  # the reshaped one is no new tensor
    assert blocks["local/decoder/up1"].activation_bytes == 4 * (2 * 256 + 2 * 64)
    assert blocks["fusion"].activation_bytes == 4 * 2 * 64
    assert blocks["encoder/conv1"].weight_bytes == 4 * 36 + 3 * 8
    assert blocks["local/decoder/up1"].weight_bytes == 4 * 72
    assert blocks["local/mix"].weight_bytes == 4 * 64  # of its first reader
    assert blocks["attention/mix"].weight_bytes == 8  # axes
    assert drawn.largest[0].name == "local_branch/decoder/up1/ConvTranspose"
    assert (drawn.largest[0].shape, drawn.largest[0].size_bytes) == ((1, 2, 16, 16), 2048)
    assert "attention/mix/ReduceMean" in {one.name for one in drawn.largest}  # named after its block


def test_small_nodes_belong_to_the_block_before_them(drawn: GraphReport) -> None:
    blocks = _blocks(drawn)
    assert blocks["encoder/conv1"].nodes == 3  # convolution, ReLU, reshape
    assert blocks["local/decoder/up1"].nodes == 2
    assert blocks["local/decoder/up1"].output == (1, 2, 8, 8)
    assert blocks["attention/mix"].output == (1, 1, 8, 8)
    assert blocks["local/mix"].nodes >= 1


def test_edges_are_those_of_the_branches(drawn: GraphReport) -> None:
    assert set(drawn.edges) == {
        ("inputs", "encoder"),
        ("encoder", "local"),
        ("encoder", "attention"),
        ("local", "fusion"),
        ("attention", "fusion"),
    }


def test_the_report_travels_as_text(drawn: GraphReport) -> None:
    assert GraphReport.from_json(drawn.to_json()) == drawn
    assert account(_network(), CHECK).to_json() == drawn.to_json()
    assert (drawn.height, drawn.width, drawn.label_map) == (8, 8, "drawn")


def test_a_loop_counts_each_time_its_nodes_once() -> None:
    node = helper.make_node
    state = helper.make_tensor_value_info("before", TensorProto.FLOAT, None)
    body = helper.make_graph(
        [
            node("Conv", ["before", "w"], ["after"], pads=[1, 1, 1, 1]),
            node("Identity", ["go"], ["go_on"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            state,
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, None),
        ],
    )
    nodes = [
        node("Cast", ["label"], ["wide"], to=TensorProto.FLOAT),  # has no name
        node("Loop", ["times", "yes", "wide"], ["image"], "local_branch/heads/Loop", body=body),
    ]
    weights = {"w": np.ones((1, 1, 3, 3), np.float32), "times": np.array(3), "yes": np.array(True)}
    report = account(_drawn(nodes, weights), CHECK)
    heads = _blocks(report)["local/heads"]
    assert heads.macs == 3 * 64 * 9
    assert heads.activation_bytes == 3 * 4 * 64  # what the loop gives is what its last step wrote
    assert heads.nodes == 3


def test_functions_within_functions_know_their_call() -> None:
    node = helper.make_node
    model = _drawn(
        [
            node("Cast", ["label"], ["wide"], "Cast", to=TensorProto.FLOAT),
            node("Outer", ["wide"], ["x"], "encoder/first/Outer", domain="lggan"),
            node("Outer", ["x"], ["image"], "encoder/second/Outer", domain="lggan"),
        ],
        {},
        '<opset_import: ["" : 18, "lggan" : 1], domain: "lggan"> Outer (x) => (y) { y = lggan.Inner (x) }',
    )
    model.functions.append(
        parser.parse_function('<opset_import: ["" : 18], domain: "lggan"> Inner (x) => (y) { y = MatMul (x, x) }')
    )
    runs = {run.name: run for run in profiled(model, CHECK) if run.macs}
    assert {name: run.caller for name, run in runs.items()} == {
        "encoder/first/Outer/Inner_0/MatMul_0": "encoder/first/Outer",
        "encoder/second/Outer/Inner_0/MatMul_0": "encoder/second/Outer",
    }
    assert all(run.macs == 8**3 for run in runs.values())


def test_the_model_itself_is_left_alone() -> None:
    model = _network()
    before = model.SerializeToString(deterministic=True)
    copy = labelled(model)
    account(model, CHECK)
    assert model.SerializeToString(deterministic=True) == before
    assert len(copy.functions) == 2  # one for each call


def test_the_account_goes_into_the_metadata(drawn: GraphReport) -> None:
    model = _network()
    model.metadata_props.add(key="other", value="kept")
    write_report(model, replace(drawn, published_macs=7))
    write_report(model, drawn)
    found = {entry.key: entry.value for entry in model.metadata_props}
    assert found == {GRAPH_KEY: drawn.to_json(), "other": "kept"}
    assert [entry.key for entry in model.metadata_props] == sorted(found)


def test_a_graph_that_does_not_run() -> None:
    model = _network()
    del model.functions[:]
    with pytest.raises(BackendError, match="could not run the exported graph to count it"):
        account(model, CHECK)


# --- exported networks ---


def _accounted(sample: Sample, case: Case, target: Target, folder: Path) -> GraphReport:
    """Of the sample at its own size."""
    return account(exported_graph(sample, case, target, folder), built_in(sample.card)[0])


def _counted(generator: AnyGenerator, *parts: str) -> int:
    return sum(part.macs for part in generator_cost(generator.config).parts if part.name in parts)


@pytest.mark.parametrize("cross_view", [False, True])
def test_convolutions_of_a_network(cross_view: bool, make_sample: Callable[[Case], Sample], tmp_path: Path) -> None:
    """What the profile counts in the graph is what the layers tell on the meta device."""
    case = Case(cross_view=cross_view)
    sample = make_sample(case)
    report = _accounted(sample, case, Target.TENSORRT, tmp_path)
    macs: Counter[str] = Counter()
    for block in report.blocks:
        macs["upsampling" if "decoder" in block.name else block.branch] += block.macs
    encoder = ("encoder",) if cross_view else ("encoder: conv1-3", "encoder: conv4-5")
    assert macs["encoder"] == _counted(sample.generator, *encoder)
    heads = ("local: class convs",) if cross_view else ("local: residual blocks", "local: class convs")
    assert macs["local"] == _counted(sample.generator, *heads, "local: fusing conv")
    assert {branch.name for branch in report.branches()} >= {"inputs", "encoder", "local", "global", "attention"}
    assert ("encoder", "tower" if cross_view else "local") in report.edges
    assert report.branches()[-1].name == "picture"
    size = (sample.card.height, sample.card.width)
    assert (report.height, report.width) == size
    assert report.total().output == (1, *size, 3)
    stored = sum(len(tensor.raw_data) for tensor in _weights(sample, case, tmp_path))
    assert report.total().weight_bytes == stored


def _weights(sample: Sample, case: Case, folder: Path) -> list[onnx.TensorProto]:
    return list(exported_graph(sample, case, Target.TENSORRT, folder).graph.initializer)


def test_what_was_predicted_for_spade_is_what_is_counted(make_sample: Callable[[Case], Sample], tmp_path: Path) -> None:
    """In the graph for the CPU, how much there is to multiply follows from the label map: to the last MAC."""
    case = Case()
    sample = make_sample(case)
    model = exported_graph(sample, case, Target.CPU, tmp_path)
    rewrites = [Rewrite.LABEL_STEM, Rewrite.SPADE_PATCHES]
    report = graph_report(model, built_in(sample.card)[0], sample.generator.config, rewrites)
    predicted = {saving.rewrite: saving.macs_after for saving in report.savings}
    blocks = _blocks(report)
    spade = sum(block.macs for name, block in blocks.items() if name.startswith("global/blocks/"))
    assert spade - _counted(sample.generator, "global: residual convs") == predicted["spade-patches"]
    assert blocks["encoder/conv1"].macs == predicted["label-stem"] == 0
    # with the upsampling as published, the 1x1 convolution behind it
    assert report.published_macs > sum(part.macs for part in generator_cost(sample.generator.config).parts)


@pytest.mark.parametrize("cross_view", [False, True])
def test_class_heads_multiply_what_is_predicted_and_their_padding(
    cross_view: bool, make_sample: Callable[[Case], Sample], tmp_path: Path
) -> None:
    """The graph lists strips in blocks and fuses all heads at each pixel; with that it is counted to the last MAC."""
    case = Case(cross_view=cross_view)
    sample = make_sample(case)
    model = exported_graph(sample, case, Target.CPU, tmp_path)
    check = built_in(sample.card)[0]
    counted = sum(run.macs for run in profiled(model, check) if "PaintHeads" in run.name)

    bank, pixels = sample.generator.local_branch.heads.weight, check.label.size
    count, out, channels, kernel, _ = bank.shape
    owner = np.full(256, count)
    given = getattr(sample.generator.config, "groups", range(count))
    owner[: len(given)] = [count if head < 0 else head for head in given]
    around = np.pad(owner[check.label[0, 0]], kernel // 2, mode="reflect")  # small enough for one band
    blocks = 0
    present = np.unique(around[around < count])
    for head in present:
        here = np.pad(around == head, ((0, 0), (0, kernel - 1)))
        strips = sliding_window_view(here, kernel, axis=1).any(axis=2).sum()  # those that start in the margin as well
        blocks += -(-int(strips) // class_heads_band._BLOCK)
    chunk = class_heads_band._CHUNK * class_heads_band._BLOCK
    slots = (blocks // class_heads_band._CHUNK + 1) * chunk
    added_to = out if cross_view else 9 * 3
    fused = pixels * added_to * ((len(present) + 1) * out + 1)
    assert counted == slots * out * kernel * kernel * channels + fused

    report = graph_report(model, check, sample.generator.config, [])
    assert _blocks(report)["local/heads"].macs == counted

    ledger = savings(sample.generator.config, [Rewrite.CLASS_HEADS], check.label[0, 0])
    assert counted / 2.5 < ledger[0].macs_after < counted
