"""``tripletmine sample``: triplets at random from files of embeddings and labels."""

from __future__ import annotations

import argparse
from pathlib import Path

import tripletmine
from tripletmine import _options
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

_DEFAULTS = defaults(tripletmine.sample)


def add_parser(commands: Commands) -> None:
    """Add the command to the parser."""
    sample = commands.add_parser(
        "sample",
        help="draw triplets of a kind at random",
        description="Draws triplets from all triplets of a kind and writes them to a Parquet or "
        ".npz file.",
        epilog="Files are .npy (memory-mapped) or .parquet; one Parquet file may serve for all.",
    )
    sample.set_defaults(run=_run)
    add_sources(sample)
    sample.add_argument("-n", type=int, required=True, metavar="N", help="how many triplets")
    sample.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT", help=".parquet or .npz to write"
    )
    add = option_adder(sample, _DEFAULTS)
    add("--type-of-triplets", "which triplets", choices=_options.SAMPLE_TYPES)
    add("--margin", "of the types that need one", type=float)
    add("--metric", "the distance", choices=_options.METRICS)
    add("--weights", "what makes a triplet likely", choices=_options.WEIGHTS)
    add("--cutoff", "of distance weights: nearer negatives weigh no more", type=float)
    add("--nonzero-loss-cutoff", "of distance weights: farther negatives weigh nothing", type=float)
    add("--seed", "of the draws", type=int)
    add("--n-threads", "number of threads (default: what OpenMP says)", type=int, metavar="N")


def _run(arguments: argparse.Namespace) -> None:
    check_output(arguments, arguments.output)
    given = vars(arguments)
    options = {name: given[name] for name in _DEFAULTS if name in given}
    read_sources(arguments, options)
    with progress() as shown:
        triplets = tripletmine.sample(**options, progress=shown)
    write = triplets.to_parquet if arguments.output.suffix == ".parquet" else triplets.save
    write(arguments.output)
    with last_words():
        print_report(triplets.report, "drawn")
        print(f"{len(triplets):,} triplets written to {arguments.output}")
