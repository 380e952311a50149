"""What to build an engine for: graphics processors, and the range of input shapes."""

from __future__ import annotations

import re
from dataclasses import astuple, dataclass
from enum import Enum

from runtime.contract.card import MAX_SIDE, ModelCard
from runtime.contract.errors import UsageError

MAX_BATCH = 1024


class EngineBackend(str, Enum):
    """Who builds."""

    TENSORRT_RTX = "tensorrt-rtx"


class Target(str, Enum):
    """Compute capabilities that TensorRT-RTX 1.7 builds for; Jetson's (sm_87, sm_110) are not among them."""

    SM75 = "sm75"
    SM80 = "sm80"
    SM86 = "sm86"
    SM89 = "sm89"
    SM120 = "sm120"
    SM121 = "sm121"

    @classmethod
    def parse_list(cls, text: str) -> tuple[Target, ...]:
        """``"sm86,sm89"`` -> targets, in the order of the enum, each once.

        Raises:
            UsageError: an unknown name, or none at all.
        """
        names = [name.strip().lower().replace("_", "") for name in text.split(",") if name.strip()]
        known = [target.value for target in cls]
        unknown = [name for name in names if name not in known]
        if unknown or not names:
            jetson = (
                " (an engine for a Jetson is built on the device, with TensorRT)"
                if {"sm87", "sm110"} & set(unknown)
                else ""
            )
            raise UsageError(
                f"unknown target {', '.join(unknown) or text!r}{jetson}; TensorRT-RTX knows {', '.join(known)}"
            )
        return tuple(target for target in cls if target.value in names)


@dataclass(frozen=True)
class Shape:
    """Size of one input batch: N label maps (and photos) of H x W pixels."""

    batch: int
    height: int
    width: int

    @classmethod
    def parse(cls, text: str) -> Shape:
        """``"1x256x512"`` -> Shape(1, 256, 512).

        Raises:
            UsageError: another form.
        """
        match = re.fullmatch(r"(\d{1,6})x(\d{1,6})x(\d{1,6})", text.strip().lower())
        if match is None:
            raise UsageError(f"{text!r} is not a shape; write batch x height x width, for example 1x256x512")
        return cls(*(int(part) for part in match.groups()))

    def __str__(self) -> str:
        return f"{self.batch}x{self.height}x{self.width}"


@dataclass(frozen=True)
class ShapeProfile:
    """The shapes that an engine accepts (``minimum`` to ``maximum``) and the one it is tuned for."""

    minimum: Shape
    optimum: Shape
    maximum: Shape

    @classmethod
    def of_card(cls, card: ModelCard) -> ShapeProfile:
        """One picture of the size the model was trained at, and nothing else: the fastest engine."""
        shape = Shape(1, card.height, card.width)
        return cls(shape, shape, shape)

    def check(self, stride: int, smallest: int = 1) -> None:
        """Refuse profiles that no input fits.

        Args:
            stride: the model's; heights and widths must be multiples of it.
            smallest: the model's smallest side.

        Raises:
            UsageError: naming the side and its legal values.
        """
        for name, shape in (("minimum", self.minimum), ("optimum", self.optimum), ("maximum", self.maximum)):
            if not 1 <= shape.batch <= MAX_BATCH:
                raise UsageError(f"the {name} batch is {shape.batch}; it must be 1 .. {MAX_BATCH}")
            for side in (shape.height, shape.width):
                if not max(stride, smallest) <= side <= MAX_SIDE or side % stride:
                    raise UsageError(
                        f"the {name} shape is {shape}; height and width must be multiples of {stride}, "
                        f"{max(stride, smallest)} to {MAX_SIDE}"
                    )
        for low, high, names in (
            (self.minimum, self.optimum, "minimum and optimum"),
            (self.optimum, self.maximum, "optimum and maximum"),
        ):
            if any(a > b for a, b in zip(astuple(low), astuple(high), strict=True)):
                raise UsageError(f"{names} shapes are {low} and {high}; none of the first's numbers may be the larger")


@dataclass(frozen=True)
class BuildOptions:
    """How to build.

    Attributes:
        targets: one engine serves all of them.
        profile: shapes; None is `ShapeProfile.of_card`.
        backend: who builds.
        keep_log: write TensorRT's full log beside the engine (``<engine>.log``).
    """

    targets: tuple[Target, ...] = (Target.SM86, Target.SM89, Target.SM120)
    profile: ShapeProfile | None = None
    backend: EngineBackend = EngineBackend.TENSORRT_RTX
    keep_log: bool = False

    def __post_init__(self) -> None:
        if not self.targets or len(set(self.targets)) != len(self.targets):
            raise UsageError("name at least one target, and each target once")
