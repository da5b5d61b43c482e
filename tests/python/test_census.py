"""``census`` against enumeration: every count, every loss, whatever the threads and the kernels."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tripletmine
from oracle import COUNTS, DIMENSIONS, FILTERS, KINDS, METRICS, SIZES, SUPPORTED, rows
from tripletmine import _census, reference

thorough = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def assert_equal(ours, truth, relative=1e-6):
    """Counts exactly, means as good as promised (or not compared, for None)."""
    assert ours.margins == truth.margins
    for name in ("triplets", "hard", "semihard", "easy", "keys"):
        a, b = getattr(ours, name), getattr(truth, name)
        assert type(a) is type(b)
        np.testing.assert_array_equal(a, b, err_msg=name)
    for name in ("mean_loss", "mean_active_loss") * (relative is not None):
        np.testing.assert_allclose(
            getattr(ours, name), getattr(truth, name), rtol=relative, atol=0.0, err_msg=name
        )
    for name in COUNTS:
        assert getattr(ours.report, name) == getattr(truth.report, name), name


@st.composite
def calls(draw):
    """Any legal call on small awkward data: positional arguments and options."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind, d = draw(st.sampled_from(KINDS)), draw(st.sampled_from(DIMENSIONS))
    n = draw(st.sampled_from(SIZES))
    classes = draw(st.sampled_from([1, 2, 3, max(1, n // 2), n]))
    metric = draw(st.sampled_from(METRICS))
    x = rows(kind, n, d, rng)
    if kind not in ("huge", "tiny", "mixed"):
        x = x.astype(draw(st.sampled_from(["f2", "f4", "f8"])))
    args = [x, rng.integers(0, classes, size=n)]
    y = x
    if draw(st.booleans()):
        m = draw(st.sampled_from(SIZES))
        y = rows(draw(st.sampled_from([kind, "grid"])), m, d, rng)
        args += [y, rng.integers(0, classes + 1, size=m)]
    options = {"metric": metric, "per": draw(st.sampled_from([None, "anchor", "class"]))}
    if draw(st.booleans()):
        options["groups"] = rng.integers(0, max(2, n // 3), size=n)
        if len(args) > 2:
            options["ref_groups"] = rng.integers(0, max(2, n // 3), size=len(y))
    if draw(st.booleans()):
        options["anchors"] = rng.permutation(n)[: draw(st.integers(0, n))]
    # Margins that are hit exactly, too.
    distances = np.sort(reference.distance_matrix(x[:1], y, metric).ravel())
    spread = distances[-1] - distances[0]
    hit = rng.choice(distances, 2)
    options["margins"] = [0.0, spread / 7, spread, 2 * spread, abs(float(hit[0] - hit[1]))]
    return args, options


@thorough
@given(calls(), st.sampled_from([1, 2, 5]), st.sampled_from(SUPPORTED), st.sampled_from(FILTERS))
def test_counts_equal_enumeration(call, n_threads, kernel_set, chosen):
    args, options = call
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIPLETMINE_ISA", kernel_set)
        patch.setenv("TRIPLETMINE_FILTER", chosen)
        ours = tripletmine.census(*args, **options, n_threads=n_threads)
    # Means of a single anchor's few triplets, and ones of 1e-9 of the distances, are not asked for.
    assert_equal(ours, reference.census(*args, **options), relative=None)
    assert ours.report.instruction_set == kernel_set


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("metric", METRICS)
def test_means_are_good_to_a_millionth(kind, metric, monkeypatch):
    rng = np.random.default_rng(0)
    for n, d in ((61, 9), (97, 129), (150, 64)):
        x, labels = rows(kind, n, d, rng), rng.integers(0, 5, n)
        if kind not in ("huge", "tiny", "mixed"):
            x = x.astype(np.float32)
        spread = float(np.ptp(reference.distance_matrix(x[:20], x, metric)))
        options = {"metric": metric, "margins": [0.0, spread / 50, spread / 5, spread]}
        truth = reference.census(x, labels, **options)
        for kernel_set in SUPPORTED:
            monkeypatch.setenv("TRIPLETMINE_ISA", kernel_set)
            assert_equal(tripletmine.census(x, labels, **options), truth)


@pytest.mark.parametrize("per", [None, "anchor", "class"])
def test_threads_and_blocks_change_no_bit(per):
    rng = np.random.default_rng(1)
    x, labels = rng.normal(size=(1500, 48)).astype(np.float32), rng.integers(0, 12, 1500)
    options = {"margins": [0.1, 0.3], "per": per}
    first = tripletmine.census(x, labels, n_threads=1, **options)
    for n_threads in (2, 5):
        again = tripletmine.census(x, labels, n_threads=n_threads, **options)
        assert repr(again.records()) == repr(first.records())
    if per == "anchor":
        cuts = [slice(0, 700), slice(700, 701), slice(701, None)]
        parts = [tripletmine.census(x, labels, anchors=cut, **options) for cut in cuts]
        for name in ("hard", "semihard", "easy", "mean_loss"):
            joined = np.concatenate([getattr(part, name)[1] for part in parts])
            assert joined.tobytes() == getattr(first, name)[1].tobytes()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("part", [0.01, 0.4, 0.99])
def test_negatives_within_reach_are_counted_whatever_part_they_are(metric, part, monkeypatch):
    """Few are looked for by coarse scores and summed exactly; beside many others are set aside."""
    n, n_classes = 2500, 500
    rng = np.random.default_rng(5)
    labels = np.arange(n) % n_classes
    x = rng.normal(size=(n_classes, 96))[labels] + 0.5 * rng.normal(size=(n, 96))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    pair = x[:n_classes], x[n_classes : 2 * n_classes]
    distances = tripletmine.pairwise_distances(*pair, metric=metric)
    reach = np.quantile(distances, part) - np.mean(np.diag(distances))
    options = {"metric": metric, "margins": [0.0, reach], "per": "anchor"}
    options["groups"] = rng.integers(0, 3, size=n)
    some = np.sort(rng.permutation(n)[:60])
    truth = reference.census(x, labels, anchors=some, **options)
    exact = set()
    for kernel_set in SUPPORTED:
        monkeypatch.setenv("TRIPLETMINE_ISA", kernel_set)
        ours = [tripletmine.census(x, labels, **options, n_threads=count) for count in (1, 3)]
        assert repr(ours[0].records()) == repr(ours[1].records())
        few = part == 0.01 and kernel_set in {"avx512_vnni", "avx512", "avx2"}
        if few:
            assert ours[0].report.plan.startswith("int8")
            assert ours[0].report.pairs_decided < ours[0].report.pairs_considered / 8
            exact.add(repr(ours[0].records()))
        for name in ("hard", "semihard", "easy"):
            for own, others in zip(getattr(ours[0], name), getattr(truth, name), strict=True):
                np.testing.assert_array_equal(own[some], others)
        for own, others in zip(ours[0].mean_loss, truth.mean_loss, strict=True):
            np.testing.assert_allclose(own[some], others, rtol=1e-11 if few else 1e-3)
    assert len(exact) <= 1
    assert 0 < sum(truth.semihard[1]) < sum(truth.triplets)


def test_losses_far_smaller_than_the_distances_that_make_them():
    """Distances of the few negatives within reach, summed in float64, leave too few digits."""
    rng = np.random.default_rng(3)
    per, n_classes = 110, 20
    i = np.arange(per * n_classes)
    x = np.zeros((len(i), per + n_classes))
    for _ in range(3):
        x[i, i % per] = 1 + 7e-12 * rng.random(len(i))
    x[i, per + i // per] = 50.0
    call = (x, i // 2), {"metric": "euclidean", "margins": [0.0]}
    assert_equal(tripletmine.census(*call[0], **call[1]), reference.census(*call[0], **call[1]))


def test_anchors_of_large_classes_are_taken_in_blocks_that_change_no_bit():
    # More threads hold more anchors at once: all of one's are, five threads' are not.
    rng = np.random.default_rng(5)
    x, labels = rng.normal(size=(4000, 2)), np.arange(4000) % 2
    margins = [0.1, 0.3, 0.5, 0.7, 0.9, 1.1]
    options = {"anchors": slice(0, 350), "margins": margins, "metric": "cosine", "per": "anchor"}
    whole = tripletmine.census(x, labels, n_threads=1, **options)
    blocks = tripletmine.census(x, labels, n_threads=5, **options)
    assert repr(blocks.records()) == repr(whole.records())
    for anchor in (0, 349):
        distances = reference.distance_matrix(x[[anchor]], x, "cosine")[0]
        positives = distances[(labels == labels[anchor]) & (np.arange(len(x)) != anchor)]
        negatives = np.sort(distances[labels != labels[anchor]])
        assert whole.hard[0][anchor] == np.searchsorted(negatives, positives, "right").sum()


def test_agrees_with_mine():
    rng = np.random.default_rng(2)
    x, labels = rows("grid", 120, 4, rng), rng.integers(0, 6, 120)
    census = tripletmine.census(x, labels, margins=0.2, groups=np.arange(120) // 3)
    for kind in ("hard", "semihard", "easy"):
        mined = tripletmine.mine(
            x, labels, pos_strategy="all", neg_strategy="all", margin=0.2, type_of_triplets=kind,
            groups=np.arange(120) // 3,
        )  # fmt: skip
        assert len(mined) == getattr(census, kind)[0]


@pytest.mark.peers
def test_means_are_those_of_pytorch_metric_learning():
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    distances = pytest.importorskip("pytorch_metric_learning.distances")
    reducers = pytest.importorskip("pytorch_metric_learning.reducers")
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    x, labels = rng.normal(size=(60, 5)), rng.integers(0, 4, 60)
    census = tripletmine.census(x, labels, margins=[0.4], metric="euclidean")
    for reducer, mean in (
        (reducers.MeanReducer(), census.mean_loss[0]),
        (reducers.AvgNonZeroReducer(), census.mean_active_loss[0]),
    ):
        loss = losses.TripletMarginLoss(
            margin=0.4, distance=distances.LpDistance(normalize_embeddings=False), reducer=reducer
        )
        theirs = float(loss(torch.tensor(x), torch.tensor(labels)))
        assert theirs == pytest.approx(mean, rel=1e-6)


def test_far_from_the_origin_and_near_duplicates_keep_their_digits():
    """Where float32 scores would leave nothing of the loss."""
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 3, 90)
    for metric in ("euclidean", "sqeuclidean", "dot"):
        x = 1000.0 + rng.normal(size=(90, 16))
        x[40:50] = x[30:40] + 1e-7 * rng.normal(size=(10, 16))
        options = {"metric": metric, "margins": [0.0, 0.5]}
        assert_equal(tripletmine.census(x, labels, **options),
                     reference.census(x, labels, **options))  # fmt: skip


@pytest.mark.parametrize("metric", METRICS)
def test_small_losses_are_as_good_beside_large_ones(metric):
    """Where classes share a place, the losses at margin 0 are tiny."""
    rng = np.random.default_rng(0)
    place = rng.integers(0, 50, 1500)
    x = (rng.normal(size=(50, 32))[place] + 0.002 * rng.normal(size=(1500, 32))).astype(np.float32)
    labels = 2 * place + rng.integers(0, 2, 1500)
    truth = reference.census(x, labels, metric=metric, margins=[0.0, 1.0])
    assert_equal(tripletmine.census(x, labels, metric=metric, margins=[0.0, 1.0]), truth)
    alone = tripletmine.census(x, labels, metric=metric, margins=[0.0])
    assert alone.mean_loss[0] == pytest.approx(truth.mean_loss[0], rel=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_losses_far_smaller_than_distances_have_no_bias(metric):
    """Some classes share a place, the origin, far nearer to each other than to all others."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 160, 1100)
    x = 10.0 * np.eye(160, 128)[labels] + 0.01 * rng.normal(size=(1100, 128))
    options = {"metric": metric, "margins": [0.0, 1e-4]}
    assert_equal(tripletmine.census(x, labels, **options),
                 reference.census(x, labels, **options))  # fmt: skip


@pytest.mark.parametrize("metric", ["cosine", "sqeuclidean", "euclidean"])
@pytest.mark.parametrize("apart", [0.1, 1e-2, 1e-4])
def test_rows_close_together_are_counted_as_others_are(apart, metric):
    """By their scores, which are seen from where the rows are; for margins of any size."""
    rng = np.random.default_rng(5)
    n, classes = 1050, 210
    labels = rng.integers(0, classes, n)
    x = rng.normal(size=50) + apart * rng.normal(size=(n, 50))
    usual = float(np.median(reference.distance_matrix(x[:50], x, metric)))
    options = {"metric": metric, "margins": [0.0, 0.1 * usual, 100.0 * usual]}
    census = tripletmine.census(x, labels, **options)
    assert_equal(census, reference.census(x, labels, **options))
    assert census.report.pairs_decided < 4 * n * n / classes


@pytest.mark.parametrize("metric", ["dot", "sqeuclidean", "euclidean"])
def test_tiny_rows_beside_others_keep_their_losses(metric):
    rng = np.random.default_rng(1)
    x, references = rng.normal(size=(2, 1100, 16))
    labels = rng.integers(0, 200, (2, 1100))
    tiny = 1e-5
    for near, far in ((tiny, 1.0), (1.0, tiny)):
        asked = (near * x, labels[0], far * references, labels[1])
        options = {"metric": metric, "margins": [0.0, near * far]}
        assert_equal(tripletmine.census(*asked, **options),
                     reference.census(*asked, **options))  # fmt: skip


def test_counts_have_no_largest_value():
    values = np.array([[2**62, 2**62 - 1], [2**62 + 5, 3], [2**62, 2**40], [7, 1]])
    sums = _census._exact_sums(values, np.array([0, 3]))
    assert sums.tolist() == [[3 * 2**62 + 5, 2**62 + 2 + 2**40], [7, 1]]
    assert all(type(entry) is int for entry in sums.ravel())
    report = tripletmine.census(np.eye(4), [0, 0, 1, 1], margins=0.1).report.as_dict()
    del report["triplets"]
    large = np.full(40, 2**61)
    arguments = _census._arguments.all_triplets(
        np.zeros((40, 1)), np.arange(40) % 2, None, None, metric="cosine", groups=None,
        ref_groups=None, anchors=None, n_threads=None, progress=None,
    )  # fmt: skip
    for per, whole in ((None, 40 * 2**61), ("class", [20 * 2**61] * 2)):
        census = _census.gathered(
            arguments, np.arange(40) % 2, (0.1,), per, large, large // 2, large[:, None] // 2 + 1,
            np.ones((40, 1)), report,
        )  # fmt: skip
        assert census.triplets == whole
        assert census.report.triplets == 40 * 2**61
        kinds = (census.hard[0], census.semihard[0], census.easy[0])
        assert sum(sum(k) if per else k for k in kinds) == 40 * 2**61


def test_splits_add_up_and_are_named():
    rng = np.random.default_rng(5)
    x, names = rng.normal(size=(50, 4)), rng.choice(["dog", "cat", "ant"], 50)
    options = {"margins": [0.1, 0.5]}
    whole = tripletmine.census(x, names, **options)
    by_class = tripletmine.census(x, names, **options, per="class")
    by_anchor = tripletmine.census(x, names, **options, per="anchor", anchors=[3, 1, 40])
    assert by_class.keys == ["ant", "cat", "dog"]
    assert by_anchor.keys.tolist() == [1, 3, 40]
    for m in (0, 1):
        for kind in ("hard", "semihard", "easy"):
            assert sum(getattr(by_class, kind)[m]) == getattr(whole, kind)[m]
        mean = np.average(by_class.mean_loss[m], weights=np.array(by_class.triplets, float))
        assert mean == pytest.approx(whole.mean_loss[m], rel=1e-12)
    first = tripletmine.census(x, names, anchors=[1], **options)
    assert [int(counts[0]) for counts in by_anchor.semihard] == first.semihard
    only_dogs = tripletmine.census(x, names, anchors=np.flatnonzero(names == "dog"), **options)
    assert only_dogs.easy == [counts[2] for counts in by_class.easy]


def test_names_are_those_that_were_mined():
    """NumPy's strings would have no zero at the end."""
    x = np.random.default_rng(0).normal(size=(12, 4))
    by_class = tripletmine.census(x, ["a", "a\0"] * 6, margins=[0.1], per="class")
    assert (by_class.keys, by_class.triplets) == (["a", "a\0"], [180, 180])


def test_nothing_to_count():
    for labels in (np.zeros(5, int), np.arange(5)):
        census = tripletmine.census(np.eye(5), labels, margins=[0.1])
        assert (census.triplets, census.hard, census.easy) == (0, [0], [0])
        assert np.isnan(census.mean_loss[0])
    for per in (None, "anchor", "class"):
        census = tripletmine.census(np.eye(4), [0, 0, 1, 1], margins=[1], per=per, anchors=[])
        assert census.report.triplets == 0
    far = tripletmine.census(np.array([[0.0], [0.0], [9.0]]), [0, 0, 1], margins=[1.0],
                             metric="euclidean")  # fmt: skip
    assert far.mean_loss == [0.0]
    assert np.isnan(far.mean_active_loss[0])


def test_sums_beyond_float64_are_infinite():
    x = np.array([[0.0], [1e153], [0.0]] * 40)
    census = tripletmine.census(x, [0, 0, 1] * 40, margins=[0.0], metric="sqeuclidean")
    assert census.mean_loss == [np.inf]


def test_tables_and_records():
    x = np.array([[0.0], [1.0], [2.5], [4.0]])
    options = {"margins": [0.5, 2.0], "metric": "euclidean"}
    census = tripletmine.census(x, ["a", "a", "b", "b"], **options, per="class")
    assert repr(census) == "<Census: 8 triplets of 2 classes at 2 margins>"
    assert str(census).splitlines()[0].split() == [
        "class", "margin", "hard", "semi-hard", "easy", "mean", "loss", "where", "there", "is",
        "one",
    ]  # fmt: skip
    assert len(str(census).splitlines()) == 5
    records = census.records()
    assert [(record["class"], record["margin"]) for record in records] == [
        ("a", 0.5), ("b", 0.5), ("a", 2.0), ("b", 2.0),
    ]  # fmt: skip
    assert set(records[0]) == {"class", "margin", "triplets", "hard", "semihard", "easy",
                               "mean_loss", "mean_active_loss"}  # fmt: skip
    of_anchors = tripletmine.census(x, [0, 0, 1, 1], **options, per="anchor").records()
    assert [record["anchor"] for record in of_anchors[:4]] == [0, 1, 2, 3]
    assert sum(record["hard"] for record in of_anchors[:4]) == 1


@pytest.mark.parametrize("module", [tripletmine, reference], ids=["core", "reference"])
@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({}, TypeError, "margins"),
        ({"margins": None}, TypeError, "margins: found None"),
        ({"margins": "0.1"}, TypeError, "margins: found '0.1'"),
        ({"margins": []}, ValueError, "margins: found none, expected at least one"),
        ({"margins": [0.1, -1]}, ValueError, r"margins\[1\]: found -1.0, expected a finite"),
        ({"margins": [np.inf]}, ValueError, r"margins\[0\]: found inf"),
        ({"margins": ["a"]}, TypeError, r"margins\[0\]: found 'a'"),
        (
            {"margins": 0.1, "per": "row"},
            ValueError,
            "per: found 'row', expected one of 'anchor', ",
        ),
        ({"margins": 0.1, "metric": "l2"}, ValueError, "metric: found 'l2'"),
        ({"margins": 0.1, "groups": [1]}, ValueError, "groups: found 1 entries"),
        ({"margins": 0.1, "anchors": [9]}, ValueError, "anchors: found 9"),
    ],
)
def test_bad_arguments(module, options, kind, message):
    with pytest.raises(kind, match=message):
        module.census(np.eye(4), [0, 0, 1, 1], **options)
