"""What several commands share: input files, a call's own defaults, progress, last words."""

from __future__ import annotations

import argparse
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tripletmine import _files

Progress = Callable[[int, int], None]
Commands = Any  # argparse's own class of subparsers is private

_SLICE = re.compile(r"(-?\d+)?:(-?\d+)?(?::(-?\d+)?)?")


def defaults(call: Callable[..., Any]) -> dict[str, Any]:
    """Return the parameters of a public call with their defaults."""
    parameters = inspect.signature(call).parameters
    return {name: parameter.default for name, parameter in parameters.items()}


def option_adder(parser: argparse.ArgumentParser, known: dict[str, Any]) -> Callable[..., None]:
    """Return ``add(flag, help, **keywords)``: an option with the call's own default."""

    def add(flag: str, text: str, **keywords: Any) -> None:
        default = known[flag[2:].replace("-", "_")]
        if default is not None:
            text += " (default: %(default)s)"
        parser.add_argument(flag, default=default, help=text, **keywords)

    return add


def add_sources(parser: argparse.ArgumentParser) -> None:
    """Add the files of rows, labels and groups, and the anchors."""
    parser.add_argument("embeddings", type=Path, metavar="EMBEDDINGS", help="rows of embeddings")
    parser.add_argument("labels", type=Path, metavar="LABELS", help="one label a row")
    for flag, text in {
        "--ref-emb": "rows to take positives and negatives from, instead of EMBEDDINGS",
        "--ref-labels": "their labels",
        "--groups": "one group a row: rows of one group are never paired",
        "--ref-groups": "groups of the rows of --ref-emb",
    }.items():
        parser.add_argument(flag, type=Path, metavar="FILE", help=text)
    for files in ("embeddings", "labels", "groups"):
        parser.add_argument(
            f"--{files}-column",
            metavar="NAME",
            help=f"Parquet column of {files} (default: the only one that can be)",
        )
    parser.add_argument(
        "--anchors",
        type=anchors,
        metavar="START:STOP[:STEP]|FILE",
        help="rows that act as anchors: a slice, or a file of indices (default: all rows)",
    )


def read_sources(arguments: argparse.Namespace, options: dict[str, Any]) -> None:
    """Replace the paths among a call's options by what the files hold."""
    for name, others, read in (
        ("embeddings", "ref_emb", _files.read_embeddings),
        ("labels", "ref_labels", _files.read_vector),
        ("groups", "ref_groups", _files.read_vector),
    ):
        column = column_of(arguments, name, options[name], options[others])
        for option in (name, others):
            if options[option] is not None:
                options[option] = read(options[option], column(options[option]))
    if isinstance(options["anchors"], Path):
        options["anchors"] = _files.read_vector(options["anchors"])


def column_of(
    arguments: argparse.Namespace, name: str, *paths: Path | None
) -> Callable[[Path], str | None]:
    """Return the column to read of each of these files, of which not all need have columns."""
    column = getattr(arguments, f"{name}_column")
    if column is not None and not any(paths):
        raise ValueError(
            f"--{name}-column: found {column!r} without --{name}, expected both or neither"
        )
    none_has_any = all(path is None or path.suffix == ".npy" for path in paths)
    return lambda path: column if none_has_any or path.suffix != ".npy" else None


def check_output(
    arguments: argparse.Namespace,
    output: Path,
    check: Callable[[Path], None] = _files.check_writable,
) -> None:
    """Raise before any work what writing would raise after it; no input is to be replaced."""
    check(output)
    for name, path in vars(arguments).items():
        if path is output or not isinstance(path, Path) or not path.exists():
            continue
        if output.exists() and path.samefile(output):
            raise ValueError(f"{output}: found it as {name} too, expected another file to write")


@contextmanager
def last_words() -> Iterator[None]:
    """Tell of a result that is written: nothing is lost where standard output takes no more."""
    try:
        yield
        flush()
    except (OSError, ValueError):  # closed, full, or of another encoding
        end_stdout()


def flush() -> None:
    """Write out what was printed: errors come now, not when Python ends."""
    if sys.stdout is not None:
        sys.stdout.flush()


def end_stdout() -> None:
    """Let standard output lead nowhere if it takes no more: Python would fail again at its end."""
    try:
        flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)


@contextmanager
def progress() -> Iterator[Progress | None]:
    """Yield a callback that draws a bar on standard error, or None where nobody would see it."""
    if sys.stderr is None or not (sys.stderr.isatty() and find_spec("rich")):
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("mining"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task("mining", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def anchors(text: str) -> slice | Path:
    """Parse a subset of the rows."""
    match = _SLICE.fullmatch(text)
    if match:
        return slice(*(None if part is None else int(part) for part in match.groups()))
    if Path(text).suffix in _files.INPUTS:
        return Path(text)
    raise argparse.ArgumentTypeError(
        f"found {text!r}, expected START:STOP[:STEP] or a {' or '.join(_files.INPUTS)} file"
    )
