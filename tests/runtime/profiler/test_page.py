"""The page: one file, valid tags, hostile names harmless, nothing loaded from anywhere."""

from __future__ import annotations

import base64
import builtins
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from PIL import Image

from runtime.contract.errors import MissingError
from runtime.profiler.page import render_page
from runtime.profiler.report import Diagnosis
from tests.runtime.profiler.fake_variants import report_of

pytest.importorskip("jinja2")

VOID = {"meta", "img", "line", "circle", "polyline", "br", "link", "input"}
HOSTILE = "<img src=x onerror=alert(1)> {{ 7 * 7 }} & \"quoted' $\\frac{1}{2}$"


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
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def html() -> str:
    return render_page(report_of([("fp32", 20.0, None), ("ort", 12.0, 0.0), ("int8", 5.0, 8.0)]))


def test_page_is_self_contained(html: str) -> None:
    page = Page(html)
    assert not re.search(r"https?://|//[a-z]|url\(|@import", re.sub(r"base64,[A-Za-z0-9+/=]+", "", html))
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object", "embed", "form", "base"})
    assert all((image["src"] or "").startswith("data:image/png;base64,") for image in page.all("img"))
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_pictures_are_whole_named_and_described(html: str) -> None:
    images = Page(html).all("img")
    # per label map: the map, the reference, ort (identical: no error map), int8 and its error map
    assert len(images) == 2 * 5
    for image in images:
        assert image["alt"]
        with Image.open(io.BytesIO(base64.b64decode((image["src"] or "").split(",")[1]))) as picture:
            assert picture.size == (48, 32)
    assert "8 times amplified" in (images[4]["alt"] or "")
    assert "8 times amplified" in Page(html).text


def test_figures_and_words_are_there(html: str) -> None:
    text = Page(html).text
    for words in ("int8 is the fastest", "n<662", "fake-cpu", "PSNR, dB", "median latency, ms", "identical", "SHA-256"):
        assert words in text
    assert 'name="viewport"' in html
    assert "prefers-color-scheme: dark" in html


def test_hostile_names_stay_text() -> None:
    report = report_of([(HOSTILE, 20.0, None), ("b", 5.0, 8.0)], backend="<b>x</b>")
    strips = tuple(replace(strip, name=HOSTILE) for strip in report.strips)
    diagnoses = (Diagnosis("x", (HOSTILE,), HOSTILE),)
    html = render_page(replace(report, strips=strips, diagnoses=diagnoses, summary=(HOSTILE,)))
    page = Page(html)
    assert HOSTILE in page.text
    assert "<img src=x" not in html
    assert "<b>" not in html
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert any(HOSTILE in (image["alt"] or "") for image in page.all("img"))


def test_several_backends_are_told_apart_under_the_plot() -> None:
    report = report_of([("fp32", 12.0, None), ("engine", 3.0, 1.0)])
    moved = replace(report.variants[1], backend="tensorrt")
    text = Page(render_page(replace(report, variants=(report.variants[0], moved)))).text
    assert "Measured on fake-cpu (fp32); tensorrt (engine)." in text


def test_one_variant_has_no_plot_and_no_talk_of_errors() -> None:
    html = render_page(report_of([("only", 12.0, None)]))
    page = Page(html)
    assert page.all("svg") == []
    assert "amplified" not in page.text
    assert "no second variant" in page.text


def test_identical_variants_are_drawn_without_a_scale() -> None:
    page = Page(render_page(report_of([("fp32", 12.0, None), ("ort", 9.0, 0.0)])))
    assert len(page.all("svg")) == 2  # wide and narrow
    assert "PSNR, dB (up" not in page.text
    assert "nan" not in page.text
    assert "inf" not in page.text.replace("information", "")


def test_no_strips_no_heading() -> None:
    page = Page(render_page(replace(report_of([("a", 12.0, None)]), strips=())))
    assert page.all("img") == []
    assert "Pictures" not in page.text


def test_large_pictures_are_shown_smaller() -> None:
    page = Page(render_page(report_of([("fp32", 20.0, None), ("int8", 5.0, 8.0)], strips=1, size=(64, 1024))))
    for image in page.all("img"):
        assert (image["width"], image["height"]) == ("1024", "64")
        with Image.open(io.BytesIO(base64.b64decode((image["src"] or "").split(",")[1]))) as picture:
            assert picture.size == (512, 32)


def test_without_jinja_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def refuse(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name == "jinja2":
            raise ImportError(name)
        return original(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingError, match=r"pip install '\.\[report\]'"):
        render_page(report_of([("a", 12.0, None)]))
