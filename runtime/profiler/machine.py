"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

from runtime.profiler.text import printable

_PACKAGES = ("lggan-edge", "numpy", "onnxruntime", "onnxruntime-gpu", "torch", "tensorrt", "tensorrt-rtx")


@dataclass(frozen=True)
class MachineInfo:
    """The machine and its state before the measurement; None is what the system does not tell.

    Attributes:
        cpu: model name, or the board's on Jetson.
        cores, usable_cores: logical cores, and those that this process may run on.
        memory_bytes: main memory.
        system: operating system and kernel.
        architecture: e.g. ``x86_64``, ``aarch64``.
        python: version of the interpreter.
        packages: versions of the installed packages that can take part, by name.
        load: mean number of running processes over the last minute.
        governor: frequency governor of the first core.
        date_utc: ISO 8601, seconds.
    """

    cpu: str
    cores: int
    usable_cores: int
    memory_bytes: int | None
    system: str
    architecture: str
    python: str
    packages: dict[str, str]
    load: float | None
    governor: str | None
    date_utc: str

    @classmethod
    def here(cls) -> MachineInfo:
        """This machine, now."""
        cores = os.cpu_count() or 1
        return cls(
            cpu=_cpu_name(),
            cores=cores,
            usable_cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores,
            memory_bytes=_memory_bytes(),
            system=printable(f"{platform.system()} {platform.release()}"),
            architecture=platform.machine(),
            python=platform.python_version(),
            packages=_versions(),
            load=_load(),
            governor=_first_line(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
            date_utc=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return printable(value.strip())
    board = _first_line(Path("/proc/device-tree/model"))  # ARM kernels name the board, not the core
    return board or printable(platform.processor() or platform.machine())


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def _load() -> float | None:
    try:
        return os.getloadavg()[0]
    except OSError:
        return None


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)  # read from the installation's files: nothing is imported
        except metadata.PackageNotFoundError:
            continue
    return found


def _first_line(path: Path) -> str | None:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return printable(text.rstrip("\0\n")) or None
