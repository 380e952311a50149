"""Variants without a model behind them: they paint with numpy, wait, and misbehave on request.

Everything here is at the module's top level, because it travels to other processes by name.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from runtime.contract.card import ClassInfo
from runtime.contract.errors import InputError
from runtime.profiler.machine import MachineInfo
from runtime.profiler.options import ProfileOptions
from runtime.profiler.quality import QualitySummary, compare_pictures
from runtime.profiler.report import (
    DataInfo,
    Diagnosis,
    PictureStrip,
    ProfileReport,
    ReferenceInfo,
    VariantReport,
)
from runtime.profiler.statistics import LatencyStatistics
from runtime.profiler.summary import summarize
from runtime.profiler.variant import Opener, Variant, VariantKind
from runtime.profiler.worker import LabelMap

CLASSES = (
    ClassInfo("sky", (128, 128, 128)),
    ClassInfo("building", (128, 0, 0)),
    ClassInfo("road", (128, 64, 128)),
    ClassInfo("tree", (128, 128, 0)),
)
FAST = ProfileOptions(
    iterations=12, seconds=0.0, rounds=3, warmup_iterations=1, warmup_seconds=0.0, timeout_seconds=20.0
)


def street(height: int = 32, width: int = 48, seed: int = 0) -> np.ndarray:
    """A label map uint8 [H, W] with the four classes: sky, houses, a road that narrows, a tree."""
    generator = np.random.default_rng(seed)
    label = np.zeros((height, width), np.uint8)
    horizon = int(height * (0.4 + 0.15 * generator.random()))
    for left in range(0, width, max(width // 6, 1)):
        label[int(horizon * generator.random() * 0.8) : horizon + height // 8, left : left + width // 7] = 1
    for row in range(horizon, height):
        half = int((row - horizon + 2) / (height - horizon) * width * 0.55)
        label[row, max(width // 2 - half, 0) : width // 2 + half] = 2
    label[horizon - height // 6 : horizon + height // 6, width // 8 : width // 5] = 3
    return label


def maps(count: int = 3, height: int = 32, width: int = 48) -> list[LabelMap]:
    return [LabelMap(f"street {number}", street(height, width, number)) for number in range(count)]


def paint(label: np.ndarray, noise: float) -> np.ndarray:
    """The same picture for the same label map, uint8 [1, H, W, 3]; noise of its own pattern on top."""
    colors = np.array([(150, 180, 220), (160, 120, 100), (90, 90, 95), (60, 110, 50)], np.float64)
    rows = np.linspace(0.75, 1.1, label.shape[0])[:, None, None]
    picture = colors[np.minimum(label, 3)] * rows
    picture += np.random.default_rng(1).normal(0, 12, (*label.shape, 3))
    picture += np.random.default_rng(2).normal(0, 1, (*label.shape, 3)) * noise
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)[None]


class FakeMaker:
    """Paints with ``noise`` grey levels of error and takes ``seconds`` longer than that."""

    backend = "fake-cpu"
    threads = 1

    def __init__(self, noise: float, seconds: float, megabytes: int) -> None:
        self._noise = noise
        self._seconds = seconds
        self._ballast = np.ones(megabytes << 17)

    def generate(
        self, label: np.ndarray, instance: np.ndarray | None = None, source: np.ndarray | None = None
    ) -> np.ndarray:
        time.sleep(self._seconds)
        return paint(label, self._noise)

    def close(self) -> None:
        self._ballast = np.ones(0)


class BrokenMaker(FakeMaker):
    """Does what ``how`` says when it is asked for a picture."""

    def __init__(self, how: str) -> None:
        super().__init__(0.0, 0.0, 0)
        self._how = how

    def generate(
        self, label: np.ndarray, instance: np.ndarray | None = None, source: np.ndarray | None = None
    ) -> np.ndarray:
        if self._how == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self._how == "exit":
            os._exit(3)
        if self._how == "hang":
            time.sleep(600)
        if self._how == "raise":
            raise RuntimeError("no kernel \x1b[31mimage\x1b[0m")
        if self._how == "refuse":
            raise InputError("id 9 at pixel (3, 4) is no class of this model")
        if self._how == "float":
            return np.zeros((1, *label.shape, 3), np.float32)
        if self._how == "small":
            return np.zeros((1, 16, 16, 3), np.uint8)
        if self._how == "chat":
            sys.stdout.write("a library that talks\n")
            sys.stdout.flush()
        return paint(label, 0.0)


def open_fake(noise: float, seconds: float, megabytes: int) -> FakeMaker:
    return FakeMaker(noise, seconds, megabytes)


def open_broken(how: str) -> BrokenMaker:
    if how == "no-open":
        raise InputError("the file is truncated; export it again")
    return BrokenMaker(how)


def fake(folder: Path, name: str, noise: float = 0.0, seconds: float = 0.0, megabytes: int = 0) -> Variant:
    return _variant(folder, name, Opener(open_fake, (noise, seconds, megabytes)))


def broken(folder: Path, how: str, name: str = "broken") -> Variant:
    return _variant(folder, name, Opener(open_broken, (how,)))


def _variant(folder: Path, name: str, opener: Opener) -> Variant:
    path = folder / f"{name.encode().hex()[:60]}.onnx"
    path.write_bytes(b"x" * 2048)
    return Variant(name, path, VariantKind.ONNX, opener)


class Bar:
    """A progress that adds up."""

    def __init__(self) -> None:
        self.tasks: list[tuple[str, float | None]] = []
        self.steps = 0.0
        self.notes: list[str] = []

    def task(self, name: str, total: float | None = None) -> Bar:
        self.tasks.append((name, total))
        return self

    def advance(self, steps: float = 1.0, note: str = "") -> None:
        assert steps >= 0
        self.steps += steps
        self.notes.append(note)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def report_of(
    figures: list[tuple[str, float, float | None]],
    *,
    count: int = 70,
    strips: int = 2,
    size: tuple[int, int] = (32, 48),
    backend: str = "fake-cpu",
    diagnoses: tuple[Diagnosis, ...] = (),
) -> ProfileReport:
    """A report without a measurement: (name, median in ms, noise of the pictures or None for the reference)."""
    labels = [street(*size, seed) for seed in range(max(strips, 1))]
    expected = [paint(label, 0.0)[0] for label in labels]
    made = [[paint(label, noise or 0.0)[0] for label in labels] for _, _, noise in figures]
    qualities = [
        [None if noise is None else compare_pictures(a, b) for a, b in zip(expected, pictures, strict=True)]
        for (_, _, noise), pictures in zip(figures, made, strict=True)
    ]
    variants = []
    for (name, median_ms, noise), own in zip(figures, qualities, strict=True):
        samples = tuple(median_ms * (1 + 0.1 * (i - count // 2) / count) for i in range(count))
        variants.append(
            VariantReport(
                name=name,
                path=f"models/{name}.onnx",
                kind="onnx",
                backend=backend,
                precision=None,
                threads=2,
                file_bytes=7_600_000,
                file_sha256="0" * 64,
                open_seconds=0.25,
                latency=LatencyStatistics.from_samples(samples),
                throughput=1000 / median_ms,
                baseline_bytes=31_000_000,
                peak_bytes=231_000_000,
                quality=None if noise is None else QualitySummary.of([q for q in own if q is not None]),
                round_medians_ms=tuple(median_ms for _ in range(10)),
                samples_ms=samples,
            )
        )
    measured = any(noise is None for _, _, noise in figures)
    name = next((name for name, _, noise in figures if noise is None), "FP32 PyTorch")
    reference = ReferenceInfo(name, f"models/{name}", "checkpoint", backend if measured else "pytorch-cpu", measured)
    return ProfileReport(
        machine=MachineInfo.here(),
        options=ProfileOptions(),
        data=DataInfo(max(strips, 1), "f" * 64, ((size[1], size[0]),)),
        reference=reference,
        variants=tuple(variants),
        diagnoses=diagnoses,
        summary=summarize(variants, reference),
        strips=tuple(
            PictureStrip(
                name=f"street {number}",
                label=np.array([info.color for info in CLASSES], np.uint8)[labels[number]],
                reference=expected[number],
                pictures=tuple(pictures[number] for pictures in made),
                qualities=tuple(own[number] for own in qualities),
            )
            for number in range(strips)
        ),
    )
