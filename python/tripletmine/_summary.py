"""Tables for people: the report of a run and small lists, on standard output.

Why: the command line and the demo show the same things. With rich on a terminal they are drawn;
in a pipe, or without rich, they are plain aligned text. Called by ``cli``, ``_demo.py`` and, for
its text, ``_census.py``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tripletmine._negatives import NegativesReport
    from tripletmine._results import MiningReport


def print_report(report: MiningReport | NegativesReport, title: str = "mined") -> None:
    """Print every field of a report, one a line."""
    rows = [(name.replace("_", " "), _text(value)) for name, value in report.as_dict().items()]
    print_table(title, ("", ""), rows)


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of text; the first column to the left, the others to the right.

    A header of empty strings is left out.
    """
    if sys.stdout is not None and sys.stdout.isatty() and find_spec("rich"):
        _print_rich(title, header, rows)
    else:
        print(title, *plain_table(header, rows), sep="\n  ")


def _print_rich(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", show_header=any(header))
    for number, name in enumerate(header):
        table.add_column(name, justify="right" if number else "left")
    for row in rows:
        table.add_row(*map(Text, row))  # Text: brackets are not markup
    console = Console()
    # Whole numbers, if need be over the edge: rich would cut them to fit.
    needed = console.measure(table, options=console.options.update(max_width=sys.maxsize)).maximum
    # (The height is for a dumb terminal, whose width rich would know better otherwise.)
    Console(width=max(console.width, needed), height=console.height).print(table)


def plain_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of text as aligned lines, without the header if it is of empty strings."""
    lines = [header, *rows] if any(header) else rows
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]


def _text(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
