"""Caller's arrays → arrays as the core takes them, matrices without a copy wherever possible.

Called by ``_arguments``. The core takes matrices of float16, float32, float64 or, for bfloat16, the
bits as uint16, with any strides; labels, groups and indices as contiguous int64, in memory of their
own: another thread of the caller's may change what was given.
"""

from __future__ import annotations

import sys
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Int64s = npt.NDArray[np.int64]
RowLists = tuple[Int64s, Int64s]  # (indptr, indices): list i is indices[indptr[i] : indptr[i + 1]]

_FLOATS = "float16, bfloat16, float32 or float64"


def matrix(name: str, value: Any) -> Array:
    """Return rows of floating-point numbers (bfloat16 as uint16 bits), checked but for NaN."""
    array = _bfloat16_bits(name, value)
    if array is None:
        array = _as_array(name, value)
        if array.ndim == 0:
            raise TypeError(f"{name}: found {_alone(value)}, expected rows of {_FLOATS}")
        if array.dtype.kind == "V" and (bits := _bfloat16_bits(name, array)) is not None:
            array = bits  # of a list of such rows
        elif array.dtype.kind != "f" or array.dtype.itemsize not in (2, 4, 8):
            raise TypeError(f"{name}: found an array of {array.dtype}, expected {_FLOATS}")
    if array.ndim != 2:
        raise ValueError(f"{name}: found an array of shape {array.shape}, expected two dimensions")
    if array.shape[0] == 0:
        raise ValueError(f"{name}: found no rows (shape {array.shape}), expected at least one")
    if array.shape[1] == 0:
        raise ValueError(
            f"{name}: found rows of dimension 0 (shape {array.shape}), expected at least 1"
        )
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if not array.flags.aligned:
        array = array.copy()
    return array


def no_embeddings(name: str, labels: Any) -> Array:
    """Return a row for each label, all alike and without memory of their own."""
    array = _as_array(name, labels)
    if array.ndim == 0:
        raise TypeError(f"{name}: found {_alone(labels)}, expected integers or strings")
    if len(array) == 0:
        raise ValueError(f"{name}: found none (shape {array.shape}), expected at least one")
    return np.broadcast_to(np.float32(0.0), (len(array), 1))


def same_dimension(name: str, array: Array, other_name: str, other: Array) -> None:
    """Raise unless both matrices have rows of one length."""
    if array.shape[1] != other.shape[1]:
        raise ValueError(
            f"{name}: found rows of dimension {array.shape[1]}, expected {other.shape[1]} as in "
            f"{other_name}"
        )


def codes(
    name: str, value: Any, length: int, ref_value: Any = None, ref_length: int = 0
) -> tuple[Int64s, Int64s | None]:
    """Return labels or groups, and those of the references if given, as integers.

    Integers stay as they are; strings are numbered, both arrays by one numbering.
    """
    array = _without_bools(label_array(name, value, length))
    if ref_value is None:
        return (_numbered([array])[0] if array.dtype.kind in "OU" else array), None
    ref_array = _without_bools(label_array(f"ref_{name}", ref_value, ref_length))
    if (array.dtype.kind == "i") != (ref_array.dtype.kind == "i"):
        raise TypeError(
            f"ref_{name}: found {_described(ref_array)}, expected {_described(array)} as in {name}"
        )
    if array.dtype.kind == "i":
        return array, ref_array
    numbered = _numbered([array, ref_array])
    return numbered[0], numbered[1]


def anchors(value: Any, length: int) -> Int64s | None:
    """Return the anchors' rows, ascending; None stands for all rows."""
    if value is None:
        return None
    if isinstance(value, slice):
        try:
            rows = np.arange(length, dtype=np.int64)[value]
        except (TypeError, ValueError) as error:
            raise type(error)(f"anchors: found {value!r}, expected a slice ({error})") from None
        rows.sort()
    else:
        array = _as_array("anchors", value)
        if array.ndim != 1 or (array.dtype.kind not in "iu" and array.size):
            advice = "; numpy.flatnonzero turns a mask into indices" * (array.dtype.kind == "b")
            raise TypeError(
                f"anchors: found an array of {array.dtype} and shape {array.shape}, expected "
                f"a slice or a one-dimensional array of row indices{advice}"
            )
        rows = _indices("anchors", array)
        bad = np.flatnonzero((rows < 0) | (rows >= length))
        if bad.size:
            raise ValueError(
                f"anchors: found {rows[bad[0]]} at entry {bad[0]}, expected indices from 0 to "
                f"{length - 1}"
            )
        rows.sort()
        twice = np.flatnonzero(rows[1:] == rows[:-1])
        if twice.size:
            raise ValueError(f"anchors: found {rows[twice[0]]} twice, expected each row once")
    return None if len(rows) == length else np.ascontiguousarray(rows)


def row_lists(name: str, value: Any, length: int, corpus: int) -> RowLists:
    """Return a list of corpus rows for each of ``length`` queries, in the order given.

    ``value`` is one index for each query, a sequence of indices for each, a tuple
    ``(indptr, indices)``, or None for empty lists.
    """
    if value is None:
        value = (np.zeros(length + 1, dtype=np.int64), np.zeros(0, dtype=np.int64))
    if isinstance(value, tuple) and len(value) == 2:
        begins, indices = (_indices(f"{name}[{i}]", part) for i, part in enumerate(value))
        _check_begins(f"{name}[0]", begins, length, len(indices))
    else:
        begins, indices = _listed(name, value, length)
    bad = np.flatnonzero((indices < 0) | (indices >= corpus))
    if bad.size:
        raise ValueError(
            f"{name}: found {indices[bad[0]]} for query {_owner(begins, bad[0])}, expected rows of "
            f"corpus, from 0 to {corpus - 1}"
        )
    return begins, indices


def each_once(name: str, lists: RowLists) -> None:
    """Raise if a row stands in one list twice."""
    begins, indices = lists
    queries = np.repeat(np.arange(len(begins) - 1), np.diff(begins))
    order = np.lexsort((indices, queries))
    queries, rows = queries[order], indices[order]
    twice = np.flatnonzero((queries[1:] == queries[:-1]) & (rows[1:] == rows[:-1]))
    if twice.size:
        raise ValueError(
            f"{name}: found {rows[twice[0]]} twice for query {queries[twice[0]]}, expected each "
            "row once"
        )


def union(*parts: RowLists) -> RowLists:
    """Return every list together with its namesakes: ascending, each row once."""
    length = len(parts[0][0]) - 1
    queries = np.concatenate([np.repeat(np.arange(length), np.diff(part[0])) for part in parts])
    rows = np.concatenate([part[1] for part in parts])
    order = np.lexsort((rows, queries))
    queries, rows = queries[order], rows[order]
    new = np.ones(len(rows), dtype=bool)
    new[1:] = (queries[1:] != queries[:-1]) | (rows[1:] != rows[:-1])
    begins = np.zeros(length + 1, dtype=np.int64)
    np.cumsum(np.bincount(queries[new], minlength=length), out=begins[1:])
    return begins, np.ascontiguousarray(rows[new])


def _listed(name: str, value: Any, length: int) -> RowLists:
    """Return the lists of a sequence with an index, or a sequence of indices, for each query."""
    entries = value if isinstance(value, (list, tuple)) else _as_array(name, value)
    if isinstance(entries, np.ndarray) and entries.ndim == 0:
        raise TypeError(f"{name}: found {value!r}, expected an index or indices for each query")
    if len(entries) != length:
        raise ValueError(
            f"{name}: found {len(entries)} entries, expected {length}, one for each query"
        )
    nested = [hasattr(entry, "__len__") for entry in entries]
    if not any(nested):
        return np.arange(length + 1, dtype=np.int64), _indices(name, entries)
    if not all(nested):
        alone = nested.index(False)
        raise TypeError(
            f"{name}: found {entries[alone]!r} at entry {alone}, expected a list of indices as in "
            "other entries"
        )
    begins = np.zeros(length + 1, dtype=np.int64)
    np.cumsum([len(entry) for entry in entries], out=begins[1:])
    return begins, _indices(name, list(chain.from_iterable(entries)))


def _indices(name: str, value: Any) -> Int64s:
    array = _as_array(name, value)
    if array.ndim != 1 or (array.dtype.kind not in "iu" and array.size):
        raise TypeError(
            f"{name}: found an array of {array.dtype} and shape {array.shape}, expected integers"
        )
    if array.size and int(array.max()) >= 2**63:
        raise ValueError(f"{name}: found {array.max()}, expected numbers of rows")
    return np.array(array, dtype=np.int64, order="C")


def _check_begins(name: str, begins: Int64s, length: int, entries: int) -> None:
    if len(begins) != length + 1:
        raise ValueError(
            f"{name}: found {len(begins)} entries, expected {length + 1}, one more than queries"
        )
    falls = np.flatnonzero(begins[1:] < begins[:-1])
    if begins[0] != 0 or begins[-1] != entries or falls.size:
        wrong = f"{begins[0]} first and {begins[-1]} last"
        if falls.size:
            wrong = f"{begins[falls[0] + 1]} after {begins[falls[0]]}"
        raise ValueError(
            f"{name}: found {wrong}, expected ascending numbers from 0 to {entries}, the number of "
            "indices"
        )


def _owner(begins: Int64s, entry: int) -> int:
    """Return the list that holds an entry of the indices."""
    return int(np.searchsorted(begins, entry, side="right")) - 1


def entries(name: str, value: Any, width: int, length: int) -> Int64s:
    """Return row indices, ``width`` an entry: from such rows, or from a tuple of columns."""
    if isinstance(value, tuple):
        columns = [_as_array(name, column) for column in value]
        if not columns:
            raise ValueError(f"{name}: found an empty tuple, expected {width} arrays")
        if len({column.shape for column in columns}) > 1 or columns[0].ndim != 1:
            shapes = ", ".join(str(column.shape) for column in columns)
            raise ValueError(f"{name}: found arrays of shapes {shapes}, expected one length")
        if {column.dtype.kind for column in columns} == {"i", "u"}:  # together they might be floats
            columns = [_indices(name, column) for column in columns]
        array, is_own = np.stack(columns, axis=1), True
    elif hasattr(value, "as_array"):
        array, is_own = value.as_array(), True
    else:
        array, is_own = _as_array(name, value), False
    if array.size == 0 and array.ndim != 2:
        array = np.empty((0, width), dtype=np.int64)
    if array.ndim != 2 or array.shape[1] != width:
        raise ValueError(
            f"{name}: found an array of shape {array.shape}, expected {width} row indices an entry"
        )
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"{name}: found an array of {array.dtype}, expected row indices")
    if array.dtype == np.uint64 and array.size and int(array.max()) >= 2**63:
        raise ValueError(f"{name}: found {array.max()}, expected indices from 0 to {length - 1}")
    if is_own:
        rows = np.ascontiguousarray(array, dtype=np.int64)
    else:
        rows = np.array(array, dtype=np.int64, order="C")
    bad = np.argwhere((rows < 0) | (rows >= length))
    if len(bad):
        raise ValueError(
            f"{name}: found {rows[tuple(bad[0])]} in entry {bad[0][0]}, expected indices from 0 "
            f"to {length - 1}"
        )
    return rows


def flags(name: str, value: Any, length: int) -> npt.NDArray[np.uint8]:
    """Return one bool for each of ``length`` entries, as 0 and 1."""
    array = _as_array(name, value)
    if array.dtype.kind != "b" and array.size:
        raise TypeError(f"{name}: found an array of {array.dtype}, expected bools")
    if array.shape != (length,):
        raise ValueError(f"{name}: found shape {array.shape}, expected ({length},), one a pair")
    return np.array(array, dtype=np.uint8)


def _as_array(name: str, value: Any) -> Array:
    """Anything with ``__array__`` or, on the CPU, DLPack; torch tensors without a copy."""
    if type(value) is np.ndarray:
        return value
    if np.ma.is_masked(value):
        raise ValueError(f"{name}: found a masked array with masked entries, expected none")
    if hasattr(value, "detach"):  # a torch tensor, which may want a gradient
        value = value.detach()
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return np.from_dlpack(value)
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        raise TypeError(
            f"{name}: found {type(value).__name__}, expected an array in this machine's memory "
            f"({error})"
        ) from error


def _alone(value: Any) -> str:
    """Describe what was given in place of an array: no array at all, or one without dimensions."""
    if value is None:
        return "None"
    return f"one {type(value).__name__} alone"


def _bfloat16_bits(name: str, value: Any) -> Array | None:
    """Return the bits of bfloat16 rows (ml_dtypes' or torch's), or None for other rows."""
    dtype = getattr(value, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype.kind != "V":
        return None
    if getattr(dtype, "name", None) == "bfloat16":
        return np.asarray(value).view(np.uint16)
    torch = sys.modules.get("torch")
    if torch is not None and dtype == torch.bfloat16:
        return _as_array(name, value.detach().view(torch.int16)).view(np.uint16)
    return None


def label_array(name: str, value: Any, length: int) -> Array:
    """Return labels or groups as int64, bools or strings."""
    array = _as_array(name, value)
    if array.ndim == 0:
        raise TypeError(f"{name}: found {_alone(value)}, expected integers or strings, one a row")
    if array.ndim != 1:
        raise ValueError(f"{name}: found an array of shape {array.shape}, expected one dimension")
    if array.shape[0] != length:
        raise ValueError(
            f"{name}: found {array.shape[0]} entries, expected {length}, one for each row"
        )
    kind = array.dtype.kind
    if kind == "b":
        return array
    if kind in "iu" and array.dtype != np.uint64:
        return np.array(array, dtype=np.int64, order="C")
    if kind == "u":
        if array.size and int(array.max()) >= 2**63:
            raise ValueError(f"{name}: found {array.max()}, expected integers below 2**63")
        return np.array(array, dtype=np.int64, order="C")
    if kind == "f" and np.isnan(array).any():
        raise ValueError(
            f"{name}: found NaN at entry {np.flatnonzero(np.isnan(array))[0]}, expected integers "
            "or strings"
        )
    if kind == "S":
        return _decoded(name, array)
    if kind in "OT":
        return _of_one_kind(name, array.astype(object))
    # NumPy made strings, or floats, of the others too.
    if kind in "Uf" and isinstance(value, (list, tuple)):
        return _of_one_kind(name, np.array(value, dtype=object))
    if kind == "U":
        return array
    raise TypeError(f"{name}: found an array of {array.dtype}, expected integers or strings")


def _without_bools(array: Array) -> Array:
    return array.astype(np.int64) if array.dtype.kind == "b" else array


def _decoded(name: str, array: Array) -> Array:
    try:
        return np.char.decode(array, "utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{name}: found bytes that are not UTF-8 ({error}), expected integers or strings"
        ) from error


def _of_one_kind(name: str, objects: Array) -> Array:
    """Return Python objects that are all strings, or all integers, as such labels."""
    kinds = (str, int, np.integer)
    first: type = str if len(objects) and isinstance(objects[0], str) else int
    for i, entry in enumerate(objects):
        if isinstance(entry, kinds) and isinstance(entry, str) == (first is str):
            continue
        found = f"{name}: found {entry!r} ({type(entry).__name__}) at entry {i}"
        if isinstance(entry, kinds):
            raise TypeError(f"{found} after {objects[0]!r}, expected integers only or strings only")
        raise (ValueError if _is_missing(entry) else TypeError)(
            f"{found}, expected integers or strings"
        )
    if first is str:
        return objects
    try:
        return objects.astype(np.int64)
    except OverflowError:
        wide = next(entry for entry in objects if not -(2**63) <= entry < 2**63)
        raise ValueError(f"{name}: found {wide}, expected integers below 2**63") from None


def _is_missing(entry: Any) -> bool:
    """Whether an object is None, NaN or pandas' NA."""
    try:
        return entry is None or bool(entry != entry)
    except TypeError:  # NA is neither equal to itself nor not
        return True


def _numbered(arrays: list[Array]) -> list[Int64s]:
    """Give every distinct string of all arrays together a number."""
    together = np.concatenate([array.astype(object) for array in arrays])
    numbers: dict[str, int] = {}
    flat = np.fromiter(
        (numbers.setdefault(entry, len(numbers)) for entry in together),
        dtype=np.int64,
        count=len(together),
    )
    ends = np.cumsum([len(array) for array in arrays])
    return [np.ascontiguousarray(part) for part in np.split(flat, ends[:-1])]


def _described(array: Array) -> str:
    return "integers" if array.dtype.kind == "i" else "strings"
