"""How it is measured: time, memory and wrong picks. Each function runs in a process of its own.

Times: all contenders in one process, one after the other, again and again (A B C A B C …), so that
a slow minute of the machine hits all of them. Memory: each contender in a fresh process. Wrong
picks: against ``tripletmine.reference``, the float64 definition, on a sample of the anchors.
"""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from cases import Case, Labels, Rows
from contenders import Contender, Indices, Picks
from tripletmine import reference

SETTLE = 0.1  # seconds: the threads of the contender before spin for a while
LISTEN = 0.1  # seconds: then all that runs is the work of others
WARM_UP_CLASSES = 16
_Truth = dict[int, tuple[Indices, Indices]]


@dataclass(frozen=True)
class Options:
    """What all measurements share."""

    threads: int
    repeats: int
    sample: int
    shortest: float  # seconds; faster calls are repeated within a measurement


def alone(function: Any, *arguments: Any) -> Any:
    """Return ``function(*arguments)`` of a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def truth(case: Case, most: int, options: Options) -> _Truth:
    """Return positive and hard negatives, by definition, of a random sample of anchors."""
    sample = np.random.default_rng(1).permutation(case.n)[: options.sample]
    parts = np.array_split(np.sort(sample), min(options.threads, len(sample)))
    with ProcessPoolExecutor(options.threads, mp_context=get_context("spawn")) as pool:
        found = pool.map(_truth_of, *zip(*[(case, part, most) for part in parts], strict=True))
        return {anchor: picks for part in found for anchor, picks in part.items()}


def _truth_of(case: Case, sample: Indices, most: int) -> _Truth:
    x, labels = case.load()
    mined = reference.mine(
        x,
        labels,
        pos_strategy="hard",
        neg_strategy="hard",
        num_negatives=most,
        anchors=sample,
    )
    positives, negatives = mined.positives[::most], mined.negatives.reshape(-1, most)
    return {
        int(anchor): (positives[i : i + 1], negatives[i])
        for i, anchor in enumerate(mined.anchors[::most])
    }


def times(
    case: Case, k: int, chosen: list[Contender], known: _Truth, options: Options
) -> tuple[dict[str, dict[str, Any]], float]:
    """Return each contender's seconds, round by round, and wrong picks; then the others' load."""
    x, labels = case.load()
    small = _part(x, labels)
    loops: dict[str, int] = {}
    for contender in chosen:
        contender.mine(*small, k, options.threads)
        loops[contender.name] = 1
        if case.is_batch:
            loops[contender.name] = _loops(contender, x, labels, k, options)
    busy: list[float] = []
    seconds: dict[str, list[float]] = {contender.name: [] for contender in chosen}
    picks: dict[str, Picks] = {}
    for _ in range(options.repeats):
        for contender in chosen:
            time.sleep(SETTLE)
            busy.append(_busy_elsewhere())
            start = time.perf_counter()
            for _ in range(loops[contender.name]):
                picks[contender.name] = contender.mine(x, labels, k, options.threads)
            seconds[contender.name].append((time.perf_counter() - start) / loops[contender.name])
    results = {
        name: {"seconds": seconds[name], **_compared(x, picks[name], known)} for name in seconds
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


def _loops(contender: Contender, x: Rows, labels: Labels, k: int, options: Options) -> int:
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < options.shortest:
        contender.mine(x, labels, k, options.threads)
        done += 1
    return done


def _part(x: Rows, labels: Labels) -> tuple[Rows, Labels]:
    """Return a few classes: enough to load a library and to start its threads."""
    kept = np.isin(labels, np.unique(labels)[:WARM_UP_CLASSES])
    return x[kept], labels[kept]


def _compared(x: Rows, picks: Picks, known: _Truth) -> dict[str, int]:
    """Count the sampled anchors with a pick at another distance, and at the same but another row.

    Distances are the canonical float64 ones. Another row at the very same distance is no mistake
    of a peer; it is only not the lowest index.
    """
    positives, negatives = picks
    k = negatives.shape[1]
    wrong = ties = 0
    for anchor, (positive, hardest) in known.items():
        is_wrong = is_tie = False
        for ours, theirs in (
            (positive, positives[anchor : anchor + 1]),
            (hardest[:k], negatives[anchor]),
        ):
            if np.array_equal(np.sort(ours), np.sort(theirs)):
                continue
            same = np.array_equal(_distances(x, anchor, ours), _distances(x, anchor, theirs))
            is_tie |= same
            is_wrong |= not same
        wrong += is_wrong
        ties += is_tie and not is_wrong
    return {"wrong": wrong, "ties": ties, "sample": len(known)}


def _distances(x: Rows, anchor: int, others: Indices) -> Any:
    return np.sort(reference.distance_matrix(x[[anchor]], x[others], "cosine")[0])


def memory(case: Case, k: int, contender: Contender, options: Options) -> int | None:
    """Return by how many bytes one call raises the peak of this process (Linux only).

    Taken after the rows are in memory and the libraries loaded and used once.
    ``resource.getrusage`` would not do: its peak cannot be reset, so it hides what a call takes
    under what loading took.
    """
    x, labels = case.load()
    contender.mine(*_part(x, labels), k, options.threads)
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew: proc(5)
    except OSError:
        return None
    before = _status("VmRSS")
    contender.mine(x, labels, k, options.threads)
    return max(0, _status("VmHWM") - before)


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))
