"""``tripletmine negatives``: negatives for queries whose positives are known, from files."""

from __future__ import annotations

import argparse
from pathlib import Path

import tripletmine
from tripletmine import _files, _options
from tripletmine._negatives import OUTPUT_FORMATS
from tripletmine._summary import print_report
from tripletmine.cli._shared import (
    Commands,
    defaults,
    last_words,
    option_adder,
    progress,
)

_DEFAULTS = defaults(tripletmine.mine_negatives)


def add_parser(commands: Commands) -> None:
    """Add the command to the parser."""
    negatives = commands.add_parser(
        "negatives",
        help="mine hard negatives for queries whose positives are known",
        description="Mines hard negatives and writes rows for training to a Parquet file, or the "
        "whole result to an .npz file.",
        epilog="Files are .npy (memory-mapped) or .parquet; one Parquet file may serve for all.",
        allow_abbrev=False,
    )
    negatives.set_defaults(run=_run)
    _add_files(negatives)
    _add_options(negatives)


def _run(arguments: argparse.Namespace) -> None:
    _files.check_writable(arguments.output)
    given = vars(arguments)
    options = {name: given[name] for name in _DEFAULTS if name in given}
    for name in ("queries", "corpus"):
        options[name] = _files.read_embeddings(options[name], given[f"{name}_column"])
    for name in ("positives", "exclude"):
        if options[name] is not None:
            options[name] = _files.read_lists(options[name], given[f"{name}_column"])
    with progress() as shown:
        negatives = tripletmine.mine_negatives(**options, progress=shown)
    if arguments.output.suffix == ".parquet":
        negatives.to_parquet(arguments.output, arguments.output_format)
    else:
        negatives.save(arguments.output)
    found, count = negatives.report.negatives, len(negatives)
    with last_words():
        print_report(negatives.report)
        print(f"{found:,} negatives of {count:,} queries written to {arguments.output}")


def _add_files(negatives: argparse.ArgumentParser) -> None:
    negatives.add_argument("queries", type=Path, metavar="QUERIES", help="rows of embeddings")
    negatives.add_argument(
        "corpus", type=Path, metavar="CORPUS", help="rows of embeddings to choose from"
    )
    negatives.add_argument(
        "--positives",
        type=Path,
        metavar="FILE",
        help="for each query a row of CORPUS, or several: integers, or lists of integers",
    )
    negatives.add_argument(
        "--exclude", type=Path, metavar="FILE", help="likewise, more rows that are no candidates"
    )
    negatives.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT", help=".parquet or .npz to write"
    )
    negatives.add_argument(
        "--output-format",
        choices=OUTPUT_FORMATS,
        default=OUTPUT_FORMATS[0],
        help="rows of a Parquet file (default: %(default)s)",
    )
    for files in ("queries", "corpus", "positives", "exclude"):
        negatives.add_argument(
            f"--{files}-column",
            metavar="NAME",
            help=f"Parquet column of {files} (default: the only one that can be)",
        )


def _add_options(negatives: argparse.ArgumentParser) -> None:
    """Add the options that `tripletmine.mine_negatives` has under the same names."""
    add = option_adder(negatives, _DEFAULTS)

    add("--num-negatives", "negatives for each query", type=int, metavar="K")
    add("--range-min", "ranks to skip first", type=int, metavar="K")
    add("--range-max", "the rank to stop before", type=int, metavar="K")
    add("--max-score", "refuse candidates more similar", type=float, metavar="S")
    add("--min-score", "refuse candidates less similar", type=float, metavar="S")
    add("--absolute-margin", "by how much the positive is more similar", type=float, metavar="S")
    add("--relative-margin", "likewise, as a part of its score", type=float, metavar="PART")
    add("--positive-score", "of several positives", choices=_options.POSITIVE_SCORES)
    add("--rank-among", "what has a rank", choices=_options.RANK_AMONG)
    add("--sampling", "which of the ranks", choices=_options.SAMPLINGS)
    add("--metric", "the distance", choices=_options.METRICS)
    add("--seed", "of random sampling", type=int)
    add("--n-threads", "number of threads (default: what OpenMP says)", type=int, metavar="N")
