"""The command line as a shell calls it, and what it leaves behind."""

import subprocess
import sys

import numpy as np

import tripletmine

RUN = [sys.executable, "-m", "tripletmine"]


def run(*arguments, **keywords):
    return subprocess.run(
        [*RUN, *map(str, arguments)], capture_output=True, text=True, timeout=120, **keywords
    )


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def assert_written(path, triplets):
    """The file holds these triplets and their report."""
    written = tripletmine.Triplets.load(path)
    np.testing.assert_array_equal(written.as_array(), triplets.as_array())
    for name in ("d_ap", "d_an", "fell_back"):
        np.testing.assert_array_equal(getattr(written, name), getattr(triplets, name))
    assert written.report.triplets == len(triplets)
