"""Writing the body of an ONNX function line by line, with names and constants that look after themselves."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import parser

from export.names import DOMAIN
from export.opset import OPSET


class FunctionText:
    """A function body in ONNX's textual syntax.

    Every value gets a name of its own. Whole numbers become tensors of type int64: ONNX Runtime before 1.24 loses the
    rank of a list of integers in a function body.
    """

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._constants: dict[str, str] = {}

    def value(self, expression: str) -> str:
        """Add ``name = expression`` and return the name."""
        name = f"v{len(self._lines)}"
        self._lines.append(f"{name} = {expression}")
        return name

    def values(self, expression: str, count: int) -> list[str]:
        """The same for an operator with several outputs."""
        names = [f"v{len(self._lines)}_{index}" for index in range(count)]
        self._lines.append(f"{', '.join(names)} = {expression}")
        return names

    def assign(self, name: str, expression: str) -> None:
        """Add a line whose value has a given name: an output of the function."""
        self._lines.append(f"{name} = {expression}")

    def scalar(self, number: int) -> str:
        """A constant int64 []."""
        name = f"s_{number}".replace("-", "m")
        self._constants[name] = f"int64 {{{number}}}"
        return name

    def vector(self, *numbers: int) -> str:
        """A constant int64 [n]."""
        name = "_".join(["l", *(str(number).replace("-", "m") for number in numbers)])
        self._constants[name] = f"int64[{len(numbers)}] {{{', '.join(map(str, numbers))}}}"
        return name

    def flat(self, value: str) -> str:
        """As one row, [P]."""
        return self.value(f"Reshape ({value}, {self.vector(-1)})")

    def window(self, source: str, dy: int, dx: int, size: str) -> str:
        """``source[:, dy : dy + size[0], dx : dx + size[1]]`` as one row; source [N, H, W, ...], size int64 [2]."""
        start = self.vector(dy, dx)
        end = self.value(f"Add ({start}, {size})")
        return self.flat(self.value(f"Slice ({source}, {start}, {end}, {self.vector(1, 2)})"))

    def entry(self, source: str, index: int) -> str:
        """``source[index]``, contiguous."""
        part = self.value(f"Slice ({source}, {self.vector(index)}, {self.vector(index + 1)}, {self.vector(0)})")
        return self.value(f"Squeeze ({part}, {self.vector(0)})")

    def rows(self, table: str, numbers: str) -> str:
        """``table[numbers]``."""
        return self.value(f"Gather <axis = 0> ({table}, {numbers})")

    def after(self, value: str, first: str, batch: str) -> str:
        """``value`` plus a zero that needs ``first`` to be known.

        ONNX Runtime calls nodes in the order in which their inputs could be there, look-ups of large maps long before
        anybody reads them. This makes one wait, so that the two are not in memory together.

        Args:
            value: a small tensor of numbers.
            first: [N, ...].
            batch: int64 [], N.
        """
        size = self.value(f"Gather <axis = 0> ({self.value(f'Shape ({first})')}, {self.scalar(0)})")
        zero = self.value(f"Sub ({size}, {batch})")
        return self.value(f"Add ({value}, {self.value(f'CastLike ({zero}, {value})')})")

    def finish(
        self, name: str, inputs: Sequence[str], outputs: Sequence[str], attributes: Sequence[str] = ()
    ) -> onnx.FunctionProto:
        """The function in the domain ``lggan``."""
        signature = f"{name} <{', '.join(attributes)}>" if attributes else name
        constants = " ".join(f"{key} = Constant <value = {value}> ()" for key, value in self._constants.items())
        return parser.parse_function(
            f'<opset_import: ["" : {OPSET}], domain: "{DOMAIN}"> {signature} ({", ".join(inputs)}) '
            f"=> ({', '.join(outputs)}) {{ {constants} {' '.join(self._lines)} }}"
        )
