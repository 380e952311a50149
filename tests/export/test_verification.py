from __future__ import annotations

import numpy as np
import pytest

from export.layouts import CheckInput, single_class
from export.onnx_export import ExportResult
from export.verification import TOLERANCE, Difference, check_gate, compare, rounding_of_torch
from runtime.contract.errors import BackendError, GateError
from runtime.contract.progress import SilentProgress
from tests.export.samples import Sample


def _blocks(sample: Sample) -> CheckInput:
    label = np.random.default_rng(0).integers(0, 4, (1, 1, 4, 8), dtype=np.uint8)
    return CheckInput("blocks", label.repeat(8, axis=2).repeat(8, axis=3), None)


def test_the_gate(sample: Sample) -> None:
    check = [_blocks(sample)]
    good = Difference(maps=1, max_abs=TOLERANCE, mean_abs=0.0, psnr_db=None, max_levels=1)
    check_gate(good, sample.generator, check)
    for bad in (
        Difference(1, TOLERANCE * 1.01, 0.0, 90.0, 1),
        Difference(1, float("inf"), 0.0, None, None),
        Difference(1, float("nan"), 0.0, None, None),
        Difference(1, 0.0, 0.0, None, 2),
    ):
        with pytest.raises(GateError, match="fault of the export"):
            check_gate(bad, sample.generator, check)


def test_a_network_that_amplifies_rounding_is_told_from_a_wrong_graph(sample: Sample) -> None:
    bad = Difference(1, 0.5, 0.0, 20.0, 40)
    with pytest.raises(GateError, match="amplifies rounding"):
        check_gate(bad, sample.generator, [single_class(sample.card)])


def test_one_class_everywhere_is_noise_in_pytorch_itself(sample: Sample) -> None:
    """Instance norm divides constant maps by sqrt(eps): what is left is rounding. The card reports it apart."""
    ordinary = rounding_of_torch(sample.generator, _blocks(sample))
    constant = rounding_of_torch(sample.generator, single_class(sample.card))
    assert ordinary < TOLERANCE / 4
    assert constant > 10 * ordinary


def test_figures(sample: Sample, exported: ExportResult) -> None:
    figures = exported.card.verification
    mean_square = 4 / 10 ** (figures["psnr_db"] / 10)
    assert figures["mean_abs"] ** 2 <= mean_square * 1.01  # the mean never exceeds the root of the mean square
    assert mean_square <= figures["max_abs"] ** 2
    assert figures["one_class"]["maps"] == 1


def test_foreign_bytes_are_a_backend_error(sample: Sample) -> None:
    with SilentProgress().task("test") as task, pytest.raises(BackendError, match="ONNX Runtime"):
        compare(sample.generator, [_blocks(sample)], b"not a model", None, task)
