"""The page of a conversion: valid, complete, harmless."""

from __future__ import annotations

import builtins
import math
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("jinja2")

from calibration.int8 import Int8Options, Int8Report
from calibration.precision_page import decibels, render_precision_page
from calibration.quality import Quality
from calibration.search import Choice, LeftOut
from calibration.sensitivity import LayerError
from calibration.shares import PrecisionShares
from runtime.contract.errors import MissingError

HOSTILE = "<img src=x onerror=alert(1)> {{ 7 * 7 }}"
QUALITY = Quality((36.5, math.inf), (0.981, 1.0), 14.0)
LEFT_OUT = LeftOut("global/conv_1", ("global/conv_1",), 31.2, 0.25, 1, 3)
REPORT = Int8Report(
    output=Path("m.onnx"),
    input_bytes=4096,
    output_bytes=1024,
    convolutions=4,
    int8_convolutions=3,
    shares=PrecisionShares({"int8": 75, "fp16": 25, "fp32": 0}, {"int8": 3, "fp16": 1, "fp32": 0}),
    quality=QUALITY,
    maps=("street.png", HOSTILE),
    macs={"global/conv_1": 25, "heads/Conv": 20, "heads/Conv_2": 20, "tower": 35},
    sites=(),
    errors=(
        LayerError(("heads/Conv", "heads/Conv_2"), 1e-6, 66.0),
        LayerError(("global/conv_1",), 3e-3, 31.2),
        LayerError(("tower",), 0.0, math.inf),
    ),
    choice=Choice(("heads/Conv", "heads/Conv_2", "tower"), (LEFT_OUT,), QUALITY, 0.75, 1600.0, 1000.0, ()),
    half=None,
    ranges_reused=False,
    options=Int8Options(),
    seconds=1.0,
)


class Page(HTMLParser):
    """Open tags, text, and widths of bars by class."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.bars: list[tuple[str, str]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "wbr"):
            self.open.append(tag)
        given = dict(attrs)
        if (given.get("class") or "").startswith("bar "):
            self.bars.append((str(given["class"]), str(given["style"])))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_every_layer_has_its_bar_in_the_order_of_its_error() -> None:
    page = Page(render_precision_page(REPORT, "camvid.onnx"))
    assert page.open == []
    text = "".join(page.text)
    assert [text.index(name) for name in ("global/conv_1", "heads", "tower")] == sorted(
        text.index(name) for name in ("global/conv_1", "heads", "tower")
    )
    assert page.bars == [
        ("bar out", "width: 100.0%"),
        ("bar int8", f"width: {round(100 * (90 - 66) / (90 - 31.2), 2)}%"),
        ("bar int8", "width: 0.0%"),
    ]
    for words in (
        "PSNR 39.5 dB, at worst 36.5",
        "3 of 4 convolutions",
        "75.0%",
        "25.00%",
        "40.00%",
        "equal",
        "street.png",
    ):
        assert words in text
    assert "FP32 0" not in text


def test_names_are_harmless_and_nothing_is_loaded() -> None:
    html = render_precision_page(REPORT, HOSTILE)
    assert "<img" not in html
    assert "49" not in html.split("</style>")[1]
    assert "{{ 7 * 7 }}" in html
    assert "default-src 'none'" in html
    assert "<script" not in html
    assert "http" not in html.replace("http-equiv", "")


def test_without_single_errors_there_is_no_chart() -> None:
    html = render_precision_page(replace(REPORT, errors=(), choice=None), "camvid.onnx")
    assert "What each layer costs alone" not in html
    assert "street.png" in html


def test_decibels_in_words() -> None:
    assert [decibels(value) for value in (12.345, math.inf, -math.inf)] == ["12.3", "equal", "not finite"]


def test_without_jinja_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "jinja2":
            raise ImportError("no jinja2")
        return plain(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingError, match="report"):
        render_precision_page(REPORT, "camvid.onnx")
