"""The account of a graph: there and back, sums, and everything that is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from runtime.contract.errors import InputError
from runtime.contract.graph_report import MAX_GRAPH_BYTES, GraphReport
from tests.runtime.graph_samples import REPORT


def test_there_and_back() -> None:
    text = REPORT.to_json()
    assert GraphReport.from_json(text) == REPORT
    assert GraphReport.from_json(text.encode()) == REPORT
    assert text == GraphReport.from_json(text).to_json()
    assert "\n" not in text


def test_sums() -> None:
    encoder, local, attention, picture = REPORT.branches()
    assert [branch.name for branch in (encoder, local, attention, picture)] == [
        "encoder",
        "local",
        "attention",
        "picture",
    ]
    assert (encoder.macs, encoder.nodes, encoder.weight_bytes, encoder.activation_bytes) == (3_000, 5, 600, 50_000)
    assert encoder.output == (1, 8, 4, 8)  # of its last block
    assert REPORT.total().macs == 3_000 + 7_000_000_000 + 40_000
    assert REPORT.total().name == "total"
    assert replace(REPORT, blocks=()).total().macs == 0
    assert replace(REPORT, blocks=()).branches() == ()


def _changed(path: str, value: Any) -> str:
    """The sample's JSON with the entry at a dotted path replaced, or removed where the value is ``...``."""
    content: Any = json.loads(REPORT.to_json())
    *outer, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    inner = content
    for part in outer:
        inner = inner[part]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return json.dumps(content)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("blocks", ...),
        ("blocks", {}),
        ("blocks.0", 3),
        ("blocks.0.macs", -1),
        ("blocks.0.macs", 1.5),
        ("blocks.0.macs", True),
        ("blocks.0.macs", 1 << 63),
        ("blocks.0.name", ...),
        ("blocks.0.name", 5),
        ("blocks.0.name", "x" * 2001),
        ("blocks.0.output", "1x2"),
        ("blocks.0.output", ["N"]),
        ("edges", [["a"]]),
        ("edges", [1]),
        ("largest.0.size_bytes", None),
        ("savings.0.note", ...),
        ("savings.0.macs_after", "0"),
        ("height", "8"),
        ("published_macs", ...),
        ("edges", [["a", "b"]] * 20_001),
    ],
)
def test_damaged(path: str, value: Any) -> None:
    with pytest.raises(InputError, match="the account of the graph is damaged"):
        GraphReport.from_json(_changed(path, value))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not readable JSON"),
        ("{", "not readable JSON"),
        ("[" * 50_000, "not readable JSON"),
        ("[]", "not a JSON object"),
        ("{}", "schema None, this version reads 1"),
        (_changed("schema", 2), "schema 2, this version reads 1"),
        (" " * (MAX_GRAPH_BYTES + 1), "more than 1048576"),
    ],
)
def test_foreign(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        GraphReport.from_json(text)
