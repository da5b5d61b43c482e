"""``mine_negatives`` against the oracle, byte for byte, and what becomes of its result."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tripletmine
from oracle import DIMENSIONS, KINDS, METRICS, SIZES, SUPPORTED, rows
from tripletmine import _memory, _options, reference

ARRAYS = ("indices", "scores", "positive_indptr", "positive_indices", "positive_scores")
BY_LUCK = ("pairs_decided", "seconds", "threads", "instruction_set")


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
@given(calls(), st.sampled_from([1, 2, 5]), st.sampled_from(SUPPORTED))
def test_equals_the_reference(call, n_threads, kernel_set):
    args, options = call
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIPLETMINE_ISA", kernel_set)
        ours = tripletmine.mine_negatives(*args, **options, n_threads=n_threads)
    assert_same(ours, reference.mine_negatives(*args, **options))
    assert ours.report.instruction_set == kernel_set
