from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

_Matrix = npt.NDArray[Any]
_Int64s = npt.NDArray[np.int64]
_Float64s = npt.NDArray[np.float64]
_Bytes = npt.NDArray[np.uint8]
_Progress = Callable[[int, int], object] | None

_Columns = tuple[_Int64s, _Int64s, _Int64s, _Float64s, _Float64s, _Bytes]

_Report = tuple[int, int, int, int, int, int, int, int, float, int, str, str]  # MiningReport's

class Mining:
    def __init__(
        self,
        embeddings: _Matrix,
        labels: _Int64s,
        ref_emb: _Matrix | None,
        ref_labels: _Int64s | None,
        pos_strategy: str,
        neg_strategy: str,
        metric: str,
        margin: float | None,
        type_of_triplets: str,
        fallback: str,
        num_negatives: int,
        range_min: int,
        pos_range: tuple[float, float],
        neg_range: tuple[float, float],
        groups: _Int64s | None,
        ref_groups: _Int64s | None,
        anchors: _Int64s | None,
        seed: int,
        n_threads: int,
        progress: _Progress,
        max_triplets: int,
        packing_budget: int,
    ) -> None: ...
    def all(self) -> tuple[int, _Columns | None, _Report]: ...
    def start(self) -> None: ...
    def next(self) -> tuple[int, _Columns, _Report] | None: ...

def mine_negatives(
    *,
    queries: _Matrix,
    corpus: _Matrix,
    positives: tuple[_Int64s, _Int64s],
    excluded: tuple[_Int64s, _Int64s],
    num_negatives: int,
    range_min: int,
    range_max: int | None,
    max_score: float | None,
    min_score: float | None,
    absolute_margin: float | None,
    relative_margin: float | None,
    positive_score: str,
    rank_among: str,
    sampling: str,
    metric: str,
    seed: int,
    n_threads: int,
    progress: _Progress,
    packing_budget: int,
) -> tuple[_Int64s, _Float64s, _Float64s, dict[str, int], int, dict[str, Any]]: ...
def census(
    *,
    embeddings: _Matrix,
    labels: _Int64s,
    ref_emb: _Matrix | None,
    ref_labels: _Int64s | None,
    margins: list[float],
    metric: str,
    groups: _Int64s | None,
    ref_groups: _Int64s | None,
    anchors: _Int64s | None,
    n_threads: int,
    progress: _Progress,
    packing_budget: int,
) -> tuple[_Int64s, _Int64s, _Int64s, _Float64s, dict[str, Any]]: ...
def sample(
    *,
    embeddings: _Matrix,
    labels: _Int64s,
    ref_emb: _Matrix | None,
    ref_labels: _Int64s | None,
    draws: int,
    type_of_triplets: str,
    margin: float | None,
    metric: str,
    cutoffs: tuple[float, float] | None,
    groups: _Int64s | None,
    ref_groups: _Int64s | None,
    anchors: _Int64s | None,
    seed: int,
    n_threads: int,
    progress: _Progress,
    packing_budget: int,
) -> tuple[
    tuple[_Int64s, _Int64s, _Int64s, _Float64s, _Float64s] | None,
    dict[str, Any],
]: ...
def nearest(
    *,
    x: _Matrix,
    y: _Matrix | None,
    k: int,
    metric: str,
    n_threads: int,
    progress: _Progress,
    packing_budget: int,
) -> tuple[_Int64s, _Float64s, dict[str, Any]]: ...
def pairwise_distances(
    *,
    x: _Matrix,
    y: _Matrix | None,
    metric: str,
    out: npt.NDArray[np.float32],
    n_threads: int,
    progress: _Progress,
) -> None: ...
def triplet_loss(
    *,
    embeddings: _Matrix,
    triplets: _Int64s,
    metric: str,
    margin: float,
    weights: _Float64s,
    gradient: _Matrix | None,
    n_threads: int,
) -> tuple[_Float64s, float]: ...
def contrastive_loss(
    *,
    embeddings: _Matrix,
    pairs: _Int64s,
    same: _Bytes,
    metric: str,
    margin: float,
    weights: _Float64s,
    gradient: _Matrix | None,
    n_threads: int,
) -> tuple[_Float64s, float]: ...
def batch_all_gradient(
    *,
    embeddings: _Matrix,
    labels: _Int64s,
    metric: str,
    margin: float,
    weight: float,
    gradient: _Matrix,
    n_threads: int,
    progress: _Progress,
    packing_budget: int,
) -> None: ...
def instruction_sets() -> list[tuple[str, str, bool]]: ...
def default_threads() -> int: ...
def build_info() -> dict[str, str]: ...
