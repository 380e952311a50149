"""From an FP32 file to an FP16 file, and everything that must stop it."""

from __future__ import annotations

import errno
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

import runtime.contract.files
from calibration.accuracy import draw_inputs, measure
from calibration.fp16 import Fp16Options, convert_fp16
from calibration.half import to_half
from runtime.contract.card import TensorInfo
from runtime.contract.errors import GateError, InputError, MissingError, UsageError
from runtime.contract.onnx_safety import load_checked, read_card, write_card
from runtime.contract.progress import SilentProgress
from tests.onnx_toys import CARD, CROSS_VIEW_CARD, cross_view_toy, save, toy_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save(toy_model(), tmp_path / "toy.onnx")


def test_the_file_says_what_it_is(model: Path, tmp_path: Path) -> None:
    report = convert_fp16(model, tmp_path / "half.onnx")
    card = read_card(load_checked(report.output, onnx), report.output)
    assert card.precision == "fp16"
    assert card.provenance[:-1] == CARD.provenance
    assert card.provenance[-1].startswith("typed fp16 (islands: 7 conversion")
    figures = card.verification["fp16"]
    assert figures["maps"] == 3
    assert figures["psnr_db"] == [round(value, 2) for value in report.quality.psnr]
    assert (report.input_bytes, report.output_bytes) == (model.stat().st_size, report.output.stat().st_size)
    assert report.half_mac_share == 1.0
    assert 0.9 < report.half_weight_share < 1.0
    assert min(report.quality.psnr) > 55
    assert report.quality.largest_difference == 1.0
    assert 0 < report.largest_peak.value < 100
    assert {island.node for island in report.islands} > {"norm", "sau", "tanh"}


def test_the_file_runs_with_the_same_inputs_and_outputs(model: Path, tmp_path: Path) -> None:
    convert_fp16(model, tmp_path / "half.onnx")
    pictures = []
    for path in (model, tmp_path / "half.onnx"):
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        assert [(i.name, i.type) for i in session.get_inputs()] == [("label", "tensor(uint8)")]
        assert [(o.name, o.type) for o in session.get_outputs()] == [("image", "tensor(uint8)")]
        pictures.append(session.run(None, draw_inputs(CARD, seed=9))[0].astype(int))
    assert pictures[0].shape == (1, CARD.height, CARD.width, 3)
    assert np.abs(pictures[0] - pictures[1]).max() <= 1


def test_equal_models_give_equal_files(model: Path, tmp_path: Path) -> None:
    files = [convert_fp16(model, tmp_path / f"{i}.onnx").output.read_bytes() for i in range(2)]
    assert files[0] == files[1]


def test_float_output_is_measured_on_its_own_scale(tmp_path: Path) -> None:
    source = save(toy_model(float_output=True), tmp_path / "float.onnx")
    report = convert_fp16(source, tmp_path / "half.onnx", Fp16Options(maps=1))
    assert 0 < report.quality.largest_difference < 0.01
    assert 55 < report.quality.psnr[0] < 100


def test_cross_view_models(tmp_path: Path) -> None:
    """Photos and void are drawn; bytes of the photo and indices of the table of colours stay exact."""
    model = cross_view_toy()
    source = save(model, tmp_path / "views.onnx")
    report = convert_fp16(source, tmp_path / "half.onnx", Fp16Options(maps=2))
    assert 50 < min(report.quality.psnr) < 100
    assert report.half_mac_share == 1
    session = onnxruntime.InferenceSession((tmp_path / "half.onnx").read_bytes(), providers=["CPUExecutionProvider"])
    assert [(i.name, i.type) for i in session.get_inputs()] == [("source", "tensor(uint8)"), ("label", "tensor(uint8)")]
    feeds = draw_inputs(CROSS_VIEW_CARD, seed=3)
    assert feeds["source"].shape == (1, 16, 24, 3)
    assert feeds["source"].dtype == np.uint8
    assert set(np.unique(feeds["label"])) <= {0, 1, 2, 3, 255}
    assert (np.concatenate([draw_inputs(CROSS_VIEW_CARD, seed)["label"] for seed in range(9)]) == 255).any()
    full = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    levels = session.run(None, feeds)[0].astype(int) - full.run(None, feeds)[0]
    assert np.abs(levels).max() <= 1


def test_activations_that_overflow_fail_the_gate(tmp_path: Path) -> None:
    source = save(toy_model(scale=4e4), tmp_path / "large.onnx")
    with pytest.raises(GateError, match=r"overflow FP16.*'c1'"):
        convert_fp16(source, tmp_path / "half.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["large.onnx"]


def test_pictures_that_differ_too_much_fail_the_gate(model: Path, tmp_path: Path) -> None:
    with pytest.raises(GateError, match="200 dB are asked for"):
        convert_fp16(model, tmp_path / "half.onnx", Fp16Options(min_psnr=200))
    assert [path.name for path in tmp_path.iterdir()] == ["toy.onnx"]


def test_multiply_accumulates_are_counted() -> None:
    model = toy_model()
    typed, facts = to_half(model)
    accuracy = measure(model, typed, CARD, facts.half_nodes, [draw_inputs(CARD, 0)], 1, SilentProgress())
    small, full = CARD.height // 2 * CARD.width // 2, CARD.height * CARD.width
    assert accuracy.macs == accuracy.half_macs == small * (8 * 4 * 9 + 4 * 8) + full * 3 * 8 * 9


def test_equal_pictures_have_no_finite_psnr() -> None:
    model = toy_model()
    accuracy = measure(model, model, CARD, ["c1"], [draw_inputs(CARD, 0)], 1, SilentProgress())
    assert accuracy.quality.psnr == (math.inf,)
    assert accuracy.quality.largest_difference == 0


def test_drawn_maps_fit_the_card_and_repeat() -> None:
    instance = TensorInfo("instance", "int32", ("N", 1, "H", "W"))
    card = replace(CARD, height=20, width=36, stride=16, instances=True, inputs=(*CARD.inputs, instance))
    first, again, other = draw_inputs(card, 0), draw_inputs(card, 0), draw_inputs(card, 1)
    assert first["label"].shape == first["instance"].shape == (1, 1, 20, 36)
    assert (first["label"].dtype, first["instance"].dtype) == (np.uint8, np.int32)
    assert set(np.unique(first["label"])) == {0, 1, 2, 3}
    np.testing.assert_array_equal(first["label"], again["label"])
    assert (first["label"] != other["label"]).any()


def test_existing_files_and_the_source_are_kept(model: Path, tmp_path: Path) -> None:
    (tmp_path / "half.onnx").write_bytes(b"mine")
    with pytest.raises(UsageError, match="--force"):
        convert_fp16(model, tmp_path / "half.onnx")
    with pytest.raises(UsageError, match="would be replaced by what is made from it"):
        convert_fp16(model, model, force=True)
    convert_fp16(model, tmp_path / "half.onnx", force=True)
    assert len((tmp_path / "half.onnx").read_bytes()) > 1000


def test_a_typed_file_is_not_typed_again(model: Path, tmp_path: Path) -> None:
    convert_fp16(model, tmp_path / "half.onnx")
    with pytest.raises(InputError, match="typed fp16 already"):
        convert_fp16(tmp_path / "half.onnx", tmp_path / "again.onnx")


def test_foreign_and_damaged_files_are_refused(model: Path, tmp_path: Path) -> None:
    foreign = toy_model()
    del foreign.metadata_props[:]
    paths = [save(foreign, tmp_path / "foreign.onnx"), tmp_path / "absent.onnx", tmp_path / "noise.onnx"]
    paths[2].write_bytes(np.random.default_rng(0).bytes(500))
    for path in paths:
        with pytest.raises(InputError):
            convert_fp16(path, tmp_path / "half.onnx")
    assert not (tmp_path / "half.onnx").exists()


def test_a_function_called_with_two_kinds_of_types_is_refused(tmp_path: Path) -> None:
    model = toy_model()
    model.graph.node.insert(
        3, helper.make_node("SemanticAwareUpsample", ["wide", "onehot"], ["odd"], "odd", domain="lggan")
    )
    write_card(model, CARD)
    with pytest.raises(InputError):
        convert_fp16(save(model, tmp_path / "odd.onnx"), tmp_path / "half.onnx")


@pytest.mark.parametrize("options", [{"maps": 0}, {"maps": 65}, {"min_psnr": math.nan}])
def test_impossible_options(options: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Fp16Options(**options)


def test_a_full_disk_leaves_nothing(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(runtime.contract.files.os, "replace", full)
    with pytest.raises(MissingError, match="no space left"):
        convert_fp16(model, tmp_path / "half.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["toy.onnx"]
