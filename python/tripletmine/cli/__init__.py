"""The command line: ``mine``, ``negatives``, ``census``, ``sample``, ``info`` and ``demo``.

Why: to mine between two epochs from a shell script, without writing Python. A module a command:
each adds its parser, whose options, choices and defaults are those of the Python call. Called by
the ``tripletmine`` script and by ``python -m tripletmine``.

Exit codes: 0 success, 1 an error while working (one line on standard error), 2 wrong usage,
130 interrupted by Ctrl-C, and likewise 129 and 143 where the terminal goes or a scheduler ends the
run, 141 where nobody reads what is printed. After anything but 0 the output file is as it was
before; what is printed beside an output file, when it is written, may be lost.
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import tripletmine
from tripletmine.cli import _census, _demo, _info, _mine, _negatives, _sample
from tripletmine.cli._shared import end_stdout, flush

_COMMANDS = (_mine, _negatives, _census, _sample, _info, _demo)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code (argparse itself exits with 2)."""
    try:
        arguments = _parser().parse_args(argv)
        with _ending_in_order():
            arguments.run(arguments)
            flush()
    except KeyboardInterrupt:
        print("tripletmine: interrupted, nothing written", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 128 + signal.SIGPIPE
    except (ValueError, TypeError, OSError, ImportError, MemoryError) as error:
        print(f"tripletmine: error: {_one_line(error)}", file=sys.stderr)
        return 1
    finally:
        end_stdout()
    return 0


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """Let what ends the process leave no temporary file: it is an exception, as Ctrl-C is one."""
    ours: list[signal.Signals] = []

    def end(number: int, _: Any) -> None:
        for other in ours:  # they come in pairs, and what is done now is to be done in peace
            signal.signal(other, signal.SIG_IGN)
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:  # neither ignored nor the caller's
            try:
                signal.signal(number, end)
            except ValueError:  # not the main thread: it is for the caller to say
                break
            ours.append(number)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


class _Parser(argparse.ArgumentParser):
    """Takes -1e-3, -inf and -10: for values of an option, not for options."""

    def __init__(self, **keywords: Any) -> None:
        # Abbreviations are off: an option that a later version adds must not change what one means.
        super().__init__(**{"allow_abbrev": False, **keywords})
        self._negative_number_matcher = re.compile(r"-(\.?\d|inf|:)", re.IGNORECASE)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="tripletmine",
        description="Finds the hard and semi-hard triplets of a whole embedding set, exactly.",
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
