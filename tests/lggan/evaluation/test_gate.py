"""Gates: their strict form, what they let pass, and when they are refused."""

from __future__ import annotations

import math

import pytest

from lggan.evaluation.gate import Gate, broken_gates, check_gates, parse_gate
from lggan.evaluation.metric import Better, MetricResult
from runtime.contract.errors import UsageError


@pytest.mark.parametrize(
    ("text", "gate"),
    [
        ("fid<40", Gate("fid", False, 40.0)),
        (" miou > 0.5 ", Gate("miou", True, 0.5)),
        ("kl_score<1e1", Gate("kl_score", False, 10.0)),
        ("kid<-.5", Gate("kid", False, -0.5)),
    ],
)
def test_form(text: str, gate: Gate) -> None:
    assert parse_gate(text) == gate
    assert parse_gate(str(gate)) == gate


@pytest.mark.parametrize(
    "text", ["", "fid", "fid=40", "fid<=40", "40<fid", "fid<", "fid<forty", "fid<nan", "fid<40;", "FID<4", "a<1<2"]
)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="write NAME<VALUE"):
        parse_gate(text)


def test_equal_values_and_what_is_no_number_do_not_pass() -> None:
    below, above = parse_gate("fid<40"), parse_gate("psnr>20")
    assert below.passes(39.9)
    assert not below.passes(40.0)
    assert not below.passes(math.nan)
    assert above.passes(math.inf)
    assert not above.passes(20.0)


def test_unknown_figures_are_refused_and_missing_ones_broken() -> None:
    gates = [parse_gate("fid<40"), parse_gate("ssim>0.5")]
    check_gates(gates, ("ssim", "fid"))
    with pytest.raises(UsageError, match="fid is not computed in this run, only ssim"):
        check_gates(gates, ("ssim",))
    good = MetricResult("ssim", 0.7, "", Better.HIGHER, 1, "")
    assert broken_gates(gates, [good]) == (gates[0],)
