"""What a graph costs: tables for the terminal, and the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from runtime.console import Column, Console, size
from runtime.contract.graph_report import GraphReport
from runtime.contract.onnx_census import Census
from runtime.graph_words import branch_title, macs_text, rewrite_title, shape_text, share_text, weights_text
from runtime.inspection import Inspection

_LARGEST = 5  # activations; the page and the JSON document have more


def write_graph_page(inspection: Inspection, page: Path, *, force: bool) -> None:
    """Write the page of an inspected ONNX file.

    Raises:
        InputError: the file is not an ONNX model.
        UsageError: ``page`` exists and ``force`` is False.
        MissingError: Jinja2 is not installed, or no permission to write there.
    """
    from runtime.contract.files import write_text
    from runtime.graph_page import render_graph_page

    write_text(page, render_graph_page(inspection), force=force)


def show_graph(console: Console, inspection: Inspection) -> None:
    """Operators, cost by branch, rewrites and the largest activations of an ONNX file; nothing for other files."""
    if inspection.census is None:
        return
    console.line()
    _show_operators(console, inspection.census)
    if inspection.graph is None:
        console.note(inspection.graph_problem)
        return
    precision = inspection.card.precision if inspection.card else "fp32"
    _show_branches(console, inspection.graph, precision)
    _show_rewrites(console, inspection.graph)
    _show_largest(console, inspection.graph)


def _show_operators(console: Console, census: Census) -> None:
    lines = [("weights stored", weights_text(census.weight_bytes))]
    for place in census.places():
        own = [entry for entry in census.operators if entry.place == place]
        counts = ", ".join(
            f"{entry.count} {entry.op_type if entry.domain == 'ai.onnx' else f'{entry.domain}::{entry.op_type}'}"
            for entry in own
        )
        lines.append((place, f"{sum(entry.count for entry in own)} nodes: {counts}"))
    console.fields("operators", lines)


def _show_branches(console: Console, graph: GraphReport, precision: str) -> None:
    total = graph.total()
    console.line()
    typed = "" if precision == "fp32" else f"; bytes are those of the FP32 graph, this file is typed {precision}"
    console.line(f"cost of one picture of {graph.height}x{graph.width}, as exported{typed}")
    titles = ("MACs", "share", "weights", "written", "nodes run")
    console.table(
        [Column("branch"), *(Column(title, right=True) for title in titles)],
        [
            [
                branch_title(one.name),
                macs_text(one.macs),
                share_text(one.macs, total.macs),
                size(one.weight_bytes),
                size(one.activation_bytes),
                one.nodes,
            ]
            for one in (*graph.branches(), total)
        ],
    )
    if graph.published_macs:
        console.line(f"the published formulation takes {macs_text(graph.published_macs)}")


def _show_rewrites(console: Console, graph: GraphReport) -> None:
    if not graph.savings:
        return
    console.line()
    console.line("rewrites, by formula: before → after, of the operations concerned")
    console.table(
        [Column("rewrite"), *(Column(title, right=True) for title in ("MACs", "weights", "activations"))],
        [
            [
                rewrite_title(one.rewrite),
                _change(one.macs_before, one.macs_after, macs_text),
                _change(one.weight_bytes_before, one.weight_bytes_after, size),
                _change(one.activation_bytes_before, one.activation_bytes_after, size),
            ]
            for one in graph.savings
        ],
    )


def _show_largest(console: Console, graph: GraphReport) -> None:
    if not graph.largest:
        return
    console.line()
    console.line("largest activations")
    console.table(
        [Column("written by"), Column("shape", right=True), Column("bytes", right=True)],
        [[one.name, shape_text(one.shape), size(one.size_bytes)] for one in graph.largest[:_LARGEST]],
    )


def _change(before: int, after: int, words: Callable[[int], str]) -> str:
    return words(before) if before == after else f"{words(before)} → {words(after)}"
