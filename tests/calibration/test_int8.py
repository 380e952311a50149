"""From an FP32 file to an INT8 file, and everything that must stop it."""

from __future__ import annotations

import errno
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import runtime.contract.files
from calibration.convolutions import find_convolutions
from calibration.int8 import Coverage, Int8Options, _as_wide_as_their_layer, convert_int8
from calibration.qdq import Placement, pays_in_int8
from calibration.ranges import read_ranges
from calibration.search import Goal
from calibration.thresholds import RangeMethod
from runtime.contract.errors import GateError, InputError, MissingError, UsageError
from runtime.contract.onnx_safety import load_checked, read_card, write_card
from tests.calibration.toy_maps import toy_maps
from tests.onnx_toys import CARD, save, toy_model
from tests.quantized_toys import EVERY, all_cases

NO_GOAL = Goal(0.0, 0.0)
ALL = Int8Options(coverage=Coverage.ALL, goal=NO_GOAL)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save(toy_model(), tmp_path / "toy.onnx")


def _pictures(path: Path) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return [session.run(None, feed)[0].astype(int) for feed in toy_maps(5, seed=3).feeds()]


def test_every_convolution_becomes_int8(model: Path, tmp_path: Path) -> None:
    report = convert_int8(model, tmp_path / "int8.onnx", toy_maps(), ALL)
    typed = load_checked(report.output, onnx)
    card = read_card(typed, report.output)
    assert (report.convolutions, report.int8_convolutions) == (3, 3)
    assert report.shares.shares["int8"] == 1.0
    assert (card.precision, card.target) == ("int8", "tensorrt")
    assert card.provenance[:-1] == CARD.provenance
    assert card.provenance[-1].startswith(
        "typed int8 for tensorrt: 3 of 3 convolutions in INT8, ranges by minmax over 5 label maps"
    )
    figures = card.verification["int8"]
    assert figures["maps"] == 5
    assert figures["data_sha256"] == toy_maps().sha256
    assert figures["mac_shares"] == {"int8": 1.0, "fp16": 0.0, "fp32": 0.0}
    assert figures["worst_psnr_db"] == round(report.quality.worst_psnr_db, 2)
    stored = {tensor.data_type for tensor in typed.graph.initializer if len(tensor.dims) == 4 and tensor.dims[2] > 1}
    assert stored == {TensorProto.INT8}
    assert TensorProto.FLOAT16 in {tensor.data_type for tensor in typed.graph.initializer}
    assert report.half is not None


def test_for_onnx_runtime_the_rest_stays_fp32(model: Path, tmp_path: Path) -> None:
    report = convert_int8(model, tmp_path / "int8.onnx", toy_maps(), replace(ALL, placement=Placement.ONNX_RUNTIME))
    typed = load_checked(report.output, onnx)
    card = read_card(typed, report.output)
    assert (report.convolutions, report.int8_convolutions) == (3, 3)
    assert (card.precision, card.target) == ("int8", "cpu")
    assert card.provenance[-1].startswith("typed int8 for onnxruntime: 3 of 3 convolutions in INT8")
    assert TensorProto.FLOAT16 not in {tensor.data_type for tensor in typed.graph.initializer}
    assert report.half is None


def test_what_has_no_kernel_in_onnx_runtime_is_left_out() -> None:
    conv, heads = find_convolutions(all_cases()), EVERY
    transposed = {one.name for one in conv if one.op_type == "ConvTranspose"}
    assert transposed
    assert {one.name for one in conv if not pays_in_int8(one, Placement.ONNX_RUNTIME)} == transposed
    assert all(pays_in_int8(one, Placement.TENSORRT) for one in conv if one.name in heads)


def test_heads_of_rare_classes_have_the_range_of_the_others() -> None:
    """By their names, ``heads/Conv`` and ``heads/Conv_2`` are one layer."""
    graph = toy_model().graph
    for node, name in zip(
        [one for one in graph.node if one.op_type == "Conv"], ("heads/Conv", "heads/Conv_2", "c"), strict=True
    ):
        node.name = name
    model = helper.make_model(graph, functions=toy_model().functions)
    found = find_convolutions(model)
    widened = _as_wide_as_their_layer({"c1": 0.25, "logits": 3.0, "c3": 1.0, "up": 0.5}, found)
    assert widened == {"c1": 3.0, "logits": 3.0, "c3": 1.0, "up": 0.5}


@pytest.mark.parametrize("placement", Placement)
def test_the_file_makes_nearly_the_same_pictures(model: Path, tmp_path: Path, placement: Placement) -> None:
    report = convert_int8(model, tmp_path / "int8.onnx", toy_maps(), replace(ALL, placement=placement))
    pairs = list(zip(_pictures(model), _pictures(report.output), strict=True))
    error = np.mean([(one - other) ** 2 for one, other in pairs])
    assert error > 0
    assert 10 * math.log10(255**2 / error) > 30
    assert report.quality.worst_psnr_db == pytest.approx(10 * math.log10(255**2 / error), abs=6)


def test_mixed_leaves_out_what_breaks_the_goal(model: Path, tmp_path: Path) -> None:
    everything = convert_int8(model, tmp_path / "int8.onnx", toy_maps(), ALL)
    goal = Goal(everything.quality.worst_psnr_db + 3, 0.0)
    journal = tmp_path / "journal.jsonl"
    options = Int8Options(goal=goal, journal=journal)
    mixed = convert_int8(model, tmp_path / "mixed.onnx", toy_maps(), options)
    assert 0 < mixed.int8_convolutions < 3
    assert goal.is_met(mixed.quality)
    assert mixed.choice is not None
    assert mixed.int8_convolutions + sum(len(layer.names) for layer in mixed.choice.left_out) == 3
    assert read_card(load_checked(mixed.output, onnx), mixed.output).precision == "mixed"
    assert [error.names for error in mixed.errors] == [("conv1",), ("conv2",), ("conv3",)]
    again = convert_int8(model, tmp_path / "again.onnx", toy_maps(), options)
    assert again.output.read_bytes() == mixed.output.read_bytes()


def test_ranges_are_written_once_and_read_then(model: Path, tmp_path: Path) -> None:
    options = replace(ALL, ranges=tmp_path / "toy.ranges.json")
    first = convert_int8(model, tmp_path / "one.onnx", toy_maps(), options)
    assert options.ranges is not None
    written = options.ranges.read_bytes()
    assert read_ranges(options.ranges).data_sha256 == toy_maps().sha256
    second = convert_int8(model, tmp_path / "two.onnx", toy_maps(), options)
    assert (first.ranges_reused, second.ranges_reused) == (False, True)
    assert options.ranges.read_bytes() == written
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()


def test_stale_ranges_are_refused(model: Path, tmp_path: Path) -> None:
    options = replace(ALL, ranges=tmp_path / "toy.ranges.json")
    convert_int8(model, tmp_path / "one.onnx", toy_maps(), options)
    with pytest.raises(InputError, match=r"toy\.ranges\.json"):
        convert_int8(model, tmp_path / "two.onnx", toy_maps(seed=1), options)
    other = save(toy_model(scale=2.0), tmp_path / "other.onnx")
    with pytest.raises(InputError, match=r"toy\.ranges\.json"):
        convert_int8(other, tmp_path / "two.onnx", toy_maps(), options)
    assert not (tmp_path / "two.onnx").exists()


@pytest.mark.parametrize("method", RangeMethod)
def test_every_method_gives_a_picture(model: Path, tmp_path: Path, method: RangeMethod) -> None:
    report = convert_int8(model, tmp_path / "int8.onnx", toy_maps(), replace(ALL, method=method, percentile=99.9))
    assert report.quality.psnr_db > 25
    line = read_card(load_checked(report.output, onnx), report.output).provenance[-1]
    assert f"ranges by {method.value}{' 99.9' if method is RangeMethod.PERCENTILE else ''} over" in line


def test_a_goal_that_is_missed_stops_it(model: Path, tmp_path: Path) -> None:
    with pytest.raises(GateError, match=r"INT8 pictures are .* dB .* let it choose \(--precision mixed\)"):
        convert_int8(model, tmp_path / "int8.onnx", toy_maps(), replace(ALL, goal=Goal(80.0, 0.0)))
    with pytest.raises(GateError):
        convert_int8(model, tmp_path / "int8.onnx", toy_maps(), Int8Options(goal=Goal(200.0, 1.0)))
    assert list(tmp_path.iterdir()) == [model]


def test_values_that_are_not_finite_are_named(tmp_path: Path) -> None:
    broken = toy_model()
    for tensor in broken.graph.initializer:
        if tensor.name == "w2":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(np.nan), "w2"))
    model = save(broken, tmp_path / "broken.onnx")
    with pytest.raises(InputError, match=r"w2|up"):
        convert_int8(model, tmp_path / "int8.onnx", toy_maps(), ALL)
    assert list(tmp_path.iterdir()) == [model]


def test_typed_and_foreign_files_are_refused(model: Path, tmp_path: Path) -> None:
    report = convert_int8(model, tmp_path / "int8.onnx", toy_maps(), ALL)
    with pytest.raises(InputError, match="is typed int8 already; give the FP32 model"):
        convert_int8(report.output, tmp_path / "two.onnx", toy_maps(), ALL)
    for_cpu = toy_model()
    write_card(for_cpu, replace(CARD, target="cpu"))
    with pytest.raises(InputError, match="--target tensorrt"):
        convert_int8(save(for_cpu, tmp_path / "cpu.onnx"), tmp_path / "two.onnx", toy_maps(), ALL)
    with pytest.raises(UsageError, match="exists already; pass --force"):
        convert_int8(model, report.output, toy_maps(), ALL)
    with pytest.raises(UsageError, match="would be replaced by what is made from it"):
        convert_int8(model, model, toy_maps(), ALL, force=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"percentile": 0.0}, "the percentile is 0; give one above 0 and up to 100"),
        ({"percentile": math.nan}, "percentile is nan"),
        ({"sensitivity_maps": 0}, "sensitivity_maps is 0"),
    ],
)
def test_impossible_options(changes: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(ALL, **changes)  # type: ignore[arg-type]


def test_a_full_disk_leaves_nothing(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(runtime.contract.files.os, "replace", full)
    with pytest.raises(MissingError, match="no space left on the disk"):
        convert_int8(model, tmp_path / "int8.onnx", toy_maps(), ALL)
    assert list(tmp_path.iterdir()) == [model]


def test_graphs_for_onnx_runtime_are_not_for_tensorrt(model: Path, tmp_path: Path) -> None:
    options = replace(ALL, placement=Placement.ONNX_RUNTIME)
    report = convert_int8(model, tmp_path / "int8.onnx", toy_maps(), options)
    card = read_card(load_checked(report.output, onnx), report.output)
    with pytest.raises(
        InputError, match="which TensorRT cannot use; calibrate the FP32 model again with --for tensorrt"
    ):
        card.require_tensorrt_graph(report.output, "TensorRT")


def test_mixed_measures_no_layer_where_all_of_them_may_stay(model: Path, tmp_path: Path) -> None:
    report = convert_int8(model, tmp_path / "mixed.onnx", toy_maps(), Int8Options(goal=Goal(30.0, 0.9)))
    assert report.int8_convolutions == 3
    assert (report.errors, report.choice) == ((), None)


@pytest.mark.parametrize("place", ["output", "ranges", "journal"])
def test_a_place_that_takes_no_files_stops_it_before_the_work(
    model: Path, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("calibration.int8.find_convolutions", lambda model: pytest.fail("the work began"))
    where = {"output": tmp_path / "int8.onnx", "ranges": None, "journal": None} | {place: model / "below_a_file"}
    options = replace(ALL, ranges=where["ranges"], journal=where["journal"])
    with pytest.raises(MissingError, match="is not a folder"):
        convert_int8(model, where["output"], toy_maps(), options)
