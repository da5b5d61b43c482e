"""Arguments of ``mine_negatives``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tripletmine import _arrays, _options
from tripletmine._arrays import Array, RowLists


@dataclass(frozen=True)
class NegativesArguments:
    """What ``mine_negatives`` was asked, in the core's terms."""

    queries: Array
    corpus: Array
    positives: RowLists
    excluded: RowLists  # positives and excluded rows, ascending
    num_negatives: int
    range_min: int
    range_max: int | None
    max_score: float | None
    min_score: float | None
    absolute_margin: float | None
    relative_margin: float | None
    positive_score: str
    rank_among: str
    sampling: str
    metric: str
    seed: int
    n_threads: int
    progress: Any


def negatives_arguments(
    queries: npt.ArrayLike,
    corpus: npt.ArrayLike,
    positives: Any,
    *,
    num_negatives: int,
    range_min: int,
    range_max: int | None,
    max_score: float | None,
    min_score: float | None,
    absolute_margin: float | None,
    relative_margin: float | None,
    positive_score: str,
    rank_among: str,
    sampling: str,
    exclude: Any,
    metric: str,
    seed: int,
    n_threads: int | None,
    progress: Any,
) -> NegativesArguments:
    """Check the arguments of ``mine_negatives``, in their order."""
    x = _arrays.matrix("queries", queries)
    y = _arrays.matrix("corpus", corpus)
    _arrays.same_dimension("corpus", y, "queries", x)
    own = _arrays.row_lists("positives", positives, len(x), len(y))
    _arrays.each_once("positives", own)

    num_negatives, range_min, range_max = rank_window(num_negatives, range_min, range_max)
    max_score = _options.finite("max_score", max_score)
    min_score = _options.finite("min_score", min_score)
    if max_score is not None and min_score is not None and min_score > max_score:
        raise ValueError(
            f"min_score: found {min_score} with max_score {max_score}, expected at most that"
        )
    absolute_margin = _options.finite("absolute_margin", absolute_margin)
    relative_margin = _options.finite("relative_margin", relative_margin)
    for name, margin in (
        ("absolute_margin", absolute_margin),
        ("relative_margin", relative_margin),
    ):
        without = np.flatnonzero(np.diff(own[0]) == 0)
        if margin is not None and without.size:
            raise ValueError(
                f"{name}: found {margin}, but query {without[0]} has no positive to compare with, "
                "expected positives for every query"
            )
    excluded = _arrays.row_lists("exclude", exclude, len(x), len(y))
    return NegativesArguments(
        queries=x,
        corpus=y,
        positives=own,
        excluded=_arrays.union(own, excluded),
        num_negatives=num_negatives,
        range_min=range_min,
        range_max=range_max,
        max_score=max_score,
        min_score=min_score,
        absolute_margin=absolute_margin,
        relative_margin=relative_margin,
        positive_score=_options.choice("positive_score", positive_score, _options.POSITIVE_SCORES),
        rank_among=_options.choice("rank_among", rank_among, _options.RANK_AMONG),
        sampling=_options.choice("sampling", sampling, _options.SAMPLINGS),
        metric=_options.choice("metric", metric, _options.METRICS),
        seed=_options.integer("seed", seed, 0, 2**64 - 1),
        n_threads=_options.threads(n_threads),
        progress=_options.progress(progress),
    )


def rank_window(num_negatives: Any, range_min: Any, range_max: Any) -> tuple[int, int, int | None]:
    """Check that so many negatives fit in the ranks from ``range_min`` to ``range_max``."""
    num_negatives = _options.integer("num_negatives", num_negatives, 1)
    range_min = _options.integer("range_min", range_min, 0)
    if range_max is None:
        return num_negatives, range_min, None
    range_max = _options.integer("range_max", range_max, 1)
    if range_min >= range_max:
        raise ValueError(
            f"range_min: found {range_min} with range_max {range_max}, expected less than it"
        )
    if num_negatives > range_max - range_min:
        raise ValueError(
            f"num_negatives: found {num_negatives}, expected at most {range_max - range_min}, the "
            f"ranks from range_min {range_min} to range_max {range_max}"
        )
    return num_negatives, range_min, range_max
