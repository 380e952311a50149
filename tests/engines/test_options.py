"""Targets, shapes and their limits."""

from __future__ import annotations

import pytest

from engines.options import BuildOptions, Shape, ShapeProfile, Target
from runtime.contract.errors import UsageError
from tests.onnx_toys import CARD

ONE = Shape(1, 16, 24)


def test_targets_are_parsed_in_the_order_of_the_enum_and_once() -> None:
    assert Target.parse_list("sm_120, SM86,sm86") == (Target.SM86, Target.SM120)


@pytest.mark.parametrize("text", ["", " , ", "sm99", "86"])
def test_unknown_targets_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="sm75, sm80"):
        Target.parse_list(text)


def test_jetson_targets_are_explained() -> None:
    with pytest.raises(UsageError, match="built on the device"):
        Target.parse_list("sm87")


def test_shape_reads_what_it_writes() -> None:
    assert Shape.parse(str(Shape(4, 256, 512))) == Shape(4, 256, 512)


@pytest.mark.parametrize("text", ["256x512", "1x256x512x3", "1x-2x3", "1 x 2 x 3", "axbxc", "1x2x9999999"])
def test_other_shapes_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="1x256x512"):
        Shape.parse(text)


def test_profile_of_a_card_is_its_size_alone() -> None:
    profile = ShapeProfile.of_card(CARD)
    assert profile == ShapeProfile(ONE, ONE, ONE)
    profile.check(CARD.stride)


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        (ShapeProfile(Shape(2, 16, 24), ONE, Shape(4, 16, 24)), "minimum and optimum"),
        (ShapeProfile(ONE, Shape(1, 32, 24), ONE), "optimum and maximum"),
        (ShapeProfile(ONE, ONE, Shape(1, 30, 24)), "multiples of 4"),
        (ShapeProfile(Shape(1, 0, 24), ONE, ONE), "multiples of 4"),
        (ShapeProfile(ONE, ONE, Shape(1, 16, 1 << 20)), "4 to 16384"),
        (ShapeProfile(Shape(0, 16, 24), ONE, ONE), "batch is 0"),
        (ShapeProfile(ONE, ONE, Shape(5000, 16, 24)), "batch is 5000"),
    ],
)
def test_impossible_profiles_are_refused(profile: ShapeProfile, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        profile.check(4)


def test_options_want_each_target_once() -> None:
    for targets in ((), (Target.SM86, Target.SM86)):
        with pytest.raises(UsageError, match="at least one"):
            BuildOptions(targets=targets)


def test_the_smallest_side_of_a_cross_view_model() -> None:
    small = Shape(1, 4, 8)
    ShapeProfile(small, small, small).check(4)
    with pytest.raises(UsageError, match="1x4x8; height and width must be multiples of 4, 8 to 16384"):
        ShapeProfile(small, small, small).check(4, smallest=8)
