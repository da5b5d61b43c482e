"""``nearest`` and ``pairwise_distances`` against the oracle."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tripletmine
from oracle import DIMENSIONS, KINDS, METRICS, SIZES, SUPPORTED, rows
from tripletmine import reference


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kind=st.sampled_from(KINDS),
    n=st.sampled_from(SIZES),
    m=st.sampled_from((0, *SIZES)),
    d=st.sampled_from(DIMENSIONS),
    metric=st.sampled_from(METRICS),
    k=st.sampled_from((1, 2, 5, 10**6)),
    kernel_set=st.sampled_from(SUPPORTED),
    n_threads=st.sampled_from((1, 2, 5)),
    seed=st.integers(0, 2**32 - 1),
)
def test_nearest_equals_the_reference(kind, n, m, d, metric, k, kernel_set, n_threads, seed):
    rng = np.random.default_rng(seed)
    x = rows(kind, n, d, rng)
    y = rows(kind, m, d, rng) if m else None
    candidates = m if m else n - 1
    if candidates == 0:
        return
    k = min(k, candidates)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIPLETMINE_ISA", kernel_set)
        indices, distances = tripletmine.nearest(x, y, k, metric=metric, n_threads=n_threads)
    true_indices, true_distances = reference.nearest(x, y, k, metric=metric)
    assert indices.tolist() == true_indices.tolist()
    assert distances.tobytes() == true_distances.tobytes()


def test_nearest_of_a_larger_set():
    x = rows("normal", 2500, 40, np.random.default_rng(0)).astype(np.float32)
    indices, distances = tripletmine.nearest(x, k=10)
    for anchor in range(0, 2500, 97):
        d = reference.distance_matrix(x[anchor : anchor + 1], x, "cosine")[0]
        order = np.lexsort((np.arange(2500), d))
        order = order[order != anchor][:10]
        assert indices[anchor].tolist() == order.tolist()
        assert distances[anchor].tobytes() == d[order].tobytes()


def test_nearest_where_each_part_of_the_rows_is_nearer_than_those_before():
    """What contends in the first parts is dropped later, in the middle of a block of queries."""
    rng = np.random.default_rng(5)
    x = 0.01 * rng.normal(size=(64, 6)).astype(np.float32)
    y = rng.normal(size=(90_000, 6))
    y *= (np.linspace(40, 1, len(y)) / np.linalg.norm(y, axis=1))[:, np.newaxis]
    y = y.astype(np.float32)
    for k in (30, 1000):
        indices, distances = tripletmine.nearest(x, y, k, metric="euclidean", n_threads=1)
        true_indices, true_distances = reference.nearest(x, y, k, metric="euclidean")
        assert indices.tobytes() == true_indices.tobytes()
        assert distances.tobytes() == true_distances.tobytes()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kind=st.sampled_from([kind for kind in KINDS if kind not in ("huge", "mixed")]),
    n=st.sampled_from(SIZES),
    m=st.sampled_from((0, *SIZES)),
    d=st.sampled_from(DIMENSIONS),
    metric=st.sampled_from(METRICS),
    kernel_set=st.sampled_from(SUPPORTED),
    seed=st.integers(0, 2**32 - 1),
)
def test_pairwise_equals_the_reference(kind, n, m, d, metric, kernel_set, seed):
    rng = np.random.default_rng(seed)
    x, y = rows(kind, n, d, rng), rows(kind, m, d, rng) if m else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIPLETMINE_ISA", kernel_set)
        ours = tripletmine.pairwise_distances(x, y, metric=metric)
    assert ours.dtype == np.float32
    assert ours.tobytes() == reference.pairwise_distances(x, y, metric=metric).tobytes()
    if y is None:
        assert np.array_equal(ours, ours.T)


@pytest.mark.parametrize("metric", METRICS)
def test_pairwise_of_a_larger_set_in_any_output(metric, tmp_path):
    x = rows("duplicates", 700, 33, np.random.default_rng(1)).astype(np.float32)
    truth = reference.distance_matrix(x, x, metric).astype(np.float32)
    mapped = np.lib.format.open_memmap(tmp_path / "d.npy", "w+", np.float32, (700, 700))
    outs = [
        None,
        mapped,
        np.empty((700, 700), "f4", order="F"),
        np.empty((700, 1400), "f4")[:, ::2],
    ]
    for n_threads, out in zip((1, 2, 3, 5), outs, strict=True):
        ours = tripletmine.pairwise_distances(x, metric=metric, out=out, n_threads=n_threads)
        assert out is None or ours is out
        assert np.array_equal(ours, truth)
    assert np.array_equal(np.load(tmp_path / "d.npy"), truth)


def test_equal_rows_are_at_exactly_zero():
    x = rows("normal", 50, 77, np.random.default_rng(2)).astype(np.float32)
    twice = np.concatenate([x, x])
    for metric in ("cosine", "euclidean", "sqeuclidean"):
        d = tripletmine.pairwise_distances(twice, metric=metric)
        assert not d[np.arange(50), np.arange(50) + 50].any()
        indices, distances = tripletmine.nearest(twice, metric=metric)
        assert indices[:, 0].tolist() == [*range(50, 100), *range(50)]
        assert not distances.any()


def test_more_ties_than_are_kept_at_once():
    """Every candidate of a row is as near as any other: they are decided a part at a time."""
    corpus = np.ones((20_000, 4), np.float32)
    corpus[11::1000] *= 2.0  # nearer by no more than the others
    corpus[15_000, 0] = 1.5
    indices, distances = tripletmine.nearest(corpus[:140], corpus, k=40)
    assert np.array_equal(indices, np.tile(np.arange(40), (140, 1)))
    assert not distances.any()
    indices, distances = tripletmine.nearest(corpus[:140], corpus, k=40, metric="dot")
    assert np.array_equal(indices[:10, :21], np.tile([*range(11, 20_000, 1000), 15_000], (10, 1)))
    assert np.array_equal(indices[:10, 21:], np.tile(np.delete(np.arange(20), 11), (10, 1)))
