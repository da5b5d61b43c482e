"""Arguments of ``sample``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from tripletmine import _arrays, _options
from tripletmine._arguments._mine import MineArguments, all_triplets

# Of distance-weighted sampling, as in the paper's code.
CUTOFF, NONZERO_LOSS_CUTOFF = 0.5, 1.4


@dataclass(frozen=True)
class SampleArguments:
    """What ``sample`` was asked: of which triplets, how many, and with which weights."""

    among: MineArguments
    draws: int
    cutoffs: tuple[float, float] | None  # of distance weights
    without_embeddings: bool


def sample_arguments(
    embeddings: npt.ArrayLike | None,
    labels: npt.ArrayLike,
    n: int,
    ref_emb: npt.ArrayLike | None,
    ref_labels: npt.ArrayLike | None,
    *,
    type_of_triplets: str,
    margin: float | None,
    metric: str,
    weights: str,
    cutoff: float,
    nonzero_loss_cutoff: float,
    groups: npt.ArrayLike | None,
    ref_groups: npt.ArrayLike | None,
    anchors: npt.ArrayLike | slice | None,
    seed: int,
    n_threads: int | None,
    progress: Any,
) -> SampleArguments:
    """Check the arguments of ``sample``."""
    without_embeddings = embeddings is None
    if embeddings is None:
        if ref_emb is not None:
            raise ValueError("ref_emb: found it without embeddings, expected both or neither")
        embeddings = _arrays.no_embeddings("labels", labels)
        if ref_labels is not None:
            ref_emb = _arrays.no_embeddings("ref_labels", ref_labels)
    draws = _options.integer("n", n, 1)
    kind = _options.choice("type_of_triplets", type_of_triplets, _options.SAMPLE_TYPES)
    weighting = _options.choice("weights", weights, _options.WEIGHTS)
    among = all_triplets(
        embeddings,
        labels,
        ref_emb,
        ref_labels,
        metric=metric,
        margin=margin,
        type_of_triplets="all" if kind == "any" else kind,
        groups=groups,
        ref_groups=ref_groups,
        anchors=anchors,
        seed=seed,
        n_threads=n_threads,
        progress=progress,
    )
    if kind == "any" and among.margin is not None:
        raise ValueError(
            f"margin: found {among.margin} with type_of_triplets 'any', expected None, or another "
            "type_of_triplets"
        )
    if without_embeddings and (kind != "any" or weighting != "uniform"):
        raise ValueError(
            f"embeddings: found None with type_of_triplets {kind!r} and weights {weighting!r}, "
            "expected rows, or 'any' and 'uniform'"
        )
    return SampleArguments(
        among,
        draws,
        _cutoffs(weighting, cutoff, nonzero_loss_cutoff, kind, among.metric),
        without_embeddings,
    )


def _cutoffs(
    weights: str, cutoff: Any, nonzero_loss_cutoff: Any, kind: str, metric: str
) -> tuple[float, float] | None:
    """Check the cutoffs of distance weights, and what these need."""
    near = _options.real("cutoff", cutoff)
    far = _options.real("nonzero_loss_cutoff", nonzero_loss_cutoff)
    if weights == "uniform":
        for name, value, default in (
            ("cutoff", near, CUTOFF),
            ("nonzero_loss_cutoff", far, NONZERO_LOSS_CUTOFF),
        ):
            if value != default:
                raise ValueError(
                    f"{name}: found {value} with weights 'uniform', which has none, expected "
                    f"{default}"
                )
        return None
    if kind != "any":
        raise ValueError(
            f"type_of_triplets: found {kind!r} with weights 'distance', expected 'any'"
        )
    if metric != "euclidean":
        raise ValueError(f"metric: found {metric!r} with weights 'distance', expected 'euclidean'")
    if not 0.0 < near < 2.0:
        raise ValueError(f"cutoff: found {near}, expected a number between 0 and 2")
    if not near <= far < 2.0:
        raise ValueError(
            f"nonzero_loss_cutoff: found {far}, expected a number of at least cutoff ({near}) and "
            "below 2"
        )
    return near, far
