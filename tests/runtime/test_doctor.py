"""The doctor on machines that this is not: a Jetson, a server, a broken installation."""

from __future__ import annotations

import ctypes
import importlib.metadata
import subprocess
from pathlib import Path
from typing import Any

import pytest

from runtime import doctor, hardware
from runtime.doctor import Reading, Status, examine
from runtime.hardware import Gpu, read_hardware

JETSON_CPU = "processor\t: 0\nFeatures\t: fp asimd aes asimdhp asimddp\n"


@pytest.fixture
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)


def by_name(readings: tuple[Reading, ...]) -> dict[str, Reading]:
    return {reading.name: reading for reading in readings}


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.mark.usefixtures("no_driver")
def test_an_empty_machine_is_read_without_a_failure(tmp_path: Path) -> None:
    found = read_hardware(tmp_path)
    assert (found.features, found.free_memory_bytes, found.nvidia_device, found.driver, found.gpus) == (
        (), None, False, None, (),
    )  # fmt: skip
    readings = by_name(examine(tmp_path))
    assert readings["nvidia gpu"].status is Status.MISSING
    assert readings["memory"].value == "not known"
    assert "no INT8 dot products" in readings["features"].value


@pytest.mark.usefixtures("no_driver")
def test_a_jetson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "etc/nv_tegra_release", "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n")
    write(tmp_path, "proc/device-tree/model", "NVIDIA Jetson Orin Nano Developer Kit\0")
    write(tmp_path, "proc/cpuinfo", JETSON_CPU)
    write(tmp_path, "proc/meminfo", "MemTotal:        7802000 kB\nMemAvailable:    1048576 kB\n")
    answer = subprocess.CompletedProcess(["nvpmodel"], 0, "NV Power Mode: MAXN_SUPER\n2\n", "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    readings = by_name(examine(tmp_path))
    assert readings["jetson"].value == "NVIDIA Jetson Orin Nano Developer Kit, L4T 36.4.3, power mode MAXN_SUPER"
    assert readings["features"].value == "asimd asimdhp asimddp"
    assert readings["memory"].status is Status.PROBLEM  # 1 GiB free
    assert readings["memory"].fix


@pytest.mark.usefixtures("no_driver")
@pytest.mark.parametrize(
    ("driver_file", "status", "words"), [("", Status.MISSING, "without a driver"), ("x", Status.PROBLEM, "580.95.05")]
)
def test_a_gpu_that_cannot_be_used(driver_file: str, status: Status, words: str, tmp_path: Path) -> None:
    write(tmp_path, "sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de\n")
    if driver_file:
        text = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep 23 2025\nGCC version: 12\n"
        write(tmp_path, "proc/driver/nvidia/version", text)
    reading = by_name(examine(tmp_path))["driver"]
    assert reading.status is status
    assert words in reading.value
    assert reading.fix


def test_a_gpu_that_the_driver_offers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver library that answers as CUDA's does, through the same pointers."""

    class Driver:
        def cuInit(self, flags: int) -> int:  # noqa: N802
            return 0

        def cuDriverGetVersion(self, out: Any) -> int:  # noqa: N802
            out._obj.value = 13020
            return 0

        def cuDeviceGetCount(self, out: Any) -> int:  # noqa: N802
            out._obj.value = 1
            return 0

        def cuDeviceGet(self, out: Any, index: int) -> int:  # noqa: N802
            out._obj.value = index
            return 0

        def cuDeviceGetName(self, buffer: Any, length: int, device: Any) -> int:  # noqa: N802
            buffer.value = b"Orin"
            return 0

        def cuDeviceTotalMem_v2(self, out: Any, device: Any) -> int:  # noqa: N802
            out._obj.value = 8 << 30
            return 0

        def cuDeviceGetAttribute(self, out: Any, attribute: int, device: Any) -> int:  # noqa: N802
            out._obj.value = {75: 8, 76: 7}[attribute]
            return 0

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver())
    found = read_hardware(tmp_path)
    assert found.cuda == "13.2"
    assert found.gpus == (Gpu("Orin", "sm87", 8 << 30),)
    readings = by_name(examine(tmp_path))
    assert readings["device"].value == "Orin, sm87, 8.0 GiB"
    assert readings["ONNX Runtime"].status is Status.MISSING  # the CPU build beside a usable GPU
    assert "onnxruntime-gpu" in readings["ONNX Runtime"].fix


def test_missing_and_old_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.5.1" if name == "torch" else real(name))
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: object() if name == "torch" else None)
    readings = {reading.name: reading for reading in doctor._packages()}
    assert readings["torch"].status is Status.PROBLEM
    assert "2.5.1 is older than 2.10" in readings["torch"].value
    assert readings["onnx"] == Reading(
        "packages", "onnx", Status.MISSING, "export, calibrate, build", "pip install '.[export]'"
    )
    assert readings["numpy"].status is Status.PROBLEM  # the base install promises it
    assert readings["numpy"].fix == "pip install ."


@pytest.mark.parametrize(
    ("version", "numbers"), [("2.13.0+cpu", (2, 13, 0)), ("1.7.1.116", (1, 7, 1, 116)), ("unknown", (1 << 30,))]
)
def test_versions_as_numbers(version: str, numbers: tuple[int, ...]) -> None:
    assert doctor._numbers(version) == numbers


def test_a_broken_onnxruntime_is_a_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    def fail() -> list[str]:
        raise ImportError("libcudart.so.12: cannot open shared object file\nmore")

    monkeypatch.setattr(onnxruntime, "get_available_providers", fail)
    reading = doctor._onnxruntime(read_hardware())
    assert reading.status is Status.PROBLEM
    assert "libcudart.so.12" in reading.value
    assert "more" not in reading.value


@pytest.mark.parametrize(
    ("text", "value"),
    [("cuda: Optional[str] = '13.0'\n", "built for CUDA 13.0"), ("cuda: Optional[str] = None\n", "built without CUDA")],
)
def test_what_pytorch_was_built_for(text: str, value: str, tmp_path: Path) -> None:
    (tmp_path / "version.py").write_text(f"__version__ = '2.13.0'\n{text}hip = None\n", encoding="utf-8")
    assert doctor._torch(tmp_path / "version.py", read_hardware()).value == value


def test_power_mode_without_the_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise FileNotFoundError("nvpmodel")

    monkeypatch.setattr(subprocess, "run", fail)
    assert hardware._power_mode() is None
