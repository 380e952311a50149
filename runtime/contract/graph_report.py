"""The account of an exported graph: what its parts multiply, weigh and write, and what the rewrites saved.

It travels as JSON in the metadata of the ONNX file (key ``lggan_graph``), so that a device that has neither PyTorch nor
onnx can show it. `export.graph_account.account` makes it, by running the graph once: in a graph for the CPU, the sizes
of some tensors follow from the label map.

A multiply-accumulate (MAC) is one of a convolution or matrix product, as the graph performs it, zeros included; of a
transposed convolution, per input pixel. Sums, norms and look-ups have none. Everything is counted for one picture.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from runtime.contract.errors import InputError

GRAPH_KEY = "lggan_graph"
GRAPH_SCHEMA = 1
MAX_GRAPH_BYTES = 1 << 20
_LARGEST = 1 << 62  # of any number in a report
_MOST = 20_000  # entries of any list in a report
_LONGEST = 2000  # letters of any text in a report


@dataclass(frozen=True)
class BlockCost:
    """One block of the network: a module with multiplications or weights, and the small operations behind it.

    Attributes:
        name: path of the module, e.g. ``global_branch/blocks/3``.
        branch: its first part, e.g. ``global_branch``; ``inputs`` for what reads the graph's inputs, ``fusion`` for
            what joins branches.
        nodes: that ran, those of function bodies included, loops counted once.
        macs: of one picture.
        weight_bytes: of the weights that it is the first to read.
        activation_bytes: that its nodes write; changes of shape alone write nothing.
        output: shape of the last tensor that it writes.
    """

    name: str
    branch: str
    nodes: int
    macs: int
    weight_bytes: int
    activation_bytes: int
    output: tuple[int, ...]


@dataclass(frozen=True)
class Activation:
    """One tensor that a node writes: the node's name and type, the tensor's type, shape and size in bytes."""

    name: str
    op_type: str
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int


@dataclass(frozen=True)
class Saving:
    """What one exact rewrite changes in the operations that it concerns, after the rewrites before it in the list.

    Attributes:
        rewrite: its name, a value of `export.rewrites.names.Rewrite`.
        macs_before, macs_after: multiply-accumulates of one picture.
        weight_bytes_before, weight_bytes_after: of the weights concerned.
        activation_bytes_before, activation_bytes_after: that the operations concerned write.
        note: what is counted, or saved beyond these figures, in a sentence.
    """

    rewrite: str
    macs_before: int
    macs_after: int
    weight_bytes_before: int
    weight_bytes_after: int
    activation_bytes_before: int
    activation_bytes_after: int
    note: str


@dataclass(frozen=True)
class GraphReport:
    """The account of one graph for one picture, in FP32, as exported.

    Attributes:
        height, width: of the picture, pixels.
        label_map: which label map was drawn.
        blocks: in the order of the graph.
        edges: which branch reads from which, as (from, to).
        largest: the largest tensors that are written, largest first.
        published_macs: of the published formulation at the same size.
        savings: the ledger of rewrites that were applied, in their order.
    """

    height: int
    width: int
    label_map: str
    blocks: tuple[BlockCost, ...]
    edges: tuple[tuple[str, str], ...]
    largest: tuple[Activation, ...]
    published_macs: int
    savings: tuple[Saving, ...]
    schema: int = GRAPH_SCHEMA

    def branches(self) -> tuple[BlockCost, ...]:
        """One sum per branch, in the order in which they appear; ``output`` is that of the branch's last block."""
        names = list(dict.fromkeys(block.branch for block in self.blocks))
        return tuple(_sum(name, [block for block in self.blocks if block.branch == name]) for name in names)

    def total(self) -> BlockCost:
        """The sum of all blocks."""
        return _sum("total", self.blocks)

    def to_json(self) -> str:
        """One line of JSON with sorted keys (equal reports give equal bytes)."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> GraphReport:
        """Read and check a report.

        Raises:
            InputError: not JSON, too long, of another schema version, or with values that make no sense.
        """
        if len(text) > MAX_GRAPH_BYTES:
            raise InputError(f"the account of the graph has {len(text)} bytes, more than {MAX_GRAPH_BYTES}")
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"the account of the graph is not readable JSON ({error})") from error
        if not isinstance(raw, dict):
            raise InputError("the account of the graph is not a JSON object")
        if raw.get("schema") != GRAPH_SCHEMA:
            raise InputError(
                f"the account of the graph has schema {raw.get('schema')!r}, this version reads {GRAPH_SCHEMA}"
            )
        try:
            return cls(
                height=_count(raw["height"]),
                width=_count(raw["width"]),
                label_map=_text(raw["label_map"]),
                blocks=tuple(_block(entry) for entry in _list(raw["blocks"])),
                edges=tuple((_text(source), _text(reader)) for source, reader in _list(raw["edges"])),
                largest=tuple(_activation(entry) for entry in _list(raw["largest"])),
                published_macs=_count(raw["published_macs"]),
                savings=tuple(_saving(entry) for entry in _list(raw["savings"])),
            )
        except (KeyError, TypeError, ValueError) as error:
            detail = f"field {error} is missing" if isinstance(error, KeyError) else str(error)
            raise InputError(f"the account of the graph is damaged: {detail[:200]}") from error


def _sum(name: str, blocks: Sequence[BlockCost]) -> BlockCost:
    return BlockCost(
        name=name,
        branch=name,
        nodes=sum(block.nodes for block in blocks),
        macs=sum(block.macs for block in blocks),
        weight_bytes=sum(block.weight_bytes for block in blocks),
        activation_bytes=sum(block.activation_bytes for block in blocks),
        output=blocks[-1].output if blocks else (),
    )


def _block(entry: Any) -> BlockCost:
    return BlockCost(
        name=_text(entry["name"]),
        branch=_text(entry["branch"]),
        nodes=_count(entry["nodes"]),
        macs=_count(entry["macs"]),
        weight_bytes=_count(entry["weight_bytes"]),
        activation_bytes=_count(entry["activation_bytes"]),
        output=_shape(entry["output"]),
    )


def _activation(entry: Any) -> Activation:
    return Activation(
        name=_text(entry["name"]),
        op_type=_text(entry["op_type"]),
        dtype=_text(entry["dtype"]),
        shape=_shape(entry["shape"]),
        size_bytes=_count(entry["size_bytes"]),
    )


def _saving(entry: Any) -> Saving:
    return Saving(
        rewrite=_text(entry["rewrite"]),
        macs_before=_count(entry["macs_before"]),
        macs_after=_count(entry["macs_after"]),
        weight_bytes_before=_count(entry["weight_bytes_before"]),
        weight_bytes_after=_count(entry["weight_bytes_after"]),
        activation_bytes_before=_count(entry["activation_bytes_before"]),
        activation_bytes_after=_count(entry["activation_bytes_after"]),
        note=_text(entry["note"]),
    )


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list) or len(value) > _MOST:
        raise TypeError(f"a list of at most {_MOST} entries is missing")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise TypeError(f"{str(value)[:80]!r} is not a text of at most {_LONGEST} letters")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _LARGEST:
        raise ValueError(f"{str(value)[:80]!r} is not a whole number from 0 on")
    return value


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(_count(side) for side in _list(value))
