"""Whether this machine has what each verb needs, and the command that brings what is missing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from runtime.hardware import INT8_FEATURES, Hardware, read_hardware
from runtime.profiler.machine import MachineInfo

DISTRIBUTION = "lggan-edge"
LEAST_PYTHON = (3, 10)
_GIBIBYTE = 1 << 30
_LEAST_DISK = 2 * _GIBIBYTE
_LEAST_MEMORY = 2 * _GIBIBYTE


class Status(str, Enum):
    """Verdict on one reading."""

    OK = "ok"
    MISSING = "missing"  # some verbs cannot be used; the others can
    PROBLEM = "problem"  # it is there, and stands in the way


@dataclass(frozen=True)
class Reading:
    """One line: what was looked at, what was found, and what to do about it (empty where nothing needs doing)."""

    area: str
    name: str
    status: Status
    value: str
    fix: str = ""


@dataclass(frozen=True)
class Package:
    """A package of `pyproject.toml`: names to look for, the extra that brings it, the least version, what it is for."""

    name: str
    module: str
    extra: str
    least: str
    purpose: str
    other_names: tuple[str, ...] = ()


PACKAGES = (
    Package("numpy", "numpy", "", "1.26", "arrays"),
    Package("Pillow", "PIL", "", "10.3", "pictures"),
    Package("onnxruntime", "onnxruntime", "", "1.20", "infer", ("onnxruntime-gpu", "onnxruntime-rocm")),
    Package("click", "click", "", "8.1.8", "the command line"),
    Package("rich", "rich", "", "13.9", "tables and bars"),
    Package("torch", "torch", "train", "2.10", "train, evaluate, export"),
    Package("safetensors", "safetensors", "train", "0.5", "checkpoints"),
    Package("tensorboard", "tensorboard", "train", "2.18", "training curves"),
    Package("onnx", "onnx", "export", "1.21", "export, calibrate, build"),
    Package("onnxscript", "onnxscript", "export", "0.7", "export"),
    Package("jinja2", "jinja2", "report", "3.1.6", "the report of profile"),
    Package("tensorrt-rtx", "tensorrt_rtx", "tensorrt-rtx", "1.7.1.116", "engines for RTX cards", ("tensorrt_rtx",)),
    Package("tensorrt", "tensorrt", "tensorrt", "10.3", "engines for a Jetson or a server", ("tensorrt-cu13",)),
    Package("cuda-python", "cuda", "tensorrt", "12.6", "calls to the GPU", ("cuda-bindings",)),
    Package("polygraphy", "polygraphy", "tensorrt", "0.49.14", "a look into engines"),
    Package("pycuda", "pycuda", "pycuda", "2024.1", "calls to the GPU, the older way"),
)


def examine(root: Path = Path("/")) -> tuple[Reading, ...]:
    """Look at everything. Never raises: what cannot be read is a reading too."""
    hardware = read_hardware(root)
    return (*_system(MachineInfo.here(), hardware), *_gpu(hardware), *_packages(), *_backends(hardware))


def _system(machine: MachineInfo, hardware: Hardware) -> Iterator[Reading]:
    old = sys.version_info < LEAST_PYTHON
    least = ".".join(map(str, LEAST_PYTHON))
    yield Reading(
        "system",
        "python",
        Status.PROBLEM if old else Status.OK,
        f"{machine.python}, {sys.executable}",
        f"use Python {least} or newer" if old else "",
    )
    yield Reading("system", DISTRIBUTION, *_own_version())
    yield Reading("system", "platform", Status.OK, f"{machine.system} {machine.architecture}")
    cores = f"{machine.usable_cores} of {machine.cores} cores usable"
    yield Reading("system", "processor", Status.OK, f"{machine.cpu}, {cores}")
    features = " ".join(hardware.features) or "not known"
    if not any(feature in INT8_FEATURES for feature in hardware.features):
        features += " (no INT8 dot products: INT8 models are small here, not fast)"
    yield Reading("system", "features", Status.OK, features)
    total = machine.memory_bytes
    yield _amount("memory", hardware.free_memory_bytes, total, _LEAST_MEMORY, "close other programs")
    yield _amount("disk", hardware.free_disk_bytes, None, _LEAST_DISK, "free some space, or work in another folder")


def _own_version() -> tuple[Status, str, str]:
    try:
        return Status.OK, importlib.metadata.version(DISTRIBUTION), ""
    except importlib.metadata.PackageNotFoundError:
        return Status.MISSING, "run from the source folder, not installed", "pip install ."


def _amount(name: str, free: int | None, total: int | None, least: int, cure: str) -> Reading:
    if free is None:
        return Reading("system", name, Status.OK, "not known")
    of = f" of {total / _GIBIBYTE:.1f}" if total else ""
    low = free < least
    value = f"{free / _GIBIBYTE:.1f}{of} GiB free"
    return Reading("system", name, Status.PROBLEM if low else Status.OK, value, cure if low else "")


def _gpu(hardware: Hardware) -> Iterator[Reading]:
    if hardware.jetson:
        mode = f", power mode {hardware.power_mode}" if hardware.power_mode else ""
        yield Reading("gpu", "jetson", Status.OK, hardware.jetson + mode)
    if not hardware.nvidia_device and not hardware.gpus:
        yield Reading("gpu", "nvidia gpu", Status.MISSING, "none in this machine; everything runs on the CPU")
        return
    if hardware.gpus:
        cuda = f", CUDA up to {hardware.cuda}" if hardware.cuda else ""
        yield Reading("gpu", "driver", Status.OK, f"{hardware.driver or 'version not known'}{cuda}")
        for gpu in hardware.gpus:
            size = f"{gpu.memory_bytes / _GIBIBYTE:.1f} GiB"
            yield Reading("gpu", "device", Status.OK, f"{gpu.name}, {gpu.target}, {size}")
    elif hardware.driver or hardware.cuda:
        yield Reading(
            "gpu",
            "driver",
            Status.PROBLEM,
            f"{hardware.driver or 'a driver'} is there but offers no device",
            "nvidia-smi tells why; in a container, start it with --gpus all (or --runtime nvidia)",
        )
    else:
        yield Reading("gpu", "driver", Status.MISSING, "an NVIDIA GPU without a driver", "install the NVIDIA driver")


def _packages() -> Iterator[Reading]:
    for package in PACKAGES:
        cure = f"pip install '.[{package.extra}]'" if package.extra else "pip install ."
        version = _version_of(package)
        if version is None:
            # the base install promises its packages; without one of them nothing runs
            status = Status.MISSING if package.extra else Status.PROBLEM
            yield Reading("packages", package.name, status, package.purpose, cure)
        elif _numbers(version) < _numbers(package.least):
            value = f"{version} is older than {package.least} ({package.purpose})"
            yield Reading("packages", package.name, Status.PROBLEM, value, cure)
        else:
            yield Reading("packages", package.name, Status.OK, f"{version} ({package.purpose})")


def _version_of(package: Package) -> str | None:
    """Version of an installed package without importing it; ``unknown`` where it has none (Debian's, a Jetson's)."""
    try:
        if importlib.util.find_spec(package.module) is None:
            return None
    except (ImportError, ValueError):
        return None
    for name in (package.name, *package.other_names):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown version"


def _numbers(version: str) -> tuple[int, ...]:
    """``2.13.0+cpu`` -> (2, 13, 0); larger than everything where there is no number, so that it passes."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in found.group().split(".")) if found else (1 << 30,)


def _backends(hardware: Hardware) -> Iterator[Reading]:
    yield _onnxruntime(hardware)
    torch = importlib.util.find_spec("torch")
    if torch is not None and torch.origin:
        yield _torch(Path(torch.origin).with_name("version.py"), hardware)


def _onnxruntime(hardware: Hardware) -> Reading:
    title = "ONNX Runtime"
    try:
        import onnxruntime

        names = onnxruntime.get_available_providers()
    except Exception as error:  # a broken installation raises whatever its loader raises
        value = f"cannot be loaded: {(str(error) or type(error).__name__).splitlines()[0][:160]}"
        return Reading("backends", title, Status.PROBLEM, value, "pip install --force-reinstall onnxruntime")
    providers = [str(name).removesuffix("ExecutionProvider") for name in names]
    value = ", ".join(providers)
    if hardware.gpus and "CUDA" not in providers:
        cure = "pip uninstall onnxruntime, then pip install onnxruntime-gpu"
        return Reading("backends", title, Status.MISSING, f"{value}; it does not know the GPU", cure)
    return Reading("backends", title, Status.OK, value)


def _torch(version_file: Path, hardware: Hardware) -> Reading:
    """What PyTorch was built for, from its version file: importing it takes seconds, and this room never does."""
    try:
        found = re.search(r"^cuda\b[^=]*=\s*['\"]([\d.]+)['\"]", version_file.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    if found:
        return Reading("backends", "PyTorch", Status.OK, f"built for CUDA {found.group(1)}")
    if hardware.gpus:
        cure = "install the CUDA build, see pytorch.org"
        return Reading("backends", "PyTorch", Status.MISSING, "built without CUDA", cure)
    return Reading("backends", "PyTorch", Status.OK, "built without CUDA")
