"""The plan of batches: a pure function of seed and step; processes share it without overlap; epochs see everything."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from lggan.data.plan import BatchPlan

PLAN = BatchPlan(examples=10, batch=4, seed=3, slack=(5, 7))


def test_the_same_whenever_asked() -> None:
    forwards = [PLAN.views(step) for step in range(6)]
    backwards = [replace(PLAN).views(step) for step in reversed(range(6))]
    assert forwards == backwards[::-1]


def test_another_seed_is_another_plan() -> None:
    assert PLAN.views(0) != replace(PLAN, seed=4).views(0)


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_processes_share_each_batch(ranks: int) -> None:
    shards = [list(PLAN.shards(2, 7, rank, ranks)) for rank in range(ranks)]
    for index, step in enumerate(range(2, 7)):
        parts = [shard[index] for shard in shards]
        assert {len(part) for part in parts} == {4 // ranks}
        whole = [part[place] for place in range(4 // ranks) for part in parts]
        assert whole == PLAN.views(step)


def test_continuing_sees_what_would_have_come() -> None:
    assert list(PLAN.shards(0, 9, 0, 2))[4:] == list(PLAN.shards(4, 9, 0, 2))


@pytest.mark.parametrize(("examples", "batch"), [(10, 4), (12, 4), (4, 4), (7, 1)])
def test_an_epoch_shows_no_example_twice(examples: int, batch: int) -> None:
    plan = BatchPlan(examples, batch, seed=0)
    assert plan.steps_per_epoch == examples // batch
    for epoch in range(3):
        steps = range(epoch * plan.steps_per_epoch, (epoch + 1) * plan.steps_per_epoch)
        assert {plan.epoch(step) for step in steps} == {epoch}
        seen = Counter(view.index for step in steps for view in plan.views(step))
        assert set(seen.values()) == {1}
        assert len(seen) == examples // batch * batch
        assert set(seen) <= set(range(examples))


def test_examples_left_over_change_with_the_epoch() -> None:
    plan = BatchPlan(examples=5, batch=4, seed=1)
    left = {(set(range(5)) - {view.index for view in plan.views(step)}).pop() for step in range(40)}
    assert left == set(range(5))


def test_fewer_examples_than_a_batch_are_repeated() -> None:
    plan = BatchPlan(examples=3, batch=8, seed=2)
    assert plan.steps_per_epoch == 1
    counts = Counter(view.index for view in plan.views(5))
    assert sorted(counts.values()) == [2, 3, 3]


def test_crops_and_flips_cover_their_range() -> None:
    views = [view for step in range(200) for view in PLAN.views(step)]
    assert {view.top for view in views} == set(range(6))
    assert {view.left for view in views} == set(range(8))
    assert np.mean([view.flip for view in views]) == pytest.approx(0.5, abs=0.05)
    pairs = Counter((view.top, view.flip) for view in views)
    assert len(pairs) == 12  # one does not follow from the other


def test_without_slack_and_flips_nothing_moves() -> None:
    plan = replace(PLAN, slack=(0, 0), flip=False)
    assert {(view.top, view.left, view.flip) for step in range(20) for view in plan.views(step)} == {(0, 0, False)}
