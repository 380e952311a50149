from __future__ import annotations

import numpy as np
import pytest

from calibration.maps import CalibrationMaps
from runtime.contract.errors import InputError
from tests.calibration.toy_maps import toy_label_maps, toy_maps
from tests.onnx_toys import CARD


def test_feeds_are_what_the_graph_takes() -> None:
    maps = toy_maps(4)
    given = toy_label_maps(4)
    assert len(maps) == 4
    assert maps.names == ("map 0", "map 1", "map 2", "map 3")
    for one, feed in zip(given, maps.feeds(), strict=True):
        assert list(feed) == ["label"]
        assert feed["label"].shape == (1, 1, CARD.height, CARD.width)
        np.testing.assert_array_equal(feed["label"][0, 0], one.label)


def test_the_fingerprint_is_of_the_contents() -> None:
    given = toy_label_maps(5)
    one = CalibrationMaps(CARD, given)
    assert CalibrationMaps(CARD, [entry._replace(name="other") for entry in reversed(given)]).sha256 == one.sha256
    changed = given[2].label.copy()
    changed[0, 0] ^= 1
    assert CalibrationMaps(CARD, [*given[:2], given[2]._replace(label=changed), *given[3:]]).sha256 != one.sha256
    assert CalibrationMaps(CARD, given[:4]).sha256 != one.sha256


def test_a_few_of_them_are_spread_evenly() -> None:
    maps = toy_maps(9)
    assert maps.few(3).names == ("map 0", "map 3", "map 6")
    assert maps.few(1).names == ("map 0",)
    assert maps.few(9) is maps.few(20) is maps


def test_too_few_or_equal_ones_are_refused() -> None:
    given = toy_label_maps(4)
    with pytest.raises(InputError, match=r"3 label maps are too few .* give at least 4, better 20 or more"):
        CalibrationMaps(CARD, given[:3])
    with pytest.raises(InputError, match="all 5 label maps are the same"):
        CalibrationMaps(CARD, [given[0]] * 5)


def test_a_map_that_the_model_cannot_take_is_named() -> None:
    given = toy_label_maps(4)
    given[1] = given[1]._replace(label=given[1].label + 9)
    with pytest.raises(InputError, match="map 1"):
        CalibrationMaps(CARD, given)
