"""``tripletmine mine``: triplets from files of embeddings and labels."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import tripletmine
from tripletmine import _options
from tripletmine._results import MiningReport, write_parquet
from tripletmine._summary import print_report
from tripletmine.cli._shared import (
    Commands,
    add_sources,
    check_output,
    defaults,
    last_words,
    option_adder,
    progress,
    read_sources,
)

_DEFAULTS = defaults(tripletmine.mine)


def add_parser(commands: Commands) -> None:
    """Add the command to the parser."""
    mine = commands.add_parser(
        "mine",
        help="mine triplets from embeddings and labels",
        description="Mines triplets and writes them to a Parquet file, which may be larger than "
        "memory, or to an .npz file.",
        epilog="Files are .npy (memory-mapped) or .parquet; one Parquet file may serve for all.",
    )
    mine.set_defaults(run=_run)
    add_sources(mine)
    mine.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT", help=".parquet or .npz to write"
    )
    _add_options(mine)


def _run(arguments: argparse.Namespace) -> None:
    check_output(arguments, arguments.output)
    given = vars(arguments)
    options = {name: given[name] for name in _DEFAULTS if name in given}
    read_sources(arguments, options)
    report = _write(arguments.output, options)
    with last_words():
        print_report(report)
        print(f"{report.triplets:,} triplets written to {arguments.output}")


def _write(output: Path, options: dict[str, Any]) -> MiningReport:
    """Mine into the file: Parquet block by block, unless a limit is to be kept; ``.npz`` whole."""
    parquet = output.suffix == ".parquet"
    if parquet and options["max_triplets"] is None:
        del options["max_triplets"]
        with progress() as shown:
            return write_parquet(output, tripletmine.mine_blocks(**options, progress=shown))
    with progress() as shown:
        triplets = tripletmine.mine(**options, progress=shown)
    write = triplets.to_parquet if parquet else triplets.save
    write(output)
    return triplets.report


def _add_options(mine: argparse.ArgumentParser) -> None:
    """Add the options that `tripletmine.mine` has under the same names, with its defaults."""
    add = option_adder(mine, _DEFAULTS)

    add("--pos-strategy", "which positive of an anchor", choices=_options.POS_STRATEGIES)
    add("--neg-strategy", "which negative of a pair", choices=_options.NEG_STRATEGIES)
    add("--metric", "the distance", choices=_options.METRICS)
    add("--margin", "keep only triplets of --type-of-triplets at this margin", type=float)
    add("--type-of-triplets", "what a margin keeps", choices=_options.TRIPLET_TYPES)
    add("--fallback", "instead of a missing semi-hard negative", choices=_options.FALLBACKS)
    add("--num-negatives", "negatives for each pair", type=int, metavar="K")
    add("--range-min", "negatives to skip first", type=int, metavar="K")
    for flag in ("--allowed-pos-range", "--allowed-neg-range"):
        add(flag, "only distances in LO..HI", type=float, nargs=2, metavar=("LO", "HI"))
    add("--max-triplets", "refuse a larger result", type=int, metavar="T")
    add("--seed", "of the random strategies", type=int)
    add("--n-threads", "number of threads (default: what OpenMP says)", type=int, metavar="N")
