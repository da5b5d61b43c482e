"""How hard mining grows: time and memory against the number of rows. ``--help`` says how.

Synthetic sets of classes of 100 rows, each size in a fresh process. Prints a table, draws
``--plot`` and writes ``--json`` and the table between two markers of a ``--markdown`` page.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import cases
import measure
import report
from contenders import contenders
from jobs import JOBS
from run import set_environment

SIZES = [50_000, 100_000, 200_000, 400_000, 1_000_000]
CLASS = 100
PATIENCE = 30.0  # seconds; a size is measured again only if it was done within so long


def main() -> None:
    arguments = _parser().parse_args()
    if arguments.markdown:
        report.check_markers(arguments.markdown, "growth")
    set_environment(arguments.threads)
    facts = report.header(arguments.threads)
    measured = []
    for n in arguments.sizes:
        print(f"{n:,} rows", file=sys.stderr, flush=True)
        case = cases.synthetic(f"{n}x{arguments.dim}x{n // CLASS}")
        measured.append(measure.alone(_measured, case, arguments.threads))
    print(table := _table(measured))
    if arguments.markdown:
        report.replace_between_markers(arguments.markdown, "growth", table)
    if arguments.plot:
        _draw(measured, arguments.plot)
    everything = json.dumps({"header": facts, "sizes": measured}, indent=1)
    if arguments.json:
        arguments.json.write_text(everything + "\n", encoding="utf-8")
    else:
        print(f"\n{everything}")


def _measured(case: cases.Case, threads: int) -> dict[str, Any]:
    ours = contenders(all_kernel_sets=False, heavy=False)[0]
    x, labels = case.load()
    ours.mine(*measure.part(x, labels), JOBS["hard"], threads)
    seconds: list[float] = []

    def call() -> None:
        start = time.perf_counter()
        ours.mine(x, labels, JOBS["hard"], threads)
        seconds.append(time.perf_counter() - start)

    peak = measure.peak_of(call)
    while len(seconds) < 3 and sum(seconds) < PATIENCE:
        call()
    return {**case.as_dict(), "seconds": seconds, "peak_bytes": peak, "input_bytes": x.nbytes}


def _table(measured: list[dict[str, Any]]) -> str:
    rows = [["rows × dimensions", "seconds", "ns a pair of rows", "input MB", "peak extra MB"]]
    for size in measured:
        n, seconds = size["n"], median(size["seconds"])
        pairs, peak = n * (n - 1) / 2, size["peak_bytes"]
        rows.append(
            [
                f"{n:,} × {size['d']}",
                f"{seconds:.2f}",
                f"{seconds / pairs * 1e9:.3f}",
                f"{size['input_bytes'] / 1e6:.0f}",
                "–" if peak is None else f"{peak / 1e6:.0f}",
            ]
        )
    return report.aligned(rows)


def _draw(measured: list[dict[str, Any]], path: Path) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter, NullLocator

    n = [size["n"] for size in measured]
    seconds = [median(size["seconds"]) for size in measured]
    with mpl.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(8, 3.2), layout="constrained")
        time_axes, memory_axes = figure.subplots(1, 2)
        time_axes.loglog(n, seconds, "o-", label="hard mining")
        guide = [seconds[-1] * (m / n[-1]) ** 2 for m in n]
        time_axes.loglog(n, guide, ":", color="grey", label="in proportion to n²")
        time_axes.set_ylabel("seconds")
        if all(size["peak_bytes"] is not None for size in measured):
            peak = [size["peak_bytes"] / 1e6 for size in measured]
            memory_axes.loglog(n, peak, "o-", label="peak beyond the input")
        inputs = [size["input_bytes"] / 1e6 for size in measured]
        memory_axes.loglog(n, inputs, ":", color="grey", label="the input itself")
        memory_axes.set_ylabel("MB")
        for axes in (time_axes, memory_axes):
            axes.set_xlabel("thousands of rows")
            axes.set_xticks(n, labels=[f"{m / 1000:g}" for m in n])
            axes.xaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.legend(frameon=False)
        figure.savefig(path, dpi=150)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Time and memory of hard mining against size.")
    add = parser.add_argument
    add("--sizes", type=int, nargs="+", default=SIZES, metavar="N", help="numbers of rows")
    add("--dim", type=int, default=128)
    add("--threads", type=int, default=os.cpu_count() or 1)
    add("--plot", type=Path, metavar="FILE.png")
    add("--json", type=Path, metavar="FILE", help="instead of the standard output")
    add("--markdown", type=Path, metavar="FILE", help="write the table between its two markers")
    return parser


if __name__ == "__main__":
    main()
