"""Exported networks of both tasks, equalised before INT8: bit by bit the same pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from calibration.accuracy import draw_inputs
from calibration.convolutions import find_convolutions
from calibration.equalisation import divide_sites, equalised
from calibration.equalisation_sites import find_equalisation_sites
from calibration.maps import CalibrationMaps
from export.target import Target
from runtime.contract.card import ModelCard
from runtime.contract.progress import SilentProgress
from runtime.profiler.worker import LabelMap
from tests.export.samples import Case, Sample
from tests.export.small_exports import exported_graph

# what reads one-hot maps, photos or pictures: nothing can be divided there
NO_PLACE = {
    Case(): lambda name: name == "encoder/conv1/Conv" or "/shared/" in name or name == "local_branch/fuse/Conv",
    Case(cross_view=True): lambda name: name == "encoder/conv1/Conv",
}


def maps_of(card: ModelCard) -> CalibrationMaps:
    drawn = [draw_inputs(card, seed) for seed in range(2)]
    labels = [LabelMap(f"map {i}", d["label"][0, 0], None, d["source"][0] if "source" in d else None)
              for i, d in enumerate(drawn)]  # fmt: skip
    return CalibrationMaps(card, labels, fewest=1)


@pytest.mark.parametrize("case", NO_PLACE)
def test_every_convolution_of_features_has_a_place(
    make_sample: Callable[[Case], Sample], tmp_path: Path, case: Case
) -> None:
    model = exported_graph(make_sample(case), case, Target.TENSORRT, tmp_path)
    convolutions = find_convolutions(model)
    sites = find_equalisation_sites(model, convolutions)
    reached = {reader.name for site in sites for reader in site.readers}
    assert {one.name for one in convolutions} - reached == {
        one.name for one in convolutions if NO_PLACE[case](one.name)
    }
    kinds = {model.graph.node[each.node].op_type for site in sites for each in site.divisors}
    assert kinds == {"Conv", "InstanceNormalization"}


def float_picture(model: onnx.ModelProto, card: ModelCard) -> np.ndarray:
    """Before it becomes bytes, which would hide small differences."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    probe.graph.output.append(onnx.helper.make_tensor_value_info("image_float", onnx.TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(["image_float"], draw_inputs(card, seed=9))[0]


@pytest.mark.parametrize("case", NO_PLACE)
def test_all_places_divided_by_any_factors_give_the_same_pictures(
    make_sample: Callable[[Case], Sample], tmp_path: Path, case: Case
) -> None:
    sample = make_sample(case)
    model = exported_graph(sample, case, Target.TENSORRT, tmp_path)
    draw = np.random.default_rng(0)
    sites = find_equalisation_sites(model, find_convolutions(model))
    result = onnx.ModelProto()
    result.CopyFrom(model)
    divide_sites(result, [(site, np.exp2(draw.integers(-8, 9, site.channels)).astype(np.float32)) for site in sites])
    onnx.checker.check_model(result, full_check=True)
    changed = {t.name: t for t in result.graph.initializer}
    kept = [t.name for t in model.graph.initializer if len(t.dims) == 4 and changed[t.name] == t]
    assert len(kept) < len(sites)
    np.testing.assert_array_equal(float_picture(result, sample.card), float_picture(model, sample.card))


@pytest.mark.parametrize("case", NO_PLACE)
def test_chosen_factors_lose_no_bit_and_serve_int8(
    make_sample: Callable[[Case], Sample], tmp_path: Path, case: Case
) -> None:
    sample = make_sample(case)
    model = exported_graph(sample, case, Target.TENSORRT, tmp_path)
    result, sites = equalised(model, find_convolutions(model), maps_of(sample.card), SilentProgress(), threads=1)
    assert any(site.alpha > 0 for site in sites)
    assert all(site.after_db > site.before_db for site in sites if site.alpha > 0)
    assert all(site.after_db == site.before_db for site in sites if site.alpha == 0)
    np.testing.assert_array_equal(float_picture(result, sample.card), float_picture(model, sample.card))
