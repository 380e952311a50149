"""What the benchmarks need of the machine: its name, a process's memory, how fast it copies."""

from __future__ import annotations

import platform
import resource
import sys
import time
from contextlib import suppress
from pathlib import Path

_COPIED = 256 * 2**20  # bytes; far beyond any cache


def peak_memory() -> float:
    """The most memory that this process has had resident, MiB.

    Linux hands `ru_maxrss` on to child processes, so that there the kernel's own table is read.
    """
    if (entry := _status("VmHWM")) is not None:
        return entry
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def resident_memory() -> float:
    """The memory that this process has resident now, MiB; where the system does not tell, the peak so far."""
    entry = _status("VmRSS")
    return peak_memory() if entry is None else entry


def forget_peak() -> None:
    """On Linux, start `peak_memory` from what is resident now."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def copy_bandwidth(threads: int, runs: int = 5) -> float:
    """Bytes read and written per second by a plain copy of memory that no cache holds, the best of some runs."""
    import torch  # here, for processes whose memory is measured without it

    torch.set_num_threads(threads)
    source = torch.ones(_COPIED // 4)
    target = torch.zeros_like(source)
    best = float("inf")
    for _ in range(runs):
        start = time.perf_counter()
        target.copy_(source)
        best = min(best, time.perf_counter() - start)
    return 2 * _COPIED / best


def machine() -> str:
    """The processor and its logical cores, the system's and Python's versions."""
    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    cores = f"{len(names)} cores, " if names else ""
    return f"{processor}, {cores}{platform.system()}, Python {platform.python_version()}"


def _status(name: str) -> float | None:
    for line in _lines("/proc/self/status"):
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 2**10
    return None


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
