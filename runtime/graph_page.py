"""The cost of an exported graph as one self-contained HTML page: no scripts, nothing loaded from anywhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources

from runtime.console import size
from runtime.contract.card import ModelCard
from runtime.contract.errors import InputError
from runtime.contract.graph_report import Activation, BlockCost, GraphReport, Saving
from runtime.contract.onnx_census import Census
from runtime.graph_words import branch_title, macs_text, rewrite_title, shape_text, share_text, weights_text
from runtime.inspection import Inspection
from runtime.profiler.page import check_page_tools

_TEMPLATE = "graph_page.html.j2"
_LEAST_BAR = 0.6  # percent; thinner bars cannot be seen
_SHOWN_OPERATORS = 16  # of each place; the others are summed up


@dataclass(frozen=True)
class Piece:
    """A part of a bar: its share of the bar in percent, and what it stands for."""

    percent: float
    title: str


@dataclass(frozen=True)
class Box:
    """A branch in the drawing; ``bar`` is the part of the drawing's longest bar that its own one has, in percent."""

    title: str
    macs: str
    share: str
    facts: str
    bar: float
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Row:
    """A block or a branch in the table; ``level`` 0 for the total, 1 for a branch, 2 for a block in it."""

    level: int
    title: str
    macs: str
    share: str
    weights: str
    activations: str
    nodes: str
    output: str


@dataclass(frozen=True)
class Change:
    """A pair of bars, before and after a rewrite, in percent of the longest one of its kind."""

    what: str
    before: float
    after: float
    text: str


@dataclass(frozen=True)
class LedgerEntry:
    """One rewrite."""

    title: str
    note: str
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Line:
    """One line of a bar chart: the bar in percent of the longest one."""

    title: str
    detail: str
    value: str
    bar: float


@dataclass(frozen=True)
class Chart:
    """A bar chart."""

    title: str
    lines: tuple[Line, ...]


def render_graph_page(inspection: Inspection) -> str:
    """HTML of an inspected ONNX file. Where its cost was not counted, the page says so and has the rest.

    Raises:
        InputError: the file is not an ONNX model.
        MissingError: Jinja2 is not installed.
    """
    card, census, graph = inspection.card, inspection.census, inspection.graph
    if card is None or census is None:
        raise InputError(f"{inspection.path} has no graph; a page is made of .onnx files")
    check_page_tools()
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, auto_reload=False
    )
    source = resources.files("runtime").joinpath(_TEMPLATE).read_text(encoding="utf-8")
    return environment.from_string(source).render(
        card=card,
        file=f"{inspection.path.name} · {size(inspection.size_bytes)} · SHA-256 {inspection.sha256[:12]}…",
        facts=_facts(card, census),
        summary=_summary(graph, card) if graph else (inspection.graph_problem,),
        columns=_columns(graph) if graph else (),
        rows=_rows(graph) if graph else (),
        ledger=_ledger(graph.savings) if graph else (),
        largest=_largest(graph.largest) if graph else None,
        charts=_operators(census),
        label_map=graph.label_map if graph else "",
    )


def graph_columns(graph: GraphReport) -> list[list[BlockCost]]:
    """The branches in columns, so that each reads from columns to its left alone."""
    branches = graph.branches()
    names = {branch.name for branch in branches}
    column = dict.fromkeys(names, 0)
    for _ in branches:  # as many steps as the longest way has at most; a circle, which no graph has, ends there too
        for source, reader in graph.edges:
            if source in names and reader in names:
                column[reader] = min(max(column[reader], column[source] + 1), len(names))
    return [[one for one in branches if column[one.name] == number] for number in sorted(set(column.values()))]


def _facts(card: ModelCard, census: Census) -> list[tuple[str, str]]:
    return [
        ("target", card.target),
        ("precision", card.precision),
        ("picture", f"{card.height}×{card.width}"),
        ("weights in the file", weights_text(census.weight_bytes)),
        ("inputs", ", ".join(f"{tensor.name} {tensor.dtype}" for tensor in card.inputs)),
        ("output", ", ".join(f"{tensor.name} {tensor.dtype}" for tensor in card.outputs)),
    ]


def _summary(graph: GraphReport, card: ModelCard) -> tuple[str, ...]:
    total = graph.total()
    sentences = [f"{macs_text(total.macs)} for one picture of {graph.height}×{graph.width}"]
    if graph.published_macs and total.macs:
        factor = graph.published_macs / total.macs
        less = f", {factor:.1f} times as many" if factor >= 1.05 else ""
        sentences.append(f"The published formulation takes {macs_text(graph.published_macs)}{less}.")
    sentences.append(
        f"{size(total.weight_bytes)} of weights; {size(total.activation_bytes)} of activations are written on the way."
    )
    if card.precision != "fp32":
        sentences.append(f"Bytes are those of the FP32 graph that was exported; this file is typed {card.precision}.")
    return tuple(sentences)


def _columns(graph: GraphReport) -> list[list[Box]]:
    total = graph.total().macs
    most = max((branch.macs for branch in graph.branches()), default=0)
    return [[_box(branch, _blocks(graph, branch), total, most) for branch in column] for column in graph_columns(graph)]


def _blocks(graph: GraphReport, branch: BlockCost) -> list[BlockCost]:
    return [block for block in graph.blocks if block.branch == branch.name]


def _box(branch: BlockCost, blocks: Sequence[BlockCost], total: int, most: int) -> Box:
    return Box(
        title=branch_title(branch.name),
        macs=macs_text(branch.macs) if branch.macs else "",
        share=share_text(branch.macs, total),
        facts=_joined(
            f"{size(branch.weight_bytes)} weights" if branch.weight_bytes else "",
            f"{size(branch.activation_bytes)} written",
        ),
        bar=_bar(branch.macs, most),
        pieces=tuple(
            Piece(100 * block.macs / branch.macs, f"{block.name}: {macs_text(block.macs)}")
            for block in blocks
            if block.macs
        ),
    )


def _rows(graph: GraphReport) -> list[Row]:
    total = graph.total()
    rows = []
    for branch in graph.branches():
        rows.append(_row(1, branch_title(branch.name), branch, total.macs))
        inside = _blocks(graph, branch)
        if len(inside) > 1:
            rows += [_row(2, _inside(block), block, total.macs) for block in inside]
    return [*rows, _row(0, "total", total, total.macs)]


def _row(level: int, title: str, cost: BlockCost, total: int) -> Row:
    return Row(
        level=level,
        title=title,
        macs=macs_text(cost.macs) if cost.macs else "",
        share=share_text(cost.macs, total),
        weights=size(cost.weight_bytes) if cost.weight_bytes else "",
        activations=size(cost.activation_bytes),
        nodes=str(cost.nodes),
        output=shape_text(cost.output[1:]),  # without the batch
    )


def _inside(block: BlockCost) -> str:
    return block.name.removeprefix(f"{block.branch}/")


def _ledger(savings: Sequence[Saving]) -> list[LedgerEntry]:
    macs = [(one.macs_before, one.macs_after) for one in savings]
    weights = [(one.weight_bytes_before, one.weight_bytes_after) for one in savings]
    activations = [(one.activation_bytes_before, one.activation_bytes_after) for one in savings]
    most = [max((max(pair) for pair in pairs), default=0) for pairs in (macs, activations, weights)]
    entries = []
    for index, saving in enumerate(savings):
        changes = [
            _change("MACs", macs[index], most[0], macs_text),
            _change("activations", activations[index], most[1], size),
            _change("weights", weights[index], most[2], size) if len(set(weights[index])) > 1 else None,
        ]
        entries.append(
            LedgerEntry(rewrite_title(saving.rewrite), saving.note, tuple(one for one in changes if one is not None))
        )
    return entries


def _change(what: str, pair: tuple[int, int], most: int, text: Callable[[int], str]) -> Change | None:
    before, after = pair
    if before == after == 0:
        return None
    words = text(before) if before == after else f"{text(before)} → {text(after)}"
    return Change(what, _bar(before, most), _bar(after, most), words)


def _largest(tensors: Sequence[Activation]) -> Chart:
    most = max((tensor.size_bytes for tensor in tensors), default=0)
    return Chart(
        "Largest activations",
        tuple(
            Line(
                tensor.name,
                f"{shape_text(tensor.shape)} {tensor.dtype}",
                size(tensor.size_bytes),
                _bar(tensor.size_bytes, most),
            )
            for tensor in tensors
        ),
    )


def _operators(census: Census) -> list[Chart]:
    charts = []
    for place in census.places():
        counts: Counter[str] = Counter()
        for entry in census.operators:
            if entry.place == place:
                name = entry.op_type if entry.domain == "ai.onnx" else f"{entry.domain}::{entry.op_type}"
                counts[name] += entry.count
        ordered = counts.most_common()
        most = ordered[0][1] if ordered else 0
        lines = [Line(name, "", str(count), _bar(count, most)) for name, count in ordered[:_SHOWN_OPERATORS]]
        rest = ordered[_SHOWN_OPERATORS:]
        if rest:
            lines.append(Line(f"{len(rest)} other types", "", str(sum(count for _, count in rest)), 0))
        nodes = sum(counts.values())
        charts.append(Chart(f"{place}, {nodes} node{'s' if nodes != 1 else ''}", tuple(lines)))
    return charts


def _bar(value: int, most: int) -> float:
    if value == 0 or most == 0:
        return 0.0
    return round(max(100 * value / most, _LEAST_BAR), 2)


def _joined(*texts: str) -> str:
    return " · ".join(text for text in texts if text)
