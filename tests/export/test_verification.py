from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import parser

from export.branches import Branch
from export.external_data import Serialized
from export.layouts import CheckInput, single_class
from export.onnx_export import ExportResult
from export.verification import (
    TOLERANCE,
    BranchDifference,
    Difference,
    check_gate,
    compare,
    rounding_of_torch,
    to_card,
)
from runtime.contract.errors import BackendError, GateError, InputError
from runtime.contract.progress import SilentProgress
from tests.export.samples import Sample


def _blocks(sample: Sample) -> CheckInput:
    label = np.random.default_rng(0).integers(0, 4, (1, 1, 4, 8), dtype=np.uint8)
    return CheckInput("blocks", label.repeat(8, axis=2).repeat(8, axis=3), None)


def test_the_gate(sample: Sample) -> None:
    check = [_blocks(sample)]
    good = Difference(maps=1, max_abs=TOLERANCE, mean_abs=0.0, psnr_db=None, max_levels=1)
    check_gate(good, sample.generator, check)
    for bad in (
        Difference(1, TOLERANCE * 1.01, 0.0, 90.0, 1),
        Difference(1, float("inf"), 0.0, None, None),
        Difference(1, float("nan"), 0.0, None, None),
        Difference(1, 0.0, 0.0, None, 2),
    ):
        with pytest.raises(GateError, match="fault of the export"):
            check_gate(bad, sample.generator, check)


def test_a_network_that_amplifies_rounding_is_told_from_a_wrong_graph(sample: Sample) -> None:
    bad = Difference(1, 0.5, 0.0, 20.0, 40)
    with pytest.raises(GateError, match="amplifies rounding"):
        check_gate(bad, sample.generator, [single_class(sample.card)])


def test_one_class_everywhere_is_noise_in_pytorch_itself(sample: Sample) -> None:
    """Instance norm divides constant maps by sqrt(eps): what is left is rounding. The card reports it apart."""
    ordinary = rounding_of_torch(sample.generator, _blocks(sample))
    constant = rounding_of_torch(sample.generator, single_class(sample.card))
    assert ordinary < TOLERANCE / 4
    assert constant > 10 * ordinary


def test_figures(sample: Sample, exported: ExportResult) -> None:
    figures = exported.card.verification
    mean_square = 4 / 10 ** (figures["psnr_db"] / 10)
    assert figures["mean_abs"] ** 2 <= mean_square * 1.01  # the mean never exceeds the root of the mean square
    assert mean_square <= figures["max_abs"] ** 2
    assert figures["one_class"]["maps"] == 1


def test_foreign_bytes_are_a_backend_error(sample: Sample) -> None:
    with SilentProgress().task("test") as task, pytest.raises(BackendError, match="ONNX Runtime"):
        compare(sample.generator, [_blocks(sample)], Serialized(b"not a model"), None, task)


# --- figures of a generator and a graph that are a few numbers ---


class _Toy:
    """A generator whose pictures are the label divided by 2, 4, 8, and whose weight is the label divided by 16."""

    def __init__(self, config: Any, factor: float = 1.0) -> None:
        self.config = config
        self.factor = factor

    def __call__(self, semantics: torch.Tensor) -> SimpleNamespace:
        label = semantics.argmax(dim=1, keepdim=True) * torch.tensor(self.factor, dtype=torch.float32)  # [N, 1, H, W]
        wide = label.expand(-1, 3, -1, -1)
        return SimpleNamespace(
            final=wide / 2 - 1, global_image=wide / 4, local_image=wide / 8, attention_local=label / 16
        )


def _graph(final: float = 0, overall: float = 0, local: float = 0, weight: float = 0) -> bytes:
    """What the toy gives, each output shifted for the label 2 by the number given."""
    return parser.parse_model(
        f"""
        <ir_version: 8, opset_import: ["" : 18]>
        toy (uint8[N, 1, H, W] label)
          => (float[N, 1, H, W] attention_local, float[N, 3, H, W] image,
              float[N, 3, H, W] global_image, float[N, 3, H, W] local_image)
        <float one = {{1.0}}, float two = {{2.0}}, float s0 = {{{final}}}, float s1 = {{{overall}}},
         float s2 = {{{local}}}, float s3 = {{{weight}}},
         float d0 = {{2.0}}, float d1 = {{4.0}}, float d2 = {{8.0}}, float d3 = {{16.0}}>
        {{
          ids = Cast <to = 1> (label)
          is_two = Equal (ids, two)
          hot = Cast <to = 1> (is_two)
          wide = Concat <axis = 1> (ids, ids, ids)
          q0 = Div (wide, d0)  p0 = Sub (q0, one)  o0 = Mul (hot, s0)  image = Add (p0, o0)
          q1 = Div (wide, d1)  o1 = Mul (hot, s1)  global_image = Add (q1, o1)
          q2 = Div (wide, d2)  o2 = Mul (hot, s2)  local_image = Add (q2, o2)
          q3 = Div (ids, d3)  o3 = Mul (hot, s3)  attention_local = Add (q3, o3)
        }}
        """
    ).SerializeToString()


def _compare(
    sample: Sample, graph: bytes, image: bytes | None = None, inputs: list[CheckInput] | None = None, factor: float = 1
) -> Difference:
    toy: Any = _Toy(sample.generator.config, factor)
    with SilentProgress().task("test") as task:
        given = _quarters() if inputs is None else inputs
        return compare(toy, given, Serialized(graph), None if image is None else Serialized(image), task)


def _quarters() -> list[CheckInput]:
    """Twice as many pixels in the second batch; a quarter of all are of class 2."""
    label = np.arange(4, dtype=np.uint8).reshape(1, 1, 2, 2).repeat(4, axis=2).repeat(4, axis=3)
    return [CheckInput("one", label), CheckInput("two", np.concatenate([label, label]))]


def test_each_output_has_figures_of_its_own(sample: Sample) -> None:
    found = _compare(sample, _graph(final=2**-12, overall=0.25, weight=-(2**-10)))
    assert (found.maps, found.max_levels) == (3, None)
    expected = [(None, 2**-12, 2), (Branch.GLOBAL_IMAGE, 0.25, 2), (Branch.LOCAL_IMAGE, 0, 2),
                (Branch.ATTENTION_LOCAL, 2**-10, 1)]  # fmt: skip
    for each, (branch, shift, peak) in zip((found, *found.branches), expected, strict=True):
        assert getattr(each, "branch", None) == branch
        assert each.max_abs == shift
        assert each.mean_abs == pytest.approx(shift / 4)
        if shift:
            assert each.psnr_db == pytest.approx(10 * math.log10(peak**2 * 4 / shift**2))
        else:
            assert each.psnr_db is None
    card = to_card(found, found, 0.0)
    assert card["branches"]["global_image"] == {"max_abs": 0.25, "mean_abs": 0.0625, "psnr_db": 24.08}
    assert card["branches"]["local_image"] == {"max_abs": 0, "mean_abs": 0, "psnr_db": None}
    assert list(card["branches"]) == ["global_image", "local_image", "attention_local"]


def test_a_graph_without_branches_has_figures_of_the_image_alone(sample: Sample) -> None:
    model = onnx.load_model_from_string(_graph(final=0.5))
    image = next(value for value in model.graph.output if value.name == "image")
    del model.graph.output[:]
    model.graph.output.append(image)
    found = _compare(sample, model.SerializeToString())
    assert found.max_abs == 0.5
    assert found.branches == ()
    assert "branches" not in to_card(found, found, 0.0)


def test_bytes_are_those_of_the_other_graph(sample: Sample) -> None:
    """The toy's levels are 0, 64, 128, 191 (halves to even); these are 3 too many for class 2."""
    image = parser.parse_model(
        """
        <ir_version: 8, opset_import: ["" : 18]>
        toy (uint8[N, 1, H, W] label) => (uint8[N, H, W, 3] image)
        <uint8[4] levels = {0, 64, 131, 191}>
        {
          ids = Cast <to = 6> (label)
          grey = Gather (levels, ids)
          wide = Concat <axis = 1> (grey, grey, grey)
          image = Transpose <perm = [0, 2, 3, 1]> (wide)
        }
        """
    )
    found = _compare(sample, _graph(), image.SerializeToString())
    assert (found.max_abs, found.max_levels) == (0, 3)
    image.graph.node[-1].attribute[0].ints[:] = [0, 3, 2, 1]
    tall = np.zeros((1, 1, 2, 4), np.uint8)
    with pytest.raises(BackendError, match=r"gives \[1, 4, 2, 3\] for the bytes of 'tall', PyTorch \[1, 2, 4, 3\]"):
        _compare(sample, _graph(), image.SerializeToString(), [CheckInput("tall", tall)])


@pytest.mark.parametrize("output", ["final", "overall", "local", "weight"])
def test_values_that_are_no_numbers_are_refused_wherever_they_are(sample: Sample, output: str) -> None:
    name = {"final": "final image", "overall": "global image", "local": "local image", "weight": "attention weight"}
    model = onnx.load_model_from_string(_graph(**{output: 1.0}))
    for tensor in model.graph.initializer:
        if tensor.name in ("s0", "s1", "s2", "s3") and onnx.numpy_helper.to_array(tensor):
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.array(np.inf, np.float32), tensor.name))
    with pytest.raises(GateError, match=f"not numbers in the {name[output]} of 'one', PyTorch none"):
        _compare(sample, model.SerializeToString())


def test_a_network_that_gives_no_numbers_is_bad_input(sample: Sample) -> None:
    with pytest.raises(InputError, match="PyTorch gives values that are not numbers in the final image of 'one'"):
        _compare(sample, _graph(), factor=math.inf)


def test_nothing_is_proved_on_no_label_map(sample: Sample) -> None:
    with pytest.raises(InputError, match="no label map"):
        _compare(sample, _graph(), inputs=[])


def test_another_shape_is_a_fault_of_the_graph(sample: Sample) -> None:
    model = onnx.load_model_from_string(_graph())
    for node in model.graph.node:
        if node.output[0] == "q3":
            node.input[0] = "wide"
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 3
    with pytest.raises(BackendError, match=r"gives \[1, 3, 8, 8\] for the attention weight of 'one'"):
        _compare(sample, model.SerializeToString())


def test_the_gate_names_the_branch_that_is_off(sample: Sample) -> None:
    def difference(overall: float, local: float, weight: float) -> Difference:
        each = zip(Branch, (overall, local, weight), strict=True)
        branches = tuple(BranchDifference(branch, largest, 0.0, None) for branch, largest in each)
        return Difference(1, 0.5, 0.0, 20.0, 40, branches)

    check = [_blocks(sample)]
    with pytest.raises(GateError) as caught:
        check_gate(difference(0.3, 1e-6, 0.2), sample.generator, check)  # 0.2 of 1 is more than 0.3 of 2
    assert "(furthest off: attention weight 2.0e-01, global image 3.0e-01, local image 1.0e-06)" in str(caught.value)
    with pytest.raises(GateError, match=r"\(the branches agree: local image 1\.0e-05"):
        check_gate(difference(0, 1e-5, 1e-6), sample.generator, check)


def test_branches_are_in_the_card(exported: ExportResult) -> None:
    branches = exported.card.verification["branches"]
    assert list(branches) == [branch.value for branch in Branch]
    for figures in branches.values():
        assert 0 < figures["mean_abs"] <= figures["max_abs"] <= TOLERANCE
        assert figures["psnr_db"] > 80
