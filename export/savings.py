"""What the exact rewrites save, by formula: `savings`.

Counted for one picture at the configuration's size, in FP32, from the shapes of the layers and, where a rewrite depends
on it, from the label map. A multiply-accumulate (MAC) is one of a convolution or matrix product; look-ups and sums have
none. Of activations, the tensors count that the operations concerned give, each once; sums on the way to them do not.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from export.layer_table import layer_table
from export.rewrites.names import Rewrite
from export.saving_formulas import FLOAT, FORMULAS, Scene, project_first
from lggan.cost import generator_cost
from lggan.task import AnyConfig
from runtime.contract.graph_report import Saving


def savings(
    config: AnyConfig,
    rewrites: Collection[Rewrite],
    label: NDArray[np.uint8],
    instance: NDArray[np.int32] | None = None,
) -> list[Saving]:
    """The ledger of the rewrites that are applied; those that find nothing to rewrite are left out.

    Args:
        config: of the generator; its size is that of the label map.
        rewrites: that are applied. Their order does not matter, the ledger has that of `Rewrite`.
        label: [H, W].
        instance: [H, W] exactly if the generator has an edge channel.
    """
    scene = Scene(config, layer_table(config), label, instance)
    ledger = []
    for rewrite in Rewrite:
        change = FORMULAS[rewrite](scene) if rewrite in rewrites else None
        if change is None:
            continue
        before, after = change.before, change.after
        ledger.append(
            Saving(
                rewrite=rewrite.value,
                macs_before=before.macs,
                macs_after=after.macs,
                weight_bytes_before=FLOAT * before.weights,
                weight_bytes_after=FLOAT * after.weights,
                activation_bytes_before=FLOAT * before.activations,
                activation_bytes_after=FLOAT * after.activations,
                note=change.note,
            )
        )
    return ledger


def published_macs(config: AnyConfig) -> int:
    """MACs of the published formulation for one picture (specification F.1), without the training-only classifier.

    Semantic-aware upsampling counts as published, too: with the 1x1 convolution behind it.
    """
    parts = generator_cost(config).parts
    scene = Scene(config, layer_table(config), np.zeros((config.height, config.width), np.uint8), None)
    projected = project_first(scene)
    moved = 0 if projected is None else projected.before.macs - projected.after.macs
    return sum(part.macs for part in parts if not part.name.startswith("classification")) + moved
