"""``sample``, draw by draw."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tripletmine._arguments import CUTOFF, NONZERO_LOSS_CUTOFF, SampleArguments, sample_arguments
from tripletmine._results import Triplets
from tripletmine._sample import drawn, nothing_to_draw
from tripletmine.reference._census import Pairs, census
from tripletmine.reference._distances import sum8
from tripletmine.reference._random import GOLDEN, MASK, mix

PROPOSALS = 256
PILOT = 1024
NORM_TOLERANCE = 1e-3

Triplet = tuple[int, int, int, float, float]


def sample(
    embeddings: npt.ArrayLike | None,
    labels: npt.ArrayLike,
    n: int,
    ref_emb: npt.ArrayLike | None = None,
    ref_labels: npt.ArrayLike | None = None,
    *,
    type_of_triplets: str = "any",
    margin: float | None = None,
    metric: str = "cosine",
    weights: str = "uniform",
    cutoff: float = CUTOFF,
    nonzero_loss_cutoff: float = NONZERO_LOSS_CUTOFF,
    groups: npt.ArrayLike | None = None,
    ref_groups: npt.ArrayLike | None = None,
    anchors: npt.ArrayLike | slice | None = None,
    seed: int = 0,
    n_threads: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Triplets:
    """Do what :func:`tripletmine.sample` does, draw by draw."""
    arguments = sample_arguments(
        embeddings,
        labels,
        n,
        ref_emb,
        ref_labels,
        type_of_triplets=type_of_triplets,
        margin=margin,
        metric=metric,
        weights=weights,
        cutoff=cutoff,
        nonzero_loss_cutoff=nonzero_loss_cutoff,
        groups=groups,
        ref_groups=ref_groups,
        anchors=anchors,
        seed=seed,
        n_threads=n_threads,
        progress=progress,
    )
    start = time.perf_counter()
    sampler = _Sampler(arguments)
    triplets: list[Triplet | None] = []
    if arguments.cutoffs is not None:
        sampler.require_norm_1()
        triplets = [None] * arguments.draws
    elif sampler.classes:
        triplets = [sampler.propose(i) for i in range(min(PILOT, arguments.draws))]
        pays = 2 * triplets.count(None) <= len(triplets)
        rest = range(len(triplets), arguments.draws)
        triplets += [sampler.propose(i) if pays else None for i in rest]
    if None in triplets:
        sampler.count()
    if not sampler.classes or (None in triplets and not any(sampler.totals)):
        among = arguments.among
        counted = census(
            among.embeddings if embeddings is None else embeddings,
            labels,
            among.ref_emb if embeddings is None else ref_emb,
            ref_labels,
            margins=among.margin or 0.0,
            metric=metric,
            groups=groups,
            ref_groups=ref_groups,
            anchors=anchors,
        )
        raise nothing_to_draw(arguments, type_of_triplets, counted)
    all_drawn = [sampler.rank(i) if t is None else t for i, t in enumerate(triplets)]
    a, p, negatives, d_ap, d_an = zip(*all_drawn, strict=True)
    return drawn(
        arguments,
        np.array(a, dtype=np.int64),
        np.array(p, dtype=np.int64),
        np.array(negatives, dtype=np.int64),
        np.array(d_ap, dtype=np.float64),
        np.array(d_an, dtype=np.float64),
        sampler.pairs.report(sampler.lonely, time.perf_counter() - start),
    )


class _Sampler:
    """The anchors by class, and the two ways in which a draw becomes a triplet."""

    def __init__(self, arguments: SampleArguments) -> None:
        self.arguments, self.among = arguments, arguments.among
        self.pairs = Pairs(self.among)
        own = self.pairs.own
        candidates = self.among.labels if own else self.among.ref_labels
        assert candidates is not None
        labels = self.among.labels[self.among.rows]
        # Places among the anchors, positives and negatives, of each class that has all three.
        self.classes: list[tuple[list[int], list[int], list[int]]] = []
        self.lonely = {"positive": 0, "negative": 0}
        for label in np.unique(labels):
            places = np.flatnonzero(labels == label).tolist()
            same = np.flatnonzero(candidates == label).tolist()
            others = np.flatnonzero(candidates != label).tolist()
            self.lonely["positive"] += len(places) * (len(same) - own <= 0)
            self.lonely["negative"] += len(places) * (not others)
            if len(same) - own > 0 and others:
                self.classes.append((places, same, others))
        self.shares = [len(a) * (len(s) - own) * len(o) for a, s, o in self.classes]
        self.totals: list[int] = []

    def propose(self, number: int) -> Triplet | None:
        """Draw from the labels until groups and distances agree, or give up."""
        for t in range(0, 4 * PROPOSALS, 4):
            anchors, same, others = self.classes[_share(self.shares, self._bits(number, t))]
            place = anchors[self._below(number, t + 1, len(anchors))]
            anchor = int(self.among.rows[place])
            if self.pairs.own:
                same = [j for j in same if j != anchor]
            positive = same[self._below(number, t + 2, len(same))]
            negative = others[self._below(number, t + 3, len(others))]
            positives, negatives, d = self.pairs.of(place)
            if positive in positives and negative in self._of_kind(negatives, d, positive):
                return anchor, positive, negative, float(d[positive]), float(d[negative])
        return None

    def count(self) -> None:
        """Count the triplets of the kind of every anchor."""
        self.totals = [sum(self._counts(place)) for place in range(len(self.among.rows))]

    def rank(self, number: int) -> Triplet:
        """Draw an anchor and a positive by their counts, and then the negative."""
        t = 4 * PROPOSALS
        place = _share(self.totals, self._bits(number, t))
        rank = self._below(number, t + 1, self.totals[place])
        upto = itertools.accumulate(self._counts(place))
        positives, negatives, d = self.pairs.of(place)
        positive = int(positives[next(i for i, count in enumerate(upto) if count > rank)])
        key = self._bits(number, t + 2)
        eligible = self._of_kind(negatives, d, positive)
        scores = [self._score(float(d[j]), mix(key + GOLDEN * (j + 1))) for j in eligible]
        negative = eligible[scores.index(max(scores))]
        anchor = int(self.among.rows[place])
        return anchor, positive, negative, float(d[positive]), float(d[negative])

    def _counts(self, place: int) -> list[int]:
        """Return for every positive of an anchor what it counts for."""
        positives, negatives, d = self.pairs.of(place)
        counts = [len(self._of_kind(negatives, d, j)) for j in positives.tolist()]
        return [min(count, 1) for count in counts] if self.arguments.cutoffs else counts

    def _of_kind(
        self, negatives: npt.NDArray[np.int64], d: npt.NDArray[np.float64], positive: int
    ) -> list[int]:
        if self.arguments.cutoffs is not None:
            chosen = d[negatives] < self.arguments.cutoffs[1]
        else:
            t = d[negatives] - d[positive]
            margin = math.inf if self.among.margin is None else self.among.margin
            chosen = {
                "all": t <= margin,
                "hard": t <= 0.0,
                "semihard": (t > 0.0) & (t <= margin),
                "easy": t > margin,
            }[self.among.type_of_triplets]
        found: list[int] = negatives[chosen].tolist()
        return found

    def _score(self, distance: float, bits: int) -> float:
        """Return what the highest of wins: uniform, or ln w + a Gumbel variable."""
        high = float(bits >> 12)
        if self.arguments.cutoffs is None:
            return high
        dim = float(self.pairs.y.shape[1])
        d = max(distance, self.arguments.cutoffs[0])
        log_weight = (2.0 - dim) * _log(d) - 0.5 * (dim - 3.0) * _log(1.0 - 0.25 * d * d)
        return log_weight - _log(-_log((high + 0.5) * 2.0**-52))

    def _bits(self, number: int, t: int) -> int:
        key = mix(mix(self.among.seed + 2 * GOLDEN) + GOLDEN * (number + 1))
        return mix(key + GOLDEN * (t + 1) & MASK)

    def _below(self, number: int, t: int, bound: int) -> int:
        return self._bits(number, t) * bound >> 64

    def require_norm_1(self) -> None:
        """Raise unless all rows have norm 1, nearly."""
        sides = [("embeddings", self.pairs.x, self.among.rows)]
        name = "embeddings" if self.pairs.own else "ref_emb"
        sides.append((name, self.pairs.y, np.arange(len(self.pairs.y))))
        for name, rows, numbers in sides:
            norms = np.sqrt(sum8(rows * rows))
            bad = np.flatnonzero(~(np.abs(norms - 1.0) <= NORM_TOLERANCE))
            if bad.size:
                raise ValueError(
                    f"{name}: row {numbers[bad[0]]} has norm {norms[bad[0]]:.6f}, expected 1 with "
                    "weights 'distance'; divide every row by its norm"
                )


def _share(weights: list[int], bits: int) -> int:
    """Return the entry on which 64 random bits fall, each in proportion to its weight."""
    whole = sum(weights)
    ends = [(part << 64) // whole for part in itertools.accumulate(weights)]
    return next(i for i, end in enumerate(ends) if bits < end)


def _log(x: float) -> float:
    """Return ln x by single operations: x = m·2^e, ln m = 2·artanh((m − 1) / (m + 1))."""
    m, exponent = math.frexp(x)
    if m < 0.7071067811865476:
        m, exponent = 2.0 * m, exponent - 1
    s = (m - 1.0) / (m + 1.0)
    total = 0.0
    for k in range(23, 0, -2):
        total = total * (s * s) + 1.0 / k
    return 2.0 * s * total + exponent * 0.6931471805599453
