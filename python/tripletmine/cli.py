"""The command line: ``tripletmine mine``, ``info`` and ``demo``.

Why: to mine between two epochs from a shell script, without writing Python. Options, choices and
defaults are those of `tripletmine.mine`, read from it. Called by the ``tripletmine`` script and by
``python -m tripletmine``.

Exit codes: 0 success, 1 an error while working (one line on standard error), 2 wrong usage,
130 interrupted by Ctrl-C. After anything but 0 the output file is as it was before.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import tripletmine
from tripletmine import _files, _options
from tripletmine._summary import print_report

Progress = Callable[[int, int], None]

_DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(tripletmine.mine).parameters.items()
}
_SLICE = re.compile(r"(-?\d+)?:(-?\d+)?(?::(-?\d+)?)?")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code (argparse itself exits with 2)."""
    try:
        arguments = _parser().parse_args(argv)
        arguments.run(arguments)
    except KeyboardInterrupt:
        print("tripletmine: interrupted, nothing written", file=sys.stderr)
        return 130
    except (ValueError, TypeError, OSError, ImportError, MemoryError) as error:
        print(f"tripletmine: error: {_one_line(error)}", file=sys.stderr)
        return 1
    return 0


def _mine(arguments: argparse.Namespace) -> None:
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
    with _progress() as progress:
        triplets = tripletmine.mine(**options, progress=progress)
    print_report(triplets.report)
    write = triplets.to_parquet if arguments.output.suffix == ".parquet" else triplets.save
    write(arguments.output)
    print(f"{len(triplets):,} triplets written to {arguments.output}")


def _info(arguments: argparse.Namespace) -> None:
    tripletmine.show_versions()


def _demo(arguments: argparse.Namespace) -> None:
    from tripletmine import _demo

    _demo.run(arguments.output)


@contextmanager
def _progress() -> Iterator[Progress | None]:
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


def _parser() -> argparse.ArgumentParser:
    # Abbreviations are off: an option that a later version adds must not change what one means.
    parser = argparse.ArgumentParser(
        prog="tripletmine",
        description="Finds the hard and semi-hard triplets of a whole embedding set, exactly.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action="version", version=f"tripletmine {tripletmine.__version__}"
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    mine = commands.add_parser(
        "mine",
        help="mine triplets from embeddings and labels",
        description="Mines triplets and writes them to a Parquet or .npz file.",
        epilog="Files are .npy (memory-mapped) or .parquet; one Parquet file may serve for all.",
        allow_abbrev=False,
    )
    mine.set_defaults(run=_mine)
    _add_files(mine)
    _add_options(mine)

    info = commands.add_parser(
        "info",
        help="show versions, instruction sets and threads, for bug reports",
        allow_abbrev=False,
    )
    info.set_defaults(run=_info)

    demo = commands.add_parser(
        "demo", help="mine handwritten digits and draw the hardest triplets", allow_abbrev=False
    )
    demo.set_defaults(run=_demo)
    demo.add_argument(
        "-o", "--output", default="tripletmine-demo.png", help="the picture (default: %(default)s)"
    )
    return parser


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
        type=_anchors,
        metavar="START:STOP[:STEP]|FILE",
        help="rows that act as anchors: a slice, or a file of indices (default: all rows)",
    )


def _add_options(mine: argparse.ArgumentParser) -> None:
    """Add the options that `tripletmine.mine` has under the same names, with its defaults."""

    def add(flag: str, text: str, **keywords: Any) -> None:
        default = _DEFAULTS[flag[2:].replace("-", "_")]
        if default is not None:
            text += " (default: %(default)s)"
        mine.add_argument(flag, default=default, help=text, **keywords)

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


def _anchors(text: str) -> slice | Path:
    match = _SLICE.fullmatch(text)
    if match:
        return slice(*(None if part is None else int(part) for part in match.groups()))
    if Path(text).suffix in _files.INPUTS:
        return Path(text)
    raise argparse.ArgumentTypeError(
        f"found {text!r}, expected START:STOP[:STEP] or a {' or '.join(_files.INPUTS)} file"
    )


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__
