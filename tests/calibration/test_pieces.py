"""A graph in pieces: complete, in order, within the budget."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from calibration.pieces import cut, piece_model
from runtime.contract.errors import InputError
from tests.onnx_toys import CARD, toy_model

WANTED = {"layout": 4, "c1": 8, "r1": 8, "up": 32, "c3": 12}


@pytest.mark.parametrize("budget", [1, 10, 16, 20, 40, 1000])
def test_pieces_keep_to_the_budget_and_to_the_order(budget: int) -> None:
    pieces = cut(toy_model(), WANTED, WANTED, budget)
    assert [name for piece in pieces for name in piece.wanted] == list(WANTED)
    at_hand = {"label"}
    for piece in pieces:
        assert sum(WANTED[name] for name in piece.wanted) <= budget or len(piece.wanted) == 1
        assert set(piece.inputs) <= at_hand  # nothing is taken away that is still read
        at_hand |= set(piece.passed_on)
        at_hand -= set(piece.done_with)
        assert set(piece.outputs) == {*piece.wanted, *piece.passed_on}
    assert at_hand == set()
    nodes = [node.name for piece in pieces for node in piece.nodes]
    assert nodes == [node.name for node in toy_model().graph.node][: len(nodes)]
    assert nodes[-1] == "conv3"  # what comes behind the last wanted tensor does not run
    assert len(pieces) == {1: 5, 10: 5, 16: 4, 20: 3, 40: 3, 1000: 1}[budget]


def test_pieces_one_after_the_other_are_the_graph() -> None:
    model = toy_model()
    label = np.random.default_rng(0).integers(0, 4, (1, 1, CARD.height, CARD.width)).astype(np.uint8)
    live = {"label": label}
    for piece in cut(model, WANTED, WANTED, 1):
        part = piece_model(model, piece, live)
        session = onnxruntime.InferenceSession(part.SerializeToString(), providers=["CPUExecutionProvider"])
        feeds = {name: live[name] for name in piece.inputs}
        live.update(zip(piece.outputs, session.run(list(piece.outputs), feeds), strict=True))
    for name in WANTED:
        model.graph.output.append(onnx.ValueInfoProto(name=name))
    whole = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for name, expected in zip(WANTED, whole.run(list(WANTED), {"label": label}), strict=True):
        np.testing.assert_allclose(live[name], expected, rtol=1e-5, atol=1e-6, err_msg=name)


def test_constants_are_in_every_piece_that_reads_them() -> None:
    nodes = [
        helper.make_node("Constant", [], ["k"], "k", value_float=2.0),
        helper.make_node("Mul", ["x", "k"], ["a"], "first"),
        helper.make_node("Mul", ["a", "k"], ["b"], "second"),
    ]
    info = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["L"])
    model = helper.make_model(helper.make_graph(nodes, "g", [info], [onnx.ValueInfoProto(name="b")]))
    pieces = cut(model, ["a", "b"], {"a": 4, "b": 4}, 4)
    assert [[node.name for node in piece.nodes] for piece in pieces] == [["k", "first"], ["k", "second"]]
    assert [piece.inputs for piece in pieces] == [("x",), ("a",)]
    assert [piece.passed_on for piece in pieces] == [("a",), ()]


def test_control_flow_is_refused() -> None:
    model = toy_model()
    body = helper.make_graph([helper.make_node("Identity", ["c1"], ["o"])], "b", [], [])
    model.graph.node.append(helper.make_node("If", ["yes"], ["unused"], "if", then_branch=body, else_branch=body))
    with pytest.raises(InputError, match="'if'"):
        cut(model, ["c1"], {"c1": 1}, 1)
