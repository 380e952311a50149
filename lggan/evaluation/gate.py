"""Gates: limits that the figures of an evaluation must keep, e.g. ``fid<40``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lggan.evaluation.metric import MetricResult
from runtime.contract.errors import UsageError

_FORM = re.compile(r"([a-z][a-z0-9_]*)\s*([<>])\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)")


@dataclass(frozen=True)
class Gate:
    """A limit: ``name`` must be above ``limit``, or below it."""

    name: str
    above: bool
    limit: float

    def passes(self, value: float) -> bool:
        """Whether a value keeps the limit; equal is not above, and what is no number passes nothing."""
        return value > self.limit if self.above else value < self.limit

    def __str__(self) -> str:
        return f"{self.name}{'>' if self.above else '<'}{self.limit:g}"


def parse_gate(text: str) -> Gate:
    """Read ``NAME<VALUE`` or ``NAME>VALUE``.

    Raises:
        UsageError: anything else.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"--gate {text!r} is no gate; write NAME<VALUE or NAME>VALUE, for example 'fid<40'")
    return Gate(match.group(1), match.group(2) == ">", float(match.group(3)))


def check_gates(gates: Sequence[Gate], available: Sequence[str]) -> None:
    """Refuse gates on figures that will not be computed, before the work.

    Raises:
        UsageError: naming the figures there will be.
    """
    for gate in gates:
        if gate.name not in available:
            raise UsageError(f"--gate {gate}: {gate.name} is not computed in this run, only {', '.join(available)}")


def broken_gates(gates: Sequence[Gate], results: Sequence[MetricResult]) -> tuple[Gate, ...]:
    """The gates that the figures do not keep; a figure that turned out missing breaks its gate."""
    values = {result.name: result.value for result in results}
    return tuple(gate for gate in gates if gate.name not in values or not gate.passes(values[gate.name]))
