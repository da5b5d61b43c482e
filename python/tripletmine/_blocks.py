"""``mine_blocks``: what ``mine`` returns, a block at a time, when it is more than memory holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy.typing as npt

from tripletmine import _core, _options
from tripletmine._arguments import mine_arguments
from tripletmine._mine import core_call, from_core
from tripletmine._options import Fallback, Metric, NegStrategy, PosStrategy, TripletType
from tripletmine._results import Triplets


def mine_blocks(
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
    block_triplets: int = 2**21,
    seed: int = 0,
    n_threads: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Iterator[Triplets]:
    """Yield the triplets of :func:`tripletmine.mine` as consecutive blocks of one size.

    For results larger than memory: every positive with every negative of 22,500 rows are
    7.5e10 triplets. Arguments are checked, and rows measured, by the call itself; the rest of the
    work is done as blocks are asked for. The embeddings must not change meanwhile.

    Parameters
    ----------
    embeddings, labels, ref_emb, ref_labels, pos_strategy, neg_strategy, metric, margin, \
type_of_triplets, fallback, num_negatives, range_min, allowed_pos_range, allowed_neg_range, \
groups, ref_groups, anchors, seed, n_threads, progress
        As of :func:`tripletmine.mine`.
    block_triplets : int
        Triplets in a block, in place of ``max_triplets``: every block but the last has so many,
        and each takes 41 bytes (so 86 MB by default).

    Yields
    ------
    Triplets
        Consecutive triplets, at least one block of them (empty if there are none). An anchor, or
        one of its pairs, may be continued in the next block. The report of a block counts the
        anchors that end in it, so that the counts of all blocks add up to those of ``mine``.

    Raises
    ------
    TypeError, ValueError
        As of :func:`tripletmine.mine`; ``max_triplets`` has no part in it.

    Notes
    -----
    ``pos_strategy="all", neg_strategy="all", margin=...`` is batch-all mining (Hermans, Beyer and
    Leibe, "In Defense of the Triplet Loss", 2017) over the whole set.

    Beyond input and block this takes about 4·n·d bytes for the packed rows, and at most a few
    hundred megabytes for what is chosen for the anchors at hand. Leaving the loop early is fine;
    the memory goes when the iterator does.

    Examples
    --------
    >>> import numpy as np, tripletmine
    >>> rng = np.random.default_rng(0)
    >>> x, labels = rng.normal(size=(60, 8)), np.arange(60) % 6
    >>> blocks = tripletmine.mine_blocks(x, labels, pos_strategy="all", neg_strategy="all",
    ...                                  block_triplets=10_000)
    >>> [len(block) for block in blocks]
    [10000, 10000, 7000]
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
        max_triplets=None,
        seed=seed,
        n_threads=n_threads,
        progress=progress,
    )
    mining = core_call(arguments, _options.integer("block_triplets", block_triplets, 1))
    mining.start()
    return _blocks(mining)


def _blocks(mining: _core.Mining) -> Iterator[Triplets]:
    while (found := mining.next()) is not None:
        _, columns, report = found
        yield from_core(columns, report)
