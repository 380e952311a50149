"""Which places of a label map look alike: the foundation of everything that is computed once per neighbourhood.

What the SPADE modulations of a pixel are depends on the labels of its 5x5 neighbourhood and on nothing else. On real
label maps most neighbourhoods occur many times over: inside a region they are all the same, and along a straight
border they repeat. So each place gets a *root*, a place with exactly the same neighbourhood; what is computed at the
roots serves all.

A root is found by hashing. The symbols of a 3x3 patch, as digits of one number, are its key. Every place writes its
index into the slot ``key mod m`` of a table of m slots, and reads the slot again: whose index stands there is its root
if the keys are equal. Where another key took the slot, a second table of another size is tried, and a place that finds
no equal there is its own root. So a root is always right, whatever collides; a collision only costs a second
evaluation. A 5x5 patch is the union of the 3x3 patches at its corners: its key are their roots.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import torch
from torch import Tensor
from torch.nn.functional import pad

from export.function_text import FunctionText
from export.operators import CustomOperator

_SLOTS = (4, 1)  # of the two tables, per place and one more; the second table has to take few
_WORD = 2**62  # keys stay below
PLACES = 2**31  # more places than any picture has


@torch.library.custom_op("lggan::label_patches", mutates_args=())
def label_patches(symbols: Tensor, alphabet: int) -> tuple[Tensor, Tensor]:
    """For each place, a place with the same neighbourhood.

    Args:
        symbols: int64 [N, H, W] of 0..alphabet-2; outside of the picture is the symbol alphabet-1.
        alphabet: number of symbols.

    Returns:
        roots3: int64 [N, H + 2, W + 2], 3x3 patches around the picture's places and the ring around them, as flat
            indices into this very map.
        roots5: int64 [N, H, W], 5x5 patches around the picture's places, as flat indices into this map.
    """
    n, h, w = symbols.shape
    around = pad(symbols, (2, 2, 2, 2), value=alphabet - 1)  # [N, H + 4, W + 4]
    three = [around[:, dy : dy + h + 2, dx : dx + w + 2].flatten() for dy in range(3) for dx in range(3)]
    roots3 = _roots(torch.stack(three)).view(n, h + 2, w + 2)
    five = [roots3[:, dy : dy + h, dx : dx + w].flatten() for dy in (0, 2) for dx in (0, 2)]
    return roots3, _roots(torch.stack(five)).view(n, h, w)


@label_patches.register_fake
def _(symbols: Tensor, alphabet: int) -> tuple[Tensor, Tensor]:
    n, h, w = symbols.shape
    return symbols.new_empty(n, h + 2, w + 2), symbols.new_empty(n, h, w)


def _roots(words: Tensor) -> Tensor:
    """Index of the last column that equals each column of [D, P]; int64 [P]."""
    inverse = torch.unique(words, dim=1, return_inverse=True)[1]
    last = torch.zeros_like(inverse).index_put_((inverse,), torch.arange(len(inverse)), accumulate=False)
    return last[inverse]


def roots_of(text: FunctionText, key: str) -> str:
    """For each place the index of one with an equal key, in a function's text.

    Args:
        key: int64 [P], not negative.

    Returns:
        int64 [P].
    """
    count = text.value(f"Size ({key})")
    places = text.value(f"Range ({text.scalar(0)}, {count}, {text.scalar(1)})")
    slots, more = (_slots(text, count, each) for each in _SLOTS)
    root, found = _look_up(text, key, text.value(f"Mod ({key}, {slots})"), places, slots)
    # Those who have found one all go into one slot more, to leave the others alone.
    slot = text.value(f"Where ({found}, {more}, {text.value(f'Mod ({key}, {more})')})")
    second, found_second = _look_up(text, key, slot, places, text.value(f"Add ({more}, {text.scalar(1)})"))
    fallback = text.value(f"Where ({found_second}, {second}, {places})")
    return text.value(f"Where ({found}, {root}, {fallback})")


def _slots(text: FunctionText, count: str, per_place: int) -> str:
    """An odd number, since the number of places is even as a rule: keys with many factors of two spread, too."""
    return text.value(f"Add ({text.value(f'Mul ({count}, {text.scalar(per_place)})')}, {text.scalar(1)})")


def _look_up(text: FunctionText, key: str, slot: str, places: str, slots: str) -> tuple[str, str]:
    """(who stands in each place's slot, whether its key is the same)."""
    shape = text.value(f"Reshape ({slots}, {text.vector(1)})")
    empty = text.value(f"ConstantOfShape <value = int64[1] {{0}}> ({shape})")
    # Of several that write into one slot, "max" lets the last one win; without a reduction, none is defined to.
    table = text.value(f'ScatterElements <axis = 0, reduction = "max"> ({empty}, {slot}, {places})')
    root = text.rows(table, slot)
    return root, text.value(f"Equal ({text.rows(key, root)}, {key})")


def key_of(text: FunctionText, digits: Sequence[tuple[str, int]]) -> str:
    """One number per place out of several digits [P]; equal for two places if and only if all their digits are.

    As many digits as fit make one word. A place's root by this word then is the first digit of the next one.

    Args:
        digits: each with its bound: 0..bound-1.
    """
    key, bound = digits[0]
    for digit, limit in digits[1:]:
        if bound * limit > _WORD:
            key, bound = roots_of(text, key), PLACES
        shifted = text.value(f"Mul ({key}, {text.scalar(limit)})")
        key = text.value(f"Add ({shifted}, {digit})")
        bound *= limit
    return key


def numbered(text: FunctionText, roots: str) -> tuple[str, str]:
    """The places that are their own roots, int64 [U], and of every place the position of its root among them."""
    flat = text.flat(roots)
    count = text.value(f"Size ({flat})")
    every = text.value(f"Range ({text.scalar(0)}, {count}, {text.scalar(1)})")
    own = text.value(f"Equal ({flat}, {every})")
    places = text.value(f"Squeeze ({text.value(f'NonZero ({own})')}, {text.vector(0)})")
    ones = text.value(f"Cast <to = {onnx.TensorProto.INT64}> ({own})")
    ranks = text.value(f"Sub ({text.value(f'CumSum ({ones}, {text.scalar(0)})')}, {text.scalar(1)})")
    return places, text.rows(ranks, roots)


def numbered_in_torch(roots: Tensor) -> tuple[Tensor, Tensor]:
    """`numbered`, in PyTorch."""
    flat = roots.flatten()
    own = flat == torch.arange(len(flat), device=flat.device)
    rank = own.cumsum(0) - 1
    return own.nonzero()[:, 0], rank[flat].view(roots.shape)


def _body(name: str, values: tuple[int, ...]) -> onnx.FunctionProto:
    (alphabet,) = values
    text = FunctionText()
    shape = text.value("Shape (symbols)")
    size = text.value(f"Slice ({shape}, {text.vector(1)}, {text.vector(3)})")  # [H, W]
    around_pads = text.vector(0, 2, 2, 0, 2, 2)
    around = text.value(f"Pad (symbols, {around_pads}, {text.scalar(alphabet - 1)})")
    ring = text.value(f"Add ({size}, {text.vector(2)})")  # [H + 2, W + 2]
    images = text.value(f"Slice ({shape}, {text.vector(0)}, {text.vector(1)})")
    ring_shape = text.value(f"Concat <axis = 0> ({images}, {ring})")
    digits = [(text.window(around, dy, dx, ring), alphabet) for dy in range(3) for dx in range(3)]
    text.assign("roots3", f"Reshape ({roots_of(text, key_of(text, digits))}, {ring_shape})")
    corners = [(text.window("roots3", dy, dx, size), PLACES) for dy in (0, 2) for dx in (0, 2)]
    text.assign("roots5", f"Reshape ({roots_of(text, key_of(text, corners))}, {shape})")
    return text.finish(name, ("symbols",), ("roots3", "roots5"), ("alphabet",))


LABEL_PATCHES = CustomOperator(
    torch_op=torch.ops.lggan.label_patches.default,
    op_type="LabelPatches",
    inputs=("symbols",),
    outputs=("roots3", "roots5"),
    attributes=("alphabet",),
    body=_body,
)
