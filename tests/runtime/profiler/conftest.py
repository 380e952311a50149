"""What tests of measuring processes share."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from runtime.profiler.process import VariantProcess


@pytest.fixture
def no_process_stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail the test if a measuring process that it started is not ended and reaped."""
    started: list[subprocess.Popen[bytes]] = []
    start = VariantProcess._start

    def recorded(process: VariantProcess) -> subprocess.Popen[bytes]:
        started.append(start(process))
        return started[-1]

    monkeypatch.setattr(VariantProcess, "_start", recorded)
    yield
    assert all(process.returncode is not None for process in started)
