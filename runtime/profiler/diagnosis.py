"""Self-diagnoses of a measurement, after trtexec's example: what the figures cannot say of themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runtime.profiler.machine import MachineInfo
from runtime.profiler.measure import Timing
from runtime.profiler.report import DataInfo, Diagnosis, VariantReport
from runtime.profiler.statistics import median

CALM_VARIATION = 0.025  # trtexec warns above this coefficient of variation
CALM_DRIFT = 0.05
CALM_LOAD = 0.25  # running processes per core


def diagnose(
    variants: Sequence[VariantReport], timings: Sequence[Timing], machine: MachineInfo, data: DataInfo
) -> tuple[Diagnosis, ...]:
    """Look over a finished measurement; ``timings`` belong to ``variants``, in the same order."""
    found = [
        _busy(machine),
        _mixed_sizes(data),
        _several_backends(variants),
        _widened(variants),
        _cut_short(timings),
        *_refused(variants),
        _varies(variants),
        _drifts(variants),
    ]
    return tuple(diagnosis for diagnosis in found if diagnosis is not None)


def _busy(machine: MachineInfo) -> Diagnosis | None:
    if machine.load is None or machine.load <= CALM_LOAD * machine.cores:
        return None
    return Diagnosis(
        "machine-busy",
        (),
        f"On average {machine.load:.1f} processes were running on {machine.cores} cores in the minute before the "
        "measurement; on a quiet machine latencies are shorter: measure again when it is idle.",
    )


def _mixed_sizes(data: DataInfo) -> Diagnosis | None:
    if len(data.sizes) < 2:
        return None
    sizes = ", ".join(f"{width}x{height}" for width, height in data.sizes[:4]) + ", ..." * (len(data.sizes) > 4)
    return Diagnosis(
        "sizes-mixed",
        (),
        f"The label maps have {len(data.sizes)} sizes ({sizes}), and the latencies mix them: profile each size alone.",
    )


def _several_backends(variants: Sequence[VariantReport]) -> Diagnosis | None:
    backends = sorted({variant.backend for variant in variants})
    if len(backends) < 2:
        return None
    return Diagnosis(
        "backends-differ",
        (),
        f"The variants ran on {len(backends)} backends ({', '.join(backends)}): differences in latency and memory are "
        "those of the backends too.",
    )


def _widened(variants: Sequence[VariantReport]) -> Diagnosis | None:
    names = tuple(v.name for v in variants if v.precision == "fp16" and v.backend == "onnxruntime-cpu")
    if not names:
        return None
    return Diagnosis(
        "fp16-widened",
        names,
        "ONNX Runtime's CPU backend computes FP16 graphs in FP32: latency and pictures show the rounded weights, not "
        "what a GPU does. The card's figures (lggan inspect) are those with every tensor rounded to FP16.",
    )


def _cut_short(timings: Sequence[Timing]) -> Diagnosis | None:
    if all(timing.complete for timing in timings):
        return None
    rounds = min(len(timing.round_medians_ms) for timing in timings)
    return Diagnosis(
        "deadline-reached",
        (),
        f"The deadline ended the measurement after {rounds} round{'s' if rounds != 1 else ''}, with fewer queries than "
        "asked for: give it more time.",
    )


def _refused(variants: Sequence[VariantReport]) -> list[Diagnosis]:
    """One per percentile that some variant's samples cannot carry."""
    counts: dict[tuple[str, int], list[VariantReport]] = {}
    for variant in variants:
        for entry in variant.latency.percentiles:
            if entry.value_ms is None:
                counts.setdefault((entry.name, entry.needed), []).append(variant)
    return [
        Diagnosis(
            "percentile-refused",
            tuple(variant.name for variant in concerned),
            f"{name} is not shown for {_list((v.name, f'{v.latency.count} samples') for v in concerned)}: with 99 % "
            f"confidence it takes {needed}. Pass --iterations {needed}.",
        )
        for (name, needed), concerned in counts.items()
    ]


def _varies(variants: Sequence[VariantReport]) -> Diagnosis | None:
    concerned = [variant for variant in variants if variant.latency.variation > CALM_VARIATION]
    if not concerned:
        return None
    return Diagnosis(
        "latency-varies",
        tuple(variant.name for variant in concerned),
        f"The latency varies: {_list((v.name, f'{v.latency.variation * 100:.1f} %') for v in concerned)} (standard "
        f"deviation over mean; up to {CALM_VARIATION * 100:g} % is calm). Other programs or changing clocks disturb "
        "it: close them, fix the CPU's frequency governor, or compare medians only.",
    )


def _drifts(variants: Sequence[VariantReport]) -> Diagnosis | None:
    drifts = [(variant.name, _drift(variant.round_medians_ms)) for variant in variants]
    concerned = [(name, drift) for name, drift in drifts if abs(drift) > CALM_DRIFT]
    if not concerned:
        return None
    return Diagnosis(
        "latency-drifts",
        tuple(name for name, _ in concerned),
        f"The median latency moved from the first third of the rounds to the last: "
        f"{_list((name, f'{drift * 100:+.1f} %') for name, drift in concerned)}. The machine was warming up or its "
        "load changed: warm up longer, or cool it better.",
    )


def _drift(medians: Sequence[float]) -> float:
    """Relative change from the first third of the rounds to the last; 0 for less than six rounds."""
    third = len(medians) // 3
    if third < 2:
        return 0.0
    early, late = median(medians[:third]), median(medians[-third:])
    return late / early - 1 if early > 0 else 0.0


def _list(items: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name} ({figure})" for name, figure in items)
