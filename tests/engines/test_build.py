"""Building with TensorRT-RTX, and everything that can keep it from it."""

from __future__ import annotations

import errno
import importlib.util
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

import engines.build
import engines.child
from calibration.half import to_half
from engines.build import build_engine, engine_path
from engines.child import Job, run_child
from engines.options import BuildOptions, Shape, ShapeProfile, Target
from engines.record import SauImplementation, record_path, verify_record
from runtime.contract.errors import BackendError, GateError, InputError, MissingError, UsageError
from runtime.contract.onnx_safety import write_card
from runtime.contract.progress import SilentProgress
from tests.onnx_toys import CARD, CROSS_VIEW_CARD, cross_view_toy, save, toy_model

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed: nothing is built"
)
FIXED = (1, 1, CARD.height, CARD.width)
SM86 = BuildOptions(targets=(Target.SM86,))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save(toy_model(), tmp_path / "toy.onnx")


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fake_worker(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Put a few lines of Python in the worker's place; TensorRT-RTX counts as installed."""
    preamble = "import json, sys, os, time; job = json.loads(sys.stdin.buffer.readline())\n"
    worker = (sys.executable, "-c", preamble + code)
    monkeypatch.setattr(engines.child.importlib.util, "find_spec", lambda name: None if name.endswith("libs") else name)
    monkeypatch.setattr(engines.build, "run_child", lambda job, data, p: run_child(job, data, p, worker))


@needs_rtx
def test_one_engine_for_several_targets_with_its_record(model: Path, tmp_path: Path) -> None:
    profile = ShapeProfile(Shape(1, 8, 8), Shape(1, 16, 24), Shape(4, 32, 48))
    options = BuildOptions(profile=profile, keep_log=True)
    record = build_engine(model, tmp_path / "out", options)
    plan = tmp_path / "out" / "toy-rtx-sm86-sm89-sm120.engine"
    assert verify_record(plan) == record
    assert left_in(plan.parent) == [plan.name, f"{plan.name}.json", f"{plan.name}.log"]
    assert "LayerType: " in (plan.parent / f"{plan.name}.log").read_text()
    assert record.engine_bytes == plan.stat().st_size > 10_000
    assert record.convolutions == {"fp32": 3}
    assert record.layers["normalization"] == 1
    assert record.sau is SauImplementation.FUNCTION_BODY
    assert (record.precision, record.profile, record.card) == ("fp32", profile, CARD)
    assert [(t.name, t.dtype, t.shape) for t in record.inputs] == [("label", "uint8", (-1, 1, -1, -1))]
    assert [(t.name, t.dtype) for t in record.outputs] == [("image", "uint8")]
    assert set(record.seconds) == {"parse", "build", "write", "total"}
    assert "not executed" in record.statement


@needs_rtx
def test_fp16_graph_gives_fp16_convolutions(tmp_path: Path) -> None:
    typed, _ = to_half(toy_model(decomposed_norm=True))
    write_card(typed, replace(CARD, precision="fp16"))
    record = build_engine(save(typed, tmp_path / "half.onnx"), tmp_path / "half.engine", SM86)
    assert record.convolutions == {"fp16": 3}
    assert record.targets == (Target.SM86,)


@needs_rtx
def test_two_image_inputs_share_the_profile(tmp_path: Path) -> None:
    """A cross-view model: photo and label map, each in its own layout, for every shape of the profile."""
    typed, _ = to_half(cross_view_toy())
    write_card(typed, replace(CROSS_VIEW_CARD, precision="fp16"))
    profile = ShapeProfile(Shape(1, 8, 8), Shape(1, 16, 24), Shape(2, 32, 48))
    options = BuildOptions((Target.SM86,), profile)
    for name, model, kind in (("full", cross_view_toy(), "fp32"), ("half", typed, "fp16")):
        record = build_engine(save(model, tmp_path / f"{name}.onnx"), tmp_path / f"{name}.engine", options)
        assert record.convolutions == {kind: 3}
        assert record.sau is SauImplementation.FUNCTION_BODY
        assert [(t.name, t.dtype, t.shape) for t in record.inputs] == [
            ("source", "uint8", (-1, -1, -1, 3)),
            ("label", "uint8", (-1, 1, -1, -1)),
        ]
        assert verify_record(tmp_path / f"{name}.engine") == record
    small = BuildOptions((Target.SM86,), ShapeProfile(Shape(1, 4, 8), Shape(1, 16, 24), Shape(2, 32, 48)))
    with pytest.raises(UsageError, match="multiples of 4, 8 to 16384"):
        build_engine(tmp_path / "full.onnx", tmp_path / "small.engine", small)


@needs_rtx
def test_the_plugin_serves_cross_view_models_too(tmp_path: Path) -> None:
    size = (CARD.height, CARD.width)
    shapes = {"source": ((1, *size, 3),) * 3, "label": ((1, 1, *size),) * 3}
    worker = (sys.executable, str(Path(__file__).with_name("plugin_worker.py")))
    model = cross_view_toy()
    del model.functions[:]  # the node alone
    facts = run_child(
        Job(tmp_path / "toy.engine", ("sm86",), shapes), model.SerializeToString(), SilentProgress(), worker
    )
    assert facts.plugins == 1


@needs_rtx
def test_a_file_that_claims_fp16_but_is_not_fails_the_gate(tmp_path: Path) -> None:
    model = toy_model()
    write_card(model, replace(CARD, precision="fp16"))
    with pytest.raises(GateError, match="says fp16"):
        build_engine(save(model, tmp_path / "claim.onnx"), tmp_path / "claim.engine", SM86)
    assert left_in(tmp_path) == ["claim.onnx"]


@needs_rtx
def test_a_registered_plugin_is_taken_and_nothing_aborts(tmp_path: Path) -> None:
    job = Job(tmp_path / "toy.engine", ("sm86",), {"label": (FIXED, FIXED, FIXED)})
    worker = (sys.executable, str(Path(__file__).with_name("plugin_worker.py")))
    facts = run_child(job, toy_model().SerializeToString(), SilentProgress(), worker)
    assert facts.plugins == 1
    assert job.plan.stat().st_size > 10_000


@needs_rtx
@pytest.mark.skipif(engines.child._find_library() is None, reason="the library has its unversioned name here")
def test_without_the_library_link_the_abort_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines.child, "_find_library", lambda: None)
    job = Job(tmp_path / "toy.engine", ("sm86",), {"label": (FIXED, FIXED, FIXED)})
    worker = (sys.executable, str(Path(__file__).with_name("plugin_worker.py")))
    with pytest.raises(BackendError, match=r"crashed \(SIGABRT\); its last words: terminate"):
        run_child(job, toy_model().SerializeToString(), SilentProgress(), worker)


@needs_rtx
def test_a_graph_that_tensorrt_refuses_names_the_node(tmp_path: Path) -> None:
    model = toy_model()
    model.graph.node[-1].output[0] = "bytes"  # uint8 in the middle of a network
    model.graph.node.append(helper.make_node("Identity", ["bytes"], ["image"], "copy"))
    with pytest.raises(BackendError, match=r"cannot read the graph: node 'to_bytes' \(Cast\).*UINT8"):
        build_engine(save(model, tmp_path / "toy.onnx"), tmp_path / "toy.engine", SM86)
    assert left_in(tmp_path) == ["toy.onnx"]


@needs_rtx
def test_shapes_that_the_graph_cannot_have_fail_the_build(tmp_path: Path) -> None:
    model = toy_model()
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 8  # the card says any height
    with pytest.raises(BackendError, match="failed to build the engine"):
        build_engine(save(model, tmp_path / "toy.onnx"), tmp_path / "toy.engine", SM86)
    assert left_in(tmp_path) == ["toy.onnx"]


class Recorder:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.total = 0.0
        self.notes: set[str] = set()

    def task(self, name: str, total: float | None = None) -> Recorder:
        assert (name, total) == ("build the engine", 1.0)
        return self

    def advance(self, steps: float = 1.0, note: str = "") -> None:
        assert steps >= 0
        self.total += steps
        self.notes.add(note)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *details: object) -> None:
        pass


@needs_rtx
def test_progress_reaches_its_end(model: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    build_engine(model, tmp_path / "toy.engine", SM86, recorder)
    assert recorder.total == pytest.approx(1.0)
    assert recorder.notes > {""}


def test_an_existing_engine_or_record_is_kept(model: Path, tmp_path: Path) -> None:
    plan = tmp_path / "toy.engine"
    for existing in (plan, record_path(plan)):
        existing.write_bytes(b"mine")
        with pytest.raises(UsageError, match="--force"):
            build_engine(model, plan, SM86)
        assert existing.read_bytes() == b"mine"
        existing.unlink()


def test_nonsense_profiles_fail_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines.build, "load_checked", lambda *_: pytest.fail("work was begun"))
    one, two = Shape(1, 16, 24), Shape(2, 16, 24)
    with pytest.raises(UsageError, match="minimum and optimum"):
        build_engine("any.onnx", tmp_path / "x.engine", replace(SM86, profile=ShapeProfile(two, one, two)))


def test_profiles_off_the_stride_fail_before_the_build(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines.build, "run_child", lambda *_: pytest.fail("the build was begun"))
    odd = Shape(1, 18, 24)
    with pytest.raises(UsageError, match="multiples of 4"):
        build_engine(model, tmp_path / "x.engine", replace(SM86, profile=ShapeProfile(odd, odd, odd)))


def test_missing_tensorrt_names_the_command(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines.child.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingError, match=r"pip install '\.\[tensorrt-rtx\]'"):
        build_engine(model, tmp_path / "x.engine", SM86)


def test_missing_onnx_names_the_command(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingError, match="pip install"):
        build_engine(model, tmp_path / "x.engine", SM86)


def test_inputs_that_differ_from_the_card_are_refused(tmp_path: Path) -> None:
    model = toy_model()
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
    with pytest.raises(InputError, match="its card names"):
        build_engine(save(model, tmp_path / "toy.onnx"), tmp_path / "x.engine", SM86)


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        (f"os.kill(os.getpid(), {int(signal.SIGSEGV)})", BackendError, r"crashed \(SIGSEGV\)"),
        ("print('to the log', file=sys.stderr); sys.exit(9)", BackendError, r"exit status 9.*to the log"),
        ('print(\'{"log": "error: bad\', flush=True)', BackendError, "exit status 0"),
        ("print(json.dumps({'error': {'kind': 'import', 'message': 'no lib'}}))", MissingError, "no lib"),
        (
            f"print(json.dumps({{'error': {{'kind': 'os', 'errno': {errno.ENOSPC}, 'message': 'full'}}}}))",
            MissingError,
            "no space left",
        ),
        (
            "print(json.dumps({'log': 'error: 17'}))\n"
            "print(json.dumps({'error': {'kind': 'build', 'message': 'none'}}))",
            BackendError,
            "failed to build the engine: none; error: 17",
        ),
    ],
)
def test_every_end_of_the_worker_is_one_error_and_leaves_nothing(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, error: type[Exception], words: str
) -> None:
    fake_worker(monkeypatch, f"open(job['plan'], 'wb').write(b'half')\n{code}")
    with pytest.raises(error, match=words):
        build_engine(model, tmp_path / "toy.engine", SM86)
    assert left_in(tmp_path) == ["toy.onnx"]


def test_a_full_disk_at_the_record_leaves_the_old_engine(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = {"version": "1", "inputs": [], "outputs": [], "layers": {}, "convolutions": {}, "plugins": 0, "seconds": {}}
    fake_worker(monkeypatch, f"print(json.dumps({{'done': {json.dumps(facts)}}}))")
    plan = tmp_path / "toy.engine"
    plan.write_bytes(b"old")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(engines.build, "write_text", full)
    with pytest.raises(MissingError, match="no space left"):
        build_engine(model, plan, SM86, force=True)
    assert plan.read_bytes() == b"old"
    assert left_in(tmp_path) == ["toy.engine", "toy.onnx"]


def test_an_interrupt_stops_the_worker_and_leaves_nothing(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "mark"
    fake_worker(
        monkeypatch,
        "print(json.dumps({'progress': {'share': 0.5, 'phase': 'p'}}), flush=True)\n"
        "while sys.stdin.buffer.read(1): pass\n"
        f"open({str(mark)!r}, 'w').close()",
    )

    class Interrupt(Recorder):
        def advance(self, steps: float = 1.0, note: str = "") -> None:
            raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        build_engine(model, tmp_path / "toy.engine", SM86, Interrupt())
    assert time.monotonic() - start < 8
    assert left_in(tmp_path) == ["mark", "toy.onnx"]  # the worker saw the end of its input


@needs_rtx
def test_the_real_worker_leaves_when_nobody_listens(model: Path, tmp_path: Path) -> None:
    header = {"plan": str(tmp_path / "x"), "targets": ["sm86"], "profile": {"label": [FIXED] * 3}, "log": None}
    data = model.read_bytes()
    process = subprocess.Popen(
        engines.child.WORKER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    output, _ = process.communicate(
        json.dumps({**header, "model_bytes": len(data)}).encode() + b"\n" + data, timeout=20
    )
    kinds = {next(iter(json.loads(line))) for line in output.splitlines()}
    assert kinds & {"done", "error"}  # finished before it noticed, or cancelled


def test_names(tmp_path: Path) -> None:
    options = BuildOptions(targets=(Target.SM75, Target.SM86))
    assert engine_path(tmp_path, "a/b.onnx", options) == tmp_path / "b-rtx-sm75-sm86.engine"
    assert engine_path("x/y.engine", "a/b.onnx", options) == Path("x/y.engine")
    assert engine_path("x/y", "a/b.onnx", options) == Path("x/y/b-rtx-sm75-sm86.engine")


def test_the_toy_is_a_valid_model() -> None:
    onnx.checker.check_model(toy_model(), full_check=True)
