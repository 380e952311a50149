"""What a model can run on here, read from the operating system and the GPU's driver; nothing is changed, nothing fails.

The machine in general (processor, memory, load) is `runtime.profiler.machine.MachineInfo`; this adds what decides which
verbs can be used.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

# What decides how fast matrix products run on a CPU: names of /proc/cpuinfo on x86 and on Arm.
VECTOR_FEATURES = (
    "avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8",
    "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve",
)  # fmt: skip
INT8_FEATURES = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")
_NVIDIA_PCI = "0x10de"
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR (cuda.h)


@dataclass(frozen=True)
class Gpu:
    """One CUDA device: its name, its compute capability such as ``sm87``, its memory in bytes."""

    name: str
    target: str
    memory_bytes: int


@dataclass(frozen=True)
class Hardware:
    """Readings; None where the system does not tell.

    Attributes:
        features: those of `VECTOR_FEATURES` that the processor has.
        free_memory_bytes: what programs can still get.
        free_disk_bytes: on the disk of the current folder.
        nvidia_device: whether an NVIDIA GPU is built in, with or without a driver.
        driver: version of the NVIDIA kernel driver.
        cuda: newest CUDA version that the driver runs, e.g. ``13.0``.
        gpus: devices that the driver offers.
        jetson: model and L4T release of a Jetson, e.g. ``Jetson Orin Nano, L4T 36.4.3``.
        power_mode: a Jetson's power mode, as `nvpmodel -q` says it.
    """

    features: tuple[str, ...]
    free_memory_bytes: int | None
    free_disk_bytes: int | None
    nvidia_device: bool
    driver: str | None
    cuda: str | None
    gpus: tuple[Gpu, ...]
    jetson: str | None
    power_mode: str | None


def read_hardware(root: Path = Path("/")) -> Hardware:
    """Read everything; ``root`` is where ``proc``, ``sys`` and ``etc`` are found."""
    cuda, gpus = _cuda()
    jetson = _jetson(root)
    return Hardware(
        features=_features(root),
        free_memory_bytes=_free_memory(root),
        free_disk_bytes=_free_disk(),
        nvidia_device=jetson is not None or _nvidia_on_the_bus(root),
        driver=_driver(root),
        cuda=cuda,
        gpus=gpus,
        jetson=jetson,
        power_mode=_power_mode() if jetson else None,
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").replace("\0", "")
    except OSError:
        return ""


def _features(root: Path) -> tuple[str, ...]:
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", _read(root / "proc/cpuinfo"), re.MULTILINE)
    have = set(flags.group(1).split()) if flags else set()
    return tuple(feature for feature in VECTOR_FEATURES if feature in have)


def _free_memory(root: Path) -> int | None:
    found = re.search(r"^MemAvailable:\s*(\d+) kB$", _read(root / "proc/meminfo"), re.MULTILINE)
    return int(found.group(1)) * 1024 if found else None


def _free_disk() -> int | None:
    try:
        return shutil.disk_usage(Path.cwd()).free
    except OSError:
        return None


def _nvidia_on_the_bus(root: Path) -> bool:
    return any(_read(vendor).strip() == _NVIDIA_PCI for vendor in (root / "sys/bus/pci/devices").glob("*/vendor"))


def _driver(root: Path) -> str | None:
    found = re.search(r"Kernel Module\D+?([0-9]+\.[0-9.]+)", _read(root / "proc/driver/nvidia/version"))
    return found.group(1) if found else None


def _jetson(root: Path) -> str | None:
    release = re.search(r"# R(\d+) \(release\), REVISION: ([\d.]+)", _read(root / "etc/nv_tegra_release"))
    if release is None:
        return None
    model = _read(root / "proc/device-tree/model").strip() or "Jetson"
    return f"{model}, L4T {release.group(1)}.{release.group(2)}"


def _power_mode() -> str | None:
    try:
        answer = subprocess.run(["nvpmodel", "-q"], capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"NV Power Mode:\s*(\S+)", answer)
    return found.group(1) if found else None


def _cuda() -> tuple[str | None, tuple[Gpu, ...]]:
    """Version and devices of the driver, asked through its C interface (present wherever a driver is)."""
    try:
        cuda = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return None, ()
    try:
        number = ctypes.c_int()
        version = None
        if cuda.cuDriverGetVersion(ctypes.byref(number)) == 0:
            version = f"{number.value // 1000}.{number.value % 1000 // 10}"
        if cuda.cuInit(0) != 0 or cuda.cuDeviceGetCount(ctypes.byref(number)) != 0:
            return version, ()
        return version, tuple(_gpu(cuda, index) for index in range(number.value))
    except AttributeError:  # a stub library without these functions
        return None, ()


def _gpu(cuda: ctypes.CDLL, index: int) -> Gpu:
    device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    name, memory = ctypes.create_string_buffer(256), ctypes.c_size_t()
    cuda.cuDeviceGet(ctypes.byref(device), index)
    cuda.cuDeviceGetName(name, len(name), device)
    cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    cuda.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, device)
    cuda.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, device)
    return Gpu(name.value.decode(errors="replace"), f"sm{major.value}{minor.value}", memory.value)
