"""``nearest`` and ``pairwise_distances``: the building blocks, without labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tripletmine import _arguments, _core, _memory, _options
from tripletmine._options import Metric

_CANDIDATE_BYTES = 32  # while a neighbour is both selected and returned


def nearest(
    x: npt.ArrayLike,
    y: npt.ArrayLike | None = None,
    k: int = 1,
    *,
    metric: Metric = "cosine",
    n_threads: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Find the k nearest rows of every row, exactly.

    Parameters
    ----------
    x : array_like of float, shape (n, d)
        Rows, as in :func:`mine`.
    y : array_like of float, shape (m, d), optional
        Rows to choose from; without it the other rows of ``x``.
    k : int
        Neighbours for each row, at most the number of candidates.
    metric : {"cosine", "dot", "euclidean", "sqeuclidean"}
        Distance, as in :func:`mine`.
    n_threads, progress
        As in :func:`mine`.

    Returns
    -------
    indices : ndarray of int64, shape (n, k)
        In ascending order of (distance, index): ties go to the lowest index.
    distances : ndarray of float64, shape (n, k)

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong kind or value, or a row is not finite.

    Examples
    --------
    >>> import numpy as np, tripletmine
    >>> x = np.array([[0.0], [1.0], [2.5]])
    >>> indices, distances = tripletmine.nearest(x, k=2, metric="euclidean")
    >>> indices.tolist(), distances.tolist()
    ([[1, 2], [0, 2], [1, 0]], [[1.0, 2.5], [1.0, 1.5], [1.5, 2.5]])
    """
    rows, refs, metric_name = _arguments.pair_arguments(x, y, metric)
    k = _arguments.neighbours(k, rows, refs)
    needed = len(rows) * k * _CANDIDATE_BYTES
    if needed > _memory.SMALL and needed > _memory.available():
        raise ValueError(
            f"k: found {k}, for which {len(rows)} rows need {needed} bytes, expected what fits in "
            "the free memory; call for a part of the rows at a time"
        )
    both = len(rows) + (0 if refs is None else len(refs))
    indices, distances, _ = _core.nearest(
        x=rows,
        y=refs,
        k=k,
        metric=metric_name,
        n_threads=_options.threads(n_threads),
        progress=_options.progress(progress),
        packing_budget=_memory.packing_budget(both, rows.shape[1]),
    )
    return indices.reshape(len(rows), k), distances.reshape(len(rows), k)


def pairwise_distances(
    x: npt.ArrayLike,
    y: npt.ArrayLike | None = None,
    *,
    metric: Metric = "cosine",
    out: npt.NDArray[np.float32] | None = None,
    n_threads: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> npt.NDArray[np.float32]:
    """Compute the distance of every row of ``x`` to every row of ``y``.

    Each entry is the canonical float64 distance rounded once to float32, so that near-duplicates
    keep their digits, and equal rows have exactly 0 (but for ``"dot"``).

    Parameters
    ----------
    x : array_like of float, shape (n, d)
        Rows, as in :func:`mine`.
    y : array_like of float, shape (m, d), optional
        Other rows; without it those of ``x``, and the result is symmetric.
    metric : {"cosine", "dot", "euclidean", "sqeuclidean"}
        Distance, as in :func:`mine`.
    out : ndarray of float32, shape (n, m), optional
        Where to write, for example a ``numpy.memmap``; any strides.
    n_threads, progress
        As in :func:`mine`.

    Returns
    -------
    ndarray of float32, shape (n, m)
        ``out`` if it was given.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong kind or value, a row is not finite, or a distance is beyond
        float32.
    MemoryError
        The result does not fit; the message has the bytes needed.

    Examples
    --------
    >>> import numpy as np, tripletmine
    >>> tripletmine.pairwise_distances(np.array([[0.0, 0.0], [3.0, 4.0]]), metric="euclidean")
    array([[0., 5.],
           [5., 0.]], dtype=float32)
    """
    rows, refs, metric_name = _arguments.pair_arguments(x, y, metric)
    result = _arguments.output(out, (len(rows), len(rows if refs is None else refs)))
    for name, array in (("x", rows), ("y", refs)):
        if array is not None and _overlap(result, array):
            raise ValueError(f"out: found memory shared with {name}, expected an array of its own")
    _core.pairwise_distances(
        x=rows,
        y=refs,
        metric=metric_name,
        out=result,
        n_threads=_options.threads(n_threads),
        progress=_options.progress(progress),
    )
    return result


def _overlap(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> bool:
    """Whether two arrays share an element, or it would take long to say."""
    try:
        return np.may_share_memory(a, b) and np.shares_memory(a, b, max_work=10**6)  # type: ignore[arg-type]
    except RuntimeError:  # too hard
        return True
