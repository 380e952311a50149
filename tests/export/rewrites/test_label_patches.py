from __future__ import annotations

import numpy as np
import pytest
import torch

from export.function_text import FunctionText
from export.rewrites import label_patches as module
from export.rewrites.label_patches import LABEL_PATCHES, key_of, label_patches
from tests.export.rewrites.hard_maps import hard_maps
from tests.export.rewrites.onnx_runs import run_body

K = 5


def _patches(symbols: np.ndarray, margin: int, ring: int, outside: int) -> np.ndarray:
    """Every patch written out, by plain loops: [places, (2 margin + 1)²]."""
    n, h, w = symbols.shape
    found = []
    for image in range(n):
        for y in range(-ring, h + ring):
            for x in range(-ring, w + ring):
                patch = []
                for dy in range(-margin, margin + 1):
                    for dx in range(-margin, margin + 1):
                        inside = 0 <= y + dy < h and 0 <= x + dx < w
                        patch.append(symbols[image, y + dy, x + dx] if inside else outside)
                found.append(patch)
    return np.array(found)


def _check(roots: np.ndarray, patches: np.ndarray) -> int:
    """Every root is a place with the same patch and its own root; returns how many there are."""
    flat = roots.reshape(-1)
    assert np.array_equal(patches[flat], patches)
    assert np.array_equal(flat[flat], flat)
    return len(np.unique(flat))


@pytest.mark.parametrize("alphabet", [7, 74, 515])  # nine digits make one word, two words, two words
def test_roots_have_the_same_patch(alphabet: int) -> None:
    for name, label in hard_maps(K, 6, 9).items():
        other = hard_maps(K, 6, 9)["one-pixel classes"]
        symbols = torch.from_numpy(np.minimum(np.stack([label, other]), K)).to(torch.int64)
        three, five = (_patches(symbols.numpy(), margin, ring, alphabet - 1) for margin, ring in ((1, 1), (2, 0)))
        eager = label_patches(symbols, alphabet)
        # In the body, keys may collide: a few places more than there are patches are their own roots then.
        for roots, spare in ((eager, 1.0), (run_body(LABEL_PATCHES, [symbols], (alphabet,)), 1.3)):
            roots3, roots5 = (np.asarray(each) for each in roots)
            assert roots3.shape == (2, 8, 11), name
            assert roots5.shape == (2, 6, 9), name
            for found, patches in ((roots3, three), (roots5, five)):
                distinct = len(np.unique(patches, axis=0))
                assert distinct <= _check(found, patches) <= spare * distinct, name


def test_collisions_cost_evaluations_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SLOTS", (0, 0))  # one slot for hundreds of patches
    symbols = torch.from_numpy(hard_maps(K, 12, 16)["noise"])[None].to(torch.int64)
    roots3, roots5 = run_body(LABEL_PATCHES, [symbols], (7,))
    three, five = _patches(symbols.numpy(), 1, 1, 6), _patches(symbols.numpy(), 2, 0, 6)
    assert _check(roots3, three) >= len(np.unique(three, axis=0))
    assert _check(roots5, five) >= len(np.unique(five, axis=0))


def test_keys_stay_within_their_word() -> None:
    text = FunctionText()
    key_of(text, [(f"d{index}", 2**20) for index in range(3)])
    before = len(text.finish("Short", ["d0", "d1", "d2"], ["v0"]).node)
    text = FunctionText()
    key_of(text, [(f"d{index}", 2**20) for index in range(4)])  # 80 bits: a root in between
    after = text.finish("Long", ["d0", "d1", "d2", "d3"], ["v0"])
    assert len(after.node) > before + 2
    assert any(node.op_type == "ScatterElements" for node in after.node)
