"""In which order the errors of single layers are measured, so that what is kept at once fits into memory."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

# Loading the part of a graph behind a layer, in runs of the whole graph. Measured on one core for whole graphs: 0.15 of
# one with 14 MB on 192 x 256 pixels, 0.12 of one with 440 MB on 256 x 512. The order of the work depends on it, nothing
# else.
_LOADING = 0.1


@dataclass(frozen=True)
class Group:
    """Layers that share runs of the whole graph.

    Attributes:
        members: positions of the layers.
        tensors: names of what is kept for them, of each label map.
        maps_at_once: for how many label maps it is kept at the same time.
    """

    members: tuple[int, ...]
    tensors: tuple[str, ...]
    maps_at_once: int


def plan_groups(
    frontiers: Sequence[Collection[str]], sizes: Mapping[str, int], maps: int, budget_bytes: int
) -> tuple[Group, ...]:
    """Put layers that follow each other into groups.

    Large groups save runs of the whole graph: one for each group and label map. Many label maps at once save loading:
    each layer is loaded once for as many maps as are kept. Both want the same memory; the division with the least
    work is taken.

    Args:
        frontiers: for each layer the tensors that it is fed with, none larger in sum than the budget.
        sizes: bytes of the tensors for one label map; those that are not in it need not be kept.
        maps: how many label maps there are, at least 1.
        budget_bytes: what may be kept at once.

    Returns:
        Groups in the order of the layers, each layer in one of them.
    """
    shares = sorted({min(2**power, maps) for power in range(maps.bit_length() + 1)}, reverse=True)
    plans = [tuple(_packed(frontiers, sizes, maps, budget_bytes, budget_bytes // share)) for share in shares]
    return min(plans, key=lambda plan: _work(plan, maps))


def _packed(
    frontiers: Sequence[Collection[str]], sizes: Mapping[str, int], maps: int, budget: int, limit: int
) -> Iterator[Group]:
    """Groups of no more than ``limit`` bytes for each map, or of one layer alone."""
    members: list[int] = []
    kept: dict[str, None] = {}  # a set that keeps its order
    for position, frontier in enumerate(frontiers):
        added = {name: None for name in frontier if name in sizes}
        if members and _bytes({**kept, **added}, sizes) > limit:
            yield _group(members, kept, sizes, maps, budget)
            members, kept = [], {}
        members.append(position)
        kept.update(added)
    if members:
        yield _group(members, kept, sizes, maps, budget)


def _group(members: Sequence[int], kept: Collection[str], sizes: Mapping[str, int], maps: int, budget: int) -> Group:
    needed = _bytes(kept, sizes)
    at_once = maps if needed == 0 else max(1, min(maps, budget // needed))
    return Group(tuple(members), tuple(kept), at_once)


def _bytes(names: Collection[str], sizes: Mapping[str, int]) -> int:
    return sum(sizes[name] for name in names)


def _work(plan: Sequence[Group], maps: int) -> float:
    """In runs of the whole graph, without the work behind the layers, which is the same in every plan."""
    return sum(maps + len(group.members) * math.ceil(maps / group.maps_at_once) * _LOADING for group in plan)
