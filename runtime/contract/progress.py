"""How long work tells that it advances; the rooms report, whoever called them decides how to show it."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol


class Task(Protocol):
    """One piece of work that is shown while its ``with`` block runs."""

    def advance(self, steps: float = 1.0, note: str = "") -> None:
        """Count ``steps`` more as done; ``note`` is a short text shown beside the bar."""

    def __enter__(self) -> Task: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Progress(Protocol):
    """Makes tasks. ``total`` is None where the amount of work is not known."""

    def task(self, name: str, total: float | None = None) -> Task: ...


class _SilentTask:
    def advance(self, steps: float = 1.0, note: str = "") -> None:
        pass

    def __enter__(self) -> Task:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class SilentProgress:
    """Shows nothing: the default of every function that takes a `Progress`."""

    def task(self, name: str, total: float | None = None) -> Task:
        return _SilentTask()
