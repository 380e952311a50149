"""Exported models in the hands of NVIDIA's polygraphy: read, folded and compared by tools that know nothing of ours.

Runs where polygraphy and onnx_graphsurgeon are installed. No verb of ours uses them: `lggan verify` does what
polygraphy's comparator does, on checkpoints too, with real label maps and in levels; what the tool adds is a second
opinion on the files themselves.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

polygraphy = pytest.importorskip("polygraphy", reason="polygraphy is not installed (extra dev)")
pytest.importorskip("onnx_graphsurgeon", reason="onnx_graphsurgeon is not installed (extra dev)")

from polygraphy.backend.onnxrt import OnnxrtRunner, SessionFromOnnx  # noqa: E402
from polygraphy.comparator import Comparator  # noqa: E402
from polygraphy.logger import G_LOGGER  # noqa: E402

from export.onnx_export import ExportResult  # noqa: E402
from export.variants import Variant, to_variant  # noqa: E402
from runtime.contract.card import CARD_KEY  # noqa: E402

TOOL = Path(sys.executable).with_name("polygraphy")


@pytest.fixture(scope="module", params=[Variant.FULL, Variant.INLINED], ids=lambda variant: variant.value)
def model(request: pytest.FixtureRequest, exported: ExportResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(request.param.value) / "model.onnx"
    path.write_bytes(to_variant(onnx.load(str(exported.path)), request.param).SerializeToString())
    return path


def _tool(folder: Path, *arguments: str | Path) -> str:
    """What the tool prints; any other end than success fails. ``folder`` takes the temporary files that it leaves."""
    environment = {**os.environ, "TMPDIR": str(folder)}
    done = subprocess.run([TOOL, *arguments], env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def _sanitized(model: Path, to: Path) -> onnx.ModelProto:
    # without ONNX Runtime's symbolic shapes, which take half a minute and add nothing to what is asked here
    _tool(to.parent, "surgeon", "sanitize", model, "--fold-constants", "--no-onnxruntime-shape-inference", "-o", to)
    return onnx.load(str(to))


def test_inspect_reads_the_whole_interface(model: Path, tmp_path: Path) -> None:
    said = _tool(tmp_path, "inspect", "model", model, "--show", "layers")
    assert "label [dtype=uint8, shape=('N', 1, 'H', 'W')]" in said
    assert "image [dtype=uint8, shape=('N', 'H', 'W', 3)]" in said
    assert "ONNX Opset: 18" in said
    count = len(onnx.load(str(model)).graph.node)
    assert f"{count} Node(s)" in said


def test_sanitize_keeps_graph_and_function(model: Path, tmp_path: Path) -> None:
    """Folding finds nothing in our own graph; in the inlined one, the constants of the function's body."""
    before, after = onnx.load(str(model)), _sanitized(model, tmp_path / "clean.onnx")
    onnx.checker.check_model(after, full_check=True)
    assert [function.name for function in after.functions] == [function.name for function in before.functions]
    assert [value.name for value in after.graph.output] == ["image"]
    inlined = not before.functions
    assert (
        len(after.graph.node) < len(before.graph.node) if inlined else len(after.graph.node) == len(before.graph.node)
    )
    assert CARD_KEY not in {
        entry.key for entry in after.metadata_props
    }  # the tool drops it: the file is no longer ours


def test_the_sanitized_graph_gives_equal_pictures(model: Path, tmp_path: Path) -> None:
    _sanitized(model, tmp_path / "clean.onnx")
    draw = np.random.default_rng(0)
    feeds = [
        {"label": draw.integers(0, 4, (n, 1, height // 8, width // 8), np.uint8).repeat(8, axis=2).repeat(8, axis=3)}
        for n, height, width in ((1, 32, 64), (2, 64, 32))
    ]
    runners = [
        OnnxrtRunner(SessionFromOnnx(str(path), providers=["CPUExecutionProvider"]), name=path.stem)
        for path in (model, tmp_path / "clean.onnx")
    ]
    with G_LOGGER.verbosity(G_LOGGER.ERROR):
        results = Comparator.run(runners, data_loader=feeds)
        assert [len(iterations) for _, iterations in results] == [2, 2]
        assert bool(Comparator.compare_accuracy(results))  # within 1e-5: equal bytes
    pictures = [iteration["image"] for _, iterations in results for iteration in iterations]
    assert [picture.shape for picture in pictures[:2]] == [(1, 32, 64, 3), (2, 64, 32, 3)]
    assert min(float(picture.std()) for picture in pictures) > 10
