"""The eight scenes, laid out in metres: left-hand traffic, the camera in the left lane at x = 0, looking along z."""

from __future__ import annotations

import numpy as np

from streets.camera import Camera
from streets.classes import StreetClass
from streets.furniture import Clutter, ParkedBicycle, Plate, Pole, Sign
from streets.people import Cyclist, Pedestrian, Side
from streets.rows import board, bollards, detached, group, lamps, parked, pavement, shops, terrace
from streets.scene import Scene
from streets.townscape import Ground, House, Roof, Skyline, Wall, bend, ellipse
from streets.trees import BareTree, Hedge, Tree
from streets.vehicles import Body, Vehicle

ROAD, TREE, BUILDING, VOID = StreetClass.ROAD, StreetClass.TREE, StreetClass.BUILDING, StreetClass.VOID


def avenue() -> Scene:
    """A wide avenue under trees; a few cars in both directions, people on the pavements."""
    return Scene(
        "avenue",
        11,
        Camera(horizon=0.52, vanishing=0.66),
        (pavement(-30, -2.7), pavement(8.8, 40)),
        (
            Skyline(-90, 90, 150, 3, 14, 9, TREE),
            Skyline(-14, 24, 110, 1.5, 6, 2.5, VOID), shops(-8.3, 22, 60, 2.6),
            shops(14.2, 26, 70, 2.8), *terrace(-8.5, -1, (5, 110), (7.5, 10.5), 9, 3),
            *terrace(14.5, 1, (8, 120), (8.0, 12.0), 11, 4),
            Tree(-4.3, 10, 9, 3.4, 0.6), Tree(-4.3, 19, 8.5, 3.0, 0.6), Tree(-4.3, 28, 9.5, 3.2, 0.6),
            Tree(-4.3, 42, 9, 3, 0.6), Tree(-4.3, 60, 9, 3, 0.6),
            Tree(10.2, 15, 9.5, 3.3, 0.6), Tree(10.2, 25, 8.6, 3.0, 0.6), Tree(10.2, 37, 9.2, 3.2, 0.6),
            Tree(10.2, 55, 9, 3, 0.6),
            *lamps(-3.1, (14, 33, 58), 1.6, 8),
            *lamps(9.2, (20, 46, 75), -1.6, 8),
            Sign(-3.2, 24, 2.4, 0.7), Sign(9.1, 22, 3.0, 1.6, Plate.SQUARE, 1.1), Sign(9.2, 17, 2.5, 0.55),
            Vehicle(0.2, 19), Vehicle(0.2, 40, body=Body.VAN), Vehicle(5.0, 11.5, 181, Body.SALOON),
            Vehicle(4.6, 25, 180), Vehicle(4.5, 55, 180, Body.BUS), Vehicle(7.6, 27, 180),
            Vehicle(7.6, 33, 179, Body.SALOON),
            *group(-5.4, 17, 2, 1.2, 5), *group(11.2, 24, 3, 2.0, 6), *group(-5.2, 34, 3, 2.5, 7),
            Cyclist(-1.7, 20),
            Clutter(-5.9, 13.5, 0.7, 1.1), Clutter(11.6, 33, 2.5, 1.6),
        ),
    )  # fmt: skip


def narrow_street() -> Scene:
    """A narrow street between tall terraces, parked cars on both sides."""
    return Scene(
        "narrow_street",
        22,
        Camera(horizon=0.54, vanishing=0.64),
        (pavement(-20, -3.3), pavement(4.1, 20)),
        (
            Skyline(-40, 40, 130, 4, 9, 6, BUILDING, blocky=True),
            Skyline(-8, 8, 90, 2, 7, 1.6, VOID), shops(-4.3, 27, 64, 2.9),
            shops(5.5, 14.5, 24, 3.1), shops(5.0, 44, 66, 2.6),
            *terrace(-5.0, -1, (2, 100), (8.5, 11.5), 7, 8),
            *terrace(5.8, 1, (3, 105), (7.5, 10.5), 8, 9),
            Tree(5.2, 62, 7.5, 2.4, 0.5), Tree(-4.3, 70, 7, 2.2, 0.5),
            *parked(-2.5, (4.6, 75), 2.2, 0, 12),
            *parked(3.2, (8.0, 70), 1.6, 180, 13),
            Vehicle(0.6, 44),
            *lamps(-3.6, (26,), 1.0, 6), *lamps(4.4, (17, 40), -1.0, 6),
            board(-4.6, 13, 3.3, 0.9, 1.2), board(5.2, 15, 3.2, 0.8, 0.9),
            board(-4.5, 24, 3.2, 1.0, 0.7), Sign(4.5, 22, 2.4, 0.6), Sign(-3.6, 19, 2.3, 0.6),
            board(5.3, 30, 3.4, 0.9, 1.1),
            *group(-4.1, 16, 2, 0.9, 21), *group(4.9, 14, 1, 0.5, 23), *group(4.8, 26, 3, 1.2, 24),
            *group(-4.1, 33, 3, 1.2, 26),
            Cyclist(1.6, 21),
            Clutter(4.7, 11.0, 0.7, 1.2), ParkedBicycle(-4.4, 12.0),
        ),
    )  # fmt: skip


def crossroads() -> Scene:
    """Crossroads with lights and an island; a car crosses, another waits."""
    return Scene(
        "crossroads",
        33,
        Camera(horizon=0.53, vanishing=0.70),
        (
            pavement(-60, -3.2, 0, 8.5), pavement(-60, -3.2, 22), pavement(6.8, 60, 0, 9.0), pavement(6.8, 60, 22),
            Ground(ellipse(-3.6, 8.2, 1.6, 1.5), ROAD),
            Ground(ellipse(2.6, 10.0, 0.8, 2.0)), Ground(ellipse(2.4, 26.0, 0.7, 2.5)),
        ),
        (
            Skyline(-120, 120, 140, 4, 12, 10, TREE),
            Skyline(-30, 40, 95, 2.5, 9, 3, VOID), Skyline(-19, -8, 24.8, 1.2, 2.9, 1.8, VOID),
            Skyline(10.4, 20, 24.9, 1.0, 2.9, 1.8, VOID),
            *terrace(-7.0, -1, (25, 100), (9.5, 13), 10, 14),
            *terrace(10.5, 1, (26, 110), (9, 12), 9, 15),
            House(-34, -19, 25, 40, 8.5, Roof.ALONG, 2), House(20.5, 40, 27, 42, 8.5, Roof.FLAT),
            Tree(-17, 34, 10, 4.2, 0.5), Tree(8.9, 44, 10, 3.4, 0.6), BareTree(8.7, 25.5, 10),
            Hedge(12, 23.6, 40, 23.6, 1.3), Wall(-40, 23.5, -12, 23.5, 1.1),
            Pole(-4.1, 8.6, 3.4, radius=0.08), Sign(-4.1, 8.55, 3.0, 0.45, Plate.LIGHTS),
            Sign(2.6, 10.0, 2.7, 0.42, Plate.LIGHTS), Sign(2.5, 9.6, 0.95, 0.5, Plate.ROUND),
            Sign(7.6, 22.5, 2.9, 0.45, Plate.LIGHTS), Sign(-3.9, 22.6, 2.9, 0.45, Plate.LIGHTS),
            Sign(-5.2, 22.8, 3.2, 1.8, Plate.SQUARE, 1.0), Sign(9.6, 23, 2.6, 0.8, Plate.YIELD),
            *lamps(-4.0, (27, 52), 1.7, 9), *lamps(8.0, (24, 47), -1.7, 9), *lamps(7.3, (7.2,), -1.6, 9),
            Vehicle(-0.6, 14.6, 90, Body.SALOON), Vehicle(7.8, 12.6, 272, Body.HATCHBACK),
            Vehicle(4.6, 27, 180, Body.VAN), Vehicle(4.7, 36, 180), Vehicle(0.2, 33), Vehicle(0.1, 47, body=Body.BUS),
            Vehicle(-16, 15.2, 92, Body.VAN),
            *group(-5.0, 23.6, 4, 2.4, 31), *group(9.0, 23.5, 3, 2.0, 32), Pedestrian(-4.9, 10.6, 0.6),
            Pedestrian(2.7, 24.5, -0.3), Cyclist(-2.2, 24),
            *bollards(-3.8, (6.2, 7.0)), Clutter(-6.6, 23.5, 1.0, 1.3), Clutter(11.3, 23.2, 1.6, 1.5),
        ),
        bonnet=0.09,
    )  # fmt: skip


def t_junction() -> Scene:
    """The street ends at a house: give way, hedges, and cars on the road across."""
    return Scene(
        "t_junction",
        44,
        Camera(horizon=0.53, vanishing=0.67),
        (
            pavement(-60, -2.9, 0, 15), pavement(4.3, 60, 0, 16), pavement(-90, 90, 24.5, 60),
            Ground(ellipse(-3.2, 14.8, 1.4, 1.8), ROAD), Ground(ellipse(4.6, 15.6, 1.4, 1.8), ROAD),
            Ground(((-60, 1.0), (-60, 12.8), (-5.3, 12.8), (-5.3, 1.0)), TREE),
        ),
        (
            Skyline(-120, 120, 90, 6, 13, 12, TREE),
            House(-4.5, 7.0, 30, 41, 6.8, Roof.ALONG, 2), House(-3.6, 1.4, 28.6, 34, 7.0, Roof.GABLE),
            House(-23, -9.5, 31, 42, 5.6, Roof.ALONG, 2), House(12, 25, 31, 43, 6.0, Roof.ALONG, 1),
            House(33, 45, 31, 43, 6.0, Roof.GABLE, 1), House(-42, -29, 32, 42, 6.0, Roof.GABLE, 1),
            House(7.8, 20, 4.5, 13.0, 6.4, Roof.ALONG, 2),
            Tree(-7.2, 33, 9.5, 3.2, 0.6), Tree(13.2, 28.5, 7.0, 2.3, 0.5), Tree(-7.0, 10.5, 7.5, 2.7, 0.7),
            Tree(-11.0, 8.5, 8.5, 3.0, 0.6), BareTree(8.6, 44, 13), BareTree(-7.6, 46, 13),
            Hedge(-5.4, 2.5, -5.4, 12.6, 1.1), Hedge(-5.2, 12.7, -30, 12.7, 1.1), Skyline(-40, 40, 60, 2, 5, 3, VOID),
            Skyline(-22, -12, 30.5, 0.8, 2.4, 1.6, VOID), Clutter(4.0, 29.5, 2.0, 2.1),
            Wall(6.0, 5.0, 6.0, 14.2, 1.0, street_class=BUILDING), Wall(6.0, 14.2, 28, 14.2, 1.2),
            Wall(-26, 27.4, -6, 27.4, 1.1), Hedge(7.2, 27.2, 13, 27.2, 1.5),
            Wall(-5.0, 27.3, 6.0, 27.3, 0.7, street_class=BUILDING), Hedge(17, 27.3, 44, 27.3, 1.7),
            Sign(-3.6, 13.0, 2.4, 0.8, Plate.YIELD), Sign(4.9, 13.6, 2.3, 0.65),
            Sign(0.8, 25.2, 1.2, 2.2, Plate.SQUARE, 0.6),
            Sign(-1.6, 25.2, 2.4, 0.6),
            *lamps(-5.4, (25.4,), 1.3, 7.5), *lamps(10.5, (25.6,), -1.3, 7.5), *lamps(5.2, (9.5,), -1.3, 7),
            Pole(-15, 26, 8), Pole(22, 26, 8),
            Vehicle(3.6, 18.2, 270, Body.HATCHBACK), Vehicle(-9.5, 22.2, 90, Body.SALOON),
            Vehicle(14.5, 18.4, 268, Body.VAN),
            Vehicle(-1.1, 26.9, 90), Vehicle(0.2, 9.2, 3, Body.HATCHBACK),
            *group(-7.4, 25.6, 2, 1.4, 41), *group(7.0, 25.7, 2, 1.2, 42), Pedestrian(5.1, 11.5, 0.7, 1.8, True),
            Cyclist(9.0, 22.0, Side.RIGHT),
            Clutter(5.5, 7.4, 0.6, 1.0), Clutter(-12.5, 26.6, 1.5, 1.2),
        ),
    )  # fmt: skip


def suburb() -> Scene:
    """Semi-detached houses behind fences and hedges; trees in front gardens."""
    return Scene(
        "suburb",
        55,
        Camera(horizon=0.53, vanishing=0.68),
        (pavement(-40, -2.6), pavement(5.2, 40)),
        (
            Skyline(-120, 120, 140, 5, 15, 9, TREE),
            Skyline(-14, 16, 90, 1.5, 6, 2.2, VOID),
            *detached(-16.5, -7.6, 5.6, (13, 26, 39, 53, 68), (Roof.ALONG, Roof.GABLE)),
            *detached(10.2, 19, 5.8, (9, 22, 36, 50, 66), (Roof.GABLE, Roof.ALONG)),
            Wall(-4.7, 3.0, -4.7, 21.0, 1.35), Wall(-4.8, 21.0, -4.8, 34, 0.9, street_class=BUILDING),
            Hedge(-4.8, 34, -4.8, 70, 1.5), Hedge(7.4, 4.5, 7.4, 17, 1.3), Wall(7.3, 17, 7.3, 36, 1.3),
            Hedge(7.3, 36, 7.3, 72, 1.7),
            Wall(7.2, 36, 7.2, 58, 1.1),
            Tree(-6.4, 23.5, 6.8, 2.2, 0.7), Tree(-6.6, 37, 8.5, 2.6, 0.6), Tree(-7.0, 52, 9, 3, 0.6),
            Tree(8.8, 19.5, 5.6, 1.8, 0.7),
            Tree(9.0, 34, 8.2, 2.6, 0.7), Tree(9.0, 49, 9, 3.2, 0.5), BareTree(-2.0, 62, 13), BareTree(-6.0, 30, 9),
            Tree(10.4, 8.6, 6.6, 2.2, 0.9),
            Hedge(-5.2, 14, -5.2, 20.8, 1.9), Clutter(-6.3, 22.3, 2.0, 2.2), Clutter(9.4, 21.0, 2.2, 2.3),
            *lamps(-3.0, (21, 45), 1.2, 6.5), *lamps(5.6, (16, 33, 62), -1.2, 6.5), Pole(-3.1, 11.2, 7.5),
            Sign(-3.0, 16.0, 2.4, 0.75), Sign(5.7, 23, 2.2, 0.6, Plate.TRIANGLE),
            Sign(-3.2, 29, 1.4, 0.9, Plate.SQUARE, 0.35),
            *parked(-1.7, (13.0, 34), 5.0, 0, 51, (Body.HATCHBACK, Body.SALOON)),
            *parked(4.2, (9.0, 60), 5.0, 180, 52),
            Vehicle(1.4, 52, 180),
            Pedestrian(-3.7, 13.5, 0.8, 1.76), Pedestrian(-3.9, 14.2, -0.5, 1.2), *group(6.2, 27, 2, 0.8, 53),
            *group(-3.8, 31, 2, 0.8, 54),
            Cyclist(0.8, 16.5),
            Clutter(6.5, 12.5, 0.6, 1.1), Clutter(6.9, 13.4, 0.6, 1.1), Clutter(-3.9, 24.5, 0.6, 1.1),
        ),
    )  # fmt: skip


def railway_bridge() -> Scene:
    """A road curving right under a railway bridge."""
    z = np.linspace(1.0, 75.0, 40)
    offset = bend(z, 0.0045)

    def side(x_near: float, x_far: float) -> Ground:
        inner = [(x_near + o, d) for o, d in zip(offset.tolist(), z.tolist(), strict=True)]
        outer = [(x_far + o, d) for o, d in zip(offset.tolist(), z.tolist(), strict=True)]
        return Ground((*inner, *outer[::-1]))

    def at(x: float, d: float) -> float:
        return x + float(bend(np.array([d]), 0.0045)[0])

    return Scene(
        "railway_bridge",
        66,
        Camera(horizon=0.52, vanishing=0.60),
        (side(-2.8, -30), side(5.0, 45)),
        (
            Skyline(-120, 160, 140, 5, 14, 10, TREE),
            Skyline(-30, 60, 100, 2, 6, 4, BUILDING, blocky=True),
            Skyline(-20, 50, 75, 5.0, 9.0, 5.0, TREE), Skyline(-12, 30, 70, 1.6, 4.6, 2.0, VOID),
            Wall(-60, 44, 80, 44, 7.0, 4.5, BUILDING),  # deck
            Wall(-60, 43.9, 80, 43.9, 8.1, 7.0),  # railing
            House(at(-6.2, 44), -40, 43, 47, 5.2), House(at(7.2, 44), 60, 43, 47, 5.2),  # abutments
            *[Pole(x, 45.5, 12.5, 1.5, 0.12) for x in (-14.0, 6.0, 26.0)],
            *terrace(-6.8, -1, (4, 22), (6.5, 9), 8, 61), House(14.5, 26, 16, 30, 6.0, Roof.ALONG, 2),
            Tree(-5.8, 27, 9, 3.2, 0.6), Tree(-7.5, 34, 9, 3.2, 0.6), Tree(-12, 39, 9, 3.5, 0.6),
            Tree(15.0, 33, 9, 3.6, 0.7),
            Tree(20, 39, 10, 3.6, 0.7), Tree(11.8, 11.5, 7.0, 2.6, 0.8), BareTree(0.5, 62, 15),
            BareTree(12.5, 52, 14),
            Wall(at(7.0, 7), 7, at(7.0, 16), 16, 1.5), Wall(at(7.0, 16), 16, at(7.0, 28), 28, 1.5),
            Hedge(at(7.4, 28), 28, at(7.4, 42), 42, 1.8),
            Wall(at(-5.0, 22), 22, at(-5.0, 42), 42, 1.2), Clutter(-6.0, 17, 1.8, 1.9), Clutter(-6.2, 20, 2.4, 1.8),
            board(at(1.1, 44), 42.5, 5.6, 3.2, 0.9), Sign(at(-3.3, 21), 21, 2.6, 0.85, Plate.TRIANGLE),
            Sign(at(5.6, 26), 26, 2.4, 0.75), Sign(at(-3.4, 12), 12, 2.4, 0.6),
            *[Pole(at(-3.2, d), d, 8, 1.5, 0.055) for d in (15, 32)],
            *[Pole(at(5.5, d), d, 8, -1.5, 0.055) for d in (15.0, 24, 39)],
            Vehicle(at(0.1, 15), 15, 4, Body.SALOON), Vehicle(at(0.1, 36), 36, 9, Body.VAN),
            Vehicle(at(3.4, 10.5), 10.5, 183),
            Vehicle(at(3.4, 25), 25, 187, Body.SALOON), Vehicle(at(3.3, 50), 50, 193), Vehicle(at(0.2, 60), 60, 15),
            *group(at(-4.2, 18), 18, 2, 1.0, 62), *group(at(6.0, 30), 30, 2, 1.0, 63),
            Pedestrian(at(6.0, 14.6), 14.6, 0.6),
            Cyclist(at(-1.7, 22), 22),
            Clutter(-5.9, 11.0, 0.9, 1.2), *bollards(-3.3, (7.5, 9.0)),
        ),
        bonnet=0.075,
    )  # fmt: skip


def square() -> Scene:
    """A market square: people, cyclists, bollards, parked bicycles; shops behind."""
    return Scene(
        "square",
        77,
        Camera(horizon=0.52, vanishing=0.66),
        (
            pavement(-60, -2.4), pavement(4.6, 60), Ground(((-80, 21), (-80, 90), (80, 90), (80, 21))),
            Ground(((-1.9, 20), (-1.2, 40), (2.4, 40), (4.2, 20)), ROAD),
            Ground(ellipse(7.4, 14.0, 1.6, 2.4), TREE),
        ),
        (
            Skyline(-60, 60, 80, 9, 14, 9, BUILDING, blocky=True),
            House(-28, -8.5, 34, 50, 9.0, Roof.ALONG, 3), House(-8.5, -1.8, 37, 50, 8.2, Roof.GABLE, 1),
            House(3.4, 13, 38, 52, 8.8, Roof.FLAT),
            House(13, 34, 35, 50, 9.5, Roof.ALONG, 2), House(-2.6, 1.6, 70, 74, 17, Roof.SPIRE),
            *terrace(-9.5, -1, (4, 30), (9, 11.5), 8, 71), *terrace(13.5, 1, (11, 34), (8.5, 11), 8, 72),
            Tree(7.4, 14.2, 6.6, 2.4, 0.7), Tree(9.8, 25, 7.5, 2.7, 0.7), Tree(-6.0, 27, 7.5, 2.6, 0.7),
            Tree(-7.0, 17, 6.6, 2.1, 0.7),
            Skyline(-2.5, 4.2, 60, 1.5, 4, 1.6, VOID),
            Skyline(5, 12.5, 33, 1.6, 2.6, 2.2, VOID, blocky=True),
            *bollards(-2.7, (8.5, 10.2, 12, 14, 16.5, 19)), *bollards(4.9, (9.0, 11, 13.2, 15.6, 18.5)),
            *lamps(-3.4, (15, 31), 0.0, 5), *lamps(5.4, (12.2, 28), 0.0, 5),
            board(-8.7, 13, 3.4, 1.6, 1.0), board(-8.6, 19, 3.4, 1.6, 0.8),
            board(12.6, 17.5, 3.4, 1.6, 0.9), Sign(-4.0, 22, 2.4, 0.7), Sign(4.9, 20.4, 2.4, 0.65),
            board(8.0, 37.4, 3.6, 3.0, 0.8), board(-5.2, 36.4, 3.4, 2.4, 0.8),
            Vehicle(2.2, 26, 184, Body.VAN), Vehicle(10.8, 23.5, 250, Body.HATCHBACK),
            Vehicle(6.5, 31, 95, Body.SALOON),
            Pedestrian(-4.6, 9.2, 0.7, 1.78), Pedestrian(-5.5, 10.6, -0.6, 1.66, True),
            Pedestrian(5.8, 9.6, 0.9, 1.8),
            *group(-5.4, 16, 4, 2.4, 73), *group(7.2, 20, 4, 3.0, 74), *group(-3.8, 25, 5, 4.0, 75),
            *group(3.2, 27, 4, 5, 76),
            *group(9.5, 18, 3, 2.0, 78), *group(-7.4, 21, 3, 2.0, 79),
            Cyclist(0.2, 9.0), Cyclist(1.9, 12.0), Cyclist(-1.4, 21, Side.RIGHT), Cyclist(5.4, 24.0, Side.LEFT),
            *[ParkedBicycle(-7.0 + 0.5 * i, 12.6 + 0.8 * i) for i in range(4)], Clutter(10.0, 13.2, 1.6, 1.7),
            Clutter(6.0, 16.8, 0.6, 1.1),
        ),
    )  # fmt: skip


def following() -> Scene:
    """Close behind a van in traffic, a bus and cars coming the other way."""
    return Scene(
        "following",
        88,
        Camera(horizon=0.53, vanishing=0.66),
        (pavement(-30, -2.5), pavement(5.4, 40)),
        (
            Skyline(-60, 80, 130, 4, 13, 8, TREE),
            Skyline(-12, 16, 95, 2, 8, 2.4, VOID), shops(-6.1, 21, 44, 2.6), shops(8.7, 26, 56, 2.7),
            *terrace(-6.3, -1, (3, 46), (8, 11), 8, 81), *terrace(9.0, 1, (5, 60), (7.5, 10.5), 9, 82),
            House(9.6, 22, 66, 82, 12, Roof.GABLE), Tree(-6.2, 53, 10, 3.8, 0.6), Tree(-7.2, 65, 10, 4, 0.6),
            Tree(7.6, 36, 7.8, 2.6, 0.6), Tree(-4.9, 35, 6.8, 2.1, 0.6),
            Wall(-4.6, 9.5, -4.6, 19, 1.1), Wall(5.9, 21, 5.9, 33, 1.1),
            Vehicle(0.1, 9.4, 0, Body.VAN), Vehicle(0.2, 26, 0), Vehicle(0.1, 36, 0, Body.SALOON),
            Vehicle(3.5, 33, 180, Body.BUS), Vehicle(4.1, 11.8, 181, Body.SALOON), Vehicle(3.7, 48, 180),
            *lamps(-2.9, (15, 34), 1.5, 7.5), *lamps(5.8, (18, 42), -1.5, 7.5), Pole(-3.0, 10.2, 7),
            Sign(-3.0, 21, 2.4, 0.65), board(-5.7, 13, 3.4, 1.1, 1.3), Sign(6.0, 14.5, 2.5, 0.7),
            board(8.3, 20, 3.5, 1.0, 1.2), Sign(-3.0, 28, 2.9, 0.45, Plate.LIGHTS),
            board(8.2, 14.5, 3.3, 0.9, 0.7),
            *group(-3.7, 13.2, 2, 1.0, 83), *group(7.3, 14, 2, 1.4, 84), *group(7.2, 22, 3, 1.8, 85),
            *group(-3.9, 26, 3, 1.6, 86),
            Cyclist(-1.8, 13.5),
            Clutter(8.0, 16, 1.0, 1.3), Clutter(-5.6, 11.5, 0.8, 1.2), Clutter(8.2, 25, 2.2, 1.8),
        ),
        bonnet=0.085,
    )  # fmt: skip


def all_scenes() -> tuple[Scene, ...]:
    """The eight scenes in the order of their files."""
    return (avenue(), narrow_street(), crossroads(), t_junction(), suburb(), railway_bridge(), square(), following())
