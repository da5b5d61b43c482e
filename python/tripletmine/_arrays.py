"""Caller's arrays → arrays as the core takes them, without a copy wherever that is possible.

Called by ``_arguments``. The core takes matrices of float16, float32, float64 or, for bfloat16, the
bits as uint16, with any strides; labels, groups and anchors as contiguous int64.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Int64s = npt.NDArray[np.int64]

_FLOATS = "float16, bfloat16, float32 or float64"


def matrix(name: str, value: Any) -> Array:
    """Return rows of floating-point numbers (bfloat16 as uint16 bits), checked but for NaN."""
    array = _bfloat16_bits(value)
    if array is None:
        array = _as_array(name, value)
        if array.dtype.kind != "f" or array.dtype.itemsize > 8:
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
    array = _label_array(name, value, length)
    if ref_value is None:
        return (_numbered([array])[0] if array.dtype.kind in "OU" else array), None
    ref_array = _label_array(f"ref_{name}", ref_value, ref_length)
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
        rows = np.arange(length, dtype=np.int64)[value]
        rows.sort()
    else:
        array = _as_array("anchors", value)
        if array.ndim != 1 or (array.dtype.kind not in "iu" and array.size):
            advice = "; numpy.flatnonzero turns a mask into indices" * (array.dtype.kind == "b")
            raise TypeError(
                f"anchors: found an array of {array.dtype} and shape {array.shape}, expected "
                f"a slice or a one-dimensional array of row indices{advice}"
            )
        bad = np.flatnonzero((array < 0) | (array >= length)) if array.size else array
        if bad.size:
            raise ValueError(
                f"anchors: found {array[bad[0]]} at entry {bad[0]}, expected indices from 0 to "
                f"{length - 1}"
            )
        rows = np.sort(array.astype(np.int64))
        twice = np.flatnonzero(rows[1:] == rows[:-1])
        if twice.size:
            raise ValueError(f"anchors: found {rows[twice[0]]} twice, expected each row once")
    return None if len(rows) == length else np.ascontiguousarray(rows)


def entries(name: str, value: Any, width: int, length: int) -> Int64s:
    """Return row indices, ``width`` an entry: from such rows, or from a tuple of columns."""
    if isinstance(value, tuple):
        columns = [_as_array(name, column) for column in value]
        if len({column.shape for column in columns}) > 1 or columns[0].ndim != 1:
            shapes = ", ".join(str(column.shape) for column in columns)
            raise ValueError(f"{name}: found arrays of shapes {shapes}, expected one length")
        array = np.stack(columns, axis=1)
    else:
        array = _as_array(name, value.as_array() if hasattr(value, "as_array") else value)
    if array.size == 0 and array.ndim != 2:
        array = np.empty((0, width), dtype=np.int64)
    if array.ndim != 2 or array.shape[1] != width:
        raise ValueError(
            f"{name}: found an array of shape {array.shape}, expected {width} row indices an entry"
        )
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"{name}: found an array of {array.dtype}, expected row indices")
    bad = np.argwhere((array < 0) | (array >= length))
    if len(bad):
        raise ValueError(
            f"{name}: found {array[tuple(bad[0])]} in entry {bad[0][0]}, expected indices from 0 "
            f"to {length - 1}"
        )
    return np.ascontiguousarray(array, dtype=np.int64)


def flags(name: str, value: Any, length: int) -> npt.NDArray[np.uint8]:
    """Return one bool for each of ``length`` entries, as 0 and 1."""
    array = _as_array(name, value)
    if array.dtype.kind != "b" and array.size:
        raise TypeError(f"{name}: found an array of {array.dtype}, expected bools")
    if array.shape != (length,):
        raise ValueError(f"{name}: found shape {array.shape}, expected ({length},), one a pair")
    return np.ascontiguousarray(array, dtype=np.uint8)


def _as_array(name: str, value: Any) -> Array:
    """Anything with ``__array__`` or, on the CPU, DLPack; torch tensors without a copy."""
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


def _bfloat16_bits(value: Any) -> Array | None:
    """Return the bits of bfloat16 rows (ml_dtypes' or torch's), or None for other rows."""
    dtype = getattr(value, "dtype", None)
    if getattr(dtype, "name", None) == "bfloat16":
        return np.asarray(value).view(np.uint16)
    torch = sys.modules.get("torch")
    if torch is not None and dtype == torch.bfloat16:
        bits: Array = value.detach().view(torch.int16).numpy().view(np.uint16)
        return bits
    return None


def _label_array(name: str, value: Any, length: int) -> Array:
    array = _as_array(name, value)
    if array.ndim != 1:
        raise ValueError(f"{name}: found an array of shape {array.shape}, expected one dimension")
    if array.shape[0] != length:
        raise ValueError(
            f"{name}: found {array.shape[0]} entries, expected {length}, one for each row"
        )
    kind = array.dtype.kind
    if kind == "b" or (kind in "iu" and array.dtype != np.uint64):
        return np.ascontiguousarray(array, dtype=np.int64)
    if kind == "u":
        if array.size and array.max() > np.iinfo(np.int64).max:
            raise ValueError(f"{name}: found {array.max()}, expected integers below 2**63")
        return np.ascontiguousarray(array, dtype=np.int64)
    if kind == "f" and np.isnan(array).any():
        raise ValueError(
            f"{name}: found NaN at entry {np.flatnonzero(np.isnan(array))[0]}, expected integers "
            "or strings"
        )
    if kind == "S":
        return array.astype(object).astype(str) if array.size else array.astype(str)
    if kind in "OT":
        objects = array.astype(object)
        for i, entry in enumerate(objects):
            if not isinstance(entry, str):
                wrong = ValueError if entry is None or entry != entry else TypeError
                raise wrong(
                    f"{name}: found {entry!r} ({type(entry).__name__}) at entry {i}, expected "
                    "integers or strings"
                )
        return objects
    if kind == "U":
        return array
    raise TypeError(f"{name}: found an array of {array.dtype}, expected integers or strings")


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
