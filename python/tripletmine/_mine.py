"""``mine``: triplets of a whole embedding set, selected by the core."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tripletmine import _core, _memory
from tripletmine._arguments import MineArguments, mine_arguments
from tripletmine._options import Fallback, Metric, NegStrategy, PosStrategy, TripletType
from tripletmine._results import MiningReport, Triplets, concatenated

TRIPLET_BYTES = 41  # three int64, two float64, one bool
_CANDIDATE_BYTES = 16  # what the selection holds for each rank of each anchor
_UNLIMITED = 2**62


def mine(
    embeddings: npt.ArrayLike,
    labels: npt.ArrayLike,
    ref_emb: npt.ArrayLike | None = None,
    ref_labels: npt.ArrayLike | None = None,
    *,
    pos_strategy: PosStrategy = "easy",
    neg_strategy: NegStrategy = "semihard",
    metric: Metric = "cosine",
    margin: float | None = None,
    type_of_triplets: TripletType = "all",
    fallback: Fallback = "drop",
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
    """Select a positive and negatives for every anchor of a whole embedding set, exactly.

    Every decision is made on the float64 distance of the rows' own values, ties go to the lowest
    index, and the result is the same for any number of threads and any instruction set.

    Parameters
    ----------
    embeddings : array_like of float16, bfloat16, float32 or float64, shape (n, d)
        The anchors, and the candidates too unless ``ref_emb`` is given. Read in place: read-only,
        strided and memory-mapped arrays are fine, and so are torch tensors on the CPU.
    labels : array_like of int or str, shape (n,)
        Equal labels make a positive pair, different ones a negative pair.
    ref_emb, ref_labels : array_like, shapes (m, d) and (m,), optional
        Candidates apart from the anchors. Without them a row is never paired with itself.
    pos_strategy : {"easy", "hard", "semihard", "random", "all"}
        The nearest positive, the farthest, the farthest that is strictly nearer than every chosen
        negative (with ``neg_strategy`` "hard" or "easy" only), one at random, or every one: then
        negatives are chosen for each (anchor, positive) pair.
    neg_strategy : {"semihard", "hard", "easy", "random", "all"}
        The nearest negative *strictly* farther than the positive (Schroff et al., FaceNet, 2015),
        the nearest, the farthest, one at random, or every one, ascending by index.
    metric : {"cosine", "dot", "euclidean", "sqeuclidean"}
        Distance: 1 − cosine similarity, −dot product, or Euclidean, plain or squared.
    margin : float, optional
        In the metric's own unit. With t = d_an − d_ap, keep after selection the triplets that
        ``type_of_triplets`` asks for: "all" with a loss (t <= margin), "hard" (t <= 0), "semihard"
        (0 < t <= margin) or "easy" (t > margin). Without a margin, "all" keeps every triplet.
    type_of_triplets : {"all", "hard", "semihard", "easy"}
        See ``margin``; "semihard" and "easy" need one.
    fallback : {"drop", "easy", "hard"}
        For pairs without any semi-hard negative: no triplet, the farthest, or the nearest.
    num_negatives : int
        Negatives for each (anchor, positive) pair: the first so many in the strategy's order.
    range_min : int
        Negatives to skip first, against false negatives.
    allowed_pos_range, allowed_neg_range : (float, float), optional
        Only candidates with low <= d <= high are considered.
    groups, ref_groups : array_like of int or str, shapes (n,) and (m,), optional
        Two rows of one group are never paired (frames of one video, chunks of one document).
    anchors : slice or array_like of int, optional
        Only these rows act as anchors (in ascending order). The results of a partition, one after
        the other, are the result of the whole.
    max_triplets : int, optional
        Raise rather than return more; by default what fits in a quarter of the free memory, and
        never more than fits in all memory.
    seed : int
        For the random strategies: what is drawn depends on it, the anchor and the labels alone.
    n_threads : int, optional
        By default one for a small call, else what OpenMP would use now (``OMP_NUM_THREADS``,
        threadpoolctl).
    progress : callable, optional
        Called about 20 times a second as ``progress(done, total)``, in pairs of rows. Other calls
        than ``mine`` may find more to do, and their total grows. What it raises stops the call.

    Returns
    -------
    Triplets
        Ordered by anchor, positive and rank of the negative. Empty arrays if there are none.

    Raises
    ------
    TypeError
        An argument is of the wrong kind.
    ValueError
        An argument has a wrong value, a row is not finite, or there are too many triplets.

    Notes
    -----
    ``pos_strategy="all", neg_strategy="semihard"`` is FaceNet's choice for every pair, and
    ``pos_strategy="hard", neg_strategy="hard"`` is batch-hard mining (Hermans, Beyer and Leibe, "In
    Defense of the Triplet Loss", 2017) over the whole set.

    Examples
    --------
    >>> import numpy as np, tripletmine
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(1000, 16)).astype(np.float32)
    >>> labels = np.arange(1000) % 10
    >>> triplets = tripletmine.mine(x, labels, pos_strategy="hard", neg_strategy="hard")
    >>> len(triplets)
    1000
    >>> a, p, n = triplets
    >>> bool(np.all(labels[a] == labels[p])), bool(np.any(labels[a] == labels[n]))
    (True, False)
    """
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
    held = _bytes_held(arguments)
    if held <= _memory.SMALL:
        limit = _UNLIMITED if arguments.max_triplets is None else arguments.max_triplets
        count, triplets = _call_core(arguments, limit)
        return _checked(count, limit, triplets)
    # A result that cannot fit is refused, before the work where the labels say how large it is.
    free = _memory.available()
    asked = arguments.max_triplets
    limit = free // 4 // TRIPLET_BYTES if asked is None else asked
    limit = min(limit, _memory.installed() // TRIPLET_BYTES)
    if _is_unfiltered(arguments):
        _checked(most_triplets(arguments), limit, None)
    if _expands(arguments):  # taken in blocks by the core
        count, triplets = _call_core(arguments, limit)
        return _checked(count, limit, triplets)
    blocks = -(-held // max(1, free // 4))
    return _in_blocks(arguments, limit, max(1, arguments.n_anchors // blocks))


def check_mine_options(options: dict[str, Any]) -> None:
    """Raise for options that ``mine`` does not take, as far as can be said without any rows."""
    defaults = {
        name: option.default
        for name, option in inspect.signature(mine).parameters.items()
        if option.kind is option.KEYWORD_ONLY
    }
    for name in options:
        if name not in defaults:
            raise TypeError(f"{name}: unknown option, expected one of {', '.join(defaults)}")
    of_rows = dict.fromkeys(("groups", "ref_groups", "anchors"))
    mine_arguments(np.zeros((1, 1)), [0], None, None, **{**defaults, **options, **of_rows})


def options_of_round(options: dict[str, Any], round_number: int) -> dict[str, Any]:
    """Return options whose random draws are others in each round; in round 0 the options' own."""
    if round_number == 0:
        return options
    source = np.random.SeedSequence([options.get("seed", 0), round_number])
    return {**options, "seed": int(source.generate_state(1, np.uint64)[0])}


def _expands(arguments: MineArguments) -> bool:
    return "all" in (arguments.pos_strategy, arguments.neg_strategy)


def _bytes_held(arguments: MineArguments) -> int:
    """Return what selection and result may take, roughly and at most."""
    if _expands(arguments):
        return most_triplets(arguments) * TRIPLET_BYTES
    ranks = min(arguments.range_min + arguments.num_negatives, arguments.n_candidates)
    per_anchor = ranks * _CANDIDATE_BYTES + min(ranks, arguments.num_negatives) * TRIPLET_BYTES
    return arguments.n_anchors * per_anchor


def _in_blocks(arguments: MineArguments, limit: int, size: int) -> Triplets:
    """Select for as many anchors at a time as memory allows."""
    count = 0
    parts: list[Triplets] = []
    rows = arguments.rows
    candidates = arguments.n_candidates - (arguments.ref_emb is None)
    for start in range(0, len(rows), size):  # beyond the limit they are only counted
        block = arguments._replace(
            anchors=rows[start : start + size],
            progress=_progress_from(start * candidates, len(rows) * candidates, arguments.progress),
        )
        found, part = _call_core(block, max(-1, limit - count))
        count += found
        parts = [*parts, part] if part is not None else []
    whole = _checked(count, limit, concatenated(parts) if parts else None)
    return whole if arguments.ref_emb is None else _with_all_zero_rows(whole, parts, arguments)


def _progress_from(
    before: int, pairs: int, progress: Callable[[int, int], object] | None
) -> Callable[[int, int], object] | None:
    """Return what tells of a block as a part of the whole."""
    return None if progress is None else lambda done, _: progress(before + done, pairs)


def _with_all_zero_rows(
    whole: Triplets, parts: list[Triplets], arguments: MineArguments
) -> Triplets:
    """Correct the report of parts, each of which counts its own anchors and all of ``ref_emb``."""
    nobody = arguments._replace(anchors=np.zeros(0, dtype=np.int64), progress=None)
    _, none = _call_core(nobody, 0)
    assert none is not None
    of_references = none.report.zero_rows
    zero_rows = of_references + sum(part.report.zero_rows - of_references for part in parts)
    return dataclasses.replace(whole, report=dataclasses.replace(whole.report, zero_rows=zero_rows))


def _is_unfiltered(arguments: MineArguments) -> bool:
    """Whether the labels alone say how many triplets there are."""
    everything = (-np.inf, np.inf)
    return (
        arguments.groups is None
        and arguments.pos_range == arguments.neg_range == everything
        and arguments.margin is None
        and arguments.type_of_triplets == "all"
        and "semihard" not in (arguments.pos_strategy, arguments.neg_strategy)
    )


def most_triplets(arguments: MineArguments) -> int:
    """Return the number of triplets that the labels allow; exact where nothing else decides."""
    candidates = arguments.labels if arguments.ref_labels is None else arguments.ref_labels
    classes, sizes = np.unique(candidates, return_counts=True)
    labels, anchors = np.unique(arguments.labels[arguments.rows], return_counts=True)
    place = np.minimum(np.searchsorted(classes, labels), len(classes) - 1)
    same = np.where(classes[place] == labels, sizes[place], 0)
    positives = np.maximum(0, same - 1 if arguments.ref_labels is None else same)
    if arguments.pos_strategy != "all":
        positives = np.minimum(positives, 1)
    negatives = np.maximum(0, len(candidates) - same - arguments.range_min)
    if arguments.neg_strategy != "all":
        negatives = np.minimum(negatives, arguments.num_negatives)
    each = zip(anchors.tolist(), positives.tolist(), negatives.tolist(), strict=True)
    return sum(a * p * n for a, p, n in each)


def core_call(arguments: MineArguments, max_triplets: int) -> _core.Mining:
    """Return the core's call; it has not begun."""
    _check_selection(arguments)
    embeddings = arguments.embeddings
    rows = len(embeddings) + (0 if arguments.ref_emb is None else arguments.n_candidates)
    budget = _memory.packing_budget(rows, embeddings.shape[1])
    return _core.Mining(*arguments[:-1], max_triplets, budget)


def _check_selection(arguments: MineArguments) -> None:
    """Refuse what memory does not hold for a single anchor: ranks for each of its positives."""
    ranks = min(arguments.range_min + arguments.num_negatives, arguments.n_candidates)
    if arguments.pos_strategy != "all" or arguments.neg_strategy not in ("semihard", "random"):
        return
    if arguments.n_candidates * ranks * 2 * _CANDIDATE_BYTES <= _memory.SMALL:
        return
    candidates = arguments.labels if arguments.ref_labels is None else arguments.ref_labels
    positives = int(np.unique(candidates, return_counts=True)[1].max())
    needed = positives * ranks * 2 * _CANDIDATE_BYTES
    free = _memory.available() // 2
    if needed > free:
        raise ValueError(
            f"num_negatives: found {arguments.num_negatives} after range_min "
            f"{arguments.range_min}, for which an anchor with {positives} positives takes {needed} "
            f"bytes, expected at most half of the free memory ({free} bytes)"
        )


def from_core(columns: Any, report: Any) -> Triplets:
    """Return the core's answer as a result."""
    anchors, positives, negatives, d_ap, d_an, fell_back = columns
    return Triplets(
        anchors, positives, negatives, d_ap, d_an, fell_back.view(np.bool_), MiningReport(*report)
    )


def _call_core(arguments: MineArguments, limit: int) -> tuple[int, Triplets | None]:
    count, columns, report = core_call(arguments, limit).all()
    return count, None if columns is None else from_core(columns, report)


def _checked(count: int, limit: int, triplets: Triplets | None) -> Triplets:
    if count > limit:
        raise ValueError(
            f"max_triplets: found {count} triplets ({count * TRIPLET_BYTES} bytes), expected at "
            f"most {limit}; mine_blocks yields them a block at a time, sample draws some of them, "
            "and max_triplets allows as many as memory holds"
        )
    return triplets  # type: ignore[return-value]
