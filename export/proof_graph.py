"""From a generator to its graph, with the branches as further outputs."""

from __future__ import annotations

import onnx

from export.branches import GraphOutputs
from export.canonical import canonicalize
from export.constants import fold_gathers
from export.graph_module import picture_graph
from export.operators import attach_bodies
from export.rewrites.instance_norm import attach_two_stage_norm, use_two_stage_norms
from export.rewrites.operators import OPERATORS
from export.rewrites.plan import rewritten
from export.sau_function import attach_sau_function
from export.target import Target
from export.trace import trace
from lggan.networks.build import AnyGenerator


def proof_graph(generator: AnyGenerator, target: Target) -> onnx.ModelProto:
    """A generator's graph, rewritten for a target and traced, in canonical form and with all bodies beside it.

    It gives the float picture and the intermediate ones (`export.branches`), for the comparison with PyTorch.

    Raises:
        BackendError: PyTorch's exporter gave up.
        UsageError: semantic-aware upsampling of two geometries in one network.
    """
    model = trace(picture_graph(rewritten(generator, target), target, GraphOutputs.BRANCHES))
    fold_gathers(model)
    if target is Target.CPU:
        use_two_stage_norms(model)
    model = canonicalize(model)
    attach_sau_function(model)
    attach_bodies(model, OPERATORS)
    attach_two_stage_norm(model)
    return model
