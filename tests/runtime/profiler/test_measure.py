"""Rounds that alternate, deadlines, progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest

from runtime.contract.progress import SilentProgress
from runtime.profiler.measure import measure, warm_up
from runtime.profiler.process import VariantProcess
from runtime.profiler.worker import QueryRun, RunQueries, Tick
from tests.runtime.profiler.fake_variants import FAST, Bar


class Recorder:
    """Stands in for a process: answers at once with latencies that tell whose they are."""

    def __init__(self, name: str, latency: float, log: list[tuple[str, RunQueries]]) -> None:
        self.name = name
        self._latency = latency
        self._log = log

    def run(self, request: RunQueries, on_tick: Callable[[Tick], None] | None = None) -> QueryRun:
        self._log.append((self.name, request))
        if on_tick is not None:
            on_tick(Tick(0.5, self._latency))
        queries = 1 if request.limit_seconds == 0.0 else max(request.queries, 1)
        return QueryRun((self._latency,) * queries, self._latency * queries / 1000)


def _processes(*latencies: float) -> tuple[list[VariantProcess], list[tuple[str, RunQueries]]]:
    log: list[tuple[str, RunQueries]] = []
    names = "ABCDEF"
    return [cast(VariantProcess, Recorder(names[i], latency, log)) for i, latency in enumerate(latencies)], log


def test_variants_take_turns_in_rotating_order() -> None:
    processes, log = _processes(1.0, 2.0, 3.0)
    timings = measure(processes, FAST, SilentProgress())
    assert "".join(name for name, _ in log) == "ABCBCACAB"
    assert {request for _, request in log} == {RunQueries(4, 0.0, None, settle=1)}
    assert [timing.samples_ms for timing in timings] == [(1.0,) * 12, (2.0,) * 12, (3.0,) * 12]
    assert [timing.round_medians_ms for timing in timings] == [(1.0,) * 3, (2.0,) * 3, (3.0,) * 3]
    assert timings[1].throughput == pytest.approx(500.0)
    assert all(timing.complete for timing in timings)


def test_shares_of_the_rounds_reach_what_was_asked_for() -> None:
    processes, log = _processes(1.0)
    measure(processes, replace(FAST, iterations=10, rounds=4, seconds=2.0), SilentProgress())
    assert sum(request.queries for _, request in log) >= 10
    assert sum(request.seconds for _, request in log) == pytest.approx(2.0)


def test_a_deadline_gives_everyone_a_query_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 5))
    monkeypatch.setattr("runtime.profiler.measure.time.monotonic", lambda: float(next(clock)))
    processes, log = _processes(1.0, 2.0)
    timings = measure(processes, replace(FAST, deadline_seconds=4.0), SilentProgress())
    assert [name for name, _ in log] == ["A", "B"]
    assert all(request.limit_seconds == 0.0 for _, request in log)
    assert [len(timing.samples_ms) for timing in timings] == [1, 1]
    assert not any(timing.complete for timing in timings)


def test_progress_counts_every_turn_once() -> None:
    processes, _ = _processes(1.0, 2.0)
    bar = Bar()
    measure(processes, FAST, bar)
    assert bar.tasks == [("measure", 6)]
    assert bar.steps == pytest.approx(6.0)
    assert "B: 2 ms" in bar.notes


def test_warm_up_goes_before_and_can_be_left_out() -> None:
    processes, log = _processes(1.0, 2.0)
    warm_up(processes, FAST, SilentProgress())
    assert log == [("A", RunQueries(1, 0.0)), ("B", RunQueries(1, 0.0))]
    log.clear()
    warm_up(processes, replace(FAST, warmup_iterations=0), SilentProgress())
    assert log == []
