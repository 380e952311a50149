"""The semantic-synthesis generator as a whole."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

from lggan.config import GeneratorConfig
from lggan.networks.attention import AttentionFusion, fuse
from lggan.networks.class_routed import HeadForm
from lggan.networks.classification import ClassFeatureClassifier, ClassScores
from lggan.networks.encoder import Encoder
from lggan.networks.global_branch import GlobalBranch
from lggan.networks.head_answers import HeadAnswers
from lggan.networks.local_branch import LocalBranch, class_map, head_map, head_masks
from lggan.networks.spade import SPADEResBlock, spectrally_normalised


class Synthesis(NamedTuple):
    """What the generator gives. Images are [N, 3, H, W] in (-1, 1), but that cross-view's local image, a sum over its
    heads, and with it the final one may lie beyond.

    ``attention_local`` is [N, 1, H, W], the share of the local image. The rest serves the training losses: ``heads``
    int64 [N, H, W] says which head paints which pixel (0..K-1, K for none), ``answers`` what each one painted,
    ``classification`` what the classes' features score (None in cross-view). In the dense form, both are None.
    """

    final: Tensor
    global_image: Tensor
    local_image: Tensor
    attention_local: Tensor
    heads: Tensor
    answers: HeadAnswers | None
    classification: ClassScores | None


class LGGANGenerator(nn.Module):
    """LGGAN for semantic image synthesis: shared encoder, global branch, local branch, attention fusion.

    Shapes: semantics [N, S, H, W] float, one-hot (+ edges), H and W multiples of ``config.stride`` -> `Synthesis`.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.global_branch = GlobalBranch(config)
        self.local_branch = LocalBranch(config)
        self.attention = AttentionFusion(config.ngf, config.sau)
        self.classifier = ClassFeatureClassifier(config.ngf, config.scored_heads)

    def forward(self, semantics: Tensor) -> Synthesis:
        height, width = semantics.shape[2:]
        if not height % self.config.stride == width % self.config.stride == 0:
            raise ValueError(f"size {height}x{width} is not a multiple of {self.config.stride}")
        classes = class_map(semantics, self.config.classes)  # [N, H, W]
        if self.local_branch.form is HeadForm.DENSE:
            # Masks straight from the one-hot channels spare the exported graph the way over ids.
            return self.synthesise(semantics, classes, head_masks(semantics, self.config.classes, self.config.heads))
        return self.synthesise(semantics, classes, head_map(classes, self.config.classes, self.config.heads))

    def synthesise(self, layout: Tensor, classes: Tensor, routes: Tensor) -> Synthesis:
        """The branches and their fusion.

        Args:
            layout: what the encoder and the global branch read, [N, S, H, W]: the one-hot map (+ edges).
            classes: of each pixel, int64 [N, H, W], 0..K-1, K for none.
            routes: what the local branch's heads read: see `LocalBranch`.
        """
        same_class = classes if self.config.sau.needs_classes else None
        encoding = self.encoder(layout, same_class)
        global_image = self.global_branch(encoding.deep, layout, same_class)
        local = self.local_branch(encoding.quarter, routes, same_class)
        weight = self.attention(encoding.quarter, same_class)
        heads = head_map(classes, self.config.classes, self.config.heads)
        return Synthesis(
            final=fuse(local.image, global_image, weight),
            global_image=global_image,
            local_image=local.image,
            attention_local=weight,
            heads=heads,
            answers=local.answers,
            classification=None if local.answers is None else self.classifier(local.feature, heads),
        )


def add_spectral_norm(generator: LGGANGenerator) -> None:
    """Normalise the convolutions of the SPADE blocks by their largest singular value, as training wants it."""
    for conv in _spectral_convolutions(generator):
        spectral_norm(conv)


def fold_spectral_norm(generator: LGGANGenerator) -> None:
    """Replace each normalised convolution by a plain one with the very weights that evaluation mode uses."""
    generator.eval()  # in training mode, reading the weight would take a power-iteration step
    for conv in _spectral_convolutions(generator):
        if parametrize.is_parametrized(conv, "weight"):
            parametrize.remove_parametrizations(conv, "weight", leave_parametrized=True)


def _spectral_convolutions(generator: LGGANGenerator) -> list[nn.Module]:
    blocks = [module for module in generator.modules() if isinstance(module, SPADEResBlock)]
    return [conv for block in blocks for conv in spectrally_normalised(block)]
