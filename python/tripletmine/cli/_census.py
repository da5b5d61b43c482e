"""``tripletmine census``: how many triplets of each kind, as a table, a file and a picture."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path

import tripletmine
from tripletmine import _files, _options, _plot
from tripletmine._summary import print_report, print_table
from tripletmine.cli._shared import (
    Commands,
    add_sources,
    check_output,
    defaults,
    flush,
    last_words,
    option_adder,
    progress,
    read_sources,
)

_DEFAULTS = defaults(tripletmine.census)
_OUTPUTS = (".csv", ".json")


def add_parser(commands: Commands) -> None:
    """Add the command to the parser."""
    census = commands.add_parser(
        "census",
        help="count the hard, semi-hard and easy triplets of a set for margins",
        description="Counts all triplets of a set, exactly, for each margin, without listing any.",
        epilog="Files are .npy (memory-mapped) or .parquet; one Parquet file may serve for all.",
    )
    census.set_defaults(run=_run)
    add_sources(census)
    census.add_argument(
        "--margins", type=float, nargs="+", required=True, metavar="M", help="one margin or several"
    )
    add = option_adder(census, _DEFAULTS)
    add("--metric", "the distance", choices=_options.METRICS)
    add("--per", "count apart by this", choices=_options.PERS)
    add("--n-threads", "number of threads (default: what OpenMP says)", type=int, metavar="N")
    census.add_argument(
        "-o", "--output", type=Path, metavar="OUT", help=".csv or .json to write the numbers to"
    )
    census.add_argument(
        "--plot",
        type=Path,
        metavar="PNG",
        help="draw shares and mean loss for margins from 0 on, to choose one by looking",
    )


def _run(arguments: argparse.Namespace) -> None:
    if arguments.output is not None:
        check_output(arguments, arguments.output, partial(_files.check_writable, known=_OUTPUTS))
    if arguments.plot is not None:
        check_output(arguments, arguments.plot, _plot.check)
        if arguments.per is not None:
            raise ValueError(
                f"--plot: found it with --per {arguments.per}, expected one or the other"
            )
    given = vars(arguments)
    options = {name: given[name] for name in _DEFAULTS if name in given}
    read_sources(arguments, options)
    margins = list(_options.margins(options["margins"]))
    options["margins"] = margins + (_plot.margins(max(margins)) if arguments.plot else [])
    with progress() as shown:
        census = tripletmine.census(**options, progress=shown)
    asked = _first(census, len(margins))
    with ExitStack() as files:  # all of them or none
        if arguments.output is not None:
            _write(asked, files.enter_context(_files.replacing(arguments.output)))
        if arguments.plot is not None:
            plot = files.enter_context(_files.replacing(arguments.plot))
            _plot.draw(census, margins, arguments.metric, plot)
    written = [path for path in (arguments.output, arguments.plot) if path is not None]
    with last_words() if written else nullcontext():
        print_report(census.report, "counted")
        print_table("triplets", *asked.table())
        if arguments.output is not None:
            print(f"{len(asked.records()):,} rows written to {arguments.output}")
        if arguments.plot is not None:
            print(f"{arguments.plot}: share of each kind, and mean loss, for margins from 0 on")
        flush()


def _first(census: tripletmine.Census, count: int) -> tripletmine.Census:
    """Return what was counted for the first margins."""
    lists = ("margins", "hard", "semihard", "easy", "mean_loss", "mean_active_loss")
    return dataclasses.replace(census, **{name: getattr(census, name)[:count] for name in lists})


def _write(census: tripletmine.Census, output: Path) -> None:
    records = census.records()
    with output.open("w", newline="", encoding="utf-8") as file:
        if output.suffix == ".json":
            # NaN is no JSON: a mean over no triplets is null.
            plain = [
                {name: None if value != value else value for name, value in record.items()}
                for record in records
            ]
            json.dump({"triplets": plain, "report": census.report.as_dict()}, file, indent=1)
        else:
            names = list(records[0]) if records else ["margin"]
            writer = csv.DictWriter(file, names, lineterminator="\n")
            writer.writeheader()
            writer.writerows(records)
