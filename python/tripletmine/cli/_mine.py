"""``tripletmine mine``: triplets from files of embeddings and labels."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import tripletmine
from tripletmine import _files, _options
from tripletmine._results import MiningReport, write_parquet
from tripletmine._summary import print_report
from tripletmine.cli._shared import Commands, anchors, defaults, option_adder, progress

_DEFAULTS = defaults(tripletmine.mine)


def add_parser(commands: Commands) -> None:
    """Add the command to the parser."""
    mine = commands.add_parser(
        "mine",
        help="mine triplets from embeddings and labels",
        description="Mines triplets and writes them to a Parquet file, which may be larger than "
        "memory, or to an .npz file.",
        epilog="Files are .npy (memory-mapped) or .parquet; one Parquet file may serve for all.",
        allow_abbrev=False,
    )
    mine.set_defaults(run=_run)
    _add_files(mine)
    _add_options(mine)


def _run(arguments: argparse.Namespace) -> None:
    _files.check_writable(arguments.output)
    given = vars(arguments)
    options = {name: given[name] for name in _DEFAULTS if name in given}
    columns = {
        "embeddings": (_files.read_embeddings, arguments.embeddings_column),
        "ref_emb": (_files.read_embeddings, arguments.embeddings_column),
        "labels": (_files.read_vector, arguments.labels_column),
        "ref_labels": (_files.read_vector, arguments.labels_column),
        "groups": (_files.read_vector, arguments.groups_column),
        "ref_groups": (_files.read_vector, arguments.groups_column),
        "anchors": (_files.read_vector, None),
    }
    for name, (read, column) in columns.items():
        if isinstance(options[name], Path):
            options[name] = read(options[name], column)
    report = _write(arguments.output, options)
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


def _add_files(mine: argparse.ArgumentParser) -> None:
    mine.add_argument("embeddings", type=Path, metavar="EMBEDDINGS", help="rows of embeddings")
    mine.add_argument("labels", type=Path, metavar="LABELS", help="one label a row")
    mine.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT", help=".parquet or .npz to write"
    )
    for flag, text in {
        "--ref-emb": "rows to take positives and negatives from, instead of EMBEDDINGS",
        "--ref-labels": "their labels",
        "--groups": "one group a row: rows of one group are never paired",
        "--ref-groups": "groups of the rows of --ref-emb",
    }.items():
        mine.add_argument(flag, type=Path, metavar="FILE", help=text)
    for files in ("embeddings", "labels", "groups"):
        mine.add_argument(
            f"--{files}-column",
            metavar="NAME",
            help=f"Parquet column of {files} (default: the only one that can be)",
        )
    mine.add_argument(
        "--anchors",
        type=anchors,
        metavar="START:STOP[:STEP]|FILE",
        help="rows that act as anchors: a slice, or a file of indices (default: all rows)",
    )


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
