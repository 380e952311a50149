"""A variant in a process of its own: what it answers, how it fails, that nothing of it stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

from runtime.contract.errors import BackendError, InputError, LgganError, UsageError
from runtime.profiler.process import VariantProcess
from runtime.profiler.variant import Opener, Variant, VariantKind
from runtime.profiler.worker import LabelMap, RunQueries, Tick
from tests.runtime.profiler.fake_variants import broken, fake, paint, street

ROOT = Path(__file__).resolve().parents[3]
MAP = LabelMap("street", street())


def _first_picture(variant: Variant, timeout: float = 20.0) -> None:
    with VariantProcess(variant, (MAP,), timeout) as process:
        process.open()
        process.picture(MAP)


pytestmark = pytest.mark.usefixtures("no_process_stays")


def test_pictures_latencies_and_memory_come_back(tmp_path: Path) -> None:
    ticks: list[Tick] = []
    with VariantProcess(fake(tmp_path, "slow", seconds=0.02, megabytes=64), (MAP,), 20.0) as process:
        opened = process.open()
        assert (opened.backend, opened.threads) == ("fake-cpu", 1)
        assert (process.picture(MAP) == paint(MAP.label, 0.0)[0]).all()
        run = process.run(RunQueries(queries=5, seconds=0.6), ticks.append)
        peak = process.peak_memory()
    assert len(run.samples_ms) > 5
    assert min(run.samples_ms) >= 20.0
    assert sum(run.samples_ms) / 1000 <= run.wall_seconds
    assert run.wall_seconds >= 0.6
    assert ticks
    assert 0 < ticks[0].share <= 1
    assert peak - opened.baseline_bytes > 60 << 20


def test_a_limit_ends_a_run_after_the_query_at_hand(tmp_path: Path) -> None:
    with VariantProcess(fake(tmp_path, "slow", seconds=0.05), (MAP,), 20.0) as process:
        process.open()
        assert len(process.run(RunQueries(50, 10.0, limit_seconds=0.0)).samples_ms) == 1
        run = process.run(RunQueries(50, 10.0, limit_seconds=0.12))
    assert len(run.samples_ms) < 50
    assert run.wall_seconds >= 0.12
    assert sum(run.samples_ms[:-1]) / 1000 < 0.12


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("die", BackendError, "'broken'.*SIGKILL.*memory"),
        ("exit", BackendError, "'broken'.*exit code 3"),
        ("raise", BackendError, "'broken'.*RuntimeError: no kernel \ufffd"),
        ("refuse", InputError, "'broken'.*id 9 at pixel"),
        ("float", BackendError, r"'broken'.*float32 \[1, 32, 48, 3\]"),
        ("no-open", InputError, "'broken'.*truncated; export it again"),
    ],
)
def test_failures_are_typed_and_name_the_variant(
    tmp_path: Path, how: str, kind: type[LgganError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        _first_picture(broken(tmp_path, how))


def test_a_hanging_variant_is_given_up(tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(BackendError, match=r"'broken'.*no answer within 1 s"):
        _first_picture(broken(tmp_path, "hang"), timeout=1.0)
    assert time.monotonic() - start < 15


def test_an_opener_that_cannot_travel_is_refused(tmp_path: Path) -> None:
    variant = Variant("local", tmp_path, VariantKind.ONNX, Opener(lambda: None))  # type: ignore[arg-type,return-value]
    with pytest.raises(UsageError, match=r"'local'.*top level"):
        _first_picture(variant)


def test_an_opener_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("made_at_runtime")
    exec("def opener():\n    pass", module.__dict__)
    monkeypatch.setitem(sys.modules, "made_at_runtime", module)
    with pytest.raises(UsageError, match=r"'local'.*made_at_runtime.*module"):
        _first_picture(Variant("local", tmp_path, VariantKind.ONNX, Opener(module.opener)))


def test_a_script_without_a_guard_and_its_imports_are_not_the_variants(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
ballast = b"x" * (150 << 20)
from runtime.profiler.process import VariantProcess
from runtime.profiler.worker import LabelMap
from tests.runtime.profiler.fake_variants import *
with VariantProcess(fake(Path({str(tmp_path)!r}), "light"), (LabelMap("street", street()),), 60.0) as process:
    print(process.open().baseline_bytes, process.peak_memory())
"""
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=True)
    baseline, peak = (int(word) for word in done.stdout.split())
    assert baseline <= peak < 150 << 20


def test_a_variant_that_prints_does_not_touch_standard_output(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _first_picture(broken(tmp_path, "chat"))
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "a library that talks" in captured.err


def test_a_worker_whose_parent_is_killed_ends_by_itself(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
import os, signal
from pathlib import Path
from runtime.profiler.process import VariantProcess
from tests.runtime.profiler.fake_variants import *
with VariantProcess(fake(Path({str(tmp_path)!r}), "orphan"), (), 60.0) as process:
    process.open()
    print(process._process.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    _wait_until_gone(int(done.stdout))


def _wait_until_gone(pid: int) -> None:
    """A dead process whose new parent has not asked for it yet (a zombie) counts as gone."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except OSError:
            return
        time.sleep(0.05)
    pytest.fail(f"process {pid} still runs")


def test_ctrl_c_ends_every_process_without_a_traceback(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from runtime.profiler.process import VariantProcess
from tests.runtime.profiler.fake_variants import *
from runtime.profiler.worker import LabelMap
MAP = LabelMap("street", street())
try:
    with VariantProcess(broken(Path({str(tmp_path)!r}), "hang"), (MAP,), 60.0) as process:
        process.open()
        print(process._process.pid, flush=True)
        process.picture(MAP)
except KeyboardInterrupt:
    sys.exit(130)
"""
    )
    parent = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        time.sleep(0.3)
        os.killpg(parent.pid, signal.SIGINT)  # as a terminal does: to the whole group
        _, errors = parent.communicate(timeout=20)
    finally:
        parent.kill()
        parent.wait()
    assert parent.returncode == 130
    assert "Traceback" not in errors
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
