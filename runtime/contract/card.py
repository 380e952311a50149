"""The model card: what a file needs to say of itself so that the next room can be entered from the file alone.

It travels as JSON: in the metadata of a checkpoint (safetensors, key ``lggan_card``), in the metadata of an ONNX
model (same key), and inside the record beside an engine.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from runtime.contract.errors import InputError

CARD_KEY = "lggan_card"
CARD_SCHEMA = 1
MAX_CARD_BYTES = 1 << 20
MAX_CLASSES = 256
MAX_SIDE = 16384
SEMANTIC_SYNTHESIS = "semantic-synthesis"
CROSS_VIEW = "cross-view"
TENSORRT = "tensorrt"
CPU = "cpu"


@dataclass(frozen=True)
class ClassInfo:
    """One class of the label map: its name and the colour (R, G, B, 0..255) it has in coloured label maps."""

    name: str
    color: tuple[int, int, int]


@dataclass(frozen=True)
class TensorInfo:
    """One input or output of the exported graph; symbolic sizes are strings, e.g. ``("N", 1, "H", "W")``."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class ModelCard:
    """What the model is, what it eats and gives, where it comes from.

    Attributes:
        name: short name, e.g. ``camvid``.
        task: ``semantic-synthesis``, a photo from a label map, or ``cross-view``, a photo from a photo of the same
            scene and the label map of the view that is wanted.
        classes: K classes; the position in the tuple is the id in the label map.
        void: id that the label value 255 stands for, or None where 255 is an error. 255 itself where K <= 255: void is
            then a value of its own, which label maps may hold though it belongs to no class.
        height, width: the size it was trained at, pixels.
        stride: height and width of a label map must be multiples of it.
        instances: whether a second input with instance ids is wanted (edge channel).
        inputs, outputs: of the exported graph; empty in a checkpoint.
        precision: ``fp32`` or ``fp16`` ...: the types written into the graph.
        target: what the graph was made for, `TENSORRT` or `CPU`; a checkpoint and a graph of an earlier version,
            which ran everywhere, count as the first.
        generator: the generator's configuration, as `lggan.config.GeneratorConfig` or
            `lggan.cross_view_config.CrossViewConfig` wrote it.
        training: data, steps, seeds and figures of the training, free form.
        provenance: one line per processing step, oldest first.
        licence: the licence of the weights, not of the code.
        verification: figures measured when the file was written, e.g. the difference to PyTorch.
        checkpoint_sha256: of the checkpoint that the graph was made from; empty in a checkpoint itself.
    """

    name: str
    task: str
    classes: tuple[ClassInfo, ...]
    void: int | None
    height: int
    width: int
    stride: int
    instances: bool = False
    inputs: tuple[TensorInfo, ...] = ()
    outputs: tuple[TensorInfo, ...] = ()
    precision: str = "fp32"
    target: str = TENSORRT
    generator: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    provenance: tuple[str, ...] = ()
    licence: str = ""
    verification: dict[str, Any] = field(default_factory=dict)
    checkpoint_sha256: str = ""
    schema: int = CARD_SCHEMA

    @property
    def wants_source(self) -> bool:
        """Whether a photo of the scene belongs to every label map."""
        return self.task == CROSS_VIEW

    @property
    def own_void(self) -> bool:
        """Whether void is a value beside the classes instead of one of them."""
        return self.void is not None and self.void >= len(self.classes)

    @property
    def smallest_side(self) -> int:
        """Least height and width of a label map, pixels: below it, the network would reflect more than there is."""
        return 2 * self.stride if self.task == CROSS_VIEW else self.stride

    def require_tensorrt_graph(self, path: str | Path, purpose: str) -> None:
        """Refuse a graph that was made for ONNX Runtime on a CPU.

        Raises:
            InputError: its shapes depend on the label map, and what was a convolution there is one no more; or it is
                quantised in a way that TensorRT does not know.
        """
        if self.target == CPU:
            way_out = (
                "export the checkpoint again with --target tensorrt"
                if self.precision == "fp32"
                else "calibrate the FP32 model again with --for tensorrt"
            )
            raise InputError(f"{path} was made for ONNX Runtime on a CPU, which {purpose} cannot use; {way_out}")

    def to_json(self) -> str:
        """The card as one line of JSON with sorted keys (equal cards give equal bytes)."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> ModelCard:
        """Read and check a card.

        Raises:
            InputError: not JSON, of another schema version, or with values that make no sense.
        """
        if len(text) > MAX_CARD_BYTES:
            raise InputError(f"the model card has {len(text)} bytes, more than {MAX_CARD_BYTES}; the file is not ours")
        try:
            raw = json.loads(text, parse_constant=_no_constants)
        except (ValueError, RecursionError) as error:
            raise InputError(f"the model card is not readable JSON ({error}); export the model again") from error
        if not isinstance(raw, dict):
            raise InputError("the model card is not a JSON object; export the model again")
        if raw.get("schema") != CARD_SCHEMA:
            raise InputError(
                f"the model card has schema {raw.get('schema')!r}, this version reads {CARD_SCHEMA}; "
                "export the model again with this version or update lggan-edge"
            )
        try:
            card = cls(
                name=_text(raw["name"]),
                task=_text(raw["task"]),
                classes=tuple(ClassInfo(_text(c["name"]), _color(c["color"])) for c in raw["classes"]),
                void=None if raw["void"] is None else _integer(raw["void"], 0, MAX_CLASSES - 1),
                height=_integer(raw["height"], 1, MAX_SIDE),
                width=_integer(raw["width"], 1, MAX_SIDE),
                stride=_integer(raw["stride"], 1, MAX_SIDE),
                instances=bool(raw["instances"]),
                inputs=tuple(_tensor(t) for t in raw["inputs"]),
                outputs=tuple(_tensor(t) for t in raw["outputs"]),
                precision=_text(raw["precision"]),
                target=_one_of(raw.get("target", TENSORRT), (TENSORRT, CPU)),
                generator=_object(raw["generator"]),
                training=_object(raw["training"]),
                provenance=tuple(_text(line) for line in raw["provenance"]),
                licence=_text(raw["licence"]),
                verification=_object(raw["verification"]),
                checkpoint_sha256=_text(raw["checkpoint_sha256"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            detail = f"field {error} is missing" if isinstance(error, KeyError) else str(error)
            raise InputError(f"the model card is damaged: {detail}; export the model again") from error
        if not 1 <= len(card.classes) <= MAX_CLASSES:
            raise InputError(f"the model card names {len(card.classes)} classes; 1 to {MAX_CLASSES} are possible")
        return card


def _no_constants(name: str) -> float:
    raise ValueError(f"{name} is not a number of JSON")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


def _one_of(value: object, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError(f"{value!r} is none of {', '.join(known)}")
    return _text(value)


def _integer(value: object, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value != int(value):
        raise TypeError(f"{value!r} is not a whole number")
    if not low <= value <= high:
        raise ValueError(f"{value!r} is not between {low} and {high}")
    return int(value)


def _color(value: object) -> tuple[int, int, int]:
    if not isinstance(value, list) or len(value) != 3:
        raise TypeError(f"{value!r} is not a colour (three numbers)")
    red, green, blue = (_integer(part, 0, 255) for part in value)
    return red, green, blue


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is not an object")
    return value


def _tensor(value: object) -> TensorInfo:
    raw = _object(value)
    shape = tuple(side if isinstance(side, str) else _integer(side, 1, 1 << 40) for side in raw["shape"])
    return TensorInfo(_text(raw["name"]), _text(raw["dtype"]), shape)
