"""What `lggan data check` finds out about a data set, and whether it can be trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Sample:
    """Things of one kind: how many there are, and the first few of them by name."""

    count: int = 0
    first: tuple[str, ...] = ()


@dataclass(frozen=True)
class Remark:
    """A sentence about a split, and lines that belong to it, e.g. what is wrong with each broken file."""

    split: str
    text: str
    details: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.split}: {self.text}" + (f" ({self.details[0]})" if self.details else "")


@dataclass(frozen=True)
class SizeCount:
    """Pictures of one size."""

    height: int
    width: int
    count: int


@dataclass(frozen=True)
class ClassCount:
    """One class: its pixels, their share of all pixels (0..1), and in how many label maps it stands."""

    id: int
    name: str
    pixels: int
    share: float
    files: int


@dataclass(frozen=True)
class UnknownId:
    """An id that is no class: its pixels, and the label maps it stands in."""

    id: int
    pixels: int
    files: Sample


@dataclass(frozen=True)
class StripShares:
    """Maps of strips, as shares of the pixels of the wanted view (0..1).

    Attributes:
        lossless: strips that are PNG.
        off_palette: colours far from every class, and not black.
        off_grid: grey levels that stand for no group.
        disagree: pixels whose class belongs to another group than their grey level says.
        worst, worst_disagree: the strip with the largest share of the last kind, and that share.
    """

    lossless: int
    off_palette: float
    off_grid: float
    disagree: float
    worst: str
    worst_disagree: float


@dataclass(frozen=True)
class SplitReport:
    """One split.

    Attributes:
        split: ``train`` or ``val``.
        absent: why there is nothing to check; empty if there is.
        photos, labels, instances: files found; strips count as both of the first two. ``instances`` is None where the
            preset does not use them.
        examples: photos with a label map.
        checked: examples whose files were opened.
        without_label, without_photo, without_instance, duplicates: names of the examples, files of the same name.
        broken: files that cannot be used, each with its reason.
        mismatched: examples whose photo and label map cannot show the same scene.
        photo_sizes, label_sizes: the most frequent first.
        classes: one entry for each class of the preset.
        void: share of pixels of no class where void is no class itself; None elsewhere.
        unknown: ids that are no class.
        strips: of the layout STRIPS.
    """

    split: str
    absent: str = ""
    photos: int = 0
    labels: int = 0
    instances: int | None = None
    examples: int = 0
    checked: int = 0
    without_label: Sample = Sample()
    without_photo: Sample = Sample()
    without_instance: Sample = Sample()
    duplicates: Sample = Sample()
    broken: Sample = Sample()
    mismatched: Sample = Sample()
    photo_sizes: tuple[SizeCount, ...] = ()
    label_sizes: tuple[SizeCount, ...] = ()
    classes: tuple[ClassCount, ...] = ()
    void: float | None = None
    unknown: tuple[UnknownId, ...] = ()
    strips: StripShares | None = None

    @property
    def unseen(self) -> list[str]:
        """Names of the classes that no pixel has."""
        return [entry.name for entry in self.classes if entry.pixels == 0]

    @property
    def faults(self) -> list[Remark]:
        """What stands in the way of training or evaluation."""
        if self.absent:
            return [Remark(self.split, self.absent)]
        texts = [
            _say(self.without_label, "photo without a label map", "photos without a label map"),
            _say(self.without_photo, "label map without a photo", "label maps without a photo"),
            _say(self.without_instance, "label map without an instance map", "label maps without an instance map"),
            _say(self.duplicates, "pair of files with the same name", "pairs of files with the same name"),
            "" if self.examples else "there is no photo with a label map",
            *(
                f"id {entry.id} is no class, yet {entry.pixels} pixels have it, in "
                f"{_say(entry.files, 'label map', 'label maps')}"
                for entry in self.unknown
            ),
        ]
        remarks = [Remark(self.split, text) for text in texts if text]
        for sample, one, many in (
            (self.broken, "1 file cannot be used", "files cannot be used"),
            (self.mismatched, "1 example does not fit together", "examples do not fit together"),
        ):
            if sample.count:
                text = one if sample.count == 1 else f"{sample.count} {many}"
                remarks.append(Remark(self.split, text, sample.first))
        return remarks

    @property
    def notes(self) -> list[Remark]:
        """What is worth knowing and stands in nobody's way."""
        texts = []
        if self.checked and (unseen := self.unseen):
            verb = "occurs" if len(unseen) == 1 else "occur"
            texts.append(f"{len(unseen)} of {len(self.classes)} classes never {verb}: {_list(unseen, len(unseen))}")
        if self.checked < self.examples:
            texts.append(f"{self.checked} of {self.examples} examples were opened")
        if self.strips and self.strips.disagree > 0:
            texts.append(
                f"class and group disagree on {self.strips.disagree:.2%} of the pixels, on "
                f"{self.strips.worst_disagree:.2%} in {self.strips.worst}"
            )
        return [Remark(self.split, text) for text in texts]


@dataclass(frozen=True)
class DataReport:
    """A data set, split by split.

    Attributes:
        root: its folder.
        preset, layout: by whose rules it was checked.
        splits: in the order in which they were checked.
        required: splits that must be there.
    """

    root: str
    preset: str
    layout: str
    splits: tuple[SplitReport, ...]
    required: tuple[str, ...] = ("train",)

    @property
    def faults(self) -> list[Remark]:
        """Of all splits; that one is absent counts only if it is required."""
        return [
            fault for split in self.splits if not split.absent or split.split in self.required for fault in split.faults
        ]

    @property
    def notes(self) -> list[Remark]:
        """Of all splits, and the absence of one that is not required."""
        notes = [note for split in self.splits for note in split.notes]
        if any(not split.absent for split in self.splits):
            missing = (each for each in self.splits if each.absent and each.split not in self.required)
            notes += [Remark(each.split, each.absent) for each in missing]
        return notes

    @property
    def usable(self) -> bool:
        """Whether a training can begin."""
        return not self.faults

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; ``schema`` counts the versions of this document."""
        return {
            "schema": 1,
            "root": self.root,
            "preset": self.preset,
            "layout": self.layout,
            "usable": self.usable,
            "faults": self.faults,
            "notes": self.notes,
            "splits": self.splits,
        }


_NAMED = 3  # names in a sentence


def _say(sample: Sample, one: str, many: str) -> str:
    """``2 photos without a label map: a, b``; nothing where there is none."""
    if sample.count == 0:
        return ""
    return f"{sample.count} {one if sample.count == 1 else many}: {_list(sample.first, sample.count)}"


def _list(names: Sequence[str], count: int) -> str:
    more = count - _NAMED
    others = f" and {more} {'other' if more == 1 else 'others'}" if more > 0 else ""
    return ", ".join(names[:_NAMED]) + others
