"""Latency of open variants in alternating rounds."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from runtime.contract.progress import Progress, Task
from runtime.profiler.options import ProfileOptions
from runtime.profiler.process import VariantProcess
from runtime.profiler.statistics import median
from runtime.profiler.worker import QueryRun, RunQueries, Tick

_SETTLE = 1


@dataclass(frozen=True)
class Timing:
    """What the rounds of one variant gave.

    Attributes:
        samples_ms: latency of every timed query, in the order of time.
        round_medians_ms: median latency of each round.
        wall_seconds: time that the timed queries took together, pauses between the rounds left out.
        complete: False when the deadline cut the rounds short.
    """

    samples_ms: tuple[float, ...]
    round_medians_ms: tuple[float, ...]
    wall_seconds: float
    complete: bool

    @property
    def throughput(self) -> float:
        """Queries (one picture each) per second of wall time, one at a time, back to back."""
        return len(self.samples_ms) / self.wall_seconds if self.wall_seconds > 0 else 0.0


def warm_up(processes: Sequence[VariantProcess], options: ProfileOptions, progress: Progress) -> None:
    """Queries that are not counted: caches fill, lazy initialisation happens, clocks rise."""
    if options.warmup_iterations == 0 and options.warmup_seconds == 0:
        return
    with progress.task("warm up", len(processes)) as task:
        for process in processes:
            bar = _Share(task, process.name)
            process.run(RunQueries(options.warmup_iterations, options.warmup_seconds), bar.tick)
            bar.finish()


def measure(processes: Sequence[VariantProcess], options: ProfileOptions, progress: Progress) -> list[Timing]:
    """Time the open variants, one at a time, in rounds whose order rotates (A B C, B C A, C A B ...).

    Every turn begins with one query that is not counted, because the variant before has emptied the caches. A round
    runs until its share of ``iterations`` and of ``seconds`` is reached; when the deadline is past no new round begins,
    and a running turn ends after the query at hand.
    """
    runs: list[list[QueryRun]] = [[] for _ in processes]
    queries = math.ceil(options.iterations / options.rounds)
    seconds = options.seconds / options.rounds
    start = time.monotonic()
    complete = True
    with progress.task("measure", options.rounds * len(processes)) as task:
        for number in range(options.rounds):
            if number > 0 and _left(start, options) == 0:
                complete = False
                break
            turns = [(number + position) % len(processes) for position in range(len(processes))]
            for position, index in enumerate(turns):
                left = _left(start, options)
                limit = None if left is None else left / (len(turns) - position)
                bar = _Share(task, processes[index].name)
                run = processes[index].run(RunQueries(queries, seconds, limit, _SETTLE), bar.tick)
                bar.finish()
                runs[index].append(run)
                if len(run.samples_ms) < queries or run.wall_seconds < seconds:
                    complete = False
    return [
        Timing(
            samples_ms=tuple(sample for run in turns for sample in run.samples_ms),
            round_medians_ms=tuple(median(run.samples_ms) for run in turns),
            wall_seconds=math.fsum(run.wall_seconds for run in turns),
            complete=complete,
        )
        for turns in runs
    ]


def _left(start: float, options: ProfileOptions) -> float | None:
    """Seconds until the deadline, at least 0; None without one."""
    if options.deadline_seconds is None:
        return None
    return max(0.0, options.deadline_seconds - (time.monotonic() - start))


class _Share:
    """Turns the shares that ticks report into steps of a task, one step per run."""

    def __init__(self, task: Task, name: str) -> None:
        self._task = task
        self._name = name
        self._done = 0.0

    def tick(self, tick: Tick) -> None:
        self._task.advance(max(0.0, tick.share - self._done), f"{self._name}: {tick.latency_ms:.3g} ms")
        self._done = max(self._done, tick.share)

    def finish(self) -> None:
        self._task.advance(1.0 - self._done, self._name)
        self._done = 1.0
