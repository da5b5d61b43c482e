"""``mine_negatives`` against the oracle, byte for byte, and what becomes of its result."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tripletmine
from oracle import DIMENSIONS, FILTERS, KINDS, METRICS, SIZES, SUPPORTED, rows
from tripletmine import _memory, _options, reference

ARRAYS = ("indices", "scores", "positive_indptr", "positive_indices", "positive_scores")
BY_LUCK = ("pairs_decided", "seconds", "threads", "instruction_set", "plan")


def assert_same(ours, truth):
    """Fail unless two results are equal, byte for byte."""
    for name in ARRAYS:
        a, b = getattr(ours, name), getattr(truth, name)
        assert (a.dtype, a.shape) == (b.dtype, b.shape), name
        assert a.tobytes() == b.tobytes(), f"{name}: {a} and {b}"
    counts = [
        {name: value for name, value in result.report.as_dict().items() if name not in BY_LUCK}
        for result in (ours, truth)
    ]
    assert counts[0] == counts[1]


def lists_of(rng, queries, corpus, least):
    """Lists of corpus rows, some long, in any order, as each of the forms that are taken."""
    lists = []
    for _ in range(queries):
        size = min(corpus, max(least, int(rng.choice([0, 1, 1, 2, 5, 40]))))
        lists.append(rng.permutation(corpus)[:size].tolist())
    form = rng.integers(0, 3)
    if form == 0:
        return lists
    if form == 1:
        return [np.array(one, dtype=np.int32) for one in lists]
    indptr = np.cumsum([0, *map(len, lists)])
    return indptr, np.array([row for one in lists for row in one], dtype=np.int64)


@st.composite
def calls(draw):
    """Any legal call on small awkward data: positional arguments and options."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind, d = draw(st.sampled_from(KINDS)), draw(st.sampled_from(DIMENSIONS))
    q, m = draw(st.sampled_from(SIZES)), draw(st.sampled_from(SIZES))
    x, y = rows(kind, q, d, rng), rows(draw(st.sampled_from([kind, "grid"])), m, d, rng)
    if draw(st.booleans()):
        y[rng.integers(0, m, size=m // 3)] = x[0]
    if kind not in ("huge", "tiny", "mixed"):
        x = x.astype(draw(st.sampled_from(["f2", "f4", "f8"])))
    metric = draw(st.sampled_from(METRICS))
    scores = (metric == "cosine") - reference.distance_matrix(x, y, metric)
    options = {
        "num_negatives": draw(st.sampled_from([1, 1, 2, 5, 200])),
        "range_min": draw(st.sampled_from([0, 0, 1, 4, 50])),
        "positive_score": draw(st.sampled_from(_options.POSITIVE_SCORES)),
        "rank_among": draw(st.sampled_from(_options.RANK_AMONG)),
        "sampling": draw(st.sampled_from(_options.SAMPLINGS)),
        "metric": metric,
        "seed": draw(st.integers(0, 2**64 - 1)),
    }
    if draw(st.booleans()):
        window = options["num_negatives"] + draw(st.sampled_from([0, 1, 3, 300]))
        options["range_max"] = options["range_min"] + window
    low, high = sorted(rng.choice(scores.ravel(), 2).tolist())  # hit exactly
    if draw(st.booleans()):
        options["min_score"] = low
    if draw(st.booleans()):
        options["max_score"] = high
    spread = float(np.ptp(scores))
    margins = [0.0, spread / 10, spread / 2, -spread / 5]
    if draw(st.booleans()):
        options["absolute_margin"] = draw(st.sampled_from(margins))
    if draw(st.booleans()):
        options["relative_margin"] = draw(st.sampled_from([0.0, 0.05, 0.5, 3.0, -0.2]))
    least = int("absolute_margin" in options or "relative_margin" in options)
    form = draw(st.integers(0, 2))
    positives = lists_of(rng, q, m, least) if form else rng.integers(0, m, size=q)
    if form == 2 and not least:
        positives = None
    if draw(st.booleans()):
        options["exclude"] = lists_of(rng, q, m, 0)
    return [x, y, positives], options


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(calls(), st.sampled_from([1, 2, 5]), st.sampled_from(SUPPORTED), st.sampled_from(FILTERS))
def test_equals_the_reference(call, n_threads, kernel_set, chosen):
    args, options = call
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIPLETMINE_ISA", kernel_set)
        patch.setenv("TRIPLETMINE_FILTER", chosen)
        ours = tripletmine.mine_negatives(*args, **options, n_threads=n_threads)
    assert_same(ours, reference.mine_negatives(*args, **options))
    assert ours.report.instruction_set == kernel_set


RULES = [
    {},
    {"range_min": 3, "range_max": 40, "sampling": "random"},
    {"max_score": 0.75},
    {"relative_margin": 0.05, "range_max": 30, "sampling": "random"},
    {"absolute_margin": 0.1, "rank_among": "all", "range_max": 60},
    {"max_score": 0.75, "min_score": 0.2},
]


@pytest.mark.parametrize("options", RULES)
@pytest.mark.parametrize("crowded", [0.0, 0.1, 0.9])
def test_queries_of_which_the_rules_refuse_few_and_many(options, crowded, monkeypatch):
    """Some have their negatives among the nearest candidates; the others are refused too many."""
    rng = np.random.default_rng(5)
    corpus = rng.normal(size=(900, 24)).astype(np.float32)
    corpus[:300] = corpus[0] + np.float32(0.3) * corpus[:300]
    crowd = rng.random(1200) < crowded
    near = np.where(crowd, rng.integers(0, 300, size=1200), rng.integers(300, 900, size=1200))
    queries = corpus[near] + np.float32(0.2) * rng.normal(size=(1200, 24)).astype(np.float32)
    exclude = [[] if i % 3 else [int(near[i]), 899] for i in range(len(queries))]
    exclude[7] = list(range(0, 900, 2))  # of which no other query knows
    args, call = (queries, corpus, near), {"num_negatives": 5, "exclude": exclude} | options
    truth = reference.mine_negatives(*args, **call)
    for kernel_set in SUPPORTED:
        monkeypatch.setenv("TRIPLETMINE_ISA", kernel_set)
        assert_same(tripletmine.mine_negatives(*args, **call), truth)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(calls())
def test_small_memory_changes_nothing(call):
    """Rows packed anew for each block give the same negatives."""
    args, options = call
    whole = tripletmine.mine_negatives(*args, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_memory, "packing_budget", lambda *_: 0)
        assert_same(tripletmine.mine_negatives(*args, **options), whole)


OPTIONS = {
    "top": {"relative_margin": 0.05, "range_min": 2},
    "all ranks": {"absolute_margin": 0.1, "range_min": 30, "rank_among": "all"},
    "window": {"max_score": 0.3, "range_min": 5, "range_max": 40, "sampling": "random"},
    "corpus": {"min_score": 0.0, "range_min": 5, "sampling": "random"},
}


@pytest.mark.parametrize("kind", ["normal", "grid", "duplicates", "near"])
@pytest.mark.parametrize("options", OPTIONS)
def test_larger_sets_are_equal_for_every_kernel_set_and_thread_count(kind, options, monkeypatch):
    rng = np.random.default_rng(1)
    x, y = (rows(kind, n, 48, rng).astype(np.float32) for n in (301, 1201))
    positives = lists_of(rng, 301, 1201, 1)
    truth = reference.mine_negatives(x, y, positives, num_negatives=7, **OPTIONS[options])
    for kernel_set in SUPPORTED:
        monkeypatch.setenv("TRIPLETMINE_ISA", kernel_set)
        for n_threads in (1, 2, 5):
            ours = tripletmine.mine_negatives(
                x, y, positives, num_negatives=7, n_threads=n_threads, **OPTIONS[options]
            )
            assert_same(ours, truth)
            assert ours.report.instruction_set == kernel_set


@pytest.mark.parametrize("options", OPTIONS)
def test_queries_that_are_tried_first_are_answered_as_the_others(options, monkeypatch):
    """Of rows enough to find the scorer by trying, some compact and some wide."""
    rng = np.random.default_rng(4)
    spread = np.where(rng.random(30) < 0.5, 0.2, 2.0)[:, None]
    of_query, of_row = rng.integers(0, 30, size=1200), rng.integers(0, 30, size=1500)
    centres = rng.normal(size=(30, 96))
    x, y = (
        (centres[own] + spread[own] * rng.normal(size=(len(own), 96))).astype(np.float32)
        for own in (of_query, of_row)
    )
    positives = rng.integers(0, 1500, size=1200)
    call = {"num_negatives": 3, "n_threads": 1} | OPTIONS[options]
    planned = tripletmine.mine_negatives(x, y, positives, **call)
    for chosen in FILTERS[1:]:
        monkeypatch.setenv("TRIPLETMINE_FILTER", chosen)
        ours = tripletmine.mine_negatives(x, y, positives, **call)
        assert_same(ours, planned)
        assert ("int8" in ours.report.plan) == (chosen in ("projected", "coarse"))


def test_many_positives_of_one_query_cost_no_other_query_anything():
    rng = np.random.default_rng(2)
    y = rng.normal(size=(4000, 32)).astype(np.float32)
    x = rng.normal(size=(64, 32)).astype(np.float32)
    x[7] = 1.0
    y[:3000] = 1.0 + 0.1 * y[:3000]  # what query 7 is nearest to
    few = [[i] for i in range(64)]
    many = [list(range(3000)) if i == 7 else one for i, one in enumerate(few)]
    decided = [
        tripletmine.mine_negatives(
            x, y, positives, relative_margin=0.05, n_threads=1
        ).report.pairs_decided
        for positives in (few, many)
    ]
    # As positives to be scored, as pairs that the filter lets through, and as pairs not to count.
    assert decided[1] - decided[0] <= 3 * 3000
    assert decided[0] < 64 * 300


def test_the_first_of_more_negatives_are_the_same():
    rng = np.random.default_rng(3)
    x, y = rows("grid", 40, 6, rng), rows("grid", 300, 6, rng)
    positives = rng.integers(0, 300, size=40)
    many = tripletmine.mine_negatives(x, y, positives, num_negatives=50)
    few = tripletmine.mine_negatives(x, y, positives, num_negatives=8)
    assert many.indices[:, :8].tobytes() == few.indices.tobytes()
    skipped = tripletmine.mine_negatives(x, y, positives, num_negatives=8, range_min=20)
    assert many.indices[:, 20:28].tobytes() == skipped.indices.tobytes()


@pytest.mark.parametrize("range_max", [None, 9])
def test_random_negatives_are_uniform(range_max):
    """Chi-square over seeds: the six survivors in the window equally often, two at a time."""
    y = np.arange(12.0)[:, None]
    counts = np.zeros(12, dtype=int)
    for seed in range(600):
        negatives = tripletmine.mine_negatives(
            np.zeros((1, 1)), y, [[0, 4]], metric="euclidean", num_negatives=2, range_min=2,
            range_max=range_max, min_score=-9.0, sampling="random", seed=seed,
        )  # fmt: skip
        assert negatives.indices[0, 0] < negatives.indices[0, 1]  # by rank
        counts[negatives.indices[0]] += 1
    window = [3, 5, 6, 7, 8, 9]  # without the first two, 1 and 2, and what is beyond 9
    assert counts.sum() == counts[window].sum() == 1200
    assert ((counts[window] - 200.0) ** 2 / 200.0).sum() < 20.5  # the 99.9% quantile


@pytest.mark.parametrize("sampling", _options.SAMPLINGS)
def test_what_progress_raises_stops_the_call(sampling):
    def stop(done, total):
        assert 0 <= done <= total
        raise RuntimeError("enough")

    x = np.random.default_rng(4).normal(size=(20_000, 64)).astype(np.float32)
    y = np.concatenate([x, x, x])
    with pytest.raises(RuntimeError, match="enough"):
        tripletmine.mine_negatives(
            y, y, None, num_negatives=50, sampling=sampling, progress=stop, n_threads=2
        )


def test_a_negative_zero_score_is_not_returned():
    negatives = tripletmine.mine_negatives([[1.0]], [[1.0], [1.0]], [0], metric="euclidean")
    assert not np.signbit(negatives.scores[0, 0])
    assert not np.signbit(negatives.positive_scores[0])


def test_results_that_cannot_fit_are_refused_with_the_bytes_needed(monkeypatch):
    monkeypatch.setattr(_memory, "available", lambda: 2**30)
    x = np.broadcast_to(np.float32(1.0), (1_000_000, 1))
    with pytest.raises(ValueError, match=r"num_negatives: found 500, .* need 80\d{8} bytes"):
        tripletmine.mine_negatives(x, x[:1000], None, num_negatives=500)


class TestNegatives:
    """Two positives for query 0, none for query 1; query 2 finds one negative only."""

    @pytest.fixture
    def negatives(self):
        return tripletmine.mine_negatives(
            [[0.0], [10.0], [4.0]],
            [[0.0], [1.0], [3.0], [9.0], [12.0]],
            [[1, 0], [], [2]],
            exclude=[[], [], [0, 1, 3]],
            num_negatives=2,
            metric="euclidean",
        )

    def test_by_hand(self, negatives):
        assert negatives.indices.tolist() == [[2, 3], [3, 4], [4, -1]]
        assert negatives.scores[:2].tolist() == [[-3.0, -9.0], [-1.0, -2.0]]
        assert negatives.scores[2, 0] == -8.0
        assert np.isnan(negatives.scores[2, 1])
        assert negatives.positive_scores.tolist() == [-1.0, 0.0, -1.0]
        assert (negatives.report.short_queries, negatives.report.negatives) == (1, 5)
        assert repr(negatives) == "<Negatives: 5 negatives of 3 queries>"
        with pytest.raises(dataclasses.FrozenInstanceError):
            negatives.scores = None

    def test_triplets(self, negatives):
        rows, scores = negatives.to_triplets()
        assert rows.tolist() == [[0, 1, 2], [0, 1, 3], [0, 0, 2], [0, 0, 3], [2, 2, 4]]
        assert scores.tolist()[1:3] == [[-1.0, -9.0], [0.0, -3.0]]

    def test_ntuples(self, negatives):
        rows, scores = negatives.to_ntuples()
        assert rows.tolist() == [[0, 1, 2, 3], [0, 0, 2, 3]]
        assert scores.tolist() == [[-1.0, -3.0, -9.0], [0.0, -3.0, -9.0]]

    def test_labeled_pairs(self, negatives):
        rows, scores = negatives.to_labeled_pairs()
        assert rows.tolist() == [
            [0, 1, 1], [0, 0, 1], [0, 2, 0], [0, 3, 0], [1, 3, 0], [1, 4, 0], [2, 2, 1], [2, 4, 0],
        ]  # fmt: skip
        assert scores.tolist() == [-1.0, 0.0, -3.0, -9.0, -1.0, -2.0, -1.0, -8.0]

    def test_labeled_lists(self, negatives):
        queries, documents, labels, scores = negatives.to_labeled_lists()
        assert queries.tolist() == [0, 0, 2]
        assert [row.tolist() for row in documents] == [[1, 2, 3], [0, 2, 3], [2, 4]]
        assert [row.tolist() for row in labels] == [[1, 0, 0], [1, 0, 0], [1, 0]]
        assert [row.tolist() for row in scores] == [[-1, -3, -9], [0, -3, -9], [-1, -8]]

    def test_saved_and_loaded(self, negatives, tmp_path):
        negatives.save(tmp_path / "n.npz")
        loaded = tripletmine.Negatives.load(tmp_path / "n.npz")
        assert_same(loaded, negatives)
        assert loaded.report == negatives.report
        narrow = dataclasses.replace(negatives, indices=negatives.indices.astype(np.int32))
        narrow.save(tmp_path / "narrow.npz")
        assert_same(tripletmine.Negatives.load(tmp_path / "narrow.npz"), negatives)
        np.savez(tmp_path / "other.npz", indices=np.arange(3))
        with pytest.raises(ValueError, match="not saved negatives"):
            tripletmine.Negatives.load(tmp_path / "other.npz")
        with np.load(tmp_path / "n.npz") as arrays:
            np.savez(tmp_path / "other.npz", **{**arrays, "indices": arrays["indices"][:2]})
        with pytest.raises(ValueError, match="arrays that do not belong together"):
            tripletmine.Negatives.load(tmp_path / "other.npz")

    def test_tables(self, negatives, tmp_path):
        pq = pytest.importorskip("pyarrow.parquet")
        columns = {
            "triplet": ["query", "positive", "negative", "positive_score", "negative_score"],
            "n-tuple": ["query", "positive", "negative_1", "negative_2", "scores"],
            "labeled-pair": ["query", "document", "label", "score"],
            "labeled-list": ["query", "documents", "labels", "scores"],
        }
        for output_format, names in columns.items():
            negatives.to_parquet(tmp_path / "n.parquet", output_format)
            table = pq.read_table(tmp_path / "n.parquet")
            assert table.equals(negatives.to_arrow(output_format))
            assert table.column_names == names
            report = json.loads(table.schema.metadata[b"tripletmine"])
            assert report == negatives.report.as_dict()
        assert table["documents"].to_pylist() == [[1, 2, 3], [0, 2, 3], [2, 4]]
        with pytest.raises(ValueError, match="output_format: found 'pairs', expected one of"):
            negatives.to_arrow("pairs")

    def test_nothing_found(self, tmp_path):
        empty = tripletmine.mine_negatives([[1.0]], [[1.0]], [0])
        assert empty.indices.tolist() == [[-1, -1, -1]]
        assert empty.to_triplets()[0].shape == (0, 3)
        assert empty.to_ntuples()[0].shape == (0, 5)
        assert empty.to_labeled_pairs()[0].tolist() == [[0, 0, 1]]
        assert empty.to_labeled_lists()[0].shape == (0,)
        pytest.importorskip("pyarrow")
        full = tripletmine.mine_negatives([[1.0]], [[1.0], [0.5], [2.0], [3.0]], [0])
        for output_format in tripletmine._negatives.OUTPUT_FORMATS:
            assert empty.to_arrow(output_format).schema == full.to_arrow(output_format).schema
