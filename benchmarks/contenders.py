"""Who mines: tripletmine and, for each peer, the fastest exact way found with that library.

Every contender takes rows of length 1, labels, a job and the number of threads, and returns what
``jobs`` says. Called by ``measure``; a library is imported by the call that needs it.

What made the peers fast (each choice was measured against its alternatives):

* rows sorted by class: a row's own class is then a range of columns, overwritten instead of
  masked, and the hardest positives cost one small product per class;
* NumPy and torch in tiles that stay in the cache; NumPy's tiles in a thread pool with one BLAS
  thread each, because ``argmax`` has no threads of its own;
* faiss and scikit-learn in one call for k + (largest class) neighbours: both are far slower with
  one search for each class, and faiss with an id selector;
* semi-hard negatives: one sort for each row answers all its pairs by binary search. NumPy sorts
  integers made of score and column, which its vectorised sort does faster than ``argsort``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from cases import LARGEST_BATCH, Case, Labels, Rows
from jobs import MARGIN, MARGINS, Answer, Indices, Job, counts_of

Picks = tuple[Indices, Indices]
Mine = Callable[[Rows, Labels, Job, int], Answer]

LARGEST_HEAVY = 25_000
LARGEST_SORTED = 25_000
TILE = 1024, 2048
ROWS = 512
SORTED_ROWS = 64
HEAVY = "holds n × n matrices: too much memory"
SLOW = "takes minutes"


@dataclass(frozen=True)
class Contender:
    """A way to do some kinds of jobs; ``smallest`` and ``limit`` are the sizes that it is asked."""

    name: str
    does: Mapping[str, Mine] = field(compare=False)  # by kind
    packages: tuple[str, ...]
    smallest: int = 0
    limit: int | None = None
    beyond_limit: str = HEAVY
    only_nearest: bool = False
    only_unprunable: bool = False

    def is_installed(self) -> bool:
        """Whether all it needs can be imported."""
        return all(find_spec(package) is not None for package in self.packages)

    def is_for(self, case: Case, job: Job) -> bool:
        """Whether it could be asked to do such a job."""
        return job.kind in self.does and not (self.only_unprunable and case.prunable)

    def mine(self, x: Rows, labels: Labels, job: Job, threads: int) -> Answer:
        """Do a job that it is for."""
        return self.does[job.kind](x, labels, job, threads)

    def why_not(self, case: Case, job: Job) -> str | None:
        """Return why it is not asked to do this job on this case, or None."""
        if case.n < self.smallest:
            return f"{self.name} (for larger sets)"
        if job.k > 1 and self.only_nearest:
            return f"{self.name} (finds one negative)"
        if self.limit is not None and case.n > self.limit:
            return f"{self.name} ({self.beyond_limit})"
        return None


def contenders(*, all_kernel_sets: bool, heavy: bool) -> list[Contender]:
    found = [
        _ours("tripletmine", {}),
        _ours("tripletmine, float32", {"TRIPLETMINE_FILTER": "fine"}, only_unprunable=True),
        _ours("tripletmine, int8 first", {"TRIPLETMINE_FILTER": "coarse"}, only_unprunable=True),
    ]
    if all_kernel_sets:
        import tripletmine

        found += [
            _ours(f"tripletmine {kernels.name}", {"TRIPLETMINE_ISA": kernels.name})
            for kernels in tripletmine.instruction_sets()
            if kernels.supported
        ]
    large, largest = LARGEST_BATCH + 1, LARGEST_HEAVY if heavy else LARGEST_BATCH
    miners = ("torch", "pytorch_metric_learning")
    return [
        *found,
        Contender("faiss", {"ranked": _faiss}, ("faiss",)),
        Contender("numpy", {"ranked": _numpy}, ("numpy", "threadpoolctl")),
        Contender("numpy row blocks", {"ranked": _numpy_rows}, ("numpy",), smallest=large),
        Contender("numpy", {"semihard": _numpy_semihard}, ("numpy", "threadpoolctl")),
        Contender("torch", {"ranked": _torch}, ("torch",)),
        Contender(
            "torch",
            {"semihard": _torch_semihard},
            ("torch",),
            limit=LARGEST_SORTED,
            beyond_limit=SLOW,
        ),
        Contender("scikit-learn", {"ranked": _sklearn}, ("sklearn",)),
        Contender(
            "pytorch-metric-learning",
            {"ranked": _batch_hard},
            miners,
            limit=largest,
            only_nearest=True,
        ),
        Contender(
            "pytorch-metric-learning", {"within": _margin_miner}, miners, limit=LARGEST_BATCH
        ),
        Contender("one sgemm", {"census": _product}, ("numpy",)),
        Contender("numpy", {"distances": _numpy_distances}, ("numpy",)),
        Contender("torch", {"distances": _torch_distances}, ("torch",)),
        Contender("scikit-learn", {"distances": _sklearn_distances}, ("sklearn",)),
    ]


def _ours(name: str, environment: dict[str, str], *, only_unprunable: bool = False) -> Contender:
    does: dict[str, Mine] = {
        "ranked": _our_ranked,
        "semihard": partial(_our_triplets, neg_strategy="semihard"),
        "within": partial(
            _our_triplets, neg_strategy="all", margin=MARGIN, type_of_triplets="semihard"
        ),
        "census": _our_census,
        "distances": _our_distances,
    }
    return Contender(
        name,
        {kind: partial(_with, environment, mine) for kind, mine in does.items()},
        ("tripletmine",),
        only_unprunable=only_unprunable,
    )


def _with(
    environment: dict[str, str], mine: Mine, x: Rows, labels: Labels, job: Job, threads: int
) -> Answer:
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        return mine(x, labels, job, threads)
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            os.environ.update({} if value is None else {name: value})


def _our_ranked(x: Rows, labels: Labels, job: Job, threads: int) -> Answer:
    import tripletmine

    found = tripletmine.mine(
        x, labels, pos_strategy="hard", neg_strategy="hard", num_negatives=job.k
    )
    return found.positives[:: job.k], found.negatives.reshape(-1, job.k)


def _our_triplets(x: Rows, labels: Labels, job: Job, threads: int, **options: Any) -> Answer:
    import tripletmine

    found = tripletmine.mine(x, labels, pos_strategy="all", **options)
    return found.anchors, found.positives, found.negatives


def _our_census(x: Rows, labels: Labels, job: Job, threads: int) -> Answer:
    import tripletmine

    found = tripletmine.census(x, labels, margins=MARGINS, per="anchor")
    return (counts_of(found),)


def _our_distances(x: Rows, labels: Labels, job: Job, threads: int) -> Answer:
    import tripletmine

    return (tripletmine.pairwise_distances(x),)


def _numpy_distances(x: Rows, labels: Labels, job: Job, threads: int) -> Answer:
    distances = x @ x.T
    return (np.subtract(np.float32(1), distances, out=distances),)


def _torch_distances(x: Rows, labels: Labels, job: Job, threads: int) -> Answer:
    import torch

    rows = torch.from_numpy(x)
    distances = rows @ rows.T
    return (distances.neg_().add_(1).numpy(),)


def _sklearn_distances(x: Rows, labels: Labels, job: Job, threads: int) -> Answer:
    import sklearn
    from sklearn.metrics.pairwise import cosine_distances

    with sklearn.config_context(assume_finite=True):
        return (cosine_distances(x),)


def _product(x: Rows, labels: Labels, job: Job, threads: int) -> Answer:
    """Compute every score and look at none."""
    buffer = np.empty((min(ROWS, len(x)), len(x)), np.float32)
    for lo in range(0, len(x), ROWS):
        rows = x[lo : lo + ROWS]
        np.matmul(rows, x.T, out=buffer[: len(rows)])
    return None


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


def _faiss(x: Rows, labels: Labels, job: Job, threads: int) -> Picks:
    import faiss

    wanted = min(len(x), int(np.bincount(labels).max()) + job.k)
    _, neighbours = faiss.knn(x, x, wanted, metric=faiss.METRIC_INNER_PRODUCT)
    return _of_neighbours(x, labels, job.k, neighbours)


def _sklearn(x: Rows, labels: Labels, job: Job, threads: int) -> Picks:
    import sklearn
    from sklearn.neighbors import NearestNeighbors

    wanted = min(len(x), int(np.bincount(labels).max()) + job.k)
    with sklearn.config_context(assume_finite=True):
        index = NearestNeighbors(n_neighbors=wanted, algorithm="brute", metric="sqeuclidean")
        neighbours = index.fit(x).kneighbors(x, return_distance=False)
    return _of_neighbours(x, labels, job.k, neighbours)


def _numpy(x: Rows, labels: Labels, job: Job, threads: int) -> Picks:
    """In tiles; a pool of threads shares the blocks of rows."""
    if len(x) <= LARGEST_BATCH:
        return _numpy_matrix(x, labels, job.k)
    from threadpoolctl import threadpool_limits

    by_class = _ByClass(x, labels)
    negatives = np.empty((len(x), job.k), np.int64)
    height, width = TILE

    def block(lo: int) -> None:
        hi = min(lo + height, len(x))
        buffer = np.empty((hi - lo) * width, np.float32)
        best = np.full((hi - lo, job.k), -np.inf, np.float32)
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


def _numpy_rows(x: Rows, labels: Labels, job: Job, threads: int) -> Picks:
    """In whole rows, one block after the other: what is written most."""
    by_class = _ByClass(x, labels)
    negatives = np.empty((len(x), job.k), np.int64)
    buffer = np.empty((ROWS, len(x)), np.float32)
    for lo in range(0, len(x), ROWS):
        hi = min(lo + ROWS, len(x))
        scores = np.matmul(by_class.x[lo:hi], by_class.x.T, out=buffer[: hi - lo])
        for rows, columns in by_class.own(lo, hi, 0, len(x)):
            scores[rows, columns] = -np.inf
        negatives[lo:hi] = _largest(scores, job.k)
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


def _torch(x: Rows, labels: Labels, job: Job, threads: int) -> Picks:
    """In tiles; torch shares each operation among its threads."""
    import torch

    if len(x) <= LARGEST_BATCH:
        return _torch_matrix(torch.from_numpy(x), torch.from_numpy(labels), job.k)
    by_class = _ByClass(x, labels)
    rows_of = torch.from_numpy(by_class.x)
    negatives = torch.empty((len(x), job.k), dtype=torch.int64)
    height, width = TILE
    for lo in range(0, len(x), height):
        hi = min(lo + height, len(x))
        best = torch.full((hi - lo, job.k), -torch.inf)
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


def _numpy_semihard(x: Rows, labels: Labels, job: Job, threads: int) -> Answer:
    """Sort whole rows, score and column in one number; a pool of threads shares the rows."""
    from threadpoolctl import threadpool_limits

    by_class = _ByClass(x, labels)
    columns_of = np.arange(len(x), dtype=np.int64)

    def block(lo: int) -> tuple[Indices, Indices, Indices]:
        hi = min(lo + SORTED_ROWS, len(x))
        keys = _ordered(by_class.x[lo:hi] @ by_class.x.T)
        found = []
        for rows, columns in by_class.own(lo, hi, 0, len(x)):
            wanted = keys[rows, columns].copy()
            keys[rows, columns] = NEVER
            keys[rows] |= columns_of
            keys[rows].sort(axis=1)
            for row, limits in zip(range(rows.start, rows.stop), wanted, strict=True):
                places = np.searchsorted(keys[row], limits) - 1
                negatives = keys[row][places]
                has_one = (places >= 0) & (negatives >= NEVER + len(x))
                has_one[lo + row - columns.start] = False
                positives = columns.start + np.flatnonzero(has_one)
                found.append((np.full(len(positives), lo + row), positives, negatives[has_one]))
        anchors, positives, negatives = map(np.concatenate, zip(*found, strict=True))
        return anchors, positives, negatives & COLUMN

    with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(block, range(0, len(x), SORTED_ROWS)))
    return tuple(by_class.order[np.concatenate(part)] for part in zip(*parts, strict=True))


NEVER = np.int64(-1) << 62
COLUMN = (np.int64(1) << 32) - 1


def _ordered(scores: Rows) -> Indices:
    """Return integers in the order of the scores, their lower halves zero."""
    bits = scores.view(np.int32)
    bits ^= (bits >> 31) & np.int32(0x7FFFFFFF)
    return np.left_shift(bits, 32, dtype=np.int64)


def _torch_semihard(x: Rows, labels: Labels, job: Job, threads: int) -> Answer:
    """In blocks of whole rows: sort, then a binary search for every pair."""
    import torch

    by_class = _ByClass(x, labels)
    rows_of = torch.from_numpy(by_class.x)
    found: list[tuple[Any, Any, Any]] = []
    for lo in range(0, len(x), ROWS):
        hi = min(lo + ROWS, len(x))
        scores = rows_of[lo:hi] @ rows_of.T
        parts = list(by_class.own(lo, hi, 0, len(x)))
        wanted = [scores[rows, columns].contiguous() for rows, columns in parts]
        for rows, columns in parts:
            scores[rows, columns] = -torch.inf
        values, order = scores.sort(dim=1)
        for (rows, columns), limits in zip(parts, wanted, strict=True):
            places = (torch.searchsorted(values[rows], limits) - 1).clamp_(min=0)
            nearest = values[rows].gather(1, places)
            has_one = (nearest > -torch.inf) & (nearest < limits)
            first = lo + rows.start - columns.start  # the anchors' own places
            has_one[torch.arange(len(limits)), torch.arange(len(limits)) + first] = False
            row, column = has_one.nonzero(as_tuple=True)
            negatives = order[rows].gather(1, places)[has_one]
            found.append((row + lo + rows.start, column + columns.start, negatives))
    return tuple(by_class.order[torch.cat(part).numpy()] for part in zip(*found, strict=True))


def _batch_hard(x: Rows, labels: Labels, job: Job, threads: int) -> Answer:
    import torch

    miner = _miner("BatchHardMiner")
    _, positives, negatives = miner(torch.from_numpy(x), torch.from_numpy(labels))
    return positives.numpy(), negatives.numpy()[:, None]


def _margin_miner(x: Rows, labels: Labels, job: Job, threads: int) -> Answer:
    import torch

    miner = _miner("TripletMarginMiner", margin=MARGIN, type_of_triplets="semihard")
    found = miner(torch.from_numpy(x), torch.from_numpy(labels))
    return tuple(indices.numpy() for indices in found)


@cache
def _miner(name: str, **options: Any) -> Any:
    """Return a miner, made once; the plain product is its fastest distance."""
    from pytorch_metric_learning import distances, miners

    distance = distances.DotProductSimilarity(normalize_embeddings=False)
    return getattr(miners, name)(distance=distance, **options)
