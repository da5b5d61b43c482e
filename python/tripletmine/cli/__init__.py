"""The command line: ``mine``, ``negatives``, ``census``, ``sample``, ``info`` and ``demo``.

Why: to mine between two epochs from a shell script, without writing Python. A module a command:
each adds its parser, whose options, choices and defaults are those of the Python call. Called by
the ``tripletmine`` script and by ``python -m tripletmine``.

Exit codes: 0 success, 1 an error while working (one line on standard error), 2 wrong usage,
130 interrupted by Ctrl-C. After anything but 0 the output file is as it was before; what is printed
beside an output file, when it is written, may be lost.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import tripletmine
from tripletmine.cli import _census, _demo, _info, _mine, _negatives, _sample
from tripletmine.cli._shared import end_stdout, flush

_COMMANDS = (_mine, _negatives, _census, _sample, _info, _demo)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code (argparse itself exits with 2)."""
    try:
        arguments = _parser().parse_args(argv)
        arguments.run(arguments)
        flush()
    except KeyboardInterrupt:
        print("tripletmine: interrupted, nothing written", file=sys.stderr)
        return 130
    except (ValueError, TypeError, OSError, ImportError, MemoryError) as error:
        print(f"tripletmine: error: {_one_line(error)}", file=sys.stderr)
        return 1
    finally:
        end_stdout()
    return 0


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
    for command in _COMMANDS:
        command.add_parser(commands)
    return parser


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__
