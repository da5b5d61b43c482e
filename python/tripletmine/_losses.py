"""The losses: what given triplets or pairs cost, or all triplets of a set, and the gradient.

Called by training loops, and by ``tripletmine.torch`` for its autograd function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from tripletmine import _arguments, _core, _memory
from tripletmine._arguments import LossArguments
from tripletmine._census import census
from tripletmine._options import Metric, Reduction
from tripletmine._results import Triplets

Gradient = npt.NDArray[Any]
Float64s = npt.NDArray[np.float64]
TripletsLike = Triplets | tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike] | npt.ArrayLike
PairsLike = tuple[npt.ArrayLike, npt.ArrayLike] | npt.ArrayLike


@overload
def triplet_loss(
    embeddings: npt.ArrayLike,
    triplets: TripletsLike,
    *,
    margin: float = ...,
    metric: Metric = ...,
    reduction: Literal["mean", "sum"] = ...,
    grad: Literal[False] = ...,
    n_threads: int | None = ...,
) -> float: ...
@overload
def triplet_loss(
    embeddings: npt.ArrayLike,
    triplets: TripletsLike,
    *,
    margin: float = ...,
    metric: Metric = ...,
    reduction: Literal["mean", "sum"] = ...,
    grad: Literal[True],
    n_threads: int | None = ...,
) -> tuple[float, Gradient]: ...
@overload
def triplet_loss(
    embeddings: npt.ArrayLike,
    triplets: TripletsLike,
    *,
    margin: float = ...,
    metric: Metric = ...,
    reduction: Literal["none"],
    grad: Literal[False] = ...,
    n_threads: int | None = ...,
) -> Float64s: ...
@overload
def triplet_loss(
    embeddings: npt.ArrayLike,
    triplets: TripletsLike,
    *,
    margin: float = ...,
    metric: Metric = ...,
    reduction: Literal["mean", "sum"] = ...,
    grad: bool,
    n_threads: int | None = ...,
) -> float | tuple[float, Gradient]: ...
def triplet_loss(
    embeddings: npt.ArrayLike,
    triplets: TripletsLike,
    *,
    margin: float = 0.1,
    metric: Metric = "sqeuclidean",
    reduction: Reduction = "mean",
    grad: bool = False,
    n_threads: int | None = None,
) -> float | Float64s | tuple[float, Gradient]:
    """Compute max(0, margin + d_ap − d_an) over triplets, and its gradient by the embeddings.

    Computed in float64 from the rows' own values, with the same subtraction as in :func:`mine`: a
    triplet has a loss exactly if t = d_an − d_ap < margin. The same bytes for any number of
    threads.

    Parameters
    ----------
    embeddings : array_like of float, shape (n, d)
        Rows, as in :func:`mine`.
    triplets : Triplets, tuple of three arrays, or array_like of int, shape (T, 3)
        Rows of anchors, positives and negatives. A tuple holds three columns, anything else has
        one triplet a row.
    margin : float
        In the metric's own unit.
    metric : {"sqeuclidean", "euclidean", "cosine", "dot"}
        Distance, as in :func:`mine`. FaceNet's loss is the squared Euclidean one.
    reduction : {"mean", "sum", "none"}
        The mean over all triplets given (0 if there are none), their sum, or each one's own loss.
    grad : bool
        Whether to return the gradient too; of the mean or the sum.
    n_threads : int, optional
        As in :func:`mine`.

    Returns
    -------
    loss : float, or ndarray of float64, shape (T,)
    gradient : ndarray, shape (n, d)
        With ``grad=True``: float64 for float64 rows, else float32. Summed in float64 and rounded
        once; 0 for rows without a loss.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong kind or value, a row is not finite, or the loss or a gradient
        is too large for its type.

    Notes
    -----
    Where a distance has no derivative it counts as 0: ``euclidean`` and ``cosine`` at distance 0,
    ``cosine`` of a row of norm 0. At t = margin, the hinge's corner, the derivative is that of 0.

    References
    ----------
    Schroff, Kalenichenko and Philbin, "FaceNet: A Unified Embedding for Face Recognition and
    Clustering", 2015.

    Examples
    --------
    >>> import numpy as np, tripletmine
    >>> x = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> tripletmine.triplet_loss(x, [[0, 1, 2]], margin=0.5)
    0.5
    >>> loss, gradient = tripletmine.triplet_loss(x, [[0, 1, 2]], margin=0.5, grad=True)
    >>> gradient.tolist()
    [[-2.0, 2.0], [2.0, 0.0], [0.0, -2.0]]

    Training on triplets mined from the whole set::

        triplets = tripletmine.mine(x, labels, metric="sqeuclidean", margin=0.2)
        loss, gradient = tripletmine.triplet_loss(x, triplets, margin=0.2, grad=True)
    """
    arguments = _arguments.loss_arguments(
        embeddings,
        "triplets",
        triplets,
        3,
        margin=margin,
        metric=metric,
        reduction=reduction,
        grad=grad,
        n_threads=n_threads,
    )
    gradient = arguments.zero_gradient()
    each, total = _core.triplet_loss(
        triplets=arguments.entries, **_options_of_core(arguments, gradient)
    )
    return _reduced(arguments, each, total, gradient)


@overload
def contrastive_loss(
    embeddings: npt.ArrayLike,
    pairs: PairsLike,
    same: npt.ArrayLike,
    *,
    margin: float = ...,
    metric: Metric = ...,
    reduction: Literal["mean", "sum"] = ...,
    grad: Literal[False] = ...,
    n_threads: int | None = ...,
) -> float: ...
@overload
def contrastive_loss(
    embeddings: npt.ArrayLike,
    pairs: PairsLike,
    same: npt.ArrayLike,
    *,
    margin: float = ...,
    metric: Metric = ...,
    reduction: Literal["mean", "sum"] = ...,
    grad: Literal[True],
    n_threads: int | None = ...,
) -> tuple[float, Gradient]: ...
@overload
def contrastive_loss(
    embeddings: npt.ArrayLike,
    pairs: PairsLike,
    same: npt.ArrayLike,
    *,
    margin: float = ...,
    metric: Metric = ...,
    reduction: Literal["none"],
    grad: Literal[False] = ...,
    n_threads: int | None = ...,
) -> Float64s: ...
@overload
def contrastive_loss(
    embeddings: npt.ArrayLike,
    pairs: PairsLike,
    same: npt.ArrayLike,
    *,
    margin: float = ...,
    metric: Metric = ...,
    reduction: Literal["mean", "sum"] = ...,
    grad: bool,
    n_threads: int | None = ...,
) -> float | tuple[float, Gradient]: ...
def contrastive_loss(
    embeddings: npt.ArrayLike,
    pairs: PairsLike,
    same: npt.ArrayLike,
    *,
    margin: float = 1.0,
    metric: Metric = "euclidean",
    reduction: Reduction = "mean",
    grad: bool = False,
    n_threads: int | None = None,
) -> float | Float64s | tuple[float, Gradient]:
    """Compute d² of same pairs and max(0, margin − d)² of different ones, and the gradient.

    Parameters
    ----------
    embeddings : array_like of float, shape (n, d)
        Rows, as in :func:`mine`.
    pairs : tuple of two arrays, or array_like of int, shape (P, 2)
        Rows. A tuple holds two columns, anything else has one pair a row.
    same : array_like of bool, shape (P,)
        Whether a pair belongs together.
    margin : float
        How far apart pairs that do not should be, in the metric's own unit.
    metric : {"euclidean", "sqeuclidean", "cosine", "dot"}
        Distance, as in :func:`mine`. (``dot`` may be negative: then d² is not least where the rows
        are closest.)
    reduction, grad, n_threads
        As in :func:`triplet_loss`.

    Returns
    -------
    loss : float, or ndarray of float64, shape (P,)
    gradient : ndarray, shape (n, d)
        As in :func:`triplet_loss`.

    Raises
    ------
    TypeError, ValueError
        As in :func:`triplet_loss`.

    References
    ----------
    Hadsell, Chopra and LeCun, "Dimensionality Reduction by Learning an Invariant Mapping", 2006
    (whose loss has a factor of one half).

    Examples
    --------
    >>> import numpy as np, tripletmine
    >>> x = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 0.25]])
    >>> tripletmine.contrastive_loss(x, [[0, 1], [0, 2]], [True, False], reduction="none")
    array([25.    ,  0.5625])
    """
    arguments = _arguments.loss_arguments(
        embeddings,
        "pairs",
        pairs,
        2,
        margin=margin,
        metric=metric,
        reduction=reduction,
        grad=grad,
        n_threads=n_threads,
    )
    gradient = arguments.zero_gradient()
    each, total = _core.contrastive_loss(
        pairs=arguments.entries,
        same=_arguments.same(same, len(arguments.entries)),
        **_options_of_core(arguments, gradient),
    )
    return _reduced(arguments, each, total, gradient)


@overload
def batch_all_loss(
    embeddings: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    margin: float = ...,
    metric: Metric = ...,
    reduction: Literal["mean", "sum"] = ...,
    grad: Literal[False] = ...,
    n_threads: int | None = ...,
    progress: Callable[[int, int], object] | None = ...,
) -> float: ...
@overload
def batch_all_loss(
    embeddings: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    margin: float = ...,
    metric: Metric = ...,
    reduction: Literal["mean", "sum"] = ...,
    grad: Literal[True],
    n_threads: int | None = ...,
    progress: Callable[[int, int], object] | None = ...,
) -> tuple[float, Gradient]: ...
@overload
def batch_all_loss(
    embeddings: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    margin: float = ...,
    metric: Metric = ...,
    reduction: Literal["mean", "sum"] = ...,
    grad: bool,
    n_threads: int | None = ...,
    progress: Callable[[int, int], object] | None = ...,
) -> float | tuple[float, Gradient]: ...
def batch_all_loss(
    embeddings: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    margin: float = 0.1,
    metric: Metric = "sqeuclidean",
    reduction: Literal["mean", "sum"] = "mean",
    grad: bool = False,
    n_threads: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> float | tuple[float, Gradient]:
    """Compute max(0, margin + d_ap − d_an) over every triplet of a set, and its gradient.

    No triplet is listed. The loss is that of one pass over the pairs (see :func:`census`); for the
    gradient all distances are computed in float64, a block of anchors at a time, so that memory
    grows with the number of rows and the time with its square.

    Parameters
    ----------
    embeddings : array_like of float, shape (n, d)
        Rows, as in :func:`mine`.
    labels : array_like of int or str, shape (n,)
        As in :func:`mine`.
    margin, metric, grad
        As in :func:`triplet_loss`.
    reduction : {"mean", "sum"}
        Over all triplets of the set (0 if there are none). Of those with a loss alone the mean is
        ``census(...).mean_active_loss``.
    n_threads, progress
        As in :func:`mine`.

    Returns
    -------
    loss : float
        To about 1e-6 of its value.
    gradient : ndarray, shape (n, d)
        With ``grad=True``, as in :func:`triplet_loss`; which triplets have a loss is decided
        exactly.

    Raises
    ------
    TypeError, ValueError
        As in :func:`triplet_loss`.

    References
    ----------
    Hermans, Beyer and Leibe, "In Defense of the Triplet Loss for Person Re-Identification", 2017
    ("batch all").

    Examples
    --------
    >>> import numpy as np, tripletmine
    >>> x = np.array([[0.0], [1.0], [1.5], [4.0]])
    >>> loss = tripletmine.batch_all_loss(x, [0, 0, 1, 1], margin=1.0, reduction="sum")
    >>> round(loss, 4)
    13.75
    """
    arguments, wanted = _arguments.batch_all_arguments(
        embeddings,
        labels,
        margin=margin,
        metric=metric,
        reduction=reduction,
        grad=grad,
        n_threads=n_threads,
        progress=progress,
    )
    counted: Any = census(
        embeddings,
        labels,
        margins=[margin],
        metric=metric,
        n_threads=n_threads,
        progress=_part(progress, 0, 1 + wanted, len(arguments.embeddings)),
    )
    mean = counted.mean_loss[0] if counted.triplets else 0.0
    loss = float(mean if reduction == "mean" else mean * counted.triplets)
    if not np.isfinite(loss):
        raise ValueError(
            f"embeddings: found a loss beyond float64 with margin {margin}, expected smaller "
            "values (divide all rows by one number) and a smaller margin"
        )
    if not wanted:
        return loss
    rows = arguments.embeddings
    gradient = _arguments.zero_gradient(rows)
    _core.batch_all_gradient(
        embeddings=rows,
        labels=arguments.labels,
        metric=arguments.metric,
        margin=float(margin),
        weight=1.0 / max(1, counted.triplets) if reduction == "mean" else 1.0,
        gradient=gradient,
        n_threads=arguments.n_threads,
        progress=_part(progress, 1, 2, len(rows)),
        packing_budget=_memory.packing_budget(len(rows), rows.shape[1]),
    )
    return loss, gradient


def _part(
    progress: Callable[[int, int], object] | None, number: int, parts: int, rows: int
) -> Callable[[int, int], object] | None:
    """Return what tells of a pass over all pairs as one of several."""
    pairs = rows * (rows - 1)
    if progress is None:
        return None
    return lambda done, total: progress(number * pairs + pairs * done // total, parts * pairs)


def weighted_triplet_gradient(
    embeddings: npt.ArrayLike,
    triplets: TripletsLike,
    weights: Float64s,
    *,
    margin: float,
    metric: Metric,
    n_threads: int | None,
) -> Gradient:
    """Return the gradient of Σ weight · loss over triplets, one weight for each."""
    arguments = _arguments.loss_arguments(
        embeddings,
        "triplets",
        triplets,
        3,
        margin=margin,
        metric=metric,
        reduction="sum",
        grad=True,
        n_threads=n_threads,
    )
    gradient = arguments.zero_gradient()
    assert gradient is not None
    options = _options_of_core(arguments, gradient)
    _core.triplet_loss(triplets=arguments.entries, **{**options, "weights": weights})
    return gradient


def _options_of_core(arguments: LossArguments, gradient: Gradient | None) -> dict[str, Any]:
    return {
        "embeddings": arguments.embeddings,
        "metric": arguments.metric,
        "margin": arguments.margin,
        "weights": np.array([arguments.weight]),
        "gradient": gradient,
        "n_threads": arguments.n_threads,
    }


def _reduced(
    arguments: LossArguments, each: Float64s, total: float, gradient: Gradient | None
) -> float | Float64s | tuple[float, Gradient]:
    if arguments.reduction == "none":
        return each
    loss = total / max(1, len(each)) if arguments.reduction == "mean" else total
    return loss if gradient is None else (loss, gradient)
