"""The one function that every foreign string passes."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from runtime.profiler.text import printable


def test_plain_names_pass_unchanged() -> None:
    for name in ("fp16", "int8 per-channel (entropy)", "Straße 図 é", "a<b>&\"'"):
        assert printable(name) == name


def test_escapes_overrides_and_invisible_characters_become_visible() -> None:
    assert printable("a\x1b[31mb") == "a\ufffd[31mb"
    assert printable("abc\u202egnp.exe") == "abc\ufffdgnp.exe"
    assert printable("fp\u200b16") == "fp\ufffd16"
    assert printable("\u2066x\u2069\ufeff\x00\x7f\x9b") == "\ufffdx" + "\ufffd" * 5
    assert printable("\ud800x\u3164") == "\ufffdx\ufffd"


def test_white_space_becomes_one_line() -> None:
    assert printable("a\r\n\tb \u2028 c\u00a0d") == "a b c d"


def test_long_names_and_piles_of_marks_are_cut() -> None:
    assert printable("x" * 500, 10) == "x" * 9 + "…"
    assert printable("e" + "\u0301" * 50) == "e" + "\u0301" * 4


@given(st.text(max_size=300))
def test_nothing_hidden_ever_comes_through(text: str) -> None:
    shown = printable(text, 50)
    assert len(shown) <= 50
    assert not {unicodedata.category(letter) for letter in shown} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    shown.encode("utf-8")
    assert printable(shown, 50) == shown
