"""``census``, triplet by triplet."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tripletmine import _arguments, _options
from tripletmine._arguments import MineArguments
from tripletmine._census import Census, gathered
from tripletmine.reference._distances import Float64s, distances_to, sum8, widened


def census(
    embeddings: npt.ArrayLike,
    labels: npt.ArrayLike,
    ref_emb: npt.ArrayLike | None = None,
    ref_labels: npt.ArrayLike | None = None,
    *,
    margins: npt.ArrayLike,
    metric: str = "cosine",
    per: str | None = None,
    groups: npt.ArrayLike | None = None,
    ref_groups: npt.ArrayLike | None = None,
    anchors: npt.ArrayLike | slice | None = None,
    n_threads: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Census:
    """Do what :func:`tripletmine.census` does, with every triplet's own distances."""
    arguments = _arguments.all_triplets(
        embeddings,
        labels,
        ref_emb,
        ref_labels,
        metric=metric,
        groups=groups,
        ref_groups=ref_groups,
        anchors=anchors,
        n_threads=n_threads,
        progress=progress,
    )
    numbers = _options.margins(margins)
    split = None if per is None else _options.choice("per", per, _options.PERS)
    start = time.perf_counter()
    all_pairs = Pairs(arguments)
    shape = (len(arguments.rows), len(numbers))
    triplets, hard = np.zeros(shape[0], dtype=np.int64), np.zeros(shape[0], dtype=np.int64)
    with_loss, loss = np.zeros(shape, dtype=np.int64), np.zeros(shape)
    lonely = {"positive": 0, "negative": 0}
    for i in range(shape[0]):
        positives, negatives, d = all_pairs.of(i)
        lonely["positive"] += not len(positives)
        lonely["negative"] += not len(negatives)
        t = d[negatives] - d[positives][:, None]
        triplets[i], hard[i] = t.size, (t <= 0.0).sum()
        for m, margin in enumerate(numbers):
            with_loss[i, m] = (t <= margin).sum()
            # margin + d_ap − d_an, summed without rounding in between.
            d_ap, d_an = np.broadcast_arrays(d[positives][:, None], d[negatives])
            active = t <= margin
            terms = [np.full(active.sum(), margin), d_ap[active], -d_an[active]]
            loss[i, m] = max(0.0, math.fsum(np.concatenate(terms)))
    report = all_pairs.report(lonely, time.perf_counter() - start)
    return gathered(arguments, labels, numbers, split, triplets, hard, with_loss, loss, report)


class Pairs:
    """The rows of a call widened, and every anchor's positives, negatives and distances."""

    def __init__(self, arguments: MineArguments) -> None:
        self.arguments = arguments
        self.own = arguments.ref_emb is None
        self.known: dict[int, Float64s] = {}
        if self.own:
            self.y = widened("embeddings", arguments.embeddings)
            self.x = self.y[arguments.rows]
        else:
            self.y = widened("ref_emb", arguments.ref_emb)
            self.x = widened("embeddings", arguments.embeddings, arguments.rows)

    def of(self, i: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Float64s]:
        """Return the i-th anchor's positives and negatives, ascending, and all distances."""
        arguments = self.arguments
        anchor = arguments.rows[i]
        labels = arguments.labels if self.own else arguments.ref_labels
        groups = arguments.groups if self.own else arguments.ref_groups
        same = labels == arguments.labels[anchor]
        allowed = np.ones(len(self.y), dtype=bool)
        if self.own:
            allowed[anchor] = False
        if groups is not None:
            assert arguments.groups is not None
            allowed &= groups != arguments.groups[anchor]
        if i not in self.known:
            self.known[i] = distances_to(self.x[i], self.y, arguments.metric)
        return np.flatnonzero(same & allowed), np.flatnonzero(~same & allowed), self.known[i]

    def report(self, lonely: dict[str, int], seconds: float) -> dict[str, int | float | str]:
        """Return the report of a call that looked at all pairs."""
        n_anchors = len(self.x)
        sides = (self.y,) if self.own else (self.x, self.y)
        pairs = n_anchors * (len(self.y) - self.own)
        return {
            "anchors": n_anchors,
            "anchors_without_positive": lonely["positive"],
            "anchors_without_negative": lonely["negative"],
            "fell_back": 0,
            "zero_rows": sum(int((sum8(side * side) == 0.0).sum()) for side in sides),
            "pairs_considered": pairs,
            "pairs_decided": pairs,
            "seconds": seconds,
            "threads": 1,
            "instruction_set": "reference",
            "plan": "float64",
        }
