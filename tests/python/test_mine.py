"""``mine`` against the oracle, byte for byte, and under everything that must not matter."""

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tripletmine
from oracle import FILTERS, KINDS, METRICS, PAIRS, SUPPORTED, assert_same, calls, rows
from tripletmine import _memory, _mine, _options, reference

thorough = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@thorough
@given(calls(), st.sampled_from([1, 2, 5]), st.sampled_from(SUPPORTED), st.sampled_from(FILTERS))
def test_equals_the_reference(call, n_threads, kernel_set, chosen):
    args, options = call
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIPLETMINE_ISA", kernel_set)
        patch.setenv("TRIPLETMINE_FILTER", chosen)
        ours = tripletmine.mine(*args, **options, n_threads=n_threads)
    assert_same(ours, reference.mine(*args, **options))
    assert ours.report.instruction_set == kernel_set


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(calls())
def test_small_memory_changes_nothing(call):
    """Rows packed anew for each block, and anchors taken in blocks, give the same triplets."""
    args, options = call
    whole = tripletmine.mine(*args, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_memory, "SMALL", 0)
        patch.setattr(_memory, "available", lambda: 20_000)
        patch.setattr(_mine, "_check_selection", lambda _: None)  # would refuse many ranks
        assert_same_triplets(tripletmine.mine(*args, **options, max_triplets=10**9), whole)


def assert_same_triplets(ours, truth):
    """Compare what is returned; blocks see the candidates' zero rows once each."""
    assert ours.as_array().tolist() == truth.as_array().tolist()
    assert ours.d_ap.tobytes() == truth.d_ap.tobytes()
    assert ours.d_an.tobytes() == truth.d_an.tobytes()
    assert ours.fell_back.tolist() == truth.fell_back.tolist()


@pytest.mark.parametrize(
    ("kind", "num_negatives"),
    [
        ("normal", 4),
        ("near", 24),
        ("duplicates", 25),
        ("normal", 25),
        ("near", 600),
        ("grid", 1025),
    ],
)
def test_many_negatives_of_rows_that_are_taken_in_parts(kind, num_negatives, monkeypatch):
    n = 2500
    rng = np.random.default_rng(3)
    x, labels = rows(kind, n, 40, rng).astype(np.float32), rng.integers(0, 9, size=n)
    some = np.sort(rng.permutation(n)[:25])
    for options in [
        {"metric": "euclidean"},
        {"neg_strategy": "easy"},
        {"groups": rng.integers(0, n // 4, size=n)},
        {"groups": rng.integers(0, 20, size=n)},
        {"groups": rng.integers(0, 3, size=n)},
        {"ref_emb": x[300:] + np.float32(0.5), "ref_labels": labels[300:]},
    ]:
        call = {"pos_strategy": "hard", "neg_strategy": "hard"} | options
        call["num_negatives"] = num_negatives
        truth = reference.mine(x, labels, anchors=some, **call)
        results = set()
        sets = SUPPORTED if num_negatives < 100 else SUPPORTED[:2]
        for kernel_set, n_threads in zip(sets, itertools.cycle((1, 3)), strict=False):
            monkeypatch.setenv("TRIPLETMINE_ISA", kernel_set)
            ours = tripletmine.mine(x, labels, n_threads=n_threads, **call)
            results.add((ours.as_array().tobytes(), ours.d_ap.tobytes(), ours.d_an.tobytes()))
            chosen = np.isin(ours.anchors, some)
            assert ours.as_array()[chosen].tolist() == truth.as_array().tolist()
            assert ours.d_an[chosen].tobytes() == truth.d_an.tobytes()
        assert len(results) == 1


LARGER = {
    "normal": (1500, 48),
    "grid": (1501, 5),
    "duplicates": (997, 130),
    "equal": (1200, 9),
    "near": (800, 200),
    "sharing": (1100, 96),
}


@pytest.mark.parametrize("kind", LARGER)
@pytest.mark.parametrize("metric", METRICS)
def test_larger_sets_are_equal_for_every_kernel_set_and_thread_count(kind, metric, monkeypatch):
    n, d = LARGER[kind]
    rng = np.random.default_rng(1)
    x, labels = rows(kind, n, d, rng).astype(np.float32), rng.integers(0, 30, size=n)
    for positive, negative in [
        ("hard", "hard"),
        ("easy", "easy"),
        ("easy", "semihard"),
        ("all", "semihard"),
    ]:
        options = {"pos_strategy": positive, "neg_strategy": negative, "metric": metric}
        options |= {"num_negatives": 2, "fallback": "hard"}
        some = rng.permutation(n)[:40]
        truth = reference.mine(x, labels, anchors=some, **options)
        results = []
        for kernel_set in SUPPORTED:
            monkeypatch.setenv("TRIPLETMINE_ISA", kernel_set)
            for n_threads in (1, 2, 5):
                results.append(tripletmine.mine(x, labels, n_threads=n_threads, **options))
                assert results[-1].report.instruction_set == kernel_set
            assert_same(tripletmine.mine(x, labels, anchors=some, **options), truth)
        for result in results[1:]:
            assert_same(result, results[0])
        of_some = np.isin(results[0].anchors, some)
        assert results[0].as_array()[of_some].tolist() == truth.as_array().tolist()
        assert results[0].d_an[of_some].tobytes() == truth.d_an.tobytes()


def rows_of_few_directions(n, d, centres, rng):
    """Rows that lie near 40 directions; around two centres most pairs are near ones."""
    at = rng.normal(size=(centres, 40))[rng.integers(0, centres, size=n)]
    few = at + 0.5 * rng.normal(size=at.shape)
    return few @ rng.normal(size=(40, d)) / 16 + 0.06 * rng.normal(size=(n, d))


@pytest.mark.parametrize("centres", [2, 400])
@pytest.mark.parametrize("n_negatives", [1, 3])
def test_projected_rows_tell_the_same(centres, n_negatives, monkeypatch):
    rng = np.random.default_rng(6)
    x, others = rows_of_few_directions(4100, 200, centres, rng).reshape(2, 2050, 200)
    options = {"pos_strategy": "hard", "num_negatives": n_negatives}
    sides = [(x, rng.integers(0, 300, size=2050))]
    sides.append((*sides[0], others, rng.integers(0, 300, size=2050)))
    for negative, side in itertools.product(("hard", "easy"), sides):
        groups = {"groups": rng.integers(0, 900, size=2050)} if len(side) == 2 else {}
        results = {}
        for chosen, kernel_set in itertools.product(("fine", "projected"), SUPPORTED):
            monkeypatch.setenv("TRIPLETMINE_FILTER", chosen)
            monkeypatch.setenv("TRIPLETMINE_ISA", kernel_set)
            mined = tripletmine.mine(*side, neg_strategy=negative, **options, **groups)
            results[chosen, kernel_set] = mined
            projected = chosen == "projected" and kernel_set != "amx"
            assert ("directions" in mined.report.plan) == projected
        for ours in results.values():
            assert_same(ours, results["fine", "portable"])


@pytest.mark.parametrize("centres", [2, 400])
def test_rows_of_few_directions_are_projected(centres, monkeypatch):
    rng = np.random.default_rng(7)
    x = rows_of_few_directions(16_000, 400, centres, rng).astype(np.float32)
    labels = rng.integers(0, 900, size=len(x))
    options = {"pos_strategy": "hard", "neg_strategy": "hard"}
    planned = tripletmine.mine(x, labels, **options)
    monkeypatch.setenv("TRIPLETMINE_FILTER", "fine")
    assert_same(tripletmine.mine(x, labels, **options), planned)
    if planned.report.instruction_set == "avx2":
        assert "directions" in planned.report.plan


@pytest.mark.parametrize("kernel_set", SUPPORTED)
@pytest.mark.parametrize("metric", ["cosine", "euclidean", "sqeuclidean"])
@pytest.mark.parametrize("apart", [1e-2, 1e-3, 1e-4])
def test_rows_close_together_are_filtered_as_others_are(kernel_set, metric, apart, monkeypatch):
    """As those of an encoder that collapses, or features far from the origin."""
    monkeypatch.setenv("TRIPLETMINE_ISA", kernel_set)
    rng = np.random.default_rng(9)
    n, d = 2000, 64
    x, labels = rng.normal(size=d) + apart * rng.normal(size=(n, d)), rng.integers(0, 40, size=n)
    x[0], labels[0] = 300.0 * x[0], 0  # the first of all; alone, it says nothing of the others
    options = {"pos_strategy": "hard", "neg_strategy": "hard", "metric": metric}
    mined = tripletmine.mine(x, labels, num_negatives=3, **options)
    assert mined.report.pairs_decided < 50 * n
    some = rng.permutation(n)[:40]
    truth = reference.mine(x, labels, anchors=some, num_negatives=3, **options)
    of_some = np.isin(mined.anchors, some)
    assert mined.as_array()[of_some].tolist() == truth.as_array().tolist()


@pytest.mark.parametrize(("spread", "plan"), [(0.0, "int8"), (1.0, "int8, int16"), (0.5, None)])
def test_semihard_pairs_are_filtered_as_it_pays(spread, plan, monkeypatch):
    """Where negatives lie beyond the positives coarse scores do, unless too many are among them."""
    if "avx2" in SUPPORTED:
        monkeypatch.setenv("TRIPLETMINE_ISA", "avx2")
    rng = np.random.default_rng(8)
    n, d = 6000, 96
    labels = rng.integers(0, 200, size=n)
    own = np.where(rng.random(200) < spread, 1.5, 0.3)[labels, None]
    x = (rng.normal(size=(200, d))[labels] + own * rng.normal(size=(n, d))).astype(np.float32)
    options = {"pos_strategy": "all", "neg_strategy": "semihard", "n_threads": 2}
    planned = tripletmine.mine(x, labels, **options)
    if "avx2" in SUPPORTED and plan is not None:
        assert planned.report.plan == plan
    for chosen in FILTERS[1:]:
        monkeypatch.setenv("TRIPLETMINE_FILTER", chosen)
        assert_same(tripletmine.mine(x, labels, **options), planned)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("spread", [0.2, 1.0, "ties"])
def test_all_negatives_within_reach_of_the_positives(metric, spread, monkeypatch):
    """They are looked for by their scores where they are few, else among all distances."""
    n, n_classes = 2500, 500
    rng = np.random.default_rng(5)
    labels = rng.integers(0, n_classes, size=n)
    if spread == "ties":
        x = rng.integers(-1, 2, size=(n, 6)).astype(np.float32)
    else:
        x = rng.normal(size=(n_classes, 20))[labels] + spread * rng.normal(size=(n, 20))
        x = x.astype(np.float32)
    scale = np.std(tripletmine.pairwise_distances(x[:100], metric=metric))
    some = np.sort(rng.permutation(n)[:60])
    groups = {"groups": rng.integers(0, 3, size=n)}
    near = {"allowed_neg_range": (0, 0.3 * scale)}
    plans = set()
    for positives, kind, margin, others in [
        ("all", "hard", None, {}),
        ("all", "hard", None, near),
        ("all", "semihard", 0.02, groups),
        ("all", "easy", 0.1, groups),
        ("hard", "semihard", 3.0, {}),
        ("hard", "all", 0.02, near),
        ("random", "all", 0.02, {}),
        ("hard", "hard", None, {"groups": np.zeros(n, np.int64)}),  # without any negative
    ]:
        call = {
            "pos_strategy": positives,
            "neg_strategy": "all",
            "type_of_triplets": kind,
            "margin": None if margin is None else margin * scale,
            "metric": metric,
        } | others
        truth = reference.mine(x, labels, anchors=some, **call)
        for chosen, kernel_set, n_threads in [
            ("", SUPPORTED[0], 2),
            ("coarse", SUPPORTED[-1], 1),
            ("fine", SUPPORTED[len(SUPPORTED) // 2], 3),
        ]:
            monkeypatch.setenv("TRIPLETMINE_FILTER", chosen)
            monkeypatch.setenv("TRIPLETMINE_ISA", kernel_set)
            ours = tripletmine.mine(x, labels, anchors=some, **call, n_threads=n_threads)
            assert_same(ours, truth)
            plans.add(ours.report.plan)
        if spread == 0.2 and (positives, kind, others) == ("all", "hard", {}):
            assert ours.report.pairs_decided < ours.report.pairs_considered / 8
    assert "float64" in plans or spread == "ties"
    assert len(plans) > 1


def test_anchors_that_want_more_negatives_than_most():
    """They are taken a few at a time, and nothing else is different."""
    n, wide = 4000, 600
    rng = np.random.default_rng(6)
    x = rng.normal(size=(n // 2, 16)).astype(np.float32)
    x = np.repeat(x, 2, axis=0) + np.float32(0.01) * rng.normal(size=(n, 16)).astype(np.float32)
    x[1:wide:2] = -x[:wide:2]  # the only positive is the farthest of all
    call = {"pos_strategy": "easy", "neg_strategy": "all", "type_of_triplets": "hard"}
    labels = np.arange(n) // 2
    whole = tripletmine.mine(x, labels, **call, n_threads=1)
    assert np.all(np.bincount(whole.anchors)[:wide] == n - 2)
    assert len(whole.anchors) < wide * (n - 2) + n
    for begin in (0, wide - 10, wide + 300):
        some = slice(begin, begin + 20)
        part = tripletmine.mine(x, labels, **call, anchors=some)
        kept = (whole.anchors >= begin) & (whole.anchors < begin + 20)
        assert part.as_array().tolist() == whole.as_array()[kept].tolist()
        assert part.d_an.tobytes() == whole.d_an[kept].tobytes()
    blocks = list(tripletmine.mine_blocks(x, labels, **call, n_threads=2, block_triplets=500_000))
    assert np.array_equal(np.concatenate([b.as_array() for b in blocks]), whole.as_array())


@pytest.mark.parametrize(("positive", "negative"), PAIRS)
def test_a_partition_of_the_anchors_is_the_whole(positive, negative):
    rng = np.random.default_rng(2)
    x, labels = rows("grid", 211, 4, rng), rng.integers(0, 9, size=211)
    options = {"pos_strategy": positive, "neg_strategy": negative}
    options |= {"num_negatives": 1 if negative == "all" else 2}
    options |= {"groups": rng.integers(0, 50, size=211), "fallback": "easy", "seed": 5}
    whole = tripletmine.mine(x, labels, **options)
    cuts = [slice(0, 16), slice(16, 17), np.arange(17, 130), slice(130, None)]
    parts = [tripletmine.mine(x, labels, anchors=cut, **options) for cut in cuts]
    for name in ("anchors", "positives", "negatives", "d_ap", "d_an", "fell_back"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        assert joined.tobytes() == getattr(whole, name).tobytes()
    assert len(whole) > 20


@pytest.mark.parametrize("metric", METRICS)
def test_dtypes_of_equal_values_give_equal_bytes(metric):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 8, size=333)
    options = {"pos_strategy": "hard", "neg_strategy": "hard", "metric": metric}
    for narrow in (np.float16, ml_dtypes.bfloat16):
        x = rng.normal(size=(333, 37)).astype(narrow)
        results = [tripletmine.mine(x.astype(t), labels, **options) for t in (narrow, "f4", "f8")]
        assert_same(results[0], results[1])
        assert_same(results[0], results[2])


@pytest.mark.parametrize("labels", ["halves", "all but one", "all alone but two"])
@pytest.mark.parametrize("kind", KINDS)
def test_adversarial_rows_and_classes(kind, labels, monkeypatch):
    n = 67
    x = rows(kind, n, 9, np.random.default_rng(10))
    classes = {
        "halves": np.arange(n) % 2,
        "all but one": np.arange(n) == 40,
        "all alone but two": np.maximum(np.arange(n), 1),
    }[labels]
    for metric in METRICS:
        distances = reference.distance_matrix(x[:1], x, metric).ravel()
        margin = float(abs(distances[1] - distances[2]))  # which triplets have exactly
        for positive, negative in PAIRS:
            options = {"pos_strategy": positive, "neg_strategy": negative, "metric": metric}
            options |= {"margin": margin, "fallback": "easy", "anchors": [1, 40, 66]}
            truth = reference.mine(x, classes, **options)
            for kernel_set in SUPPORTED:
                monkeypatch.setenv("TRIPLETMINE_ISA", kernel_set)
                for n_threads in (1, 3):
                    ours = tripletmine.mine(x, classes, n_threads=n_threads, **options)
                    assert_same(ours, truth)


def test_float64_is_decided_on_its_own_values():
    """Rows that float32 cannot tell apart: rounded, row 1 would win the tie."""
    x = np.array([[0.0], [1.0 + 1e-12], [1.0], [0.5]])
    mined = tripletmine.mine(x, [0, 1, 1, 0], pos_strategy="hard", neg_strategy="hard",
                             metric="euclidean")  # fmt: skip
    assert mined.negatives[0] == 2
    assert mined.d_an[0] == 1.0


def test_the_first_of_more_negatives_are_the_same():
    rng = np.random.default_rng(4)
    x, labels = rows("grid", 150, 6, rng), rng.integers(0, 5, size=150)
    for positive, negative in PAIRS:
        if negative == "all" or positive == "semihard":  # whose choice depends on the negatives'
            continue
        options = {"pos_strategy": positive, "neg_strategy": negative, "seed": 9}
        many = tripletmine.mine(x, labels, num_negatives=20, **options)
        few = tripletmine.mine(x, labels, num_negatives=4, **options)
        pair = many.anchors * 150 + many.positives
        rank = np.arange(len(many)) - np.searchsorted(pair, pair)
        assert many.negatives[rank < 4].tolist() == few.negatives.tolist()


def test_one_class_and_all_classes_apart_give_nothing_and_say_so():
    x = np.random.default_rng(5).normal(size=(20, 3))
    for labels, lonely in ((np.zeros(20, int), "negative"), (np.arange(20), "positive")):
        for positive, negative in PAIRS:
            mined = tripletmine.mine(x, labels, pos_strategy=positive, neg_strategy=negative)
            assert len(mined) == 0
            assert mined.anchors.dtype == np.int64
            assert mined.d_an.dtype == np.float64
            assert getattr(mined.report, f"anchors_without_{lonely}") == 20


def test_zero_rows_are_counted():
    x = np.eye(6, 4)
    report = tripletmine.mine(
        x, [0, 1, 0, 1, 0, 1], pos_strategy="hard", neg_strategy="hard"
    ).report
    assert report.zero_rows == 2


class TestTooManyTriplets:
    x = np.random.default_rng(6).normal(size=(60, 2))
    labels = np.arange(60) % 3

    def test_the_exact_count_is_named(self):
        options = {"pos_strategy": "easy", "neg_strategy": "hard", "num_negatives": 7}
        assert len(tripletmine.mine(self.x, self.labels, max_triplets=420, **options)) == 420
        for mine in (tripletmine.mine, reference.mine):
            with pytest.raises(ValueError, match=r"max_triplets: found 420 .*at most 419"):
                mine(self.x, self.labels, max_triplets=419, **options)

    def test_before_the_work_where_the_labels_say_it(self, monkeypatch):
        monkeypatch.setattr(_memory, "SMALL", 0)
        monkeypatch.setattr(_memory, "available", lambda: 10_000)
        monkeypatch.setattr(tripletmine._mine, "_call_core", None)  # not called
        with pytest.raises(ValueError, match="found 2400 triplets"):
            tripletmine.mine(self.x, self.labels, neg_strategy="hard", num_negatives=10**9)

    @pytest.mark.parametrize("positive", ["all", "random"])
    @pytest.mark.parametrize("kind", _options.TRIPLET_TYPES)
    def test_every_negative_is_counted_before_any_is_listed(self, positive, kind, monkeypatch):
        rng = np.random.default_rng(8)
        options = {"pos_strategy": positive, "neg_strategy": "all", "margin": 0.25}
        options |= {"type_of_triplets": kind, "groups": rng.integers(0, 20, 60)}
        options |= {"allowed_neg_range": (0.01, 1.5), "allowed_pos_range": (0.001, 1.9)}
        truth = reference.mine(self.x, self.labels, **options)
        assert_same(tripletmine.mine(self.x, self.labels, **options), truth)
        assert len(truth) > 50
        with pytest.raises(ValueError, match=f"found {len(truth)} triplets .* at most 7;"):
            tripletmine.mine(self.x, self.labels, max_triplets=7, **options)

    def test_counted_block_by_block_where_only_the_distances_say_it(self, monkeypatch):
        monkeypatch.setattr(_memory, "SMALL", 0)
        monkeypatch.setattr(_memory, "available", lambda: 10_000)
        options = {"neg_strategy": "hard", "num_negatives": 50, "margin": 0.3}
        truth = len(reference.mine(self.x, self.labels, **options))
        assert truth > 100
        with pytest.raises(ValueError, match=f"found {truth} triplets"):
            tripletmine.mine(self.x, self.labels, **options)

    def test_blocks_count_all_zero_rows(self, monkeypatch):
        x, references = self.x.copy(), self.x + 0.5
        x[[0, 30, 59]] = references[[7, 8]] = 0.0
        arguments = (x, self.labels, references, self.labels)
        options = {"neg_strategy": "hard", "num_negatives": 5, "max_triplets": 10**6}
        assert tripletmine.mine(*arguments, **options).report.zero_rows == 5
        monkeypatch.setattr(_memory, "SMALL", 0)
        monkeypatch.setattr(_memory, "available", lambda: 20_000)
        blocks = []
        call = tripletmine._mine._call_core
        monkeypatch.setattr(
            tripletmine._mine, "_call_core", lambda *given: blocks.append(given) or call(*given)
        )
        assert tripletmine.mine(*arguments, **options).report.zero_rows == 5
        assert len(blocks) > 3

    @pytest.mark.parametrize("ref", [False, True])
    def test_the_count_from_the_labels_is_the_count(self, ref):
        rng = np.random.default_rng(7)
        args = [self.x, rng.integers(0, 6, 60)]
        if ref:
            args += [rng.normal(size=(31, 2)), rng.integers(3, 9, 31)]
        for range_min in (0, 20, 40):
            options = {"neg_strategy": "hard", "num_negatives": 15, "range_min": range_min}
            arguments = tripletmine._mine.mine_arguments(
                *args, *[None] * (4 - len(args)), pos_strategy="easy", metric="cosine", margin=None,
                type_of_triplets="all", fallback="drop", allowed_pos_range=None,
                allowed_neg_range=None, groups=None, ref_groups=None, anchors=slice(5, 50),
                max_triplets=None, seed=0, n_threads=None, progress=None, **options,
            )  # fmt: skip
            mined = tripletmine.mine(*args, anchors=slice(5, 50), **options)
            assert tripletmine._mine.most_triplets(arguments) == len(mined)


def test_an_unknown_filter_is_refused(monkeypatch):
    monkeypatch.setenv("TRIPLETMINE_FILTER", "middling")
    with pytest.raises(ValueError, match="TRIPLETMINE_FILTER: found 'middling', expected 'proj"):
        tripletmine.mine(np.eye(8), np.arange(8) % 2, neg_strategy="hard")
