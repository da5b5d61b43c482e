"""``tripletmine demo``: see it work."""

from __future__ import annotations

import argparse

from tripletmine.cli._shared import Commands


def add_parser(commands: Commands) -> None:
    """Add the command to the parser."""
    demo = commands.add_parser(
        "demo", help="mine handwritten digits and draw the hardest triplets", allow_abbrev=False
    )
    demo.set_defaults(run=_run)
    demo.add_argument(
        "-o", "--output", default="tripletmine-demo.png", help="the picture (default: %(default)s)"
    )


def _run(arguments: argparse.Namespace) -> None:
    from tripletmine import _demo

    _demo.run(arguments.output)
