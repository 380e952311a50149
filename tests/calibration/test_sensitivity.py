"""The error of each layer alone: the same as from runs of the whole graph, whatever was cut, kept or interrupted."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from calibration.convolutions import find_convolutions
from calibration.maps import CalibrationMaps
from calibration.qdq import Placement, insert_qdq
from calibration.sensitivity import LayerError, layer_errors, units_of
from calibration.sensitivity_plan import plan_groups
from runtime.contract.errors import InputError, MissingError, UsageError
from runtime.contract.progress import SilentProgress
from runtime.profiler.worker import LabelMap
from tests.calibration.layered_toy import FLOAT_CARD, NAMES, calibration_maps, layered_toy, run, thresholds_of
from tests.onnx_toys import toy_model

REPOSITORY = Path(__file__).resolve().parents[2]
HEADS = ("net/heads/Conv", "net/heads/Conv_2")
UNITS = [(NAMES[0],), (NAMES[1],), (NAMES[2],), HEADS, (NAMES[5],), (NAMES[6],)]


class Reports(SilentProgress):
    """Remembers what was reported; calls ``after`` behind every report."""

    def __init__(self, after: Any = None) -> None:
        self.tasks: dict[str, float | None] = {}
        self.steps: dict[str, list[tuple[float, str]]] = {}
        self._after = after

    def task(self, name: str, total: float | None = None):
        self.tasks[name], self.steps[name] = total, []
        task = super().task(name, total)

        def advance(steps: float = 1.0, note: str = "") -> None:
            self.steps[name].append((steps, note))
            if self._after is not None:
                self._after(name, self.steps[name])

        task.advance = advance  # type: ignore[method-assign]
        return task


def measure(
    model: onnx.ModelProto | None = None, placement: Placement = Placement.TENSORRT, **options: Any
) -> tuple[LayerError, ...]:
    model = model or layered_toy()
    maps = options.pop("maps", None) or calibration_maps()
    thresholds = options.pop("thresholds", None) or thresholds_of(model, maps)
    convolutions = options.pop("convolutions", None) or find_convolutions(model)
    output, progress = options.pop("output", "image"), options.pop("progress", SilentProgress())
    return layer_errors(model, convolutions, thresholds, placement, maps, output, progress, threads=1, **options)


def from_whole_graphs(model: onnx.ModelProto, placement: Placement, units: Sequence[tuple[str, ...]]) -> list[float]:
    """Mean squared errors over the maps, by running the whole graph with each layer quantised."""
    maps = calibration_maps()
    thresholds = thresholds_of(model, maps)
    means = []
    for unit in units:
        typed = insert_qdq(model, unit, thresholds, placement)
        pictures = [(run(model, feed, ["image"])[0], run(typed, feed, ["image"])[0]) for feed in maps.feeds()]
        means.append(np.mean([np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2) for a, b in pictures]))
    return means


@pytest.mark.parametrize("placement", Placement)
@pytest.mark.parametrize("budget", [1 << 30, 40_000, 1])
def test_errors_are_those_of_the_whole_graph(placement: Placement, budget: int) -> None:
    found = measure(placement=placement, budget_bytes=budget)
    assert [error.names for error in found] == UNITS
    expected = from_whole_graphs(layered_toy(), placement, UNITS)
    assert [error.mse for error in found] == pytest.approx(expected, rel=1e-12, abs=0)
    for error in found:
        if error.names == ("net/dead/Conv",):
            assert (error.mse, error.psnr) == (0, math.inf)
        else:
            assert error.psnr == pytest.approx(10 * math.log10(4 / error.mse))
            assert 20 < error.psnr < 90


def test_functions_and_bytes() -> None:
    """With a function body, and the picture in grey levels."""
    model = toy_model()
    units = [("conv1",), ("conv2",), ("conv3",)]
    found = measure(model)
    assert [error.names for error in found] == units
    assert [error.mse for error in found] == pytest.approx(from_whole_graphs(model, Placement.TENSORRT, units))
    assert found[2].psnr == pytest.approx(10 * math.log10(255**2 / found[2].mse))
    floats = measure(model, output="t")  # the same picture before it becomes bytes
    assert floats[2].psnr == pytest.approx(found[2].psnr, abs=1.5)
    assert floats[2].mse < 4


def test_maps_of_different_sizes() -> None:
    """Errors of each map have the same weight, and the memory is that of the largest."""
    draw = np.random.default_rng(1)
    labels = [draw.integers(0, 4, (height, 24)).astype(np.uint8) for height in (16, 32)]
    maps = CalibrationMaps(FLOAT_CARD, [LabelMap(str(i), label) for i, label in enumerate(labels)], fewest=1)
    model = layered_toy()
    thresholds = thresholds_of(model, maps)
    together = measure(maps=maps, thresholds=thresholds)
    alone = [
        measure(maps=CalibrationMaps(FLOAT_CARD, [LabelMap("0", label)], fewest=1), thresholds=thresholds)
        for label in labels
    ]
    for both, small, large in zip(together, *alone, strict=True):
        assert both.mse == pytest.approx((small.mse + large.mse) / 2, rel=1e-12)


def test_layers_of_one_module_belong_together() -> None:
    (one, *_) = find_convolutions(layered_toy())
    names = ["a/heads/Conv", "b/conv1/Conv", "a/heads/Conv_2", "a/heads/Conv_10", "Conv_1", "Conv_2",
             "a/up/ConvTranspose", "a/up/ConvTranspose_1", "c/Convolution"]  # fmt: skip
    units = units_of([replace(one, name=name) for name in names])
    assert units == (
        ("a/heads/Conv", "a/heads/Conv_2", "a/heads/Conv_10"),
        ("b/conv1/Conv",),
        ("Conv_1",),  # no module: nothing says that they belong together
        ("Conv_2",),
        ("a/up/ConvTranspose", "a/up/ConvTranspose_1"),
        ("c/Convolution",),
    )
    assert LayerError(units[0], 1.0, 6.0).name == "a/heads"
    assert LayerError(units[1], 1.0, 6.0).name == "b/conv1/Conv"


def test_nothing_to_measure() -> None:
    model = layered_toy()
    assert layer_errors(model, (), {}, Placement.TENSORRT, calibration_maps(), "image", SilentProgress()) == ()


def test_progress_counts_all_of_the_work() -> None:
    for budget in (1 << 30, 20_000):
        progress = Reports()
        measure(progress=progress, budget_bytes=budget)
        assert progress.tasks == {"pictures of the FP32 graph": 3, "error of each layer alone": 18}
        steps = progress.steps["error of each layer alone"]
        assert sum(count for count, _ in steps) == pytest.approx(18)
        assert any(note.startswith("net/out/Conv ") and note.endswith(" dB") for _, note in steps)


def test_a_picture_that_is_not_finite_is_an_infinite_error(tmp_path: Path) -> None:
    """1 / w of a weight that INT8 rounds to zero."""
    model = layered_toy()
    weight = np.array([[1, 0.003, 0.5, 0.2]] * 3, np.float32)[:, :, None, None]
    nodes = [
        *list(model.graph.node)[:3],
        helper.make_node("Conv", ["onehot", "w"], ["c"], "c/Conv"),
        helper.make_node("Reciprocal", ["c"], ["image"], "pole"),
    ]
    tensors = [model.graph.initializer[0], numpy_helper.from_array(weight, "w")]
    graph = helper.make_graph(nodes, "pole", model.graph.input, model.graph.output, tensors)
    pole = helper.make_model(graph, opset_imports=model.opset_import, ir_version=8)
    (found,) = measure(pole, thresholds={"onehot": 1.0}, journal=tmp_path / "errors.jsonl")
    assert (found.mse, found.psnr) == (math.inf, -math.inf)
    assert measure(pole, thresholds={"onehot": 1.0}, journal=tmp_path / "errors.jsonl") == (found,)


# --- going on after an interruption ---


def test_a_journal_changes_nothing_and_saves_the_work(tmp_path: Path) -> None:
    expected = measure()
    path = tmp_path / "new" / "errors.jsonl"
    assert measure(journal=path) == expected
    content = path.read_bytes()
    lines = [json.loads(line) for line in content.splitlines()]
    assert lines[0].keys() == {"kind", "graph", "label maps", "thresholds", "placement", "output"}
    assert [tuple(line["names"]) for line in lines[1:]] == UNITS
    progress = Reports()
    assert measure(journal=path, progress=progress) == expected
    assert not progress.tasks
    assert path.read_bytes() == content


@pytest.mark.parametrize("budget", [1 << 30, 40_000])
def test_interrupted_by_ctrl_c(tmp_path: Path, budget: int) -> None:
    path = tmp_path / "errors.jsonl"
    expected = measure(budget_bytes=budget)

    def interrupt(name: str, steps: list) -> None:
        if name == "error of each layer alone" and len(steps) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(journal=path, progress=Reports(interrupt), budget_bytes=budget)
    before = path.read_bytes()
    assert len(before.splitlines()) > 1
    progress = Reports()
    assert measure(journal=path, progress=progress, budget_bytes=budget) == expected
    assert path.read_bytes().startswith(before)
    total = progress.tasks["error of each layer alone"]
    assert total < 18
    assert sum(count for count, _ in progress.steps["error of each layer alone"]) <= total + 1e-9


def die(path: str) -> None:
    """Measure, and be killed in the middle of it."""

    def kill(name: str, steps: list) -> None:
        if name == "error of each layer alone" and len(steps) == 6:
            os.kill(os.getpid(), signal.SIGKILL)

    measure(journal=Path(path), progress=Reports(kill))


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_killed(tmp_path: Path) -> None:
    path = tmp_path / "errors.jsonl"
    code = f"from tests.calibration.test_sensitivity import die; die({str(path)!r})"
    process = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, check=False)
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    lines = path.read_bytes().splitlines(keepends=True)
    assert 1 < len(lines) < 1 + len(UNITS)
    path.write_bytes(b"".join(lines) + lines[-1][: len(lines[-1]) // 2])  # and torn by the machine's own end
    progress = Reports()
    assert measure(journal=path, progress=progress) == measure()
    assert progress.tasks["error of each layer alone"] == 3 * (1 + len(UNITS) - len(lines))
    assert len(path.read_bytes().splitlines()) == 1 + len(UNITS)


@pytest.mark.parametrize("kept", [0, 1, 9, 60])
def test_a_torn_header_is_no_journal_yet(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "errors.jsonl"
    expected = measure(journal=path)
    path.write_bytes(path.read_bytes()[:kept])
    assert measure(journal=path) == expected


def test_the_journal_of_another_measurement_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "errors.jsonl"
    measure(journal=path)
    before = path.read_bytes()
    other_model = layered_toy()
    weight = other_model.graph.initializer[1]
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1.01), weight.name))
    thresholds = {name: value * 2 for name, value in thresholds_of(layered_toy(), calibration_maps()).items()}
    others: list[tuple[str, dict[str, Any]]] = [
        ("graph", {"model": other_model, "thresholds": thresholds_of(layered_toy(), calibration_maps())}),
        ("thresholds", {"thresholds": thresholds}),
        (
            "label maps",
            {"maps": calibration_maps(seed=1), "thresholds": thresholds_of(layered_toy(), calibration_maps())},
        ),
        ("placement", {"placement": Placement.ONNX_RUNTIME}),
        ("output", {"output": "last"}),
    ]
    for what, options in others:
        with pytest.raises(InputError, match=rf"errors.jsonl holds .* \({what} differ\); delete it"):
            measure(journal=path, **options)
        assert path.read_bytes() == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: [b'{"names": ["a"]}\n'],
        lambda lines: [b"not json\n", *lines],
        lambda lines: [b"not json without an end"],
        lambda lines: [b"[]\n"],
        lambda lines: [*lines, b"[1, 2]\n"],
        lambda lines: [*lines, b"\xff\xfe\n"],
        lambda lines: [*lines, b'{"names": ["a"], "errors": {"0": -1}}\n'],
        lambda lines: [*lines, b'{"names": ["a"], "errors": {"0": NaN}}\n'],
        lambda lines: [lines[0], b'{"names": 3, "errors": {}}\n', *lines[1:]],
        lambda lines: [b"[" * 100_000 + b"\n"],
    ],
)
def test_damaged_and_foreign_files_are_refused(tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "errors.jsonl"
    measure(journal=path)
    path.write_bytes(b"".join(damage(path.read_bytes().splitlines(keepends=True))))
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"errors.jsonl is not a journal .* \(line \d+\); delete it"):
        measure(journal=path)
    assert path.read_bytes() == before


def test_a_journal_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="is a folder"):
        measure(journal=tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(MissingError, match="is not a folder"):
        measure(journal=tmp_path / "file" / "errors.jsonl")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("calibration.sensitivity_journal.os.fsync", full)
    with pytest.raises(MissingError, match="no space left"):
        measure(journal=tmp_path / "errors.jsonl")


# --- bad input ---


def test_pictures_that_are_not_finite_name_their_map() -> None:
    model = layered_toy()
    thresholds = thresholds_of(model, calibration_maps())
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "b_stem")
    bias.CopyFrom(numpy_helper.from_array(np.full(12, np.nan, np.float32), "b_stem"))
    with pytest.raises(InputError, match="picture of map 0 has values that are not finite"):
        measure(model, thresholds=thresholds)


def test_impossible_requests() -> None:
    with pytest.raises(UsageError, match="no tensor 'photo'"):
        measure(output="photo")
    with pytest.raises(UsageError, match="budget is 0 bytes"):
        measure(budget_bytes=0)


# --- the order of the work ---


def test_groups_stay_within_the_budget() -> None:
    draw = np.random.default_rng(0)
    sizes = {str(i): int(size) for i, size in enumerate(draw.integers(1, 50, 40))}
    frontiers = [[str(j) for j in range(i // 2, i // 2 + 3)] for i in range(60)]
    for budget in (150, 300, 2000):
        for maps in (1, 2, 5, 20):
            groups = plan_groups(frontiers, sizes, maps, budget)
            assert [member for group in groups for member in group.members] == list(range(60))
            for group in groups:
                assert set(group.tensors) == {name for member in group.members for name in frontiers[member]}
                assert 1 <= group.maps_at_once <= maps
                assert sum(sizes[name] for name in group.tensors) * group.maps_at_once <= budget


def test_one_group_where_everything_fits() -> None:
    sizes = {"a": 10, "b": 20}
    (group,) = plan_groups([["a", "label"], ["a", "b"], ["label"]], sizes, 4, 120)
    assert (group.members, group.tensors, group.maps_at_once) == ((0, 1, 2), ("a", "b"), 4)
    (group,) = plan_groups([["label"]], sizes, 4, 1)
    assert (group.tensors, group.maps_at_once) == ((), 4)


def test_runs_of_the_whole_graph_are_dearer_than_loading() -> None:
    """Two groups of all maps would need two runs for each map: one group, map by map, needs one."""
    sizes = {str(i): 10 for i in range(4)}
    (group,) = plan_groups([[str(i)] for i in range(4)], sizes, 4, 40)
    assert group.maps_at_once == 1
