"""The benchmark: cases × jobs × contenders, one harness. ``python benchmarks/run.py --help``.

    run ──> cases        what is mined
     │      jobs         what is asked, and which answers are wrong
     │      contenders   who mines: tripletmine and its peers
     ├────> measure      time, memory, wrong answers; each in a process of its own
     └────> report       the tables

Beside it: ``growth.py`` (time and memory against the number of rows) and ``kernels.cpp``.

This process only starts the others: it holds no rows and computes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import cases
import measure
import report
from contenders import Contender, contenders
from jobs import JOBS

TABLES = "tables"  # the markers of the page
BATCHES = ["64x64x8", "256x128x32", "512x256x64", "1024x256x64"]
SYNTHETIC = ["60000x128x1000", "30000x768x500"]
UNPRUNABLE = ["20000x16x200", "20000x512x200"]
SHARING = ["20000x384x200"]
QUICK = ["2500x32x50", "100x16x10"]
QUICK_UNPRUNABLE = ["2100x16x21"]
QUICK_SHARING = ["2100x70x21"]


def main() -> None:
    arguments = _parser().parse_args()
    if (arguments.embeddings is None) != (arguments.labels is None):
        sys.exit("--embeddings and --labels: expected both or none")
    if arguments.markdown:
        report.check_markers(arguments.markdown, TABLES)
    set_environment(arguments.threads)
    options = measure.Options(
        threads=arguments.threads,
        repeats=arguments.repeats or (1 if arguments.quick else 5),
        sample=arguments.sample or (20 if arguments.quick else 200),
        patience=arguments.patience,
        shortest=0.005 if arguments.quick else 0.05,
    )
    known = contenders(all_kernel_sets=arguments.all_kernel_sets, heavy=arguments.with_heavy)
    wanted = [c for c in known if _matches(c.name, arguments.contenders)]
    present = [contender for contender in wanted if contender.is_installed()]
    absent = dict.fromkeys(c.name for c in wanted if not c.is_installed())
    facts = report.header(arguments.threads)
    if absent:
        facts["absent"] = ", ".join(absent)
    tables: list[dict[str, Any]] = []
    for case in _cases(arguments):
        if _matches(case.name, arguments.cases):
            tables += _measured(case, arguments, present, options)
    text = report.as_markdown(facts, tables)
    print(text)
    if arguments.markdown:
        report.replace_between_markers(arguments.markdown, TABLES, text)
    if arguments.json:
        everything = {"header": facts, "options": vars(options), "tables": tables}
        arguments.json.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")


def _measured(
    case: cases.Case,
    arguments: argparse.Namespace,
    present: list[Contender],
    options: measure.Options,
) -> list[dict[str, Any]]:
    asked = [job for name, job in JOBS.items() if name in arguments.jobs and job.is_for(case)]
    if not asked:
        return []
    _say(f"{case.described()}: the truth")
    known = measure.truth(case, asked, options)
    tables = []
    for job in asked:
        able = [contender for contender in present if contender.is_for(case, job)]
        chosen = [contender for contender in able if contender.why_not(case, job) is None]
        if not chosen:
            continue
        _say(f"{case.described()}: {job.name}: time")
        results, busy = measure.alone(measure.times, case, job, chosen, known[job.name], options)
        _say(f"{case.described()}: {job.name}: memory")
        for contender in chosen:
            is_wanted = not arguments.quick or (contender is chosen[0] and job is asked[0])
            results[contender.name]["peak_bytes"] = (
                measure.alone(measure.memory, case, job, contender, options) if is_wanted else None
            )
        report.add_ratios(results)
        tables.append(
            {
                "title": f"{case.described()}: {job.title}",
                "case": case.as_dict(),
                "job": job.name,
                "rounds_wanted": options.repeats,
                "results": results,
                "busy_elsewhere": busy,
                "left_out": [c.why_not(case, job) for c in able if c not in chosen],
            }
        )
    return tables


def _cases(arguments: argparse.Namespace) -> list[cases.Case]:
    sizes = QUICK if arguments.quick else [*SYNTHETIC, *BATCHES]
    hard_to_prune = QUICK_UNPRUNABLE if arguments.quick else UNPRUNABLE
    sharing = QUICK_SHARING if arguments.quick else SHARING
    if arguments.synthetic:
        sizes, hard_to_prune, sharing = arguments.synthetic, [], []
    found = [cases.synthetic(size) for size in sizes]
    found += [cases.unprunable(size) for size in arguments.unprunable or hard_to_prune]
    for kind in cases.COMMON:
        found += [cases.close_together(size, kind) for size in arguments.sharing or sharing]
    if arguments.embeddings is not None:
        found.insert(0, cases.of_files(arguments.embeddings, arguments.labels))
    return found


def set_environment(threads: int) -> None:
    """Give every library of the measuring processes the same threads and its best kernels.

    An OpenBLAS that is older than the processor (faiss wheels bring one) does not know it and
    takes its SSE3 kernels: three times slower, and nothing that a peer should be blamed for.
    """
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return
    if "avx512vl" in flags:
        os.environ.setdefault("OPENBLAS_CORETYPE", "SkylakeX")
    elif "avx2" in flags:
        os.environ.setdefault("OPENBLAS_CORETYPE", "Haswell")


def _matches(name: str, wanted: list[str] | None) -> bool:
    return wanted is None or any(part in name for part in wanted)


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Time tripletmine and its peers.")
    add = parser.add_argument
    add("--embeddings", type=Path, metavar="FILE.npy", help="a set of your own, with --labels")
    add("--labels", type=Path, metavar="FILE.npy")
    add("--synthetic", nargs="+", metavar="NxDxC", help="rows, dimensions, classes of each set")
    add("--unprunable", nargs="+", metavar="NxDxC", help="the same of sets of random directions")
    add("--sharing", nargs="+", metavar="NxDxC", help="the same of sets whose rows share much")
    add("--cases", nargs="+", metavar="PART", help="only cases with this in their name")
    add("--contenders", nargs="+", metavar="PART", help="only contenders with this in their name")
    add("--jobs", nargs="+", choices=tuple(JOBS), default=list(JOBS))
    add("--threads", type=int, default=os.cpu_count() or 1)
    add("--repeats", type=int, help="rounds of all contenders (default: 5)")
    add("--patience", type=float, default=120, help="seconds of rounds for a table (default: 120)")
    add("--sample", type=int, help="anchors compared with the definition (default: 200)")
    add("--all-kernel-sets", action="store_true", help="ours with each supported kernel set")
    add("--with-heavy", action="store_true", help="pytorch-metric-learning on whole sets: 14 GB")
    add("--quick", action="store_true", help="tiny sets, one round: does it run?")
    add("--json", type=Path, metavar="FILE", help="write everything that was measured")
    add("--markdown", type=Path, metavar="FILE", help="write the tables between its two markers")
    return parser


if __name__ == "__main__":
    main()
