"""Presets: one TOML file per data set with everything that training and export need to know."""

from __future__ import annotations

import math
import sys
from dataclasses import asdict, dataclass, fields, replace
from enum import Enum
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from lggan.config import GeneratorConfig
from lggan.data.pairs import Layout
from lggan.losses.config import LossWeights
from lggan.losses.perceptual import PerceptualFeatures
from runtime.contract.card import ClassInfo, ModelCard
from runtime.contract.errors import InputError, UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Value = TypeVar("Value")


class Fakes(str, Enum):
    """What the discriminator's step looks at.

    REGENERATED: pictures made anew after the generator's step, as published.
    REUSED: the pictures of the generator's step, which saves one forward pass of the generator.
    """

    REGENERATED = "regenerated"
    REUSED = "reused"


@dataclass(frozen=True)
class TrainConfig:
    """How to train (specification C.2); the defaults are the published ones.

    Attributes:
        epochs: at full learning rate.
        decay_epochs: further ones in which the rate falls linearly towards zero.
        batch: examples per step, over all processes.
        lr_generator, lr_discriminator: Adam's step sizes (two time-scale update rule).
        beta1, beta2: Adam's.
        ema: decay per step of the averaged weights that are saved; 0 saves the raw ones.
        seed: of weights, order, crops and flips.
        flip: mirror half of the examples.
        load_height, load_width: size before the random crop; 0 for the generator's size.
        discriminator_width: channels of the discriminator's first layer (64).
        perceptual: the network of the perceptual loss.
        fakes: see `Fakes`.
    """

    epochs: int = 100
    decay_epochs: int = 100
    batch: int = 8
    lr_generator: float = 1e-4
    lr_discriminator: float = 4e-4
    beta1: float = 0.0
    beta2: float = 0.9
    ema: float = 0.999
    seed: int = 1
    flip: bool = True
    load_height: int = 0
    load_width: int = 0
    discriminator_width: int = 64
    perceptual: PerceptualFeatures = PerceptualFeatures.VGG19
    fakes: Fakes = Fakes.REGENERATED

    def __post_init__(self) -> None:
        for name in ("batch", "discriminator_width", "lr_generator", "lr_discriminator"):
            if not 0 < getattr(self, name) < math.inf:
                raise UsageError(f"train.{name} is {getattr(self, name)}; it must be positive and finite")
        if self.seed < 0:
            raise UsageError(f"train.seed is {self.seed}; it must not be negative")
        if self.epochs < 0 or self.decay_epochs < 0 or self.epochs + self.decay_epochs == 0:
            raise UsageError("train.epochs and train.decay_epochs must not be negative, and not both zero")
        for name in ("ema", "beta1", "beta2"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise UsageError(f"train.{name} is {getattr(self, name)}; it must lie in [0, 1)")


@dataclass(frozen=True)
class Preset:
    """A data set's classes and layout, the generator for it, and how to train it."""

    name: str
    classes: tuple[ClassInfo, ...]
    void: int | None
    layout: Layout
    generator: GeneratorConfig
    losses: LossWeights
    train: TrainConfig

    def card(self) -> ModelCard:
        """The card of a model of this preset, before any training."""
        return ModelCard(
            name=self.name,
            task="semantic-synthesis",
            classes=self.classes,
            void=self.void,
            height=self.generator.height,
            width=self.generator.width,
            stride=self.generator.stride,
            instances=self.generator.edges,
            generator=self.generator.to_dict(),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: what a run stores of its settings."""
        plain = asdict(self)
        plain["generator"] = self.generator.to_dict()
        return plain


def preset_names() -> list[str]:
    """Names of the presets that come with the package."""
    folder = resources.files("lggan") / "presets"
    return sorted(entry.name[: -len(".toml")] for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_preset(name_or_path: str) -> Preset:
    """Read a preset that comes with the package, or the user's own TOML file.

    Raises:
        UsageError: no such preset.
        InputError: not TOML, unknown or missing entries, values of the wrong kind.
    """
    if name_or_path.endswith(".toml"):
        path = Path(name_or_path)
        if not path.is_file():
            raise UsageError(f"{path} does not exist; the presets that come with the package are {_listed()}")
        text, origin = path.read_bytes(), str(path)
    elif name_or_path in preset_names():
        text = (resources.files("lggan") / "presets" / f"{name_or_path}.toml").read_bytes()
        origin = f"preset {name_or_path}"
    else:
        raise UsageError(f"there is no preset {name_or_path!r}; choose {_listed()} or name a .toml file")
    try:
        return _read(tomllib.loads(text.decode("utf-8")))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{origin} is not readable TOML: {error}") from error
    except KeyError as error:
        raise InputError(f"{origin} lacks the entry {error}") from error
    except (TypeError, ValueError) as error:
        raise InputError(f"{origin}: {error}") from error


def resized(preset: Preset, height: int, width: int) -> Preset:
    """The same preset at another picture size; the loading size keeps its proportion to it."""
    before = preset.generator
    train = replace(
        preset.train,
        load_height=round(preset.train.load_height * height / before.height),
        load_width=round(preset.train.load_width * width / before.width),
    )
    return replace(preset, generator=replace(before, height=height, width=width), train=train)


def _read(raw: dict[str, Any]) -> Preset:
    unknown = set(raw) - {"name", "void", "layout", "classes", "generator", "losses", "train"}
    if unknown:
        raise ValueError(f"unknown entries {', '.join(sorted(unknown))}")
    for name in ("generator", "losses", "train"):
        if not isinstance(raw.get(name, {}), dict):
            raise ValueError(f"{name} is {raw[name]!r}; a table [{name}] is expected")
    if "classes" in raw["generator"]:
        raise ValueError("generator.classes follows from the list of classes; remove it")
    classes = tuple(ClassInfo(str(entry["name"]), _color(entry["color"])) for entry in raw["classes"])
    void = raw.get("void")
    if void is not None and not 0 <= void < len(classes):
        raise ValueError(f"void is {void}, but ids run from 0 to {len(classes) - 1}")
    return Preset(
        name=str(raw["name"]),
        classes=classes,
        void=void,
        layout=Layout(raw.get("layout", Layout.FOLDER.value)),
        generator=GeneratorConfig.from_dict({"classes": len(classes), **raw["generator"]}),
        losses=_fill(LossWeights, raw.get("losses", {})),
        train=_fill(TrainConfig, raw.get("train", {})),
    )


def _fill(kind: type[Value], table: dict[str, Any]) -> Value:
    """A dataclass from a table; whole numbers serve as fractions, enumerations are given by their value."""
    defaults = {entry.name: entry.default for entry in fields(kind)}  # type: ignore[arg-type]
    values = {}
    for name, value in table.items():
        if name not in defaults:
            raise ValueError(f"unknown entry {name!r}; known are {', '.join(defaults)}")
        wanted = type(defaults[name])
        if wanted is float and type(value) is int:
            value = float(value)
        elif issubclass(wanted, Enum):
            value = wanted(value)
        if type(value) is not wanted or (isinstance(value, float) and not math.isfinite(value)):
            raise ValueError(f"{name} is {value!r}; {wanted.__name__} is expected")
        values[name] = value
    return kind(**values)


def _color(value: Any) -> tuple[int, int, int]:
    if not isinstance(value, list) or len(value) != 3 or not all(type(c) is int and 0 <= c <= 255 for c in value):
        raise ValueError(f"{value!r} is not a colour: three numbers from 0 to 255")
    red, green, blue = value
    return red, green, blue


def _listed() -> str:
    return ", ".join(preset_names())
