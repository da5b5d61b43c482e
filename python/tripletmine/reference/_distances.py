"""The canonical distances, and the two calls that return distances."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tripletmine import _arguments, _options

Float64s = npt.NDArray[np.float64]

_LANES = 8
_LARGEST_NORM2 = 2.0**1020


def sum8(terms: Float64s) -> Float64s:
    """Sum over the last axis by eight partial sums in a fixed order.

    Parameters
    ----------
    terms : ndarray of float64, shape (..., d)

    Returns
    -------
    ndarray of float64, shape (...)

    Examples
    --------
    >>> import numpy as np
    >>> float(sum8(np.arange(10.0)))
    45.0
    """
    partial = np.zeros((*terms.shape[:-1], _LANES))
    for k in range(0, terms.shape[-1], _LANES):
        next_terms = terms[..., k : k + _LANES]
        partial[..., : next_terms.shape[-1]] += next_terms
    p = [partial[..., lane] for lane in range(_LANES)]
    total: Float64s = ((p[0] + p[4]) + (p[2] + p[6])) + ((p[1] + p[5]) + (p[3] + p[7]))
    return total


def distance_matrix(x: npt.ArrayLike, y: npt.ArrayLike, metric: str) -> Float64s:
    """Return the canonical float64 distances of all rows of ``x`` to all rows of ``y``.

    Examples
    --------
    >>> import numpy as np
    >>> distance_matrix(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0]]), "euclidean")
    array([[5.]])
    """
    rows, others, metric = _arguments.pair_arguments(x, y, metric)
    b = widened("y", others)
    return np.stack([distances_to(row, b, metric) for row in widened("x", rows)])


def distances_to(row: Float64s, rows: Float64s, metric: str) -> Float64s:
    """Return the canonical distances of one row to all rows."""
    if metric in ("euclidean", "sqeuclidean"):
        squares = sum8((row - rows) * (row - rows))
        return np.sqrt(squares) if metric == "euclidean" else squares
    dots = sum8(row * rows)
    if metric == "dot":
        return -dots
    norm2, norms2 = sum8(row * row), sum8(rows * rows)
    tiny = np.finfo(np.float64).tiny
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        product = norm2 * norms2
        in_range = (product >= tiny) & np.isfinite(product)
        norms = np.where(in_range, np.sqrt(product), np.sqrt(norm2) * np.sqrt(norms2))
        distances = np.maximum(0.0, 1.0 - dots / norms)
    return np.where((norm2 == 0.0) | (norms2 == 0.0), 1.0, distances)


def widened(
    name: str, matrix: npt.NDArray[Any] | None, chosen: npt.NDArray[np.int64] | None = None
) -> Float64s:
    """Return the exact values of all rows, or of those chosen, as float64.

    All are finite, and so are the distances of any two of them.
    """
    assert matrix is not None
    numbers = np.arange(len(matrix)) if chosen is None else chosen
    rows = matrix[numbers]
    if rows.dtype == np.uint16:  # the bits of bfloat16
        rows = (rows.astype(np.uint32) << 16).view(np.float32)
    wide = rows.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        bad = np.flatnonzero(~(sum8(wide * wide) <= _LARGEST_NORM2))
    if bad.size:
        row = wide[bad[0]]
        if np.isfinite(row).all():
            raise ValueError(
                f"{name}: row {numbers[bad[0]]} has a squared norm beyond 2**1020, whose distances "
                "would overflow float64; expected smaller values (divide all rows by one number)"
            )
        column = int(np.flatnonzero(~np.isfinite(row))[0])
        value = "NaN" if math.isnan(row[column]) else str(row[column])
        raise ValueError(
            f"{name}: row {numbers[bad[0]]} holds {value} at column {column}, expected finite "
            "values"
        )
    return wide


def nearest(
    x: npt.ArrayLike,
    y: npt.ArrayLike | None = None,
    k: int = 1,
    *,
    metric: str = "cosine",
    n_threads: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[npt.NDArray[np.int64], Float64s]:
    """Do what :func:`tripletmine.nearest` does, by sorting whole rows."""
    rows, refs, metric = _arguments.pair_arguments(x, y, metric)
    k = _arguments.neighbours(k, rows, refs)
    _options.threads(n_threads)
    _options.progress(progress)
    wide = widened("x", rows)
    others = wide if refs is None else widened("y", refs)
    indices = np.empty((len(wide), k), dtype=np.int64)
    distances = np.empty((len(wide), k))
    for i, row in enumerate(wide):
        d = distances_to(row, others, metric)
        order = np.lexsort((np.arange(len(d)), d))
        if refs is None:
            order = order[order != i]
        indices[i], distances[i] = order[:k], d[order[:k]]
    return indices, distances


def pairwise_distances(
    x: npt.ArrayLike,
    y: npt.ArrayLike | None = None,
    *,
    metric: str = "cosine",
    out: npt.NDArray[np.float32] | None = None,
    n_threads: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> npt.NDArray[np.float32]:
    """Do what :func:`tripletmine.pairwise_distances` does: the distance matrix, rounded."""
    rows, refs, metric = _arguments.pair_arguments(x, y, metric)
    _options.threads(n_threads)
    _options.progress(progress)
    wide = widened("x", rows)
    others = wide if refs is None else widened("y", refs)
    result = _arguments.output(out, (len(wide), len(others)))
    result[...] = np.stack([distances_to(row, others, metric) for row in wide])
    return result
