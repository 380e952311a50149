"""Tensors one by one: the values of one run of the whole graph, whatever the pieces."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from calibration.activations import activations
from calibration.channel_peaks import channel_peaks
from runtime.contract.errors import InputError
from runtime.contract.progress import SilentProgress
from tests.calibration.equalisation_toys import TOYS, FloatMaps
from tests.calibration.layered_toy import calibration_maps, layered_toy, run

WANTED = ("active", "features", "head_a", "joined", "onehot")


def whole_run(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in WANTED)
    return run(probe, feed, list(WANTED))


@pytest.mark.parametrize("budget", [1, 20_000, 1 << 30])
def test_every_tensor_of_every_map(budget: int) -> None:
    model, maps = layered_toy(), calibration_maps(3)
    found = [(a.map_name, a.tensor, a.values) for a in activations(model, WANTED, maps, 1, budget)]
    assert [name for name, _, _ in found] == [name for name in maps.names for _ in WANTED]
    for map_name, feed in zip(maps.names, maps.feeds(), strict=True):
        of_map = {tensor: values for name, tensor, values in found if name == map_name}
        for tensor, values in zip(WANTED, whole_run(model, feed), strict=True):
            np.testing.assert_allclose(of_map[tensor], values, rtol=1e-5, atol=1e-6)


def test_inputs_of_the_graph_are_given_as_well() -> None:
    model = TOYS["convolution"]().model
    (feed,) = FloatMaps((4,)).feeds()
    given, made = activations(model, ["a", "x"], FloatMaps((4,)), 1)  # type: ignore[arg-type]
    assert (given.tensor, made.tensor) == ("x", "a")
    np.testing.assert_array_equal(given.values, feed["x"])
    (alone,) = activations(model, ["x"], FloatMaps((4,)), 1)  # type: ignore[arg-type]
    assert alone.tensor == "x"


def test_channels_are_looked_at_over_all_maps() -> None:
    model, maps = layered_toy(), calibration_maps(4)
    peaks = channel_peaks(model, [*WANTED, "active"], maps, SilentProgress(), 1, 1)
    runs = [whole_run(model, feed) for feed in maps.feeds()]
    for name, values in zip(WANTED, zip(*runs, strict=True), strict=True):
        expected = np.max([np.abs(each).max(axis=(0, 2, 3)) for each in values], axis=0)
        np.testing.assert_allclose(peaks[name], expected, rtol=1e-5)
        assert peaks[name].dtype == np.float32


@pytest.mark.parametrize(("tensor", "message"), [("nowhere", "no tensor 'nowhere'"), ("wide", "'wide'.*int32")])
def test_tensors_that_cannot_be_given(tensor: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        list(activations(layered_toy(), [tensor], calibration_maps(1), 1))
