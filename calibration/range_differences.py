"""How far apart two sets of ranges are, tensor by tensor."""

from __future__ import annotations

import math
from dataclasses import dataclass

from calibration.ranges import Ranges
from runtime.contract.errors import InputError


@dataclass(frozen=True)
class RangeDifference:
    """One tensor in two sets of ranges, ``a`` and ``b``; a ratio is b : a, ``inf`` or 0 where one of them is zero.

    Attributes:
        tensor: its name.
        largest: the largest |x| in a and in b.
        p999: what 99.9 % of the values do not exceed, in a and in b.
    """

    tensor: str
    largest: tuple[float, float]
    p999: tuple[float, float]

    @property
    def largest_ratio(self) -> float:
        return _ratio(*self.largest)

    @property
    def p999_ratio(self) -> float:
        return _ratio(*self.p999)

    @property
    def distance(self) -> float:
        """How far apart: the larger ratio of the two, turned to be 1 or more."""
        return max(max(ratio, 1 / ratio if ratio else math.inf) for ratio in (self.largest_ratio, self.p999_ratio))


def differences(a: Ranges, b: Ranges) -> tuple[RangeDifference, ...]:
    """The tensors that both have, those furthest apart first. The graphs may differ, as before and after training.

    Raises:
        InputError: they have no tensor in common.
    """
    common = [name for name in a.tensors if name in b.tensors]
    if not common:
        raise InputError("the two have no tensor in common; they belong to models of different structure")
    found = []
    for name in common:
        x, y = a.tensors[name], b.tensors[name]
        found.append(RangeDifference(name, (x.largest, y.largest), (x.quantile(0.999), y.quantile(0.999))))
    return tuple(sorted(found, key=lambda one: (-one.distance, one.tensor)))


def _ratio(a: float, b: float) -> float:
    if a == b:
        return 1.0
    return b / a if a else math.inf
