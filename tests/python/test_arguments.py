"""Bad input: a clear error that names the argument, the value and what was expected."""

import numpy as np
import pytest

import tripletmine
from tripletmine import _arrays, reference

X = np.arange(12.0).reshape(6, 2)
Y = np.array([0, 0, 1, 1, 2, 2])
NAN = float("nan")


def with_entry(value):
    x = X.copy()
    x[4, 1] = x[5, 0] = value
    return x


WRONG = {
    # embeddings and labels
    "nan": ([with_entry(NAN), Y], {}, ValueError, r"embeddings: row 4 holds NaN at column 1"),
    "inf": ([with_entry(-np.inf), Y], {}, ValueError, r"embeddings: row 4 holds -inf at column 1"),
    "rank 1": ([X[0], Y], {}, ValueError, r"embeddings: .*shape \(2,\), expected two dimensions"),
    "rank 3": ([X[None], Y], {}, ValueError, r"embeddings: .*shape \(1, 6, 2\)"),
    "no rows": ([X[:0], Y[:0]], {}, ValueError, r"embeddings: found no rows"),
    "no columns": ([X[:, :0], Y], {}, ValueError, r"embeddings: found rows of dimension 0"),
    "integers": ([X.astype(int), Y], {}, TypeError, r"embeddings: .*int64, expected float16"),
    "uint16": ([X.astype("u2"), Y], {}, TypeError, r"embeddings: .*uint16, expected float16"),
    "complex": ([X * 1j, Y], {}, TypeError, r"embeddings: .*complex128"),
    "long double": ([X.astype(np.longdouble), Y], {}, TypeError, r"embeddings: .*expected float16"),
    "text": ([np.array([["a", "b"]]), [0]], {}, TypeError, r"embeddings: .*<U1"),
    "no embeddings": ([None, Y], {}, TypeError, r"embeddings: found None, expected rows of float16"),
    "not embeddings": ([{0: X}, Y], {}, TypeError, r"embeddings: found one dict alone, expected rows"),
    "no labels": ([X, None], {}, TypeError, r"labels: found None, expected integers or strings"),
    "one label": ([X, "abcdef"], {}, TypeError, r"labels: found one str alone, expected integers or"),
    "no groups": ([X, Y], {"groups": 3}, TypeError, r"groups: found one int alone"),
    "ragged": ([[[1.0], [1.0, 2.0]], Y], {}, TypeError, r"embeddings: found list"),
    "lengths": ([X, Y[:5]], {}, ValueError, r"labels: found 5 entries, expected 6"),
    "label rank": ([X, Y[:, None]], {}, ValueError, r"labels: .*shape \(6, 1\), expected one dim"),
    "label nan": ([X, [0, 1, NAN, 0, 1, 2]], {}, ValueError, r"labels: found NaN at entry 2"),
    "label floats": ([X, Y * 1.0], {}, TypeError, r"labels: .*float64, expected integers or str"),
    "label none": ([X, ["a", None, *"bcde"]], {}, ValueError, r"labels: found None .*entry 1"),
    "label mix": ([X, np.array(["a", 1, *"bcde"], object)], {}, TypeError, r"labels: found 1 \(int"),
    "label list mix": ([X, ["a", 1, *"bcde"]], {}, TypeError, r"labels: found 1 \(int\) at entry 1 after 'a', expected integers only or"),
    "label mix of ints": ([X, np.array([0, "a", 1, 2, 3, 4], object)], {}, TypeError, r"labels: found 'a' \(str\) at entry 1 after 0"),
    "label object nan": ([X, np.array([0, 1, NAN, 0, 1, 2], object)], {}, ValueError, r"labels: found nan \(float\) at entry 2"),
    "label tuple": ([X, np.array([(1,), *"bcdef"], object)], {}, TypeError, r"labels: found \(1,\) \(tuple\) at entry 0"),
    "label list beyond": ([X, [2**63, 1, 1, 1, 1, 1]], {}, ValueError, r"labels: found 9223372036854775808, expected integers below"),
    "label list floats": ([X, [1.5, 1, 1, 1, 1, 1]], {}, TypeError, r"labels: found 1.5 \(float\) at entry 0"),
    "margin bool": ([X, Y], {"margin": np.True_}, TypeError, r"margin: found np.True_|margin: found True"),
    "range of one": ([X, Y], {"allowed_neg_range": np.array(1.0)}, TypeError, r"allowed_neg_range: found array\(1.\), expected a pair"),
    "label wide": ([X, [2**70] * 6], {}, ValueError, r"labels: found 1180591620717411303424, expected integers below"),
    "label bytes": ([X, [b"\xff", *[b"a"] * 5]], {}, ValueError, r"labels: found bytes that are not UTF-8"),
    "label masked": ([X, np.ma.array(Y, mask=Y == 1)], {}, ValueError, r"labels: found a masked array"),
    "masked": ([np.ma.array(X, mask=X > 3), Y], {}, ValueError, r"embeddings: found a masked array"),
    "label uint64": ([X, np.full(6, 2**63, "u8")], {}, ValueError, r"labels: found 9223372036854775"),
    "label dates": ([X, Y.astype("M8[D]")], {}, TypeError, r"labels: .*datetime64"),
    # references
    "ref dimension": ([X, Y, X[:, :1], Y], {}, ValueError, r"ref_emb: .*dimension 1, expected 2"),
    "ref nan": ([X, Y, with_entry(NAN), Y], {}, ValueError, r"ref_emb: row 4 holds NaN"),
    "ref labels": ([X, Y, X], {}, ValueError, r"ref_labels: found None, expected one for each row"),
    "ref alone": ([X, Y, None, Y], {}, ValueError, r"ref_labels: found it without ref_emb"),
    "ref kinds": ([X, Y, X, list("abcdef")], {}, TypeError, r"ref_labels: found strings, expected i"),
    "ref length": ([X, Y, X, Y[1:]], {}, ValueError, r"ref_labels: found 5 entries, expected 6"),
    # options
    "strategy": ([X, Y], {"pos_strategy": "hrad"}, ValueError,
                 r"pos_strategy: found 'hrad', expected one of 'easy', 'hard', 'semihard', 'random', 'all'"),
    "all and more": ([X, Y], {"neg_strategy": "all", "num_negatives": 2}, ValueError, r"num_negatives: found 2 with neg_strategy 'all'"),
    "all but some": ([X, Y], {"neg_strategy": "all", "range_min": 1}, ValueError, r"range_min: found 1 with neg_strategy 'all'"),
    "semihard and all": ([X, Y], {"pos_strategy": "semihard", "neg_strategy": "all"}, ValueError, r"pos_strategy: found 'semihard' with neg_strategy 'all'"),
    "strategy kind": ([X, Y], {"neg_strategy": 3}, TypeError, r"neg_strategy: found 3 \(int\)"),
    "semihard twice": ([X, Y], {"pos_strategy": "semihard"}, ValueError,
                       r"pos_strategy: found 'semihard' with neg_strategy 'semihard'"),
    "metric": ([X, Y], {"metric": "l2"}, ValueError, r"metric: found 'l2', expected .*'sqeuclidean'"),
    "fallback": ([X, Y], {"fallback": "any"}, ValueError, r"fallback: found 'any', expected .*'drop'"),
    "type": ([X, Y], {"type_of_triplets": "most"}, ValueError, r"type_of_triplets: found 'most'"),
    "type without margin": ([X, Y], {"type_of_triplets": "easy"}, ValueError,
                            r"type_of_triplets: found 'easy' without a margin"),
    "negative margin": ([X, Y], {"margin": -0.1}, ValueError, r"margin: found -0.1, expected a fin"),
    "nan margin": ([X, Y], {"margin": NAN}, ValueError, r"margin: found NaN"),
    "inf margin": ([X, Y], {"margin": np.inf}, ValueError, r"margin: found inf"),
    "margin kind": ([X, Y], {"margin": "0.1"}, TypeError, r"margin: found '0.1' \(str\)"),
    "margin beyond": ([X, Y], {"margin": 10**400}, ValueError, r"margin: found an integer beyond float64"),
    "margin list": ([X, Y], {"margin": [0.1, 0.2]}, TypeError, r"margin: found \[0.1, 0.2\]"),
    "no negatives": ([X, Y], {"num_negatives": 0}, ValueError, r"num_negatives: found 0, .*least 1"),
    "absurd number": ([X, Y], {"num_negatives": 2**70}, ValueError, r"num_negatives: .*absurdly"),
    "half a negative": ([X, Y], {"num_negatives": 1.5}, TypeError, r"num_negatives: found 1.5"),
    "bool": ([X, Y], {"num_negatives": True}, TypeError, r"num_negatives: found True \(bool\)"),
    "range_min": ([X, Y], {"range_min": -1}, ValueError, r"range_min: found -1"),
    "range order": ([X, Y], {"allowed_neg_range": (1, 0)}, ValueError, r"allowed_neg_range: .*low <="),
    "range nan": ([X, Y], {"allowed_pos_range": (0, NAN)}, ValueError, r"allowed_pos_range\[1\]: f"),
    "range kind": ([X, Y], {"allowed_pos_range": 0.5}, TypeError, r"allowed_pos_range: found 0.5"),
    "range set": ([X, Y], {"allowed_pos_range": {0.0, 1.0}}, TypeError, r"allowed_pos_range: found \{0.0, 1.0\}, expected a pair"),
    "range dict": ([X, Y], {"allowed_neg_range": {0: 1, 1: 2}}, TypeError, r"allowed_neg_range: found \{0: 1"),
    "range three": ([X, Y], {"allowed_neg_range": (0, 1, 2)}, TypeError, r"allowed_neg_range: found \(0, 1, 2\)"),
    "anchors slice": ([X, Y], {"anchors": slice(0.5, 2)}, TypeError, r"anchors: found slice\(0.5, 2, None\)"),
    "anchors step": ([X, Y], {"anchors": slice(0, 5, 0)}, ValueError, r"anchors: found slice\(0, 5, 0\)"),
    "groups": ([X, Y], {"groups": [1, 2]}, ValueError, r"groups: found 2 entries, expected 6"),
    "ref groups": ([X, Y], {"ref_groups": Y}, ValueError, r"ref_groups: found it without ref_emb"),
    "ref groups only": ([X, Y, X, Y], {"ref_groups": Y}, ValueError, r"ref_groups: .*without groups"),
    "ref groups missing": ([X, Y, X, Y], {"groups": Y}, ValueError, r"ref_groups: found None"),
    "anchors out": ([X, Y], {"anchors": [0, 6]}, ValueError, r"anchors: found 6 at entry 1, .*0 to 5"),
    "anchors negative": ([X, Y], {"anchors": [-1]}, ValueError, r"anchors: found -1 at entry 0"),
    "anchors twice": ([X, Y], {"anchors": [3, 1, 3]}, ValueError, r"anchors: found 3 twice"),
    "anchors mask": ([X, Y], {"anchors": Y == 0}, TypeError, r"anchors: .*bool.*flatnonzero"),
    "anchors floats": ([X, Y], {"anchors": [0.0]}, TypeError, r"anchors: .*float64"),
    "max_triplets": ([X, Y], {"max_triplets": -5}, ValueError, r"max_triplets: found -5"),
    "seed": ([X, Y], {"seed": -1}, ValueError, r"seed: found -1"),
    "large seed": ([X, Y], {"seed": 2**64}, ValueError, r"seed: found 18446744073709551616, .*at most 18446744073709551615"),
    "no threads": ([X, Y], {"n_threads": 0}, ValueError, r"n_threads: found 0, expected .*at least 1"),
    "threads": ([X, Y], {"n_threads": 10**6}, ValueError, r"n_threads: found 1000000"),
    "progress": ([X, Y], {"progress": True}, TypeError, r"progress: found True, expected a function"),
}  # fmt: skip


@pytest.mark.parametrize("mine", [tripletmine.mine, reference.mine], ids=["core", "reference"])
@pytest.mark.parametrize("case", WRONG)
def test_mine_refuses(case, mine):
    args, options, kind, message = WRONG[case]
    with pytest.raises(kind, match=message) as caught:
        mine(*args, **options)
    assert "\n" not in str(caught.value)


P = [0, 1, 2, 3, 4, 5]
WRONG_NEGATIVES = {
    "query nan": ([with_entry(NAN), X, P], {}, ValueError, r"queries: row 4 holds NaN at column 1"),
    "corpus inf": ([X, with_entry(np.inf), P], {}, ValueError, r"corpus: row 4 holds inf"),
    "dimension": ([X, X[:, :1], P], {}, ValueError, r"corpus: .*dimension 1, expected 2 as in queries"),
    "no corpus": ([X, X[:0], P], {}, ValueError, r"corpus: found no rows"),
    "too few": ([X, X, P[:5]], {}, ValueError, r"positives: found 5 entries, expected 6, one for each"),
    "one": ([X, X, 3], {}, TypeError, r"positives: found 3, expected an index or indices for each q"),
    "outside": ([X, X, [0, 1, 6, 3, 4, 5]], {}, ValueError, r"positives: found 6 for query 2, .*0 to 5"),
    "below": ([X, X, [[0], [], [2, -1], [], [], []]], {}, ValueError, r"positives: found -1 for query 2"),
    "floats": ([X, X, [0.0] * 6], {}, TypeError, r"positives: .*float64"),
    "float lists": ([X, X, [[0.5]] * 6], {}, TypeError, r"positives: .*float64"),
    "mixed": ([X, X, [[0], 1, [2], [3], [4], [5]]], {}, TypeError, r"positives: found 1 at entry 1"),
    "twice": ([X, X, [[0], [1], [2, 3, 2], [], [], []]], {}, ValueError, r"positives: found 2 twice for query 2"),
    "indptr": ([X, X, ([0, 1], [0])], {}, ValueError, r"positives\[0\]: found 2 entries, expected 7"),
    "indptr end": ([X, X, ([0, 1, 1, 1, 1, 1, 1], [0, 1])], {}, ValueError, r"positives\[0\]: found 0 first and 1 last"),
    "indptr falls": ([X, X, ([0, 2, 1, 2, 2, 2, 2], [0, 1])], {}, ValueError, r"positives\[0\]: found 1 after 2"),
    "indptr kind": ([X, X, ([0.5] * 7, [0])], {}, TypeError, r"positives\[0\]: .*float64"),
    "exclude": ([X, X, P], {"exclude": [[9]] * 6}, ValueError, r"exclude: found 9 for query 0"),
    "exclude length": ([X, X, P], {"exclude": [[]]}, ValueError, r"exclude: found 1 entries, expected 6"),
    "no negatives": ([X, X, P], {"num_negatives": 0}, ValueError, r"num_negatives: found 0"),
    "window": ([X, X, P], {"range_max": 2}, ValueError, r"num_negatives: found 3, expected at most 2"),
    "window order": ([X, X, P], {"range_min": 9, "range_max": 9}, ValueError, r"range_min: found 9 with range_max 9"),
    "range_min": ([X, X, P], {"range_min": -1}, ValueError, r"range_min: found -1"),
    "scores": ([X, X, P], {"min_score": 0.5, "max_score": 0.4}, ValueError, r"min_score: found 0.5 with max_score 0.4"),
    "score kind": ([X, X, P], {"max_score": "0.9"}, TypeError, r"max_score: found '0.9' \(str\)"),
    "infinite score": ([X, X, P], {"min_score": -np.inf}, ValueError, r"min_score: found -inf, expected a finite"),
    "nan margin": ([X, X, P], {"relative_margin": NAN}, ValueError, r"relative_margin: found NaN"),
    "margin alone": ([X, X, None], {"absolute_margin": 0.1}, ValueError, r"absolute_margin: found 0.1, but query 0 has no positive"),
    "margin without": ([X, X, [[0], [1], [], [], [], []]], {"relative_margin": 0.1}, ValueError, r"relative_margin: found 0.1, but query 2 has no"),
    "positive_score": ([X, X, P], {"positive_score": "median"}, ValueError, r"positive_score: found 'median', expected one of 'min', 'max', 'mean'"),
    "rank_among": ([X, X, P], {"rank_among": "any"}, ValueError, r"rank_among: found 'any'"),
    "sampling": ([X, X, P], {"sampling": "best"}, ValueError, r"sampling: found 'best', expected one of 'top', 'random'"),
    "metric": ([X, X, P], {"metric": "l2"}, ValueError, r"metric: found 'l2'"),
    "seed": ([X, X, P], {"seed": -1}, ValueError, r"seed: found -1"),
    "threads": ([X, X, P], {"n_threads": 0}, ValueError, r"n_threads: found 0"),
    "progress": ([X, X, P], {"progress": 1}, TypeError, r"progress: found 1"),
}  # fmt: skip


@pytest.mark.parametrize("module", [tripletmine, reference], ids=["core", "reference"])
@pytest.mark.parametrize("case", WRONG_NEGATIVES)
def test_mine_negatives_refuses(case, module):
    args, options, kind, message = WRONG_NEGATIVES[case]
    with pytest.raises(kind, match=message) as caught:
        module.mine_negatives(*args, **options)
    assert "\n" not in str(caught.value)


def test_unknown_options_are_refused():
    with pytest.raises(TypeError, match="neg_strateg"):
        tripletmine.mine(X, Y, neg_strateg="hard")


def test_numbers_of_numpy_are_numbers():
    mined = tripletmine.mine(X, Y, num_negatives=np.int32(2), margin=np.float32(0.5))
    assert mined.report.anchors == 6


@pytest.mark.parametrize("module", [tripletmine, reference], ids=["core", "reference"])
class TestPairs:
    @pytest.mark.parametrize(
        ("args", "options", "kind", "message"),
        [
            ([X[0]], {}, ValueError, "x: .*two dimensions"),
            ([X, X[:, :1]], {}, ValueError, "y: found rows of dimension 1, expected 2 as in x"),
            ([with_entry(NAN)], {}, ValueError, "x: row 4 holds NaN"),
            ([X, with_entry(np.inf)], {}, ValueError, "y: row 4 holds inf"),
            ([X], {"metric": "manhattan"}, ValueError, "metric: found 'manhattan'"),
            ([X], {"n_threads": -2}, ValueError, "n_threads: found -2"),
            ([X], {"progress": 1}, TypeError, "progress: found 1"),
        ],
    )
    def test_both_refuse(self, module, args, options, kind, message):
        for function in (module.nearest, module.pairwise_distances):
            with pytest.raises(kind, match=message):
                function(*args, **options)

    @pytest.mark.parametrize(
        ("args", "k", "kind", "message"),
        [
            ([X], 6, ValueError, "k: found 6, expected at most 5, the number of other rows of x"),
            ([X, X], 7, ValueError, "k: found 7, expected at most 6, the number of rows of y"),
            ([X[:1]], 1, ValueError, "k: found 1, expected at most 0"),
            ([X], 0, ValueError, "k: found 0"),
            ([X], "3", TypeError, "k: found '3'"),
        ],
    )
    def test_neighbours(self, module, args, k, kind, message):
        with pytest.raises(kind, match=message):
            module.nearest(*args, k=k)

    @pytest.mark.parametrize(
        ("out", "kind", "message"),
        [
            (np.zeros((6, 6)), TypeError, "out: found an array of float64, expected .*float32"),
            ([[0.0] * 6] * 6, TypeError, "out: found list"),
            (np.zeros((6, 5), "f4"), ValueError, r"out: found shape \(6, 5\), expected \(6, 6\)"),
        ],
    )
    def test_out(self, module, out, kind, message):
        with pytest.raises(kind, match=message):
            module.pairwise_distances(X, out=out)

    def test_read_only_out(self, module):
        out = np.zeros((6, 6), "f4")
        out.flags.writeable = False
        with pytest.raises(ValueError, match="out: found a read-only"):
            module.pairwise_distances(X, out=out)


@pytest.mark.parametrize("strides", [(4, 4), (0, 4), (8, 0), (-4, 8)])
def test_out_whose_elements_share_memory(strides):
    out = np.lib.stride_tricks.as_strided(np.zeros(99, "f4")[40:], (6, 6), strides)
    with pytest.raises(ValueError, match=r"out: found a view of strides .* share memory"):
        tripletmine.pairwise_distances(np.ones((6, 2)), out=out)


@pytest.mark.parametrize("rows", [1, 6])
def test_out_may_be_any_view_otherwise(rows):
    x = np.arange(2.0 * rows).reshape(rows, 2)
    expected = tripletmine.pairwise_distances(x, X)
    whole = np.zeros((12, 12), "f4")
    for out in (whole[:rows, :6], whole[::-2][:rows, ::2], whole.T[:rows, 6:]):
        assert np.array_equal(tripletmine.pairwise_distances(x, X, out=out), expected)


def test_out_may_not_be_the_input():
    x = np.zeros((6, 6), "f4")
    with pytest.raises(ValueError, match="out: found memory shared with x"):
        tripletmine.pairwise_distances(x, out=x)
    with pytest.raises(ValueError, match="out: found memory shared with y"):
        tripletmine.pairwise_distances(np.ones((6, 6)), x, out=x)
    both = np.zeros((6, 12), np.float32)  # columns in turns share nothing
    assert (tripletmine.pairwise_distances(both[:, ::2], out=both[:, 1::2]) == 1.0).all()


def test_distances_that_cannot_be_told():
    for module in (tripletmine, tripletmine.reference):
        with pytest.raises(ValueError, match=r"embeddings: row 1 has a squared norm .* 2\*\*1020"):
            module.mine(np.array([[0.0], [1e160]]), [0, 1])
    with pytest.raises(
        ValueError, match=r"^x: the distance of rows 0 and 1 is beyond float32: found \S+e\+\d+,"
    ):
        tripletmine.pairwise_distances(np.array([[0.0], [1e30]]), metric="sqeuclidean")


def test_results_that_cannot_fit_are_refused_with_the_bytes_needed(monkeypatch):
    x = np.broadcast_to(np.float32(1.0), (10_000_000, 1))
    monkeypatch.setattr(tripletmine._memory, "available", lambda: 2**30)
    with pytest.raises(ValueError, match=r"k: found 1000, .* need 320000000000 bytes"):
        tripletmine.nearest(x, k=1000)
    with pytest.raises(ValueError, match=r"found 500000000000 triplets \(20500000000000 bytes\)"):
        tripletmine.mine(
            x[:1_000_000], np.arange(1_000_000) % 2, pos_strategy="easy", neg_strategy="hard",
            num_negatives=5_000_000,
        )  # fmt: skip
    for limit in (None, 10**14):  # nobody's limit makes it fit
        with pytest.raises(ValueError, match=r"found 15992000000 triplets .* at most \d+;"):
            tripletmine.mine(
                x[:4000], np.arange(4000) % 2, pos_strategy="all", neg_strategy="all",
                max_triplets=limit,
            )  # fmt: skip
    with pytest.raises(ValueError, match=r"n: found 100000000000, .* need 4100000000000 bytes"):
        tripletmine.sample(X, Y, 10**11)
    for mine in (tripletmine.mine, tripletmine.mine_blocks):
        with pytest.raises(ValueError, match=r"num_negatives: found 9000 .* takes 1440\d* bytes"):
            mine(x[:10_000], np.arange(10_000) % 2, pos_strategy="all", num_negatives=9000)
    with pytest.raises(MemoryError, match="out: the distances need 400000000000000 bytes"):
        tripletmine.pairwise_distances(x)


TRIPLET = [[0, 1, 2]]
WRONG_LOSS = {
    "index": ([X, [[0, 1, 2], [0, 6, 1]]], {}, ValueError, "triplets: found 6 in entry 1, .*0 to 5"),
    "negative": ([X, [[0, 1, -1]]], {}, ValueError, "triplets: found -1 in entry 0"),
    "width": ([X, [[0, 1]]], {}, ValueError, r"triplets: .*shape \(1, 2\), expected 3 row indices"),
    "rank": ([X, [0, 1, 2]], {}, ValueError, r"triplets: .*shape \(3,\), expected 3 row indices"),
    "floats": ([X, [[0.0, 1.0, 2.0]]], {}, TypeError, "triplets: .*float64, expected row indices"),
    "columns": ([X, ([0], [1, 2], [3])], {}, ValueError, r"triplets: .*shapes \(1,\), \(2,\), \(1,\)"),
    "two columns": ([X, ([0], [1])], {}, ValueError, r"triplets: .*shape \(1, 2\), expected 3"),
    "no columns": ([X, ()], {}, ValueError, "triplets: found an empty tuple, expected 3 arrays"),
    "rows": ([X.astype(int), TRIPLET], {}, TypeError, "embeddings: .*int64"),
    "margin": ([X, TRIPLET], {"margin": -1}, ValueError, "margin: found -1.0, expected .* at least 0$"),
    "no margin": ([X, TRIPLET], {"margin": None}, TypeError, "margin: found None"),
    "metric": ([X, TRIPLET], {"metric": "l2"}, ValueError, "metric: found 'l2'"),
    "reduction": ([X, TRIPLET], {"reduction": "max"}, ValueError, "reduction: found 'max', .*'mean'"),
    "grad": ([X, TRIPLET], {"grad": "yes"}, TypeError, r"grad: found 'yes' \(str\), expected a bool"),
    "grad of none": ([X, TRIPLET], {"grad": True, "reduction": "none"}, ValueError,
                     "grad: found True with reduction 'none'"),
    "threads": ([X, TRIPLET], {"n_threads": 0}, ValueError, "n_threads: found 0"),
}  # fmt: skip


@pytest.mark.parametrize("module", [tripletmine, reference], ids=["core", "reference"])
@pytest.mark.parametrize("case", WRONG_LOSS)
def test_triplet_loss_refuses(case, module):
    args, options, kind, message = WRONG_LOSS[case]
    with pytest.raises(kind, match=message):
        module.triplet_loss(*args, **options)


@pytest.mark.parametrize("module", [tripletmine, reference], ids=["core", "reference"])
def test_contrastive_loss_refuses(module):
    for same, kind, message in [
        ([True, False], ValueError, r"same: found shape \(2,\), expected \(1,\)"),
        ([1], TypeError, "same: found an array of int64, expected bools"),
    ]:
        with pytest.raises(kind, match=message):
            module.contrastive_loss(X, [[0, 1]], same)
    with pytest.raises(ValueError, match="pairs: found 9 in entry 0"):
        module.contrastive_loss(X, [[0, 9]], [True])


@pytest.mark.parametrize("module", [tripletmine, reference], ids=["core", "reference"])
def test_batch_all_loss_refuses(module):
    for options, kind, message in [
        (
            {"reduction": "none"},
            ValueError,
            "reduction: found 'none', expected one of 'mean', 'sum'",
        ),
        ({"margin": None}, TypeError, "margin: found None"),
        ({"grad": 1}, TypeError, r"grad: found 1 \(int\), expected a bool"),
        ({"metric": "l2"}, ValueError, "metric: found 'l2'"),
    ]:
        with pytest.raises(kind, match=message):
            module.batch_all_loss(X, Y, **options)


def test_what_threads_may_change_is_copied():
    rows = np.arange(6)
    for own in (
        _arrays.codes("labels", rows, 6)[0],
        _arrays.row_lists("positives", (np.arange(7), rows % 3), 6, 6)[0],
        _arrays.row_lists("positives", rows, 6, 6)[1],
        _arrays.entries("triplets", rows.reshape(2, 3), 3, 6),
        _arrays.anchors(rows[:3], 6),
    ):
        assert not np.shares_memory(own, rows)
    columns = np.asfortranarray(rows.reshape(2, 3))
    assert _arrays.entries("triplets", columns, 3, 6).flags.c_contiguous
    assert _arrays.codes("labels", rows[::-1], 6)[0].tolist() == rows[::-1].tolist()


def test_rows_of_bfloat16_in_a_list():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    rows = np.arange(12.0).reshape(4, 3).astype(ml_dtypes.bfloat16)
    truth = tripletmine.nearest(rows)
    for given, found in zip(truth, tripletmine.nearest(list(rows)), strict=True):
        np.testing.assert_array_equal(given, found)


def test_reference_distances_refuse_what_others_do():
    for call in (reference.distance_matrix, tripletmine.pairwise_distances):
        with pytest.raises(ValueError, match="metric: found 'manhattan', expected one of 'cosine'"):
            call(X, X, metric="manhattan")
        with pytest.raises(TypeError, match="x: found an array of int64, expected float16"):
            call(np.arange(4).reshape(2, 2), X, metric="dot")
