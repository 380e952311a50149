"""Ranges over label maps: against every value that ONNX Runtime gives for the whole graph."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from calibration.collect import collect_ranges
from calibration.graph_hash import graph_sha256
from calibration.histogram import BINS
from calibration.maps import CalibrationMaps
from calibration.ranges import merged
from runtime.contract.errors import BackendError, InputError
from runtime.contract.progress import SilentProgress
from runtime.profiler.worker import LabelMap
from tests.onnx_toys import CARD, toy_model

WANTED = ("layout", "c1", "r1", "up", "c3")


def label_map(seed: int, height: int = CARD.height, width: int = CARD.width, low: int = 0) -> LabelMap:
    return LabelMap(f"map{seed}.png", np.random.default_rng(seed).integers(low, 4, (height, width)).astype(np.uint8))


def calibration_maps(*seeds: int) -> CalibrationMaps:
    """Of three sizes."""
    sizes = [(16, 24), (32, 24), (16, 32)]
    return CalibrationMaps(CARD, [label_map(seed, *sizes[seed % 3]) for seed in seeds])


def all_values(model: onnx.ModelProto, tensors: Sequence[str], maps: CalibrationMaps) -> dict[str, np.ndarray]:
    """Every value of the tensors over all maps, flat, from one session of the whole graph."""
    asked = onnx.ModelProto()
    asked.CopyFrom(model)
    asked.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors)
    session = onnxruntime.InferenceSession(asked.SerializeToString(), providers=["CPUExecutionProvider"])
    runs = [session.run(list(tensors), feed) for feed in maps.feeds()]
    return {name: np.concatenate([run[i].reshape(-1) for run in runs]) for i, name in enumerate(tensors)}


class Recorder:
    """Progress that keeps what it is told."""

    def __init__(self) -> None:
        self.tasks: list[tuple[str, float | None]] = []
        self.done = 0.0
        self.notes: list[str] = []

    def task(self, name: str, total: float | None = None) -> Recorder:
        self.tasks.append((name, total))
        return self

    def advance(self, steps: float = 1.0, note: str = "") -> None:
        self.done += steps
        self.notes.append(note)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


@pytest.mark.parametrize("budget", [1 << 30, 40_000, 1])
def test_every_value_of_every_map_is_counted(budget: int) -> None:
    model, maps = toy_model(), calibration_maps(0, 1, 2, 3)
    before = model.SerializeToString(deterministic=True)
    found = collect_ranges(model, WANTED, maps, SilentProgress(), threads=1, budget_bytes=budget)
    assert model.SerializeToString(deterministic=True) == before
    assert (found.graph_sha256, found.data_sha256) == (graph_sha256(model), maps.sha256)
    assert (found.maps, found.names) == (4, ("map0.png", "map1.png", "map2.png", "map3.png"))
    assert onnxruntime.__version__ in found.made_by
    assert tuple(found.tensors) == WANTED
    for name, values in all_values(model, WANTED, maps).items():
        histogram = found.tensors[name]
        assert (histogram.total, histogram.zeros) == (values.size, int((values == 0).sum()))
        assert histogram.largest == pytest.approx(float(np.abs(values).max()), rel=1e-5)
        edges = np.arange(BINS + 1) * histogram.width
        reference = np.searchsorted(np.sort(np.abs(values)), edges, side="right")
        # float32 sums may differ in their last bit between the whole graph and a piece, and fall into the next bin
        assert np.abs(histogram.zeros + np.cumsum(histogram.counts) - reference[1:]).max() <= 2


def test_the_budget_does_not_change_the_result() -> None:
    maps = calibration_maps(4, 5, 6, 7)
    one, several, each = (
        collect_ranges(toy_model(), WANTED, maps, SilentProgress(), threads=1, budget_bytes=budget)
        for budget in (1 << 30, 40_000, 1)
    )
    assert one == several == each


def test_ranges_of_two_sets_merge_to_those_of_both() -> None:
    parts = [
        collect_ranges(toy_model(), WANTED, calibration_maps(*s), SilentProgress(), 1)
        for s in ((0, 1, 2, 3), (4, 5, 6, 7))
    ]
    whole = collect_ranges(toy_model(), WANTED, calibration_maps(*range(8)), SilentProgress(), threads=1)
    assert merged(*parts).tensors == whole.tensors


def test_order_and_repetition_of_the_names_do_not_matter() -> None:
    maps = calibration_maps(0, 1, 2, 3)
    found = collect_ranges(toy_model(), ("up", "c1", "up"), maps, SilentProgress(), threads=1)
    assert list(found.tensors) == ["c1", "up"]


def test_progress_counts_maps_and_names_them() -> None:
    recorder = Recorder()
    collect_ranges(toy_model(), WANTED, calibration_maps(0, 1, 2, 3), recorder, threads=1, budget_bytes=1)
    assert recorder.tasks == [("sizes of the tensors", 1), ("ranges of 5 tensors", 4)]
    assert recorder.done == pytest.approx(5)
    assert {"map0.png", "map3.png"} <= set(recorder.notes)


def with_logarithm(tensor: str) -> onnx.ModelProto:
    """The toy and a tensor beside it, log(label): not finite where the label is 0."""
    model = toy_model()
    model.graph.node.extend(
        [
            helper.make_node("Cast", ["label"], ["numbers"], "to_numbers", to=TensorProto.FLOAT),
            helper.make_node("Log", ["numbers"], [tensor], "logarithm"),
        ]
    )
    return model


@pytest.mark.parametrize("budget", [1 << 30, 1])
def test_infinite_values_are_reported_with_tensor_node_and_map(budget: int) -> None:
    maps = [label_map(0, low=1), label_map(1, low=1), label_map(2), label_map(3, low=1)]
    with pytest.raises(InputError, match=r"'bad', made by the node 'logarithm'.*0 NaN and \d+ infinite.*map2\.png"):
        collect_ranges(with_logarithm("bad"), ("c1", "bad"), CalibrationMaps(CARD, maps), SilentProgress(), 1, budget)


def test_weights_that_are_not_numbers_are_reported_where_they_show_first() -> None:
    model = toy_model()
    for tensor in model.graph.initializer:
        if tensor.name == "b1":
            tensor.CopyFrom(numpy_helper.from_array(np.full(8, np.nan, np.float32), "b1"))
    with pytest.raises(InputError, match=r"'c1', made by the node 'conv1'.*NaN.*map0\.png"):
        collect_ranges(model, WANTED, calibration_maps(0, 1, 2, 3), SilentProgress(), threads=1)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ((), "no convolution"),
        (("c1", "label"), "'label' is an input of the graph"),
        (("w1",), "'w1' is a constant of the graph"),
        (("absent",), "no tensor 'absent'"),
        (("weights",), "no tensor 'weights'"),  # inside of a function
        (("",), "no tensor ''"),
        (("wide",), r"'wide' is of type tensor\(int32\), not float32"),
        (("hot",), r"'hot' is of type tensor\(bool\), not float32"),
    ],
)
def test_tensors_without_ranges_are_refused(tensors: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        collect_ranges(toy_model(), tensors, calibration_maps(0, 1, 2, 3), SilentProgress(), threads=1)


def test_constants_in_nodes_are_refused() -> None:
    model = toy_model()
    model.graph.node.insert(0, helper.make_node("Constant", [], ["k"], "k", value_float=1.0))
    with pytest.raises(InputError, match="'k' is a constant"):
        collect_ranges(model, ("k",), calibration_maps(0, 1, 2, 3), SilentProgress(), threads=1)


def test_graphs_that_do_not_run_are_explained() -> None:
    model = toy_model()
    model.graph.node[4].input[1] = "w3"  # a convolution with another one's weights
    with pytest.raises(BackendError, match="ONNX Runtime"):
        collect_ranges(model, ("c1",), calibration_maps(0, 1, 2, 3), SilentProgress(), threads=1)
