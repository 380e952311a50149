from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from skimage.metrics import peak_signal_noise_ratio

from calibration.reference import ReferencePictures
from calibration.sessions import open_session, run_session
from runtime.contract.errors import BackendError
from runtime.contract.progress import SilentProgress
from tests.calibration.toy_maps import toy_maps
from tests.onnx_toys import toy_model


def _changed(model: onnx.ModelProto) -> onnx.ModelProto:
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for tensor in result.graph.initializer:
        if tensor.name == "w3":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.02), "w3"))
    return result


def test_each_map_is_compared_with_its_own_picture() -> None:
    model, maps = toy_model(), toy_maps(4)
    found = ReferencePictures(model, "image", maps, SilentProgress()).compare(_changed(model), SilentProgress())
    one, other = open_session(model, "one"), open_session(_changed(model), "other")
    for psnr, feed in zip(found.psnr, maps.feeds(), strict=True):
        pair = [run_session(session, ["image"], feed)[0] for session in (one, other)]
        assert psnr == pytest.approx(peak_signal_noise_ratio(*pair, data_range=255), abs=1e-9)
    assert len(set(found.psnr)) == 4


def test_the_graph_itself_is_equal() -> None:
    model = toy_model()
    found = ReferencePictures(model, "image", toy_maps(), SilentProgress()).compare(model, SilentProgress())
    assert found.psnr == (math.inf,) * 5
    assert found.worst_ssim == 1.0
    assert found.largest_difference == 0


def test_a_graph_that_does_not_load_is_called_by_its_name() -> None:
    model = toy_model()
    reference = ReferencePictures(model, "image", toy_maps(), SilentProgress())
    broken = _changed(model)
    broken.graph.node[4].op_type = "NoSuchOperator"
    with pytest.raises(BackendError, match="ONNX Runtime cannot load the typed graph: "):
        reference.compare(broken, SilentProgress())
