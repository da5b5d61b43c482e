"""``census``: how many triplets of each kind a set holds, counted by the core, listed by nobody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tripletmine import _arguments, _arrays, _core, _memory, _options
from tripletmine._arguments import MineArguments
from tripletmine._options import Metric, Per
from tripletmine._results import Float64s, Int64s, MiningReport
from tripletmine._summary import plain_table

Keys = list[Any] | Int64s | None
# Of the whole set int and float; of each class list of int and ndarray; of each anchor ndarrays.
Number = Any
Mean = Any

HEADER = ("margin", "hard", "semi-hard", "easy", "mean loss", "where there is one")


@dataclass(frozen=True, eq=False, repr=False)
class Census:
    """Numbers of triplets for each margin, and their mean loss.

    With ``per`` every number stands for several: one for each of ``keys``, in their order. Of the
    whole set and of classes the counts are Python ints, which have no largest value; of anchors
    they are arrays.

    Attributes
    ----------
    margins : tuple of float
        As given.
    triplets : int, or one for each key
        All triplets.
    hard, semihard, easy : list of (int, or one for each key)
        For each margin the triplets with t <= 0, 0 < t <= margin and t > margin, where
        t = d_an − d_ap. Exact.
    mean_loss : list of (float, or one for each key)
        For each margin the mean of max(0, margin − t) over all triplets; NaN without any.
    mean_active_loss : list of (float, or one for each key)
        The mean over the hard and the semi-hard ones, those with a loss; NaN without any.
    per : {None, "anchor", "class"}
        What was counted apart.
    keys : None, ndarray of int64 or list
        The anchors' rows, or the anchors' labels, ascending.
    report : MiningReport

    Examples
    --------
    >>> import numpy as np, tripletmine
    >>> x = np.array([[0.0], [1.0], [2.5], [4.0]])
    >>> census = tripletmine.census(x, [0, 0, 1, 1], margins=[0.5, 2.0], metric="euclidean")
    >>> census.triplets, census.hard, census.semihard, census.easy
    (8, [1, 1], [1, 5], [6, 2])
    >>> print(census)
    margin  hard  semi-hard  easy  mean loss  where there is one
    0.5        1          1     6     0.0625                0.25
    2          1          5     2     0.6875            0.916667
    """

    margins: tuple[float, ...]
    triplets: Number
    hard: list[Number]
    semihard: list[Number]
    easy: list[Number]
    mean_loss: list[Mean]
    mean_active_loss: list[Mean]
    per: Per | None
    keys: Keys
    report: MiningReport

    def __repr__(self) -> str:
        """Return a one-line summary."""
        each = "" if self.keys is None else f" of {len(self.keys)} {_PLURAL[self.per]}"
        return (
            f"<Census: {self.report.triplets} triplets{each} at "
            f"{len(self.margins)} margin{'s' * (len(self.margins) != 1)}>"
        )

    def __str__(self) -> str:
        """Return a table, a line for each margin and key."""
        return "\n".join(plain_table(*self.table()))

    def records(self) -> list[dict[str, Any]]:
        """Return the numbers as one flat dictionary for each margin and key.

        For ``json``, ``csv`` or a ``pandas.DataFrame``.
        """
        records: list[dict[str, Any]] = []
        for m, margin in enumerate(self.margins):
            columns = {
                "triplets": self.triplets,
                "hard": self.hard[m],
                "semihard": self.semihard[m],
                "easy": self.easy[m],
                "mean_loss": self.mean_loss[m],
                "mean_active_loss": self.mean_active_loss[m],
            }
            if self.per is None:
                records.append({"margin": margin, **columns})
                continue
            lists: Any = [_listed(column) for column in (self.keys, *columns.values())]
            for key, *values in zip(*lists, strict=True):
                numbers = dict(zip(columns, values, strict=True))
                records.append({self.per: key, "margin": margin, **numbers})
        return records

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return the header and the rows of a table for people."""
        rows = []
        for record in self.records():
            key = [] if self.per is None else [str(record[self.per])]
            counts = [f"{record[kind]:,}" for kind in ("hard", "semihard", "easy")]
            means = [f"{record[mean]:.6}" for mean in ("mean_loss", "mean_active_loss")]
            rows.append([*key, f"{record['margin']:g}", *counts, *means])
        return ([] if self.per is None else [self.per]) + list(HEADER), rows


_PLURAL = {None: "", "anchor": "anchors", "class": "classes"}


def census(
    embeddings: npt.ArrayLike,
    labels: npt.ArrayLike,
    ref_emb: npt.ArrayLike | None = None,
    ref_labels: npt.ArrayLike | None = None,
    *,
    margins: npt.ArrayLike,
    metric: Metric = "cosine",
    per: Per | None = None,
    groups: npt.ArrayLike | None = None,
    ref_groups: npt.ArrayLike | None = None,
    anchors: npt.ArrayLike | slice | None = None,
    n_threads: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Census:
    """Count the hard, semi-hard and easy triplets among all triplets of a set, for each margin.

    No triplet is listed: the time is that of one pass over the pairs of rows, memory grows with the
    number of rows. What to choose a margin by, to see how far training has come, or to know how
    many triplets ``mine`` with every positive and every negative would return.

    Parameters
    ----------
    embeddings, labels, ref_emb, ref_labels, groups, ref_groups, anchors, n_threads, progress
        As in :func:`mine`. All triplets are those of every anchor, each of its positives and each
        of its negatives.
    margins : float or sequence of float
        Finite numbers of at least 0, in the metric's own unit.
    metric : {"cosine", "dot", "euclidean", "sqeuclidean"}
        As in :func:`mine`.
    per : {None, "anchor", "class"}
        Count the whole set, or apart by anchor, or by the anchors' class.

    Returns
    -------
    Census
        The counts are exact; the mean losses of a thousand anchors or more are
        good to about 1e-6 of their value, those of single anchors to about 1e-4.

    Raises
    ------
    TypeError
        An argument is of the wrong kind.
    ValueError
        An argument has a wrong value, or a row is not finite.

    Notes
    -----
    The mean loss over all triplets is the "batch all" loss of Hermans, Beyer and Leibe ("In Defense
    of the Triplet Loss", 2017) with the whole set as the batch; ``mean_active_loss`` is its variant
    over the triplets that have one.

    Examples
    --------
    >>> import numpy as np, tripletmine
    >>> rng = np.random.default_rng(0)
    >>> labels = np.arange(300) % 3
    >>> x = rng.normal(size=(300, 8)) + 2 * np.eye(3, 8)[labels]
    >>> census = tripletmine.census(x, labels, margins=[0.1, 0.4])
    >>> census
    <Census: 5940000 triplets at 2 margins>
    >>> census.hard[0] + census.semihard[0] + census.easy[0] == census.triplets
    True
    >>> by_class = tripletmine.census(x, labels, margins=[0.1], per="class")
    >>> by_class.keys, by_class.triplets
    ([0, 1, 2], [1980000, 1980000, 1980000])
    """
    arguments = _arguments.all_triplets(
        embeddings,
        labels,
        ref_emb,
        ref_labels,
        metric=metric,
        groups=groups,
        ref_groups=ref_groups,
        anchors=anchors,
        n_threads=n_threads,
        progress=progress,
    )
    numbers = _options.margins(margins)
    split = None if per is None else _options.choice("per", per, _options.PERS)
    rows = len(arguments.embeddings)
    rows += 0 if arguments.ref_emb is None else arguments.n_candidates
    triplets, hard, with_loss, loss, report = _core.census(
        embeddings=arguments.embeddings,
        labels=arguments.labels,
        ref_emb=arguments.ref_emb,
        ref_labels=arguments.ref_labels,
        margins=list(numbers),
        metric=arguments.metric,
        groups=arguments.groups,
        ref_groups=arguments.ref_groups,
        anchors=arguments.anchors,
        n_threads=arguments.n_threads,
        progress=arguments.progress,
        packing_budget=_memory.packing_budget(rows, arguments.embeddings.shape[1]),
    )
    shape = (len(triplets), len(numbers))
    return gathered(
        arguments, labels, numbers, split, triplets, hard,
        with_loss.reshape(shape), loss.reshape(shape), report,
    )  # fmt: skip


def gathered(
    arguments: MineArguments,
    labels: npt.ArrayLike,
    margins: tuple[float, ...],
    per: str | None,
    triplets: Int64s,
    hard: Int64s,
    with_loss: Int64s,
    loss: Float64s,
    report: dict[str, Any],
) -> Census:
    """Put together what was counted for each anchor: (anchors,), and (anchors, margins)."""
    counts = np.column_stack([triplets, hard, with_loss])
    keys: Keys = None
    if per == "anchor":
        keys = arguments.rows
    else:
        starts = _WHOLE
        if per == "class":
            labels = _arrays.label_array("labels", labels, len(arguments.embeddings))
            names, places = np.unique(labels[arguments.rows], return_inverse=True)
            keys, order = names.tolist(), np.argsort(places, kind="stable")
            counts, loss = counts[order], loss[order]
            starts = np.searchsorted(places[order], np.arange(len(names)))
        counts, loss = _exact_sums(counts, starts), _sums(loss, starts)

    def numbers(values: npt.NDArray[Any]) -> Any:
        """Return an entry for each key as the kind of Number or Mean it is."""
        if per is None:
            return values[0] if values.dtype == object else float(values[0])
        return values.tolist() if values.dtype == object else values

    total, with_hard, active = counts[:, 0], counts[:, 1], counts[:, 2:]
    each = range(len(margins))
    with np.errstate(invalid="ignore"):  # no triplets, or none with a loss
        mean = loss / total.astype(np.float64)[:, None]
        mean_active = loss / active.astype(np.float64)
    return Census(
        margins=margins,
        triplets=numbers(total),
        hard=[numbers(with_hard) for _ in each],
        semihard=[numbers(active[:, m] - with_hard) for m in each],
        easy=[numbers(total - active[:, m]) for m in each],
        mean_loss=[numbers(mean[:, m]) for m in each],
        mean_active_loss=[numbers(mean_active[:, m]) for m in each],
        per=per,  # type: ignore[arg-type]
        keys=keys,
        report=MiningReport(triplets=int(_exact_sums(triplets[:, None], _WHOLE)[0, 0]), **report),
    )


_WHOLE = np.zeros(1, dtype=np.int64)


def _exact_sums(values: npt.NDArray[Any], starts: Int64s) -> npt.NDArray[Any]:
    """Sum the rows of each class as Python ints: 64 bits may be too few."""
    low, high = _sums(values & 0xFFFFFFFF, starts), _sums(values >> 32, starts)
    sums: npt.NDArray[Any] = high.astype(object) * 2**32 + low.astype(object)
    return sums


def _sums(values: npt.NDArray[Any], starts: Int64s) -> npt.NDArray[Any]:
    """Sum the rows from each start to the next."""
    if not len(values):
        return np.zeros((len(starts), values.shape[1]), dtype=values.dtype)
    with np.errstate(over="ignore"):  # a sum beyond float64 is inf
        sums: npt.NDArray[Any] = np.add.reduceat(values, starts, axis=0)
    return sums


def _listed(values: Any) -> list[Any]:
    entries: list[Any] = values.tolist() if isinstance(values, np.ndarray) else values
    return entries
