"""What a generator is fed in one call, and what is refused before it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from runtime.contract.batch import input_batch
from runtime.contract.errors import InputError
from tests.runtime.toy_models import CARD, CROSS_VIEW_CARD, INSTANCE_CARD, LABEL, SOURCE

LABELS = np.random.default_rng(0).integers(0, 3, (2, 8, 12), dtype=np.uint8)
PHOTOS = np.random.default_rng(1).integers(0, 256, (2, 8, 12, 3), dtype=np.uint8)


def test_every_shape_of_a_cross_view_input() -> None:
    for label, source in ((LABELS, PHOTOS), (LABELS[:, None], PHOTOS), (LABELS[0], PHOTOS[0]), (LABELS[:1], PHOTOS[0])):
        batch = input_batch(CROSS_VIEW_CARD, "m", label, source=source)
        count = len(batch.label)
        assert batch.label.shape == (count, 1, 8, 12)
        assert batch.source is not None
        np.testing.assert_array_equal(batch.source, PHOTOS[:count])
        assert list(batch.feeds()) == ["source", "label"]  # the graph's order


def test_feeds_of_the_other_task() -> None:
    instance = np.zeros((8, 12), np.int32)
    assert list(input_batch(CARD, "m", LABELS).feeds()) == ["label"]
    assert list(input_batch(INSTANCE_CARD, "m", LABELS[0], instance).feeds()) == ["label", "instance"]


def test_void_is_mapped_to_its_class_or_stays() -> None:
    label = np.full((8, 12), 255, np.uint8)
    assert input_batch(CARD, "m", label).label.max() == 3
    assert input_batch(CROSS_VIEW_CARD, "m", label, source=PHOTOS[0]).label.min() == 255


def test_views_that_are_not_contiguous_are_copied() -> None:
    flipped = PHOTOS[:, ::-1, :, ::-1]
    batch = input_batch(CROSS_VIEW_CARD, "m", LABELS, source=flipped)
    assert batch.source is not None
    assert batch.source.flags.c_contiguous
    np.testing.assert_array_equal(batch.source, flipped)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, "m needs a source photo"),
        (PHOTOS.astype(np.float32), "must be a numpy array of uint8, this is float32"),
        (PHOTOS.tolist(), "must be a numpy array of uint8, this is list"),
        (PHOTOS[..., 0], r"must be RGB, .* this is \[2, 8, 12\]"),
        (PHOTOS[..., :2], r"must be RGB, .* this is \[2, 8, 12, 2\]"),
        (np.concatenate([PHOTOS, PHOTOS], axis=3)[..., :4], r"must be RGB, .* this is \[2, 8, 12, 4\]"),
        (PHOTOS.transpose(0, 3, 1, 2), r"must be RGB, .* this is \[2, 3, 8, 12\]"),
        (PHOTOS[:1], r"photo is \[1, 8, 12\] \(N, H, W\), the label map \[2, 8, 12\]; resize"),
        (PHOTOS[0], r"photo is \[1, 8, 12\]"),
        (PHOTOS[:, :4], r"photo is \[2, 4, 12\]"),
    ],
)
def test_wrong_source_photos(source: np.ndarray | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        input_batch(CROSS_VIEW_CARD, "m", LABELS, source=source)


def test_inputs_of_the_other_task() -> None:
    with pytest.raises(InputError, match="m makes pictures from label maps alone"):
        input_batch(CARD, "m", LABELS, source=PHOTOS)
    with pytest.raises(InputError, match="m takes no instance map"):
        input_batch(CROSS_VIEW_CARD, "m", LABELS, LABELS.astype(np.int32), PHOTOS)


def test_smallest_size() -> None:
    """The tower reflects one pixel of a quarter of the size: below 8 there is none beside it."""
    with pytest.raises(InputError, match=r"4x12 .* multiples of 4 from 8 on; resize it with --fit 8x12$"):
        input_batch(CROSS_VIEW_CARD, "m", LABELS[:, :4], source=PHOTOS[:, :4])
    input_batch(CARD, "m", LABELS[:, :4])


def test_fixed_sizes_of_the_graph() -> None:
    fixed = replace(CROSS_VIEW_CARD, inputs=(replace(SOURCE, shape=(1, 8, 16, 3)), replace(LABEL, shape=(1, 1, 8, 16))))
    with pytest.raises(InputError, match=r"source inputs of exactly \[1, 8, 16, 3\], this one is \[2, 8, 12, 3\]"):
        input_batch(fixed, "m", LABELS, source=PHOTOS)
