"""The verbs around ranges files: ranges show, ranges diff, ranges merge."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtime.command_line import (
    PATH,
    Function,
    force_option,
    method_option,
    out_option,
    percentile_option,
    program,
    verb,
)
from runtime.console import Column, Console, plain

if TYPE_CHECKING:
    from calibration.histogram import Histogram
    from calibration.range_differences import RangeDifference
    from calibration.range_summary import TensorSummary
    from calibration.ranges import Ranges

_ROWS = 20  # tensors on the screen
_HASH = 12  # digits of a hash that are shown


@program
def ranges() -> None:
    """Look at the values that a graph's tensors took on label maps; compare and merge them."""


def _limit_option(function: Function) -> Function:
    help_text = "Tensors on the screen; --json has all."
    return click.option(
        "--limit", type=click.IntRange(min=1), default=_ROWS, show_default=True, metavar="N", help=help_text
    )(function)


@verb(
    extra="export",
    example="lggan ranges show camvid.ranges.json\n"
    "lggan ranges show camvid.ranges.json --method mse --sort largest --limit 50",
)
@click.argument("file", type=PATH)
@method_option
@percentile_option
@click.option(
    "--sort",
    type=click.Choice(["outliers", "largest", "name"]),
    default="outliers",
    show_default=True,
    help="What comes first.",
)
@_limit_option
def show(console: Console, file: Path, method: str, percentile: float, sort: str, limit: int) -> None:
    """Show how large each tensor's values were, where its INT8 range would end, and what outliers cost it."""
    from calibration.range_summary import summarise
    from calibration.ranges import read_ranges
    from calibration.thresholds import RangeMethod
    from runtime.contract.progress import SilentProgress

    found = read_ranges(file)
    chosen = RangeMethod(method)
    names = _sorted(found.tensors, sort)
    shown = names if console.json else names[:limit]
    rows = []
    slow = chosen is RangeMethod.ENTROPY  # 0.2 s a tensor
    with (console if slow else SilentProgress()).task(f"thresholds by {method}", len(shown)) as task:
        for name in shown:
            rows.append(summarise(found, name, chosen, percentile))
            task.advance(1, name)
    console.document(
        "lggan-ranges-show",
        {
            "path": file,
            **_origin(found),
            "made_by": found.made_by,
            "names": found.names,
            "method": chosen,
            "percentile": percentile if chosen is RangeMethod.PERCENTILE else None,
            "tensors": rows,
        },
    )
    sets = f" ({len(found.merged_from)} sets merged)" if found.merged_from else ""
    console.fields(
        str(file),
        [
            ("made by", found.made_by),
            ("graph", found.graph_sha256[:_HASH]),
            ("data", f"{found.data_sha256[:_HASH]}{sets}"),
            ("label maps", found.maps),
            ("tensors", len(found.tensors)),
        ],
    )
    _show_tensors(console, rows, method)
    _tell_more(console, len(names) - len(shown))
    zero = [name for name in names if found.tensors[name].largest == 0]
    if zero:
        console.note(
            f"zero everywhere: {_tensors(len(zero))}, {zero[0]!r} first; INT8 needs other values, so collect the "
            "ranges on label maps that show all classes"
        )


@verb(
    extra="export",
    example="lggan ranges diff camvid.ranges.json retrained.ranges.json\n"
    "lggan ranges diff camvid.ranges.json retrained.ranges.json --max-ratio 1.5",
)
@click.argument("first", type=PATH, metavar="A")
@click.argument("second", type=PATH, metavar="B")
@click.option(
    "--max-ratio",
    type=click.FloatRange(min=1),
    metavar="X",
    help="Exit code 1 where the largest |x| of a tensor differs by more, in either direction.",
)
@_limit_option
def diff(console: Console, first: Path, second: Path, max_ratio: float | None, limit: int) -> None:
    """Tell how far apart the ranges of each tensor are, the most different first; ratios are B : A.

    The graphs may differ, as before and after training; tensors are compared by name.
    """
    from calibration.range_differences import differences
    from calibration.ranges import read_ranges
    from runtime.contract.errors import GateError

    if max_ratio is not None and math.isnan(max_ratio):
        raise click.UsageError("--max-ratio nan would allow everything; give a number of 1 or more")
    a, b = read_ranges(first), read_ranges(second)
    found = differences(a, b)
    only_a = [name for name in a.tensors if name not in b.tensors]
    only_b = [name for name in b.tensors if name not in a.tensors]
    beyond = [] if max_ratio is None else [one for one in found if _either_way(one.largest_ratio) > max_ratio]
    console.document(
        "lggan-ranges-diff",
        {
            "a": {"path": first, **_origin(a)},
            "b": {"path": second, **_origin(b)},
            "same_graph": a.graph_sha256 == b.graph_sha256,
            "max_ratio": max_ratio,
            "passed": not beyond,
            "tensors": [
                {**plain(one), "largest_ratio": one.largest_ratio, "p999_ratio": one.p999_ratio} for one in found
            ],
            "only_in_a": only_a,
            "only_in_b": only_b,
        },
    )
    if a.graph_sha256 != b.graph_sha256:
        console.note(
            f"the graphs differ ({a.graph_sha256[:_HASH]} and {b.graph_sha256[:_HASH]}); tensors are compared by name"
        )
    for path, names in ((first, only_a), (second, only_b)):
        if names:
            console.note(f"{path} alone has {_tensors(len(names))}, {names[0]!r} first; not compared")
    _show_differences(console, found, limit)
    if beyond:
        worst = max(beyond, key=lambda one: _either_way(one.largest_ratio))
        raise GateError(
            f"the largest |x| of {_tensors(len(beyond))} differs by more than {max_ratio:g} times, most that of "
            f"{worst.tensor!r}: {worst.largest[0]:.4g} and {worst.largest[1]:.4g}; collect the ranges again from the "
            "model that is to be calibrated (`lggan calibrate MODEL --data DIR --ranges FILE`), or raise --max-ratio"
        )


@verb(extra="export", example="lggan ranges merge day.ranges.json night.ranges.json -o both.ranges.json")
@click.argument("files", nargs=-1, required=True, type=PATH, metavar="A B...")
@out_option("Ranges file to write, .ranges.json.")
@force_option
def merge(console: Console, files: tuple[Path, ...], out: Path, force: bool) -> None:
    """Merge ranges of one graph over different label maps, exactly as if they had been collected together."""
    from calibration.ranges import merged, read_ranges, write_ranges
    from runtime.contract.errors import InputError

    if len(files) < 2:
        raise click.UsageError(f"there is only {files[0]}; name two ranges files or more")
    total = read_ranges(files[0])
    for path in files[1:]:
        more = read_ranges(path)
        try:
            total = merged(total, more)
        except InputError as error:
            raise InputError(f"{path} cannot be merged with what stands before it: {error}") from error
    write_ranges(out, total, force)
    console.document("lggan-ranges-merge", {"output": out, **_origin(total), "tensors": len(total.tensors)})
    console.line(f"{out}  {total.maps} label maps of {len(total.merged_from)} sets, {_tensors(len(total.tensors))}")


for _command in (show, diff, merge):
    ranges.add_command(_command)
ranges.epilog = """\b
Example:
  lggan ranges show camvid.ranges.json
  lggan ranges diff camvid.ranges.json retrained.ranges.json --max-ratio 1.5
  lggan ranges merge day.ranges.json night.ranges.json -o both.ranges.json"""
ranges.params += [option for option in show.params if option.name in ("json", "quiet", "verbose")]  # as every verb has


def _sorted(tensors: Mapping[str, Histogram], sort: str) -> list[str]:
    """Their names; among equals, by name."""
    from calibration.range_summary import outlier_bits

    keys: dict[str, Callable[[str], float]] = {
        "outliers": lambda name: -outlier_bits(tensors[name]),
        "largest": lambda name: -tensors[name].largest,
        "name": lambda name: 0.0,
    }
    return sorted(sorted(tensors), key=keys[sort])


def _either_way(ratio: float) -> float:
    """A ratio turned to be 1 or more."""
    return max(ratio, 1 / ratio if ratio else math.inf)


def _origin(found: Ranges) -> dict[str, object]:
    """What the ranges belong to, for a document."""
    return {
        "graph_sha256": found.graph_sha256,
        "data_sha256": found.data_sha256,
        "merged_from": found.merged_from,
        "maps": found.maps,
    }


def _show_tensors(console: Console, rows: Sequence[TensorSummary], method: str) -> None:
    columns = _columns("largest |x|", "p99.9", "zeros", method, "kept", "bits to outliers")
    cells = [
        [
            row.tensor,
            f"{row.largest:.4g}",
            f"{row.p999:.4g}",
            f"{row.zero_share:.1%}",
            "none" if row.threshold is None else f"{row.threshold:.4g}",
            "" if row.kept is None else f"{row.kept:.1%}",
            f"{row.outlier_bits:.2f}",
        ]
        for row in rows
    ]
    console.table(columns, cells)


def _show_differences(console: Console, found: Sequence[RangeDifference], limit: int) -> None:
    apart = [one for one in found if one.distance > 1]
    if not apart:
        console.line(f"{_tensors(len(found))} compared: the largest |x| and p99.9 of each are equal")
        return
    console.line(f"{_tensors(len(found))} compared, {len(apart)} of them differ")
    columns = _columns("largest |x| in A", "in B", "B : A", "p99.9 in A", "in B", "B : A")
    cells = [
        [one.tensor, *(f"{value:.4g}" for value in (*one.largest, one.largest_ratio, *one.p999, one.p999_ratio))]
        for one in apart[:limit]
    ]
    console.table(columns, cells)
    _tell_more(console, len(apart) - limit)


def _columns(*figures: str) -> list[Column]:
    return [Column("tensor"), *(Column(title, right=True) for title in figures)]


def _tell_more(console: Console, count: int) -> None:
    if count > 0:
        console.line(f"and {count} more; --limit shows more of them, --json all")


def _tensors(count: int) -> str:
    return "1 tensor" if count == 1 else f"{count} tensors"
