"""How every verb of the command line behaves: common options, one-line errors, exit codes, a clean stdout.

| code | meaning |
|---|---|
| 0 | done |
| 1 | a gate answered no: the work was done, its result is not good enough |
| 2 | the request makes no sense |
| 3 | bad or untrusted input |
| 4 | something of the surroundings is missing: a package, a driver, disk space, a permission |
| 5 | a backend failed, or a defect of this program |
| 130 | interrupted by Ctrl-C |
| 141 | whoever read stdout went away |
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from runtime.console import Console, Verbosity
from runtime.contract.errors import LgganError, MissingError
from runtime.contract.files import explain_os_error

DISTRIBUTION = "lggan-edge"
INTERRUPTED = 130
BROKEN_PIPE = 141
_UNEXPECTED = 5
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_OURS = ("runtime", "lggan", "export", "calibration", "engines", "cli")

Function = TypeVar("Function", bound=Callable[..., Any])


class _Program(click.Group):
    """Lists its verbs in the order in which they were added, which is the order of use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):  # click would cut the sentences off
            formatter.write_dl([(name, verb.get_short_help_str(limit=200)) for name, verb in self.commands.items()])


def version_option(function: Function) -> Function:
    """``--version``: of the installed distribution."""

    def show(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if not value or ctx.resilient_parsing:
            return
        from importlib.metadata import PackageNotFoundError, version

        try:
            number = version(DISTRIBUTION)
        except PackageNotFoundError:
            number = "of an unknown version: run from its source folder, not installed"
        click.echo(f"{DISTRIBUTION} {number}")
        ctx.exit()

    help_text = "Show the version and exit."
    return click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=show, help=help_text)(
        function
    )


def program(function: Callable[..., None]) -> click.Group:
    """Make a function the top of the command line (`lggan`)."""
    return click.command(cls=_Program, context_settings=_CONTEXT)(function)


def verb(*, example: str, extra: str = "") -> Callable[[Callable[..., None]], click.Command]:
    """Make a function a verb: ``import_weights`` becomes ``lggan import-weights``.

    The function gets a `Console` first, then its options. While it runs, whatever a library prints goes to stderr.

    Args:
        example: shown at the end of the help; several lines are possible.
        extra: the extra of `pyproject.toml` that brings the packages this verb needs beyond the base install.
    """

    def decorate(function: Callable[..., None]) -> click.Command:
        name = function.__name__.replace("_", "-")

        @functools.wraps(function)
        def run_verb(**options: Any) -> None:
            context = click.get_current_context()
            console = context.find_object(Console) or Console()
            try:
                with _for_results_only(console), _explain_missing_package(context.command_path, extra):
                    function(console, **options)
            except BrokenPipeError as error:  # before click makes a plain 1 of it
                raise click.exceptions.Exit(_leave_quietly()) from error

        epilog = "\b\nExample:\n" + "\n".join(f"  {line}" for line in example.strip().splitlines())
        command = click.command(name=name, epilog=epilog, context_settings=_CONTEXT)(run_verb)
        command.params += _common_options()
        return command

    return decorate


def run(parent: click.Group, arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code; every error ends here, as one line."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that lacks a letter must not end the work
            stream.reconfigure(errors="replace")
    console = Console()
    try:
        code = parent.main(
            args=None if arguments is None else list(arguments), prog_name="lggan", standalone_mode=False, obj=console
        )
        console.close()
        return code if isinstance(code, int) else 0
    except click.Abort:  # click's word for Ctrl-C
        return _report(console, "interrupted", INTERRUPTED, "KeyboardInterrupt")
    except KeyboardInterrupt:
        return _report(console, "interrupted", INTERRUPTED, "KeyboardInterrupt")
    except click.exceptions.NoArgsIsHelpError as error:
        sys.stderr.write(f"{error.format_message()}\n")
        return error.exit_code
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx is not None else "lggan"
        return _report(console, f"{error.format_message()} (see `{where} --help`)", error.exit_code, "UsageError")
    except click.ClickException as error:
        return _report(console, error.format_message(), error.exit_code, type(error).__name__)
    except LgganError as error:
        _show_trace(console)
        return _report(console, str(error), error.exit_code, type(error).__name__)
    except BrokenPipeError:
        return _leave_quietly()
    except OSError as error:
        _show_trace(console)
        if error.errno in (errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS):
            known = explain_os_error(error, Path(error.filename or "the output"))
            return _report(console, str(known), known.exit_code, type(known).__name__)
        return _report(console, _unexpected(error), _UNEXPECTED, type(error).__name__)
    except MemoryError as error:
        _show_trace(console)
        message = "out of memory; use smaller pictures or a smaller batch"
        return _report(console, message, MissingError.exit_code, type(error).__name__)
    except Exception as error:
        _show_trace(console)
        return _report(console, _unexpected(error), _UNEXPECTED, type(error).__name__)


def force_option(function: Function) -> Function:
    """``--force``: existing outputs may be replaced."""
    return click.option("--force", is_flag=True, help="Replace outputs that exist.")(function)


def device_option(function: Function) -> Function:
    """``--device``: where the networks run."""
    return click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        show_default=True,
        help="Where to run; auto takes the GPU where one can be used.",
    )(function)


def out_option(help_text: str) -> Callable[[Function], Function]:
    """``-o/--out PATH``, required."""
    return click.option("-o", "--out", type=PATH, required=True, metavar="PATH", help=help_text)


def threads_option(function: Function) -> Function:
    """``--threads``: of one call on the CPU."""
    return click.option("--threads", type=click.IntRange(1, 1024), metavar="N", help="CPU threads of one call.")(
        function
    )


def instances_option(function: Function) -> Function:
    """``--instances``: instance maps for models with an edge channel."""
    help_text = "Folder of the instance maps, for models that want them."
    return click.option("--instances", type=PATH, metavar="DIR", help=help_text)(function)


def source_option(function: Function) -> Function:
    """``--source``: the photos that cross-view models start from."""
    help_text = "Cross-view models: the source photo, or the folder of photos named as the label maps."
    return click.option("--source", type=PATH, metavar="PATH", help=help_text)(function)


def strips_option(function: Function) -> Function:
    """``--strips``: six-panel strips in place of label maps."""
    help_text = "Cross-view models: the inputs are six-panel strips, to be read in this direction."
    return click.option("--strips", type=click.Choice(["a2g", "g2a"]), help=help_text)(function)


def sau_option(function: Function) -> Function:
    """``--sau``: where semantic-aware upsampling stands in a preset's network."""
    placements = ["none", "decoders", "encoder", "global"]
    help_text = "Place of semantic-aware upsampling.  [default: the preset's]"
    return click.option("--sau", type=click.Choice(placements), help=help_text)(function)


def fit_option(function: Function) -> Function:
    """``--fit``: resize label maps by nearest, photos by bicubic."""
    help_text = "Resize label maps (nearest) and photos (bicubic): HEIGHTxWIDTH, or 'model' for the trained size."
    return click.option("--fit", metavar="SIZE", help=help_text)(function)


def given_maps_options(data_help: str) -> Callable[[Function], Function]:
    """``--data`` and what says how to read it, for verbs that take label maps beside a model; see
    `commands.given_maps`.
    """

    def decorate(function: Function) -> Function:
        for option in (strips_option, source_option, instances_option, fit_option):
            function = option(function)
        limit_help = "Take so many of them.  [default: all]"
        function = click.option("--limit", type=click.IntRange(min=1), metavar="N", help=limit_help)(function)
        return click.option("--data", type=PATH, multiple=True, metavar="LABELS", help=data_help)(function)

    return decorate


def method_option(function: Function) -> Function:
    """``--method``: from the values that a tensor took to its INT8 range."""
    return click.option(
        "--method",
        type=click.Choice(["minmax", "percentile", "entropy", "mse"]),
        default="minmax",
        show_default=True,
        help="How the range of INT8 follows from the values that a tensor took.",
    )(function)


def percentile_option(function: Function) -> Function:
    """``--percentile``."""
    return click.option(
        "--percentile", type=float, default=99.99, show_default=True, metavar="P", help="For --method percentile."
    )(function)


# Existence is checked by the room that reads the file: there it is bad input (exit code 3) with a fix, not bad usage.
PATH = click.Path(path_type=Path)


def _common_options() -> list[click.Parameter]:
    """``--json``, ``-q`` and ``-v``, which every verb has; they are settings of the console, not of the verb."""

    def set_json(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            ctx.ensure_object(Console).json = True

    def set_quiet(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            ctx.ensure_object(Console).verbosity = Verbosity.QUIET

    def set_verbose(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            ctx.ensure_object(Console).verbosity = Verbosity.VERBOSE

    verbose = "Also show warnings and logs of the libraries, and tracebacks."
    return [
        # eager: a usage error in another option must know already how to speak
        click.Option(names, is_flag=True, is_eager=True, expose_value=False, callback=callback, help=help_text)
        for names, callback, help_text in (
            (["--json"], set_json, "Print the result as one JSON object."),
            (["-q", "--quiet"], set_quiet, "No progress and no notes, errors only."),
            (["-v", "--verbose"], set_verbose, verbose),
        )
    ]


@contextlib.contextmanager
def _for_results_only(console: Console) -> Iterator[None]:
    """Keep stdout for the result: what libraries print goes to stderr, their warnings and logs only with ``-v``."""
    import logging
    import warnings

    verbose = console.verbosity >= Verbosity.VERBOSE
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.INFO if verbose else logging.ERROR)
    try:
        with contextlib.redirect_stdout(console.err), warnings.catch_warnings():
            if not verbose:
                warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)


@contextlib.contextmanager
def _explain_missing_package(name: str, extra: str) -> Iterator[None]:
    """A package that is not installed is a matter of the surroundings, with a command as the cure."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not package or package in _OURS:
            raise
        cure = f"pip install '.[{extra}]'" if extra else "pip install ."
        raise MissingError(
            f"`{name}` needs the package {package}, which is not installed; run `{cure}` in the project's clone"
        ) from error


def _report(console: Console, message: str, code: int, error_class: str) -> int:
    try:
        console.error(message, exit_code=code, error_class=error_class)
        console.close()
    except BrokenPipeError:
        return _leave_quietly()
    return code


def _show_trace(console: Console) -> None:
    if console.verbosity >= Verbosity.VERBOSE:
        import traceback

        traceback.print_exc(file=console.err)


def _unexpected(error: BaseException) -> str:
    first = (str(error) or "no further message").splitlines()[0]
    return f"unexpected {type(error).__name__}: {first} (this is a defect; run again with -v to see where)"


def _leave_quietly() -> int:
    """The reader of stdout is gone: give Python nothing to complain about when it flushes at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return BROKEN_PIPE
