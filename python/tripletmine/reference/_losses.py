"""The losses, entry by entry, with their gradients by the derivative of each distance."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tripletmine import _arguments
from tripletmine._arguments import LossArguments
from tripletmine.reference._distances import Float64s, distances_to, sum8, widened


def triplet_loss(
    embeddings: npt.ArrayLike,
    triplets: Any,
    *,
    margin: float = 0.1,
    metric: str = "sqeuclidean",
    reduction: str = "mean",
    grad: bool = False,
    n_threads: int | None = None,
) -> Any:
    """Do what :func:`tripletmine.triplet_loss` does, triplet by triplet."""
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
    sums = _Sums(arguments)
    losses = []
    for a, p, n in arguments.entries.tolist():
        d_ap, d_an = sums.distance(a, p), sums.distance(a, n)
        loss = arguments.margin - (d_an - d_ap)
        losses.append(max(0.0, loss))
        if loss > 0.0:
            sums.add(a, p, d_ap, 1.0)
            sums.add(a, n, d_an, -1.0)
    return sums.reduced(losses)


def contrastive_loss(
    embeddings: npt.ArrayLike,
    pairs: Any,
    same: npt.ArrayLike,
    *,
    margin: float = 1.0,
    metric: str = "euclidean",
    reduction: str = "mean",
    grad: bool = False,
    n_threads: int | None = None,
) -> Any:
    """Do what :func:`tripletmine.contrastive_loss` does, pair by pair."""
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
    sums = _Sums(arguments)
    losses = []
    kinds = _arguments.same(same, len(arguments.entries)).tolist()
    for (x, y), together in zip(arguments.entries.tolist(), kinds, strict=True):
        d = sums.distance(x, y)
        missing = d if together else max(0.0, arguments.margin - d)
        losses.append(missing * missing)
        sums.add(x, y, d, (2.0 if together else -2.0) * missing)
    return sums.reduced(losses)


def batch_all_loss(
    embeddings: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    margin: float = 0.1,
    metric: str = "sqeuclidean",
    reduction: str = "mean",
    grad: bool = False,
    n_threads: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Any:
    """Do what :func:`tripletmine.batch_all_loss` does, with every triplet listed."""
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
    rows = range(len(arguments.embeddings))
    same = arguments.labels[:, None] == arguments.labels
    triplets = [
        (a, p, n)
        for a in rows
        for p in rows
        if p != a and same[a, p]
        for n in rows
        if not same[a, n]
    ]
    return triplet_loss(
        embeddings, triplets, margin=margin, metric=metric, reduction=reduction, grad=wanted
    )


class _Sums:
    """The sums of a call: of the losses, and row by row of the derivatives of their distances."""

    def __init__(self, arguments: LossArguments) -> None:
        self.arguments = arguments
        self.rows = widened("embeddings", arguments.embeddings)
        self.norms2 = sum8(self.rows * self.rows)
        self.gradient = np.zeros_like(self.rows)

    def distance(self, x: int, y: int) -> float:
        """Return the canonical distance of two rows."""
        return float(distances_to(self.rows[x], self.rows[y : y + 1], self.arguments.metric)[0])

    def add(self, x: int, y: int, d: float, slope: float) -> None:
        """Add weight · slope · (the derivative of the distance d of two rows) by either row."""
        if slope != 0.0:
            weighted = self.arguments.weight * slope
            with np.errstate(over="ignore", invalid="ignore"):  # of a loss that is refused
                self.gradient[x] += self._derivative(weighted, x, y, d)
                self.gradient[y] += self._derivative(weighted, y, x, d)

    def _derivative(self, slope: float, x: int, y: int, d: float) -> Float64s:
        metric, own, other = self.arguments.metric, self.rows[x], self.rows[y]
        norm2, other_norm2 = float(self.norms2[x]), float(self.norms2[y])
        derivative: Float64s
        if metric == "dot":
            derivative = -slope * other
        elif d == 0.0 or (metric == "cosine" and 0.0 in (norm2, other_norm2)):
            derivative = np.zeros_like(own)  # where there is none
        elif metric == "cosine":
            per_own, per_other = 1.0 / math.sqrt(norm2), 1.0 / math.sqrt(other_norm2)
            along = (1.0 - d) * per_own
            derivative = (slope * per_own) * (along * own - per_other * other)
        else:
            factor = 2.0 * slope if metric == "sqeuclidean" else slope / d
            derivative = factor * (own - other)
        return derivative

    def reduced(self, losses: list[float]) -> Any:
        """Return what the call returns."""
        arguments = self.arguments
        each = np.array(losses, dtype=np.float64)
        total = float(sum8(each))
        if not math.isfinite(total):
            raise ValueError(
                "embeddings: found a loss beyond float64, expected smaller values (divide all rows "
                "by one number)"
            )
        if arguments.reduction == "none":
            return each
        loss = total / max(1, len(each)) if arguments.reduction == "mean" else total
        room = arguments.zero_gradient()
        return loss if room is None else (loss, self.gradient.astype(room.dtype))
