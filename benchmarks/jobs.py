"""What is asked: the jobs, their answers by definition, and which answers are wrong.

An answer is what a contender returns for a job:

    ranked     the hardest positive of every row, (n,), and its k hardest negatives in any order,
               (n, k)
    semihard   arrays of anchors, positives and negatives: one triplet for every pair that has one
    within     the same: every triplet that is semi-hard at MARGIN
    census     counts of hard, semi-hard and easy triplets, (n, 3, margins)
    distances  the cosine distance of every two rows, (n, n)

``None`` is the answer of a yardstick, which is timed and answers nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cases import Case, Labels, Rows
from tripletmine import reference

Indices = npt.NDArray[np.int64]
Answer = tuple[npt.NDArray[Any], ...] | None
Known = dict[int, tuple[npt.NDArray[Any], ...]]  # by anchor

MOST_PAIRS = 5_000_000  # that a table of all pairs is asked for
MARGIN = 0.1
MARGINS = (0.05, 0.1, 0.2, 0.3, 0.5)


@dataclass(frozen=True)
class Job:
    """A question; jobs of one kind are answered by the same function of a contender."""

    name: str
    kind: str
    title: str
    k: int = 1

    def is_for(self, case: Case) -> bool:
        """Whether the case is asked this at all."""
        if not case.prunable:
            return self.name == "hard"
        if case.common:
            return self.kind == "ranked"
        if self.kind in ("within", "distances"):
            return case.is_batch
        if self.kind == "semihard":
            return not case.is_batch and case.pairs <= MOST_PAIRS
        return self.kind != "census" or not case.is_batch


JOBS = {
    job.name: job
    for job in (
        Job("hard", "ranked", "hardest positive and negative of every row"),
        Job("top10", "ranked", "hardest positive and ten hardest negatives of every row", 10),
        Job("semihard", "semihard", "semi-hard negative of every pair of anchor and positive"),
        Job("within", "within", f"all semi-hard triplets at margin {MARGIN}"),
        Job("census", "census", "hard, semi-hard and easy triplets of every row at five margins"),
        Job("distances", "distances", "the distances of every two rows"),
    )
}


def known(job: Job, x: Rows, labels: Labels, sample: Indices) -> Known:
    """Return the answer for some anchors, by definition."""
    if job.kind == "census":
        counted = reference.census(x, labels, margins=MARGINS, per="anchor", anchors=sample)
        return dict(zip(sample.tolist(), zip(counts_of(counted), strict=True), strict=True))
    if job.kind == "distances":
        rows = reference.distance_matrix(x[sample], x, "cosine").astype(np.float32)
        return dict(zip(sample.tolist(), zip(rows, strict=True), strict=True))
    strategies: dict[str, dict[str, Any]] = {
        "ranked": {"pos_strategy": "hard", "neg_strategy": "hard", "num_negatives": job.k},
        "semihard": {"pos_strategy": "all", "neg_strategy": "semihard"},
        "within": {
            "pos_strategy": "all",
            "neg_strategy": "all",
            "margin": MARGIN,
            "type_of_triplets": "semihard",
        },
    }
    mined = reference.mine(x, labels, anchors=sample, **strategies[job.kind])
    if job.kind == "ranked":
        positives, negatives = mined.positives[:: job.k], mined.negatives.reshape(-1, job.k)
        anchors = mined.anchors[:: job.k].tolist()
        return {a: (positives[i : i + 1], negatives[i]) for i, a in enumerate(anchors)}
    return _by_anchor((mined.anchors, mined.positives, mined.negatives), sample)


def counts_of(census: Any) -> Indices:
    """Return the counts of a census by anchor, (n, 3, margins)."""
    return np.stack([census.hard, census.semihard, census.easy]).transpose(2, 0, 1)


def _by_anchor(triplets: tuple[Indices, ...], sample: Indices) -> Known:
    """Return positives and negatives of some anchors, sorted."""
    anchors, positives, negatives = triplets
    kept = np.flatnonzero(np.isin(anchors, sample))
    anchors, positives, negatives = anchors[kept], positives[kept], negatives[kept]
    order = np.lexsort((negatives, positives, anchors))
    begins = np.searchsorted(anchors[order], sample, "left")
    ends = np.searchsorted(anchors[order], sample, "right")
    return {
        int(anchor): (positives[order[begin:end]], negatives[order[begin:end]])
        for anchor, begin, end in zip(sample, begins, ends, strict=True)
    }


def compared(job: Job, x: Rows, answer: Answer, right: Known) -> dict[str, int | None]:
    """Count the sampled anchors with a pick at another distance, and at the same but another row.

    Distances are the canonical float64 ones. Another row at the very same distance is no mistake
    of a peer; it is only not the lowest index. Counts are right or wrong, and so are distances:
    the float32 nearest to the definition, or another.
    """
    if answer is None:
        return {"wrong": None, "ties": None, "sample": len(right)}
    sample = np.array(sorted(right), np.int64)
    theirs: Known
    if job.kind == "ranked":
        positives, negatives = answer
        theirs = {a: (positives[a : a + 1], negatives[a]) for a in right}
    elif job.kind in ("census", "distances"):
        theirs = {a: (answer[0][a],) for a in right}
    else:
        theirs = _by_anchor(answer, sample)
    wrong = ties = 0
    for anchor, expected in right.items():
        is_right = is_tie = True
        for i, (a, b) in enumerate(zip(expected, theirs[anchor], strict=True)):
            if job.kind == "ranked":
                a, b = np.sort(a[: job.k]), np.sort(b)
            if np.array_equal(a, b):
                continue
            is_right = False
            is_tie &= job.kind == "ranked" or (job.kind == "semihard" and i == 1)
            is_tie &= a.shape == b.shape
            is_tie = is_tie and _same_distances(x, anchor, a, b, ordered=job.kind == "semihard")
        wrong += not is_right and not is_tie
        ties += not is_right and is_tie
    return {"wrong": wrong, "ties": ties, "sample": len(right)}


def _same_distances(x: Rows, anchor: int, ours: Indices, theirs: Indices, *, ordered: bool) -> bool:
    distances = [reference.distance_matrix(x[[anchor]], x[b], "cosine")[0] for b in (ours, theirs)]
    return np.array_equal(*(distances if ordered else map(np.sort, distances)))
