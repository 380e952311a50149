"""The worker process with a plugin for lggan::SemanticAwareUpsample registered before it builds."""

from __future__ import annotations

import os
import sys

import numpy as np
import tensorrt_rtx as trt

sys.path.insert(0, os.getcwd())  # started by path: the working directory is the project

from engines.rtx_worker import main


class Plugin(trt.IPluginV3, trt.IPluginV3OneCore, trt.IPluginV3OneBuild, trt.IPluginV3OneRuntime):
    """Doubles height and width; knows FP32 and FP16, linear. Never executed here."""

    def __init__(self) -> None:
        trt.IPluginV3.__init__(self)
        trt.IPluginV3OneCore.__init__(self)
        trt.IPluginV3OneBuild.__init__(self)
        trt.IPluginV3OneRuntime.__init__(self)
        self.plugin_name, self.plugin_version, self.plugin_namespace = "SemanticAwareUpsample", "1", "lggan"
        self.num_outputs = 1

    def get_capability_interface(self, kind):
        return self

    def get_output_data_types(self, types):
        return [types[0]]

    def get_output_shapes(self, inputs, shape_inputs, expressions):
        shape = trt.DimsExprs(inputs[0])
        two = expressions.constant(2)
        for axis in (2, 3):
            shape[axis] = expressions.operation(trt.DimensionOperation.PROD, inputs[0][axis], two)
        return [shape]

    def supports_format_combination(self, position, descriptions, inputs):
        own = descriptions[position].desc
        return own.format == trt.TensorFormat.LINEAR and own.type == descriptions[0].desc.type

    def configure_plugin(self, inputs, outputs):
        pass

    def get_fields_to_serialize(self):
        return trt.PluginFieldCollection([])

    def attach_to_context(self, context):
        return self.clone()

    def on_shape_change(self, inputs, outputs):
        pass

    def enqueue(self, input_desc, output_desc, inputs, outputs, workspace, stream):
        raise AssertionError("there is no GPU here")

    def set_tactic(self, tactic):
        pass

    def clone(self):
        return type(self)()


class Creator(trt.IPluginCreatorV3One):
    def __init__(self) -> None:
        trt.IPluginCreatorV3One.__init__(self)
        self.name, self.plugin_version, self.plugin_namespace = "SemanticAwareUpsample", "1", "lggan"
        integer = trt.PluginFieldType.INT32
        self.field_names = trt.PluginFieldCollection(
            [trt.PluginField(name, np.array([]), integer) for name in ("kernel", "scale", "dilation")]
        )

    def create_plugin(self, name, fields, phase):
        return Plugin()


creator = Creator()  # the registry does not keep it alive
assert trt.get_plugin_registry().register_creator(creator, "lggan")
sys.exit(main())
