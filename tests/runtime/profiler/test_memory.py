"""Memory of a process of its own, whatever its parent weighs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from runtime.profiler import memory

ROOT = Path(__file__).resolve().parents[3]
MEGABYTE = 1 << 20


def _in_child(code: str) -> list[int]:
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom runtime.profiler.memory import *\n{code}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return [int(word) for word in done.stdout.split()]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_a_large_parent_does_not_count() -> None:
    ballast = bytearray(b"x" * (200 * MEGABYTE))  # resource.getrusage would hand it down
    (peak,) = _in_child("print(peak_memory())")
    assert len(ballast) > peak > MEGABYTE


def test_peak_stays_when_memory_is_given_back() -> None:
    before, peak, after = _in_child(
        "print(resident_memory())\nx = b'x' * (64 << 20)\ndel x\nprint(peak_memory())\nprint(resident_memory())"
    )
    assert before + 60 * MEGABYTE < peak < before + 100 * MEGABYTE
    assert after < peak - 40 * MEGABYTE


def test_without_proc_the_operating_system_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "absent")
    assert memory.peak_memory() == memory.resident_memory() > MEGABYTE
