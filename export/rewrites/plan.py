"""Which rewrites each target gets, and in which order."""

from __future__ import annotations

import copy

from export.rewrites.attention_sigmoid import use_sigmoid_attention
from export.rewrites.batch_norm import fold_batch_norms
from export.rewrites.class_heads import PaintedLocalBranch, PaintedSummedLocalBranch
from export.rewrites.dead_biases import drop_dead_biases
from export.rewrites.label_reading import read_symbols
from export.rewrites.matrix_conv import use_matrices
from export.rewrites.names import Rewrite
from export.rewrites.winograd import use_winograd
from export.target import Target
from lggan.networks.build import AnyGenerator
from lggan.networks.class_routed import HeadForm
from lggan.networks.generator import LGGANGenerator


def rewritten(generator: AnyGenerator, target: Target) -> AnyGenerator:
    """A copy of a generator in evaluation mode that computes the same with less work; the original stays as it is.

    Spectral normalisation is folded in the checkpoint already (`lggan.networks.generator.fold_spectral_norm`), and the
    projection of semantic-aware upsampling stands before it in the network (`lggan.networks.upsample`). Instance norms
    are no modules and wait until the graph is there (`export.rewrites.instance_norm`). For `Target.CPU` a semantic
    generator reads symbols in place of the one-hot map (`export.rewrites.label_symbols`), which `export.graph_module`
    makes.
    """
    result = copy.deepcopy(generator).eval().requires_grad_(False)
    drop_dead_biases(result)
    fold_batch_norms(result)
    use_sigmoid_attention(result)
    if target is Target.TENSORRT:
        # One graph for every label map: each head over the whole picture.
        result.local_branch.form = HeadForm.DENSE
        return result
    if isinstance(result, LGGANGenerator):
        read_symbols(result)
        result.local_branch = PaintedLocalBranch(result.local_branch)  # type: ignore[assignment]
        use_matrices(result)
    else:
        result.local_branch = PaintedSummedLocalBranch(result.local_branch)  # type: ignore[assignment]
    use_winograd(result)
    return result


def rewrites_of(target: Target) -> frozenset[Rewrite]:
    """What `rewritten` and the network itself do for a target, to generators that have the thing concerned."""
    always = {
        Rewrite.SPECTRAL_NORM,
        Rewrite.BATCH_NORM,
        Rewrite.DEAD_BIASES,
        Rewrite.ATTENTION_SIGMOID,
        Rewrite.PROJECT_FIRST,
    }
    if target is Target.TENSORRT:
        return frozenset(always | {Rewrite.GAMMA_BETA})
    return frozenset(always | {Rewrite.SPADE_PATCHES, Rewrite.LABEL_STEM, Rewrite.CLASS_HEADS, Rewrite.WINOGRAD})
