"""What a generator looks like, as plain values: everything that decides its tensors' shapes and its arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

from runtime.contract.errors import InputError, UsageError

MAX_RESIDUAL_BLOCKS = 1000  # a checkpoint that claims more is not worth building


class UpsamplingDepth(str, Enum):
    """How many times the global branch doubles its start grid."""

    NORMAL = "normal"
    MORE = "more"

    @property
    def doublings(self) -> int:
        """5 or 6: the start grid is the picture's size divided by 2 to this power."""
        return 5 if self is UpsamplingDepth.NORMAL else 6


class SauPlacement(str, Enum):
    """Where semantic-aware upsampling stands (the paper's figure and the known implementations disagree).

    DECODERS: it replaces both transposed convolutions of the local and of the attention decoder.
    ENCODER: once, on the encoder's output; all branches start from the doubled map (the paper's figure).
    GLOBAL: it replaces the nearest-neighbour doublings of the global branch.
    NONE: the CVPR 2020 network, transposed convolutions and nearest neighbour.
    """

    NONE = "none"
    DECODERS = "decoders"
    ENCODER = "encoder"
    GLOBAL = "global"


class SauWindow(str, Enum):
    """Which pixels the k x k taps reach.

    SOURCE: k x k source pixels around the source cell of the output pixel (CARAFE's window).
    EXPANDED: k x k pixels of the nearest-neighbour enlarged map, i.e. fewer distinct source pixels.
    """

    SOURCE = "source"
    EXPANDED = "expanded"


class SauMask(str, Enum):
    """Whether a pixel may be made from pixels of other classes.

    NONE: the kernels alone decide, as in the paper's figures: a preference for the own class is learned.
    SAME_CLASS: taps whose source pixel has another class than the output pixel get no weight; where no tap has the
        class, all count. This project's own variant, not the paper's.
    """

    NONE = "none"
    SAME_CLASS = "same_class"


@dataclass(frozen=True)
class SauConfig:
    """Options of semantic-aware upsampling.

    The paper's equations are not public in code; this is a reconstruction, and every point where another reading is
    possible is an option here.

    Attributes:
        placement: see `SauPlacement`.
        kernel: k, odd, taps per side.
        compressed: channels that the kernel is predicted from.
        encoder_kernel: side of the convolution that predicts the kernels (1 or 3; 3 gives it layout context).
        window: see `SauWindow`.
        mask: see `SauMask`.
    """

    placement: SauPlacement = SauPlacement.DECODERS
    kernel: int = 5
    compressed: int = 64
    encoder_kernel: int = 3
    window: SauWindow = SauWindow.SOURCE
    mask: SauMask = SauMask.NONE

    def __post_init__(self) -> None:
        for name in ("kernel", "encoder_kernel"):
            value = getattr(self, name)
            if value < 1 or value % 2 == 0:
                raise UsageError(f"sau.{name} is {value}; it must be odd and positive")
        if self.compressed < 1:
            raise UsageError(f"sau.compressed is {self.compressed}; it must be positive")

    @property
    def needs_classes(self) -> bool:
        """Whether the upsampling looks at the class map."""
        return self.placement is not SauPlacement.NONE and self.mask is SauMask.SAME_CLASS

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: what `from_dict` reads."""
        plain = asdict(self)
        return plain | {name: getattr(self, name).value for name in _SAU_ENUMS}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> SauConfig:
        """Read what `to_dict` wrote, or a ``[generator.sau]`` table of a preset.

        Raises:
            TypeError, ValueError: unknown entries, values of the wrong kind.
            UsageError: values that make no sense.
        """
        values = dict(plain)
        check_kinds(values, whole=("kernel", "compressed", "encoder_kernel"), prefix="sau.")
        for name, kind in _SAU_ENUMS.items():
            if name in values:
                values[name] = kind(values[name])
        return cls(**values)


_SAU_ENUMS: dict[str, type[Enum]] = {"placement": SauPlacement, "window": SauWindow, "mask": SauMask}


@dataclass(frozen=True)
class GeneratorConfig:
    """Shape of the semantic-synthesis generator (LGGAN.md A.1 to A.6 of the specification; TPAMI paper section 3).

    Attributes:
        classes: K, channels of the one-hot label map.
        height, width: picture size in pixels that the start grid is laid out for; other multiples of `stride` work.
        edges: a further input channel with instance edges.
        heads: local sub-generators. Equal to ``classes``, or fewer: then the last head serves all remaining classes.
        ngf: width of the network; the paper's is 64. The narrowest feature map has ngf channels, the widest 16 ngf.
        widest: cap on the channels of the global branch; 0 for none, as in the paper. Small models spend their weights
            better at high resolution than on 16 ngf channels of a 4 x 3 grid.
        spade_hidden: hidden channels of each SPADE modulation (128 in the paper).
        residual_blocks: of the local branch (9).
        depth: doublings of the global branch.
        sau: semantic-aware upsampling.
    """

    classes: int
    height: int
    width: int
    edges: bool = False
    heads: int = 0
    ngf: int = 64
    widest: int = 0
    spade_hidden: int = 128
    residual_blocks: int = 9
    depth: UpsamplingDepth = UpsamplingDepth.NORMAL
    sau: SauConfig = field(default_factory=SauConfig)

    def __post_init__(self) -> None:
        if self.heads == 0:
            object.__setattr__(self, "heads", self.classes)
        if not 1 <= self.classes <= 256:
            raise UsageError(f"classes is {self.classes}; labels are bytes, so between 1 and 256 are possible")
        if not 1 <= self.heads <= self.classes:
            raise UsageError(f"heads is {self.heads}; it must lie between 1 and the number of classes, {self.classes}")
        for name in ("ngf", "spade_hidden"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be positive")
        if not 0 <= self.residual_blocks <= MAX_RESIDUAL_BLOCKS:
            raise UsageError(
                f"residual_blocks is {self.residual_blocks}; it must lie between 0 and {MAX_RESIDUAL_BLOCKS}"
            )
        if self.widest and self.widest < 4 * self.ngf:
            raise UsageError(f"widest is {self.widest}; it must be 0 or at least 4 ngf, {4 * self.ngf}")
        for name in ("height", "width"):
            side = getattr(self, name)
            if side < self.stride or side % self.stride:
                raise UsageError(
                    f"{name} is {side}; with depth '{self.depth.value}' it must be a positive multiple of {self.stride}"
                )

    @property
    def stride(self) -> int:
        """Height and width of every label map must be multiples of this: 32 or 64 pixels."""
        return 1 << self.depth.doublings

    def width_of(self, factor: int) -> int:
        """Channels of a layer of the global branch that is ``factor`` times ngf wide in the paper."""
        return min(factor * self.ngf, self.widest) if self.widest else factor * self.ngf

    @property
    def semantic_channels(self) -> int:
        """S, channels of the network's input: K, and one for edges."""
        return self.classes + int(self.edges)

    @property
    def scored_heads(self) -> int:
        """Heads that the class-feature classification scores: all, but for a merged last one."""
        return self.heads - int(self.heads < self.classes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: what `from_dict` reads."""
        return asdict(self) | {"depth": self.depth.value, "sau": self.sau.to_dict()}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> GeneratorConfig:
        """Read what `to_dict` wrote, or a ``[generator]`` table of a preset.

        Raises:
            InputError: unknown keys or values of the wrong kind.
            UsageError: values that contradict each other.
        """
        try:
            values = dict(plain)
            sau = SauConfig.from_dict(values.pop("sau", {}))
            whole = ("classes", "height", "width", "heads", "ngf", "widest", "spade_hidden", "residual_blocks")
            check_kinds(values, whole=whole, switches=("edges",))
            if "depth" in values:
                values["depth"] = UpsamplingDepth(values["depth"])
            return cls(sau=sau, **values)
        except (TypeError, ValueError) as error:
            raise InputError(f"the generator's configuration is not readable: {error}") from error


def check_kinds(table: dict[str, Any], *, whole: Sequence[str], switches: Sequence[str] = (), prefix: str = "") -> None:
    """Check the types of a table's plain entries; entries that are not named are left to others.

    Raises:
        ValueError: an entry of ``whole`` is no whole number, or one of ``switches`` is not true or false.
    """
    for names, wanted, kind in ((whole, int, "a whole number"), (switches, bool, "true or false")):
        for name in names:
            if name in table and type(table[name]) is not wanted:
                raise ValueError(f"{prefix}{name} is {table[name]!r}; {kind} is expected")
