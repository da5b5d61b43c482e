"""``mine_negatives``: negatives for known positives, and ``Negatives``, what it returns.

The search and every decision are the core's; here are the ways out to rows for training. pyarrow is
imported only when a table is asked for.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from tripletmine import _core, _memory, _options
from tripletmine._arguments import NegativesArguments, negatives_arguments
from tripletmine._files import import_pyarrow, replacing
from tripletmine._options import Metric, PositiveScore, RankAmong, Sampling
from tripletmine._results import METADATA_KEY, read_saved, write_saved

if TYPE_CHECKING:
    import pyarrow as pa

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]

OutputFormat = Literal["triplet", "n-tuple", "labeled-pair", "labeled-list"]
OUTPUT_FORMATS: tuple[str, ...] = get_args(OutputFormat)

_CANDIDATE_BYTES = 16  # of a result's entry, and of a rank that is known while a query is answered
_QUERIES_AT_A_TIME = 128  # of each thread


@dataclass(frozen=True)
class NegativesReport:
    """What happened during a call of :func:`mine_negatives`.

    Attributes
    ----------
    queries : int
        Rows of ``queries``.
    short_queries : int
        Queries with fewer than ``num_negatives`` negatives.
    negatives : int
        Negatives found, of all queries.
    rejected_by_absolute_margin, rejected_by_relative_margin : int
        Pairs of a query and a candidate that the rule refuses. A pair that several rules refuse is
        counted once, in the order of these fields.
    rejected_by_max_score, rejected_by_min_score : int
        Likewise.
    zero_rows : int
        Rows of norm 0 among queries and corpus; by definition their cosine similarity to
        everything is 0.
    pairs_considered : int
        Pairs of a query and a candidate: no positive of its own, and not excluded.
    pairs_decided : int
        Pairs for which the filter left the decision to the float64 distance. The only count that
        may differ from run to run.
    seconds : float
        Wall-clock time inside the core.
    threads : int
        Threads used.
    instruction_set : str
        Name of the kernel set used.
    plan : str
        The scores that filtered, in the order of their first use, as in
        :class:`~tripletmine.MiningReport`.
    """

    queries: int
    short_queries: int
    negatives: int
    rejected_by_absolute_margin: int
    rejected_by_relative_margin: int
    rejected_by_max_score: int
    rejected_by_min_score: int
    zero_rows: int
    pairs_considered: int
    pairs_decided: int
    seconds: float
    threads: int
    instruction_set: str
    plan: str

    def as_dict(self) -> dict[str, int | float | str]:
        """Return the fields by name."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, eq=False, repr=False)
class Negatives:
    """The negatives of every query, in order of rank: the most similar first.

    The four ``to_`` methods return the rows of the formats of the same names that
    sentence-transformers trains on: row indices (of ``queries`` and of ``corpus``), and the scores
    beside them.

    Attributes
    ----------
    indices : ndarray of int64, shape (q, num_negatives)
        Rows of ``corpus``; −1 where a query has fewer negatives.
    scores : ndarray of float64, shape (q, num_negatives)
        Their similarities to the query; NaN where there is none.
    positive_indptr, positive_indices : ndarray of int64, shapes (q + 1,) and (P,)
        The positives as they were given: those of query i are
        ``positive_indices[positive_indptr[i] : positive_indptr[i + 1]]``.
    positive_scores : ndarray of float64, shape (P,)
        Their similarities to their query.
    report : NegativesReport

    Examples
    --------
    >>> import numpy as np, tripletmine
    >>> corpus = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-1.0, 0.0]])
    >>> negatives = tripletmine.mine_negatives(corpus[:1], corpus, [0], num_negatives=2)
    >>> negatives.indices.tolist(), negatives.scores.tolist()
    ([[1, 2]], [[0.8, 0.0]])
    >>> rows, scores = negatives.to_triplets()
    >>> rows.tolist()
    [[0, 0, 1], [0, 0, 2]]
    """

    indices: Int64s
    scores: Float64s
    positive_indptr: Int64s
    positive_indices: Int64s
    positive_scores: Float64s
    report: NegativesReport

    def __len__(self) -> int:
        """Return the number of queries."""
        return len(self.indices)

    def __repr__(self) -> str:
        """Return a one-line summary."""
        return f"<Negatives: {self.report.negatives} negatives of {len(self)} queries>"

    def to_triplets(self) -> tuple[Int64s, Float64s]:
        """Return a row for each (query, positive) pair and negative of the query.

        Returns
        -------
        rows : ndarray of int64, shape (T, 3)
            Query, positive, negative.
        scores : ndarray of float64, shape (T, 2)
            Of the positive and of the negative.
        """
        query = self._query_of_pair()
        pair, rank = np.nonzero(self.indices[query] >= 0)
        query = query[pair]
        rows = [query, self.positive_indices[pair], self.indices[query, rank]]
        scores = [self.positive_scores[pair], self.scores[query, rank]]
        return np.stack(rows, axis=1), np.stack(scores, axis=1)

    def to_ntuples(self) -> tuple[Int64s, Float64s]:
        """Return a row for each (query, positive) pair whose query has all its negatives.

        Returns
        -------
        rows : ndarray of int64, shape (N, 2 + num_negatives)
            Query, positive, negatives.
        scores : ndarray of float64, shape (N, 1 + num_negatives)
            Of the positive and of the negatives.
        """
        query = self._query_of_pair()
        pair = np.flatnonzero((self.indices[query] >= 0).all(axis=1))
        query = query[pair]
        rows = [query[:, None], self.positive_indices[pair, None], self.indices[query]]
        scores = [self.positive_scores[pair, None], self.scores[query]]
        return np.concatenate(rows, axis=1), np.concatenate(scores, axis=1)

    def to_labeled_pairs(self) -> tuple[Int64s, Float64s]:
        """Return a row for each positive and, after those of its query, for each negative.

        Returns
        -------
        rows : ndarray of int64, shape (L, 3)
            Query, document, and 1 for a positive or 0 for a negative.
        scores : ndarray of float64, shape (L,)
        """
        positive_query = self._query_of_pair()
        negative_query, rank = np.nonzero(self.indices >= 0)
        query = np.concatenate([positive_query, negative_query])
        document = np.concatenate([self.positive_indices, self.indices[negative_query, rank]])
        scores = np.concatenate([self.positive_scores, self.scores[negative_query, rank]])
        label = np.repeat([1, 0], [len(positive_query), len(negative_query)])
        order = np.argsort(query, kind="stable")
        return np.stack([query, document, label], axis=1)[order], scores[order]

    def to_labeled_lists(
        self,
    ) -> tuple[Int64s, list[Int64s], list[Int64s], list[Float64s]]:
        """Return a list for each (query, positive) pair whose query has any negative.

        Returns
        -------
        queries : ndarray of int64, shape (M,)
        documents : list of ndarray of int64
            The positive, then the negatives.
        labels : list of ndarray of int64
            1 for the positive, 0 for the negatives.
        scores : list of ndarray of float64
        """
        found = (self.indices >= 0).sum(axis=1)  # the first so many
        query = self._query_of_pair()
        pair = np.flatnonzero(found[query] > 0)
        query = query[pair]
        documents = np.column_stack([self.positive_indices[pair], self.indices[query]])
        scores = np.column_stack([self.positive_scores[pair], self.scores[query]])
        lengths = (1 + found[query]).tolist()
        label = np.zeros(documents.shape[1], dtype=np.int64)
        label[0] = 1
        return (
            query,
            [row[:length] for row, length in zip(documents, lengths, strict=True)],
            [label[:length] for length in lengths],
            [row[:length] for row, length in zip(scores, lengths, strict=True)],
        )

    def to_arrow(self, output_format: OutputFormat = "triplet") -> pa.Table:
        """Return the rows of a format as a ``pyarrow.Table``; the report is in its metadata.

        Parameters
        ----------
        output_format : {"triplet", "n-tuple", "labeled-pair", "labeled-list"}
            Of :meth:`to_triplets`, :meth:`to_ntuples`, :meth:`to_labeled_pairs` or
            :meth:`to_labeled_lists`.
        """
        pyarrow = import_pyarrow()
        chosen = _options.choice("output_format", output_format, OUTPUT_FORMATS)
        columns = {
            "triplet": self._triplet_columns,
            "n-tuple": self._ntuple_columns,
            "labeled-pair": self._labeled_pair_columns,
            "labeled-list": self._labeled_list_columns,
        }[chosen]()
        report = json.dumps(self.report.as_dict()).encode()
        table: pa.Table = pyarrow.table(columns, metadata={METADATA_KEY: report})
        return table

    def to_parquet(
        self, path: str | PathLike[str], output_format: OutputFormat = "triplet"
    ) -> None:
        """Write :meth:`to_arrow` to a Parquet file, whole or not at all."""
        parquet = import_pyarrow("pyarrow.parquet")
        table = self.to_arrow(output_format)
        with replacing(Path(path)) as temporary:
            parquet.write_table(table, temporary)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the arrays and the report to an ``.npz`` file, whole or not at all."""
        write_saved(path, _ARRAYS, self)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Negatives:
        """Read what :meth:`save` wrote.

        Raises
        ------
        OSError
            The file cannot be read.
        ValueError
            The file is not one that :meth:`save` wrote.
        """
        arrays, report = read_saved(path, "negatives", _ARRAYS, NegativesReport)
        indptr, pairs = arrays["positive_indptr"], len(arrays["positive_indices"])
        if (
            arrays["scores"].shape != arrays["indices"].shape
            or len(arrays["positive_scores"]) != pairs
            or len(indptr) != len(arrays["indices"]) + 1
            or (indptr[0], indptr[-1]) != (0, pairs)
            or (np.diff(indptr) < 0).any()
        ):
            shapes = {name: array.shape for name, array in arrays.items()}
            raise ValueError(
                f"{path}: not saved negatives, found arrays that do not belong together: {shapes}"
            )
        return cls(**arrays, report=report)

    def _query_of_pair(self) -> Int64s:
        return np.repeat(np.arange(len(self)), np.diff(self.positive_indptr))

    def _triplet_columns(self) -> dict[str, Any]:
        rows, scores = self.to_triplets()
        names = ("query", "positive", "negative", "positive_score", "negative_score")
        return dict(zip(names, [*rows.T, *scores.T], strict=True))

    def _ntuple_columns(self) -> dict[str, Any]:
        rows, scores = self.to_ntuples()
        count = self.indices.shape[1]
        names = ("query", "positive", *(f"negative_{i}" for i in range(1, count + 1)))
        lists = _typed_lists(list(scores), "float64")
        return {**dict(zip(names, rows.T, strict=True)), "scores": lists}

    def _labeled_pair_columns(self) -> dict[str, Any]:
        rows, scores = self.to_labeled_pairs()
        return {**dict(zip(("query", "document", "label"), rows.T, strict=True)), "score": scores}

    def _labeled_list_columns(self) -> dict[str, Any]:
        query, documents, labels, scores = self.to_labeled_lists()
        return {
            "query": query,
            "documents": _typed_lists(documents, "int64"),
            "labels": _typed_lists(labels, "int64"),
            "scores": _typed_lists(scores, "float64"),
        }


def _typed_lists(lists: Sequence[npt.NDArray[Any]], of: str) -> pa.Array:
    """Return lists as a column, whose type does not depend on whether there are any."""
    pyarrow = import_pyarrow()
    return pyarrow.array(lists, type=pyarrow.list_(getattr(pyarrow, of)()))


# Types and dimensions.
_ARRAYS = {
    "indices": ("int64", 2),
    "scores": ("float64", 2),
    "positive_indptr": ("int64", 1),
    "positive_indices": ("int64", 1),
    "positive_scores": ("float64", 1),
}


def mine_negatives(
    queries: npt.ArrayLike,
    corpus: npt.ArrayLike,
    positives: Any,
    *,
    num_negatives: int = 3,
    range_min: int = 0,
    range_max: int | None = None,
    max_score: float | None = None,
    min_score: float | None = None,
    absolute_margin: float | None = None,
    relative_margin: float | None = None,
    positive_score: PositiveScore = "min",
    rank_among: RankAmong = "survivors",
    sampling: Sampling = "top",
    exclude: Any = None,
    metric: Metric = "cosine",
    seed: int = 0,
    n_threads: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Negatives:
    """Find hard negatives for queries whose positives are known, exactly.

    The candidates of a query are the rows of ``corpus`` but its positives and what ``exclude``
    lists for it, in order of similarity; ties go to the lowest index. A candidate *survives* if no
    rule refuses it. With s its score and s⁺ that of the query's positives, the rules are

    * ``absolute_margin``: s + absolute_margin <= s⁺,
    * ``relative_margin``: s <= s⁺ − |s⁺|·relative_margin,
    * ``max_score``, ``min_score``: min_score <= s <= max_score.

    Every candidate counts, however far down the ranking: a query comes up short only if there are
    no more survivors. The result is the same for any number of threads and any instruction set.

    Parameters
    ----------
    queries : array_like of float16, bfloat16, float32 or float64, shape (q, d)
        Read in place, as the embeddings of :func:`mine`.
    corpus : array_like of float, shape (m, d)
        The rows to choose from.
    positives : array_like of int, shape (q,), sequence of sequences, (indptr, indices), or None
        For each query one corpus row, or any number of them: as a sequence of sequences, or as a
        tuple of two arrays with those of query i at ``indices[indptr[i] : indptr[i + 1]]``. A
        margin needs at least one for each query.
    num_negatives : int
        Negatives for each query; fewer where there are fewer, see ``Negatives.indices``.
    range_min, range_max : int
        Only ranks from ``range_min`` (counted from 0) to ``range_max`` (exclusive) are used.
    max_score, min_score, absolute_margin, relative_margin : float, optional
        The rules, in units of the score.
    positive_score : {"min", "max", "mean"}
        s⁺ of a query with several positives: the least of their scores, so that a negative is less
        similar than every positive, the greatest or the mean.
    rank_among : {"survivors", "all"}
        Whether ranks are counted among the survivors, or among all candidates before the rules.
    sampling : {"top", "random"}
        The first ``num_negatives`` of the ranks, or as many of them at random.
    exclude : like positives, optional
        More rows that are no candidates of a query: known duplicates, the query itself.
    metric : {"cosine", "dot", "euclidean", "sqeuclidean"}
        Scores are similarities, large is close: the cosine, the dot product, or the distance
        turned round (−d).
    seed : int
        For ``sampling="random"``: what is drawn depends on it and on the query's number alone.
    n_threads, progress
        As in :func:`mine`.

    Returns
    -------
    Negatives

    Raises
    ------
    TypeError
        An argument is of the wrong kind.
    ValueError
        An argument has a wrong value, a row is not finite, or the result does not fit.

    Notes
    -----
    The names are those of ``mine_hard_negatives`` in sentence-transformers, whose rules these are;
    ``relative_margin=0.05`` is TopK-PercPos (95 %) of NV-Retriever (Moreira et al., 2024), and
    ``range_min=10, range_max=210, rank_among="all", sampling="random"`` is the range 10-210 of
    FlagEmbedding.

    Examples
    --------
    >>> import numpy as np, tripletmine
    >>> rng = np.random.default_rng(0)
    >>> corpus = rng.normal(size=(1000, 16)).astype(np.float32)
    >>> queries = corpus[:50] + 0.3 * rng.normal(size=(50, 16)).astype(np.float32)
    >>> negatives = tripletmine.mine_negatives(
    ...     queries, corpus, np.arange(50), num_negatives=5, relative_margin=0.05
    ... )
    >>> negatives.indices.shape
    (50, 5)
    >>> limit = 0.95 * negatives.positive_scores
    >>> bool(np.all(negatives.scores <= limit[:, None]))
    True
    """
    arguments = negatives_arguments(
        queries,
        corpus,
        positives,
        num_negatives=num_negatives,
        range_min=range_min,
        range_max=range_max,
        max_score=max_score,
        min_score=min_score,
        absolute_margin=absolute_margin,
        relative_margin=relative_margin,
        positive_score=positive_score,
        rank_among=rank_among,
        sampling=sampling,
        exclude=exclude,
        metric=metric,
        seed=seed,
        n_threads=n_threads,
        progress=progress,
    )
    _refuse_what_cannot_fit(arguments)
    both = len(arguments.queries) + len(arguments.corpus)
    indices, scores, positive_scores, rejected, short_queries, report = _core.mine_negatives(
        **vars(arguments),
        packing_budget=_memory.packing_budget(both, arguments.queries.shape[1]),
    )
    shape = (len(arguments.queries), arguments.num_negatives)
    told: dict[str, Any] = {f"rejected_by_{rule}": count for rule, count in rejected.items()}
    names = {field.name for field in dataclasses.fields(NegativesReport)}
    told |= {name: value for name, value in report.items() if name in names}
    return Negatives(
        indices=indices.reshape(shape),
        scores=scores.reshape(shape),
        positive_indptr=arguments.positives[0],
        positive_indices=arguments.positives[1],
        positive_scores=positive_scores,
        report=NegativesReport(
            queries=len(arguments.queries),
            short_queries=short_queries,
            negatives=int(np.count_nonzero(indices >= 0)),
            **told,
        ),
    )


def _refuse_what_cannot_fit(arguments: NegativesArguments) -> None:
    """Raise if the result, and the ranks known while it is made, exceed the free memory."""
    queries = len(arguments.queries)
    ranks = arguments.range_max or arguments.range_min + arguments.num_negatives
    held = min(ranks, len(arguments.corpus)) * _QUERIES_AT_A_TIME
    held *= arguments.n_threads or _core.default_threads()
    needed = _CANDIDATE_BYTES * (queries * arguments.num_negatives + held)
    if needed > _memory.SMALL and needed > _memory.available():
        raise ValueError(
            f"num_negatives: found {arguments.num_negatives}, for which {queries} queries and "
            f"{ranks} ranks need {needed} bytes, expected what fits in the free memory; call for a "
            "part of the queries at a time"
        )
