"""Arguments of ``mine``, and of the calls that look at every positive and every negative."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tripletmine import _arrays, _options
from tripletmine._arrays import Array, Int64s

_WITH_SEMIHARD_POSITIVES = ("hard", "easy")


class MineArguments(NamedTuple):
    """What ``mine`` was asked, in the core's terms and in its order.

    A tuple, for a batch's call must not wait for its arguments.
    """

    embeddings: Array
    labels: Int64s
    ref_emb: Array | None
    ref_labels: Int64s | None
    pos_strategy: str
    neg_strategy: str
    metric: str
    margin: float | None
    type_of_triplets: str
    fallback: str
    num_negatives: int
    range_min: int
    pos_range: tuple[float, float]
    neg_range: tuple[float, float]
    groups: Int64s | None
    ref_groups: Int64s | None
    anchors: Int64s | None
    seed: int
    n_threads: int
    progress: Any
    max_triplets: int | None

    @property
    def rows(self) -> Int64s:
        """The anchors' rows, ascending."""
        if self.anchors is not None:
            return self.anchors
        return np.arange(len(self.embeddings), dtype=np.int64)

    @property
    def n_anchors(self) -> int:
        """The number of rows that are anchors."""
        return len(self.embeddings if self.anchors is None else self.anchors)

    @property
    def n_candidates(self) -> int:
        """The number of rows that positives and negatives are chosen from."""
        candidates = self.embeddings if self.ref_emb is None else self.ref_emb
        return len(candidates)


def mine_arguments(
    embeddings: npt.ArrayLike,
    labels: npt.ArrayLike,
    ref_emb: npt.ArrayLike | None,
    ref_labels: npt.ArrayLike | None,
    *,
    pos_strategy: str,
    neg_strategy: str,
    metric: str,
    margin: float | None,
    type_of_triplets: str,
    fallback: str,
    num_negatives: int,
    range_min: int,
    allowed_pos_range: tuple[float, float] | None,
    allowed_neg_range: tuple[float, float] | None,
    groups: npt.ArrayLike | None,
    ref_groups: npt.ArrayLike | None,
    anchors: npt.ArrayLike | slice | None,
    max_triplets: int | None,
    seed: int,
    n_threads: int | None,
    progress: Any,
) -> MineArguments:
    """Check the arguments of ``mine``, in their order."""
    x = _arrays.matrix("embeddings", embeddings)
    y = None if ref_emb is None else _arrays.matrix("ref_emb", ref_emb)
    if y is not None:
        _arrays.same_dimension("ref_emb", y, "embeddings", x)
    for name, value, needed in (
        ("ref_labels", ref_labels, ref_emb),
        ("ref_groups", ref_groups, None if groups is None else ref_emb),
    ):
        if value is not None and needed is None:
            needs = "ref_emb" if ref_emb is None else "groups"
            raise ValueError(f"{name}: found it without {needs}, expected both or neither")
        if value is None and needed is not None:
            raise ValueError(f"{name}: found None, expected one for each row of ref_emb")
    n_ref = 0 if y is None else len(y)
    label_codes, ref_label_codes = _arrays.codes("labels", labels, len(x), ref_labels, n_ref)

    pos_strategy = _options.choice("pos_strategy", pos_strategy, _options.POS_STRATEGIES)
    neg_strategy = _options.choice("neg_strategy", neg_strategy, _options.NEG_STRATEGIES)
    if pos_strategy == "semihard" and neg_strategy not in _WITH_SEMIHARD_POSITIVES:
        raise ValueError(
            f"pos_strategy: found 'semihard' with neg_strategy {neg_strategy!r}, expected "
            f"neg_strategy 'hard' or 'easy' beside it"
        )
    metric = _options.choice("metric", metric, _options.METRICS)
    margin = _options.margin(margin)
    type_of_triplets = _options.choice("type_of_triplets", type_of_triplets, _options.TRIPLET_TYPES)
    if margin is None and type_of_triplets not in ("all", "hard"):
        raise ValueError(
            f"type_of_triplets: found {type_of_triplets!r} without a margin, expected a margin "
            "beside it"
        )
    fallback = _options.choice("fallback", fallback, _options.FALLBACKS)
    num_negatives = _options.integer("num_negatives", num_negatives, 1)
    range_min = _options.integer("range_min", range_min, 0)
    if neg_strategy == "all":
        for name, count, only in (("num_negatives", num_negatives, 1), ("range_min", range_min, 0)):
            if count != only:
                raise ValueError(
                    f"{name}: found {count} with neg_strategy 'all', which takes every negative, "
                    f"expected {only}"
                )
    pos_range = _options.distance_range("allowed_pos_range", allowed_pos_range)
    neg_range = _options.distance_range("allowed_neg_range", allowed_neg_range)
    group_codes = ref_group_codes = None
    if groups is not None:
        group_codes, ref_group_codes = _arrays.codes("groups", groups, len(x), ref_groups, n_ref)
    rows = _arrays.anchors(anchors, len(x))
    return MineArguments(
        embeddings=x,
        labels=label_codes,
        ref_emb=y,
        ref_labels=ref_label_codes,
        pos_strategy=pos_strategy,
        neg_strategy=neg_strategy,
        metric=metric,
        margin=margin,
        type_of_triplets=type_of_triplets,
        fallback=fallback,
        num_negatives=num_negatives,
        range_min=range_min,
        pos_range=pos_range,
        neg_range=neg_range,
        groups=group_codes,
        ref_groups=ref_group_codes,
        anchors=rows,
        max_triplets=(
            None if max_triplets is None else _options.integer("max_triplets", max_triplets, 0)
        ),
        seed=_options.integer("seed", seed, 0, 2**64 - 1),
        n_threads=_options.threads(n_threads),
        progress=_options.progress(progress),
    )


def all_triplets(
    embeddings: npt.ArrayLike,
    labels: npt.ArrayLike,
    ref_emb: npt.ArrayLike | None,
    ref_labels: npt.ArrayLike | None,
    *,
    metric: str,
    groups: npt.ArrayLike | None,
    ref_groups: npt.ArrayLike | None,
    anchors: npt.ArrayLike | slice | None,
    n_threads: int | None,
    progress: Any,
    margin: float | None = None,
    type_of_triplets: str = "all",
    seed: int = 0,
) -> MineArguments:
    """Check the arguments of the calls that look at every positive and every negative."""
    return mine_arguments(
        embeddings,
        labels,
        ref_emb,
        ref_labels,
        pos_strategy="all",
        neg_strategy="all",
        metric=metric,
        margin=margin,
        type_of_triplets=type_of_triplets,
        fallback="drop",
        num_negatives=1,
        range_min=0,
        allowed_pos_range=None,
        allowed_neg_range=None,
        groups=groups,
        ref_groups=ref_groups,
        anchors=anchors,
        max_triplets=None,
        seed=seed,
        n_threads=n_threads,
        progress=progress,
    )
