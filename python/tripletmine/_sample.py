"""``sample``: triplets at random from all triplets of a kind, drawn by the core."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tripletmine import _core, _memory
from tripletmine._arguments import (
    CUTOFF,
    NONZERO_LOSS_CUTOFF,
    SampleArguments,
    sample_arguments,
)
from tripletmine._census import Census, census
from tripletmine._mine import TRIPLET_BYTES
from tripletmine._options import Metric, SampleType, Weights
from tripletmine._results import Float64s, Int64s, MiningReport, Triplets


def sample(
    embeddings: npt.ArrayLike | None,
    labels: npt.ArrayLike,
    n: int,
    ref_emb: npt.ArrayLike | None = None,
    ref_labels: npt.ArrayLike | None = None,
    *,
    type_of_triplets: SampleType = "any",
    margin: float | None = None,
    metric: Metric = "cosine",
    weights: Weights = "uniform",
    cutoff: float = CUTOFF,
    nonzero_loss_cutoff: float = NONZERO_LOSS_CUTOFF,
    groups: npt.ArrayLike | None = None,
    ref_groups: npt.ArrayLike | None = None,
    anchors: npt.ArrayLike | slice | None = None,
    seed: int = 0,
    n_threads: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Triplets:
    """Draw triplets at random, with replacement, from all triplets of a kind in a whole set.

    Every triplet of the kind is as likely as every other. A draw depends on the seed and its number
    alone: the first 10 of 1,000 draws are the 10 draws, for any number of threads and any
    instruction set.

    Parameters
    ----------
    embeddings : array_like or None
        As in :func:`mine`. With None triplets come from the labels alone, and have no distances
        (NaN); ``type_of_triplets`` is then "any", and ``ref_labels`` may stand alone.
    labels, ref_emb, ref_labels, groups, ref_groups, anchors, n_threads, progress
        As in :func:`mine`.
    n : int
        Number of triplets, at least 1.
    type_of_triplets : {"any", "all", "hard", "semihard", "easy"}
        Of which triplets: any; with t = d_an − d_ap those with a loss ("all", t <= margin), "hard"
        (t <= 0), "semihard" (0 < t <= margin) or "easy" (t > margin).
    margin : float, optional
        In the metric's own unit; "semihard" and "easy" need one, and "all" without one is "any".
    metric : {"cosine", "dot", "euclidean", "sqeuclidean"}
        As in :func:`mine`.
    weights : {"uniform", "distance"}
        With "distance", distance-weighted sampling: a pair (anchor, positive) uniformly from all
        pairs whose anchor has a negative nearer than ``nonzero_loss_cutoff``, then one of those
        negatives with probability proportional to 1 / q(d), where q is the density of distances
        between points uniform on the sphere, and d at least ``cutoff``. Needs rows of norm 1,
        ``metric="euclidean"`` and ``type_of_triplets="any"``.
    cutoff, nonzero_loss_cutoff : float
        See ``weights``.
    seed : int
        Between 0 and 2**64 − 1.

    Returns
    -------
    Triplets
        In the order of the draws. The report counts anchors without a positive or a negative by
        their labels.

    Raises
    ------
    TypeError
        An argument is of the wrong kind.
    ValueError
        An argument has a wrong value, a row is not finite or (for "distance") not of norm 1, or
        there is no triplet of the kind.

    Notes
    -----
    FaceNet (Schroff et al., 2015) draws semi-hard triplets: ``type_of_triplets="semihard"``,
    ``margin=0.2``, ``metric="sqeuclidean"``. Distance-weighted sampling is that of Wu, Manmatha,
    Smola and Krähenbühl, "Sampling Matters in Deep Embedding Learning", 2017, over the whole set.

    Examples
    --------
    >>> import numpy as np, tripletmine
    >>> x = np.random.default_rng(0).normal(size=(500, 8))
    >>> labels = np.arange(500) % 5
    >>> triplets = tripletmine.sample(x, labels, 1000, type_of_triplets="semihard", margin=0.2)
    >>> t = triplets.d_an - triplets.d_ap
    >>> len(triplets), bool(np.all((0 < t) & (t <= 0.2)))
    (1000, True)
    >>> a, p, n = tripletmine.sample(None, labels, 3, seed=1)
    >>> bool(np.all((labels[a] == labels[p]) & (labels[a] != labels[n])))
    True
    """
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
    needed = arguments.draws * TRIPLET_BYTES
    if needed > _memory.SMALL and needed > (free := _memory.available()):
        raise ValueError(
            f"n: found {arguments.draws}, for which the draws need {needed} bytes, expected what "
            f"fits in the free memory ({free} bytes)"
        )
    among = arguments.among
    rows = len(among.embeddings) + (0 if among.ref_emb is None else among.n_candidates)
    arrays, report = _core.sample(
        embeddings=among.embeddings,
        labels=among.labels,
        ref_emb=among.ref_emb,
        ref_labels=among.ref_labels,
        draws=arguments.draws,
        type_of_triplets=among.type_of_triplets,
        margin=among.margin,
        metric=among.metric,
        cutoffs=arguments.cutoffs,
        groups=among.groups,
        ref_groups=among.ref_groups,
        anchors=among.anchors,
        seed=among.seed,
        n_threads=among.n_threads,
        progress=among.progress,
        packing_budget=_memory.packing_budget(rows, among.embeddings.shape[1]),
    )
    if arrays is None:
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
            n_threads=n_threads,
            progress=progress,
        )
        raise nothing_to_draw(arguments, type_of_triplets, counted)
    return drawn(arguments, *arrays, report)


def drawn(
    arguments: SampleArguments,
    anchors: Int64s,
    positives: Int64s,
    negatives: Int64s,
    d_ap: Float64s,
    d_an: Float64s,
    report: dict[str, Any],
) -> Triplets:
    """Return draws as triplets; those from labels alone have no distances."""
    if arguments.without_embeddings:
        d_ap, d_an = np.full(len(d_ap), np.nan), np.full(len(d_an), np.nan)
        report = {**report, "zero_rows": 0}
    return Triplets(
        anchors=anchors,
        positives=positives,
        negatives=negatives,
        d_ap=d_ap,
        d_an=d_an,
        fell_back=np.zeros(len(anchors), dtype=np.bool_),
        report=MiningReport(triplets=len(anchors), **report),
    )


def nothing_to_draw(arguments: SampleArguments, kind: str, counted: Census) -> ValueError:
    """Return the error that says what there is instead."""
    if counted.triplets == 0:
        return ValueError(
            "labels: found no anchor with both a positive and a negative, expected at least one"
        )
    if arguments.cutoffs is not None:
        return ValueError(
            f"nonzero_loss_cutoff: found no negative nearer than {arguments.cutoffs[1]} to an "
            "anchor with a positive, expected at least one"
        )
    margin = arguments.among.margin
    hard, semihard, easy = counted.hard[0], counted.semihard[0], counted.easy[0]
    others = (
        f"{hard} hard and {easy} others"
        if margin is None
        else f"{hard} hard, {semihard} semi-hard and {easy} easy at margin {margin}"
    )
    return ValueError(
        f"type_of_triplets: found no {kind!r} triplets among {counted.triplets} ({others}), "
        "expected at least one"
    )
