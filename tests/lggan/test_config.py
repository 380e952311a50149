"""The generator's configuration: derived values, the way through JSON, and values that make no network."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lggan.config import GeneratorConfig, SauConfig, SauPlacement, SauWindow, UpsamplingDepth
from runtime.contract.errors import InputError, LgganError, UsageError

PLAIN: dict[str, Any] = {"classes": 4, "height": 32, "width": 64}


def test_derived_values() -> None:
    config = GeneratorConfig(classes=151, height=256, width=256, heads=52)
    assert (config.semantic_channels, config.scored_heads, config.stride) == (151, 51, 32)
    config = GeneratorConfig(classes=35, height=256, width=512, edges=True, depth=UpsamplingDepth.MORE)
    assert (config.heads, config.semantic_channels, config.scored_heads, config.stride) == (35, 36, 35, 64)


def test_widest_is_a_cap() -> None:
    config = GeneratorConfig(**PLAIN, ngf=8, widest=64)
    assert [config.width_of(factor) for factor in (1, 4, 8, 16)] == [8, 32, 64, 64]
    assert GeneratorConfig(**PLAIN, ngf=8).width_of(16) == 128


def test_there_and_back_through_json() -> None:
    sau = SauConfig(SauPlacement.GLOBAL, kernel=3, compressed=16, encoder_kernel=1, window=SauWindow.EXPANDED)
    config = GeneratorConfig(4, 64, 128, True, 3, 8, 64, 16, 2, UpsamplingDepth.MORE, sau)
    assert GeneratorConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    "values",
    [
        {"classes": 0},
        {"classes": 257},
        {"heads": 5},
        {"heads": -1},
        {"ngf": 0},
        {"spade_hidden": 0},
        {"residual_blocks": -1},
        {"residual_blocks": 10**9},
        {"widest": 100},
        {"widest": -1},
        {"height": 33},
        {"height": 0},
        {"width": -64},
        {"depth": "more"},  # 32 is no multiple of 64
        {"sau": {"kernel": 4}},
        {"sau": {"kernel": -1}},
        {"sau": {"encoder_kernel": 2}},
        {"sau": {"compressed": 0}},
    ],
)
def test_values_that_make_no_network(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"must|between"):
        GeneratorConfig.from_dict({**PLAIN, **values})


@pytest.mark.parametrize(
    "values",
    [
        {"ngf": "64"},
        {"ngf": 64.0},
        {"ngf": True},
        {"ngf": None},
        {"classes": 4.5},
        {"height": [32]},
        {"edges": "no"},
        {"edges": 2},
        {"depth": "deep"},
        {"depth": 5},
        {"sau": 5},
        {"sau": "none"},
        {"sau": {"placement": "everywhere"}},
        {"sau": {"window": ["source"]}},
        {"sau": {"kernel": 5.0}},
        {"sau": {"kernel": "5"}},
        {"sau": {"encoder_kernel": 1.0}},
        {"sau": {"compressed": 3.5}},
        {"sau": {"compressed": True}},
        {"sau": {"taps": 5}},
        {"colour": "red"},
    ],
)
def test_values_of_the_wrong_kind(values: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        GeneratorConfig.from_dict({**PLAIN, **values})


@pytest.mark.parametrize("plain", [{}, {"classes": 3}, [], None, "text"])
def test_not_a_configuration(plain: Any) -> None:
    with pytest.raises(LgganError):
        GeneratorConfig.from_dict(plain)
