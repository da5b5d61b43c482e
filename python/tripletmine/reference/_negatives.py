"""``mine_negatives``, query by query."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tripletmine._arguments import NegativesArguments, negatives_arguments
from tripletmine._negatives import Negatives, NegativesReport
from tripletmine.reference._distances import Float64s, distances_to, sum8, widened
from tripletmine.reference._random import GOLDEN, mix

RULES = ("absolute_margin", "relative_margin", "max_score", "min_score")
_DRAWS_OF_NEGATIVES = 2


def mine_negatives(
    queries: npt.ArrayLike,
    corpus: npt.ArrayLike,
    positives: Any,
    *,
    num_negatives: int = 3,
    range_min: int = 0,
    range_max: int | None = None,
    max_score: float | None = None,
    min_score: float | None = None,
    absolute_margin: float | None = None,
    relative_margin: float | None = None,
    positive_score: str = "min",
    rank_among: str = "survivors",
    sampling: str = "top",
    exclude: Any = None,
    metric: str = "cosine",
    seed: int = 0,
    n_threads: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Negatives:
    """Do what :func:`tripletmine.mine_negatives` does, query by query."""
    arguments = negatives_arguments(
        queries,
        corpus,
        positives,
        num_negatives=num_negatives,
        range_min=range_min,
        range_max=range_max,
        max_score=max_score,
        min_score=min_score,
        absolute_margin=absolute_margin,
        relative_margin=relative_margin,
        positive_score=positive_score,
        rank_among=rank_among,
        sampling=sampling,
        exclude=exclude,
        metric=metric,
        seed=seed,
        n_threads=n_threads,
        progress=progress,
    )
    start = time.perf_counter()
    x, y = widened("queries", arguments.queries), widened("corpus", arguments.corpus)
    indices = np.full((len(x), num_negatives), -1, dtype=np.int64)
    scores = np.full((len(x), num_negatives), np.nan)
    positive_scores = np.empty(len(arguments.positives[1]))
    rejected = dict.fromkeys(RULES, 0)
    for i, row in enumerate(x):
        distances = distances_to(row, y, arguments.metric)
        similar = (1.0 if arguments.metric == "cosine" else 0.0) - distances
        begin, end = arguments.positives[0][i : i + 2]
        positive_scores[begin:end] = similar[arguments.positives[1][begin:end]]
        candidates = np.ones(len(y), dtype=bool)
        candidates[_of(arguments.excluded, i)] = False
        verdicts = _verdicts(arguments, similar, positive_scores[begin:end])
        for rule in RULES:
            rejected[rule] += int(np.count_nonzero(candidates & (verdicts == rule)))
        window = _window(arguments, distances, candidates, verdicts == "survivor")
        chosen = _sampled(arguments, i, window) if arguments.sampling == "random" else window
        chosen = chosen[:num_negatives]
        indices[i, : len(chosen)] = chosen
        scores[i, : len(chosen)] = similar[chosen]
    found = np.count_nonzero(indices >= 0, axis=1)
    pairs = len(x) * len(y) - len(arguments.excluded[1])
    return Negatives(
        indices=indices,
        scores=scores,
        positive_indptr=arguments.positives[0],
        positive_indices=arguments.positives[1],
        positive_scores=positive_scores,
        report=NegativesReport(
            queries=len(x),
            short_queries=int(np.count_nonzero(found < num_negatives)),
            negatives=int(found.sum()),
            **{f"rejected_by_{rule}": count for rule, count in rejected.items()},
            zero_rows=sum(int((sum8(side * side) == 0.0).sum()) for side in (x, y)),
            pairs_considered=pairs,
            pairs_decided=pairs,
            seconds=time.perf_counter() - start,
            threads=1,
            instruction_set="reference",
            plan="float64",
        ),
    )


def _of(lists: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]], query: int) -> Any:
    return lists[1][lists[0][query] : lists[0][query + 1]]


def _verdicts(
    arguments: NegativesArguments, similar: Float64s, positives: Float64s
) -> npt.NDArray[np.str_]:
    """Name the first rule that refuses each row, or "survivor"."""
    refused = {}
    if arguments.absolute_margin is not None or arguments.relative_margin is not None:
        positive = {
            "min": lambda: positives.min(),
            "max": lambda: positives.max(),
            "mean": lambda: np.cumsum(positives)[-1] / len(positives),  # summed in order
        }[arguments.positive_score]()
    if arguments.absolute_margin is not None:
        refused["absolute_margin"] = similar + arguments.absolute_margin > positive
    if arguments.relative_margin is not None:
        limit = positive - abs(positive) * arguments.relative_margin
        refused["relative_margin"] = similar > limit
    if arguments.max_score is not None:
        refused["max_score"] = similar > arguments.max_score
    if arguments.min_score is not None:
        refused["min_score"] = similar < arguments.min_score
    verdicts = np.full(len(similar), "survivor", dtype=f"<U{max(map(len, RULES))}")
    for rule in reversed(refused):  # the first one has the last word
        verdicts[refused[rule]] = rule
    return verdicts


def _window(
    arguments: NegativesArguments,
    distances: Float64s,
    candidates: npt.NDArray[np.bool_],
    survivors: npt.NDArray[np.bool_],
) -> list[int]:
    """Return the survivors in the range of ranks, by rank."""
    order = np.lexsort((np.arange(len(distances)), distances)).tolist()
    ranks = slice(arguments.range_min, arguments.range_max)
    if arguments.rank_among == "all":
        return [j for j in [j for j in order if candidates[j]][ranks] if survivors[j]]
    return [j for j in order if candidates[j] and survivors[j]][ranks]


def _sampled(arguments: NegativesArguments, query: int, window: list[int]) -> list[int]:
    """Draw from the window by Fisher–Yates from the front; return what is drawn by rank.

    What is shuffled is the window, by rank; without ``range_max`` it is the corpus, by index, and
    rows outside the window are passed over.
    """
    pool = list(range(len(arguments.corpus))) if arguments.range_max is None else list(window)
    key = mix(mix(arguments.seed + GOLDEN) + GOLDEN * (2 * query + _DRAWS_OF_NEGATIVES))
    for t in range(len(pool)):
        other = t + (mix(key + GOLDEN * (t + 1)) * (len(pool) - t) >> 64)
        pool[t], pool[other] = pool[other], pool[t]
    rank = {j: r for r, j in enumerate(window)}
    drawn = [j for j in pool if j in rank][: arguments.num_negatives]
    return sorted(drawn, key=rank.__getitem__)
