"""``mine``, anchor by anchor."""

from __future__ import annotations

import math
import time
from bisect import bisect_right
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tripletmine._arguments import MineArguments, mine_arguments
from tripletmine._results import MiningReport, Triplets
from tripletmine.reference._distances import Float64s, distances_to, sum8, widened
from tripletmine.reference._random import GOLDEN, MASK, mix


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
        y = widened("embeddings", arguments.embeddings)
        x = y[arguments.rows]
    else:
        y = widened("ref_emb", arguments.ref_emb)
        x = widened("embeddings", arguments.embeddings, arguments.rows)
    for anchor, row in zip(arguments.rows.tolist(), x, strict=True):
        chosen = _Anchor(arguments, anchor, distances_to(row, y, arguments.metric))
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
        plan="float64",
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
        self.orders: dict[tuple[str, float], list[int]] = {}

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
            order = self._order("negative", "hard")
            farther = order[bisect_right(order, self.d[positive], key=lambda j: self.d[j]) :]
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
        if (role, sign) not in self.orders:  # every positive of the anchor asks for the same
            order = sorted(self.eligible[role], key=lambda j: (sign * self.d[j], j))
            self.orders[role, sign] = order
        return self.orders[role, sign]

    def _shuffled(self, role: str, partner: int | None) -> list[int]:
        """Fisher–Yates from the front, by a generator keyed by (seed, anchor, role, draw).

        Where every positive gets its own draw, its index is part of the key.
        """
        order: list[int] = self.candidates[role].tolist()
        stream = 2 * self.anchor + (2 if role == "negative" else 1)
        key = mix(mix(self.arguments.seed + GOLDEN) + GOLDEN * stream)
        if partner is not None:
            key = mix(key ^ (GOLDEN * (partner + 1) & MASK))
        for t in range(len(order)):
            bits = mix(key + GOLDEN * (t + 1))
            other = t + (bits * (len(order) - t) >> 64)
            order[t], order[other] = order[other], order[t]
        return order


def _wanted(arguments: MineArguments, t: float) -> bool:
    margin = math.inf if arguments.margin is None else arguments.margin
    return {
        "all": t <= margin,
        "hard": t <= 0.0,
        "semihard": 0.0 < t <= margin,
        "easy": t > margin,
    }[arguments.type_of_triplets]
