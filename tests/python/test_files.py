"""Files in and out: what is read equals what was written, and bad files end as one line."""

import os
import stat
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tripletmine import _files
from tripletmine._files import (
    check_writable,
    read_embeddings,
    read_lists,
    read_vector,
    replacing,
)


def rows(n=37, d=5, dtype=np.float32):
    return np.random.default_rng(1).standard_normal((n, d)).astype(dtype)


def fixed(x):
    return pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), x.shape[1])


def lists(x):
    ends = np.arange(0, x.size + 1, x.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(x.ravel()))


def write(path, row_group_size=None, **columns):
    pq.write_table(pa.table(columns), path, row_group_size=row_group_size)
    return path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def message(error):
    """The text of an error, which must be one line."""
    text = str(error.value)
    assert text
    assert "\n" not in text
    return text


# ------------------------------------------------------------------------------------------- .npy


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_is_mapped_not_read(tmp_path, dtype, order):
    x = np.asarray(rows(dtype=dtype), order=order)
    np.save(tmp_path / "x.npy", x)
    read = read_embeddings(tmp_path / "x.npy")
    assert isinstance(read, np.memmap)
    assert not read.flags.writeable
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, x)


@pytest.mark.parametrize("labels", [np.arange(5), np.array(["a", "bb", "a"]), np.empty(0, int)])
def test_npy_vector(tmp_path, labels):
    np.save(tmp_path / "labels.npy", labels)
    np.testing.assert_array_equal(read_vector(str(tmp_path / "labels.npy")), labels)


@pytest.mark.parametrize("start", [b"", b"PK\x03\x04 an npz", b"a,b\n1,2\n", b"\x80\x04pickle"])
def test_foreign_npy(tmp_path, start):
    path = tmp_path / "x.npy"
    path.write_bytes(start)
    with pytest.raises(ValueError, match=r"not a NumPy \.npy file, found") as error:
        read_embeddings(path)
    assert str(path) in message(error)


@pytest.mark.parametrize("read", [read_embeddings, read_vector])
def test_every_truncation_of_npy_is_an_error(tmp_path, read):
    path = tmp_path / "x.npy"
    np.save(path, rows(3, 2))
    whole = path.read_bytes()
    read(path)
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"\.npy file") as error:
            read(path)
        assert str(path) in message(error)


def test_damaged_npy_header_is_an_error_in_one_line_or_still_an_array(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, rows(3, 2))
    whole = path.read_bytes()
    refused = []
    for at in range(6, 128):
        for byte in b"\x00\xff({'9\n":
            path.write_bytes(whole[:at] + bytes([byte]) + whole[at + 1 :])
            try:
                read_embeddings(path)
            except ValueError as error:
                refused.append(str(error))
    assert len(refused) > 100
    assert all(str(path) in text and "\n" not in text for text in refused)


def test_pickled_objects_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{}, []], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="of Python objects") as error:
        read_vector(tmp_path / "x.npy")
    assert "x.npy" in message(error)


def test_npy_has_no_columns(tmp_path):
    np.save(tmp_path / "x.npy", rows())
    with pytest.raises(ValueError, match=r"no columns, found column 'emb'"):
        read_embeddings(tmp_path / "x.npy", "emb")


# --------------------------------------------------------------------------------------- .parquet


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("as_arrow", [fixed, lists])
@pytest.mark.parametrize("row_group_size", [None, 10])
def test_parquet_embeddings(tmp_path, dtype, as_arrow, row_group_size):
    x = rows(dtype=dtype)
    path = write(tmp_path / "x.parquet", row_group_size, id=np.arange(37), emb=as_arrow(x))
    read = read_embeddings(path)
    assert read.dtype == dtype
    assert read.flags.c_contiguous
    np.testing.assert_array_equal(read, x)
    np.testing.assert_array_equal(read_embeddings(path, "emb"), x)


def test_parquet_larger_than_a_batch(tmp_path):
    x = np.arange(200_000, dtype=np.float32).reshape(-1, 1)
    path = write(tmp_path / "x.parquet", emb=lists(x), label=np.arange(200_000))
    np.testing.assert_array_equal(read_embeddings(path), x)
    np.testing.assert_array_equal(read_vector(path), np.arange(200_000))


@pytest.mark.parametrize(
    "labels",
    [
        pa.array([3, 1, 3], pa.int16()),
        pa.array([3, 1, 2**63], pa.uint64()),
        pa.array(["a", "a\0", "ß"]),
        pa.array(["a", "b", "a"], pa.large_string()),
        pa.array(["a", "b", "a"]).dictionary_encode(),
        pa.array([], pa.string()),
    ],
)
def test_parquet_vector(tmp_path, labels):
    path = write(tmp_path / "x.parquet", label=labels, weight=pa.array([0.5] * len(labels)))
    assert read_vector(path).tolist() == labels.to_pylist()


@pytest.mark.parametrize("row_group_size", [None, 2])
@pytest.mark.parametrize("kind", [pa.list_(pa.int64()), pa.large_list(pa.int32())])
def test_parquet_lists(tmp_path, kind, row_group_size):
    values = pa.array([[3, 1], [], [2], [0, 0, 5]], kind)
    path = write(tmp_path / "p.parquet", row_group_size, own=values, name=list("abcd"))
    indptr, indices = read_lists(path)
    assert indptr.tolist() == [0, 2, 2, 3, 6]
    assert indices.tolist() == [3, 1, 2, 0, 0, 5]
    assert indptr.dtype == indices.dtype == np.int64


def test_lists_of_one(tmp_path):
    indptr, indices = read_lists(write(tmp_path / "p.parquet", own=pa.array([4, 2], pa.int32())))
    assert (indptr.tolist(), indices.tolist()) == ([0, 1, 2], [4, 2])
    np.save(tmp_path / "p.npy", [4, 2])
    assert read_lists(tmp_path / "p.npy").tolist() == [4, 2]
    indptr, indices = read_lists(write(tmp_path / "p.parquet", own=pa.array([], pa.int32())))
    assert (indptr.tolist(), indices.tolist()) == ([0], [])


@pytest.mark.parametrize("row_group_size", [None, 2])
def test_nulls_in_lists_are_refused(tmp_path, row_group_size):
    for values, row in (([[1], [], None], 2), ([[1], [], [2, 3], [4, None]], 3)):
        path = write(tmp_path / "p.parquet", row_group_size, own=pa.array(values))
        with pytest.raises(ValueError, match=rf"a null in (the list of )?row {row}, expected none"):
            read_lists(path)


def test_no_rows(tmp_path):
    path = write(tmp_path / "x.parquet", emb=pa.array([], pa.list_(pa.float32())))
    assert read_embeddings(path).shape[0] == 0


def test_pandas_index_is_not_a_candidate(tmp_path):
    path = write(tmp_path / "x.parquet", label=[1, 2], __index_level_0__=[7, 8])
    assert read_vector(path).tolist() == [1, 2]


def test_candidates_are_listed(tmp_path):
    path = write(tmp_path / "x.parquet", id=[1, 2], label=["a", "b"], weight=[0.5, 1.5])
    with pytest.raises(ValueError, match=r"name the column.*'id', 'label'$") as error:
        read_vector(path)
    assert str(path) in message(error)
    assert read_vector(path, "label").tolist() == ["a", "b"]
    with pytest.raises(ValueError, match=r"no column 'lable'.*'id', 'label'$"):
        read_vector(path, "lable")
    with pytest.raises(ValueError, match=r"column 'weight' is double.*'id', 'label'$"):
        read_vector(path, "weight")
    with pytest.raises(ValueError, match=r"none$"):
        read_embeddings(path)


def test_a_name_twice(tmp_path):
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["label", "label"])
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(ValueError, match="expected one column of that name"):
        read_vector(tmp_path / "x.parquet", "label")


def test_rows_of_different_lengths(tmp_path):
    emb = pa.array([[1.0, 2.0]] * 11 + [[1.0]])
    for row_group_size in (None, 4):
        path = write(tmp_path / "x.parquet", row_group_size, emb=emb)
        with pytest.raises(ValueError, match="row 11 has 1 numbers, expected 2") as error:
            read_embeddings(path)
        assert f"{path}: column 'emb'" in message(error)


@pytest.mark.parametrize(
    ("read", "values"),
    [
        (read_vector, pa.array([1, 2, 3, 4, 5, None])),
        (read_vector, pa.array(["a"] * 5 + [None])),
        (read_vector, pa.array(["a"] * 5 + [None]).dictionary_encode()),
        (read_embeddings, pa.array([[1.0, 2.0]] * 5 + [None])),
        (read_embeddings, pa.array([[1.0, 2.0]] * 5 + [[3.0, None]])),
    ],
)
@pytest.mark.parametrize("row_group_size", [None, 4])
def test_nulls_are_refused(tmp_path, read, values, row_group_size):
    path = write(tmp_path / "x.parquet", row_group_size, values=values)
    with pytest.raises(ValueError, match="a null in row 5, expected none") as error:
        read(path)
    assert f"{path}: column 'values'" in message(error)


def test_null_in_a_fixed_size_list(tmp_path):
    values = pa.array([[1.0, 2.0]] * 5 + [None], pa.list_(pa.float64(), 2))
    path = write(tmp_path / "x.parquet", values=values)
    with pytest.raises(ValueError, match=r"x\.parquet") as error:
        read_embeddings(path)
    message(error)


def test_every_truncation_of_parquet_is_an_error(tmp_path):
    path = write(tmp_path / "x.parquet", label=np.arange(50))
    whole = path.read_bytes()
    read_vector(path)
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="damaged Parquet file or not one") as error:
            read_vector(path)
        assert str(path) in message(error)


# ------------------------------------------------------------------------------------ either kind


@pytest.mark.parametrize("read", [read_embeddings, read_vector])
@pytest.mark.parametrize("suffix", _files.INPUTS)
def test_missing_or_a_directory(tmp_path, read, suffix):
    path = tmp_path / f"x{suffix}"
    with pytest.raises(FileNotFoundError, match=f"x{suffix}"):
        read(path)
    path.mkdir()
    with pytest.raises(IsADirectoryError, match=f"x{suffix}"):
        read(path)


@pytest.mark.parametrize("name", ["x.csv", "x", "x.NPY"])
def test_unknown_extension_lists_the_known(name):
    with pytest.raises(ValueError, match=rf"{name}: .*expected \.npy or \.parquet"):
        read_embeddings(name)
    with pytest.raises(ValueError, match=rf"{name}: .*expected \.parquet or \.npz"):
        check_writable(name)


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    path = write(tmp_path / "x.parquet", label=[1])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    for call in (read_vector, check_writable):
        with pytest.raises(ImportError, match=r'pip install "tripletmine\[cli\]"'):
            call(path)
    check_writable(tmp_path / "x.npz")


# -------------------------------------------------------------------------------------- replacing


def test_replacing_is_whole(tmp_path):
    path = tmp_path / "out.npz"
    path.write_text("old")
    with replacing(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.suffix == path.suffix
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["out.npz"]


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("before", [True, False])
def test_replacing_is_nothing_after_an_exception(tmp_path, kind, before):
    path = tmp_path / "out.npz"
    if before:
        path.write_text("old")
    with pytest.raises(kind), replacing(path) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise kind
    assert names(tmp_path) == ["out.npz"] * before
    assert not before or path.read_text() == "old"


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_permissions_are_those_of_open(tmp_path, umask):
    previous = os.umask(umask)
    try:
        with replacing(tmp_path / "out.npz") as temporary:
            temporary.write_text("new")
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "out.npz").stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("mode", [0o600, 0o664])
def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path, mode):
    path = tmp_path / "out.npz"
    path.touch()
    path.chmod(mode)
    with replacing(path) as temporary:
        assert stat.S_IMODE(temporary.stat().st_mode) == mode  # before anything is in it
        temporary.write_text("new")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", mode)
    with replacing(path) as temporary:
        path.chmod(0o640)  # meanwhile
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_an_error_of_the_system_names_the_file(tmp_path):
    path = tmp_path / "out.npz"
    for found in (None, "temporary"):
        with (
            pytest.raises(OSError, match=r"No space.*out\.npz") as raised,
            replacing(path) as temporary,
        ):
            raise OSError(28, "No space left on device", found and str(temporary))
        assert raised.value.filename == str(path)
    with pytest.raises(FileNotFoundError, match="another"), replacing(path):
        (tmp_path / "another").read_text()


def test_a_link_is_followed(tmp_path):
    (tmp_path / "there").mkdir()
    link = tmp_path / "out.npz"
    link.symlink_to(tmp_path / "there" / "real.npz")
    with replacing(link) as temporary:
        temporary.write_text("new")
    assert link.is_symlink()
    assert (tmp_path / "there" / "real.npz").read_text() == "new"


def test_a_long_name(tmp_path):
    path = tmp_path / ("x" * 251 + ".npz")
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


@pytest.mark.parametrize("call", [check_writable, lambda path: replacing(path).__enter__()])
def test_what_cannot_be_written(tmp_path, call, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"no/out\.npz: .*not a directory"):
        call(tmp_path / "no" / "out.npz")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(IsADirectoryError, match=r"folder\.npz: .*it is a directory"):
        call(tmp_path / "folder.npz")
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(OSError, match=r"pipe\.npz: .*not a regular file"):
        call(tmp_path / "pipe.npz")
    (tmp_path / "loop.npz").symlink_to("loop.npz")
    with pytest.raises(OSError, match=r"Too many.*loop\.npz"):
        call(tmp_path / "loop.npz")
    (tmp_path / "loop.npz").unlink()
    # Root may write everywhere, so the answer of the system is replaced.
    (tmp_path / "old.npz").touch()
    monkeypatch.setattr(_files.os, "access", lambda path, mode: path != tmp_path / "old.npz")
    with pytest.raises(PermissionError, match=r"old\.npz: .*write-protected"):
        call(tmp_path / "old.npz")
    (tmp_path / "old.npz").unlink()
    monkeypatch.setattr(_files.os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match=r"out\.npz: .*not writable"):
        call(tmp_path / "out.npz")
    assert names(tmp_path) == ["folder.npz", "pipe.npz"]


def test_check_writable_touches_nothing(tmp_path):
    check_writable(tmp_path / "out.npz")
    check_writable(Path(tmp_path, "out.png"), known=(".png",))
    assert names(tmp_path) == []
