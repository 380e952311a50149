"""Sessions over ONNX Runtime: what goes in, what comes out, what is refused, and what is never imported."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from runtime.backend import Device, SessionOptions
from runtime.backends import onnxruntime_cpu
from runtime.contract import loadable_model
from runtime.contract.errors import BackendError, InputError, MissingError, UsageError
from runtime.contract.opened_file import OpenedFile
from runtime.session import Session
from tests.runtime.toy_models import (
    CARD,
    CLASSES,
    CROSS_VIEW_CARD,
    FLOAT_CARD,
    FLOAT_IMAGE,
    IMAGE,
    INSTANCE,
    INSTANCE_CARD,
    LABEL,
    byte_nodes,
    cross_view_nodes,
    cross_view_picture,
    float_nodes,
    instance_nodes,
    write_model,
)

ROOT = Path(__file__).parents[2]
LABELS = np.random.default_rng(0).integers(0, 4, (3, 8, 12), dtype=np.uint8)  # [N, H, W]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "toy.onnx")


def painted(labels: np.ndarray) -> np.ndarray:
    """What the toy model gives for [N, H, W]: [N, H, W, 3]."""
    return np.stack([10 * labels] * 3, axis=-1)


# --- what it does ----------------------------------------------------------------------------------------------------


def test_label_maps_in_every_shape(model: Path) -> None:
    with Session.open(model) as session:
        assert session.card == CARD
        assert session.backend == "onnxruntime-cpu"
        assert session.path == model
        for label, expected in [
            (LABELS[0], painted(LABELS[:1])),
            (LABELS, painted(LABELS)),
            (LABELS[:, None], painted(LABELS)),
            (LABELS[:, ::-1, ::2].repeat(2, axis=2), painted(LABELS[:, ::-1, ::2].repeat(2, axis=2))),
        ]:
            picture = session.generate(label)
            assert picture.dtype == np.uint8
            assert picture.flags.c_contiguous
            np.testing.assert_array_equal(picture, expected)


def test_view_that_is_not_contiguous(model: Path) -> None:
    with Session.open(model) as session:
        view = LABELS.transpose(0, 2, 1)[:, ::3, :]  # [3, 4, 8]
        np.testing.assert_array_equal(session.generate(view), painted(view))


def test_255_is_void(model: Path) -> None:
    label = np.array([[0, 1, 2, 255]] * 4, np.uint8)
    before = label.copy()
    with Session.open(model) as session:
        assert session.generate(label)[0, 0, :, 0].tolist() == [0, 10, 20, 30]
    np.testing.assert_array_equal(label, before)


def test_instances(tmp_path: Path) -> None:
    path = write_model(tmp_path / "i.onnx", INSTANCE_CARD, instance_nodes())
    instance = np.arange(96, dtype=np.int32).reshape(8, 12)
    with Session.open(path) as session:
        picture = session.generate(LABELS[0], instance)
        np.testing.assert_array_equal(picture[0, ..., 1], 10 * LABELS[0] + instance)
        with pytest.raises(InputError, match="needs an instance map"):
            session.generate(LABELS[0])
        with pytest.raises(InputError, match="must be a numpy array of int32, this is int64"):
            session.generate(LABELS[0], instance.astype(np.int64))
        with pytest.raises(InputError, match=r"instance map is \[1, 1, 4, 12\], the label map \[1, 1, 8, 12\]"):
            session.generate(LABELS[0], instance[:4])


def test_source_photos(tmp_path: Path) -> None:
    path = write_model(tmp_path / "views.onnx", CROSS_VIEW_CARD, cross_view_nodes())
    label = np.random.default_rng(1).choice(np.array([0, 1, 2, 255], np.uint8), (2, 8, 12))
    source = np.random.default_rng(2).integers(0, 256, (2, 8, 12, 3), dtype=np.uint8)
    with Session.open(path) as session:
        pictures = session.generate(label, source=source)
        for one, photo, picture in zip(label, source, pictures, strict=True):
            np.testing.assert_array_equal(picture, cross_view_picture(one, photo))
        np.testing.assert_array_equal(session.generate(label[0], None, source[0]), pictures[:1])
        with pytest.raises(InputError, match="needs a source photo beside the label map"):
            session.generate(label)
        with pytest.raises(InputError, match=r"77 \(1 px\); this model knows 0 to 2"):
            session.generate(np.where(np.arange(12) + 12 * np.arange(8)[:, None] == 5, 77, label[0]).astype(np.uint8),
                             source=source[0])  # fmt: skip
    with Session.open(write_model(tmp_path / "toy.onnx")) as session, pytest.raises(InputError, match="leave the sou"):
        session.generate(LABELS[0], source=source[0])


def test_float_output_becomes_bytes(tmp_path: Path) -> None:
    """ids 0..3 over 1.5, minus 1, are -1, -1/3, 1/3, 1; bytes are round((x + 1) 127.5)."""
    path = write_model(tmp_path / "f.onnx", FLOAT_CARD, float_nodes(1.5))
    with Session.open(path) as session:
        picture = session.generate(LABELS)
    assert picture.dtype == np.uint8
    assert picture.flags.c_contiguous
    np.testing.assert_array_equal(picture, np.stack([85 * LABELS] * 3, axis=-1))


def test_floats_as_they_are(tmp_path: Path, model: Path) -> None:
    path = write_model(tmp_path / "f.onnx", FLOAT_CARD, float_nodes(0.5))
    with Session.open(path) as session:
        floats = session.generate_floats(LABELS)
    assert floats.dtype == np.float32
    np.testing.assert_array_equal(floats, np.stack([2.0 * LABELS - 1] * 3, axis=1))  # neither clamped nor rounded
    with Session.open(model) as session, pytest.raises(UsageError, match="gives bytes; export it with --output float"):
        session.generate_floats(LABELS)


def test_float_output_beyond_its_range_is_clamped(tmp_path: Path) -> None:
    path = write_model(tmp_path / "f.onnx", FLOAT_CARD, float_nodes(0.5))
    with Session.open(path) as session:
        assert session.generate(np.full((4, 4), 2, np.uint8)).min() == 255


def test_float_output_that_is_no_number(tmp_path: Path) -> None:
    path = write_model(tmp_path / "f.onnx", FLOAT_CARD, float_nodes(0.0))
    label = np.zeros((4, 4), np.uint8)
    label[0, 0] = 1  # 1/0 is infinite, 0/0 not a number
    with Session.open(path) as session, pytest.raises(BackendError, match="gave 48 of 48 values that are not numbers"):
        session.generate(label)


def test_many_threads_at_once(model: Path) -> None:
    labels = np.random.default_rng(1).integers(0, 4, (24, 16, 16), dtype=np.uint8)
    with Session.open(model, SessionOptions(threads=1)) as session, ThreadPoolExecutor(6) as pool:
        pictures = list(pool.map(session.generate, labels))
    np.testing.assert_array_equal(np.concatenate(pictures), painted(labels))


def test_threads(model: Path) -> None:
    cores = onnxruntime_cpu.physical_cores()
    assert 1 <= cores <= (os.cpu_count() or 1)
    with Session.open(model) as session:
        assert session.threads == cores
    with Session.open(model, SessionOptions(threads=3)) as session:
        assert session.threads == 3
    for threads in (0, -1, 5000):
        with pytest.raises(UsageError, match=f"{threads} threads are not possible"):
            Session.open(model, SessionOptions(threads=threads))


def test_siblings_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four processors, two per core; where the system tells nothing, processors count."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(Path, "read_text", lambda self: str(int(re.findall(r"cpu(\d+)", str(self))[0]) // 2))
    assert onnxruntime_cpu.physical_cores() == 2

    def unknown(self: Path) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", unknown)
    assert onnxruntime_cpu.physical_cores() == 4


def test_closed_session(model: Path) -> None:
    session = Session.open(model)
    session.close()
    session.close()
    with pytest.raises(UsageError, match="is closed"):
        session.generate(LABELS[0])


# --- label maps that it refuses --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (LABELS.astype(np.int64), "must be a numpy array of uint8, this is int64"),
        (LABELS.tolist(), "must be a numpy array of uint8, this is list"),
        (LABELS[0, 0], r"must be \[H, W\], .* this is \[12\]"),
        (LABELS[:, None].repeat(2, axis=1), r"this is \[3, 2, 8, 12\]"),
        (LABELS[:0], r"this is \[0, 1, 8, 12\]"),
        (LABELS[:, :7], "7x12 .* multiples of 4; .* --fit 4x12 or 8x12"),
        (LABELS + 1, r"4 \(\d+ px\); this model knows 0 to 3"),
        (np.zeros((4, 16388), np.uint8), "the largest side is 16384"),
    ],
)
def test_wrong_label_maps(model: Path, label: np.ndarray, message: str) -> None:
    with Session.open(model) as session, pytest.raises(InputError, match=message):
        session.generate(label)


def test_instance_map_for_a_model_without(model: Path) -> None:
    with Session.open(model) as session, pytest.raises(InputError, match="takes no instance map"):
        session.generate(LABELS[0], LABELS[0].astype(np.int32))


def test_fixed_sizes(tmp_path: Path) -> None:
    fixed = replace(LABEL, shape=(1, 1, 8, 12))
    path = write_model(tmp_path / "fixed.onnx", replace(CARD, inputs=(fixed,)))
    with Session.open(path) as session:
        np.testing.assert_array_equal(session.generate(LABELS[0]), painted(LABELS[:1]))
        with pytest.raises(InputError, match=r"exactly \[1, 1, 8, 12\], this one is \[3, 1, 8, 12\]"):
            session.generate(LABELS)


# --- files that it refuses -------------------------------------------------------------------------------------------


def test_every_truncation_is_refused(model: Path, tmp_path: Path) -> None:
    whole = model.read_bytes()
    for length in range(0, len(whole), 41):
        (tmp_path / "cut.onnx").write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cut\.onnx"):
            Session.open(tmp_path / "cut.onnx")


def test_flipped_bits_end_in_typed_errors(model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole = model.read_bytes()
    messages = []
    for position in range(0, len(whole), 3):
        bad = bytearray(whole)
        bad[position] ^= 1 << position % 8
        (tmp_path / "bad.onnx").write_bytes(bad)
        try:
            with Session.open(tmp_path / "bad.onnx", SessionOptions(threads=1)) as session:
                session.generate(LABELS)
        except (InputError, BackendError) as error:
            messages.append(str(error))
    assert len(messages) > 30
    assert all(message.isprintable() for message in messages)
    assert capfd.readouterr() == ("", "")  # ONNX Runtime keeps its log to itself


@pytest.mark.parametrize(
    ("name", "content", "message", "kind"),
    [
        ("none.onnx", None, "none.onnx", InputError),
        ("a.onnx", b"", "a.onnx", InputError),
        ("a.onnx", b"hello, I am a text", "a.onnx", InputError),
        ("a.onnx", b"\x00" * 4096, "a.onnx", InputError),
        ("a.engine", b"ptrt", "a.engine is a TensorRT engine; .* does not run them yet", MissingError),
        ("a.plan", b"ptrt", "TensorRT engine", MissingError),
        ("a.safetensors", b"x", "lggan export .*a.safetensors -o .*a.onnx", InputError),
        ("a.npz", b"PK", "is not an ONNX model", InputError),
        ("a.pth", b"PK", "is not an ONNX model", InputError),
    ],
)
def test_foreign_files(tmp_path: Path, name: str, content: bytes | None, message: str, kind: type[Exception]) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(kind, match=message):
        Session.open(tmp_path / name)


def test_folder_instead_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        Session.open(tmp_path)


def test_model_without_our_card(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not exported by lggan"):
        Session.open(write_model(tmp_path / "other.onnx", card=None))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": (replace(LABEL, name="mask"),)}, "the graph has the inputs mask uint8 .*card says label uint8"),
        ({"inputs": (replace(LABEL, dtype="int32"),)}, "the graph has the inputs label int32"),
        ({"inputs": (replace(LABEL, shape=("N", 3, "H", "W")),)}, r"label uint8 \[N, 3, H, W\]"),
        ({"inputs": (replace(LABEL, shape=("N", "H", "W")),)}, "cannot load .* perm"),
        ({"inputs": (LABEL, INSTANCE)}, "the graph has the inputs .*instance int32"),
        ({"outputs": (replace(IMAGE, dtype="int32"),)}, "the graph has the outputs"),
    ],
)
def test_graph_that_is_not_the_one_of_the_card(tmp_path: Path, change: dict, message: str) -> None:
    card_inputs = change.get("inputs", (LABEL,))
    nodes = byte_nodes()
    nodes[0].input[0] = card_inputs[0].name
    if "outputs" in change:
        nodes[-1].attribute[0].i = 6  # TensorProto.INT32
    path = write_model(tmp_path / "changed.onnx", CARD, nodes, **change)
    with pytest.raises(InputError, match=message):
        Session.open(path)


@pytest.mark.parametrize(
    "card",
    [
        replace(CARD, inputs=()),
        replace(CARD, inputs=(replace(LABEL, dtype="int64"),)),
        replace(CARD, instances=True),
        replace(CARD, outputs=(FLOAT_IMAGE, IMAGE)),
        replace(CARD, outputs=(replace(IMAGE, dtype="float16"),)),
        replace(CARD, task="cross-view"),
        replace(CARD, task="portraits"),
    ],
)
def test_card_of_another_kind_of_model(tmp_path: Path, card: object) -> None:
    path = write_model(tmp_path / "kind.onnx", card, inputs=(LABEL,), outputs=(IMAGE,))
    with pytest.raises(InputError, match=r"card's|portraits"):
        Session.open(path)


# --- large files: loaded by their handle ------------------------------------------------------------------------------


@pytest.fixture
def by_handle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files are treated like large ones."""
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("this system has no paths of handles: large files are loaded like small ones")
    monkeypatch.setattr(loadable_model, "READ_WHOLE", 0)


def meanwhile(monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> None:
    """Do something after the model is checked and before ONNX Runtime opens it."""
    load = onnxruntime.InferenceSession

    def disturbed(*arguments: object, **options: object) -> object:
        action()
        return load(*arguments, **options)

    monkeypatch.setattr(onnxruntime, "InferenceSession", disturbed)


@pytest.mark.usefixtures("by_handle")
def test_a_large_file_gives_the_same_pictures(model: Path) -> None:
    handles = len(os.listdir("/proc/self/fd"))
    with Session.open(model) as session:
        assert len(os.listdir("/proc/self/fd")) == handles
        model.unlink()
        np.testing.assert_array_equal(session.generate(LABELS), painted(LABELS))


@pytest.mark.usefixtures("by_handle")
def test_a_damaged_large_file_ends_in_typed_errors(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole, path = model.read_bytes(), tmp_path / "bad.onnx"
    damaged = [whole[:length] for length in range(0, len(whole), 97)]
    for position in range(0, len(whole), 11):
        bad = bytearray(whole)
        bad[position] ^= 1 << position % 8
        damaged.append(bytes(bad))
    messages = []
    for content in damaged:
        path.write_bytes(content)
        try:
            with Session.open(path, SessionOptions(threads=1)) as session:
                session.generate(LABELS)
        except (InputError, BackendError) as error:
            messages.append(str(error))
    assert len(messages) > 30
    assert not any("/proc/" in message for message in messages)
    assert any("ONNX Runtime cannot load" in message for message in messages)
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("by_handle")
@pytest.mark.parametrize("content", [b"", b"not a model any more", None])
def test_a_large_file_that_is_written_to_meanwhile(
    model: Path, content: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Emptied, overwritten by nonsense, or by another good model of the same size."""
    other = model.read_bytes().replace(b"scaled", b"scales") if content is None else content
    os.utime(model, (1, 1))
    meanwhile(monkeypatch, lambda: model.write_bytes(other))
    with pytest.raises(InputError, match=r"toy\.onnx was changed while it was being opened; open it again"):
        Session.open(model)


@pytest.mark.usefixtures("by_handle")
def test_a_large_file_that_is_replaced_meanwhile(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was checked is loaded, whatever has its name by then."""
    other = tmp_path / "other.onnx"
    other.write_bytes(b"not a model at all")
    meanwhile(monkeypatch, lambda: os.replace(other, model))
    with Session.open(model) as session:
        np.testing.assert_array_equal(session.generate(LABELS), painted(LABELS))
    assert model.read_bytes() == b"not a model at all"


@pytest.mark.usefixtures("by_handle")
def test_weights_elsewhere_that_come_in_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where it cannot be seen that the file was changed: no file beside it is read."""
    path = write_model(tmp_path / "toy.onnx", FLOAT_CARD, float_nodes(1.5))
    (tmp_path / "divisor").write_bytes(np.float32(1.5).tobytes())
    pair = onnx.load_model(path)
    del pair.graph.node[1]  # the constant
    weight = pair.graph.initializer.add(name="divisor", data_type=onnx.TensorProto.FLOAT, dims=[])
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="divisor")
    content = pair.SerializeToString()
    (tmp_path / "pair.onnx").write_bytes(content)
    with Session.open(tmp_path / "pair.onnx") as session:  # read here, and checked
        assert session.generate(LABELS).any()
    monkeypatch.setattr(OpenedFile, "_is_changed", lambda self: False)
    meanwhile(monkeypatch, lambda: path.write_bytes(content))
    with pytest.raises(InputError, match="ONNX Runtime cannot load"):
        Session.open(path)


def big_model(path: Path) -> int:
    """Write a model of some 150 MB, half convolutions and half matrix products; returns its bytes."""
    draw = np.random.default_rng(0)
    squares = [f"w{i}" for i in range(16)]
    shapes = {"first": (512, 1, 1, 1), "last": (3, 512, 1, 1)}
    shapes |= {name: (512, 512, 3, 3) if i < 8 else (512, 4608) for i, name in enumerate(squares)}
    tensors = [
        numpy_helper.from_array(draw.standard_normal(shape, dtype=np.float32) * 1e-2, name)
        for name, shape in shapes.items()
    ]
    node = helper.make_node
    nodes = [
        node("Cast", ["label"], ["x"], to=onnx.TensorProto.FLOAT),
        node("Conv", ["x", "first"], ["y0"]),
        *(node("Conv", [f"y{i}", f"w{i}"], [f"y{i + 1}"], pads=[1, 1, 1, 1]) for i in range(8)),
        node("Transpose", ["y8"], ["rows"], perm=[0, 2, 3, 1]),  # [N, H, W, 512]
        *(node("MatMul", ["rows", f"w{i}"], [f"p{i}"]) for i in range(8, 16)),  # [N, H, W, 4608]
        node("Sum", [f"p{i}" for i in range(8, 16)], ["sum"]),
        node("Split", ["sum"], [f"part{i}" for i in range(9)], axis=3, num_outputs=9),
        node("Transpose", ["part4"], ["columns"], perm=[0, 3, 1, 2]),
        node("Conv", ["columns", "last"], ["image"]),
    ]
    model = onnx.load_model(write_model(path, FLOAT_CARD, nodes))
    model.graph.initializer.extend(tensors)
    return path.write_bytes(model.SerializeToString())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is measured on Linux alone")
def test_memory_of_a_large_model(tmp_path: Path) -> None:
    """While it is opened, no third copy of its weights; afterwards one copy."""
    size = big_model(tmp_path / "big.onnx")
    code = (
        "import sys, numpy as np, onnxruntime\n"
        "from runtime.backend import SessionOptions\n"
        "from runtime.profiler.memory import peak_memory, resident_memory\n"
        "from runtime.session import Session\n"
        "before = resident_memory()\n"
        "with Session.open(sys.argv[1], SessionOptions(threads=1)) as session:\n"
        "    for _ in range(3):\n"
        "        session.generate(np.ones((4, 8), np.uint8))\n"
        "    print(peak_memory() - before, resident_memory() - before)\n"
    )
    peak, steady = (int(word) / size for word in run_python(code, str(tmp_path / "big.onnx")).split())
    print(f"a model of {size / 1e6:.0f} MB takes {peak:.2f} times its size at most, {steady:.2f} times at last")  # noqa: T201
    assert peak <= 2.2
    assert steady <= 1.4


# --- graphs that it refuses ------------------------------------------------------------------------------------------


def test_operator_that_nobody_knows(tmp_path: Path) -> None:
    nodes = byte_nodes()
    nodes[3].domain, nodes[3].op_type = "lggan", "Mystery"
    with pytest.raises(InputError, match=r"ONNX Runtime cannot load .*export the model again"):
        Session.open(write_model(tmp_path / "mystery.onnx", nodes=nodes))


def test_picture_of_the_wrong_shape(tmp_path: Path) -> None:
    nodes = byte_nodes()
    nodes[-2].attribute[0].ints[:] = [0, 3, 2, 1]  # [N, W, H, 3]
    message = r"gave uint8 \[3, 12, 8, 3\] for 3 label maps of 8x12"
    path = write_model(tmp_path / "wrong.onnx", nodes=nodes)
    with Session.open(path) as session, pytest.raises(BackendError, match=message):
        session.generate(LABELS)


def test_failure_of_the_library(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with Session.open(model) as session:
        backend = onnxruntime_cpu.OnnxRuntimeCpu(model.read_bytes(), CARD, model)
        with pytest.raises(BackendError, match=r"ONNX Runtime failed on label \[1, 2, 4, 4\]: .*dimensions"):
            backend.run({"label": np.zeros((1, 2, 4, 4), np.uint8)})
        assert session.generate(LABELS).any()
    assert capfd.readouterr() == ("", "")


# --- devices and surroundings ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", [Device.CUDA, Device.TENSORRT])
def test_device_that_is_not_there(model: Path, device: Device) -> None:
    with pytest.raises(MissingError, match=f"device {device.value} is not available.*--device cpu"):
        Session.open(model, SessionOptions(device=device))


def test_another_provider_is_no_silent_substitute(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime.InferenceSession, "get_providers", lambda self: ["AzureExecutionProvider"])
    with pytest.raises(BackendError, match="AzureExecutionProvider"):
        Session.open(model)


def test_without_onnxruntime(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingError, match="pip install onnxruntime"):
        Session.open(model)


def run_python(code: str, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_runtime_imports_no_framework() -> None:
    code = (
        "import sys, runtime, runtime.session, runtime.inference\n"
        "print([n for n in ('torch', 'onnx', 'onnxruntime', 'tensorrt', 'matplotlib', 'rich') if n in sys.modules])"
    )
    assert run_python(code) == "[]"


def test_inference_on_a_device_without_torch_and_onnx(model: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['torch', 'onnx', 'onnxscript', 'safetensors', 'tensorrt']))  # blocked\n"
        "import numpy as np\n"
        "from runtime.session import Session\n"
        "from runtime.inference import infer\n"
        "np.save(sys.argv[2], np.full((4, 8), 2, np.uint8))\n"
        "with Session.open(sys.argv[1]) as session:\n"
        "    report = infer(session, [sys.argv[2]], sys.argv[3])\n"
        "from PIL import Image\n"
        "print(np.unique(np.asarray(Image.open(sys.argv[3]))), report.backend)"
    )
    printed = run_python(code, str(model), str(tmp_path / "map.npy"), str(tmp_path / "out.png"))
    assert printed == "[20] onnxruntime-cpu"


def test_classes_travel_with_the_model(model: Path) -> None:
    with Session.open(model) as session:
        assert session.card.classes == CLASSES
