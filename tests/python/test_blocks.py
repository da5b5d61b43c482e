"""``mine_blocks``: the rows of ``mine``, cut into blocks of one size, in little memory."""

import gc
import threading
import weakref

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tripletmine
from oracle import PAIRS, SUPPORTED, assert_same, calls, rows
from tripletmine import reference
from tripletmine._results import concatenated

thorough = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
EVERY = {"pos_strategy": "all", "neg_strategy": "all"}


def assert_same_blocks(ours, truth):
    ours, truth = list(ours), list(truth)
    assert len(ours) == len(truth)
    for block, true_block in zip(ours, truth, strict=True):
        assert_same(block, true_block)


@thorough
@given(calls(), st.sampled_from([1, 2, 7, 64, 1000]), st.sampled_from(SUPPORTED))
def test_equals_the_reference(call, block_triplets, kernel_set):
    args, options = call
    truth = list(reference.mine_blocks(*args, **options, block_triplets=block_triplets))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIPLETMINE_ISA", kernel_set)
        blocks = list(tripletmine.mine_blocks(*args, **options, block_triplets=block_triplets))
    assert_same_blocks(blocks, truth)
    assert {len(block) for block in blocks[:-1]} <= {block_triplets}
    assert_same(concatenated(blocks), tripletmine.mine(*args, **options))


@pytest.mark.parametrize("kernel_set", SUPPORTED)
@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_larger_sets_for_every_kernel_set_and_thread_count(kernel_set, n_threads, monkeypatch):
    """Enough rows for several batches of anchors, and blocks that end inside pairs."""
    rng = np.random.default_rng(1)
    n, m = 2600, 1100
    x, y = rows("grid", n, 6, rng), rows("grid", m, 6, rng)
    args = [x, rng.integers(0, 40, n), y, rng.integers(3, 44, m)]
    options = {"groups": rng.integers(0, 90, n), "ref_groups": rng.integers(0, 90, m)}
    options |= {"anchors": slice(None, None, 3), "n_threads": n_threads}
    monkeypatch.setenv("TRIPLETMINE_ISA", kernel_set)
    for positive, negative, margin in [
        ("all", "all", 0.02),
        ("easy", "all", None),
        ("all", "semihard", None),
        ("hard", "hard", None),
    ]:
        options |= {"pos_strategy": positive, "neg_strategy": negative, "margin": margin}
        whole = tripletmine.mine(*args, **options)
        blocks = list(tripletmine.mine_blocks(*args, **options, block_triplets=99_991))
        assert_same(concatenated(blocks), whole)
        assert all(block.report.instruction_set == kernel_set for block in blocks)
        assert all(len(block) == 99_991 for block in blocks[:-1])


@pytest.mark.parametrize("block_triplets", [1, 10, 10**6])
def test_no_triplets_are_one_empty_block(block_triplets):
    x = np.eye(5)
    for labels in (np.zeros(5, int), np.arange(5)):
        for positive, negative in PAIRS:
            options = {"pos_strategy": positive, "neg_strategy": negative}
            (block,) = tripletmine.mine_blocks(x, labels, **options, block_triplets=block_triplets)
            assert_same(block, tripletmine.mine(x, labels, **options))
    (block,) = tripletmine.mine_blocks(x, labels, anchors=[], block_triplets=block_triplets)
    assert block.report.anchors == 0


def test_the_last_block_may_be_full():
    x, labels = np.random.default_rng(2).normal(size=(12, 2)), np.arange(12) % 2
    options = {"neg_strategy": "hard", "pos_strategy": "hard"}
    for size, lengths in ((4, [4, 4, 4]), (12, [12]), (5, [5, 5, 2])):
        blocks = tripletmine.mine_blocks(x, labels, **options, block_triplets=size)
        assert [len(block) for block in blocks] == lengths


def test_bad_input_is_refused_by_the_call_itself():
    x, labels = np.ones((4, 2)), [0, 0, 1, 1]
    for bad, message in (
        ({"block_triplets": 0}, "block_triplets: found 0, expected an integer of at least 1"),
        ({"neg_strategy": "hrad"}, "neg_strategy: found 'hrad'"),
        ({"anchors": [9]}, "anchors: found 9"),
    ):
        for module in (tripletmine, reference):
            with pytest.raises(ValueError, match=message):
                module.mine_blocks(x, labels, **bad)
    x[2, 1] = np.nan
    for module in (tripletmine, reference):
        with pytest.raises(ValueError, match="embeddings: row 2 holds NaN at column 1"):
            module.mine_blocks(x, labels)
    with pytest.raises(TypeError, match=r"block_triplets: found 1\.5"):
        tripletmine.mine_blocks(np.ones((4, 2)), labels, block_triplets=1.5)


def test_an_abandoned_iterator_lets_the_arrays_go():
    class Rows(np.ndarray):
        """An array that can be watched."""

    x = np.random.default_rng(3).normal(size=(300, 4)).view(Rows)
    watched = weakref.ref(x)
    blocks = tripletmine.mine_blocks(x, np.arange(300) % 3, **EVERY, block_triplets=1000)
    del x
    assert len(next(blocks)) == 1000
    blocks.close()
    with pytest.raises(StopIteration):
        next(blocks)
    gc.collect()
    assert watched() is None


def test_what_progress_raises_stops_it():
    x = np.random.default_rng(4).normal(size=(20_000, 64)).astype(np.float32)
    labels = np.arange(20_000) % 50
    seen = []

    def progress(done, total):
        seen.append((done, total))
        if len(seen) == 3:
            raise RuntimeError("enough")

    blocks = tripletmine.mine_blocks(
        x, labels, pos_strategy="all", progress=progress, block_triplets=10_000
    )
    with pytest.raises(RuntimeError, match="enough"):
        for _ in blocks:
            pass
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert {total for _, total in seen} == {20_000 * 19_999}
    assert all(0 <= done <= total for done, total in seen)
    assert list(blocks) == []


def test_progress_spans_all_blocks():
    x = np.random.default_rng(5).normal(size=(6000, 32)).astype(np.float32)
    seen = []
    blocks = tripletmine.mine_blocks(
        x, np.arange(6000) % 30, pos_strategy="all", block_triplets=50_000,
        progress=lambda done, total: seen.append(done / total),
    )  # fmt: skip
    for _ in blocks:
        pass
    assert seen == sorted(seen)
    assert seen[-1] <= 1.0


def test_another_thread_may_go_on():
    """An iterator may be handed to another thread between two blocks."""
    x, labels = np.random.default_rng(6).normal(size=(200, 4)), np.arange(200) % 5
    blocks = tripletmine.mine_blocks(x, labels, **EVERY, block_triplets=100_000, n_threads=2)
    found = [next(blocks)]
    thread = threading.Thread(target=lambda: found.extend(blocks))
    thread.start()
    thread.join()
    assert_same(concatenated(found), tripletmine.mine(x, labels, **EVERY))
