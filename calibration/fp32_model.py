"""The FP32 model that a typed one is made from."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import ModelProto

from runtime.contract.card import ModelCard
from runtime.contract.errors import InputError
from runtime.contract.files import check_destination
from runtime.contract.onnx_safety import load_checked, read_card


def load_fp32(source: Path, output: Path, purpose: str, force: bool) -> tuple[ModelProto, ModelCard]:
    """Read and check the model, and that its typed form may be written.

    Args:
        source: ``.onnx`` file of `lggan export`.
        output: where the typed form will be.
        purpose: what the typed form is for, in messages: ``FP16``, say.
        force: whether ``output`` may be replaced.

    Raises:
        UsageError: ``output`` exists (without ``force``), or is ``source``.
        InputError: not our model, typed already, or made for a CPU.
        MissingError: no permission to read it, or to write there.
    """
    check_destination(output, source, force=force)
    model: ModelProto = load_checked(source, onnx)
    card = read_card(model, source)
    if card.precision != "fp32":
        raise InputError(f"{source} is typed {card.precision} already; give the FP32 model that it was made from")
    card.require_tensorrt_graph(source, purpose)
    return model, card
