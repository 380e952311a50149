"""PyTorch's exporter, taught the operator that it does not know."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import onnx
import torch
from onnxscript.values import Op, Opset
from torch.export import Dim

from export.graph_module import PictureGraph, ViewsToPicture
from export.names import DOMAIN, DOMAIN_VERSION, INSTANCE, LABEL, SOURCE
from export.opset import OPSET
from export.rewrites.operators import OPERATORS
from export.sau_function import ATTRIBUTES, OP_TYPE, PLUGIN_NAMESPACE, PLUGIN_VERSION
from runtime.contract.errors import BackendError


def trace(module: PictureGraph) -> onnx.ModelProto:
    """The module as an ONNX graph, for every batch size and every height and width that its stride divides.

    Semantic-aware upsampling becomes one node (`export.sau_function`) without a body yet. Names and metadata are the
    exporter's own; `export.canonical` tidies them.

    Raises:
        BackendError: the exporter gave up.
    """
    example, free = _example(module)
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                module.eval(),
                tuple(example.values()),
                dynamo=True,
                opset_version=OPSET,
                input_names=list(example),
                output_names=module.outputs.names,
                dynamic_shapes=free,
                custom_translation_table={
                    torch.ops.lggan.semantic_aware_upsample.default: _upsampling_node(),
                    **{operator.torch_op: operator.translation() for operator in OPERATORS},
                },
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0][:300]
        raise BackendError(f"PyTorch {torch.__version__} could not export the generator: {reason}") from error
    assert program is not None  # only the deprecated exporter returns nothing
    return program.model_proto


def _example(module: PictureGraph) -> tuple[dict[str, torch.Tensor], tuple[dict[int, Any], ...]]:
    """Inputs by name, in the graph's order, and per input which of its sizes are free.

    Sizes of an example must differ from 1 and from each other, or the exporter takes them for constants.
    """
    config = module.generator.config
    height, width = 2 * config.stride, 3 * config.stride
    example: dict[str, torch.Tensor] = {}
    if isinstance(module, ViewsToPicture):
        # below two strides, the tower would reflect more than there is
        batch, rows, columns = Dim("N"), config.stride * Dim("_H", min=2), config.stride * Dim("_W", min=2)
        example[SOURCE] = torch.zeros((2, height, width, 3), dtype=torch.uint8)
        example[LABEL] = torch.zeros((2, 1, height, width), dtype=torch.uint8)
        return example, ({0: batch, 1: rows, 2: columns}, {0: batch, 2: rows, 3: columns})
    free = {0: Dim("N"), 2: config.stride * Dim("_H"), 3: config.stride * Dim("_W")}
    example[LABEL] = torch.zeros((2, 1, height, width), dtype=torch.uint8)
    if config.edges:
        example[INSTANCE] = torch.zeros((2, 1, height, width), dtype=torch.int32)
    return example, tuple(free for _ in example)


def _upsampling_node() -> Callable[..., Any]:
    """The translation of ``torch.ops.lggan.semantic_aware_upsample`` into a node."""
    schema = onnx.defs.OpSchema
    floats = ["tensor(float16)", "tensor(float)", "tensor(double)"]
    kinds = {"plugin_namespace": schema.AttrType.STRING, "plugin_version": schema.AttrType.STRING}
    node = Op(
        Opset(DOMAIN, DOMAIN_VERSION),
        OP_TYPE,
        # The exporter wants to know the operator's signature; a bare name is not enough.
        schema(
            OP_TYPE,
            DOMAIN,
            DOMAIN_VERSION,
            inputs=[schema.FormalParameter("feature", "T"), schema.FormalParameter("logits", "T")],
            outputs=[schema.FormalParameter("output", "T")],
            type_constraints=[("T", floats, "")],
            attributes=[schema.Attribute(name, kinds.get(name, schema.AttrType.INT), "") for name in ATTRIBUTES],
        ),
    )

    def translate(feature: Any, logits: Any, kernel: int, scale: int, dilation: int) -> Any:
        return node(
            feature,
            logits,
            kernel=kernel,
            scale=scale,
            dilation=dilation,
            plugin_namespace=PLUGIN_NAMESPACE,
            plugin_version=PLUGIN_VERSION,
        )

    return translate


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks about itself (absent torchvision, shared dimension names) off the terminal."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
