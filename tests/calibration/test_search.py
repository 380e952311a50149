"""The choice of layers: against every possible choice where there are few, and bounded where there are many."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.quality import Quality, psnr_of
from calibration.search import Choice, Goal, choose_int8
from calibration.sensitivity import LayerError
from runtime.contract.errors import GateError, UsageError
from runtime.contract.progress import SilentProgress


class Network:
    """Layers whose errors add up, more or less.

    Args:
        noise: of each layer alone, in squared peaks.
        macs: of each layer.
        base: noise without INT8.
        factor: by which the sum misses the real noise.
        worst: by which the worst map is worse than the mean.
        unlike: 1 - SSIM for a noise of one squared peak.
    """

    def __init__(
        self,
        noise: Sequence[float],
        macs: Sequence[float],
        base: float = 0.0,
        factor: float = 1.0,
        worst: float = 1.0,
        unlike: float = 0.0,
    ) -> None:
        self.errors = tuple(LayerError((f"m{i}/Conv",), 4 * n, psnr_of(n, 1.0)) for i, n in enumerate(noise))
        self.macs = {f"m{i}/Conv": m for i, m in enumerate(macs)}
        self.noise = dict(zip(self.macs, noise, strict=True))
        self.base, self.factor, self.worst, self.unlike = base, factor, worst, unlike
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, chosen: Sequence[str]) -> Quality:
        self.asked.append(tuple(chosen))
        return self.quality(chosen)

    def quality(self, chosen: Collection[str]) -> Quality:
        noise = self.base + self.factor * sum(self.noise[name] for name in chosen)
        psnr = (psnr_of(noise / self.worst, 1.0), psnr_of(noise * self.worst, 1.0))
        return Quality(psnr, (1.0, 1.0 - min(self.unlike * noise, 1.0)), 0.0)

    def choose(self, goal: Goal, **options: int) -> Choice:
        return choose_int8(self.errors, self.macs, goal, self, SilentProgress(), **options)

    def share(self, chosen: Collection[str]) -> float:
        return sum(self.macs[name] for name in chosen) / sum(self.macs.values())


def db(noise: float) -> float:
    return psnr_of(noise, 1.0)


def network(seed: int, layers: int = 84, **options: float) -> Network:
    """As measured on a trained generator: most layers at 70..100 dB, a few cheap ones at 32..60 dB."""
    draw = np.random.default_rng(seed)
    quiet = draw.uniform(70, 100, layers)
    loud = draw.uniform(32, 60, layers)
    psnr = np.where(draw.random(layers) < 0.3, loud, quiet)
    return Network((10 ** (-psnr / 10)).tolist(), draw.lognormal(0, 1.5, layers).tolist(), **options)


@pytest.mark.parametrize("seed", range(4))
def test_nearly_the_best_of_all_choices(seed: int) -> None:
    draw = np.random.default_rng(seed)
    toy = Network((10 ** -draw.uniform(3, 5, 10)).tolist(), draw.uniform(1, 10, 10).tolist())
    goal = Goal(db(0.35 * sum(toy.noise.values())), 0)
    best = max(
        toy.share(chosen)
        for count in range(11)
        for chosen in itertools.combinations(toy.macs, count)
        if goal.is_met(toy.quality(chosen))
    )
    choice = toy.choose(goal)
    assert goal.is_met(toy.quality(choice.chosen))
    assert choice.share >= best - 0.1
    assert choice.share == pytest.approx(toy.share(choice.chosen))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"factor": 3.0},  # errors that add up to more than their powers
        {"factor": 0.3},  # that cancel
        {"worst": 2.5},  # maps that differ
        {"base": 10**-3.8, "factor": 1.4},  # FP16 already takes half of what is allowed
        {"unlike": 300.0},  # SSIM decides
        {"unlike": 2000.0, "factor": 0.5},
    ],
)
def test_predictions_that_are_wrong_are_corrected(options: dict[str, float]) -> None:
    for seed in range(5):
        toy = network(seed, **options)
        goal = Goal(35.0, 0.97)
        choice = toy.choose(goal)
        assert goal.is_met(toy.quality(choice.chosen)), seed
        assert choice.quality == toy.quality(choice.chosen)
        assert len(toy.asked) == len(choice.steps) <= 8
        # nothing of the same order would have been better by more than little
        ratio = {name: toy.noise[name] / toy.macs[name] for name in toy.macs}
        order = sorted(ratio, key=ratio.__getitem__)
        prefix = max((n for n in range(85) if goal.is_met(toy.quality(order[:n]))), default=0)
        assert choice.share >= toy.share(order[:prefix]) - 0.03, seed


def test_few_evaluations_where_the_prediction_is_right() -> None:
    toy = network(0)
    choice = toy.choose(Goal(35.0, 0.97))
    assert len(toy.asked) <= 3
    assert choice.share > 0.9


def test_everything_where_everything_is_good_enough() -> None:
    toy = network(1)
    choice = toy.choose(Goal(10.0, 0.5))
    assert choice.chosen == tuple(toy.macs)
    assert choice.left_out == ()
    assert len(toy.asked) == 1
    assert choice.share == 1
    assert (choice.bits_before, choice.bits_after) == (
        pytest.approx(16 * sum(toy.macs.values())),
        pytest.approx(8 * sum(toy.macs.values())),
    )


def test_nothing_where_no_layer_is_good_enough() -> None:
    toy = Network([1e-2, 1e-2, 2e-2], [1, 2, 3], base=1e-6)
    choice = toy.choose(Goal(50.0, 0))
    assert choice.chosen == ()
    assert choice.share == 0
    assert choice.bits_after == choice.bits_before == 6 * 16
    assert choice.quality == toy.quality(())
    assert [one.names for one in choice.left_out] == [("m0/Conv",), ("m2/Conv",), ("m1/Conv",)]


def test_a_goal_that_is_missed_without_int8() -> None:
    toy = network(2, base=10**-3.3)
    with pytest.raises(
        GateError, match=r"without INT8 the pictures are 33\.0 dB and SSIM 1\.000 .* 35 dB and 0\.97 are"
    ):
        toy.choose(Goal(35.0, 0.97))
    assert len(toy.asked) <= 8
    assert toy.asked[-1] == ()


def test_a_large_layer_further_down_is_taken_back_where_it_fits() -> None:
    """The order stops at b, which does not fit; c is worse per multiplication, but small enough."""
    toy = Network([1e-6, 0.9e-4, 0.3e-4], [100, 80, 20])
    choice = toy.choose(Goal(db(0.5e-4), 0))
    assert choice.chosen == ("m0/Conv", "m2/Conv")
    (left,) = choice.left_out
    assert (left.name, left.rank, left.layers) == ("m1/Conv", 2, 3)
    assert left.share == pytest.approx(0.4)
    assert left.reason == ("40.5 dB alone for 40.0 % of the multiplications: number 2 of 3 in error per multiplication")


def test_layers_that_cannot_be_chosen_say_why() -> None:
    errors = [LayerError(("a",), 1e-5, 56), LayerError(("b",), math.inf, -math.inf), LayerError(("c",), 1e-9, 96)]
    quality = Quality((60.0,), (0.99,), 0.0)
    choice = choose_int8(errors, {"a": 10, "b": 5, "c": 0}, Goal(35, 0.9), lambda _: quality, SilentProgress())
    assert choice.chosen == ("a",)
    assert {one.name: one.reason for one in choice.left_out} == {
        "b": "its INT8 picture is not finite",
        "c": "saves nothing",
    }
    assert choice.share == pytest.approx(2 / 3)


def test_convolutions_of_one_layer_stay_together() -> None:
    errors = [LayerError(("h/Conv", "h/Conv_2"), 1e-6, 66.0), LayerError(("x",), 1e-2, 26.0)]
    asked: list[tuple[str, ...]] = []

    def evaluate(chosen: Sequence[str]) -> Quality:
        asked.append(tuple(chosen))
        return Quality((26.0 if "x" in chosen else 66.0,), (1.0,), 0.0)

    choice = choose_int8(errors, {"h/Conv": 3, "h/Conv_2": 5, "x": 2}, Goal(40, 0.9), evaluate, SilentProgress(), 32)
    assert choice.chosen == ("h/Conv", "h/Conv_2")
    assert (choice.bits_before, choice.bits_after) == (320, 8 * 8 + 2 * 32)
    assert asked == [("h/Conv", "h/Conv_2")]


def test_names_are_in_the_order_of_the_graph_and_choices_repeat() -> None:
    first, second = (network(3, factor=1.7).choose(Goal(40.0, 0.97)) for _ in range(2))
    assert first == second
    numbers = [int(name[1:].partition("/")[0]) for name in first.chosen]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize("most", [2, 3, 5])
def test_fewer_evaluations_give_a_poorer_choice_but_a_true_one(most: int) -> None:
    toy = network(4, factor=40.0)
    goal = Goal(35.0, 0.97)
    choice = toy.choose(goal, most_evaluations=most)
    assert len(toy.asked) <= most
    assert goal.is_met(toy.quality(choice.chosen))


@settings(max_examples=150, deadline=None)
@given(
    noise=st.lists(st.floats(0, 1) | st.just(math.inf), max_size=12),
    data=st.data(),
    psnr=st.floats(0, 90),
    ssim=st.floats(0, 1),
    quality=st.functions(
        like=lambda chosen: None,
        returns=st.tuples(st.floats(-10, 120) | st.just(math.inf) | st.just(-math.inf), st.floats(-1, 1)),
        pure=True,
    ),
)
def test_whatever_the_evaluations_say(
    noise: list[float], data: st.DataObject, psnr: float, ssim: float, quality: Callable[[tuple[str, ...]], tuple]
) -> None:
    """A choice was evaluated and meets the goal, or nothing does; never more evaluations than allowed."""
    macs = data.draw(st.lists(st.floats(0, 1e9), min_size=len(noise), max_size=len(noise)))
    errors = [LayerError((str(i),), 4 * n, psnr_of(n, 1.0)) for i, n in enumerate(noise)]
    goal = Goal(psnr, ssim)
    seen: Mapping[tuple[str, ...], Quality] = {}

    def evaluate(chosen: Sequence[str]) -> Quality:
        decibels, likeness = quality(tuple(chosen))
        seen[tuple(chosen)] = Quality((decibels,), (likeness,), 0.0)  # type: ignore[index]
        return seen[tuple(chosen)]

    try:
        choice = choose_int8(errors, {str(i): m for i, m in enumerate(macs)}, goal, evaluate, SilentProgress())
    except GateError:
        assert not goal.is_met(seen[()])
        assert len(seen) <= 8
        return
    assert len(choice.steps) <= 8
    assert goal.is_met(choice.quality)
    assert seen[choice.chosen] == choice.quality
    assert {name for one in choice.left_out for name in one.names} | set(choice.chosen) == {
        str(i) for i in range(len(noise))
    }
    assert all(one.reason for one in choice.left_out)
    assert 0 <= choice.share <= 1 + 1e-9


@pytest.mark.parametrize("macs", [{}, {"a": -1.0}, {"a": math.nan}, {"a": math.inf}])
def test_work_that_is_not_known(macs: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="work of 'a' is"):
        choose_int8([LayerError(("a",), 1, 6)], macs, Goal(35, 0.9), lambda _: Quality((9,), (1,), 0), SilentProgress())


def test_impossible_goals() -> None:
    for psnr, ssim in ((math.nan, 0.9), (math.inf, 0.9), (-1, 0.9), (301, 0.9), (35, 1.01), (35, -0.1), (35, math.nan)):
        with pytest.raises(UsageError, match=r"min_(psnr|ssim) is"):
            Goal(psnr, ssim)
    with pytest.raises(UsageError, match="at least 2"):
        network(0).choose(Goal(35, 0.9), most_evaluations=1)
