"""How large the values of a tensor are: a histogram of |x| that can be added to another one without any loss."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 2048
"""Number of bins; a power of two."""

_LOG_BINS = BINS.bit_length() - 1
# Below 2**-100 nothing is told apart: the factor that brings |x| to bin numbers must itself be a finite float32.
_LEAST_EXPONENT = -100
_MOST_EXPONENT = 128  # the largest float32 lies just below 2**128
_CHUNK = 1 << 15  # values; the scratch arrays of a chunk stay in the second-level cache
_MOST_VALUES = 1 << 62
_RUN = re.compile(r"(0|[1-9][0-9]{0,18})(?:\*([1-9][0-9]{0,3}))?")
_SHOWN_QUANTILES = {"p99": 0.99, "p99.9": 0.999, "p99.99": 0.9999}


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of |x| in `BINS` equal bins over (0, 2**exponent]; zeros are counted apart.

    Bin ``i`` counts ``i * width < |x| <= (i + 1) * width``. Because the range is a power of two, and because a bin has
    its upper edge inside, every bin of a histogram of twice the range is the sum of two neighbouring bins of this one.
    So two histograms have an exact sum, whatever the order in which many of them are added.

    Attributes:
        counts: int64 [BINS], read-only.
        exponent: the smallest whole number with ``largest <= 2**exponent``; -100 where ``largest`` is less than that,
            zero included.
        largest: exact maximum of |x|, finite.
        zeros: how many values are exactly zero.
    """

    counts: NDArray[np.int64]
    exponent: int
    largest: float
    zeros: int

    def __post_init__(self) -> None:
        self.counts.setflags(write=False)

    @classmethod
    def empty(cls) -> Histogram:
        """Of no values at all: what a sum starts with."""
        return cls(np.zeros(BINS, np.int64), _LEAST_EXPONENT, 0.0, 0)

    @classmethod
    def of(cls, values: NDArray[np.float32]) -> Histogram:
        """Count ``values``, float32 of any shape, in chunks: the scratch memory does not depend on their number.

        Raises:
            ValueError: another type, NaN or infinite values; the message says how many.
        """
        if values.dtype != np.float32:
            raise ValueError(f"{values.dtype} values instead of float32")
        flat = values.reshape(-1)
        if flat.size == 0:
            return cls.empty()
        largest = max(abs(float(flat.max())), abs(float(flat.min())))
        if not math.isfinite(largest):
            nan, infinite = int(np.isnan(flat).sum()), int(np.isinf(flat).sum())
            raise ValueError(f"{nan} NaN and {infinite} infinite values of {flat.size}")
        exponent = _exponent(largest)
        ranks = np.zeros(BINS + 1, np.int64)  # [0] are the zeros, [i + 1] is bin i
        to_bins = np.float32(2.0 ** (_LOG_BINS - exponent))
        scratch = np.empty(min(_CHUNK, flat.size), np.float32)
        numbers = np.empty(scratch.size, np.intp)
        not_zero = 0
        with np.errstate(under="ignore"):
            for start in range(0, flat.size, _CHUNK):
                part = flat[start : start + _CHUNK]
                scaled, number = scratch[: part.size], numbers[: part.size]
                # exact, because the factor is a power of two; what underflows is found again by counting non-zeros
                np.multiply(np.abs(part, out=scaled), to_bins, out=scaled)
                np.copyto(number, np.ceil(scaled, out=scaled), casting="unsafe")
                ranks += np.bincount(number, minlength=BINS + 1)
                not_zero += int(np.count_nonzero(part))
        zeros = flat.size - not_zero
        counts = ranks[1:].copy()
        counts[0] += ranks[0] - zeros
        return cls(counts, exponent, largest, zeros)

    def merged(self, other: Histogram) -> Histogram:
        """The histogram of the values of both, exactly as if they had been counted together."""
        exponent = max(self.exponent, other.exponent)
        counts = self._counts_up_to(exponent) + other._counts_up_to(exponent)
        return Histogram(counts, exponent, max(self.largest, other.largest), self.zeros + other.zeros)

    @property
    def total(self) -> int:
        """How many values were counted, zeros included."""
        return self.zeros + int(self.counts.sum())

    @property
    def width(self) -> float:
        """Of one bin, in the tensor's unit."""
        return 2.0 ** (self.exponent - _LOG_BINS)

    def quantile(self, share: float) -> float:
        """The least upper edge of a bin, or zero, that a ``share`` (0..1) of all values keeps to; at most `largest`."""
        reached = np.concatenate([[self.zeros], self.zeros + np.cumsum(self.counts)])
        return min(int(np.searchsorted(reached, share * self.total)) * self.width, self.largest)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values: the counts as one line of text, and figures for whoever reads the file.

        The counts are separated by blanks; ``n*k`` stands for ``k`` bins of ``n`` in a row.
        """
        return {
            "largest": self.largest,
            **{name: self.quantile(share) for name, share in _SHOWN_QUANTILES.items()},
            "total": self.total,
            "zero_share": round(self.zeros / max(self.total, 1), 6),
            "zeros": self.zeros,
            "exponent": self.exponent,
            "counts": _to_runs(self.counts),
        }

    @classmethod
    def from_json(cls, raw: object) -> Histogram:
        """Read what `to_json` wrote.

        Raises:
            ValueError: anything that `to_json` does not write, also figures that contradict the counts.
        """
        if not isinstance(raw, dict) or not {"counts", "exponent", "largest", "zeros"} <= raw.keys():
            raise ValueError("a histogram has counts, exponent, largest and zeros")
        largest = raw["largest"]
        if not isinstance(largest, float) or not 0 <= largest <= float(np.finfo(np.float32).max):
            raise ValueError("the largest value is no finite float32")
        zeros, exponent = raw["zeros"], raw["exponent"]
        if type(zeros) is not int or not 0 <= zeros <= _MOST_VALUES:
            raise ValueError("the number of zeros is no count")
        if type(exponent) is not int or exponent != _exponent(largest):
            raise ValueError(f"the exponent does not belong to a largest value of {largest:g}")
        found = cls(_from_runs(raw["counts"]), exponent, largest, zeros)
        top = math.ceil(largest / found.width)
        if found.counts[top:].any() or (top and not found.counts[top - 1]):
            raise ValueError(f"the counts do not end at the largest value of {largest:g}")
        written = found.to_json()
        if written != raw or any(type(value) is not type(raw[name]) for name, value in written.items()):
            raise ValueError("its figures are not those of its counts")
        return found

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        mine, others = (self.exponent, self.largest, self.zeros), (other.exponent, other.largest, other.zeros)
        return mine == others and bool(np.array_equal(self.counts, other.counts))

    __hash__ = None  # type: ignore[assignment]  # equality compares arrays

    def _counts_up_to(self, exponent: int) -> NDArray[np.int64]:
        """The counts over (0, 2**exponent], ``exponent`` not below this histogram's."""
        neighbours = 1 << min(exponent - self.exponent, _LOG_BINS)
        coarse = np.zeros(BINS, np.int64)
        coarse[: BINS // neighbours] = self.counts.reshape(-1, neighbours).sum(axis=1)
        return coarse


def _exponent(largest: float) -> int:
    """The smallest whole number with ``largest <= 2**exponent``, not below `_LEAST_EXPONENT`."""
    if largest == 0:
        return _LEAST_EXPONENT
    mantissa, exponent = math.frexp(largest)  # largest = mantissa * 2**exponent, 0.5 <= mantissa < 1
    return min(max(exponent - (mantissa == 0.5), _LEAST_EXPONENT), _MOST_EXPONENT)


def _to_runs(counts: NDArray[np.int64]) -> str:
    starts = np.flatnonzero(np.concatenate([[True], counts[1:] != counts[:-1]]))
    lengths = np.diff(np.concatenate([starts, [counts.size]]))
    pairs = zip(counts[starts].tolist(), lengths.tolist(), strict=True)
    return " ".join(f"{count}*{length}" if length > 1 else f"{count}" for count, length in pairs)


def _from_runs(text: object) -> NDArray[np.int64]:
    if not isinstance(text, str):
        raise ValueError("the counts are no text")
    counts: list[int] = []
    for word in text.split(" "):
        run = _RUN.fullmatch(word)
        if run is None:
            raise ValueError(f"{word[:20]!r} is no count")
        counts += [int(run[1])] * int(run[2] or 1)
        if len(counts) > BINS:
            break
    if len(counts) != BINS:
        raise ValueError(f"there are not exactly {BINS} bins")
    if sum(counts) > _MOST_VALUES:
        raise ValueError("the counts are larger than any number of values")
    return np.array(counts, np.int64)
