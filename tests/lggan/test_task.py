"""The two configurations: reading back what was written, and refusing what cannot be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lggan.config import GeneratorConfig, SauConfig, SauMask, SauPlacement
from lggan.cross_view_config import CrossViewConfig
from lggan.task import Task, read_config, task_of
from runtime.contract.errors import InputError, UsageError

CROSS_VIEW = CrossViewConfig(
    classes=3, height=32, width=64, colors=((0, 0, 1), (2, 3, 4), (5, 6, 7)), groups=(0, -1, 1), ngf=4
)


@pytest.mark.parametrize(
    ("task", "config"),
    [
        (Task.SEMANTIC_SYNTHESIS, GeneratorConfig(classes=3, height=64, width=32)),
        (Task.CROSS_VIEW, CROSS_VIEW),
        (Task.CROSS_VIEW, replace(CROSS_VIEW, sau=SauConfig(SauPlacement.GLOBAL, mask=SauMask.SAME_CLASS))),
    ],
)
def test_what_was_written_is_read_back(task: Task, config: GeneratorConfig | CrossViewConfig) -> None:
    assert read_config(task.value, config.to_dict()) == config
    assert task_of(config) is task


def test_an_unknown_task_is_named() -> None:
    with pytest.raises(InputError, match="'painting' is unknown; this version knows semantic-synthesis, cross-view"):
        read_config("painting", {})


@pytest.mark.parametrize(
    "entries",
    [{"colors": [[0, 0, 0]] * 2 + [[0, 0]]}, {"colors": 3}, {"groups": [0, 1, 1.0]}, {"groups": [0, True, 1]},
     {"ngf": "4"}, {"edges": True}, {"sau": "none"}, {"sau": {"mask": "other"}}],
)  # fmt: skip
def test_values_of_the_wrong_kind(entries: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="configuration is not readable"):
        CrossViewConfig.from_dict(CROSS_VIEW.to_dict() | entries)


@pytest.mark.parametrize("name", ["colors", "groups", "classes", "height"])
def test_a_missing_value(name: str) -> None:
    plain = CROSS_VIEW.to_dict()
    plain.pop(name)
    with pytest.raises(InputError, match=name):
        CrossViewConfig.from_dict(plain)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"groups": [0, 2, -1]}, "without a gap"),
        ({"groups": [-1, -1, -1]}, "without a gap"),
        ({"groups": [-2, 0, 1]}, "without a gap"),
        ({"groups": [0, 1]}, "groups has 2 entries for 3 classes"),
        ({"colors": [[0, 0, 256]] * 3}, "not within 0 and 255"),
        ({"height": 30}, "height is 30; it must be a multiple of 4"),
        ({"width": 4}, "at least 8"),
        ({"ngf": 0}, "ngf is 0"),
        ({"residual_blocks": -1}, "residual_blocks is -1"),
        ({"classes": 256}, "classes is 256"),
    ],
)
def test_values_that_cannot_be(entries: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        CrossViewConfig.from_dict(CROSS_VIEW.to_dict() | entries)


def test_properties() -> None:
    assert (CROSS_VIEW.heads, CROSS_VIEW.stride, CROSS_VIEW.edges) == (2, 4, False)
    assert not CROSS_VIEW.sau.needs_classes
    assert SauConfig(mask=SauMask.SAME_CLASS).needs_classes
    assert not SauConfig(SauPlacement.NONE, mask=SauMask.SAME_CLASS).needs_classes
