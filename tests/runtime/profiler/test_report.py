"""JSON, table, summary and diagnoses of a report."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from runtime.profiler.diagnosis import diagnose
from runtime.profiler.machine import MachineInfo
from runtime.profiler.measure import Timing
from runtime.profiler.pareto import pareto_front
from runtime.profiler.report import DataInfo, VariantReport
from runtime.profiler.summary import summarize
from runtime.profiler.table import report_table
from runtime.profiler.units import mebibytes, similarity, three_digits
from tests.runtime.profiler.fake_variants import report_of

THREE: list[tuple[str, float, float | None]] = [("fp32", 20.0, None), ("fp16", 10.0, 1.0), ("int8", 5.0, 8.0)]
QUIET = replace(MachineInfo.here(), load=0.0, cores=4)
ONE_SIZE = DataInfo(3, "0" * 64, ((48, 32),))


def _timings(variants: tuple[VariantReport, ...], complete: bool = True) -> list[Timing]:
    return [Timing(v.samples_ms, v.round_medians_ms, 1.0, complete) for v in variants]


def _codes(variants: tuple[VariantReport, ...], machine: MachineInfo = QUIET, data: DataInfo = ONE_SIZE) -> set[str]:
    return {diagnosis.code for diagnosis in diagnose(variants, _timings(variants), machine, data)}


def test_json_is_strict_and_complete() -> None:
    report = report_of([("fp32", 20.0, None), ("ort", 12.0, 0.0), ("int8", 5.0, 8.0)])
    content = json.loads(report.to_json(), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    assert (content["kind"], content["schema"]) == ("lggan-profile", 1)
    fp32, ort, int8 = content["variants"]
    assert fp32["quality"] is None
    assert ort["quality"]["identical"] is True
    assert ort["quality"]["psnr_db"] is None
    assert int8["quality"]["identical"] is False
    assert 20 < int8["quality"]["psnr_db"] < 40
    assert int8["backend"] == "fake-cpu"
    assert int8["host_memory"] == {"baseline_bytes": 31_000_000, "peak_bytes": 231_000_000}
    p50, p90, p99 = int8["latency_ms"]["percentiles"]
    assert p50["value"] == int8["latency_ms"]["median"]
    assert p90["value"] > p50["value"]
    assert p99 == {"percentile": 99.0, "value": None, "needed_samples": 662}
    assert len(int8["samples_ms"]) == int8["latency_ms"]["count"] == 70
    assert content["pictures"][0]["name"] == "street 0"
    assert [quality and quality["identical"] for quality in content["pictures"][0]["qualities"]] == [None, True, False]


def test_table_has_a_row_per_variant_and_refuses_in_the_cell() -> None:
    table = report_table(report_of(THREE))
    titles = [column.title for column in table.columns]
    assert titles[:5] == ["variant", "backend", "p50", "p90", "p99"]
    rows = [dict(zip(titles, row, strict=True)) for row in table.rows]
    assert [row["variant"] for row in rows] == ["fp32", "fp16", "int8"]
    assert [row["speed"] for row in rows] == ["1.00", "2.00", "4.00"]
    assert rows[0]["PSNR"] == "reference"
    assert {row["p99"] for row in rows} == {"n<662"}
    assert rows[2]["throughput"] == "200"
    assert rows[2]["peak memory"] == "220"
    assert any("fp32" in note and "PSNR" in note for note in table.notes)


def test_summary_names_the_fastest_its_quality_and_the_closer_ones() -> None:
    first, second, *others = report_of(THREE).summary
    assert first.startswith("int8 is the fastest")
    assert "4.00 times the speed of fp32" in first
    assert "fake-cpu" in first
    assert "int8 have PSNR" in second
    assert "fp16" in others[0]
    assert "fp32, the reference itself" in others[1]


def test_summary_does_not_call_noise_faster() -> None:
    report = report_of([("a", 10.0, None), ("b", 10.1, 1.0)])
    a, b = report.variants
    noisy = (
        replace(a, round_medians_ms=(10.0, 10.3, 9.8, 10.2, 10.1, 9.9)),
        replace(b, round_medians_ms=(10.1, 10.2, 9.9, 10.1, 10.2, 9.8)),
    )
    assert "cannot tell them apart" in summarize(noisy, report.reference)[0]
    assert "a is the fastest" in report.summary[0]


def test_summary_of_one_variant_compares_nothing() -> None:
    figures, pictures = report_of([("only", 12.5, None)]).summary
    assert "12.5 ms on fake-cpu" in figures
    assert "no second variant" in pictures


def test_pareto_front_is_fastest_first_and_keeps_equals() -> None:
    variants = report_of([*THREE, ("slow and bad", 30.0, 9.0), ("fp16 again", 10.0, 1.0)]).variants
    assert [variants[index].name for index in pareto_front(variants)] == ["int8", "fp16", "fp16 again", "fp32"]


def test_quiet_steady_measurement_has_nothing_to_mind() -> None:
    variants = tuple(
        replace(v, latency=replace(v.latency, std_ms=0.001, percentiles=())) for v in report_of(THREE).variants
    )
    assert _codes(variants) == set()


def test_diagnoses_name_variants_values_and_cures() -> None:
    variants = report_of(THREE).variants
    found = {diagnosis.code: diagnosis for diagnosis in diagnose(variants, _timings(variants), QUIET, ONE_SIZE)}
    assert set(found) == {"percentile-refused", "latency-varies"}
    assert found["percentile-refused"].variants == ("fp32", "fp16", "int8")
    assert "fp16 (70 samples)" in found["percentile-refused"].message
    assert "--iterations 662" in found["percentile-refused"].message
    assert "fp32 (2.9 %)" in found["latency-varies"].message


def test_drift_busy_machine_sizes_backends_and_deadline_are_seen() -> None:
    variants = report_of(THREE).variants
    hot = replace(variants[0], backend="tensorrt", round_medians_ms=(10, 10, 10, 11, 11, 11, 12, 12, 12))
    data = DataInfo(3, "0" * 64, ((48, 32), (64, 32)))
    codes = _codes((hot, *variants[1:]), replace(QUIET, load=1.5), data)
    assert {"latency-drifts", "machine-busy", "sizes-mixed", "backends-differ"} <= codes
    late = diagnose(variants, _timings(variants, complete=False), QUIET, ONE_SIZE)
    assert "deadline-reached" in {diagnosis.code for diagnosis in late}


def test_fp16_on_a_cpu_is_said_to_run_in_fp32() -> None:
    variants = report_of(THREE).variants
    half = replace(variants[1], precision="fp16", backend="onnxruntime-cpu")
    report = diagnose((variants[0], half), _timings(variants[:2]), QUIET, ONE_SIZE)
    found = {diagnosis.code: diagnosis for diagnosis in report}
    assert found["fp16-widened"].variants == ("fp16",)
    on_gpu = replace(half, backend="tensorrt")
    assert "fp16-widened" not in _codes((variants[0], on_gpu))


def test_units() -> None:
    assert [three_digits(v) for v in (0.04213, 4.213, 42.13, 421.3, 4213.0)] == [
        "0.0421",
        "4.21",
        "42.1",
        "421",
        "4213",
    ]
    assert [mebibytes(n << 10) for n in (10, 2048, 7680, 204800)] == ["0.01", "2.0", "7.5", "200"]
    assert similarity(0.99999) == "0.9999"
    assert similarity(1.0) == "1.0000"
