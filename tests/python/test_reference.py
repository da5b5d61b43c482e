"""The oracle against definitions written out by hand, in exact arithmetic where possible."""

import math
from fractions import Fraction

import numpy as np
import pytest

from oracle import METRICS, rows
from tripletmine import reference


def test_sum8_is_the_documented_order():
    terms = np.array([1e16, 1.0, -1e16, 3.0, 1.0, 2.0, 7.0, 5.0, 1.0, 2.0**-60])
    p = [1e16 + 1.0, 1.0 + 2.0**-60, -1e16, 3.0, 1.0, 2.0, 7.0, 5.0]
    expected = ((p[0] + p[4]) + (p[2] + p[6])) + ((p[1] + p[5]) + (p[3] + p[7]))
    assert reference.sum8(terms) == expected
    assert expected != math.fsum(terms)  # the order is visible here


def test_distances_of_small_integers_are_exact():
    x = np.array([[3.0, 4.0], [0.0, 0.0], [6.0, 8.0], [-4.0, 3.0]])
    d = {metric: reference.distance_matrix(x, x, metric) for metric in METRICS}
    assert d["sqeuclidean"][0].tolist() == [0.0, 25.0, 25.0, 50.0]
    assert d["euclidean"][0].tolist() == [0.0, 5.0, 5.0, math.sqrt(50.0)]
    assert d["dot"][0].tolist() == [-25.0, 0.0, -50.0, 0.0]
    # Parallel rows have cosine distance 0, a zero row 1, orthogonal rows 1.
    assert d["cosine"][0].tolist() == [0.0, 1.0, 0.0, 1.0]


@pytest.mark.parametrize("metric", METRICS)
def test_distances_are_within_rounding_of_the_true_ones(metric):
    x = rows("normal", 9, 21, np.random.default_rng(0))
    d = reference.distance_matrix(x, x, metric)
    exact = [[Fraction(v) for v in row] for row in x.tolist()]
    for i, a in enumerate(exact):
        for j, b in enumerate(exact):
            dot = sum(p * q for p, q in zip(a, b, strict=True))
            square = sum((p - q) ** 2 for p, q in zip(a, b, strict=True))
            norms = math.sqrt(sum(p * p for p in a) * sum(q * q for q in b))
            true = {
                "dot": -float(dot),
                "sqeuclidean": float(square),
                "euclidean": math.sqrt(square),
                "cosine": max(0.0, 1.0 - float(dot) / norms),
            }[metric]
            assert d[i, j] == pytest.approx(true, rel=1e-14, abs=1e-14)


def test_cosine_where_the_product_of_the_norms_leaves_float64():
    x = np.array([[1e120, 0.0], [1e120, 1e120], [1e-120, 0.0], [0.0, 1e-120]])
    d = reference.distance_matrix(x, x, "cosine")
    half = 1.0 - math.sqrt(0.5)
    for i, j, expected in [(0, 1, half), (0, 2, 0.0), (0, 3, 1.0), (2, 3, 1.0), (2, 2, 0.0)]:
        assert d[i, j] == pytest.approx(expected, abs=1e-15)


def line(*args, **options):
    """Mine five points on a line: 0, 1, 3 of class 0; 2, 7 of class 1."""
    x = np.array([[0.0], [1.0], [3.0], [2.0], [7.0]])
    options = {"metric": "euclidean", **options}
    return reference.mine(x, [0, 0, 0, 1, 1], *args, **options).as_array().tolist()


def test_strategies_by_hand():
    assert line(pos_strategy="easy", neg_strategy="hard") == [
        [0, 1, 3],
        [1, 0, 3],
        [2, 1, 3],
        [3, 4, 1],  # rows 1 and 2 are at distance 1: the lower index
        [4, 3, 2],
    ]
    assert line(pos_strategy="hard", neg_strategy="easy")[0] == [0, 2, 4]
    assert line(pos_strategy="hard", neg_strategy="semihard") == [[0, 2, 4], [1, 2, 4], [2, 0, 4],
                                                                  [4, 3, 1]]  # fmt: skip
    assert line(pos_strategy="hard", neg_strategy="semihard", fallback="hard")[3] == [3, 4, 1]
    assert line(pos_strategy="hard", neg_strategy="semihard", fallback="easy")[3] == [3, 4, 0]


def test_semihard_positives_are_strictly_nearer():
    # Row 0: nearest negative at 2, positives at 1 and 3: the one at 1. Row 1: the nearest negative
    # is at 1 and so is the nearest positive: none. Row 2: the same. Row 4: nearest negative at 4,
    # positive at 5: none.
    assert line(pos_strategy="semihard", neg_strategy="hard") == [[0, 1, 3]]


def test_windows_ranges_groups_and_margins_by_hand():
    assert line(pos_strategy="easy", neg_strategy="hard", num_negatives=9) == [
        [0, 1, 3], [0, 1, 4], [1, 0, 3], [1, 0, 4], [2, 1, 3], [2, 1, 4],
        [3, 4, 1], [3, 4, 2], [3, 4, 0], [4, 3, 2], [4, 3, 1], [4, 3, 0],
    ]  # fmt: skip
    assert line(pos_strategy="easy", neg_strategy="hard", range_min=1)[0] == [0, 1, 4]
    assert line(pos_strategy="easy", neg_strategy="hard", range_min=2) == [[3, 4, 0], [4, 3, 0]]
    assert line(pos_strategy="easy", neg_strategy="hard", allowed_pos_range=(2, 5)) == [
        [0, 2, 3], [1, 2, 3], [2, 1, 3], [3, 4, 1], [4, 3, 2],
    ]  # fmt: skip
    assert line(pos_strategy="easy", neg_strategy="hard", allowed_neg_range=(2, 2)) == [
        [0, 1, 3], [3, 4, 0],
    ]  # fmt: skip
    # Rows 0, 1 and 3 are one group.
    assert line(pos_strategy="easy", neg_strategy="hard", groups=[0, 0, 1, 0, 2]) == [
        [0, 2, 4], [1, 2, 4], [2, 1, 3], [3, 4, 2], [4, 3, 2],
    ]  # fmt: skip
    # t = d_an − d_ap is 1, 0, −1, −4, −1 for (easy, hard).
    for margin, kind, anchors in [
        (None, "hard", [1, 2, 3, 4]),
        (0.0, "all", [1, 2, 3, 4]),
        (1.0, "all", [0, 1, 2, 3, 4]),
        (1.0, "semihard", [0]),
        (0.5, "semihard", []),
        (0.5, "easy", [0]),
        (1.0, "easy", []),
    ]:
        got = line(pos_strategy="easy", neg_strategy="hard", margin=margin, type_of_triplets=kind)
        assert [row[0] for row in got] == anchors


def test_references_by_hand():
    x, y = np.array([[0.0], [5.0]]), np.array([[0.0], [4.0], [6.0]])
    mined = reference.mine(
        x, ["a", "b"], y, ["a", "b", "a"], pos_strategy="hard", neg_strategy="hard",
        metric="euclidean",
    )  # fmt: skip
    assert mined.as_array().tolist() == [[0, 2, 1], [1, 1, 2]]


def test_random_choices_are_uniform():
    """Chi-square over seeds: each of 6 negatives and 3 positives equally often."""
    x = np.zeros((10, 1))
    labels = np.array([0] * 4 + [1] * 6)
    draws = [
        reference.mine(x, labels, pos_strategy="random", neg_strategy="random", anchors=[2], seed=s)
        for s in range(1200)
    ]
    for column, values in (("negatives", range(4, 10)), ("positives", (0, 1, 3))):
        counts = np.array([sum(getattr(t, column)[0] == v for t in draws) for v in values])
        assert counts.sum() == len(draws)
        expected = len(draws) / len(counts)
        chi_square = ((counts - expected) ** 2 / expected).sum()
        assert chi_square < {5: 20.5, 2: 13.8}[len(counts) - 1]  # the 99.9% quantiles


def test_random_negatives_do_not_repeat():
    mined = reference.mine(
        np.zeros((9, 1)), [0, 0] + [1] * 7, pos_strategy="random", neg_strategy="random",
        num_negatives=7, anchors=[0],
    )  # fmt: skip
    assert sorted(mined.negatives.tolist()) == [2, 3, 4, 5, 6, 7, 8]


def test_nearest_and_pairwise_by_hand():
    x = np.array([[0.0], [1.0], [-1.0], [1.0]])
    indices, distances = reference.nearest(x, k=3, metric="euclidean")
    assert indices.tolist() == [[1, 2, 3], [3, 0, 2], [0, 1, 3], [1, 0, 2]]
    assert distances[1].tolist() == [0.0, 1.0, 2.0]
    matrix = reference.pairwise_distances(x, x[:1], metric="sqeuclidean")
    assert matrix.dtype == np.float32
    assert matrix.tolist() == [[0.0], [1.0], [1.0], [1.0]]


def test_negatives_by_hand():
    """Five documents on a line at 0, 1, 2, 4 and 7, a query at 0 with the positive at 2."""
    y = np.array([[0.0], [1.0], [2.0], [4.0], [7.0]])

    def found(positives=((2,),), **options):
        options = {"num_negatives": 5, "metric": "euclidean", **options}
        indices = reference.mine_negatives(np.zeros((1, 1)), y, list(positives), **options).indices
        return indices[indices >= 0].tolist()

    assert found() == [0, 1, 3, 4]
    assert found(exclude=[[4, 0]]) == [1, 3]
    assert found(max_score=-1.0) == [1, 3, 4]  # equality survives
    assert found(min_score=-4.0) == [0, 1, 3]
    # The score of the positive is -2: s + 2 <= -2, and s <= -2 - 2.
    assert found(absolute_margin=2.0) == found(relative_margin=1.0) == [3, 4]
    assert found(absolute_margin=2.5) == [4]
    assert found(absolute_margin=-1.0) == [1, 3, 4]
    # Positives at 1 and 4: s⁺ is -4, -1 or -2.5.
    for positive_score, survivors in (("min", [4]), ("max", [2, 4]), ("mean", [4])):
        both = {"positive_score": positive_score, "absolute_margin": 0.0}
        assert found(positives=((1, 3),), **both) == survivors
    # Ranks among the survivors, or among all.
    window = {"max_score": -1.0, "range_min": 1, "range_max": 3, "num_negatives": 2}
    assert found(**window) == [3, 4]
    assert found(**window, rank_among="all") == [1, 3]
    report = reference.mine_negatives(
        np.zeros((1, 1)), y, [2], metric="euclidean", absolute_margin=-1.5, max_score=-1.0,
        min_score=-5.0,
    ).report  # fmt: skip
    assert report.rejected_by_absolute_margin == 1  # at 0, which max_score refuses too
    assert (report.rejected_by_max_score, report.rejected_by_min_score) == (0, 1)
    assert (report.negatives, report.short_queries) == (2, 1)
