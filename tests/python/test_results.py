"""``Triplets``: unpacking, tables and files."""

import dataclasses
import json

import numpy as np
import pytest

import tripletmine
from oracle import assert_same


@pytest.fixture
def triplets():
    x = np.random.default_rng(0).normal(size=(30, 4))
    return tripletmine.mine(x, np.arange(30) % 4, fallback="hard", num_negatives=2)


def test_unpacks_and_stacks(triplets):
    a, p, n = triplets
    assert a is triplets.anchors
    assert p is triplets.positives
    assert n is triplets.negatives
    assert triplets.as_array().shape == (len(triplets), 3)
    assert repr(triplets) == f"<Triplets: {len(triplets)} triplets of 30 anchors>"
    with pytest.raises(dataclasses.FrozenInstanceError):
        triplets.anchors = p


def test_saved_and_loaded(triplets, tmp_path):
    triplets.save(tmp_path / "t.npz")
    loaded = tripletmine.Triplets.load(tmp_path / "t.npz")
    assert_same(loaded, triplets)
    assert loaded.report == triplets.report


def test_empty_results_are_arrays_of_length_zero(tmp_path):
    empty = tripletmine.mine(np.ones((3, 1)), [0, 1, 2])
    empty.save(tmp_path / "t.npz")
    assert_same(tripletmine.Triplets.load(tmp_path / "t.npz"), empty)
    assert empty.as_array().shape == (0, 3)
    assert empty.to_arrow().num_rows == 0


def test_loading_something_else(tmp_path):
    with pytest.raises(FileNotFoundError):
        tripletmine.Triplets.load(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("not an archive")
    np.savez(tmp_path / "other.npz", anchors=np.arange(3))
    np.savez(tmp_path / "damaged.npz", anchors=np.arange(3))
    damaged = bytearray((tmp_path / "damaged.npz").read_bytes())
    damaged[damaged.rfind(b"PK\x01\x02") + 10] = 99  # no method of compression
    (tmp_path / "damaged.npz").write_bytes(damaged)
    np.save(tmp_path / "array.npy", np.arange(3))
    for name in ("text.npz", "other.npz", "damaged.npz", "array.npy"):
        with pytest.raises(ValueError, match=f"{name}: not saved triplets"):
            tripletmine.Triplets.load(tmp_path / name)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"anchors": np.arange(2)}, "found columns of lengths"),
        ({"anchors": np.arange(4.0)}, "found anchors of float64"),
        ({"d_ap": np.zeros((4, 1))}, r"found d_ap of float64, shape \(4, 1\)"),
        ({"report": np.array('{"anchors": "x"}')}, "expected the .npz that save writes"),
    ],
)
def test_loading_triplets_that_are_none(tmp_path, changed, said):
    x = np.array([[0.0], [1.0], [2.5], [4.0]])
    options = {"pos_strategy": "hard", "neg_strategy": "hard", "metric": "euclidean"}
    tripletmine.mine(x, [0, 0, 1, 1], **options).save(tmp_path / "t.npz")
    with np.load(tmp_path / "t.npz") as arrays:
        np.savez(tmp_path / "t.npz", **{**arrays, **changed})
    with pytest.raises(ValueError, match=f"t.npz: not saved triplets.*{said}"):
        tripletmine.Triplets.load(tmp_path / "t.npz")


def test_tables(triplets, tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    pytest.importorskip("pandas")
    columns = ["anchor", "positive", "negative", "d_ap", "d_an", "fell_back"]
    table = triplets.to_arrow()
    assert table.column_names == columns
    triplets.to_parquet(tmp_path / "t.parquet")
    read = pq.read_table(tmp_path / "t.parquet")
    assert read.equals(table)
    report = json.loads(read.schema.metadata[b"tripletmine"])
    assert report == triplets.report.as_dict()
    frame = triplets.to_pandas()
    assert frame.columns.tolist() == columns
    assert frame["negative"].tolist() == triplets.negatives.tolist()
