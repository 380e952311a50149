"""What a cross-view generator looks like, as plain values (specification A.7)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from lggan.config import MAX_RESIDUAL_BLOCKS, SauConfig, check_kinds
from runtime.contract.errors import InputError, UsageError

NO_GROUP = -1
STRIDE = 4  # two halvings and two doublings


@dataclass(frozen=True)
class CrossViewConfig:
    """Shape of the generator that paints a scene as it looks from another place.

    It reads a photo of the scene and the label map of the target view. The label map enters twice: painted in
    ``colors`` beside the photo, and as ``groups``, which decide which local sub-generator paints which pixel.

    Attributes:
        classes: K, ids of the label map.
        height, width: picture size in pixels that it is trained at; other multiples of 4 work.
        colors: R, G, B (0..255) of each class in the painted label map. Pixels of no class are black.
        groups: per class the head that paints it, 0..G-1, or -1 for none. Pixels of no class have none.
        ngf: width of the network; the paper's is 64.
        residual_blocks: of the tower that all branches start from (9).
        sau: semantic-aware upsampling. ``encoder`` places it once, behind the tower; ``global`` in the global branch.
    """

    classes: int
    height: int
    width: int
    colors: tuple[tuple[int, int, int], ...]
    groups: tuple[int, ...]
    ngf: int = 64
    residual_blocks: int = 9
    sau: SauConfig = field(default_factory=SauConfig)

    def __post_init__(self) -> None:
        if not 1 <= self.classes <= 255:
            raise UsageError(f"classes is {self.classes}; labels are bytes and 255 is void, so 1 to 255 are possible")
        for name in ("colors", "groups"):
            if len(getattr(self, name)) != self.classes:
                raise UsageError(f"{name} has {len(getattr(self, name))} entries for {self.classes} classes")
        if any(not 0 <= part <= 255 for color in self.colors for part in color):
            raise UsageError("a colour of the label map is not within 0 and 255")
        used = set(self.groups) - {NO_GROUP}
        if used != set(range(len(used))) or not used:
            raise UsageError(f"groups are {sorted(used)}; they must be 0, 1, ... without a gap, or {NO_GROUP} for none")
        if self.ngf < 1:
            raise UsageError(f"ngf is {self.ngf}; it must be positive")
        if not 0 <= self.residual_blocks <= MAX_RESIDUAL_BLOCKS:
            raise UsageError(
                f"residual_blocks is {self.residual_blocks}; it must lie between 0 and {MAX_RESIDUAL_BLOCKS}"
            )
        for name in ("height", "width"):
            side = getattr(self, name)
            if side < 2 * STRIDE or side % STRIDE:
                raise UsageError(f"{name} is {side}; it must be a multiple of {STRIDE} and at least {2 * STRIDE}")

    @property
    def stride(self) -> int:
        """Height and width of every picture must be multiples of this, 4 pixels."""
        return STRIDE

    @property
    def heads(self) -> int:
        """G, local sub-generators: one for each group of classes."""
        return max(self.groups) + 1

    @property
    def edges(self) -> bool:
        """No instance maps in this task."""
        return False

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: what `from_dict` reads."""
        colors = [list(color) for color in self.colors]
        return asdict(self) | {"colors": colors, "groups": list(self.groups), "sau": self.sau.to_dict()}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> CrossViewConfig:
        """Read what `to_dict` wrote.

        Raises:
            InputError: unknown keys or values of the wrong kind.
            UsageError: values that contradict each other.
        """
        try:
            values = dict(plain)
            sau = SauConfig.from_dict(values.pop("sau", {}))
            check_kinds(values, whole=("classes", "height", "width", "ngf", "residual_blocks"))
            colors = tuple(_color(color) for color in values.pop("colors"))
            groups = tuple(_whole(group) for group in values.pop("groups"))
            return cls(colors=colors, groups=groups, sau=sau, **values)
        except (KeyError, TypeError, ValueError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise InputError(f"the generator's configuration is not readable: {reason}") from error


def _color(value: Any) -> tuple[int, int, int]:
    red, green, blue = (_whole(part) for part in value)
    return red, green, blue


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise ValueError(f"{value!r} is not a whole number")
    return value
