"""What the tests compare with, and the data they compare on.

``assert_same`` is the one notion of "equal": every array byte for byte, and every count of the
report that is not a matter of luck. It has tests of its own (test_oracle.py). ``rows`` makes data
that is awkward on purpose: exact ties, duplicates, all rows equal, huge and tiny numbers; ``calls``
draws any legal call on it.
"""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

import tripletmine
from tripletmine import _options, reference

COLUMNS = ("anchors", "positives", "negatives", "d_ap", "d_an", "fell_back")
COUNTS = (
    "anchors",
    "anchors_without_positive",
    "anchors_without_negative",
    "fell_back",
    "triplets",
    "zero_rows",
    "pairs_considered",
)
SUPPORTED = [found.name for found in tripletmine.instruction_sets() if found.supported]
FILTERS = ("", "projected", "coarse", "medium", "fine")  # as the plan has it, and each alone
METRICS = ("cosine", "dot", "euclidean", "sqeuclidean")

# Around the tiles' and panels' sizes, and primes.
SIZES = (1, 2, 3, 7, 8, 9, 15, 16, 17, 47, 48, 49, 61, 64, 97)
DIMENSIONS = (1, 2, 7, 8, 9, 16, 31, 127, 128, 129)

PAIRS = [
    (positive, negative)
    for positive in _options.POS_STRATEGIES
    for negative in _options.NEG_STRATEGIES
    if positive != "semihard" or negative in ("hard", "easy")
]

KINDS = (
    "normal",
    "grid",
    "duplicates",
    "equal",
    "zeros",
    "huge",
    "tiny",
    "subnormal",
    "mixed",
    "near",
    "sharing",
)
WIDE = ("huge", "tiny", "subnormal", "mixed")  # float64 only


def rows(kind: str, n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """Return (n, d) float64 rows of a kind."""
    normal = rng.normal(size=(n, d))
    if kind == "normal":
        return normal
    if kind == "grid":  # many exact ties, in every metric
        return rng.integers(-2, 3, size=(n, d)).astype(np.float64)
    if kind == "duplicates":
        few = rng.normal(size=(max(1, n // 3), d))
        return few[rng.integers(0, len(few), size=n)]
    if kind == "equal":
        return np.ones((n, d))
    if kind == "zeros":
        return normal * (rng.random((n, 1)) < 0.5)
    if kind == "huge":
        return normal * 1e150
    if kind == "tiny":  # squares are subnormal or zero
        return normal * 1e-160
    if kind == "subnormal":  # the values themselves
        return rng.integers(-9, 10, size=(n, d)) * 2.0**-1070
    if kind == "mixed":  # forty orders of magnitude between rows and between coordinates
        return normal * 10.0 ** rng.integers(-20, 21, size=(n, 1)) * 10.0 ** rng.integers(-3, 4, d)
    if kind == "near":  # distances far below what float32 resolves
        return rng.normal(size=(1, d)) + 1e-9 * normal
    if kind == "sharing":  # one direction, as the embeddings of many encoders
        return 3.0 * rng.normal(size=(1, d)) + normal
    raise AssertionError(kind)


@st.composite
def calls(draw):
    """Any legal call on small awkward data: positional arguments and options."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind, d = draw(st.sampled_from(KINDS)), draw(st.sampled_from(DIMENSIONS))
    n = draw(st.sampled_from(SIZES))
    classes = draw(st.sampled_from([1, 2, 3, max(1, n // 2), n]))
    metric = draw(st.sampled_from(METRICS))
    positive, negative = draw(st.sampled_from(PAIRS))
    x = rows(kind, n, d, rng)
    if kind not in WIDE:
        x = x.astype(draw(st.sampled_from(["f2", "f4", "f8"])))
    labels = rng.integers(0, classes, size=n)
    if draw(st.integers(0, 5)) == 0:  # one class but for one row
        labels = (np.arange(n) == rng.integers(0, n)).astype(np.int64)
    args = [x, labels]
    options = {
        "pos_strategy": positive,
        "neg_strategy": negative,
        "metric": metric,
        "fallback": draw(st.sampled_from(_options.FALLBACKS)),
        "seed": draw(st.integers(0, 2**64 - 1)),
    }
    if negative != "all":
        options["num_negatives"] = draw(st.sampled_from([1, 1, 2, 5, 1000]))
        options["range_min"] = draw(st.sampled_from([0, 0, 1, 4]))
    y = x
    if draw(st.booleans()):
        m = draw(st.sampled_from(SIZES))
        y = rows(draw(st.sampled_from([kind, "grid"])), m, d, rng)
        args += [y, rng.integers(0, classes + 1, size=m)]
    distances = reference.distance_matrix(x[:1], y, metric).ravel()
    for role in ("pos", "neg"):
        if draw(st.integers(0, 3)) == 0:  # bounds that are hit exactly
            low, high = sorted(rng.choice(distances, 2).tolist())
            options[f"allowed_{role}_range"] = (low, high)
    if draw(st.booleans()):
        options["groups"] = rng.integers(0, max(2, n // 3), size=n)
        if len(args) > 2:
            options["ref_groups"] = rng.integers(0, max(2, n // 3), size=len(y))
    if draw(st.booleans()):
        options["anchors"] = rng.permutation(n)[: draw(st.integers(0, n))]
    if draw(st.booleans()):
        spread = float(np.ptp(distances))
        hit = float(np.ptp(rng.choice(distances, 2)))  # a difference that occurs
        options["margin"] = draw(st.sampled_from([0.0, spread / 4, hit, spread]))
        options["type_of_triplets"] = draw(st.sampled_from(_options.TRIPLET_TYPES))
    return args, options


def assert_same(ours: tripletmine.Triplets, truth: tripletmine.Triplets) -> None:
    """Fail unless two results are equal, byte for byte."""
    for name in COLUMNS:
        a, b = getattr(ours, name), getattr(truth, name)
        assert a.dtype == b.dtype, name
        assert a.shape == b.shape, f"{name}: {a.shape} and {b.shape}"
        if a.tobytes() != b.tobytes():
            entry = np.flatnonzero((a != b) | (np.signbit(a) != np.signbit(b)))[0]
            raise AssertionError(f"{name}[{entry}]: {a[entry]} and {b[entry]}")
    for name in COUNTS:
        assert getattr(ours.report, name) == getattr(truth.report, name), name
