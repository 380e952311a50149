"""Generated pictures kept for a look: every one as a file, and a sheet with a few of them beside their photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from runtime.contract.card import ClassInfo
from runtime.contract.errors import UsageError
from runtime.contract.labels import colorize, fit_label_map
from runtime.contract.pictures import write_grid, write_png

SHEET = "examples.png"
PICTURES = "generated"
_ROWS = 6


class Gallery:
    """Writes ``FOLDER/generated/NAME.png`` as pictures come, and ``FOLDER/examples.png`` when it is closed."""

    def __init__(self, folder: Path, classes: Sequence[ClassInfo], total: int, *, force: bool = False) -> None:
        """Refuse a folder that holds the results of an earlier evaluation.

        Args:
            total: how many pictures will come; the sheet's are spread evenly over them, neighbours may be alike.

        Raises:
            UsageError: ``folder`` is a file, or holds pictures already and ``force`` is False.
        """
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"--pictures {folder} is a file; name a folder")
        if not force and ((folder / SHEET).exists() or any((folder / PICTURES).glob("*.png"))):
            raise UsageError(f"{folder} holds the pictures of an earlier evaluation; name another or pass --force")
        self._folder, self._classes, self._force = folder, classes, force
        rows = min(_ROWS, total)
        self._chosen = {index * total // rows for index in range(rows)}
        self._seen = 0
        self._rows: list[tuple[np.ndarray, ...]] = []
        self._with_source = False

    def add(
        self, name: str, label: np.ndarray, source: np.ndarray | None, picture: np.ndarray, photo: np.ndarray
    ) -> None:
        """Write one picture, uint8 [h, w, 3], and keep it with the others if it goes into the sheet.

        Args:
            name: of the example; slashes become ``_``.
            label: uint8, ids, any size.
            source: the given view at the picture's size, or None.
            photo: the real photo at the picture's size.
        """
        flat = name.replace("/", "_").replace("\\", "_")
        write_png(self._folder / PICTURES / f"{flat}.png", picture, force=self._force)
        self._seen += 1
        if self._seen - 1 not in self._chosen:
            return
        painted = colorize(fit_label_map(label, *picture.shape[:2]), self._classes)
        self._with_source = source is not None
        self._rows.append((painted, picture, photo) if source is None else (source, painted, picture, photo))

    def close(self) -> None:
        """Write the sheet."""
        titles = ("label map", "generated", "photo")
        write_grid(
            self._folder / SHEET, self._rows, ("source", *titles) if self._with_source else titles, force=self._force
        )
