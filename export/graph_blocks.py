"""Which part of the network a node of an exported graph belongs to.

The names that `export.canonical` gives say from which module a node was traced. Some nodes were traced from none; those
belong to where their inputs come from. So do the norms and activations that a module puts between its own modules.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import onnx

INPUTS = "inputs"
FUSION = "fusion"
_DEEPEST = 3  # modules in the name of a block
_WHOLE = re.compile(r"\d+|up\d*|upsample")  # modules that are not split further: entries of lists, upsamplings


@dataclass(frozen=True)
class Block:
    """A branch, and the path of the module in it; ``path`` is empty for what stands in the branch itself."""

    branch: str
    path: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Branch and path in one."""
        return "/".join((self.branch, *self.path))

    def holds(self, other: Block) -> bool:
        """Whether the other block is one of a module within this one's."""
        depth = len(self.path)
        return self.branch == other.branch and depth < len(other.path) and self.path == other.path[:depth]


def blocks_of(graph: onnx.GraphProto, names: Sequence[str]) -> dict[str, Block]:
    """The block of every node of the main graph by the node's name.

    Args:
        graph: the main graph.
        names: of its nodes, no two the same.
    """
    found: dict[str, Block] = {}
    made_by: dict[str, Block] = {}
    for name, node in zip(names, graph.node, strict=True):
        sources = [made_by[value] for value in node.input if value in made_by]
        own = _of_modules(name.split("/")[:-1])
        block = _of_sources(sources) if own is None else next(filter(own.holds, sources), own)
        found[name] = block
        made_by.update(dict.fromkeys(node.output, block))
    return found


def branch_edges(graph: onnx.GraphProto, blocks: Sequence[Block], values: set[str]) -> tuple[tuple[str, str], ...]:
    """Which branch reads a value that another one makes, as (maker, reader), in the order of the graph.

    Args:
        graph: the main graph.
        blocks: of its nodes.
        values: names of those that count; sizes and shapes, say, do not.
    """
    made_by = {value.name: INPUTS for value in graph.input}
    edges: dict[tuple[str, str], None] = {}
    for block, node in zip(blocks, graph.node, strict=True):
        for name in node.input:
            maker = made_by.get(name, block.branch)
            if maker != block.branch:
                edges[(maker, block.branch)] = None
        made_by.update((name, block.branch) for name in node.output if name in values)
    return tuple(edges)


def _of_modules(modules: list[str]) -> Block | None:
    """The block of a module; None for the outermost one."""
    if not modules:
        return None
    kept: list[str] = []
    for module in modules[:_DEEPEST]:
        kept.append(module)
        if _WHOLE.fullmatch(module):
            break
    return Block(kept[0].removesuffix("_branch"), tuple(kept[1:]))


def _of_sources(sources: Sequence[Block]) -> Block:
    """Where a node without a module belongs: to its makers, to the fusion where they are of several branches."""
    known = [source for source in sources if source.branch != INPUTS]
    if not known:
        return Block(INPUTS)
    return known[0] if len({source.branch for source in known}) == 1 else Block(FUSION)
