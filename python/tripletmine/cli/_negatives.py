"""``tripletmine negatives``: negatives for queries whose positives are known, from files."""

from __future__ import annotations

import argparse
from pathlib import Path

import tripletmine
from tripletmine import _files, _options
from tripletmine._negatives import OUTPUT_FORMATS, OutputFormat
from tripletmine._summary import print_report
from tripletmine.cli._shared import (
    Commands,
    check_output,
    column_of,
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
    )
    negatives.set_defaults(run=_run)
    _add_files(negatives)
    _add_options(negatives)


def _run(arguments: argparse.Namespace) -> None:
    check_output(arguments, arguments.output)
    output_format: OutputFormat | None = arguments.output_format
    if output_format is not None and arguments.output.suffix != ".parquet":
        raise ValueError(
            f"--output-format: found {output_format!r} with {arguments.output}, expected it with a "
            ".parquet file"
        )
    given = vars(arguments)
    options = {name: given[name] for name in _DEFAULTS if name in given}
    for name in ("queries", "corpus"):
        column = column_of(arguments, name, options[name])
        options[name] = _files.read_embeddings(options[name], column(options[name]))
    for name in ("positives", "exclude"):
        column = column_of(arguments, name, options[name])
        if options[name] is not None:
            options[name] = _files.read_lists(options[name], column(options[name]))
    with progress() as shown:
        negatives = tripletmine.mine_negatives(**options, progress=shown)
    if arguments.output.suffix == ".parquet":
        negatives.to_parquet(arguments.output, output_format or "triplet")
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
        help=f"rows of a Parquet file (default: {OUTPUT_FORMATS[0]})",
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
