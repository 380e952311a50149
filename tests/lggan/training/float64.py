"""Training in which rounding stays rounding, for tests that compare runs whose sums have another order.

Ordinary runs of that kind drift apart within a few steps: Adam turns a gradient that is nothing but rounding, such as
that of a bias in front of a normalisation, into whole steps of its learning rate.
"""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

import lggan.training.cross_view as cross_view
import lggan.training.semantic_synthesis as semantic_synthesis
import lggan.training.trainer as trainer


def use_float64(patch: pytest.MonkeyPatch) -> None:
    """Weights, inputs and losses of everything that is trained afterwards are float64, and Adam's epsilon is large.

    Undone by the patch's end but for the default type, see `float32_again`.
    """
    torch.set_default_dtype(torch.float64)
    patch.setattr(trainer, "Adam", partial(torch.optim.Adam, eps=1e-2))
    patch.setattr(torch.Tensor, "float", torch.Tensor.double)
    for module, names in (
        (semantic_synthesis, ("photo_to_unit", "encode_semantics")),
        (cross_view, ("photo_to_unit", "bytes_to_unit")),
    ):
        for name in names:
            patch.setattr(module, name, _doubled(getattr(module, name)))


def float32_again() -> None:
    """The default type of the other tests."""
    torch.set_default_dtype(torch.float32)


def _doubled(function):  # type: ignore[no-untyped-def]
    def wide(*arguments: object) -> Tensor:
        # Bytes times a power of two are exact in float32; the division by 127.5 is not.
        values: Tensor = function(*arguments)
        return (values.double() * 127.5).round() / 127.5

    return wide
