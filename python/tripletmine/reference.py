"""The definition, in plain NumPy: slow, obvious, and the oracle of the tests.

The same calls as the package's, with the same arguments and errors, computed as
``docs/semantics.md`` says and in no cleverer way: every distance in float64 by the canonical sums,
every choice by sorting ``(d, index)``. Memory grows with n·m.

Examples
--------
>>> import numpy as np, tripletmine
>>> x = np.random.default_rng(0).normal(size=(40, 5))
>>> ours = tripletmine.mine(x, np.arange(40) % 4, pos_strategy="hard", neg_strategy="hard")
>>> truth = tripletmine.reference.mine(x, np.arange(40) % 4, pos_strategy="hard",
...                                    neg_strategy="hard")
>>> bool(np.array_equal(ours.as_array(), truth.as_array()))
True
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tripletmine import _arguments, _options
from tripletmine._arguments import MineArguments, mine_arguments
from tripletmine._results import MiningReport, Triplets

Float64s = npt.NDArray[np.float64]

_LANES = 8
_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15


def sum8(terms: Float64s) -> Float64s:
    """Sum over the last axis by eight partial sums in a fixed order.

    Parameters
    ----------
    terms : ndarray of float64, shape (..., d)

    Returns
    -------
    ndarray of float64, shape (...)

    Examples
    --------
    >>> import numpy as np
    >>> float(sum8(np.arange(10.0)))
    45.0
    """
    partial = np.zeros((*terms.shape[:-1], _LANES))
    for k in range(terms.shape[-1]):
        partial[..., k % _LANES] += terms[..., k]
    p = [partial[..., lane] for lane in range(_LANES)]
    total: Float64s = ((p[0] + p[4]) + (p[2] + p[6])) + ((p[1] + p[5]) + (p[3] + p[7]))
    return total


def distance_matrix(x: npt.ArrayLike, y: npt.ArrayLike, metric: str) -> Float64s:
    """Return the canonical float64 distances of all rows of ``x`` to all rows of ``y``.

    Examples
    --------
    >>> import numpy as np
    >>> distance_matrix(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0]]), "euclidean")
    array([[5.]])
    """
    a, b = _widened("x", np.asarray(x)), _widened("y", np.asarray(y))
    return np.stack([_distances_to(row, b, metric) for row in a])


def _distances_to(row: Float64s, rows: Float64s, metric: str) -> Float64s:
    if metric in ("euclidean", "sqeuclidean"):
        squares = sum8((row - rows) * (row - rows))
        return np.sqrt(squares) if metric == "euclidean" else squares
    dots = sum8(row * rows)
    if metric == "dot":
        return -dots
    norm2, norms2 = sum8(row * row), sum8(rows * rows)
    tiny = np.finfo(np.float64).tiny
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        product = norm2 * norms2
        in_range = (product >= tiny) & np.isfinite(product)
        norms = np.where(in_range, np.sqrt(product), np.sqrt(norm2) * np.sqrt(norms2))
        distances = np.maximum(0.0, 1.0 - dots / norms)
    return np.where((norm2 == 0.0) | (norms2 == 0.0), 1.0, distances)


def _widened(
    name: str, matrix: npt.NDArray[Any] | None, chosen: npt.NDArray[np.int64] | None = None
) -> Float64s:
    """Return the exact values of all rows, or of those chosen, as float64, all finite."""
    assert matrix is not None
    numbers = np.arange(len(matrix)) if chosen is None else chosen
    rows = matrix[numbers]
    if rows.dtype == np.uint16:  # the bits of bfloat16
        rows = (rows.astype(np.uint32) << 16).view(np.float32)
    wide = rows.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(wide).all(axis=1))
    if bad.size:
        row = wide[bad[0]]
        column = int(np.flatnonzero(~np.isfinite(row))[0])
        value = "NaN" if math.isnan(row[column]) else str(row[column])
        raise ValueError(
            f"{name}: row {numbers[bad[0]]} holds {value} at column {column}, expected finite "
            "values"
        )
    return wide


def mine(
    embeddings: npt.ArrayLike,
    labels: npt.ArrayLike,
    ref_emb: npt.ArrayLike | None = None,
    ref_labels: npt.ArrayLike | None = None,
    *,
    pos_strategy: str = "easy",
    neg_strategy: str = "semihard",
    metric: str = "cosine",
    margin: float | None = None,
    type_of_triplets: str = "all",
    fallback: str = "drop",
    num_negatives: int = 1,
    range_min: int = 0,
    allowed_pos_range: tuple[float, float] | None = None,
    allowed_neg_range: tuple[float, float] | None = None,
    groups: npt.ArrayLike | None = None,
    ref_groups: npt.ArrayLike | None = None,
    anchors: npt.ArrayLike | slice | None = None,
    max_triplets: int | None = None,
    seed: int = 0,
    n_threads: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Triplets:
    """Do what :func:`tripletmine.mine` does, anchor by anchor."""
    arguments = mine_arguments(
        embeddings,
        labels,
        ref_emb,
        ref_labels,
        pos_strategy=pos_strategy,
        neg_strategy=neg_strategy,
        metric=metric,
        margin=margin,
        type_of_triplets=type_of_triplets,
        fallback=fallback,
        num_negatives=num_negatives,
        range_min=range_min,
        allowed_pos_range=allowed_pos_range,
        allowed_neg_range=allowed_neg_range,
        groups=groups,
        ref_groups=ref_groups,
        anchors=anchors,
        max_triplets=max_triplets,
        seed=seed,
        n_threads=n_threads,
        progress=progress,
    )
    start = time.perf_counter()
    rows: list[tuple[int, int, int, float, float, bool]] = []
    without_positive = without_negative = fell_back = 0
    own = arguments.ref_emb is None
    if own:
        y = _widened("embeddings", arguments.embeddings)
        x = y[arguments.rows]
    else:
        y = _widened("ref_emb", arguments.ref_emb)
        x = _widened("embeddings", arguments.embeddings, arguments.rows)
    for anchor, row in zip(arguments.rows.tolist(), x, strict=True):
        chosen = _Anchor(arguments, anchor, _distances_to(row, y, arguments.metric))
        positives = chosen.positives()
        without_positive += not positives
        without_negative += not chosen.has_negatives(positives)
        for positive in positives:
            negatives, is_fallback = chosen.negatives(positive)
            fell_back += is_fallback
            for negative in negatives:
                d_ap, d_an = float(chosen.d[positive]), float(chosen.d[negative])
                if _wanted(arguments, d_an - d_ap):
                    rows.append((anchor, positive, negative, d_ap, d_an, is_fallback))
    if arguments.max_triplets is not None and len(rows) > arguments.max_triplets:
        raise ValueError(
            f"max_triplets: found {len(rows)} triplets, expected at most {arguments.max_triplets}"
        )
    n_anchors = len(arguments.rows)
    pairs = n_anchors * (len(y) - own)
    report = MiningReport(
        anchors=n_anchors,
        anchors_without_positive=without_positive,
        anchors_without_negative=without_negative,
        fell_back=fell_back,
        triplets=len(rows),
        zero_rows=sum(int((sum8(side * side) == 0.0).sum()) for side in ((y,) if own else (x, y))),
        pairs_considered=pairs,
        pairs_decided=pairs,
        seconds=time.perf_counter() - start,
        threads=1,
        instruction_set="reference",
    )
    a, p, n, to_p, to_n, fell = zip(*rows, strict=True) if rows else [()] * 6
    return Triplets(
        anchors=np.array(a, dtype=np.int64),
        positives=np.array(p, dtype=np.int64),
        negatives=np.array(n, dtype=np.int64),
        d_ap=np.array(to_p, dtype=np.float64),
        d_an=np.array(to_n, dtype=np.float64),
        fell_back=np.array(fell, dtype=np.bool_),
        report=report,
    )


class _Anchor:
    """One anchor, its distances, and what it may be paired with."""

    def __init__(self, arguments: MineArguments, anchor: int, distances: Float64s) -> None:
        self.arguments = arguments
        self.anchor = anchor
        self.d = distances
        own = arguments.ref_emb is None
        labels = arguments.labels if own else arguments.ref_labels
        groups = arguments.groups if own else arguments.ref_groups
        same_label = labels == arguments.labels[anchor]
        allowed = np.ones(len(distances), dtype=bool)
        if own:
            allowed[anchor] = False
        self.candidates = {  # before groups and ranges: what a random order shuffles
            "positive": np.flatnonzero(same_label & allowed),
            "negative": np.flatnonzero(~same_label),
        }
        if groups is not None:
            assert arguments.groups is not None
            allowed &= groups != arguments.groups[anchor]
        self.eligible = {
            "positive": self._eligible("positive", allowed, arguments.pos_range),
            "negative": self._eligible("negative", allowed, arguments.neg_range),
        }

    def _eligible(
        self, role: str, allowed: npt.NDArray[np.bool_], distances: tuple[float, float]
    ) -> list[int]:
        low, high = distances
        inside = allowed & (low <= self.d) & (self.d <= high)
        return [j for j in self.candidates[role].tolist() if inside[j]]

    def positives(self) -> list[int]:
        """Return the chosen positives, ascending by index."""
        strategy = self.arguments.pos_strategy
        if strategy == "all":
            return self.eligible["positive"]
        order = self._order("positive", "hard" if strategy == "semihard" else strategy)
        if strategy == "semihard":
            chosen = self._window(self._order("negative", self.arguments.neg_strategy))
            order = [j for j in order if chosen and self.d[j] < min(self.d[n] for n in chosen)]
        return order[:1]

    def negatives(self, positive: int) -> tuple[list[int], bool]:
        """Return a positive's negatives in order, and whether they are the fallback."""
        arguments = self.arguments
        if arguments.neg_strategy == "all":
            return self.eligible["negative"], False
        if arguments.neg_strategy == "semihard":
            farther = [j for j in self._order("negative", "hard") if self.d[j] > self.d[positive]]
            if farther or arguments.fallback == "drop":
                return self._window(farther), False
            negatives = self._window(self._order("negative", arguments.fallback))
            return negatives, bool(negatives)
        partner = positive if arguments.pos_strategy == "all" else None
        return self._window(self._order("negative", arguments.neg_strategy, partner)), False

    def has_negatives(self, positives: list[int]) -> bool:
        """Whether any positive gets a negative; without one, whether the strategy finds any."""
        strategy = self.arguments.neg_strategy
        if strategy == "all":
            return bool(self.eligible["negative"])
        per_positive = strategy == "semihard" or (
            strategy == "random" and self.arguments.pos_strategy == "all"
        )
        if per_positive:
            return any(self.negatives(positive)[0] for positive in positives)
        return bool(self._window(self._order("negative", strategy)))

    def _window(self, order: list[int]) -> list[int]:
        start = self.arguments.range_min
        return order[start : start + self.arguments.num_negatives]

    def _order(self, role: str, strategy: str, partner: int | None = None) -> list[int]:
        if strategy == "random":
            eligible = set(self.eligible[role])
            return [j for j in self._shuffled(role, partner) if j in eligible]
        farthest_first = (strategy == "hard") == (role == "positive")
        sign = -1.0 if farthest_first else 1.0
        return sorted(self.eligible[role], key=lambda j: (sign * self.d[j], j))

    def _shuffled(self, role: str, partner: int | None) -> list[int]:
        """Fisher–Yates from the front, by a generator keyed by (seed, anchor, role, draw).

        Where every positive gets its own draw, its index is part of the key.
        """
        order: list[int] = self.candidates[role].tolist()
        stream = 2 * self.anchor + (2 if role == "negative" else 1)
        key = _mix(_mix(self.arguments.seed + _GOLDEN) + _GOLDEN * stream)
        if partner is not None:
            key = _mix(key ^ (_GOLDEN * (partner + 1) & _MASK))
        for t in range(len(order)):
            bits = _mix(key + _GOLDEN * (t + 1))
            other = t + (bits * (len(order) - t) >> 64)
            order[t], order[other] = order[other], order[t]
        return order


def _mix(z: int) -> int:
    """Scramble 64 bits: the finaliser of SplitMix64 (Steele, Lea and Flood, 2014)."""
    z &= _MASK
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & _MASK
    return z ^ (z >> 31)


def _wanted(arguments: MineArguments, t: float) -> bool:
    margin = math.inf if arguments.margin is None else arguments.margin
    return {
        "all": t <= margin,
        "hard": t <= 0.0,
        "semihard": 0.0 < t <= margin,
        "easy": t > margin,
    }[arguments.type_of_triplets]


def nearest(
    x: npt.ArrayLike,
    y: npt.ArrayLike | None = None,
    k: int = 1,
    *,
    metric: str = "cosine",
    n_threads: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[npt.NDArray[np.int64], Float64s]:
    """Do what :func:`tripletmine.nearest` does, by sorting whole rows."""
    rows, refs, metric = _arguments.pair_arguments(x, y, metric)
    k = _arguments.neighbours(k, rows, refs)
    _options.threads(n_threads)
    _options.progress(progress)
    wide = _widened("x", rows)
    others = wide if refs is None else _widened("y", refs)
    indices = np.empty((len(wide), k), dtype=np.int64)
    distances = np.empty((len(wide), k))
    for i, row in enumerate(wide):
        d = _distances_to(row, others, metric)
        order = np.lexsort((np.arange(len(d)), d))
        if refs is None:
            order = order[order != i]
        indices[i], distances[i] = order[:k], d[order[:k]]
    return indices, distances


def pairwise_distances(
    x: npt.ArrayLike,
    y: npt.ArrayLike | None = None,
    *,
    metric: str = "cosine",
    out: npt.NDArray[np.float32] | None = None,
    n_threads: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> npt.NDArray[np.float32]:
    """Do what :func:`tripletmine.pairwise_distances` does: the distance matrix, rounded."""
    rows, refs, metric = _arguments.pair_arguments(x, y, metric)
    _options.threads(n_threads)
    _options.progress(progress)
    wide = _widened("x", rows)
    others = wide if refs is None else _widened("y", refs)
    result = _arguments.output(out, (len(wide), len(others)))
    result[...] = np.stack([_distances_to(row, others, metric) for row in wide])
    return result
