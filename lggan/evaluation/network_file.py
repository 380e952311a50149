"""The TOML file beside an evaluator's ONNX file: what goes in, what comes out, what the classes are.

Such networks come from many places and none says in its file how its pictures were normalised. Whatever would change a
figure without an error must therefore be written down; nothing of it has a default.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from runtime.contract.card import MAX_CLASSES, MAX_SIDE
from runtime.contract.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Choice = TypeVar("Choice", bound=Enum)
_MAX_BYTES = 1 << 20


class Resize(str, Enum):
    """How pictures are brought to the network's size.

    PILLOW_BILINEAR, PILLOW_BICUBIC: Pillow on bytes, widened when shrinking, rounded (torchvision on PIL pictures).
    PILLOW_BICUBIC_FLOAT: the same filter on each channel as float, not rounded, not clipped (clean-fid).
    TORCH_BILINEAR: ``interpolate(mode="bilinear", align_corners=False)``, not widened (pytorch-fid).
    TENSORFLOW_BILINEAR: bilinear of TensorFlow 1, corners not aligned, no half pixels (torch-fidelity, TTUR).
    """

    PILLOW_BILINEAR = "pillow-bilinear"
    PILLOW_BICUBIC = "pillow-bicubic"
    PILLOW_BICUBIC_FLOAT = "pillow-bicubic-float"
    TORCH_BILINEAR = "torch-bilinear"
    TENSORFLOW_BILINEAR = "tensorflow-bilinear"


class AxisOrder(str, Enum):
    """Order of the axes of the input."""

    NCHW = "NCHW"
    NHWC = "NHWC"


class ChannelOrder(str, Enum):
    """Order of the colours of the input."""

    RGB = "RGB"
    BGR = "BGR"


class OutputKind(str, Enum):
    """What the network answers.

    LOGITS: scores before a softmax; [N, K] of a classifier, [N, K, h, w] of a segmenter.
    PROBABILITIES: after a softmax, same shapes.
    IDS: of a segmenter, whole numbers [N, h, w] or [N, 1, h, w].
    FEATURES: [N, D], or [N, D, h, w] of which the mean over h and w is taken.
    """

    LOGITS = "logits"
    PROBABILITIES = "probabilities"
    IDS = "ids"
    FEATURES = "features"


@dataclass(frozen=True)
class InputSpec:
    """How a picture becomes the network's input: ``(byte / scale - mean) / std``.

    Attributes:
        name: of the graph's input; empty for its only one.
        height, width: pictures are resized to it; None (both) keeps their size.
        resize: by which method; None where pictures keep their size.
        shorter_side: if given, the shorter side is first brought to this, the longer one in proportion (rounded down),
            and height x width is cut out of the middle.
        multiple: sides of pictures that keep their size are continued to multiples of this with their last row and
            column; the answer is cut again.
        axes, channels: order of axes and colours.
        scale: 255 for values of 0..1, 1 for bytes.
        mean, std: per channel, in the order of ``channels``.
    """

    axes: AxisOrder
    channels: ChannelOrder
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    name: str = ""
    height: int | None = None
    width: int | None = None
    resize: Resize | None = None
    shorter_side: int | None = None
    multiple: int = 1

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) of the input, or None where pictures keep their size."""
        return None if self.height is None or self.width is None else (self.height, self.width)


@dataclass(frozen=True)
class OutputSpec:
    """Name of the graph's output (empty for its only one) and what it holds."""

    kind: OutputKind
    name: str = ""


@dataclass(frozen=True)
class ClassSpec:
    """What a segmenter's outputs mean, in one of three ways.

    Attributes:
        names: of the outputs by index; matched with the model's classes, ignoring case, ``_`` and ``-``.
        ids: the model's class id of every output; -1 for outputs that no class of the model has.
        ignored: outputs that are no answer. They take no part in the choice of the likeliest class; a pixel that an
            IDS network gives one counts as wrong.
    """

    names: tuple[str, ...] = ()
    ids: tuple[int, ...] = ()
    ignored: tuple[int, ...] = ()


@dataclass(frozen=True)
class NetworkFile:
    """Everything that the TOML file says; ``classes`` is None where it has no such table."""

    input: InputSpec
    output: OutputSpec
    classes: ClassSpec | None = None


def read_network_file(path: str | Path) -> NetworkFile:
    """Read the TOML file beside a network.

    Args:
        path: of the ONNX file or of the TOML file; both have the same stem.

    Raises:
        InputError: absent, not TOML, unknown or missing entries, values of the wrong kind.
    """
    path = Path(path).with_suffix(".toml")
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"{path} has more than {_MAX_BYTES} bytes; it is no description of a network")
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; it must say what the network eats, see docs/evaluation.md") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8; save it as such") from error
    try:
        return parse_network_file(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{path} is not readable TOML: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        reason = f"the entry {error} is missing" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{path}: {reason}; see docs/evaluation.md") from error


def parse_network_file(raw: Mapping[str, Any]) -> NetworkFile:
    """The same from parsed TOML.

    Raises:
        KeyError, TypeError, ValueError: missing entries, values of the wrong kind or that contradict each other.
    """
    _refuse_unknown(raw, ("input", "output", "classes"), "the file")
    return NetworkFile(
        input=_input(_table(raw, "input")),
        output=_output(_table(raw, "output")),
        classes=_classes(_table(raw, "classes")) if "classes" in raw else None,
    )


def _input(raw: Mapping[str, Any]) -> InputSpec:
    _refuse_unknown(raw, tuple(entry.name for entry in fields(InputSpec)), "[input]")
    spec = InputSpec(
        name=_text(raw.get("name", ""), "input.name"),
        height=_whole(raw["height"], "input.height", 1, MAX_SIDE) if "height" in raw else None,
        width=_whole(raw["width"], "input.width", 1, MAX_SIDE) if "width" in raw else None,
        resize=_choice(Resize, raw["resize"], "input.resize") if "resize" in raw else None,
        shorter_side=_whole(raw["shorter_side"], "input.shorter_side", 1, MAX_SIDE) if "shorter_side" in raw else None,
        multiple=_whole(raw.get("multiple", 1), "input.multiple", 1, MAX_SIDE),
        axes=_choice(AxisOrder, raw["axes"], "input.axes"),
        channels=_choice(ChannelOrder, raw["channels"], "input.channels"),
        scale=_number(raw["scale"], "input.scale"),
        mean=_three(raw["mean"], "input.mean"),
        std=_three(raw["std"], "input.std"),
    )
    if spec.scale <= 0 or min(spec.std) <= 0:
        raise ValueError("input.scale and input.std must be positive")
    if (spec.height is None) != (spec.width is None):
        raise ValueError("input.height and input.width belong together")
    if (spec.resize is None) != (spec.size is None):
        raise ValueError("input.resize is wanted exactly where input.height and input.width are given")
    if spec.shorter_side is not None and (spec.size is None or spec.shorter_side < max(spec.size)):
        raise ValueError("input.shorter_side needs input.height and input.width, neither larger than it")
    if spec.shorter_side is not None and spec.resize not in (Resize.PILLOW_BILINEAR, Resize.PILLOW_BICUBIC):
        raise ValueError("input.shorter_side goes with the resize methods pillow-bilinear and pillow-bicubic alone")
    if spec.multiple > 1 and spec.size is not None:
        raise ValueError("input.multiple is for pictures that keep their size; leave input.height and width out")
    return spec


def _output(raw: Mapping[str, Any]) -> OutputSpec:
    _refuse_unknown(raw, ("name", "kind"), "[output]")
    return OutputSpec(_choice(OutputKind, raw["kind"], "output.kind"), _text(raw.get("name", ""), "output.name"))


def _classes(raw: Mapping[str, Any]) -> ClassSpec:
    _refuse_unknown(raw, ("names", "ids", "first_id", "count", "ignored"), "[classes]")
    ways = [key for key in ("names", "ids", "first_id") if key in raw]
    if len(ways) != 1:
        raise ValueError("[classes] wants exactly one of names, ids, first_id (with count)")
    if ("count" in raw) != ("first_id" in raw):
        raise ValueError("classes.count goes with classes.first_id, and with it alone")
    names = tuple(_text(name, "classes.names") for name in _list(raw.get("names", []), "classes.names"))
    ids = tuple(_whole(i, "classes.ids", -1, MAX_CLASSES - 1) for i in _list(raw.get("ids", []), "classes.ids"))
    if "first_id" in raw:
        first = _whole(raw["first_id"], "classes.first_id", 0, MAX_CLASSES - 1)
        count = _whole(raw["count"], "classes.count", 1, MAX_CLASSES - first)
        ids = tuple(range(first, first + count))
    outputs = len(names or ids)
    if not 1 <= outputs <= MAX_CLASSES - 1:
        raise ValueError(f"[classes] describes {outputs} outputs; 1 to {MAX_CLASSES - 1} are possible")
    shared = [i for i in set(ids) if i >= 0 and ids.count(i) > 1]
    if shared:
        raise ValueError(f"classes.ids gives the class {min(shared)} to two outputs")
    ignored = tuple(
        _whole(i, "classes.ignored", 0, MAX_CLASSES - 1) for i in _list(raw.get("ignored", []), "classes.ignored")
    )
    if len(set(ignored) & set(range(outputs))) == outputs:
        raise ValueError("classes.ignored leaves no output")
    return ClassSpec(names, ids, ignored)


def _refuse_unknown(raw: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    unknown = sorted(set(raw) - set(known))
    if unknown:
        raise ValueError(f"{where} has the unknown entries {', '.join(unknown)}; known are {', '.join(known)}")


def _table(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    if not isinstance(raw[name], dict):
        raise TypeError(f"{name} is {raw[name]!r}; a table [{name}] is expected")
    return dict(raw[name])


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{name} is {value!r}; a list is expected")
    return value


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} is {value!r}; a text is expected")
    return value


def _whole(value: Any, name: str, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{name} is {value!r}; a whole number from {low} to {high} is expected")
    return value


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}; a number is expected")
    return float(value)


def _three(value: Any, name: str) -> tuple[float, float, float]:
    numbers = _list(value, name)
    if len(numbers) != 3:
        raise ValueError(f"{name} has {len(numbers)} entries; three are expected, one per channel")
    first, second, third = (_number(number, name) for number in numbers)
    return first, second, third


def _choice(kind: type[Choice], value: Any, name: str) -> Choice:
    try:
        return kind(value)
    except ValueError:
        raise ValueError(f"{name} is {value!r}; choose {', '.join(str(entry.value) for entry in kind)}") from None
