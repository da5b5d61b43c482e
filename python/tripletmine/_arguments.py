"""The arguments of the public calls, checked once: every user error ends here.

Called by ``_mine``, ``_distances`` and ``reference``, so that the core and its oracle refuse the
same things with the same words. (NaN and infinite entries are found by the pass over the rows that
computes their norms, in the core.)
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tripletmine import _arrays, _options
from tripletmine._arrays import Array, Int64s, RowLists

# Of distance-weighted sampling, as in the paper's code.
CUTOFF, NONZERO_LOSS_CUTOFF = 0.5, 1.4

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
            f"type_of_triplets: found {type_of_triplets!r} without a margin, expected a margin, or "
            "type_of_triplets 'all' or 'hard'"
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


@dataclass(frozen=True)
class SampleArguments:
    """What ``sample`` was asked: of which triplets, how many, and with which weights."""

    among: MineArguments
    draws: int
    cutoffs: tuple[float, float] | None  # of distance weights
    without_embeddings: bool


def sample_arguments(
    embeddings: npt.ArrayLike | None,
    labels: npt.ArrayLike,
    n: int,
    ref_emb: npt.ArrayLike | None,
    ref_labels: npt.ArrayLike | None,
    *,
    type_of_triplets: str,
    margin: float | None,
    metric: str,
    weights: str,
    cutoff: float,
    nonzero_loss_cutoff: float,
    groups: npt.ArrayLike | None,
    ref_groups: npt.ArrayLike | None,
    anchors: npt.ArrayLike | slice | None,
    seed: int,
    n_threads: int | None,
    progress: Any,
) -> SampleArguments:
    """Check the arguments of ``sample``."""
    without_embeddings = embeddings is None
    if embeddings is None:
        if ref_emb is not None:
            raise ValueError("ref_emb: found it without embeddings, expected both or neither")
        embeddings = _arrays.no_embeddings("labels", labels)
        if ref_labels is not None:
            ref_emb = _arrays.no_embeddings("ref_labels", ref_labels)
    draws = _options.integer("n", n, 1)
    kind = _options.choice("type_of_triplets", type_of_triplets, _options.SAMPLE_TYPES)
    weighting = _options.choice("weights", weights, _options.WEIGHTS)
    among = all_triplets(
        embeddings,
        labels,
        ref_emb,
        ref_labels,
        metric=metric,
        margin=margin,
        type_of_triplets="all" if kind == "any" else kind,
        groups=groups,
        ref_groups=ref_groups,
        anchors=anchors,
        seed=seed,
        n_threads=n_threads,
        progress=progress,
    )
    if kind == "any" and among.margin is not None:
        raise ValueError(
            f"margin: found {among.margin} with type_of_triplets 'any', expected None, or another "
            "type_of_triplets"
        )
    if without_embeddings and (kind != "any" or weighting != "uniform"):
        raise ValueError(
            f"embeddings: found None with type_of_triplets {kind!r} and weights {weighting!r}, "
            "expected rows, or 'any' and 'uniform'"
        )
    return SampleArguments(
        among,
        draws,
        _cutoffs(weighting, cutoff, nonzero_loss_cutoff, kind, among.metric),
        without_embeddings,
    )


def _cutoffs(
    weights: str, cutoff: Any, nonzero_loss_cutoff: Any, kind: str, metric: str
) -> tuple[float, float] | None:
    """Check the cutoffs of distance weights, and what these need."""
    near = _options.real("cutoff", cutoff)
    far = _options.real("nonzero_loss_cutoff", nonzero_loss_cutoff)
    if weights == "uniform":
        for name, value, default in (
            ("cutoff", near, CUTOFF),
            ("nonzero_loss_cutoff", far, NONZERO_LOSS_CUTOFF),
        ):
            if value != default:
                raise ValueError(
                    f"{name}: found {value} with weights 'uniform', which has none, expected "
                    f"{default}"
                )
        return None
    if kind != "any":
        raise ValueError(
            f"type_of_triplets: found {kind!r} with weights 'distance', expected 'any'"
        )
    if metric != "euclidean":
        raise ValueError(f"metric: found {metric!r} with weights 'distance', expected 'euclidean'")
    if not 0.0 < near < 2.0:
        raise ValueError(f"cutoff: found {near}, expected a number between 0 and 2")
    if not near <= far < 2.0:
        raise ValueError(
            f"nonzero_loss_cutoff: found {far}, expected a number of at least cutoff ({near}) and "
            "below 2"
        )
    return near, far


def pair_arguments(
    x: npt.ArrayLike, y: npt.ArrayLike | None, metric: str
) -> tuple[Array, Array | None, str]:
    """Check the arguments that ``nearest`` and ``pairwise_distances`` share."""
    rows = _arrays.matrix("x", x)
    refs = None if y is None else _arrays.matrix("y", y)
    if refs is not None:
        _arrays.same_dimension("y", refs, "x", rows)
    return rows, refs, _options.choice("metric", metric, _options.METRICS)


def neighbours(k: Any, rows: Array, refs: Array | None) -> int:
    """Check a number of neighbours against the candidates that there are."""
    candidates = len(rows) - 1 if refs is None else len(refs)
    count = _options.integer("k", k, 1)
    if count > candidates:
        others = "other rows of x" if refs is None else "rows of y"
        raise ValueError(f"k: found {count}, expected at most {candidates}, the number of {others}")
    return count


def output(out: Any, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Return an array for distances: ``out`` if it fits, or a new one."""
    if out is None:
        try:
            return np.empty(shape, dtype=np.float32)
        except MemoryError:
            raise MemoryError(
                f"out: the distances need {shape[0] * shape[1] * 4} bytes; pass a memory-mapped "
                "out, or call for a part of the rows at a time"
            ) from None
    if not isinstance(out, np.ndarray) or out.dtype != np.float32:
        kind = f"an array of {out.dtype}" if isinstance(out, np.ndarray) else type(out).__name__
        raise TypeError(f"out: found {kind}, expected an array of float32")
    if out.shape != shape:
        raise ValueError(f"out: found shape {out.shape}, expected {shape}")
    if not out.flags.writeable or not out.flags.aligned or not out.dtype.isnative:
        raise ValueError(
            "out: found a read-only, unaligned or byte-swapped array, expected a plain one"
        )
    (near, few), (far, many) = sorted(zip(map(abs, out.strides), out.shape, strict=True))
    if (few > 1 and near < out.itemsize) or (many > 1 and far < near * (few - 1) + out.itemsize):
        raise ValueError(
            f"out: found a view of strides {out.strides}, in which elements share memory, expected "
            "each to have its own"
        )
    return out


def check_mine_options(options: dict[str, Any]) -> None:
    """Raise for options that ``mine`` does not have: before the first call of it, not in it."""
    known = inspect.getfullargspec(mine_arguments).kwonlyargs
    for name in options:
        if name not in known:
            raise TypeError(f"{name}: unknown option, expected one of {', '.join(known)}")


@dataclass(frozen=True)
class LossArguments:
    """What a loss was asked, in the core's terms."""

    embeddings: Array
    entries: Int64s  # (T, 3) triplets or (P, 2) pairs
    metric: str
    margin: float
    reduction: str
    grad: bool
    n_threads: int

    @property
    def weight(self) -> float:
        """What the loss of one entry counts."""
        return 1.0 / max(1, len(self.entries)) if self.reduction == "mean" else 1.0

    def zero_gradient(self) -> Array | None:
        """Return room for the gradient, if it is wanted."""
        return zero_gradient(self.embeddings) if self.grad else None


def zero_gradient(embeddings: Array) -> Array:
    """Return zeros for the gradient by these rows: float64 for float64 ones, or float32."""
    wide = embeddings.dtype == np.float64
    return np.zeros(embeddings.shape, dtype=np.float64 if wide else np.float32)


def loss_arguments(
    embeddings: npt.ArrayLike,
    name: str,
    entries: Any,
    width: int,
    *,
    margin: Any,
    metric: Any,
    reduction: Any,
    grad: Any,
    n_threads: Any,
) -> LossArguments:
    """Check the arguments that the losses share; ``name`` is that of the entries."""
    rows = _arrays.matrix("embeddings", embeddings)
    indices = _arrays.entries(name, entries, width, len(rows))
    reduction = _options.choice("reduction", reduction, _options.REDUCTIONS)
    grad = _options.flag("grad", grad)
    if grad and reduction == "none":
        raise ValueError(
            "grad: found True with reduction 'none', expected reduction 'mean' or 'sum'"
        )
    return LossArguments(
        embeddings=rows,
        entries=indices,
        metric=_options.choice("metric", metric, _options.METRICS),
        margin=_options.loss_margin("margin", margin),
        reduction=reduction,
        grad=grad,
        n_threads=_options.threads(n_threads),
    )


def batch_all_arguments(
    embeddings: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    margin: Any,
    metric: str,
    reduction: str,
    grad: Any,
    n_threads: int | None,
    progress: Any,
) -> tuple[MineArguments, bool]:
    """Check the arguments of ``batch_all_loss``; return them, and whether a gradient is wanted."""
    arguments = all_triplets(
        embeddings,
        labels,
        None,
        None,
        metric=metric,
        groups=None,
        ref_groups=None,
        anchors=None,
        n_threads=n_threads,
        progress=progress,
        margin=_options.loss_margin("margin", margin),
    )
    _options.choice("reduction", reduction, ("mean", "sum"))
    return arguments, _options.flag("grad", grad)


def same(value: Any, length: int) -> npt.NDArray[np.uint8]:
    """Return which pairs are of the same kind, as 0 and 1."""
    return _arrays.flags("same", value, length)
