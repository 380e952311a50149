"""Where a generator reads the label map, put on symbols and patches (cpu target)."""

from __future__ import annotations

from export.rewrites.label_stem import LabelConvolution
from export.rewrites.label_symbols import Alphabet
from export.rewrites.spade_patches import PatchSPADEResBlock
from lggan.networks.generator import LGGANGenerator
from lggan.networks.global_branch import GlobalBranch, NearestDoubling, NoDoubling
from lggan.networks.spade import SPADEResBlock


def alphabet_of(generator: LGGANGenerator) -> Alphabet:
    """The symbols of a generator's label maps."""
    return Alphabet(generator.config.classes, generator.config.edges)


def read_symbols(generator: LGGANGenerator) -> None:
    """Let the encoder and the global branch read symbols in place of the one-hot map, in place.

    The norms of the SPADE blocks must be folded (`export.rewrites.batch_norm`).
    """
    alphabet = alphabet_of(generator)
    generator.encoder.conv1 = LabelConvolution(generator.encoder.conv1, alphabet)  # type: ignore[assignment]
    _read_patches(generator.global_branch, alphabet)


def _read_patches(branch: GlobalBranch, alphabet: Alphabet) -> None:
    step = branch.stride
    for index, block in enumerate(branch.blocks):
        assert isinstance(block, SPADEResBlock)
        enlarge = 1
        before = branch.doublings[index - 1] if index else NoDoubling()
        if not isinstance(before, NoDoubling):
            step //= 2
        if isinstance(before, NearestDoubling) and block.norm_s is not None:
            branch.doublings[index - 1], enlarge = NoDoubling(), 2
        branch.blocks[index] = PatchSPADEResBlock(block, alphabet, step, enlarge)
