"""Who mines: tripletmine and, for each peer, the fastest exact way found with that library.

Every contender takes rows of length 1, labels, the number k of hard negatives and the number of
threads, and returns the hardest positive of every row, shape (n,), and its k hardest negatives in
any order, shape (n, k). Called by ``measure``; a library is imported by the call that needs it.

What made the peers fast (each choice was measured against its alternatives):

* rows sorted by class: a row's own class is then a range of columns, overwritten instead of
  masked, and the hardest positives cost one small product per class;
* NumPy and torch in tiles that stay in the cache; NumPy's tiles in a thread pool with one BLAS
  thread each, because ``argmax`` has no threads of its own;
* faiss and scikit-learn in one call for k + (largest class) neighbours: both are far slower with
  one search for each class, and faiss with an id selector.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from cases import LARGEST_BATCH, Case, Labels, Rows

Indices = npt.NDArray[np.int64]
Picks = tuple[Indices, Indices]
Mine = Callable[[Rows, Labels, int, int], Picks]

LARGEST_HEAVY = 25_000
TILE = 1024, 2048
ROWS = 512


@dataclass(frozen=True)
class Contender:
    """A way to mine; ``smallest`` and ``limit`` are the sizes of set that it is asked for."""

    name: str
    mine: Mine
    packages: tuple[str, ...]
    smallest: int = 0
    limit: int | None = None
    only_nearest: bool = False

    def is_installed(self) -> bool:
        """Whether all it needs can be imported."""
        return all(find_spec(package) is not None for package in self.packages)

    def why_not(self, case: Case, k: int) -> str | None:
        """Return why it is not asked to do this job on this case, or None."""
        if case.n < self.smallest:
            return f"{self.name} (for larger sets)"
        if k > 1 and self.only_nearest:
            return f"{self.name} (finds one negative)"
        if self.limit is not None and case.n > self.limit:
            return f"{self.name} (holds n × n matrices: too much memory)"
        return None


def contenders(*, all_kernel_sets: bool, heavy: bool) -> list[Contender]:
    found = [Contender("tripletmine", partial(_ours, None), ("tripletmine",))]
    if all_kernel_sets:
        import tripletmine

        found += [
            Contender(f"tripletmine {kernels.name}", partial(_ours, kernels.name), ("tripletmine",))
            for kernels in tripletmine.instruction_sets()
            if kernels.supported
        ]
    miner_limit = LARGEST_HEAVY if heavy else LARGEST_BATCH
    return [
        *found,
        Contender("faiss", _faiss, ("faiss",)),
        Contender("numpy", _numpy, ("numpy", "threadpoolctl")),
        Contender("numpy row blocks", _numpy_rows, ("numpy",), smallest=LARGEST_BATCH + 1),
        Contender("torch", _torch, ("torch",)),
        Contender("scikit-learn", _sklearn, ("sklearn",)),
        Contender(
            "pytorch-metric-learning",
            _pytorch_metric_learning,
            ("torch", "pytorch_metric_learning"),
            limit=miner_limit,
            only_nearest=True,
        ),
    ]


def _ours(kernels: str | None, x: Rows, labels: Labels, k: int, threads: int) -> Picks:
    import tripletmine

    if kernels is not None:
        before = os.environ.get("TRIPLETMINE_ISA")
        os.environ["TRIPLETMINE_ISA"] = kernels
    try:
        found = tripletmine.mine(
            x, labels, pos_strategy="hard", neg_strategy="hard", num_negatives=k, n_threads=threads
        )
    finally:
        if kernels is not None:
            os.environ.pop("TRIPLETMINE_ISA")
            os.environ.update({} if before is None else {"TRIPLETMINE_ISA": before})
    return found.positives[::k], found.negatives.reshape(-1, k)


class _ByClass:
    """Rows sorted by class, and the way back to the order they came in."""

    def __init__(self, x: Rows, labels: Labels) -> None:
        self.order = np.argsort(labels, kind="stable")
        self.x = x[self.order]
        ordered = labels[self.order]
        self.begins = np.flatnonzero(np.diff(ordered, prepend=ordered[0] - 1))
        self.ends = np.append(self.begins[1:], len(x))

    def own(self, lo: int, hi: int, left: int, right: int) -> Iterator[tuple[slice, slice]]:
        """Yield the parts of the tile of rows lo:hi and columns left:right that are one class."""
        first = np.searchsorted(self.ends, max(lo, left), "right")
        last = np.searchsorted(self.begins, min(hi, right), "left")
        for begin, end in zip(self.begins[first:last], self.ends[first:last], strict=True):
            yield (
                slice(max(begin, lo) - lo, min(end, hi) - lo),
                slice(max(begin, left) - left, min(end, right) - left),
            )

    def positives(self) -> Indices:
        """Return the hardest positive of every sorted row."""
        found = np.empty(len(self.x), np.int64)
        for begin, end in zip(self.begins, self.ends, strict=True):
            scores = self.x[begin:end] @ self.x[begin:end].T
            np.fill_diagonal(scores, np.inf)
            found[begin:end] = begin + scores.argmin(axis=1)
        return found

    def unsorted(self, positives: Indices, negatives: Indices) -> Picks:
        back = np.empty_like(self.order)
        back[self.order] = np.arange(len(back))
        return self.order[positives[back]], self.order[negatives[back]]


def _of_neighbours(x: Rows, labels: Labels, k: int, neighbours: Indices) -> Picks:
    """Keep the first k neighbours of another class; add the positives class by class."""
    others = labels[neighbours] != labels[:, None]
    if k == 1:
        first = others.argmax(axis=1)[:, None]
    else:
        others &= others.cumsum(axis=1, dtype=np.int32) <= k
        first = np.nonzero(others)[1].reshape(-1, k)
    by_class = _ByClass(x, labels)
    positives = np.empty(len(x), np.int64)
    positives[by_class.order] = by_class.order[by_class.positives()]
    return positives, np.take_along_axis(neighbours, first, axis=1)


def _faiss(x: Rows, labels: Labels, k: int, threads: int) -> Picks:
    import faiss

    wanted = min(len(x), int(np.bincount(labels).max()) + k)
    _, neighbours = faiss.knn(x, x, wanted, metric=faiss.METRIC_INNER_PRODUCT)
    return _of_neighbours(x, labels, k, neighbours)


def _sklearn(x: Rows, labels: Labels, k: int, threads: int) -> Picks:
    import sklearn
    from sklearn.neighbors import NearestNeighbors

    wanted = min(len(x), int(np.bincount(labels).max()) + k)
    with sklearn.config_context(assume_finite=True):
        index = NearestNeighbors(n_neighbors=wanted, algorithm="brute", metric="sqeuclidean")
        neighbours = index.fit(x).kneighbors(x, return_distance=False)
    return _of_neighbours(x, labels, k, neighbours)


def _numpy(x: Rows, labels: Labels, k: int, threads: int) -> Picks:
    """In tiles; a pool of threads shares the blocks of rows."""
    if len(x) <= LARGEST_BATCH:
        return _numpy_matrix(x, labels, k)
    from threadpoolctl import threadpool_limits

    by_class = _ByClass(x, labels)
    negatives = np.empty((len(x), k), np.int64)
    height, width = TILE

    def block(lo: int) -> None:
        hi = min(lo + height, len(x))
        buffer = np.empty((hi - lo) * width, np.float32)
        best = np.full((hi - lo, k), -np.inf, np.float32)
        chosen = negatives[lo:hi]
        for left in range(0, len(x), width):
            right = min(left + width, len(x))
            scores = buffer[: (hi - lo) * (right - left)].reshape(hi - lo, right - left)
            np.matmul(by_class.x[lo:hi], by_class.x[left:right].T, out=scores)
            for rows, columns in by_class.own(lo, hi, left, right):
                scores[rows, columns] = -np.inf
            _numpy_merge(scores, left, best, chosen)

    with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:
        list(pool.map(block, range(0, len(x), height)))
    return by_class.unsorted(by_class.positives(), negatives)


def _numpy_merge(scores: Rows, left: int, best: Rows, chosen: Indices) -> None:
    """Take what a tile has better than the k best so far."""
    k = best.shape[1]
    if k == 1:
        found = scores.argmax(axis=1)
        values = scores[np.arange(len(scores)), found]
        better = np.flatnonzero(values > best[:, 0])
        best[better, 0] = values[better]
        chosen[better, 0] = found[better] + left
        return
    better = np.flatnonzero(scores.max(axis=1) > best.min(axis=1))
    if scores.shape[1] > k:
        found = _largest(scores[better], k)
    else:
        found = np.broadcast_to(np.arange(scores.shape[1]), (len(better), scores.shape[1]))
    values = np.hstack([best[better], scores[better[:, None], found]])
    indices = np.hstack([chosen[better], found + left])
    kept = _largest(values, k)
    best[better] = np.take_along_axis(values, kept, axis=1)
    chosen[better] = np.take_along_axis(indices, kept, axis=1)


def _numpy_rows(x: Rows, labels: Labels, k: int, threads: int) -> Picks:
    """In whole rows, one block after the other: what is written most."""
    by_class = _ByClass(x, labels)
    negatives = np.empty((len(x), k), np.int64)
    buffer = np.empty((ROWS, len(x)), np.float32)
    for lo in range(0, len(x), ROWS):
        hi = min(lo + ROWS, len(x))
        scores = np.matmul(by_class.x[lo:hi], by_class.x.T, out=buffer[: hi - lo])
        for rows, columns in by_class.own(lo, hi, 0, len(x)):
            scores[rows, columns] = -np.inf
        negatives[lo:hi] = _largest(scores, k)
    return by_class.unsorted(by_class.positives(), negatives)


def _numpy_matrix(x: Rows, labels: Labels, k: int) -> Picks:
    scores = x @ x.T
    same = labels[:, None] == labels
    negatives = _largest(np.where(same, np.float32(-np.inf), scores), k)
    np.fill_diagonal(same, False)
    return np.where(same, scores, np.float32(np.inf)).argmin(axis=1), negatives


def _largest(scores: Rows, k: int) -> Indices:
    if k == 1:
        return scores.argmax(axis=1)[:, None]
    return np.argpartition(scores, scores.shape[1] - k, axis=1)[:, -k:]


def _torch(x: Rows, labels: Labels, k: int, threads: int) -> Picks:
    """In tiles; torch shares each operation among its threads."""
    import torch

    if len(x) <= LARGEST_BATCH:
        return _torch_matrix(torch.from_numpy(x), torch.from_numpy(labels), k)
    by_class = _ByClass(x, labels)
    rows_of = torch.from_numpy(by_class.x)
    negatives = torch.empty((len(x), k), dtype=torch.int64)
    height, width = TILE
    for lo in range(0, len(x), height):
        hi = min(lo + height, len(x))
        best = torch.full((hi - lo, k), -torch.inf)
        chosen = negatives[lo:hi]
        for left in range(0, len(x), width):
            right = min(left + width, len(x))
            scores = rows_of[lo:hi] @ rows_of[left:right].T
            for rows, columns in by_class.own(lo, hi, left, right):
                scores[rows, columns] = -torch.inf
            _torch_merge(scores, left, best, chosen)
    return by_class.unsorted(by_class.positives(), negatives.numpy())


def _torch_merge(scores: Any, left: int, best: Any, chosen: Any) -> None:
    import torch

    k = best.shape[1]
    if k == 1:
        values, found = scores.max(dim=1, keepdim=True)
        better = values > best
        best[better] = values[better]
        chosen[better] = found[better] + left
        return
    values, found = scores.topk(min(k, scores.shape[1]), dim=1, sorted=False)
    values, indices = torch.hstack([best, values]), torch.hstack([chosen, found + left])
    values, kept = values.topk(k, dim=1, sorted=False)
    best[:] = values
    chosen[:] = indices.gather(1, kept)


def _torch_matrix(x: Any, labels: Any, k: int) -> Picks:
    import torch

    scores = x @ x.T
    same = labels[:, None] == labels
    others = scores.masked_fill(same, -torch.inf)
    if k == 1:
        negatives = others.argmax(dim=1, keepdim=True)
    else:
        negatives = others.topk(k, dim=1, sorted=False).indices
    same.fill_diagonal_(False)
    positives = scores.masked_fill_(~same, torch.inf).argmin(dim=1)
    return positives.numpy(), negatives.numpy()


def _pytorch_metric_learning(x: Rows, labels: Labels, k: int, threads: int) -> Picks:
    import torch

    _, positives, negatives = _batch_hard_miner()(torch.from_numpy(x), torch.from_numpy(labels))
    return positives.numpy(), negatives.numpy()[:, None]


def _batch_hard_miner() -> Any:
    """Return the miner, made once; the plain product is its fastest distance."""
    global _miner
    if _miner is None:
        from pytorch_metric_learning import distances, miners

        distance = distances.DotProductSimilarity(normalize_embeddings=False)
        _miner = miners.BatchHardMiner(distance=distance)
    return _miner


_miner: Any = None
