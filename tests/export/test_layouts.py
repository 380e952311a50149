from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from export.layouts import built_in, from_maps, single_class
from runtime.contract.card import ClassInfo, ModelCard
from runtime.contract.labels import check_label_map

CARD = ModelCard(
    name="card",
    task="semantic-synthesis",
    classes=tuple(ClassInfo(f"class {index}", (index, 0, 0)) for index in range(11)),
    void=None,
    height=96,
    width=128,
    stride=32,
)


@pytest.mark.parametrize(("classes", "height", "width"), [(11, 96, 128), (1, 32, 32), (2, 256, 512), (150, 64, 64)])
def test_maps_fit_the_model(classes: int, height: int, width: int) -> None:
    names = tuple(ClassInfo(f"class {index}", (index, 0, 0)) for index in range(classes))
    card = replace(CARD, classes=names, height=height, width=width)
    checks = built_in(card)
    assert sum(len(check.label) for check in checks) >= 3
    assert len({check.label.shape[2:] for check in checks}) >= 2
    assert max(len(check.label) for check in checks) == 2
    for check in checks:
        assert check.label.ndim == 4
        check_label_map(check.label, card, check.name)
        assert check.instance is None


def test_maps_are_the_same_every_time_and_not_trivial() -> None:
    for first, second in zip(built_in(CARD), built_in(CARD), strict=True):
        np.testing.assert_array_equal(first.label, second.label)
        assert all(len(np.unique(label)) > 3 for label in first.label)


def test_instances_where_the_model_wants_them() -> None:
    check = built_in(replace(CARD, instances=True))[0]
    assert check.instance is not None
    assert check.instance.dtype == np.int32
    assert check.instance.shape == check.label.shape
    assert len(np.unique(check.instance)) > len(np.unique(check.label))


def test_given_maps_and_the_single_class() -> None:
    given = np.full((32, 64), 4, np.uint8)
    (check,) = from_maps([given], CARD)
    np.testing.assert_array_equal(check.label[0, 0], given)
    assert np.unique(single_class(CARD).label).tolist() == [0]
