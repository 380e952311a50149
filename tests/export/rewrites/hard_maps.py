"""Label maps on which a rewrite that assumes too much about label maps goes wrong."""

from __future__ import annotations

import numpy as np


def hard_maps(classes: int, height: int, width: int) -> dict[str, np.ndarray]:
    """Label maps uint8 [H, W] by what is hard about them; 255 is void, which no class owns."""
    random = np.random.default_rng(7)
    maps = {
        "one class": np.full((height, width), classes - 1),
        "void everywhere": np.full((height, width), 255),
        "noise": random.integers(0, classes, (height, width)),
        "noise with void": random.choice([*range(classes), 255], (height, width)),
        "stripes": np.indices((height, width)).sum(axis=0) % classes,
    }
    one_pixel = np.zeros((height, width), int)
    for number in range(1, classes):  # each of the others has one pixel
        one_pixel[random.integers(0, height), random.integers(0, width)] = number
    one_pixel[height // 2, width // 2] = classes - 1
    maps["one-pixel classes"] = one_pixel
    border = np.full((height, width), 0)
    border[0], border[-1], border[:, 0], border[:, -1] = 1 % classes, 2 % classes, 3 % classes, 255
    border[0, 0], border[-1, -1] = classes - 1, classes - 1
    maps["a class at every border"] = border
    regions = np.zeros((height, width), int)
    regions[height // 3 :, width // 4 : width // 2] = classes - 1
    maps["all but two absent"] = regions
    return {name: label.astype(np.uint8) for name, label in maps.items()}
