"""Exports are the same in every process, and right at every size."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from export.onnx_export import ExportResult
from export.target import Target
from lggan.networks.semantics import decode_image
from lggan.synthesis import network_inputs
from runtime.contract.batch import InputBatch
from tests.export.samples import Case, Sample
from tests.export.small_exports import exported_graph

ROOT = Path(__file__).resolve().parents[2]
SIZES = [(1, 32, 32), (2, 64, 32), (3, 32, 96), (1, 96, 64), (4, 32, 64)]


def test_another_process_with_other_hashes_writes_the_same_bytes(
    exported: ExportResult, sample: Sample, tmp_path: Path
) -> None:
    """Sets and dictionaries of strings are in another order there. Another thread count must not matter either."""
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    command = [sys.executable, "-m", "cli", "export", str(sample.path), "-o", str(tmp_path / "model.onnx"), "-q"]
    environment = {**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=300, stdout=subprocess.DEVNULL)
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (exported.path, tmp_path / "model.onnx")]
    assert digests[0] == digests[1]


def batch_of(sample: Sample, n: int, height: int, width: int) -> InputBatch:
    """Blocks of 8 x 8 pixels of random classes, and noise as photo where the model wants one."""
    draw = np.random.default_rng(n * height + width)
    label = draw.integers(0, len(sample.card.classes), (n, 1, height // 8, width // 8), dtype=np.uint8)
    source = draw.integers(0, 256, (n, height, width, 3), dtype=np.uint8) if sample.card.wants_source else None
    return InputBatch(label.repeat(8, axis=2).repeat(8, axis=3), None, source)


@pytest.mark.parametrize("target", Target, ids=lambda target: target.value)
@pytest.mark.parametrize("case", [Case(), Case(cross_view=True)], ids=["semantic-synthesis", "cross-view"])
def test_one_file_for_every_size(
    make_sample: Callable[[Case], Sample], case: Case, target: Target, tmp_path: Path
) -> None:
    sample = make_sample(case)
    model = exported_graph(sample, case, target, tmp_path)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for size in SIZES:
        batch = batch_of(sample, *size)
        with torch.inference_mode():
            final = sample.generator(*network_inputs(sample.generator.config, batch)).final
        expected = decode_image(final).numpy().astype(np.int64)
        picture = session.run(None, batch.feeds())[0]
        assert picture.shape == (*size, 3)
        assert expected.std() > 10
        assert int(np.abs(picture - expected).max()) <= 1


def test_the_file_fixes_no_size(exported: ExportResult) -> None:
    model = onnx.load(str(exported.path))
    for value in [*model.graph.input, *model.graph.output]:
        sides = [side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim]
        assert sides in (["N", 1, "H", "W"], ["N", "H", "W", 3])
