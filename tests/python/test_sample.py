"""``sample`` against the oracle, byte for byte, and against what uniform means."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tripletmine
from oracle import FILTERS, KINDS, METRICS, SUPPORTED, assert_same, rows
from tripletmine import _options, reference

thorough = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@st.composite
def calls(draw):
    """Any legal call on small awkward data: positional arguments and options."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind, d = draw(st.sampled_from(KINDS)), draw(st.sampled_from([1, 2, 3, 9, 31]))
    n = draw(st.sampled_from([1, 3, 8, 17, 47]))
    classes = draw(st.sampled_from([1, 2, 3, max(1, n // 2)]))
    metric = draw(st.sampled_from(METRICS))
    weights = draw(st.sampled_from(["uniform", "uniform", "distance"]))
    x = y = rows(kind, n, d, rng)
    if kind not in ("huge", "tiny", "mixed"):
        x = x.astype(draw(st.sampled_from(["f2", "f4", "f8"])))
    labels = rng.integers(0, classes, size=n)
    args, options = [x, labels, draw(st.sampled_from([1, 5, 40]))], {}
    if draw(st.booleans()):
        m = draw(st.sampled_from([2, 9, 33]))
        y = rows(draw(st.sampled_from([kind, "grid"])), m, d, rng)
        args += [y, rng.integers(0, classes + 1, size=m)]
    if weights == "distance":
        for i in [0, 3][: len(args) // 2]:
            normal = rng.normal(size=(len(args[i]), d))
            args[i] = unit(np.where(rng.random((len(normal), 1)) < 0.3, normal[:1], normal))
        metric = "euclidean"
        cutoff = draw(st.sampled_from([0.5, 0.01, 1.2]))
        far = draw(st.sampled_from([1.4, 1.2, 1.99]))
        options |= {"cutoff": cutoff, "nonzero_loss_cutoff": far}
    else:
        options["type_of_triplets"] = draw(st.sampled_from(_options.SAMPLE_TYPES))
        if options["type_of_triplets"] != "any":
            spread = float(np.ptp(reference.distance_matrix(x[:1], y, metric)))
            options["margin"] = draw(st.sampled_from([0.0, spread / 500, spread / 8, spread]))
        elif draw(st.booleans()):
            args[0] = None
            if len(args) > 3:
                options["ref_labels"] = args.pop()
                args.pop()
    options |= {"metric": metric, "weights": weights, "seed": draw(st.integers(0, 2**64 - 1))}
    if draw(st.booleans()):
        options["groups"] = rng.integers(0, max(2, n // 3), size=n)
        if len(args) > 3 or "ref_labels" in options:
            m = len(args[4] if len(args) > 3 else options["ref_labels"])
            options["ref_groups"] = rng.integers(0, max(2, n // 3), size=m)
    if draw(st.booleans()):
        options["anchors"] = rng.permutation(n)[: draw(st.integers(0, n))]
    return args, options


def outcome(call, args, options):
    try:
        return call(*args, **options)
    except ValueError as error:
        return str(error)


@thorough
@given(calls(), st.sampled_from([1, 2, 5]), st.sampled_from(SUPPORTED), st.sampled_from(FILTERS))
def test_equals_the_reference(call, n_threads, kernel_set, chosen):
    args, options = call
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIPLETMINE_ISA", kernel_set)
        patch.setenv("TRIPLETMINE_FILTER", chosen)
        ours = outcome(tripletmine.sample, args, options | {"n_threads": n_threads})
    truth = outcome(reference.sample, args, options)
    if isinstance(truth, str):
        assert ours == truth
        assert "found no " in truth
    else:
        assert_same(ours, truth)
        assert ours.report.instruction_set == kernel_set


def all_triplets(x, labels, metric, **options):
    return tripletmine.mine(
        x, labels, pos_strategy="all", neg_strategy="all", metric=metric, **options
    ).as_array()


def surprise(counts, expected):
    """Return chi square of these counts, in standard deviations from what chance gives."""
    degrees = len(counts) - 1
    chi2 = float(((counts - expected) ** 2 / expected).sum())
    return (chi2 - degrees) / math.sqrt(2 * degrees)


def frequencies(triplets, among, n):
    """Return how often each of these triplets was drawn; none other may have been."""
    index = {tuple(triplet): i for i, triplet in enumerate(among.tolist())}
    drawn = [index[tuple(triplet)] for triplet in triplets.as_array().tolist()]
    assert len(drawn) == n
    return np.bincount(drawn, minlength=len(among))


@pytest.mark.parametrize("kind", _options.SAMPLE_TYPES)
@pytest.mark.parametrize("population", ["plain", "groups", "anchors", "references"])
def test_every_triplet_of_a_kind_is_as_likely(kind, population):
    rng = np.random.default_rng(1)
    x, labels = rows("grid", 24, 3, rng) + 0.1, rng.integers(0, 3, 24)
    options = {
        "plain": {},
        "groups": {"groups": rng.integers(0, 5, 24)},
        "anchors": {"anchors": [0, 3, 4, 11]},
        "references": {"ref_emb": rng.normal(size=(15, 3)), "ref_labels": rng.integers(1, 4, 15)},
    }[population]
    margin = {} if kind == "any" else {"margin": 0.3}
    among = all_triplets(
        x, labels, "cosine", **options, **margin,
        type_of_triplets="all" if kind == "any" else kind,
    )  # fmt: skip
    assert len(among) > 30
    n = 20 * len(among)
    drawn = tripletmine.sample(x, labels, n, type_of_triplets=kind, **margin, **options, seed=11)
    counts = frequencies(drawn, among, n)
    assert abs(surprise(counts, n / len(among))) < 4.0


def test_rare_triplets_are_as_likely_too():
    """So rare that proposing them does not pay: all draws past the first are ranked."""
    rng = np.random.default_rng(2)
    x, labels = rng.normal(size=(60, 4)), rng.integers(0, 3, 60)
    everything = tripletmine.mine(x, labels, pos_strategy="all", neg_strategy="all")
    t = np.sort(everything.d_an - everything.d_ap)
    for kind, share in (("easy", 1e-3), ("semihard", 5e-4)):
        index = -int(share * len(t)) if kind == "easy" else np.searchsorted(t, 0.0) + 25
        options = {"type_of_triplets": kind, "margin": float(t[index])}
        among = all_triplets(x, labels, "cosine", **options)
        assert 10 < len(among) < 2e-3 * len(t)
        drawn = tripletmine.sample(x, labels, 8000, **options)
        assert drawn.report.pairs_decided < 2 * 256 * 2048
        counts = frequencies(drawn, among, 8000)
        assert abs(surprise(counts, 8000 / len(among))) < 4.0


@pytest.mark.parametrize(("d", "cutoff", "far"), [(2, 0.5, 1.4), (3, 0.2, 1.9), (16, 0.5, 1.4),
                                                  (16, 1.0, 1.99), (100, 0.5, 1.45)])  # fmt: skip
def test_distance_weights_are_those_of_the_paper(d, cutoff, far):
    rng = np.random.default_rng(3)
    x, labels = unit(rng.normal(size=(14, d)) + 0.3), rng.integers(0, 3, 14)
    among = all_triplets(x, labels, "euclidean")
    d_an = reference.distance_matrix(x, x, "euclidean")[among[:, 0], among[:, 2]]
    clipped = np.maximum(d_an, cutoff)
    log_weight = (2 - d) * np.log(clipped) - (d - 3) / 2 * np.log(1 - clipped**2 / 4)
    expected = np.where(d_an < far, np.exp(log_weight - log_weight[d_an < far].max()), 0.0)
    pairs = among[:, 0] * 14 + among[:, 1]
    sums = np.bincount(pairs, weights=expected)[pairs]
    live = sums > 0
    expected[live] /= sums[live]
    expected /= len(np.unique(pairs[live]))
    n = 60_000
    drawn = tripletmine.sample(x, labels, n, weights="distance", metric="euclidean",
                               cutoff=cutoff, nonzero_loss_cutoff=far, seed=4)  # fmt: skip
    counts = frequencies(drawn, among, n)
    common = expected * n >= 5
    assert counts[expected == 0].sum() == 0
    observed = [*counts[common], counts[~common].sum()]
    chances = [*expected[common] * n, max(1e-9, expected[~common].sum() * n)]
    if chances[-1] < 5:
        observed, chances = observed[:-1], chances[:-1]
    assert abs(surprise(np.array(observed), np.array(chances))) < 4.0


@pytest.mark.parametrize("options", [
    {"type_of_triplets": "hard"},
    {"type_of_triplets": "easy", "margin": 1.55},  # rare
    {"weights": "distance", "metric": "euclidean"},
], ids=lambda options: options.get("type_of_triplets", "distance"))  # fmt: skip
def test_the_first_draws_and_the_bytes_do_not_depend_on_how_or_how_many(options, monkeypatch):
    rng = np.random.default_rng(5)
    x, labels = unit(rng.normal(size=(300, 5)).astype(np.float32)), rng.integers(0, 4, 300)
    many = tripletmine.sample(x, labels, 3000, **options, seed=8, n_threads=1)
    for kernel_set in SUPPORTED:
        monkeypatch.setenv("TRIPLETMINE_ISA", kernel_set)
        for n_threads in (1, 2, 5):
            assert_same(
                tripletmine.sample(x, labels, 3000, **options, seed=8, n_threads=n_threads), many
            )
    for n in (1, 1000, 1024, 1025, 2000):
        few = tripletmine.sample(x, labels, n, **options, seed=8)
        assert few.as_array().tolist() == many.as_array()[:n].tolist()
        assert few.d_an.tobytes() == many.d_an[:n].tobytes()
    other = tripletmine.sample(x, labels, 3000, **options, seed=9)
    assert np.mean(other.anchors == many.anchors) < 0.05


@pytest.mark.parametrize("options", [
    {"type_of_triplets": "hard"},
    {"type_of_triplets": "semihard", "margin": 1e-3},
    {"weights": "distance", "metric": "euclidean"},
], ids=lambda options: options.get("type_of_triplets", "distance"))  # fmt: skip
@pytest.mark.parametrize("wide", [2.0, 0.95])
def test_rows_that_are_tried_first_are_drawn_from_as_the_others(options, wide, monkeypatch):
    """Of rows enough to find the scorer by trying, some compact and some wide: at 0.95 the few
    negatives among the positives are counted with the help of each filter."""
    rng = np.random.default_rng(6)
    labels = rng.integers(0, 30, size=1500)
    spread = np.where(rng.random(30) < 0.5, 0.3, wide)[labels, None]
    x = rng.normal(size=(30, 96))[labels] + spread * rng.normal(size=(1500, 96))
    x = unit(x.astype(np.float32))
    planned = tripletmine.sample(x, labels, 6000, **options, seed=1, n_threads=1)
    for chosen in FILTERS[1:]:
        monkeypatch.setenv("TRIPLETMINE_FILTER", chosen)
        ours = tripletmine.sample(x, labels, 6000, **options, seed=1, n_threads=1)
        assert_same(ours, planned)


@pytest.mark.parametrize("far", [0.9, math.nextafter(0.9, 2), 0.9 * (1 + 1e-14), 0.9 * (1 + 1e-9)])
def test_cutoffs_may_be_next_to_each_other(far):
    rng = np.random.default_rng(7)
    x, labels = unit(rng.normal(size=(60, 3))), rng.integers(0, 4, size=60)
    options = {"weights": "distance", "metric": "euclidean", "seed": 2}
    options |= {"cutoff": 0.9, "nonzero_loss_cutoff": far}
    ours = tripletmine.sample(x, labels, 50, **options)
    assert_same(ours, reference.sample(x, labels, 50, **options))


def test_from_labels_alone():
    labels = ["a", "b", "a", "b", "b", "c"]
    drawn = tripletmine.sample(None, labels, 4000)
    assert np.isnan(drawn.d_ap).all()
    assert np.isnan(drawn.d_an).all()
    assert drawn.report.zero_rows == 0
    assert drawn.report.anchors_without_positive == 1
    among = all_triplets(np.eye(6), labels, "cosine")
    assert abs(surprise(frequencies(drawn, among, 4000), 4000 / len(among))) < 4.0
    a, p, n = tripletmine.sample(None, [0, 1], 50, ref_labels=[1, 0, 0])
    assert set(zip(a.tolist(), p.tolist(), n.tolist(), strict=True)) == {
        (0, 1, 0), (0, 2, 0), (1, 0, 1), (1, 0, 2),
    }  # fmt: skip


def test_labels_of_many_rows_take_no_embeddings_memory():
    labels = np.arange(1_000_000) % 1000
    a, p, n = tripletmine.sample(None, labels, 1000)
    assert (labels[a] == labels[p]).all()
    assert (labels[a] != labels[n]).all()
    assert (a != p).all()


X = np.random.default_rng(6).normal(size=(6, 2))
Y = np.array([0, 0, 1, 1, 2, 2])
DISTANCE = {"weights": "distance", "metric": "euclidean"}


@pytest.mark.parametrize("module", [tripletmine, reference], ids=["core", "reference"])
@pytest.mark.parametrize(
    ("args", "options", "kind", "message"),
    [
        ([X, Y, 0], {}, ValueError, "n: found 0, expected an integer of at least 1"),
        ([X, Y, 1.5], {}, TypeError, "n: found 1.5"),
        ([X, Y[:5], 1], {}, ValueError, "labels: found 5 entries, expected 6"),
        ([X, Y, 1], {"type_of_triplets": "most"}, ValueError, "type_of_triplets: found 'most'"),
        ([X, Y, 1], {"type_of_triplets": "easy"}, ValueError, "type_of_triplets: .*without a mar"),
        ([X, Y, 1], {"margin": 0.1}, ValueError, "margin: found 0.1 with type_of_triplets 'any'"),
        ([X, Y, 1], {"weights": "even"}, ValueError, "weights: found 'even', expected one of 'uni"),
        ([X, Y, 1], {"cutoff": 0.1}, ValueError, "cutoff: found 0.1 with weights 'uniform'"),
        ([X, Y, 1], {"weights": "distance"}, ValueError, "metric: found 'cosine' with weights"),
        ([X, Y, 1], DISTANCE | {"type_of_triplets": "hard"}, ValueError, "type_of_triplets: "),
        ([X, Y, 1], DISTANCE | {"cutoff": 0}, ValueError, "cutoff: found 0.0, expected .*between"),
        ([X, Y, 1], DISTANCE | {"nonzero_loss_cutoff": 2}, ValueError, "nonzero_loss_cutoff: fou"),
        ([X, Y, 1], DISTANCE, ValueError, r"embeddings: row 0 has norm 2.065181, expected 1"),
        ([unit(X), Y, 1, X, Y], DISTANCE, ValueError, "ref_emb: row 0 has norm 2.065181"),
        ([None, Y, 1], {"type_of_triplets": "hard"}, ValueError, "embeddings: found None with"),
        ([None, Y, 1], DISTANCE, ValueError, "embeddings: found None with .* weights 'distance'"),
        ([None, Y, 1, X, Y], {}, ValueError, "ref_emb: found it without embeddings"),
        ([None, [], 1], {}, ValueError, r"labels: found none \(shape \(0,\)\)"),
        ([X, Y, 1], {"seed": -1}, ValueError, "seed: found -1"),
        ([X, [0] * 6, 1], {}, ValueError, "labels: found no anchor with both a posi"),
        ([X, Y, 1], {"anchors": []}, ValueError, "labels: found no anchor with both"),
        ([X, Y, 1], {"type_of_triplets": "easy", "margin": 2}, ValueError,
         r"found no 'easy' triplets among 24 \(\d+ hard, \d+ semi-hard and 0 easy at margin 2.0\)"),
        ([X * 0, Y * 0 + [0, 0, 0, 1, 1, 1], 1], {"type_of_triplets": "semihard", "margin": 0.5},
         ValueError, r"found no 'semihard' triplets among 36 \(36 hard, 0 semi-hard and 0 easy"),
        ([np.array([[1.0, 0], [1, 0], [-1, 0]]), [0, 0, 1], 1], DISTANCE, ValueError,
         "nonzero_loss_cutoff: found no negative nearer than 1.4 to an anchor with a positive"),
    ],
)  # fmt: skip
def test_bad_arguments(module, args, options, kind, message):
    with pytest.raises(kind, match=message) as caught:
        module.sample(*args, **options)
    assert "\n" not in str(caught.value)


def test_nothing_hard_is_said_without_a_margin():
    x = np.array([[0.0], [0.1], [5.0], [5.1]])
    with pytest.raises(
        ValueError, match=r"no 'hard' triplets among 8 \(0 hard and 8 others\), expect"
    ):
        tripletmine.sample(x, [0, 0, 1, 1], 1, type_of_triplets="hard", metric="euclidean")
