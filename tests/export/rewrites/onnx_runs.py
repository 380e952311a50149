"""Running one operator's body in ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import helper
from torch import Tensor

from export.names import DOMAIN
from export.operators import CustomOperator
from export.opset import IR_VERSION, OPSET


def run_body(operator: CustomOperator, inputs: list[Tensor], values: tuple[int, ...]) -> list[np.ndarray]:
    """What the operator's body gives in ONNX Runtime; the model is checked, with every input free in its sizes."""
    function = operator.body("Tested", values)
    arrays = [tensor.numpy() for tensor in inputs]
    infos = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(array.dtype), [f"{name}_{axis}" for axis in range(array.ndim)]
        )
        for name, array in zip(operator.inputs, arrays, strict=True)
    ]
    node = helper.make_node(
        "Tested",
        operator.inputs,
        operator.outputs,
        domain=DOMAIN,
        **dict(zip(operator.attributes, values, strict=True)),
    )
    given = operator.torch_op(*inputs, *values)
    given = [given] if isinstance(given, Tensor) else given
    outputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(tensor.numpy().dtype), None)
        for name, tensor in zip(operator.outputs, given, strict=True)
    ]
    model = helper.make_model(
        helper.make_graph([node], "graph", infos, outputs),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)],
        functions=[function],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_function(function, _context())
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    results: list[np.ndarray] = session.run(None, dict(zip(operator.inputs, arrays, strict=True)))
    return results


def _context() -> onnx.checker.C.CheckerContext:
    context = onnx.checker.C.CheckerContext()
    context.ir_version = IR_VERSION
    context.opset_imports = {"": OPSET, DOMAIN: 1}
    return context
