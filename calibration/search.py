"""Which convolutions compute in INT8, so that the pictures stay as good as asked and the least work remains.

The errors of single layers are small and have little to do with each other, so their powers nearly add up. A layer is
therefore worth what it saves for the error that it makes: layers are taken in the order of error per multiplication
until the sum reaches the goal. What that predicts is then checked on real pictures and corrected.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from calibration.quality import Quality, relative_error
from calibration.sensitivity import LayerError
from runtime.contract.errors import GateError, UsageError
from runtime.contract.progress import Progress, Task

MOST_EVALUATIONS = 8
_INT8_BITS = 8
_MOST_PSNR = 300  # FP32 itself ends at about 140
_PREDICTED = 3  # so many times predictions decide what is tried next; from then on, halving does
_CAREFUL = 0.97  # part of the room that a prediction fills: it is off by a few per cent
_OPEN = 1e-9


@dataclass(frozen=True)
class Goal:
    """The least likeness to the FP32 pictures, for the worst of the label maps.

    Attributes:
        min_psnr: dB, 0..300.
        min_ssim: 0..1.
    """

    min_psnr: float
    min_ssim: float

    def __post_init__(self) -> None:
        if not 0 <= self.min_psnr <= _MOST_PSNR:
            raise UsageError(f"min_psnr is {self.min_psnr}; give dB between 0 and {_MOST_PSNR}")
        if not 0 <= self.min_ssim <= 1:
            raise UsageError(f"min_ssim is {self.min_ssim}; give a number between 0 and 1")

    def is_met(self, quality: Quality) -> bool:
        return quality.worst_psnr_db >= self.min_psnr and quality.worst_ssim >= self.min_ssim

    def load(self, quality: Quality) -> float:
        """The error as a multiple of what the goal allows: 1 where it is just met. Noise power and 1 - SSIM alike."""
        noise = relative_error(quality.worst_psnr_db) / relative_error(self.min_psnr)
        allowed = 1 - self.min_ssim
        unlike = 1 - quality.worst_ssim
        return max(noise, unlike / allowed if allowed > 0 else (0.0 if unlike <= 0 else math.inf))


@dataclass(frozen=True)
class LeftOut:
    """A layer that does not become INT8, and why.

    Attributes:
        name: of the layer.
        names: of its convolutions.
        psnr: dB, of the picture when it alone is quantised.
        share: its part of the multiplications, 0..1.
        rank: its place among all layers in the order of error per multiplication; 1 is the worst.
        layers: how many layers there are.
    """

    name: str
    names: tuple[str, ...]
    psnr: float
    share: float
    rank: int
    layers: int

    @property
    def reason(self) -> str:
        if self.share <= 0:
            return "saves nothing"
        if self.psnr == -math.inf:
            return "its INT8 picture is not finite"
        return (
            f"{self.psnr:.1f} dB alone for {100 * self.share:.1f} % of the multiplications: "
            f"number {self.rank} of {self.layers} in error per multiplication"
        )


@dataclass(frozen=True)
class Step:
    """One choice that was tried.

    Attributes:
        layers: in INT8.
        share: of the multiplications in INT8, 0..1.
        quality: against the FP32 pictures.
        met: whether that is the goal.
    """

    layers: int
    share: float
    quality: Quality
    met: bool


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Attributes:
        chosen: names of the convolutions that become INT8, in the order of the layers.
        left_out: the other layers, the worst in error per multiplication first.
        quality: of the pictures with this choice.
        share: of the multiplications in INT8, 0..1.
        bits_before, bits_after: multiplications times the bits of their type, without and with INT8.
        steps: everything that was tried, in this order.
    """

    chosen: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    quality: Quality
    share: float
    bits_before: float
    bits_after: float
    steps: tuple[Step, ...]


def choose_int8(
    errors: Sequence[LayerError],
    macs: Mapping[str, float],
    goal: Goal,
    evaluate: Callable[[Sequence[str]], Quality],
    progress: Progress,
    other_bits: int = 16,
    most_evaluations: int = MOST_EVALUATIONS,
) -> Choice:
    """Choose the layers that become INT8. Equal arguments give an equal choice.

    Args:
        errors: of all layers that could.
        macs: multiplications of each of their convolutions; or anything else that INT8 saves in proportion, such as
            measured seconds. Layers with 0 are left out.
        goal: for the result.
        evaluate: the real quality with the convolutions of these names in INT8.
        progress: where to report.
        other_bits: of the type that the others compute in, 16 or 32.
        most_evaluations: how often ``evaluate`` is called at most, 2 or more.

    Returns:
        A choice that was evaluated and meets the goal; with nothing chosen where no layer is good enough.

    Raises:
        GateError: the goal is missed even without any INT8.
        UsageError: multiplications are missing, negative or not finite; fewer than 2 evaluations.
    """
    if most_evaluations < 2:
        raise UsageError(f"most_evaluations is {most_evaluations}; at least 2 are needed")
    layers = _Layers(errors, macs)
    with progress.task("choose INT8 layers") as task:
        search = _Search(layers, goal, evaluate, most_evaluations, task)
        search.find_prefix()
        search.take_back()
    best, quality = search.best, search.best_quality
    if best is None or quality is None:
        raise GateError(_missed(search.steps[-1].quality, goal))
    in_int8 = layers.saved_by(best)
    return Choice(
        chosen=layers.names(best),
        left_out=layers.left_out(best),
        quality=quality,
        share=layers.share(best),
        bits_before=layers.total * other_bits,
        bits_after=in_int8 * _INT8_BITS + (layers.total - in_int8) * other_bits,
        steps=tuple(search.steps),
    )


class _Layers:
    """The layers by position: what each saves, what error it makes, and the order in which they are taken."""

    def __init__(self, errors: Sequence[LayerError], macs: Mapping[str, float]) -> None:
        self.errors = errors
        self.saved = [_work(error, macs) for error in errors]
        self.noise = [relative_error(error.psnr) for error in errors]
        self.total = math.fsum(self.saved)
        per_work = [n / s if s > 0 else math.inf for n, s in zip(self.noise, self.saved, strict=True)]
        self.order = sorted(range(len(errors)), key=lambda i: (per_work[i], -self.saved[i], i))  # the best first
        self.candidates = [i for i in self.order if math.isfinite(per_work[i])]

    def noise_of(self, chosen: Sequence[int]) -> float:
        return math.fsum(self.noise[i] for i in chosen)

    def saved_by(self, chosen: Sequence[int]) -> float:
        return math.fsum(self.saved[i] for i in chosen)

    def share(self, chosen: Sequence[int]) -> float:
        return self.saved_by(chosen) / self.total if self.total else 0.0

    def names(self, chosen: Sequence[int]) -> tuple[str, ...]:
        return tuple(name for i in sorted(chosen) for name in self.errors[i].names)

    def left_out(self, chosen: Sequence[int]) -> tuple[LeftOut, ...]:
        return tuple(
            LeftOut(
                name=self.errors[i].name,
                names=self.errors[i].names,
                psnr=self.errors[i].psnr,
                share=self.share([i]),
                rank=rank,
                layers=len(self.errors),
            )
            for rank, i in enumerate(reversed(self.order), start=1)
            if i not in chosen
        )


class _Search:
    """Tries choices, and remembers the best one that met the goal."""

    def __init__(
        self,
        layers: _Layers,
        goal: Goal,
        evaluate: Callable[[Sequence[str]], Quality],
        most_evaluations: int,
        task: Task,
    ) -> None:
        self._layers, self._goal, self._evaluate = layers, goal, evaluate
        self._most, self._task = most_evaluations, task
        self.steps: list[Step] = []
        self.best: list[int] | None = None
        self.best_quality: Quality | None = None
        self._allowed = relative_error(goal.min_psnr)  # noise of single layers that may add up; learnt on the way

    def find_prefix(self) -> None:
        """Find how many layers of the order can be taken, until more would miss the goal by all that is known."""
        candidates = self._layers.candidates
        passing, failing = -1, len(candidates) + 1  # how many are known, or known too many
        while failing - passing > 1 and len(self.steps) < self._most:
            count = self._fitting_count(candidates)
            if passing >= 0 and count <= passing:
                return  # it meets the goal, and the next one is not expected to fit
            count = max(passing + 1, min(count, failing - 1))
            if len(self.steps) >= _PREDICTED:
                count = (passing + failing) // 2
            if passing < 0 and len(self.steps) == self._most - 1:
                count = 0  # the last try: does anything meet the goal?
            if self._try(candidates[:count]):
                passing = count
            else:
                failing = count

    def take_back(self) -> None:
        """With what evaluations are left, add layers further down the order that are still expected to fit."""
        if self.best is None:
            return
        refused: set[int] = set()
        most_at_once = len(self._layers.candidates)
        while len(self.steps) < self._most:
            added: list[int] = []
            for i in self._layers.candidates:
                fits = self._layers.noise_of([*self.best, *added, i]) <= _CAREFUL * self._allowed
                if i not in self.best and i not in refused and fits and len(added) < most_at_once:
                    added.append(i)
            if not added:
                return
            if not self._try([*self.best, *added]):
                most_at_once = max(len(added) // 2, 1)
                if len(added) == 1:
                    refused.update(added)

    def _fitting_count(self, candidates: Sequence[int]) -> int:
        """How many layers of the order are expected to meet the goal together."""
        total, count = 0.0, 0
        for i in candidates:
            total += self._layers.noise[i]
            if total > _CAREFUL * self._allowed:
                break
            count += 1
        return count

    def _try(self, chosen: Sequence[int]) -> bool:
        quality = self._evaluate(self._layers.names(chosen))
        met = self._goal.is_met(quality)
        share = self._layers.share(chosen)
        self.steps.append(Step(len(chosen), share, quality, met))
        self._task.advance(1, f"{100 * share:.1f} % in INT8: {quality.worst_psnr_db:.1f} dB, {quality.worst_ssim:.3f}")
        if met and (self.best is None or share >= self._layers.share(self.best)):
            self.best, self.best_quality = list(chosen), quality
        load = self._goal.load(quality)
        if chosen and _OPEN < load < math.inf:
            self._allowed = self._layers.noise_of(chosen) / load
        return met


def _work(error: LayerError, macs: Mapping[str, float]) -> float:
    for name in error.names:
        if not (name in macs and 0 <= macs[name] < math.inf):
            raise UsageError(f"the work of {name!r} is {macs.get(name, 'unknown')}; give a finite number, 0 or more")
    return math.fsum(macs[name] for name in error.names)


def _missed(quality: Quality, goal: Goal) -> str:
    return (
        f"even without INT8 the pictures are {quality.worst_psnr_db:.1f} dB and SSIM {quality.worst_ssim:.3f} from the "
        f"FP32 ones at worst, {goal.min_psnr:g} dB and {goal.min_ssim:g} are asked for; lower the limits or stay with "
        "FP32"
    )
