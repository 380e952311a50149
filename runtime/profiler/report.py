"""The result of a profile: every figure, where it was measured, and what to doubt about it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.profiler.machine import MachineInfo
from runtime.profiler.options import ProfileOptions
from runtime.profiler.quality import PictureQuality, QualitySummary
from runtime.profiler.statistics import LatencyStatistics

REPORT_KIND = "lggan-profile"
REPORT_SCHEMA = 1


@dataclass(frozen=True)
class Diagnosis:
    """One reason to doubt or to mind a figure.

    Attributes:
        code: stable name for machines, e.g. ``latency-varies``.
        variants: the names of those it concerns; empty for the whole measurement.
        message: what was seen, with its value, and what to do about it.
    """

    code: str
    variants: tuple[str, ...]
    message: str


@dataclass(frozen=True)
class DataInfo:
    """The inputs: how many, SHA-256 over names and contents, the sizes (width, height) that occur."""

    count: int
    sha256: str
    sizes: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class ReferenceInfo:
    """Whose pictures the others are compared with; ``measured`` tells whether it is one of the variants too."""

    name: str
    path: str
    kind: str
    backend: str
    measured: bool


@dataclass(frozen=True)
class VariantReport:
    """All figures of one variant; a latency is that of one query, batch 1, host memory to host memory.

    Attributes:
        name, path, kind: as given, made printable.
        backend: what computed.
        precision: of the graph's types, from the card; None where there is none.
        threads: that one query may use on the host; None where the backend does not tell.
        file_bytes, file_sha256: of the file.
        open_seconds: from the call to the variant being ready, imports included.
        latency: summary of ``samples_ms``.
        throughput: pictures per second, one at a time, back to back.
        baseline_bytes: resident memory of the measuring process before opening.
        peak_bytes: its largest resident memory; device memory is not in it.
        quality: against the reference's pictures; None for the reference itself.
        round_medians_ms: median latency of each round, in the order of time.
        samples_ms: every latency, in the order of time.
    """

    name: str
    path: str
    kind: str
    backend: str
    precision: str | None
    threads: int | None
    file_bytes: int
    file_sha256: str
    open_seconds: float
    latency: LatencyStatistics
    throughput: float
    baseline_bytes: int
    peak_bytes: int
    quality: QualitySummary | None
    round_medians_ms: tuple[float, ...]
    samples_ms: tuple[float, ...]

    @property
    def closeness(self) -> float:
        """PSNR to the reference, dB; infinite for the reference itself and for pictures identical to its."""
        return math.inf if self.quality is None else self.quality.psnr_db


@dataclass(frozen=True)
class PictureStrip:
    """The pictures of one label map: uint8 [H, W, 3] each; ``pictures`` and ``qualities`` in the variants' order.

    ``label`` is the painted label map; where there is a source photo, [H, 2 W, 3], the photo is on its left.
    A quality is None for the reference itself.
    """

    name: str
    label: NDArray[np.uint8]
    reference: NDArray[np.uint8]
    pictures: tuple[NDArray[np.uint8], ...]
    qualities: tuple[PictureQuality | None, ...]


@dataclass(frozen=True)
class ProfileReport:
    """Everything that a profile found out; `to_dict` leaves the pixels of the strips out."""

    machine: MachineInfo
    options: ProfileOptions
    data: DataInfo
    reference: ReferenceInfo
    variants: tuple[VariantReport, ...]
    diagnoses: tuple[Diagnosis, ...] = ()
    summary: tuple[str, ...] = ()
    strips: tuple[PictureStrip, ...] = field(default=(), repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values. Infinite PSNRs are null beside ``identical``; percentiles that were refused are null."""
        return {
            "kind": REPORT_KIND,
            "schema": REPORT_SCHEMA,
            "created": self.machine.date_utc,
            "summary": list(self.summary),
            "machine": asdict(self.machine),
            "options": {**asdict(self.options), "percentiles": list(self.options.percentiles)},
            "data": {"count": self.data.count, "sha256": self.data.sha256, "sizes": [list(s) for s in self.data.sizes]},
            "reference": asdict(self.reference),
            "variants": [_variant_dict(variant) for variant in self.variants],
            "diagnoses": [{**asdict(item), "variants": list(item.variants)} for item in self.diagnoses],
            "pictures": [
                {"name": strip.name, "qualities": [_picture_dict(quality) for quality in strip.qualities]}
                for strip in self.strips
            ],
        }

    def to_json(self) -> str:
        """`to_dict` as indented JSON, without NaN or infinity."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _variant_dict(variant: VariantReport) -> dict[str, Any]:
    latency = variant.latency
    return {
        "name": variant.name,
        "path": variant.path,
        "kind": variant.kind,
        "backend": variant.backend,
        "precision": variant.precision,
        "threads": variant.threads,
        "file": {"bytes": variant.file_bytes, "sha256": variant.file_sha256},
        "open_seconds": variant.open_seconds,
        "latency_ms": {
            "count": latency.count,
            "mean": latency.mean_ms,
            "std": latency.std_ms,
            "variation": latency.variation,
            "min": latency.min_ms,
            "max": latency.max_ms,
            "median": latency.median_ms,
            "percentiles": [
                {"percentile": entry.percentile, "value": entry.value_ms, "needed_samples": entry.needed}
                for entry in latency.percentiles
            ],
        },
        "throughput_per_second": variant.throughput,
        "host_memory": {"baseline_bytes": variant.baseline_bytes, "peak_bytes": variant.peak_bytes},
        "quality": None if variant.quality is None else _quality_dict(variant.quality),
        "round_medians_ms": list(variant.round_medians_ms),
        "samples_ms": [round(sample, 4) for sample in variant.samples_ms],
    }


def _quality_dict(quality: QualitySummary) -> dict[str, Any]:
    return {
        "pictures": quality.pictures,
        "identical_pictures": quality.identical,
        "identical": quality.identical == quality.pictures,
        "psnr_db": _finite(quality.psnr_db),
        "worst_psnr_db": _finite(quality.worst_psnr_db),
        "ssim": quality.ssim,
        "worst_ssim": quality.worst_ssim,
        "largest_difference": quality.largest,
    }


def _picture_dict(quality: PictureQuality | None) -> dict[str, Any] | None:
    if quality is None:
        return None
    return {
        "identical": quality.identical,
        "psnr_db": _finite(quality.psnr_db),
        "ssim": quality.ssim,
        "largest_difference": quality.largest,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
