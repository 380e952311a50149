"""The page of a graph: one file, valid tags, hostile names harmless, nothing loaded from anywhere."""

from __future__ import annotations

import builtins
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from runtime.contract.errors import InputError, MissingError
from runtime.contract.graph_report import Activation, BlockCost, GraphReport, Saving
from runtime.contract.onnx_census import Census, OperatorCount
from runtime.graph_page import graph_columns, render_graph_page
from runtime.inspection import FileKind, Inspection
from tests.runtime.graph_samples import REPORT
from tests.runtime.toy_models import CARD

pytest.importorskip("jinja2")

VOID = {"meta", "wbr", "br"}
HOSTILE = "<img src=x onerror=alert(1)> {{ 7 * 7 }} & \"quoted' \u202e"
CENSUS = Census(
    (
        OperatorCount("main graph", "ai.onnx", "Conv", 9),
        OperatorCount("main graph", "lggan", "SemanticAwareUpsample", 1),
        OperatorCount("lggan::SemanticAwareUpsample", "ai.onnx", "MatMul", 1),
    ),
    {"FP32": 4096},
)
INSPECTION = Inspection(Path("toy.onnx"), FileKind.ONNX, 5000, "ab" * 32, CARD, graph=REPORT, census=CENSUS)


class Page(HTMLParser):
    """Tags in order, text, and whether every tag was closed by its own."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def widths(self, name: str) -> list[float]:
        """Of the bars of a class, in percent."""
        styles = [attributes.get("style") or "" for _, attributes in self.tags if attributes.get("class") == name]
        return [float(style.removeprefix("width: ").removesuffix("%")) for style in styles]


@pytest.fixture(scope="module")
def html() -> str:
    return render_graph_page(INSPECTION)


def test_page_is_self_contained(html: str) -> None:
    page = Page(html)
    assert not re.search(r"https?://|url\(|@import|src=", html)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object", "embed", "form", "base"})
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "default-src 'none'" in html
    assert 'name="viewport"' in html
    assert "prefers-color-scheme: dark" in html


def test_figures_and_words_are_there(html: str) -> None:
    text = Page(html).text
    for words in (
        "7.00 GMAC for one picture of 8×16",
        "The published formulation takes 14.0 GMAC, 2.0 times as many.",
        "4.0 KiB FP32",
        "tower/0",
        "class heads around their class",
        "8.00 GMAC → 1.00 GMAC",
        "1.20 of 4 heads per pixel",
        "1×64×8×16",
        "main graph, 10 nodes",
        "lggan::SemanticAwareUpsample, 1 node",
        "“bands and blocks”",
    ):
        assert words in text, words
    assert "typed" not in text


def test_bars_are_in_proportion(html: str) -> None:
    page = Page(html)
    encoder, local, attention = page.widths("bar")
    assert local == 100
    assert encoder == attention == 0.6  # as thin as can be seen
    # activations and weights of the batch norm, then of the class heads: MACs and activations
    assert page.widths("before") == [0.6, 50, 100, 100]
    assert page.widths("after") == [0.6, 0, 12.5, 0.6]


def test_branches_stand_in_columns() -> None:
    columns = [[branch.name for branch in column] for column in graph_columns(REPORT)]
    assert columns == [["encoder"], ["local", "attention"], ["picture"]]
    circle = replace(REPORT, edges=(("encoder", "local"), ("local", "encoder"), ("nowhere", "local")))
    found = [branch.name for column in graph_columns(circle) for branch in column]
    assert sorted(found) == ["attention", "encoder", "local", "picture"]  # a file may claim anything


def test_bytes_of_a_typed_file_are_those_of_the_exported_one() -> None:
    card = replace(CARD, precision="fp16")
    text = Page(render_graph_page(replace(INSPECTION, card=card))).text
    assert "Bytes are those of the FP32 graph that was exported; this file is typed fp16." in text


def test_hostile_names_stay_text() -> None:
    report = GraphReport(
        height=8,
        width=8,
        label_map=HOSTILE,
        blocks=(BlockCost(f"a/{HOSTILE}", "a", 1, 5, 1, 1, (1,)), BlockCost(HOSTILE, HOSTILE, 1, 5, 1, 1, ())),
        edges=((HOSTILE, "a"),),
        largest=(Activation(HOSTILE, HOSTILE, HOSTILE, (), 1),),
        published_macs=0,
        savings=(Saving(HOSTILE, 1, 1, 1, 1, 1, 1, HOSTILE),),
    )
    census = Census((OperatorCount(HOSTILE, HOSTILE, HOSTILE, 1),), {HOSTILE: 5})
    card = replace(CARD, name=HOSTILE)
    page = Page(render_graph_page(replace(INSPECTION, graph=report, census=census, card=card)))
    assert HOSTILE in page.text
    assert not any(tag == "img" or "onerror" in attributes for tag, attributes in page.tags)


def test_without_an_account_the_rest_is_shown() -> None:
    page = Page(render_graph_page(replace(INSPECTION, graph=None, graph_problem="export it again")))
    assert "export it again" in page.text
    assert "main graph, 10 nodes" in page.text
    assert "What the rewrites changed" not in page.text


def test_an_empty_account() -> None:
    empty = GraphReport(8, 8, "none", (), (), (), 0, ())
    page = Page(render_graph_page(replace(INSPECTION, graph=empty, census=Census((), {}))))
    assert "0 for one picture of 8×8" in page.text


def test_rare_operators_are_summed_up() -> None:
    census = Census(tuple(OperatorCount("main graph", "ai.onnx", f"Op{n}", 50 - n) for n in range(20)), {})
    assert "4 other types" in Page(render_graph_page(replace(INSPECTION, census=census))).text


def test_files_without_a_graph() -> None:
    with pytest.raises(InputError, match="has no graph"):
        render_graph_page(replace(INSPECTION, kind=FileKind.CHECKPOINT, census=None, graph=None))


def test_without_jinja_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def refuse(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name == "jinja2":
            raise ImportError(name)
        return original(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingError, match=r"pip install '\.\[report\]'"):
        render_graph_page(INSPECTION)
