"""``triplet_loss`` and ``contrastive_loss`` against the oracle, finite differences and torch."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tripletmine
from oracle import DIMENSIONS, KINDS, METRICS, SIZES, SUPPORTED, rows
from tripletmine import reference

CALLS = ("triplet", "contrastive")
DTYPES = ("f2", "f4", "f8")


def asked(call, n, count, rng):
    """The arguments of a call: its entries, rows repeated freely, and what belongs to them."""
    if call == "triplet":
        return (rng.integers(0, n, size=(count, 3)),)
    return rng.integers(0, n, size=(count, 2)), rng.random(count) < 0.5


def of(module, call):
    return getattr(module, f"{call}_loss")


def assert_same_loss(ours, truth):
    ours, truth = (value if isinstance(value, tuple) else (value,) for value in (ours, truth))
    for mine, true in zip(ours, truth, strict=True):
        assert np.asarray(mine).dtype == np.asarray(true).dtype
        assert np.asarray(mine).shape == np.asarray(true).shape
        assert np.asarray(mine).tobytes() == np.asarray(true).tobytes()


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    call=st.sampled_from(CALLS),
    kind=st.sampled_from([kind for kind in KINDS if kind not in ("huge", "mixed")]),
    dtype=st.sampled_from(DTYPES),
    n=st.sampled_from(SIZES),
    d=st.sampled_from(DIMENSIONS),
    count=st.sampled_from((0, 1, 7, 8, 63, 64, 65, 200)),
    metric=st.sampled_from(METRICS),
    reduction=st.sampled_from(("mean", "sum", "none")),
    grad=st.booleans(),
    margin=st.sampled_from((0.0, 0.1, 1.0, 50.0)),
    kernel_set=st.sampled_from(SUPPORTED),
    n_threads=st.sampled_from((1, 2, 5)),
    seed=st.integers(0, 2**32 - 1),
)
def test_equals_the_reference(
    call, kind, dtype, n, d, count, metric, reduction, grad, margin, kernel_set, n_threads, seed
):
    rng = np.random.default_rng(seed)
    x = rows(kind, n, d, rng).astype(dtype)
    options = {
        "metric": metric,
        "margin": margin,
        "reduction": reduction,
        "grad": grad and reduction != "none",
    }
    entries = asked(call, n, count, rng)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIPLETMINE_ISA", kernel_set)
        ours = of(tripletmine, call)(x, *entries, n_threads=n_threads, **options)
    truth = of(reference, call)(x, *entries, **options)
    assert_same_loss(ours, truth)
    if options["grad"]:
        assert ours[1].dtype == (np.float64 if dtype == "f8" else np.float32)
        assert np.isfinite(ours[1]).all()


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("metric", METRICS)
def test_the_threads_change_nothing(call, metric):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 33)).astype(np.float32)
    entries = asked(call, 3000, 20_000, rng)
    first = of(tripletmine, call)(x, *entries, metric=metric, grad=True, n_threads=1)
    for n_threads in (2, 3, 7):
        again = of(tripletmine, call)(x, *entries, metric=metric, grad=True, n_threads=n_threads)
        assert_same_loss(again, first)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gradient_equals_finite_differences(call, metric, reduction):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(12, 5))
    entries = asked(call, 12, 40, rng)
    options = {"metric": metric, "reduction": reduction, "margin": 1.5}
    loss = of(tripletmine, call)
    _, gradient = loss(x, *entries, grad=True, **options)
    step = 1e-6
    for i in range(12):
        for k in range(5):
            up, down = x.copy(), x.copy()
            up[i, k] += step
            down[i, k] -= step
            slope = (loss(up, *entries, **options) - loss(down, *entries, **options)) / (2 * step)
            assert gradient[i, k] == pytest.approx(slope, rel=1e-6, abs=1e-7)


def test_sums_of_small_integers_are_exact():
    rng = np.random.default_rng(2)
    x = rng.integers(-3, 4, size=(20, 6))
    triplets = rng.integers(0, 20, size=(100, 3))
    exact = [
        max(0, 2 + int(((x[a] - x[p]) ** 2).sum()) - int(((x[a] - x[n]) ** 2).sum()))
        for a, p, n in triplets
    ]
    given = x.astype(np.float32), triplets
    each = tripletmine.triplet_loss(*given, margin=2, reduction="none")
    assert each.tolist() == exact
    assert tripletmine.triplet_loss(*given, margin=2, reduction="sum") == sum(exact)
    assert tripletmine.triplet_loss(*given, margin=2) == float(Fraction(sum(exact), 100))


def test_a_triplet_has_a_loss_exactly_if_mining_with_the_margin_keeps_it():
    x = rows("grid", 40, 3, np.random.default_rng(3))
    labels = np.arange(40) % 4
    mined = tripletmine.mine(
        x, labels, pos_strategy="all", neg_strategy="all", metric="euclidean", fallback="drop"
    )
    each = tripletmine.triplet_loss(x, mined, margin=0.7, metric="euclidean", reduction="none")
    assert np.array_equal(each > 0, mined.d_an - mined.d_ap < 0.7)
    assert np.array_equal(each, np.maximum(0, 0.7 - (mined.d_an - mined.d_ap)))


def test_triplets_come_in_any_form():
    x = rows("normal", 30, 4, np.random.default_rng(4))
    mined = tripletmine.mine(x, np.arange(30) % 3, neg_strategy="hard")
    expected = tripletmine.triplet_loss(x, mined)
    table = mined.as_array()
    for form in (tuple(mined), table, table.tolist(), table.astype("u2"), np.asfortranarray(table)):
        assert tripletmine.triplet_loss(x, form) == expected
    pairs = table[:, :2]
    same = np.ones(len(pairs), bool)
    expected = tripletmine.contrastive_loss(x, pairs, same)
    assert tripletmine.contrastive_loss(x, (mined.anchors, mined.positives), same) == expected


@pytest.mark.parametrize("metric", METRICS)
def test_degenerate_rows_have_defined_gradients(metric):
    x = np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 2.0], [1.0, 2.0], [1e-160, 0.0], [3.0, -1.0]])
    triplets = [[i, j, k] for i in range(6) for j in range(6) for k in range(6)]
    loss, gradient = tripletmine.triplet_loss(x, triplets, margin=9.0, metric=metric, grad=True)
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()
    if metric == "cosine":
        assert not gradient[:2].any()
    loss, gradient = tripletmine.contrastive_loss(
        x, [[2, 3], [0, 1], [2, 2]], [False] * 3, metric=metric, grad=True
    )
    assert loss == pytest.approx({"cosine": 2 / 3, "dot": (36 + 1 + 36) / 3}.get(metric, 1.0))
    assert metric == "dot" or not gradient.any()


def test_no_entries_have_no_loss():
    x = np.ones((3, 2), np.float32)
    loss, gradient = tripletmine.triplet_loss(x, np.empty((0, 3), int), grad=True)
    assert (loss, gradient.tolist()) == (0.0, [[0.0, 0.0]] * 3)
    assert tripletmine.triplet_loss(x, []) == 0.0
    assert tripletmine.triplet_loss(x, ([], [], []), reduction="none").shape == (0,)
    assert tripletmine.contrastive_loss(x, [], []) == 0.0


def test_bfloat16_and_memory_maps(tmp_path):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    rng = np.random.default_rng(5)
    x = rng.normal(size=(40, 9)).astype(ml_dtypes.bfloat16)
    triplets = rng.integers(0, 40, size=(60, 3))
    expected = tripletmine.triplet_loss(x.astype(np.float32), triplets, grad=True)
    assert_same_loss(tripletmine.triplet_loss(x, triplets, grad=True), expected)
    np.save(tmp_path / "x.npy", x.astype(np.float32))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert_same_loss(tripletmine.triplet_loss(mapped, triplets, grad=True), expected)
    assert_same_loss(
        tripletmine.triplet_loss(np.asfortranarray(mapped), triplets, grad=True), expected
    )


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kind=st.sampled_from([kind for kind in KINDS if kind not in ("huge", "mixed", "tiny")]),
    dtype=st.sampled_from(DTYPES),
    n=st.sampled_from((1, 2, 7, 16, 23)),
    d=st.sampled_from((1, 3, 8, 17)),
    classes=st.sampled_from((1, 2, 4, 30)),
    metric=st.sampled_from(METRICS),
    reduction=st.sampled_from(("mean", "sum")),
    margin=st.sampled_from((0.0, 0.1, 1.0)),
    kernel_set=st.sampled_from(SUPPORTED),
    seed=st.integers(0, 2**32 - 1),
)
def test_batch_all_is_the_loss_of_all_triplets(
    kind, dtype, n, d, classes, metric, reduction, margin, kernel_set, seed
):
    rng = np.random.default_rng(seed)
    x = rows(kind, n, d, rng).astype(dtype)
    labels = rng.integers(0, classes, size=n)
    options = {"margin": margin, "metric": metric, "reduction": reduction}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIPLETMINE_ISA", kernel_set)
        loss, gradient = tripletmine.batch_all_loss(x, labels, grad=True, **options)
        assert loss == tripletmine.batch_all_loss(x, labels, **options)
    truth, true_gradient = reference.batch_all_loss(x, labels, grad=True, **options)
    scale = np.abs(true_gradient).max(initial=1e-300)
    assert loss == pytest.approx(truth, rel=1e-6, abs=1e-15)
    assert gradient.dtype == true_gradient.dtype
    # The order of the sums differs: where they cancel, what is left is rounding.
    tolerance = 1e-6 if gradient.dtype == np.float32 else 1e-11
    terms = 1 if reduction == "mean" else n * n
    np.testing.assert_allclose(
        gradient, true_gradient, rtol=tolerance, atol=tolerance * (scale + terms * 1e-3)
    )


@pytest.mark.parametrize("metric", METRICS)
def test_batch_all_of_several_blocks_whatever_the_threads(metric):
    x = rows("normal", 1300, 5, np.random.default_rng(8))
    labels = np.arange(1300) % 7
    options = {"margin": 0.3, "metric": metric, "grad": True}
    first = tripletmine.batch_all_loss(x, labels, n_threads=1, **options)
    for n_threads in (2, 5):
        again = tripletmine.batch_all_loss(x, labels, n_threads=n_threads, **options)
        assert_same_loss(again[1], first[1])
    # By slopes counted in matrices: every anchor's, then the derivative of each pair by its row.
    distances = reference.distance_matrix(x, x, metric)
    slopes = np.zeros_like(distances)
    for a in range(len(x)):
        same = np.flatnonzero((labels == labels[a]) & (np.arange(len(x)) != a))
        others = np.flatnonzero(labels != labels[a])
        active = 0.3 - (distances[a, others] - distances[a, same][:, None]) > 0.0
        slopes[a, same] = active.sum(axis=1)
        slopes[a, others] = -active.sum(axis=0)
    slopes = (slopes + slopes.T) / tripletmine.census(x, labels, margins=[0.3]).triplets
    if metric in ("euclidean", "sqeuclidean"):
        np.fill_diagonal(distances, 1.0)
        factors = slopes * 2.0 if metric == "sqeuclidean" else slopes / distances
        truth = factors.sum(axis=1, keepdims=True) * x - factors @ x
    elif metric == "dot":
        truth = -slopes @ x
    else:
        norms = np.linalg.norm(x, axis=1, keepdims=True)
        along = (slopes * (1.0 - distances)).sum(axis=1, keepdims=True)
        truth = (along * x / norms - slopes @ (x / norms)) / norms
    np.testing.assert_allclose(first[1], truth, rtol=1e-8, atol=1e-12)


def test_what_is_too_large_is_refused():
    x = np.array([[0.0], [1e150], [1.0]])
    for module in (tripletmine, reference):
        with pytest.raises(ValueError, match="embeddings: found a loss beyond float64"):
            module.contrastive_loss(x, [[0, 1]], [True], metric="sqeuclidean")
    large = np.array([[0.0], [3e38], [0.0]], np.float32)
    with pytest.raises(
        ValueError,
        match=r"^embeddings: the gradient of row 0 is beyond float32: found -6\.\d+e\+\d+",
    ):
        tripletmine.triplet_loss(large, [[0, 1, 2]], grad=True)
    many = 1e153 * np.random.default_rng(0).normal(size=(12, 4))
    for options in ({}, {"margin": 1e308}, {"grad": True, "reduction": "sum"}):
        with pytest.raises(ValueError, match="embeddings: found a loss beyond float64"):
            tripletmine.batch_all_loss(many, np.arange(12) % 3, **options)
    with pytest.raises(ValueError, match="embeddings: row 1 holds NaN"):
        tripletmine.triplet_loss(np.array([[0.0], [np.nan]]), [[0, 0, 0]])


@pytest.mark.parametrize("grad", [False, True])
def test_progress_of_all_triplets_is_that_of_both_passes(grad):
    x = np.random.default_rng(0).normal(size=(3000, 200)).astype(np.float32)
    seen = []
    options = {"grad": grad, "n_threads": 1, "progress": lambda *pairs: seen.append(pairs)}
    tripletmine.batch_all_loss(x, np.arange(3000) % 100, **options)
    assert {total for _, total in seen} <= {(1 + grad) * 3000 * 2999}
    assert seen == sorted(seen)
    assert all(0 <= done <= total for done, total in seen)
    assert seen or not grad


def test_columns_of_both_kinds_of_integers():
    x = np.arange(6.0).reshape(3, 2)
    columns = (np.array([0]), np.array([1], np.uint64), np.array([2]))
    assert tripletmine.triplet_loss(x, columns) == tripletmine.triplet_loss(x, [[0, 1, 2]])
    beyond = (np.array([0]), np.array([2**63], np.uint64), np.array([2]))
    with pytest.raises(ValueError, match="triplets: found 9223372036854775808"):
        tripletmine.triplet_loss(x, beyond)


@pytest.mark.peers
@pytest.mark.parametrize(
    ("p", "metric"), [(2.0, "euclidean"), (None, "sqeuclidean"), (None, "cosine")]
)
def test_equals_torch(p, metric):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(6)
    x = torch.tensor(rng.normal(size=(200, 24)), requires_grad=True)
    triplets = rng.integers(0, 200, size=(500, 3))
    triplets = triplets[(triplets[:, 0] != triplets[:, 1]) & (triplets[:, 0] != triplets[:, 2])]
    a, pos, neg = (x[torch.tensor(column)] for column in triplets.T)
    if metric == "euclidean":
        truth = torch.nn.TripletMarginLoss(margin=0.3, p=p, eps=0.0)(a, pos, neg)
    elif metric == "sqeuclidean":
        truth = torch.relu(0.3 + ((a - pos) ** 2).sum(1) - ((a - neg) ** 2).sum(1)).mean()
    else:
        cosine = torch.nn.functional.cosine_similarity
        truth = torch.relu(0.3 + cosine(a, neg) - cosine(a, pos)).mean()
    truth.backward()
    loss, gradient = tripletmine.triplet_loss(x, triplets, margin=0.3, metric=metric, grad=True)
    assert loss == pytest.approx(truth.item(), rel=1e-10)
    np.testing.assert_allclose(gradient, x.grad.numpy(), rtol=1e-8, atol=1e-12)


def test_gradient_descent_learns():
    """A linear map learned by the loss's gradient turns a set of two crossed classes apart."""
    rng = np.random.default_rng(7)
    labels = np.arange(200) % 2
    x = rng.normal(size=(200, 6)) * [3, 3, 3, 3, 3, 0.5]
    x[:, 5] += labels
    weights = np.eye(6)
    first = None
    for _ in range(60):
        y = x @ weights
        triplets = tripletmine.mine(y, labels, neg_strategy="hard", metric="sqeuclidean")
        loss, gradient = tripletmine.triplet_loss(y, triplets, margin=1.0, grad=True)
        first = loss if first is None else first
        weights -= 0.05 * x.T @ gradient
    assert loss < 0.5 * first
