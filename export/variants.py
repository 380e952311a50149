"""The three forms of one exported model, for runtimes that disagree about functions and plugins."""

from __future__ import annotations

from enum import Enum

import onnx
from onnx import inliner

from export.external_data import is_large
from export.names import DOMAIN
from runtime.contract.errors import UsageError


class Variant(str, Enum):
    """What stands where semantic-aware upsampling is.

    FULL: a node of our own with its body beside it. ONNX Runtime, TensorRT >= 10.7 and TensorRT-RTX, with or without
        the plugin.
    PLUGIN: the node alone. TensorRT 10.3 to 10.6 with the plugin, which they would not prefer over a body; elsewhere
        the file cannot be run without the plugin.
    INLINED: standard operators alone. TensorRT 10.3 to 10.6 without the plugin, and tools that know no functions.
    """

    FULL = "full"
    PLUGIN = "plugin"
    INLINED = "inlined"


def to_variant(model: onnx.ModelProto, variant: Variant) -> onnx.ModelProto:
    """A copy of a FULL model in another form; the card and all other metadata stay.

    Raises:
        UsageError: INLINED, of a model above 2 GiB, which onnx cannot inline.
    """
    if variant is Variant.INLINED:
        if is_large(model):
            raise UsageError("a model above 2 GiB cannot be written with --variant inlined; use full")
        inlined = inliner.inline_local_functions(model)
        kept = [entry for entry in inlined.opset_import if entry.domain != DOMAIN]
        del inlined.opset_import[:]
        inlined.opset_import.extend(kept)
        return inlined
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if variant is Variant.PLUGIN:
        del copy.functions[:]
    return copy
