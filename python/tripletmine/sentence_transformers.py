"""``mine_hard_negatives`` of sentence-transformers, on this library: change one import.

Why: many scripts mine hard negatives for a retriever with it, by a float32 search whose picks
depend on the device and on an unseeded generator. The texts, the model and the output stay as they
are; the search is :func:`tripletmine.mine_negatives`. Nothing but ``datasets`` is imported here,
and only when the function is called.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from tripletmine import _arguments, _arrays, _options, _summary
from tripletmine._files import read_embeddings, replacing
from tripletmine._negatives import OUTPUT_FORMATS, Negatives, OutputFormat, mine_negatives

if TYPE_CHECKING:
    from datasets import Dataset

_logger = logging.getLogger(__name__)

# Scores of normalised rows: cosine and dot product are one.
_METRICS = {"cosine": "cosine", "dot": "cosine", "euclidean": "euclidean"}
_RULES = ("absolute_margin", "relative_margin", "max_score", "min_score")


def mine_hard_negatives(
    dataset: Dataset,
    model: Any = None,
    anchor_column_name: str | None = None,
    positive_column_name: str | None = None,
    corpus: list[str] | None = None,
    cross_encoder: Any = None,
    range_min: int = 0,
    range_max: int | None = None,
    max_score: float | None = None,
    min_score: float | None = None,
    absolute_margin: float | None = None,
    relative_margin: float | None = None,
    num_negatives: int = 3,
    sampling_strategy: Literal["random", "top"] = "top",
    query_prompt_name: str | None = None,
    query_prompt: str | None = None,
    corpus_prompt_name: str | None = None,
    corpus_prompt: str | None = None,
    include_positives: bool = False,
    output_format: OutputFormat | Literal["n-tuple-scores"] = "triplet",
    output_scores: bool = False,
    batch_size: int = 32,
    faiss_batch_size: int = 16384,
    use_faiss: bool = False,
    use_multi_process: list[str] | bool = False,
    verbose: bool = True,
    cache_folder: str | None = None,
    as_triplets: bool | None = None,
    margin: float | None = None,
    *,
    query_embeddings: npt.ArrayLike | None = None,
    positive_embeddings: npt.ArrayLike | None = None,
    corpus_embeddings: npt.ArrayLike | None = None,
    seed: int = 0,
    n_threads: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Dataset:
    """Add hard negatives to a dataset of (anchor, positive) pairs.

    The signature, the columns and the order of the rows are those of
    ``sentence_transformers.util.mine_hard_negatives``. What differs:

    * Scores and decisions are float64 and exact, and ties go to the text that came first: the
      same on every machine, for any number of threads. ``sampling_strategy="random"`` is seeded.
    * With ``sampling_strategy="top"`` and no ``range_max``, every text is looked at. There the
      search ends at an automatic ``range_max``, and queries whose nearest texts are all refused
      come up short. With ``range_max``, with "random", and where ``cross_encoder`` rescores, the
      texts looked at are the same as there.
    * Embeddings can be given instead of a model.
    * ``use_faiss`` and ``faiss_batch_size`` have no effect, and a column that is not there is an
      error.

    Parameters
    ----------
    dataset : datasets.Dataset
        Pairs. Equal anchors are one query with several positives.
    model : SentenceTransformer, optional
        Embeds the texts (``encode_query``, ``encode_document``). Its ``similarity_fn_name`` must be
        "cosine", "dot" or "euclidean". Not needed where embeddings are given.
    anchor_column_name, positive_column_name : str, optional
        By default the first and the second column.
    corpus : list of str, optional
        Texts to choose from, beside the positives of all queries.
    cross_encoder : CrossEncoder, optional
        Where a margin or a score limit is given, rescores (``predict``) what the model ranked
        first.
    range_min, range_max, num_negatives, sampling_strategy : optional
        As ``range_min``, ``range_max``, ``num_negatives`` and ``sampling`` of
        :func:`tripletmine.mine_negatives`; ``range_max`` counts among all texts, ``range_min``
        among those that no rule refuses.
    max_score, min_score, absolute_margin, relative_margin : float, optional
        The rules of :func:`tripletmine.mine_negatives`, with ``positive_score="min"``.
    query_prompt_name, query_prompt, corpus_prompt_name, corpus_prompt, batch_size : optional
        Passed to the model.
    include_positives : bool
        Rank the positives too, for datasets that evaluate a reranker; the format is "n-tuple".
    output_format : {"triplet", "n-tuple", "labeled-pair", "labeled-list"}
        "n-tuple-scores" is an old name of "n-tuple" with scores.
        The rows of ``Negatives.to_triplets``, ``to_ntuples``, ``to_labeled_pairs`` or
        ``to_labeled_lists``, as texts.
    output_scores : bool
        Add the column ``scores``; for labeled formats ``score`` or ``scores`` instead of labels.
    faiss_batch_size, use_faiss
        Accepted, without effect.
    use_multi_process : bool or list of str
        Encode in a pool of processes, on these devices.
    verbose : bool
        Print statistics.
    cache_folder : str, optional
        Keep embeddings in this folder, in the files that sentence-transformers keeps them in.
    as_triplets, margin : optional
        The old names of ``output_format`` and ``absolute_margin``.
    query_embeddings, positive_embeddings : array_like of float, shape (len(dataset), d), optional
        A row for each pair, instead of a model; of equal texts the first row counts.
    corpus_embeddings : array_like of float, shape (len(corpus), d), optional
        Likewise, where ``corpus`` is given.
    seed, n_threads, progress : optional
        As in :func:`tripletmine.mine_negatives`.

    Returns
    -------
    datasets.Dataset

    Raises
    ------
    ImportError
        There is no ``datasets``.
    TypeError, ValueError
        An argument is of the wrong kind or value.

    Examples
    --------
    >>> import datasets
    >>> import numpy as np
    >>> from tripletmine.sentence_transformers import mine_hard_negatives
    >>> pairs = datasets.Dataset.from_dict(
    ...     {"query": ["red", "blue"], "answer": ["rose", "sky"]})
    >>> angles = np.array([[0.0, 1.2], [0.1, 1.3]])
    >>> x, y = np.stack([np.cos(angles), np.sin(angles)], axis=2)
    >>> mined = mine_hard_negatives(pairs, query_embeddings=x, positive_embeddings=y,
    ...                             num_negatives=1, verbose=False)
    >>> mined[0]
    {'query': 'red', 'answer': 'rose', 'negative': 'sky'}
    """
    datasets = _import_datasets()
    is_split = isinstance(getattr(dataset, "column_names", None), list)
    if not is_split or not hasattr(dataset, "__len__"):
        raise TypeError(
            f"dataset: found {type(dataset).__name__}, expected a datasets.Dataset (one split)"
        )
    if len(dataset) == 0:
        raise ValueError("dataset: found no rows, expected at least one")
    names = _columns(dataset, anchor_column_name, positive_column_name)
    if as_triplets is not None:
        output_format = "triplet" if as_triplets else "n-tuple"
        _logger.warning("as_triplets is an old name: use output_format=%r", output_format)
    if margin is not None:
        absolute_margin = margin
        _logger.warning("margin is an old name: use absolute_margin")
    if include_positives and output_format != "n-tuple":
        _logger.warning("include_positives keeps the order of ranks: output_format is 'n-tuple'")
        output_format = "n-tuple"
    if output_format == "n-tuple-scores":
        _logger.warning("n-tuple-scores is an old name: use 'n-tuple' with output_scores=True")
        output_format, output_scores = "n-tuple", True
    _options.choice("output_format", output_format, OUTPUT_FORMATS)
    _options.choice("sampling_strategy", sampling_strategy, _options.SAMPLINGS)
    num_negatives, range_min, range_max = _arguments.rank_window(
        num_negatives, range_min, range_max
    )
    rules: dict[str, Any] = {
        "absolute_margin": _options.finite("absolute_margin", absolute_margin),
        "relative_margin": _options.finite("relative_margin", relative_margin),
        "max_score": _options.finite("max_score", max_score),
        "min_score": _options.finite("min_score", min_score),
    }
    seed = _options.integer("seed", seed, 0, 2**64 - 1)
    if isinstance(corpus, str):
        raise TypeError(f"corpus: found {corpus!r}, expected a list of strings")
    anchors, positives = (_strings(f"dataset[{name!r}]", dataset[name]) for name in names)
    others = None if corpus is None else _strings("corpus", corpus)
    given = {
        "query_embeddings": query_embeddings,
        "positive_embeddings": positive_embeddings,
        "corpus_embeddings": corpus_embeddings,
    }
    for name, rows in given.items():
        if rows is not None and model is not None:
            raise ValueError(f"{name}: found it beside a model, expected one or the other")
    if corpus_embeddings is not None and corpus is None:
        raise ValueError("corpus_embeddings: found it without corpus, expected both or neither")
    texts = _Texts(anchors, positives, others)
    if model is None:
        x = texts.of_queries("query_embeddings", query_embeddings)
        y = texts.of_corpus(positive_embeddings, corpus_embeddings)
        metric = "cosine"
    else:
        with _Encoder(model, batch_size, use_multi_process, cache_folder) as encoder:
            metric = encoder.metric()
            y = encoder.embed("corpus", texts.corpus, corpus_prompt_name, corpus_prompt)
            x = encoder.embed("query", texts.queries, query_prompt_name, query_prompt)
    search: dict[str, Any] = {"metric": metric, "n_threads": n_threads, "progress": progress}
    rescored = cross_encoder is not None and any(limit is not None for limit in rules.values())
    if range_max is None and sampling_strategy == "top" and not (rescored or include_positives):
        negatives = mine_negatives(
            x,
            y,
            texts.positives,
            num_negatives=num_negatives,
            range_min=range_min,
            **rules,
            **search,
        )
    else:
        if range_max is None:
            refusing = rescored or any(rules[rule] is not None for rule in _RULES[:3])
            range_max = _automatic_range_max(
                range_min, num_negatives, texts.most_positives, refusing
            )
        # A rank for every positive, so that range_max others remain.
        ranks = min(range_max + texts.most_positives, len(texts.corpus))
        ranked = mine_negatives(x, y, None, num_negatives=ranks, **search)
        # Nothing but the scores of the positives is asked for here.
        of_positives = mine_negatives(
            x, y, texts.positives, num_negatives=1, sampling="random", **search
        )
        ranked = dataclasses.replace(
            of_positives, indices=ranked.indices, scores=ranked.scores, report=ranked.report
        )
        if rescored:
            ranked = _rescored(ranked, texts, cross_encoder, batch_size, use_multi_process)
        sampling = None if sampling_strategy == "top" else np.random.default_rng(seed)
        window = (range_min, range_max, num_negatives)
        negatives = _selected(ranked, rules, window, sampling, include_positives)
    if verbose:
        _print_statistics(negatives, rules)
    columns = _rows(negatives, texts, names, output_format, output_scores)
    result: Dataset = datasets.Dataset.from_dict(columns)
    return result


def _import_datasets() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise ImportError(
            'mine_hard_negatives needs datasets: pip install "tripletmine[sentence-transformers]"',
            name="datasets",
        ) from error
    return datasets


def _columns(dataset: Dataset, anchor: str | None, positive: str | None) -> tuple[str, str]:
    known = dataset.column_names
    for name, column in (("anchor_column_name", anchor), ("positive_column_name", positive)):
        if column is not None and column not in known:
            listed = ", ".join(map(repr, known))
            raise ValueError(f"{name}: found {column!r}, expected one of {listed}")
    if positive is None and len(known) < 2:
        raise ValueError(f"dataset: found {len(known)} column, expected anchors and positives")
    return anchor or known[0], positive or known[1]


def _strings(name: str, values: Any) -> list[str]:
    entries = list(values)
    for i, entry in enumerate(entries):
        if not isinstance(entry, str):
            raise TypeError(
                f"{name}: found {entry!r} ({type(entry).__name__}) at entry {i}, expected strings"
            )
    return entries


class _Texts:
    """The distinct queries and corpus texts, and which texts are positives of which query."""

    def __init__(self, anchors: list[str], positives: list[str], corpus: list[str] | None) -> None:
        self._anchors, self._positives, self._corpus = anchors, positives, corpus
        self.queries = list(dict.fromkeys(anchors))
        self.corpus = list(dict.fromkeys([*(self._corpus or []), *positives]))
        self.most_positives = max(Counter(anchors).values())
        number = {query: i for i, query in enumerate(self.queries)}
        row = {text: i for i, text in enumerate(self.corpus)}
        lists: list[dict[int, None]] = [{} for _ in self.queries]  # dictionaries: ordered sets
        for anchor, positive in zip(anchors, positives, strict=True):
            lists[number[anchor]][row[positive]] = None
        self.positives = (
            np.cumsum([0, *map(len, lists)]),
            np.array([i for one in lists for i in one], dtype=np.int64),
        )

    def of_queries(self, name: str, embeddings: npt.ArrayLike | None) -> Any:
        """Return the rows of the distinct queries."""
        return self._matrix(name, embeddings, self._anchors)[_firsts(self._anchors)]

    def of_corpus(self, positives: npt.ArrayLike | None, corpus: npt.ArrayLike | None) -> Any:
        """Return the rows of the distinct corpus texts."""
        rows = self._matrix("positive_embeddings", positives, self._positives)
        if self._corpus is None:
            return rows[_firsts(self._positives)]
        both = [self._matrix("corpus_embeddings", corpus, self._corpus), rows]
        _arrays.same_dimension("corpus_embeddings", both[0], "positive_embeddings", rows)
        return np.concatenate(both)[_firsts(self._corpus + self._positives)]

    def _matrix(self, name: str, embeddings: npt.ArrayLike | None, texts: list[str]) -> Any:
        if embeddings is None:
            raise ValueError(f"{name}: found None, expected embeddings, or a model")
        rows = _arrays.matrix(name, embeddings)
        if rows.dtype == np.uint16:  # the bits of bfloat16
            rows = (rows.astype(np.uint32) << 16).view(np.float32)
        if len(rows) != len(texts):
            raise ValueError(f"{name}: found {len(rows)} rows, expected {len(texts)}, as texts")
        return rows


def _firsts(texts: list[str]) -> list[int]:
    """Return where each distinct text comes first."""
    places: dict[str, int] = {}
    for place, text in enumerate(texts):
        places.setdefault(text, place)
    return list(places.values())


class _Encoder:
    """A SentenceTransformer, its pool of processes and the folder that keeps embeddings."""

    def __init__(
        self, model: Any, batch_size: int, devices: list[str] | bool, folder: str | None
    ) -> None:
        self._model, self._batch_size, self._devices = model, batch_size, devices
        self._folder = None if folder is None else Path(folder)
        self._stack = ExitStack()

    def metric(self) -> str:
        name = getattr(self._model, "similarity_fn_name", None) or "cosine"
        name = getattr(name, "value", name)
        if name not in _METRICS:
            known = ", ".join(map(repr, _METRICS))
            raise ValueError(f"model: found similarity_fn_name {name!r}, expected one of {known}")
        return _METRICS[name]

    def __enter__(self) -> _Encoder:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @cached_property
    def pool(self) -> Any:
        """The pool, started for the first texts that are not in the folder."""
        return self._stack.enter_context(_pool(self._model, self._devices))

    def embed(
        self, kind: str, texts: list[str], prompt_name: str | None, prompt: str | None
    ) -> npt.NDArray[Any]:
        file = self._file(kind, texts, prompt_name, prompt)
        if file is not None and file.exists():
            return np.array(read_embeddings(file))
        encode = self._model.encode_query if kind == "query" else self._model.encode_document
        rows: npt.NDArray[Any] = encode(
            texts,
            pool=self.pool,
            batch_size=self._batch_size,
            normalize_embeddings=True,
            convert_to_numpy=True,
            show_progress_bar=True,
            prompt_name=prompt_name,
            prompt=prompt,
        )
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            with replacing(file) as temporary:
                np.save(temporary, rows)
        return rows

    def _file(
        self, kind: str, texts: list[str], prompt_name: str | None, prompt: str | None
    ) -> Path | None:
        if self._folder is None:
            return None
        name = self._model.model_card_data.base_model or ""
        key = repr((name, prompt, prompt_name, texts)).encode()
        digest = hashlib.sha256(key, usedforsecurity=False).hexdigest()
        return self._folder / f"{kind}_embeddings_{digest}.npy"


@contextmanager
def _pool(model: Any, devices: list[str] | bool) -> Iterator[Any]:
    """Yield a model's pool of processes, or None where there is to be none."""
    if not devices:
        yield None
        return
    pool = model.start_multi_process_pool(
        target_devices=None if isinstance(devices, bool) else devices
    )
    try:
        yield pool
    finally:
        model.stop_multi_process_pool(pool)


def _automatic_range_max(
    range_min: int, num_negatives: int, most_positives: int, refusing: bool
) -> int:
    """Return the range_max of sentence-transformers: ten times the room where rules may refuse."""
    return range_min + num_negatives * (10 if refusing else 1) + most_positives


def _rescored(
    ranked: Negatives, texts: _Texts, cross_encoder: Any, batch_size: int, devices: list[str] | bool
) -> Negatives:
    """Return the same candidates and positives with the scores of a cross encoder."""
    scores = np.full_like(ranked.scores, np.nan)
    positive_scores = np.empty_like(ranked.positive_scores)
    begins = ranked.positive_indptr
    with _pool(cross_encoder, devices) as pool:
        for i, query in enumerate(texts.queries):
            found = np.flatnonzero(ranked.indices[i] >= 0)
            own = ranked.positive_indices[begins[i] : begins[i + 1]]
            rows = [*ranked.indices[i, found].tolist(), *own.tolist()]
            predicted = np.asarray(
                cross_encoder.predict(
                    [(query, texts.corpus[row]) for row in rows],
                    batch_size=batch_size,
                    convert_to_numpy=True,
                    show_progress_bar=False,
                    pool=pool,
                ),
                dtype=np.float64,
            )
            scores[i, found] = predicted[: len(found)]
            positive_scores[begins[i] : begins[i + 1]] = predicted[len(found) :]
    return dataclasses.replace(ranked, scores=scores, positive_scores=positive_scores)


def _selected(
    ranked: Negatives,
    rules: dict[str, Any],
    window: tuple[int, int, int],
    sampling: np.random.Generator | None,
    include_positives: bool,
) -> Negatives:
    """Return what the rules and the window leave of ranked candidates."""
    range_min, range_max, num_negatives = window
    candidates = ranked.indices >= 0
    if not include_positives:
        candidates &= ~_among_positives(ranked)
    least = np.minimum.reduceat(ranked.positive_scores, ranked.positive_indptr[:-1])[:, None]
    refusals = {
        "absolute_margin": lambda limit: ranked.scores + limit > least,
        "relative_margin": lambda limit: ranked.scores > least - abs(least) * limit,
        "max_score": lambda limit: ranked.scores > limit,
        "min_score": lambda limit: ranked.scores < limit,
    }
    rejected: dict[str, Any] = {}
    for rule in _RULES:
        limit = rules[rule]
        refused = candidates & refusals[rule](limit) if limit is not None else candidates & False
        rejected[f"rejected_by_{rule}"] = int(np.count_nonzero(refused))
        candidates &= ~refused
    # The order of scores is that of the ranks, unless a cross encoder has given new ones.
    order = np.argsort(np.where(candidates, -ranked.scores, np.inf), axis=1, kind="stable")
    order = order[:, :range_max][:, range_min:]
    left = np.take_along_axis(candidates, order, axis=1)
    if sampling is not None:
        key = np.where(left, sampling.random(left.shape), 2.0)
        drawn = np.sort(np.argsort(key, axis=1, kind="stable")[:, :num_negatives], axis=1)
        order = np.take_along_axis(order, drawn, axis=1)
    order = order[:, :num_negatives]
    left = np.take_along_axis(candidates, order, axis=1)
    room = ((0, 0), (0, num_negatives - order.shape[1]))
    indices = np.where(left, np.take_along_axis(ranked.indices, order, axis=1), -1)
    scores = np.where(left, np.take_along_axis(ranked.scores, order, axis=1), np.nan)
    found = left.sum(axis=1)
    report = dataclasses.replace(
        ranked.report,
        negatives=int(found.sum()),
        short_queries=int(np.count_nonzero(found < num_negatives)),
        **rejected,
    )
    return dataclasses.replace(
        ranked,
        indices=np.pad(indices, room, constant_values=-1),
        scores=np.pad(scores, room, constant_values=np.nan),
        report=report,
    )


def _among_positives(ranked: Negatives) -> npt.NDArray[np.bool_]:
    """Tell which candidates are positives of their query."""
    corpus = 1 + max(ranked.indices.max(), ranked.positive_indices.max())
    queries = np.arange(len(ranked))
    own = np.repeat(queries, np.diff(ranked.positive_indptr)) * corpus + ranked.positive_indices
    keys = queries[:, None] * corpus + ranked.indices
    return np.isin(keys, own)


def _rows(
    negatives: Negatives,
    texts: _Texts,
    names: tuple[str, str],
    output_format: OutputFormat,
    output_scores: bool,
) -> dict[str, list[Any]]:
    """Return the columns of the output, by name."""
    anchor, positive = names

    def queries(numbers: Any) -> list[str]:
        return [texts.queries[i] for i in numbers.tolist()]

    def documents(rows: Any) -> list[str]:
        return [texts.corpus[i] for i in rows.tolist()]

    columns: dict[str, list[Any]]
    if output_format == "labeled-list":
        numbers, lists, labels, list_scores = negatives.to_labeled_lists()
        columns = {anchor: queries(numbers), positive: [documents(rows) for rows in lists]}
        if output_scores:
            return {**columns, "scores": [row.tolist() for row in list_scores]}
        return {**columns, "labels": [row.tolist() for row in labels]}
    rows, scores = {
        "triplet": negatives.to_triplets,
        "n-tuple": negatives.to_ntuples,
        "labeled-pair": negatives.to_labeled_pairs,
    }[output_format]()
    columns = {anchor: queries(rows[:, 0]), positive: documents(rows[:, 1])}
    if output_format == "labeled-pair":
        if output_scores:
            return {**columns, "score": scores.tolist()}
        return {**columns, "label": rows[:, 2].tolist()}
    if output_format == "triplet":
        columns["negative"] = documents(rows[:, 2])
    else:
        columns |= {f"negative_{i}": documents(row) for i, row in enumerate(rows.T[2:], start=1)}
    return {**columns, "scores": scores.tolist()} if output_scores else columns


def _print_statistics(negatives: Negatives, rules: dict[str, Any]) -> None:
    scores = negatives.to_triplets()[1]
    columns = (negatives.positive_scores, scores[:, 1], scores[:, 0] - scores[:, 1])
    statistics: dict[str, Callable[[Any], Any]] = {
        "mean": np.mean,
        "std": np.std,
        "min": np.min,
        "25%": lambda values: np.quantile(values, 0.25),
        "median": np.median,
        "75%": lambda values: np.quantile(values, 0.75),
        "max": np.max,
    }
    table = [["count", *(f"{len(values):,}" for values in columns)]]
    for name, of in statistics.items():
        table.append([name, *(f"{of(values):.4f}" if len(values) else "-" for values in columns)])
    _summary.print_table("scores", ("", "positive", "negative", "difference"), table)
    report = negatives.report.as_dict()
    for rule in _RULES:
        if rejected := report[f"rejected_by_{rule}"]:
            print(f"{rule}={rules[rule]} refused {rejected:,} candidates")
    if negatives.report.short_queries:
        print(f"fewer negatives than asked for: {negatives.report.short_queries:,} queries")
