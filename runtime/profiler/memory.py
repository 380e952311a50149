"""How much memory this process has taken."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_memory() -> int:
    """Largest resident set of this process so far, bytes.

    Linux's VmHWM where there is one. `resource.getrusage` is only the fallback: its maximum survives exec, so a
    process started by a large parent (one that has PyTorch loaded) would report the parent's size as its own.
    """
    kilobytes = _status_field("VmHWM")
    if kilobytes is not None:
        return kilobytes * 1024
    maximum = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return maximum if sys.platform == "darwin" else maximum * 1024  # macOS counts bytes, the others kilobytes


def resident_memory() -> int:
    """Resident set of this process now, bytes; the peak where the system does not tell."""
    kilobytes = _status_field("VmRSS")
    return peak_memory() if kilobytes is None else kilobytes * 1024


def _status_field(name: str) -> int | None:
    try:
        for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key == name:
                return int(value.split()[0])
    except (OSError, ValueError, IndexError):
        pass
    return None
