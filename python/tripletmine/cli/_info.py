"""``tripletmine info``: what runs here, for bug reports."""

from __future__ import annotations

import argparse

import tripletmine
from tripletmine.cli._shared import Commands


def add_parser(commands: Commands) -> None:
    """Add the command to the parser."""
    info = commands.add_parser(
        "info",
        help="show versions, instruction sets and threads, for bug reports",
    )
    info.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    tripletmine.show_versions()
