"""A real session behind a variant, measured in its own process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from runtime.backend import SessionOptions
from runtime.contract.errors import InputError
from runtime.profiler.profile import profile
from runtime.profiler.session_variant import session_variant
from runtime.profiler.variant import VariantKind
from runtime.profiler.worker import LabelMap
from tests.runtime.profiler.fake_variants import FAST

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def test_onnx_runtime_is_measured_and_named(tmp_path: Path) -> None:
    from tests.runtime.toy_models import CARD, write_model

    path = write_model(tmp_path / "toy.onnx")
    variant = session_variant("toy", path, SessionOptions(threads=1))
    assert variant.kind is VariantKind.ONNX
    label = np.random.default_rng(0).integers(0, 4, (16, 32), np.uint8)
    copy = replace(variant, name="copy")
    report = profile([variant, copy], [LabelMap("noise", label)], None, FAST, CARD.classes)
    assert report.variants[0].backend == "onnxruntime-cpu"
    assert report.variants[0].threads == 1
    assert report.variants[0].latency.min_ms > 0
    assert report.variants[1].quality is not None
    assert report.variants[1].quality.identical == 1


def test_a_damaged_model_is_the_users_input_error(tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(InputError, match="variant 'bad'"):
        profile(
            [session_variant("bad", path, SessionOptions())],
            [LabelMap("x", np.zeros((16, 32), np.uint8))],
            None,
            FAST,
            [],
        )
