"""What is shown: the machine, and one table for each case and job, the worst ratio first."""

from __future__ import annotations

import datetime
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import tripletmine

PACKAGES = (
    "tripletmine",
    "numpy",
    "faiss-cpu",
    "scikit-learn",
    "torch",
    "pytorch-metric-learning",
)
OURS = "tripletmine"
QUIET = 0.05  # a part of the machine's time that others may use before a table says so


def header(threads: int) -> dict[str, str]:
    """Return what the figures depend on."""
    supported = [kernels.name for kernels in tripletmine.instruction_sets() if kernels.supported]
    core_type = os.environ.get("OPENBLAS_CORETYPE")
    facts = {
        "date": datetime.date.today().isoformat(),
        "CPU": f"{_cpu_model()}, {os.cpu_count()} cores",
        "kernel set": os.environ.get("TRIPLETMINE_ISA") or supported[0],
        "threads": str(threads),
        "python": platform.python_version(),
        **{package: _version(package) for package in PACKAGES},
    }
    return facts if core_type is None else {**facts, "OPENBLAS_CORETYPE": core_type}


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def add_ratios(results: dict[str, dict[str, Any]]) -> None:
    """Add median, least, most and the ratio to ours: the median of the ratios round by round."""
    ours = results.get(OURS)
    for result in results.values():
        seconds = result["seconds"]
        result |= {"median": median(seconds), "min": min(seconds), "max": max(seconds)}
        if ours is not None:
            ratios = (a / b for a, b in zip(seconds, ours["seconds"], strict=True))
            result["ratio"] = median(ratios)


def as_markdown(facts: dict[str, str], tables: list[dict[str, Any]]) -> str:
    parts = ["\n".join(f"* {name}: {fact}" for name, fact in facts.items())]
    parts += [_table(table) for table in tables]
    return "\n\n".join(parts)


def _table(table: dict[str, Any]) -> str:
    results = table["results"]
    unit, factor = ("s", 1.0) if max(r["median"] for r in results.values()) > 0.5 else ("ms", 1e3)
    sample = max(result["sample"] for result in results.values())
    head = ["contender", f"median {unit}", "min", "max", "ratio to ours", "peak extra MB"]
    rows = [[*head, f"wrong of {sample}"]]
    for name, result in sorted(results.items(), key=lambda item: _worst_first(item[1])):
        row = [name, *(f"{factor * result[key]:.3f}" for key in ("median", "min", "max"))]
        row.append(f"{result['ratio']:.2f}" if "ratio" in result else "–")
        peak = result["peak_bytes"]
        row.append("–" if peak is None else f"{peak / 1e6:.1f}")
        wrong = "–" if result["wrong"] is None else str(result["wrong"])
        row.append(wrong + (f" (ties: {result['ties']})" if result["ties"] else ""))
        rows.append(row)
    text = f"### {table['title']}\n\n{aligned(rows)}"
    if table["rounds_wanted"] > (rounds := len(next(iter(results.values()))["seconds"])):
        text += f"\n\nRounds: {rounds}."
    if table["left_out"]:
        text += f"\n\nNot asked: {', '.join(table['left_out'])}."
    if table["busy_elsewhere"] > QUIET:
        text += (
            f"\n\n**Disturbed**: other work took {table['busy_elsewhere']:.0%} of the machine "
            "meanwhile."
        )
    return text


def _worst_first(result: dict[str, Any]) -> float:
    return float(result.get("ratio", result["median"]))


def aligned(rows: list[list[str]]) -> str:
    """Return a Markdown table, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(_line(row, widths) for row in [rows[0], rule, *rows[1:]])


def _line(cells: list[str], widths: list[int]) -> str:
    first, *others = (
        cell.ljust(width) if i == 0 else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "| " + " | ".join([first, *others]) + " |"


def check_markers(path: Path, name: str) -> None:
    begin, end = _markers(name)
    text = path.read_text(encoding="utf-8")
    if not 0 <= text.find(begin) < text.find(end):
        raise ValueError(f"{path.name}: expected the lines {begin!r} and {end!r}, in this order")


def replace_between_markers(path: Path, name: str, tables: str) -> None:
    check_markers(path, name)
    begin, end = _markers(name)
    before, _, rest = path.read_text(encoding="utf-8").partition(begin)
    after = rest.partition(end)[2]
    path.write_text(f"{before}{begin}\n\n{tables}\n\n{end}{after}", encoding="utf-8")


def _markers(name: str) -> tuple[str, str]:
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
