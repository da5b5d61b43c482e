"""What several commands share: the progress bar, options with a call's defaults, row subsets."""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


@contextmanager
def progress() -> Iterator[Progress | None]:
    """Yield a callback that draws a bar on standard error, or None where nobody would see it."""
    if not (sys.stderr.isatty() and find_spec("rich")):
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
