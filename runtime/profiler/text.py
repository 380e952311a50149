"""Strings that come from files, made harmless before a terminal, a page or a report shows them."""

from __future__ import annotations

import unicodedata

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_INVISIBLE_LETTERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_MOST_MARKS = 4


def printable(text: str, limit: int = 120) -> str:
    """``text`` on one line, visible, and at most ``limit`` characters long.

    Control characters (ANSI escapes among them), direction overrides, zero-width and unassigned characters and lone
    surrogates become U+FFFD instead of vanishing, so that a forged name stays recognisable; runs of white space become
    one space; piles of combining marks are cut; what is too long ends in an ellipsis. HTML is not escaped here: that
    is the template's work.
    """
    words = " ".join(text[: 8 * limit].split())
    shown: list[str] = []
    marks = 0
    for character in words:
        category = unicodedata.category(character)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if marks > _MOST_MARKS:
            continue
        hidden = category in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") or character in _INVISIBLE_LETTERS
        shown.append(_REPLACEMENT if hidden else character)
    line = "".join(shown)
    return line if len(line) <= limit else line[: limit - 1] + "\N{HORIZONTAL ELLIPSIS}"
