"""What the tests compare with, and the data they compare on.

``assert_same`` is the one notion of "equal": every array byte for byte, and every count of the
report that is not a matter of luck. It has tests of its own (test_oracle.py). ``rows`` makes data
that is awkward on purpose: exact ties, duplicates, all rows equal, huge and tiny numbers.
"""

from __future__ import annotations

import numpy as np

import tripletmine

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
METRICS = ("cosine", "dot", "euclidean", "sqeuclidean")

# Around the tiles' and panels' sizes, and primes.
SIZES = (1, 2, 3, 7, 8, 9, 15, 16, 17, 47, 48, 49, 61, 64, 97)
DIMENSIONS = (1, 2, 7, 8, 9, 16, 31, 127, 128, 129)

KINDS = ("normal", "grid", "duplicates", "equal", "zeros", "huge", "tiny", "mixed", "near")


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
    if kind == "mixed":  # forty orders of magnitude between rows and between coordinates
        return normal * 10.0 ** rng.integers(-20, 21, size=(n, 1)) * 10.0 ** rng.integers(-3, 4, d)
    if kind == "near":  # distances far below what float32 resolves
        return rng.normal(size=(1, d)) + 1e-9 * normal
    raise AssertionError(kind)


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
