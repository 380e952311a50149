"""The verb from end to end, with variants that need no model."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from runtime.contract.errors import BackendError, InputError, UsageError
from runtime.profiler.profile import profile
from runtime.profiler.quality import compare_pictures
from runtime.profiler.worker import LabelMap
from tests.runtime.profiler.fake_variants import CLASSES, FAST, Bar, broken, fake, maps, paint

ROOT = Path(__file__).resolve().parents[3]


pytestmark = pytest.mark.usefixtures("no_process_stays")


def test_two_variants_against_a_reference_of_their_own(tmp_path: Path) -> None:
    slow, fast = fake(tmp_path, "slow\x1b", 0.0, 0.03, 64), fake(tmp_path, "fast", 6.0, 0.005)
    reference = fake(tmp_path, "FP32", 0.0)
    inputs = maps(3)
    bar = Bar()
    report = profile([slow, fast], inputs, reference, replace(FAST, rounds=6, strips=2), CLASSES, bar)
    assert [v.name for v in report.variants] == ["slow\ufffd", "fast"]
    first, second = report.variants
    assert first.latency.count == second.latency.count == 12
    assert first.latency.median_ms >= 30.0 > second.latency.median_ms
    assert first.quality is not None
    assert first.quality.identical == 3
    expected = [compare_pictures(paint(m.label, 0.0)[0], paint(m.label, 6.0)[0]).mean_square for m in inputs]
    assert second.quality is not None
    assert second.quality.psnr_db == pytest.approx(10 * np.log10(255**2 / np.mean(expected)))
    assert first.peak_bytes - first.baseline_bytes > 60 << 20
    assert second.peak_bytes < first.peak_bytes - (50 << 20)
    assert first.file_bytes == 2048
    assert (report.reference.name, report.reference.measured) == ("FP32", False)
    assert len(report.strips) == 2
    assert (report.strips[1].pictures[1] == paint(inputs[1][1], 6.0)[0]).all()
    assert report.strips[0].label.shape == (32, 48, 3)
    assert report.summary[0].startswith("fast is the fastest")
    assert report.data.sizes == ((48, 32),)
    json.loads(report.to_json())
    assert [name for name, _ in bar.tasks] == ["open", "compare pictures", "warm up", "measure"]
    assert bar.steps == pytest.approx(sum(total or 0 for _, total in bar.tasks))


def test_without_a_reference_the_first_variant_is_it(tmp_path: Path) -> None:
    report = profile([fake(tmp_path, "a"), fake(tmp_path, "b", 3.0)], maps(1), None, FAST, CLASSES)
    assert (report.reference.name, report.reference.measured) == ("a", True)
    assert report.variants[0].quality is None
    assert report.variants[1].quality is not None
    assert report.variants[1].quality.pictures == 1


def test_a_reference_among_the_variants_is_opened_once(tmp_path: Path) -> None:
    a, b = fake(tmp_path, "a", 3.0), fake(tmp_path, "b")
    bar = Bar()
    report = profile([a, b], maps(1), b, FAST, CLASSES, bar)
    assert bar.tasks[0] == ("open", 2)
    assert [v.quality is None for v in report.variants] == [False, True]


def test_the_data_hash_follows_the_content(tmp_path: Path) -> None:
    variant = fake(tmp_path, "a")
    inputs = maps(2)
    once = profile([variant], inputs, None, replace(FAST, iterations=1, rounds=1), CLASSES).data
    changed = [entry._replace(label=entry.label.copy()) for entry in inputs]
    changed[1][1][0, 0] ^= 1
    other = profile([variant], changed, None, replace(FAST, iterations=1, rounds=1), CLASSES).data
    assert once.count == 2
    assert len(once.sha256) == 64
    assert once.sha256 != other.sha256


def test_the_broken_one_is_named_and_the_others_are_ended(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="variant 'bad'"):
        profile([fake(tmp_path, "good"), broken(tmp_path, "raise", "bad")], maps(1), None, FAST, CLASSES)


def test_pictures_of_another_size_are_no_variant_of_the_same(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'bad', label map street 0.*16x16.*48x32"):
        profile([fake(tmp_path, "good"), broken(tmp_path, "small", "bad")], maps(1), None, FAST, CLASSES)


def test_requests_without_sense_are_refused_before_any_process(tmp_path: Path) -> None:
    variant = fake(tmp_path, "a")
    with pytest.raises(UsageError, match="nothing to profile"):
        profile([], maps(1), None, FAST, CLASSES)
    with pytest.raises(UsageError, match="no label map"):
        profile([variant], [], None, FAST, CLASSES)
    with pytest.raises(UsageError, match="2 variants are called 'a'"):
        profile([variant, fake(tmp_path, "a", 1.0)], maps(1), None, FAST, CLASSES)
    with pytest.raises(UsageError, match="called 'a'"):
        profile([variant], maps(1), fake(tmp_path, "a", 1.0), FAST, CLASSES)
    with pytest.raises(UsageError, match="rounds"):
        profile([variant], maps(1), None, replace(FAST, rounds=0), CLASSES)
    with pytest.raises(InputError, match=r"float64 \[32, 48\]"):
        profile([variant], [LabelMap("x", np.zeros((32, 48)))], None, FAST, CLASSES)
    variant.path.unlink()
    with pytest.raises(InputError, match="cannot read"):
        profile([variant], maps(1), None, FAST, CLASSES)


def test_the_profiler_imports_neither_torch_nor_onnx_nor_the_page_s_tools() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import runtime.profiler.profile, runtime.profiler.folder;"
        "print(sorted({'torch', 'onnx', 'onnxruntime', 'jinja2', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
