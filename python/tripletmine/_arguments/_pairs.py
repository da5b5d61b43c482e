"""Arguments of ``nearest`` and ``pairwise_distances``."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tripletmine import _arrays, _options
from tripletmine._arrays import Array


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
