"""What the graphs of a few small networks consist of, kept as readable JSON in ``golden/``.

Write the files anew, after a change that is meant to change them:

    python -m tests.export.golden_graphs
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from export.target import Target
from lggan.checkpoint import save_generator
from lggan.config import SauMask, SauPlacement
from tests.export.samples import Case, Sample, random_generator
from tests.export.small_exports import exported_graph

FOLDER = Path(__file__).with_name("golden")
COMMAND = "python -m tests.export.golden_graphs"
_CASES = {
    "tiny": Case(),
    "tiny-none": Case(SauPlacement.NONE),
    "tiny-encoder-same-class": Case(SauPlacement.ENCODER, mask=SauMask.SAME_CLASS),
    "tiny-global-edges": Case(SauPlacement.GLOBAL, edges=True),
    "tiny-cross-view": Case(cross_view=True),
}
_FOR_CPU = ("tiny", "tiny-cross-view")  # PyTorch's exporter takes seconds for each


@dataclass(frozen=True)
class Golden:
    """A graph whose description is kept."""

    name: str
    case: Case
    target: Target

    @property
    def path(self) -> Path:
        """The file that it is kept in."""
        return FOLDER / f"{self.name}.{self.target.value}.json"


GOLDEN = [
    *(Golden(name, case, Target.TENSORRT) for name, case in _CASES.items()),
    *(Golden(name, _CASES[name], Target.CPU) for name in _FOR_CPU),
]


def described(model: onnx.ModelProto) -> str:
    """The contract and the make-up of a graph as JSON: what would not change by itself.

    ``sha256`` stands for everything but the weights' values and all names: types, attributes, how nodes are wired,
    and the shapes of the weights.
    """
    document: dict[str, Any] = {
        "ir_version": model.ir_version,
        "opsets": {entry.domain or "onnx": entry.version for entry in model.opset_import},
        "inputs": [_value(value) for value in model.graph.input],
        "outputs": [_value(value) for value in model.graph.output],
        "nodes": _histogram(model.graph.node),
        "functions": {f"{each.domain}::{each.name}": _histogram(each.node) for each in model.functions},
        "initializers": len(model.graph.initializer),
        "sha256": _fingerprint(model),
    }
    return json.dumps(document, indent=1) + "\n"


def _value(value: onnx.ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    sides = ", ".join(side.dim_param or str(side.dim_value) for side in tensor.shape.dim)
    return f"{value.name} {onnx.TensorProto.DataType.Name(tensor.elem_type).lower()} [{sides}]"


def _histogram(nodes: Iterable[onnx.NodeProto]) -> dict[str, int]:
    count = Counter(f"{node.domain}::{node.op_type}" if node.domain else node.op_type for node in nodes)
    return dict(sorted(count.items()))


def _fingerprint(model: onnx.ModelProto) -> str:
    digest = hashlib.sha256()
    for line in _lines(model):
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def _lines(model: onnx.ModelProto) -> Iterator[str]:
    numbers: dict[str, int] = {}
    yield from map(_value, [*model.graph.input, *model.graph.output])
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for name in [name for node in model.graph.node for name in node.input if name in weights]:
        yield f"{numbers.setdefault(name, len(numbers))}: {weights[name].data_type} {list(weights[name].dims)}"
    yield from _wiring(model.graph.node, numbers)
    for function in model.functions:
        yield f"{function.domain}::{function.name} {list(function.attribute)}"
        yield from _wiring(function.node, {name: number for number, name in enumerate(function.input)})


def _wiring(nodes: Iterable[onnx.NodeProto], numbers: dict[str, int]) -> Iterator[str]:
    """Each node with its values numbered in order of appearance, -1 for omitted ones."""

    def numbered(names: Iterable[str]) -> list[int]:
        return [numbers.setdefault(name, len(numbers)) if name else -1 for name in names]

    for node in nodes:
        attributes = {}
        for attribute in node.attribute:
            plain = onnx.AttributeProto()
            plain.CopyFrom(attribute)
            if plain.HasField("t"):
                plain.t.ClearField("name")
            attributes[attribute.name] = plain.SerializeToString(deterministic=True).hex()
        operator = f"{node.domain}::{node.op_type}"
        yield f"{operator} {numbered(node.input)} {numbered(node.output)} {sorted(attributes.items())}"


def regenerate() -> None:
    """Write all files anew, and remove those of cases that are no more."""
    FOLDER.mkdir(exist_ok=True)
    for old in set(FOLDER.glob("*.json")) - {golden.path for golden in GOLDEN}:
        old.unlink()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for golden in GOLDEN:
            generator, card = random_generator(golden.case)
            sample = Sample(folder / f"{golden.name}.safetensors", generator, card)
            save_generator(sample.path, generator, card, force=True)
            text = described(exported_graph(sample, golden.case, golden.target, folder))
            golden.path.write_text(text, encoding="utf-8")
            print(golden.path)  # noqa: T201 - a script when it is called


if __name__ == "__main__":
    regenerate()
