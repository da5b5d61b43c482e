"""``mine_blocks``: the rows of ``mine``, cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tripletmine import _arrays, _options
from tripletmine._results import Triplets, part_of
from tripletmine.reference._mine import mine


def mine_blocks(
    embeddings: npt.ArrayLike,
    labels: npt.ArrayLike,
    ref_emb: npt.ArrayLike | None = None,
    ref_labels: npt.ArrayLike | None = None,
    *,
    anchors: npt.ArrayLike | slice | None = None,
    block_triplets: int = 2**21,
    **options: Any,
) -> Iterator[Triplets]:
    """Do what :func:`tripletmine.mine_blocks` does: mine everything, then cut it."""
    args = (embeddings, labels, ref_emb, ref_labels)
    whole = mine(*args, anchors=anchors, **options)
    size = _options.integer("block_triplets", block_triplets, 1)
    return _cut(whole, size, args, anchors, options)


def _cut(
    whole: Triplets, size: int, args: tuple[Any, ...], anchors: Any, options: dict[str, Any]
) -> Iterator[Triplets]:
    length = len(args[0])
    subset = _arrays.anchors(anchors, length)
    rows = np.arange(length) if subset is None else subset
    for start in range(0, max(1, len(whole)), size):
        stop = min(len(whole), start + size)
        # The anchors that end in the block: those before the first triplet of the next one.
        ended = rows if stop == len(whole) else rows[rows < whole.anchors[stop]]
        rows = rows[len(ended) :]
        report = replace(
            mine(*args, anchors=ended, **options).report,
            triplets=stop - start,
            zero_rows=whole.report.zero_rows,
        )
        yield part_of(whole, slice(start, stop), report)
