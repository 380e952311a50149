"""The rows of `rewrites.py`: which part of the network a node or a layer belongs to, and which rewrites concern it.

Parts are told from the path of the PyTorch module that a node was traced from. ONNX Runtime renames what it fuses:
a convolution in its blocked layout is called after the value that it gives, which is that of the last node it took in;
what it adds itself, first of all the changes of layout in between, has no name of ours at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

PLAIN = "plain"  # the form that is no target: a plain export of the published network
_MARK = "@"  # `export.graph_profile.labelled` puts it before the name of each node
_BLOCKED = re.compile(r"(_bn)?_nchwc$")
_INLINED = re.compile(r"_inlfunc_(\w+_call\d+)_")


class Row(str, Enum):
    """A part of the network; the value is its title."""

    INPUTS = "reading the label map"
    STEM = "first convolution"
    SPADE = "SPADE modulation, with activations and doublings"
    GLOBAL = "global branch's convolutions"
    TOWER = "residual tower's convolutions"
    UPSAMPLING = "upsampling layers"
    NORMS = "instance norms"
    HEADS = "class heads and their fusion"
    ATTENTION = "attention's last step"
    REST = "unchanged"
    RUNTIME = "ONNX Runtime's own: reorders, not attributable"


def row_of(modules: Sequence[str], op_type: str) -> Row:
    """The part that a node belongs to.

    Args:
        modules: path of its module from the generator down, e.g. ``("encoder", "conv1")``.
        op_type: of the node.
    """
    match tuple(modules):
        case ("encoder", "conv1", *_):
            return Row.STEM
        case (_, "decoder", "up1" | "up2", *_) | ("encoder", "upsample", *_):
            return Row.UPSAMPLING
        case ("global_branch", "blocks", _, "conv_0" | "conv_1" | "conv_s", *_):
            return Row.GLOBAL
        case ("global_branch", "blocks", _, "norm_1", "norm") if op_type == "Conv":
            return Row.GLOBAL  # PyTorch's exporter has merged this norm into the convolution before it
        case ("global_branch", "blocks", _) if op_type == "Add":
            return Row.GLOBAL  # the sum with the shortcut, which convolutions take in
        case ("global_branch", "doublings", *_) if op_type != "Resize":
            return Row.UPSAMPLING  # semantic-aware
        case ("global_branch", "blocks" | "doublings", *_):
            return Row.SPADE
        case ("local_branch", "tower", _, "conv1" | "conv2", *_):
            return Row.TOWER
        case ("local_branch", "heads" | "fuse", *_) | ("local_branch",):
            return Row.HEADS
        case ("attention", "weights" | "difference", *_) | ("attention",):
            return Row.ATTENTION
    return Row.NORMS if op_type.endswith(("InstanceNormalization", "InstanceNorm")) else Row.REST


@dataclass(frozen=True)
class Attribution:
    """Which rows the events in ONNX Runtime's profile of a labelled graph belong to.

    Attributes:
        nodes: row of each node of the main graph by its name.
        values: row of what each of them gives, by the value's name.
        functions: row of each call by the name of its own function.
    """

    nodes: dict[str, Row] = field(default_factory=dict)
    values: dict[str, Row] = field(default_factory=dict)
    functions: dict[str, Row] = field(default_factory=dict)

    def row(self, event: str) -> Row:
        """The row of the node that an event is called after."""
        _, mark, name = event.rpartition(_MARK)
        if mark:
            while name and name not in self.nodes:  # it may stand inside of a call, or be what became of a node
                name = name.rpartition("/")[0]
            return self.nodes.get(name, Row.RUNTIME)
        if inlined := _INLINED.match(event):
            return self.functions.get(inlined.group(1), Row.RUNTIME)
        return self.values.get(_BLOCKED.sub("", event), Row.RUNTIME)

    def to_plain(self) -> dict[str, dict[str, str]]:
        """For JSON."""
        return {
            "nodes": {name: row.name for name, row in self.nodes.items()},
            "values": {name: row.name for name, row in self.values.items()},
            "functions": {name: row.name for name, row in self.functions.items()},
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Mapping[str, str]]) -> Attribution:
        """Read what `to_plain` gave."""
        return cls(**{kind: {name: Row[row] for name, row in rows.items()} for kind, rows in plain.items()})
