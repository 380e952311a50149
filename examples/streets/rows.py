"""What comes in rows along a street: pavements, terraces, shop fronts, parked cars, lamp posts, groups of people."""

from __future__ import annotations

from collections.abc import Sequence

from streets.classes import StreetClass
from streets.furniture import Plate, Pole, Sign
from streets.noise import pick
from streets.people import Pedestrian
from streets.townscape import Ground, House, Roof, Wall
from streets.vehicles import Body, Vehicle

FAR = 160.0  # metres: where a street that goes straight on ends


def pavement(x0: float, x1: float, z0: float = 0.0, z1: float = FAR) -> Ground:
    """Pavement between two lines along the street, metres."""
    return Ground(((x0, z0), (x0, z1), (x1, z1), (x1, z0)))


def shops(x: float, z0: float, z1: float, top: float) -> Wall:
    """Shop windows, stalls and doorways along the fronts, which nobody labels: void up to `top` metres."""
    return Wall(x, z0, x, z1, top, street_class=StreetClass.VOID)


def board(x: float, z: float, y: float, width: float, height: float) -> Sign:
    """A sign without a pole, on a front or a bridge; its centre and size in metres."""
    return Sign(x, z, y, width, Plate.SQUARE, height, pole=False)


def detached(x0: float, x1: float, eaves: float, starts: Sequence[float], roofs: tuple[Roof, Roof]) -> list[House]:
    """Detached houses nine metres deep that begin at these distances; the two roofs take turns."""
    return [House(x0, x1, z, z + 9, eaves, roofs[i % 2], 1) for i, z in enumerate(starts)]


def terrace(
    x: float,
    side: int,
    span: tuple[float, float],
    heights: tuple[float, float],
    front: float,
    seed: int,
    roofs: Sequence[Roof] = (Roof.FLAT, Roof.ALONG, Roof.ALONG),
) -> list[House]:
    """Houses with their fronts at `x` on the left (`side` -1) or right (+1), over the distances `span`, metres.

    Args:
        heights: least and greatest height of the eaves.
        front: mean width of a front; single ones differ by a third.
        roofs: taken in turn with some chance.
    """
    houses: list[House] = []
    z, index = span[0], 0
    while z < span[1]:
        width = front * (0.67 + 0.67 * pick(seed, 4 * index))
        height = heights[0] + (heights[1] - heights[0]) * pick(seed, 4 * index + 1)
        set_back = side * 0.7 * pick(seed, 4 * index + 2)
        roof = roofs[int(pick(seed, 4 * index + 3) * len(roofs))]
        chimneys = 0 if roof is Roof.FLAT else 1 + index % 2
        houses.append(House(x + set_back, x + side * 10, z, z + width, height, roof, chimneys))
        z, index = z + width, index + 1
    return houses


def parked(
    x: float, span: tuple[float, float], gap: float, heading: float, seed: int, bodies: Sequence[Body] = tuple(Body)[:3]
) -> list[Vehicle]:
    """Vehicles one behind the other at `x` between two distances; `gap` is the mean free length, metres."""
    vehicles: list[Vehicle] = []
    z, index = span[0], 0
    while z < span[1]:
        body = bodies[int(pick(seed, 3 * index) * len(bodies))]
        length = body.value[-1][0]
        turn = heading + 5 * (pick(seed, 3 * index + 1) - 0.5)
        vehicles.append(Vehicle(x + 0.3 * (pick(seed, 3 * index + 2) - 0.5), z + length / 2, turn, body))
        z += length + gap * (0.5 + pick(seed, 3 * index + 1))
        index += 1
    return vehicles


def lamps(x: float, distances: Sequence[float], arm: float, height: float = 7.5) -> list[Pole]:
    """Lamp posts at `x` at these distances, metres."""
    return [Pole(x, z, height, arm, radius=0.055) for z in distances]


def bollards(x: float, distances: Sequence[float], height: float = 0.95) -> list[Pole]:
    """Short posts along the kerb at `x`."""
    return [Pole(x, z, height, radius=0.07, gaps=0.0) for z in distances]


def group(x: float, z: float, count: int, spread: float, seed: int) -> list[Pedestrian]:
    """`count` people around (x, z), scattered over `spread` metres, each in a step of their own."""
    return [
        Pedestrian(
            x + spread * (pick(seed, 5 * i) - 0.5),
            z + 0.8 * spread * (pick(seed, 5 * i + 1) - 0.5),
            2 * pick(seed, 5 * i + 2) - 1,
            1.58 + 0.28 * pick(seed, 5 * i + 3),
            pick(seed, 5 * i + 4) > 0.7,
        )
        for i in range(count)
    ]
