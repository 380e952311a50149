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

from export.graph_module import LabelsToPicture
from export.names import IMAGE, INSTANCE, LABEL
from export.opset import OPSET
from export.sau_function import ATTRIBUTES, DOMAIN, DOMAIN_VERSION, OP_TYPE, PLUGIN_NAMESPACE, PLUGIN_VERSION
from runtime.contract.errors import BackendError


def trace(module: LabelsToPicture) -> onnx.ModelProto:
    """The module as an ONNX graph, for every batch size and every height and width that its stride divides.

    Semantic-aware upsampling becomes one node (`export.sau_function`) without a body yet. Names and metadata are the
    exporter's own; `export.canonical` tidies them.

    Raises:
        BackendError: the exporter gave up.
    """
    config = module.generator.config
    # Sizes of an example must differ from 1 and from each other, or the exporter takes them for constants.
    shape = (2, 1, 2 * config.stride, 3 * config.stride)
    free = {0: Dim("N"), 2: config.stride * Dim("_H"), 3: config.stride * Dim("_W")}
    example = {LABEL: torch.zeros(shape, dtype=torch.uint8)}
    if config.edges:
        example[INSTANCE] = torch.zeros(shape, dtype=torch.int32)
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                module.eval(),
                tuple(example.values()),
                dynamo=True,
                opset_version=OPSET,
                input_names=list(example),
                output_names=[IMAGE],
                dynamic_shapes=tuple(free for _ in example),
                custom_translation_table={torch.ops.lggan.semantic_aware_upsample.default: _upsampling_node()},
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0][:300]
        raise BackendError(f"PyTorch {torch.__version__} could not export the generator: {reason}") from error
    assert program is not None  # only the deprecated exporter returns nothing
    return program.model_proto


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
