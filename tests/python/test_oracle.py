"""The comparison itself: it must see every difference that matters."""

import dataclasses

import numpy as np
import pytest

import tripletmine
from oracle import COLUMNS, COUNTS, assert_same


@pytest.fixture
def triplets():
    x = np.random.default_rng(0).normal(size=(12, 3))
    return tripletmine.mine(x, np.arange(12) % 3, pos_strategy="hard", neg_strategy="hard")


def test_equal_results_are_equal(triplets):
    assert_same(triplets, dataclasses.replace(triplets))


@pytest.mark.parametrize("name", COLUMNS)
def test_one_changed_entry_is_seen(triplets, name):
    changed = getattr(triplets, name).copy()
    changed[5] = not changed[5] if changed.dtype == bool else changed[5] + 1
    with pytest.raises(AssertionError, match=rf"{name}\[5\]"):
        assert_same(triplets, dataclasses.replace(triplets, **{name: changed}))


def test_a_missing_entry_and_another_dtype_are_seen(triplets):
    with pytest.raises(AssertionError):
        assert_same(triplets, dataclasses.replace(triplets, anchors=triplets.anchors[:-1]))
    with pytest.raises(AssertionError):
        assert_same(triplets, dataclasses.replace(triplets, d_ap=triplets.d_ap.astype("f4")))


@pytest.mark.parametrize("name", COUNTS)
def test_another_count_is_seen(triplets, name):
    report = dataclasses.replace(triplets.report, **{name: getattr(triplets.report, name) + 1})
    with pytest.raises(AssertionError, match=name):
        assert_same(triplets, dataclasses.replace(triplets, report=report))
