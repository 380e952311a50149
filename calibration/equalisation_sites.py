"""Where a graph's channels can be scaled without changing what it computes.

A convolution that reads ``t / s`` with its weight times ``s``, for each input channel a factor of its own, computes
what it computed before. The division costs nothing where it disappears into constants: the rows of the convolution
that makes ``t``, or the scale and bias of the instance normalisation that makes it. In between may stand whatever
passes a positive factor of a channel on: ``Relu`` and ``LeakyRelu``, ``Pad``, ``Resize``, pooling, a product with
something else, and a sum if both of its terms are divided.

A site is all tensors that must be divided together: if ``t`` is, so is what is made from it, until convolutions take
the factors in; and so is what ``t`` is made from, until constants take them out. A tensor that anybody else reads, or
that is a result of the graph, makes the site impossible. In the networks of this project that gives:

* a convolution, ``Relu``, a convolution (what SPADE makes its modulation with), or two in sequence;
* an instance normalisation, ``Relu``, all convolutions that read it, directly or each behind the mask of a class;
* the sum that a tower of residual blocks works on, with all normalisations that add to it;
* SPADE: ``x * scale + shift`` is divided by dividing ``scale`` and ``shift``, two halves of one convolution's output.
  ``x`` stays what it is, whoever reads it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from calibration.convolutions import Convolution
from calibration.graphs import STANDARD_DOMAINS

# f(t / s) = f(t) / s for s > 0 in each channel, t the first input
_HOMOGENEOUS = frozenset(
    ("Identity", "Relu", "LeakyRelu", "PRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")
)
_SUMS = frozenset(("Add", "Sub"))
_BLIND = frozenset(("Shape", "Size"))  # read no values


@dataclass(frozen=True)
class Divisor:
    """Constants that a division disappears into.

    Attributes:
        node: position of a convolution (weight and bias) or of an ``InstanceNormalization`` (scale and bias).
        first: the first of its output channels that is divided; as many as the site has channels follow.
    """

    node: int
    first: int


@dataclass(frozen=True)
class EqualisationSite:
    """Tensors whose channels are divided by the same factors.

    Attributes:
        channels: how many factors there are.
        tensors: names.
        divisors: where the division goes, in the order of the graph.
        readers: the convolutions that take the factors into their input channels, in the order of the graph.
    """

    channels: int
    tensors: frozenset[str]
    divisors: tuple[Divisor, ...]
    readers: tuple[Convolution, ...]


def find_equalisation_sites(model: ModelProto, convolutions: Iterable[Convolution]) -> tuple[EqualisationSite, ...]:
    """Find the sites of a graph, in its order; no two share a tensor.

    Args:
        model: FP32 graph, its constants as initialisers (`calibration.graphs.constants_to_initializers`).
        convolutions: those that may take factors in, of `calibration.convolutions`.
    """
    search = _Search(model, convolutions)
    found: list[EqualisationSite] = []
    taken: set[str] = set()
    for convolution in search.readers.values():
        if convolution.input in taken:
            continue
        site = search.site_of(convolution.input)
        if site is not None and taken.isdisjoint(site.tensors):
            found.append(site)
            taken |= site.tensors
    return tuple(found)


@dataclass
class _Growth:
    """A site while it is looked for.

    Attributes:
        tensors: to be divided, as found so far.
        todo: those of them whose maker and readers were not looked at.
        divisors: position of a node and first channel -> number of channels.
        readers: positions of convolutions.
        products: positions of ``Mul`` nodes with a divided result, of whose operands exactly one must be divided.
    """

    tensors: set[str]
    todo: list[str]
    divisors: dict[tuple[int, int], int] = field(default_factory=dict)
    readers: set[int] = field(default_factory=set)
    products: set[int] = field(default_factory=set)

    @property
    def changed(self) -> int:
        """Nodes whose constants change."""
        return len({node for node, _ in self.divisors})

    def add(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.tensors:
                self.tensors.add(name)
                self.todo.append(name)

    def with_tensor(self, name: str) -> _Growth:
        """A copy with one tensor more."""
        copy = _Growth({*self.tensors}, [*self.todo], {**self.divisors}, {*self.readers}, {*self.products})
        copy.add([name])
        return copy


class _Search:
    def __init__(self, model: ModelProto, convolutions: Iterable[Convolution]) -> None:
        graph = model.graph
        self._nodes: Sequence[NodeProto] = graph.node
        replaceable = {value.name for value in graph.input}
        self._constants = {tensor.name: tensor for tensor in graph.initializer if tensor.name not in replaceable}
        self._results = {value.name for value in graph.output}
        self._makers = {name: i for i, node in enumerate(graph.node) for name in node.output if name}
        self._users: Mapping[str, list[tuple[int, int]]] = defaultdict(list)
        for i, node in enumerate(graph.node):
            for position, name in enumerate(node.input):
                self._users[name].append((i, position))
        self.readers = {self._makers[one.output]: one for one in convolutions}

    def site_of(self, tensor: str) -> EqualisationSite | None:
        """The site that ``tensor`` belongs to; None if it cannot be divided."""
        growth = self._grown(_Growth({tensor}, [tensor]))
        if growth is None or not growth.readers:
            return None
        readers = tuple(self.readers[i] for i in sorted(growth.readers))
        channels = {self._input_channels(reader) for reader in readers} | set(growth.divisors.values())
        if len(channels) > 1:  # something in between changed their number
            return None
        divisors = tuple(Divisor(node, first) for node, first in sorted(growth.divisors))
        return EqualisationSite(channels.pop(), frozenset(growth.tensors), divisors, readers)

    def _grown(self, growth: _Growth) -> _Growth | None:
        """Follow all tensors to both sides; None if one of them leads to something that must not change."""
        while growth.todo:
            name = growth.todo.pop()
            if name in self._results or not self._divide_maker(name, growth):
                return None
            if not all(self._divide_user(i, position, growth) for i, position in self._users[name]):
                return None
        for i in sorted(growth.products):
            operands = self._nodes[i].input
            divided = sum(name in growth.tensors for name in operands)
            if divided > 1:
                return None
            if divided == 0:  # either operand will do: the one that fewer constants have to change for
                ways = [self._grown(growth.with_tensor(name)) for name in operands]
                return min((way for way in ways if way is not None), key=lambda way: way.changed, default=None)
        return growth

    def _divide_maker(self, name: str, growth: _Growth) -> bool:
        """Pass the division of ``name`` on to what makes it; False if that is impossible."""
        i = self._makers.get(name)
        node = self._nodes[i] if i is not None else None
        if i is None or node is None or node.domain not in STANDARD_DOMAINS:
            return False
        if self._passes_on(node):
            growth.add(node.input[:1])
        elif node.op_type in _SUMS:
            growth.add(node.input)
        elif node.op_type == "Mul":
            growth.products.add(i)
        else:
            return self._divide_constants(i, name, growth)
        return True

    def _divide_user(self, i: int, position: int, growth: _Growth) -> bool:
        """The same for a node that reads a divided tensor at ``position``."""
        node = self._nodes[i]
        if i in self.readers and position == 0:
            growth.readers.add(i)
        elif node.domain not in STANDARD_DOMAINS:
            return False
        elif node.op_type in _SUMS or node.op_type == "Mul" or (position == 0 and self._passes_on(node)):
            growth.add(node.output[:1])
        else:
            return node.op_type in _BLIND
        return True

    def _passes_on(self, node: NodeProto) -> bool:
        """Whether a node is positively homogeneous in each channel of its first input, and its others are constants."""
        if len([name for name in node.output if name]) != 1:  # the indices of MaxPool
            return False
        if node.op_type == "Pad":
            mode = _attribute(node, "mode") or b"constant"
            filling = self._constants.get(node.input[2]) if len(node.input) > 2 and node.input[2] else None
            zeros = not any(node.input[2:3]) or (filling is not None and not numpy_helper.to_array(filling).any())
            return mode != b"constant" or zeros
        if node.op_type == "Resize":
            return _attribute(node, "coordinate_transformation_mode") != b"tf_crop_and_resize"
        return node.op_type in _HOMOGENEOUS

    def _divide_constants(self, i: int, name: str, growth: _Growth) -> bool:
        node = self._nodes[i]
        first = 0
        channels: int | None
        if node.op_type == "Split":
            part = self._split_part(node, name)
            if part is None:
                return False
            i, first, channels = part
        else:
            channels = self._output_channels(node)
        if channels is None:
            return False
        growth.divisors[i, first] = channels
        return True

    def _split_part(self, node: NodeProto, name: str) -> tuple[int, int, int] | None:
        """Convolution, first channel and number of channels of a part of a convolution's output."""
        i = self._makers.get(node.input[0])
        whole = self._output_channels(self._nodes[i]) if i is not None else None
        alone = len(self._users[node.input[0]]) == 1 and node.input[0] not in self._results
        if i is None or whole is None or not alone or _attribute(node, "axis") != 1:
            return None
        parts = len(node.output)
        sizes = [-(-whole // parts)] * parts
        if len(node.input) > 1 and node.input[1]:
            if node.input[1] not in self._constants:
                return None
            sizes = numpy_helper.to_array(self._constants[node.input[1]]).tolist()
        position = list(node.output).index(name)
        first = sum(sizes[:position])
        return i, first, min(sizes[position], whole - first)

    def _output_channels(self, node: NodeProto) -> int | None:
        """Channels of what a convolution or an instance normalisation makes; None if its constants are none."""
        constants = [self._constants[name] for name in node.input[1:] if name in self._constants]
        asked = sum(bool(name) for name in node.input[1:])
        floats = all(constant.data_type == TensorProto.FLOAT for constant in constants)
        if node.domain not in STANDARD_DOMAINS or not constants or len(constants) < asked or not floats:
            return None
        if node.op_type in ("InstanceNormalization", "Conv"):
            return int(constants[0].dims[0])
        if node.op_type == "ConvTranspose" and (_attribute(node, "group") or 1) == 1:
            return int(constants[0].dims[1])
        return None

    def _input_channels(self, convolution: Convolution) -> int:
        dims = self._constants[convolution.weight].dims
        return int(dims[1]) * convolution.group if convolution.op_type == "Conv" else int(dims[0])


def _attribute(node: NodeProto, name: str) -> object:
    """Value of an attribute; None if it is not there."""
    return next((helper.get_attribute_value(each) for each in node.attribute if each.name == name), None)
