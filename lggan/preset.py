"""Presets: one TOML file per data set with everything that training and export need to know."""

from __future__ import annotations

import math
import sys
from dataclasses import asdict, dataclass, field, fields, replace
from enum import Enum
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from lggan.config import GeneratorConfig
from lggan.cross_view_config import NO_GROUP, CrossViewConfig
from lggan.data.layout import Folders, Layout
from lggan.data.strips import StripConfig
from lggan.losses.config import CrossViewLossWeights, LossWeights
from lggan.losses.perceptual import PerceptualFeatures
from lggan.task import AnyConfig, Task, task_of
from runtime.contract.card import ClassInfo, ModelCard
from runtime.contract.errors import InputError, UsageError
from runtime.contract.labels import VOID_VALUE

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Value = TypeVar("Value")

_TABLES = ("generator", "losses", "train", "folders", "strips")


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
    """A data set's classes and layout, the generator for it, and how to train it.

    Attributes:
        name: short name; stands in the model card.
        classes: K classes; the position is the id.
        void: id that the label value 255 stands for; None where 255 is an error. In cross-view translation 255 itself,
            a label of no class.
        layout: how the data set lies on the disk.
        generator: shape of the network; it decides the task.
        losses: factors of the loss terms, of the kind that the task has.
        train: how to train.
        folders: names of the folders, for the layout STEMS.
        strips: how strips are read, for the layout STRIPS; None for the others.
    """

    name: str
    classes: tuple[ClassInfo, ...]
    void: int | None
    layout: Layout
    generator: AnyConfig
    losses: LossWeights | CrossViewLossWeights
    train: TrainConfig
    folders: Folders = field(default_factory=Folders)
    strips: StripConfig | None = None

    @property
    def task(self) -> Task:
        """What the generator is for."""
        return task_of(self.generator)

    def card(self) -> ModelCard:
        """The card of a model of this preset, before any training."""
        return ModelCard(
            name=self.name,
            task=self.task.value,
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
        return {"task": self.task.value, **asdict(self), "generator": self.generator.to_dict()}


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
    unknown = set(raw) - {"name", "task", "void", "layout", "classes", *_TABLES}
    if unknown:
        raise ValueError(f"unknown entries {', '.join(sorted(unknown))}")
    for name in _TABLES:
        if not isinstance(raw.get(name, {}), dict):
            raise ValueError(f"{name} is {raw[name]!r}; a table [{name}] is expected")
    task = Task(raw.get("task", Task.SEMANTIC_SYNTHESIS.value))
    layout = Layout(raw.get("layout", Layout.FOLDER.value))
    if (task is Task.CROSS_VIEW) != (layout is Layout.STRIPS):
        raise ValueError(f"layout {layout.value!r} and task {task.value!r} do not go together; cross-view has strips")
    for name, wanted in (("strips", Layout.STRIPS), ("folders", Layout.STEMS)):
        if name in raw and layout is not wanted:
            raise ValueError(f"[{name}] belongs to the layout {wanted.value!r}, this preset has {layout.value!r}")
    classes = tuple(ClassInfo(str(entry["name"]), _color(entry["color"])) for entry in raw["classes"])
    cross_view = task is Task.CROSS_VIEW
    losses = raw.get("losses", {})
    return Preset(
        name=str(raw["name"]),
        classes=classes,
        void=_void(raw.get("void"), len(classes), cross_view),
        layout=layout,
        generator=_generator(raw, classes, cross_view),
        losses=_fill(CrossViewLossWeights, losses) if cross_view else _fill(LossWeights, losses),
        train=_fill(TrainConfig, raw.get("train", {})),
        folders=_fill(Folders, raw.get("folders", {})),
        strips=_fill(StripConfig, raw.get("strips", {})) if cross_view else None,
    )


def _generator(raw: dict[str, Any], classes: tuple[ClassInfo, ...], cross_view: bool) -> AnyConfig:
    """The network's shape; what follows from the list of classes is not said a second time."""
    for name in ("classes", "colors", "groups"):
        if name in raw["generator"]:
            raise ValueError(f"generator.{name} follows from the list of classes; remove it")
    for entry in raw["classes"]:
        strange = set(entry) - {"name", "color", *(["group"] if cross_view else [])}
        if strange:
            raise ValueError(f"class {entry['name']!r} has unknown entries {', '.join(sorted(strange))}")
    plain = {"classes": len(classes), **raw["generator"]}
    if not cross_view:
        return GeneratorConfig.from_dict(plain)
    plain["colors"] = [list(info.color) for info in classes]
    plain["groups"] = [entry.get("group", NO_GROUP) for entry in raw["classes"]]
    return CrossViewConfig.from_dict(plain)


def _void(value: Any, classes: int, cross_view: bool) -> int | None:
    if cross_view:
        if value not in (None, VOID_VALUE):
            raise ValueError(f"void is {value!r}; in cross-view translation it is {VOID_VALUE}, a label of no class")
        return VOID_VALUE
    if value is not None and (type(value) is not int or not 0 <= value < classes):
        raise ValueError(f"void is {value!r}, but ids run from 0 to {classes - 1}")
    return value


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
