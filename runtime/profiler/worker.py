"""The inside of a measuring process: opens one variant, makes pictures on request, and times itself."""

from __future__ import annotations

import gc
import os
import pickle
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.contract.card import ModelCard
from runtime.contract.errors import BackendError, LgganError, UsageError
from runtime.profiler.memory import peak_memory, resident_memory
from runtime.profiler.variant import Opener, PictureMaker

_TICK_SECONDS = 0.25


class LabelMap(NamedTuple):
    """One input: uint8 [H, W] of class ids; where the model wants them, instance ids int32 [H, W] and the source photo
    uint8 [H, W, 3].
    """

    name: str
    label: NDArray[np.uint8]
    instance: NDArray[np.int32] | None = None
    source: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Open:
    """Request: unpickle the opener and call it; timed queries will cycle through the label maps. Answer: `Opened`."""

    opener: bytes
    label_maps: tuple[LabelMap, ...]


@dataclass(frozen=True)
class Opened:
    """The variant is open: its backend, the precision of its graph and the threads it uses (None where it does not
    tell), the seconds that opening took, and the resident bytes of the process before it.
    """

    backend: str
    precision: str | None
    threads: int | None
    seconds: float
    baseline_bytes: int


@dataclass(frozen=True)
class MakePicture:
    """Request: one picture, untimed. Answer: uint8 [H, W, 3]."""

    label_map: LabelMap


@dataclass(frozen=True)
class RunQueries:
    """Request: run until ``queries`` and ``seconds`` are both reached or ``limit_seconds`` is past; for a `QueryRun`.

    One query runs whatever the limit says; ``settle`` untimed ones go before it.
    """

    queries: int
    seconds: float
    limit_seconds: float | None = None
    settle: int = 0


@dataclass(frozen=True)
class QueryRun:
    """Latencies in milliseconds, one per query, and the wall time from the first start to the last end, seconds."""

    samples_ms: tuple[float, ...]
    wall_seconds: float


@dataclass(frozen=True)
class TellMemory:
    """Request: the peak resident bytes so far. Answer: int."""


@dataclass(frozen=True)
class Tick:
    """A sign of life during `RunQueries`: the share of it that is done, 0..1, and the last latency."""

    share: float
    latency_ms: float


@dataclass(frozen=True)
class Failure:
    """The request failed: the name of the error class of `runtime.contract.errors`, and the message."""

    error: str
    message: str


def main() -> None:
    """Entry of the process: serve the pipe whose descriptor is the last argument.

    Standard output belongs to the parent's JSON: what a library prints goes to standard error.
    """
    os.dup2(2, 1)
    serve(Connection(int(sys.argv[-1])))


def serve(connection: Connection) -> None:
    """Answer requests until None comes or the other end is gone."""
    bench = _Bench(connection)
    try:
        connection.send(None)  # ready: the interpreter and numpy are loaded
        while (request := connection.recv()) is not None:
            connection.send(bench.answer(request))
    except (EOFError, OSError):
        pass  # the parent is gone
    finally:
        bench.close()


class _Bench:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._label_maps: tuple[LabelMap, ...] = ()
        self._maker: PictureMaker | None = None
        self._served = 0

    def answer(self, request: object) -> object:
        try:
            if isinstance(request, Open):
                return self._open(request)
            if isinstance(request, MakePicture):
                return self._picture(request.label_map)
            if isinstance(request, RunQueries):
                return self._run(request)
            if isinstance(request, TellMemory):
                return peak_memory()
            raise BackendError(f"unknown request {type(request).__name__}")
        except LgganError as error:
            return Failure(type(error).__name__, str(error))
        except Exception as error:  # a backend may raise anything: the parent turns it into a typed error
            return Failure(BackendError.__name__, f"{type(error).__name__}: {error}")

    def close(self) -> None:
        if self._maker is not None:
            self._maker.close()

    def _open(self, request: Open) -> Opened:
        self._label_maps = request.label_maps
        baseline = resident_memory()
        start = time.perf_counter()
        try:
            opener: Opener = pickle.loads(request.opener)  # from our own parent, over a private pipe
        except (AttributeError, ImportError) as error:
            raise UsageError(f"its opener cannot be imported ({error}); put the function into a module") from error
        self._maker = opener()
        seconds = time.perf_counter() - start
        threads = getattr(self._maker, "threads", None)
        card = getattr(self._maker, "card", None)
        return Opened(
            backend=self._maker.backend,
            precision=card.precision if isinstance(card, ModelCard) else None,
            threads=threads if isinstance(threads, int) else None,
            seconds=seconds,
            baseline_bytes=baseline,
        )

    def _opened(self) -> PictureMaker:
        if self._maker is None:
            raise BackendError("the variant is not open")
        return self._maker

    def _picture(self, label_map: LabelMap) -> NDArray[np.uint8]:
        pictures = self._opened().generate(label_map.label, label_map.instance, label_map.source)
        if (
            not isinstance(pictures, np.ndarray)
            or pictures.dtype != np.uint8
            or pictures.ndim != 4
            or pictures.shape[0] != 1
            or pictures.shape[3] != 3
        ):
            form = f"{pictures.dtype} {list(pictures.shape)}" if isinstance(pictures, np.ndarray) else type(pictures)
            raise BackendError(f"made {form} from one label map; expected uint8 [1, H, W, 3]")
        return np.ascontiguousarray(pictures[0])

    def _run(self, request: RunQueries) -> QueryRun:
        for _ in range(request.settle):
            self._query()
        gc.collect()
        gc.disable()  # as timeit does: a collection belongs to this process, not to the variant
        try:
            return self._timed(request)
        finally:
            gc.enable()

    def _timed(self, request: RunQueries) -> QueryRun:
        samples: list[float] = []
        first = last = told = time.perf_counter()
        while True:
            spent = last - first
            if len(samples) >= request.queries and spent >= request.seconds:
                break
            if samples and request.limit_seconds is not None and spent >= request.limit_seconds:
                break
            samples.append(self._query())
            last = time.perf_counter()
            if last - told >= _TICK_SECONDS:
                told = last
                self._connection.send(Tick(_share(request, len(samples), last - first), samples[-1]))
        return QueryRun(tuple(samples), last - first)

    def _query(self) -> float:
        """One query, batch 1, from inputs to picture, both in host memory: its latency in milliseconds."""
        label_map = self._label_maps[self._served % len(self._label_maps)]
        self._served += 1
        maker = self._opened()
        start = time.perf_counter_ns()
        maker.generate(label_map.label, label_map.instance, label_map.source)
        return (time.perf_counter_ns() - start) / 1e6


def _share(request: RunQueries, queries: int, seconds: float) -> float:
    share = min(queries / max(request.queries, 1), seconds / request.seconds if request.seconds > 0 else 1.0)
    if request.limit_seconds is not None:
        share = max(share, seconds / request.limit_seconds if request.limit_seconds > 0 else 1.0)
    return min(share, 1.0)
