from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from export.rewrites.batch_norm import fold_batch_norms
from export.rewrites.label_patches import label_patches
from export.rewrites.label_symbols import Alphabet
from export.rewrites.spade_patches import MODULATE_PATCHES, PatchSPADEResBlock
from lggan.networks.semantics import encode_semantics
from lggan.networks.spade import SPADEResBlock
from tests.export.rewrites.hard_maps import hard_maps
from tests.export.rewrites.onnx_runs import run_body

K = 4
SIZE = (12, 20)  # of the picture


def _block(inside: int, outside: int, channels: int) -> SPADEResBlock:
    torch.manual_seed(0)
    block = SPADEResBlock(inside, outside, channels, 3).double().eval().requires_grad_(False)
    for norm in block.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_()  # type: ignore[union-attr]
            norm.running_var.uniform_(0.2, 3)  # type: ignore[union-attr]
    return block


def _inputs(label: Tensor, edges: bool) -> tuple[Tensor, Tensor | None]:
    labels = torch.stack([label, label.flip(0)])[:, None]  # [2, 1, H, W]
    return labels, labels.to(torch.int32) * 7 + torch.arange(SIZE[1]) // 5 if edges else None


@pytest.mark.parametrize("edges", [False, True])
@pytest.mark.parametrize(("inside", "outside", "step", "enlarge"), [(4, 2, 1, 2), (4, 2, 2, 1), (3, 3, 4, 1)])
def test_the_block_is_the_published_one(edges: bool, inside: int, outside: int, step: int, enlarge: int) -> None:
    published = _block(inside, outside, K + edges)
    alphabet = Alphabet(K, edges)
    rewritten = nn.Sequential(_block(inside, outside, K + edges))
    fold_batch_norms(rewritten)
    patched = PatchSPADEResBlock(rewritten[0], alphabet, step, enlarge)  # type: ignore[arg-type]
    size = [side // step // enlarge for side in SIZE]
    x = torch.randn(2, inside, *size, dtype=torch.float64)
    for name, label in hard_maps(K, *SIZE).items():
        labels, instance = _inputs(torch.from_numpy(label), edges)
        expected = published(
            interpolate(x, scale_factor=float(enlarge)), encode_semantics(labels, K, instance).double()
        )
        actual = patched(x, alphabet.symbols(labels, instance))
        assert float((actual - expected).abs().max()) < 1e-10, name
    assert float(expected.std()) > 0.1


@pytest.mark.parametrize(("enlarge", "activate"), [(1, 0), (1, 1), (2, 0), (2, 1)])
def test_the_body_is_the_operator(enlarge: int, activate: int) -> None:
    torch.manual_seed(1)
    alphabet = Alphabet(K, edges=False)
    channels, hidden = 3, 5
    shapes = [(9, alphabet.size, hidden), (hidden,)] + 2 * [(9, hidden, channels), (channels,)]
    tables = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    tables[0][:, alphabet.outside] = 0
    x = torch.randn(2, channels, SIZE[0] // enlarge, SIZE[1] // enlarge, dtype=torch.float64)
    for name, label in hard_maps(K, *SIZE).items():
        symbols = alphabet.symbols(*_inputs(torch.from_numpy(label), edges=False))[:, 0]
        inputs = [x, symbols, *label_patches(symbols, alphabet.size), *tables]
        expected = torch.ops.lggan.modulate_patches(*inputs, enlarge, activate)
        (actual,) = run_body(MODULATE_PATCHES, inputs, (enlarge, activate))
        assert actual.shape == expected.shape
        limit = 1e-6 if activate else 1e-12  # the slope is a float32 in the file
        assert float((torch.from_numpy(actual) - expected).abs().max()) < limit, name


def test_roots_of_another_operator_do_not_matter() -> None:
    """Any place with the same patch serves; each being its own root must give the same numbers."""
    torch.manual_seed(2)
    alphabet = Alphabet(K, edges=False)
    shapes = [(9, alphabet.size, 5), (5,), (9, 5, 3), (3,), (9, 5, 3), (3,)]
    tables = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    x = torch.randn(1, 3, *SIZE, dtype=torch.float64)
    symbols = torch.from_numpy(hard_maps(K, *SIZE)["stripes"])[None].to(torch.int64)
    own = [torch.arange((SIZE[0] + 2) * (SIZE[1] + 2)).view(1, SIZE[0] + 2, -1), torch.arange(x[0, 0].numel())]
    own[1] = own[1].view(1, *SIZE)
    shared = torch.ops.lggan.modulate_patches(x, symbols, *label_patches(symbols, alphabet.size), *tables, 1, 0)
    alone = torch.ops.lggan.modulate_patches(x, symbols, *own, *tables, 1, 0)
    assert float((shared - alone).abs().max()) < 1e-12
