"""``tripletmine demo``: see it work."""

from __future__ import annotations

import argparse

from tripletmine.cli._shared import Commands


def add_parser(commands: Commands) -> None:
    """Add the command to the parser."""
    demo = commands.add_parser(
        "demo",
        help="mine handwritten digits and draw the hardest triplets, or train on texts",
    )
    demo.set_defaults(run=_run)
    demo.add_argument(
        "--text",
        action="store_true",
        help="train a search of Python functions on random, hard and semi-hard triplets instead",
    )
    demo.add_argument(
        "-o",
        "--output",
        help="the picture (default: tripletmine-demo.png, or tripletmine-text.png)",
    )


def _run(arguments: argparse.Namespace) -> None:
    from tripletmine import _demo, _demo_text

    run = _demo_text.run if arguments.text else _demo.run
    if arguments.output is None:
        run()
    else:
        run(arguments.output)
