"""Files in and out: embeddings and label columns read, outputs written whole or not at all.

Why: a damaged input must end as one line that names the file, and an interrupted run must leave
nothing half-written. Called by ``cli`` and ``_demo.py`` (reading, checking) and by
``_results.py`` (writing). pyarrow is imported only when a Parquet file is met.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import tokenize
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

INPUTS = (".npy", ".parquet")
OUTPUTS = (".parquet", ".npz")

_NPY_MAGIC = b"\x93NUMPY"
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")


def read_embeddings(path: str | os.PathLike[str], column: str | None = None) -> NDArray[Any]:
    """Rows of embeddings from a ``.npy`` (memory-mapped) or a ``.parquet`` file.

    Parameters
    ----------
    path
        The file.
    column
        Parquet only: the column of float lists. Not needed if the file has only one.

    Returns
    -------
    ndarray
        Of shape (n, d), in the file's own floating-point type.

    Raises
    ------
    ValueError
        Damaged or foreign file, no such column, a null, rows of different lengths.
    OSError
        The file is missing or cannot be read.
    ImportError
        A Parquet file without pyarrow.
    """
    wanted = "a list of float16, float32 or float64"
    rows: NDArray[Any] = _read(Path(path), column, _is_rows, wanted, _fill_rows)
    return rows


def read_vector(path: str | os.PathLike[str], column: str | None = None) -> NDArray[Any]:
    """Labels, groups or indices: like `read_embeddings`, but one integer or string a row."""
    vector: NDArray[Any] = _read(
        Path(path), column, _is_vector, "integers or strings", _fill_vector
    )
    return vector


def read_lists(path: str | os.PathLike[str], column: str | None = None) -> Any:
    """Corpus rows for each query: like `read_embeddings`, but integers or lists of integers.

    Returns
    -------
    ndarray or tuple of two ndarrays
        A ``.npy`` file's own array, or ``(indptr, indices)`` from a Parquet file.
    """
    return _read(Path(path), column, _is_lists, "integers or lists of integers", _fill_lists)


def check_writable(path: str | os.PathLike[str], known: tuple[str, ...] = OUTPUTS) -> None:
    """Raise before any work what writing `path` would raise after it.

    Raises
    ------
    ValueError
        The extension is none of `known`.
    OSError
        The directory is missing or read-only, or `path` is there but not a regular file.
    ImportError
        A Parquet file without pyarrow.
    """
    _check_extension(Path(path), known)
    if Path(path).suffix == ".parquet":
        import_pyarrow("pyarrow.parquet")
    _target(path)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it becomes `path` if the block ends well.

    Otherwise (Ctrl-C too) it is removed and `path` stays as it was. The permissions are those of
    a file opened for writing: a new one's, or those that `path` had; one that is write-protected is
    refused. A symbolic link is followed, as by ``open``. An error of the file system names `path`.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder, "note.txt")) as temporary:
    ...         _ = temporary.write_text("all of it")
    ...     Path(folder, "note.txt").read_text()
    'all of it'
    """
    target = _target(path)
    # The extension stays last: NumPy appends its own to a name without it.
    temporary = target.with_name(f".tripletmine-{secrets.token_hex(8)}{target.suffix}")
    try:
        temporary.touch(exist_ok=False)
        _take_permissions(temporary, target, and_also=stat.S_IWUSR | stat.S_IRUSR)
        yield temporary
        _take_permissions(temporary, target)
        temporary.replace(target)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(temporary), temporary):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def _take_permissions(temporary: Path, target: Path, and_also: int = 0) -> None:
    """Give a file the group and the permissions of the one that it will replace, if any."""
    if target.exists():
        known = target.stat()
        with suppress(PermissionError):  # not a member of that group
            os.chown(temporary, -1, known.st_gid)
        temporary.chmod(stat.S_IMODE(known.st_mode) | and_also)


def _target(path: str | os.PathLike[str]) -> Path:
    """Return the file that writing `path` would make or replace, or raise OSError."""
    try:
        target = Path(path).resolve()
        endless = target.is_symlink()
    except RuntimeError:  # before Python 3.13
        endless = True
    if endless:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path}: cannot be written, {target.parent} is not a directory")
    if target.is_dir():
        raise IsADirectoryError(f"{path}: cannot be written, it is a directory")
    if target.exists() and not target.is_file():  # a rename would replace even a device
        raise OSError(f"{path}: cannot be written, it is not a regular file")
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(f"{path}: cannot be written, it is write-protected")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise PermissionError(f"{path}: cannot be written, {target.parent} is not writable")
    return target


def _check_extension(path: Path, known: tuple[str, ...]) -> None:
    if path.suffix not in known:
        raise ValueError(
            f"{path}: unknown extension {path.suffix!r}, expected {' or '.join(known)}"
        )


def import_pyarrow(module: str = "pyarrow") -> Any:
    """Import pyarrow or a module of it, or say how to install it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            'Arrow and Parquet need pyarrow: pip install "tripletmine[cli]"', name="pyarrow"
        ) from error


def _read(
    path: Path,
    column: str | None,
    is_candidate: Callable[[Any], bool],
    wanted: str,
    fill: Callable[[Iterator[Any], int, str], Any],
) -> Any:
    _check_extension(path, INPUTS)
    if path.exists() and not (path.is_file() or path.is_dir()):  # a pipe can be read but once
        raise ValueError(f"{path}: not a regular file, expected one that can be read in any order")
    with path.open("rb") as stream:  # a missing file ends here, with the same words for each kind
        start = stream.read(len(_NPY_MAGIC))
    if path.suffix == ".npy":
        if column is not None:
            raise ValueError(f"{path}: a .npy file has no columns, found column {column!r}")
        return _read_npy(path, start)
    return _read_parquet(path, column, is_candidate, wanted, fill)


# ------------------------------------------------------------------------------------------- .npy


def _read_npy(path: Path, start: bytes) -> NDArray[Any]:
    if start != _NPY_MAGIC:
        raise ValueError(
            f"{path}: not a NumPy .npy file, found {start!r} at its start, expected {_NPY_MAGIC!r}"
        )
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    # All that NumPy's header parser and mmap raise for bytes that are not theirs.
    except (ValueError, TypeError, SyntaxError, OverflowError, tokenize.TokenError) as error:
        raise ValueError(
            f"{path}: a damaged .npy file of {path.stat().st_size} bytes or one of Python objects,"
            f" expected a whole file of numbers or strings ({_first_line(error)})"
        ) from error
    return array


# --------------------------------------------------------------------------------------- .parquet


def _read_parquet(
    path: Path,
    column: str | None,
    is_candidate: Callable[[Any], bool],
    wanted: str,
    fill: Callable[[Iterator[Any], int, str], Any],
) -> Any:
    """Read one column, batch by batch, so that it is never twice in memory."""
    parquet = import_pyarrow("pyarrow.parquet")
    from pyarrow import ArrowException

    try:
        with parquet.ParquetFile(path) as file:
            name = _choose(path, file.schema_arrow, column, is_candidate, wanted)
            batches = (b.column(0) for b in file.iter_batches(columns=[name]) if b.num_rows)
            return fill(batches, file.metadata.num_rows, f"{path}: column {name!r}")
    except MemoryError:  # Arrow's own is an ArrowException too
        raise
    except (ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path}: a damaged Parquet file or not one ({_first_line(error)})"
        ) from error


def _choose(
    path: Path,
    schema: Any,
    column: str | None,
    is_candidate: Callable[[Any], bool],
    wanted: str,
) -> str:
    candidates: list[str] = [
        field.name
        for field in schema
        if is_candidate(field.type) and not _PANDAS_INDEX.fullmatch(field.name)
    ]
    found = f"columns that are: {', '.join(map(repr, candidates)) or 'none'}"
    if column is None:
        if len(candidates) != 1:
            raise ValueError(f"{path}: name the column, it must be {wanted}; {found}")
        return candidates[0]
    if column not in schema.names:
        raise ValueError(f"{path}: no column {column!r}, expected one of {wanted}; {found}")
    if candidates.count(column) != 1:
        raise ValueError(
            f"{path}: column {column!r} is {schema.types[schema.names.index(column)]}, expected"
            f" one column of that name and of {wanted}; {found}"
        )
    return column


def _is_rows(kind: Any) -> bool:
    from pyarrow import types

    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return bool(is_list and types.is_floating(kind.value_type))


def _is_vector(kind: Any) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    return bool(types.is_integer(kind) or types.is_string(kind) or types.is_large_string(kind))


def _is_lists(kind: Any) -> bool:
    from pyarrow import types

    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        kind = kind.value_type
    return bool(types.is_integer(kind))


def _fill_rows(batches: Iterator[Any], n: int, where: str) -> NDArray[Any]:
    rows: NDArray[Any] | None = None
    done = 0
    for batch in batches:
        _refuse_null(batch, done, 1, where)
        lengths = np.asarray(batch.value_lengths())
        flat = batch.flatten()
        if rows is None:
            rows = np.empty((n, lengths[0]), flat.type.to_pandas_dtype())
        width = rows.shape[1]
        if (lengths != width).any():
            bad = int(np.argmax(lengths != width))
            raise ValueError(
                f"{where}: row {done + bad} has {lengths[bad]} numbers, expected {width} like row 0"
            )
        _refuse_null(flat, done, width, where)
        rows[done : done + len(batch)] = flat.to_numpy().reshape(len(batch), width)
        done += len(batch)
    return np.empty((0, 0), np.float32) if rows is None else rows


def _fill_vector(batches: Iterator[Any], n: int, where: str) -> NDArray[Any]:
    from pyarrow import types

    parts: list[NDArray[Any]] = []
    done = 0
    for batch in batches:
        values = batch.dictionary_decode() if types.is_dictionary(batch.type) else batch
        _refuse_null(values, done, 1, where)
        parts.append(values.to_numpy(zero_copy_only=False))  # strings as objects
        done += len(values)
    return np.concatenate(parts) if n else np.empty(0, np.int64)


def _fill_lists(
    batches: Iterator[Any], n: int, where: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    from pyarrow import types

    lengths = [np.zeros(1, np.int64)]
    parts = [np.zeros(0, np.int64)]
    done = 0
    for batch in batches:
        _refuse_null(batch, done, 1, where)
        if types.is_integer(batch.type):
            flat = batch
            lengths.append(np.ones(len(batch), np.int64))
        else:
            flat = batch.flatten()
            lengths.append(np.asarray(batch.value_lengths(), np.int64))
            if flat.null_count:
                ends = np.cumsum(lengths[-1])
                row = done + int(np.searchsorted(ends, flat.is_null().index(True).as_py(), "right"))
                raise ValueError(f"{where}: a null in the list of row {row}, expected none")
        parts.append(np.asarray(flat.to_numpy(), np.int64))
        done += len(batch)
    return np.cumsum(np.concatenate(lengths)), np.concatenate(parts)


def _refuse_null(values: Any, done: int, width: int, where: str) -> None:
    if values.null_count:
        row = done + values.is_null().index(True).as_py() // width
        raise ValueError(f"{where}: a null in row {row}, expected none ({values.null_count} found)")


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
