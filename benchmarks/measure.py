"""How it is measured: time, memory and wrong picks. Each function runs in a process of its own.

Times: all contenders in one process, one after the other, again and again (A B C A B C …), so that
a slow minute of the machine hits all of them. Memory: each contender in a fresh process. Wrong
picks: against ``tripletmine.reference``, the float64 definition, on a sample of the anchors.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

import jobs
from cases import Case, Labels, Rows
from contenders import Contender
from jobs import Answer, Indices, Job, Known

SETTLE = 0.1  # seconds: the threads of the contender before spin for a while
LISTEN = 0.1  # seconds: then all that runs is the work of others
WARM_UP_CLASSES = 16


@dataclass(frozen=True)
class Options:
    """What all measurements share."""

    threads: int
    repeats: int
    sample: int
    patience: float  # seconds; a round is not begun later than so long after the first
    shortest: float  # seconds; faster calls are repeated within a measurement


def alone(function: Any, *arguments: Any) -> Any:
    """Return ``function(*arguments)`` of a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def truth(case: Case, asked: list[Job], options: Options) -> dict[str, Known]:
    """Return the answers to each job, by definition, for a random sample of anchors."""
    sample = np.random.default_rng(1).permutation(case.n)[: options.sample]
    parts = np.array_split(np.sort(sample), min(options.threads, len(sample)))
    with ProcessPoolExecutor(options.threads, mp_context=get_context("spawn")) as pool:
        found = list(
            pool.map(_truth_of, *zip(*[(case, part, asked) for part in parts], strict=True))
        )
    return {
        job.name: {anchor: right for part in found for anchor, right in part[job.name].items()}
        for job in asked
    }


def _truth_of(case: Case, sample: Indices, asked: list[Job]) -> dict[str, Known]:
    x, labels = case.load()
    return {job.name: jobs.known(job, x, labels, sample) for job in asked}


def times(
    case: Case, job: Job, chosen: list[Contender], known: Known, options: Options
) -> tuple[dict[str, dict[str, Any]], float]:
    """Return each contender's seconds, round by round, and wrong picks; then the others' load."""
    x, labels = case.load()
    small = part(x, labels)
    loops: dict[str, int] = {}
    for contender in chosen:
        contender.mine(*small, job, options.threads)
        loops[contender.name] = 1
        if case.is_batch:
            loops[contender.name] = _loops(contender, x, labels, job, options)
    busy: list[float] = []
    seconds: dict[str, list[float]] = {contender.name: [] for contender in chosen}
    answers: dict[str, Answer] = {}
    end = time.perf_counter() + options.patience
    for done in range(options.repeats):
        if done > 0 and time.perf_counter() > end:
            break
        for contender in chosen:
            time.sleep(SETTLE)
            busy.append(_busy_elsewhere())
            start = time.perf_counter()
            for _ in range(loops[contender.name]):
                answers[contender.name] = contender.mine(x, labels, job, options.threads)
            seconds[contender.name].append((time.perf_counter() - start) / loops[contender.name])
    results = {
        name: {"seconds": seconds[name], **jobs.compared(job, x, answers[name], known)}
        for name in seconds
    }
    return results, sum(busy) / len(busy)


def _busy_elsewhere() -> float:
    """Return the part of the machine's time that others use, while this process sleeps."""
    before = _jiffies()
    time.sleep(LISTEN)
    passed = _jiffies() - before
    idle = passed[3] + passed[4]  # proc(5): user, nice, system, idle, iowait, …
    return float(1 - idle / passed.sum()) if passed.sum() else 0.0


def _jiffies() -> Indices:
    try:
        line = Path("/proc/stat").read_text().partition("\n")[0]
    except OSError:
        return np.zeros(5, np.int64)
    return np.array(line.split()[1:9], np.int64)


def _loops(contender: Contender, x: Rows, labels: Labels, job: Job, options: Options) -> int:
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < options.shortest:
        contender.mine(x, labels, job, options.threads)
        done += 1
    return done


def part(x: Rows, labels: Labels) -> tuple[Rows, Labels]:
    """Return a few classes: enough to load a library and to start its threads."""
    kept = np.isin(labels, np.unique(labels)[:WARM_UP_CLASSES])
    return x[kept], labels[kept]


def memory(case: Case, job: Job, contender: Contender, options: Options) -> int | None:
    """Return by how many bytes one call raises the peak of this process (Linux only).

    Taken after the rows are in memory and the libraries loaded and used once.
    ``resource.getrusage`` would not do: its peak cannot be reset, so it hides what a call takes
    under what loading took.
    """
    x, labels = case.load()
    contender.mine(*part(x, labels), job, options.threads)
    return peak_of(lambda: contender.mine(x, labels, job, options.threads))


def peak_of(call: Callable[[], object]) -> int | None:
    _give_back()
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew: proc(5)
    except OSError:
        call()
        return None
    before = _status("VmRSS")
    call()
    return max(0, _status("VmHWM") - before)


def _give_back() -> None:
    """Return freed memory to the system: a call that used it again would seem to take none."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))
