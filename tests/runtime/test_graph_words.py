from __future__ import annotations

import pytest

from runtime.graph_words import branch_title, macs_text, rewrite_title, shape_text, share_text, weights_text


@pytest.mark.parametrize(
    ("macs", "text"),
    [
        (0, "0"),
        (7, "7.00 MAC"),
        (999, "999 MAC"),
        (1_000, "1.00 kMAC"),
        (999_499, "999 kMAC"),
        (999_500, "1.00 MMAC"),
        (30_483_584, "30.5 MMAC"),
        (1_277_000_000, "1.28 GMAC"),
        (99_960_000_000, "100 GMAC"),
        (445_911_695_360, "446 GMAC"),
        (2_500_000_000_000, "2.50 TMAC"),
    ],
)
def test_three_digits_and_a_unit(macs: int, text: str) -> None:
    assert macs_text(macs) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 5, ""),
        (0, 0, ""),
        (5, 5, "100 %"),
        (1, 3, "33 %"),
        (99, 1000, "9.9 %"),
        (1, 1000, "0.1 %"),
        (1, 9999, "< 0.1 %"),
    ],
)
def test_shares(part: int, whole: int, text: str) -> None:
    assert share_text(part, whole) == text


def test_other_words() -> None:
    assert shape_text((1, 64, 8)) == "1×64×8"
    assert shape_text(()) == ""
    assert weights_text({"FP32": 1 << 20, "INT64": 12}) == "1.0 MiB FP32"
    assert weights_text({"FP16": 1024, "FP32": 1024}) == "1.0 KiB FP16, 1.0 KiB FP32"
    assert weights_text({}) == weights_text({"FP32": 0}) == "none"
    assert branch_title("local") == "local branch"
    assert branch_title("new") == "new"
    assert rewrite_title("batch-norm") == "batch norm folded"
    assert rewrite_title("later") == "later"
