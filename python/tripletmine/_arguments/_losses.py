"""Arguments of the losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tripletmine import _arrays, _options
from tripletmine._arguments._mine import MineArguments, all_triplets
from tripletmine._arrays import Array, Int64s


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
