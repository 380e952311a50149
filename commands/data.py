"""The verbs around data sets: data check."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtime.command_line import PATH, program, verb
from runtime.console import Column, Console

if TYPE_CHECKING:
    from lggan.data.report import DataReport, SplitReport

_CLASSES = 12  # rows of the histogram
_BAR = 16  # letters of its longest bar
_REMARKS = 10  # faults that are shown
_DETAILS = 4  # lines of one of them


@program
def data() -> None:
    """Look at data sets before training on them."""


@verb(
    extra="train",
    example="lggan data check data/cityscapes --preset cityscapes\n"
    "lggan data check data/dayton --preset dayton_a2g --split train --limit 500",
)
@click.argument("root", type=PATH, metavar="DIR")
@click.option("--preset", "preset_name", required=True, metavar="NAME", help="A preset's name or a .toml file.")
@click.option(
    "--split", type=click.Choice(["train", "val"]), help="Check this one alone.  [default: train, and val if present]"
)
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Open so many examples of a split.  [default: all]"
)
def check(console: Console, root: Path, preset_name: str, split: str | None, limit: int | None) -> None:
    """Walk a data set: missing and broken files, sizes, which classes it holds. Exit code 3 if it cannot be used."""
    from lggan.data.check import SPLITS, check_data
    from lggan.preset import load_preset
    from runtime.contract.errors import InputError

    preset = load_preset(preset_name)
    wanted = (split,) if split else SPLITS
    report = check_data(preset, root, wanted, limit, console, required=(wanted[0],))
    console.document("lggan-data-check", report.to_dict())
    console.line(f"{report.root}  preset {report.preset}, layout {report.layout}")
    present = [each for each in report.splits if not each.absent]
    if present:
        _show_counts(console, present)
        _show_classes(console, present)
    _show_remarks(console, report)
    if not report.usable:
        others = len(report.faults) - 1
        more = f", and {others} other kind{'s' * (others > 1)} of faults" if others else ""
        raise InputError(f"{root} cannot be trained on with preset {report.preset}: {report.faults[0]}{more}")
    console.line("It can be trained on.")


data.add_command(check)
data.epilog = check.epilog
data.params += [option for option in check.params if option.name in ("json", "quiet", "verbose")]  # as every verb has


def _show_counts(console: Console, splits: Sequence[SplitReport]) -> None:
    strips = any(split.strips for split in splits)
    rows: list[list[object]] = []

    def add(name: str, *values: object) -> None:
        rows.append([name, *values])

    if strips:
        add("strips", *(split.examples for split in splits))
    else:
        add("photos", *(split.photos for split in splits))
        add("label maps", *(split.labels for split in splits))
        if any(split.instances is not None for split in splits):
            add("instance maps", *(split.instances for split in splits))
    add("opened", *(split.checked for split in splits))
    add("size of the panels" if strips else "sizes of the photos", *(_sizes(split) for split in splits))
    if strips:
        add("PNG", *(split.strips.lossless if split.strips else "" for split in splits))
        for name, field in (
            ("colours far from the palette", "off_palette"),
            ("grey levels off the grid", "off_grid"),
            ("class and group disagree", "disagree"),
        ):
            add(name, *(_share(getattr(split.strips, field)) if split.strips else "" for split in splits))
    console.table([Column(""), *(Column(split.split, right=True) for split in splits)], rows)


def _show_classes(console: Console, splits: Sequence[SplitReport]) -> None:
    """Classes of the first split by their share of pixels, the largest first."""
    first = splits[0]
    order = sorted((entry for entry in first.classes if entry.pixels), key=lambda entry: -entry.pixels)
    if not order:
        return
    shown, rest = order[:_CLASSES], order[_CLASSES:]
    rows: list[list[object]] = []
    for entry in shown:
        bar = _bar(entry.share / order[0].share)
        others = [_share(split.classes[entry.id].share) for split in splits[1:]]
        rows.append([entry.id, entry.name, bar, _share(entry.share), entry.files, *others])
    if rest:
        ids = {entry.id for entry in rest}
        here, *others = (_share(sum(each.share for each in split.classes if each.id in ids)) for split in splits)
        rows.append(["", _others(len(rest)), "", here, "", *others])
    if first.void is not None:
        here, *others = (_share(split.void or 0.0) for split in splits)
        rows.append([255, "no class", "", here, "", *others])
    columns = [Column("id", right=True), Column("class"), Column(""), Column(first.split, right=True)]
    columns += [Column("files", right=True), *(Column(split.split, right=True) for split in splits[1:])]
    console.table(columns, rows)


def _show_remarks(console: Console, report: DataReport) -> None:
    for mark, remarks in (("fault", report.faults), ("note", report.notes)):
        for remark in remarks[:_REMARKS]:
            console.entry(mark, remark.split, remark.text)
            for detail in remark.details[:_DETAILS]:
                console.entry("", "", f"- {detail}")
            if len(remark.details) > _DETAILS:
                console.entry("", "", f"- and {len(remark.details) - _DETAILS} more")
        if len(remarks) > _REMARKS:
            console.entry(mark, "", f"and {len(remarks) - _REMARKS} more, see --json")


def _bar(share: float) -> str:
    """A bar in eighths of a letter; never empty, so that a rare class can be told from an absent one."""
    whole, eighths = divmod(max(1, round(8 * _BAR * share)), 8)
    return "█" * whole + " ▏▎▍▌▋▊▉"[eighths].strip()


def _sizes(split: SplitReport) -> str:
    if not split.photo_sizes:
        return "none"
    top = split.photo_sizes[0]
    more = f" and {_others(len(split.photo_sizes) - 1)}" if len(split.photo_sizes) > 1 else ""
    return f"{top.width}x{top.height}{more}"


def _share(value: float) -> str:
    return f"{value:.2%}"


def _others(count: int) -> str:
    return "1 other" if count == 1 else f"{count} others"
