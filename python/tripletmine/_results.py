"""What calls return: ``Triplets`` and ``MiningReport``, and their ways out to files and tables.

Made by ``_mine`` and ``reference``; written by ``cli``. pyarrow and pandas are imported only when
their method is called.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from tripletmine._files import import_pyarrow, replacing

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

METADATA_KEY = b"tripletmine"
# What NumPy's, json's and zipfile's readers raise for bytes that are not theirs.
_UNREADABLE = (BadZipFile, EOFError, KeyError, OSError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class MiningReport:
    """What happened during a call.

    Attributes
    ----------
    anchors : int
        Rows that acted as anchors.
    anchors_without_positive, anchors_without_negative : int
        Anchors for which no positive (negative) was left to choose, after groups, allowed ranges,
        the strategy and ``range_min``; they yield no triplet. An anchor may count in both.
    fell_back : int
        Pairs of an anchor and a positive whose negatives come from ``fallback``.
    triplets : int
        Rows of the result.
    zero_rows : int
        Rows of norm 0 among anchors and candidates; by definition their cosine similarity to
        everything is 0.
    pairs_considered : int
        Pairs of an anchor and a candidate, itself excluded.
    pairs_decided : int
        Pairs for which the filter left the decision to the float64 distance. The only count that
        may differ from run to run.
    seconds : float
        Wall-clock time inside the core.
    threads : int
        Threads used.
    instruction_set : str
        Name of the kernel set used.
    plan : str
        The scores that filtered, in the order of their first use, such as "int8", "int8, float32"
        or, of rows projected to few directions first, "int8 of 192 directions, int8"; "float64"
        where every distance was computed.
    """

    anchors: int
    anchors_without_positive: int
    anchors_without_negative: int
    fell_back: int
    triplets: int
    zero_rows: int
    pairs_considered: int
    pairs_decided: int
    seconds: float
    threads: int
    instruction_set: str
    plan: str

    def as_dict(self) -> dict[str, int | float | str]:
        """Return the fields by name."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, eq=False, repr=False)
class Triplets:
    """Triplets, one an entry, ordered by anchor, positive and rank of the negative.

    Unpacks as ``a, p, n = triplets``.

    Attributes
    ----------
    anchors, positives, negatives : ndarray of int64, shape (T,)
        Row indices; positives and negatives index ``ref_emb`` where that was given.
    d_ap, d_an : ndarray of float64, shape (T,)
        Distances of the anchor to its positive and to its negative, in the metric's own unit.
    fell_back : ndarray of bool, shape (T,)
        Whether the negative comes from ``fallback``.
    report : MiningReport

    Examples
    --------
    >>> import numpy as np, tripletmine
    >>> x = np.array([[0.0], [1.0], [2.5], [4.0]])
    >>> t = tripletmine.mine(x, [0, 0, 1, 1], pos_strategy="hard", neg_strategy="hard",
    ...                      metric="euclidean")
    >>> a, p, n = t
    >>> a.tolist(), p.tolist(), n.tolist()
    ([0, 1, 2, 3], [1, 0, 3, 2], [2, 2, 1, 1])
    >>> t.as_array().shape
    (4, 3)
    """

    anchors: Int64s
    positives: Int64s
    negatives: Int64s
    d_ap: Float64s
    d_an: Float64s
    fell_back: Bools
    report: MiningReport

    def __len__(self) -> int:
        """Return the number of triplets."""
        return len(self.anchors)

    def __iter__(self) -> Iterator[Int64s]:
        """Yield anchors, positives and negatives."""
        return iter((self.anchors, self.positives, self.negatives))

    def __repr__(self) -> str:
        """Return a one-line summary."""
        return f"<Triplets: {len(self)} triplets of {self.report.anchors} anchors>"

    def as_array(self) -> Int64s:
        """Return anchors, positives and negatives as the columns of a (T, 3) int64 array."""
        return np.stack([self.anchors, self.positives, self.negatives], axis=1)

    def to_arrow(self) -> pa.Table:
        """Return a ``pyarrow.Table`` without copying; the report is in the schema's metadata."""
        pyarrow = import_pyarrow()
        columns = {name.rstrip("s"): values for name, values in self._columns().items()}
        report = json.dumps(self.report.as_dict()).encode()
        table: pa.Table = pyarrow.table(columns, metadata={METADATA_KEY: report})
        return table

    def to_pandas(self) -> pd.DataFrame:
        """Return a ``pandas.DataFrame`` with the columns of :meth:`to_arrow`."""
        import pandas as pd

        columns = {name.rstrip("s"): values for name, values in self._columns().items()}
        frame: pd.DataFrame = pd.DataFrame(columns)
        return frame

    def to_parquet(self, path: str | PathLike[str]) -> None:
        """Write :meth:`to_arrow` to a Parquet file, whole or not at all."""
        write_parquet(path, [self])

    def save(self, path: str | PathLike[str]) -> None:
        """Write the arrays and the report to an ``.npz`` file, whole or not at all."""
        write_saved(path, _COLUMNS, self)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Triplets:
        """Read what :meth:`save` wrote.

        Raises
        ------
        OSError
            The file cannot be read.
        ValueError
            The file is not one that :meth:`save` wrote.
        """
        columns, report = read_saved(path, "triplets", _COLUMNS, MiningReport)
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"{path}: not saved triplets, found columns of lengths {lengths}")
        return cls(**columns, report=report)

    def _columns(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _COLUMNS}


# Types and dimensions.
_COLUMNS = {
    "anchors": ("int64", 1),
    "positives": ("int64", 1),
    "negatives": ("int64", 1),
    "d_ap": ("float64", 1),
    "d_an": ("float64", 1),
    "fell_back": ("bool", 1),
}


def write_saved(path: str | PathLike[str], known: dict[str, tuple[str, int]], result: Any) -> None:
    """Write a result's arrays, as these types, and its report to an ``.npz`` file."""
    arrays: dict[str, Any] = {
        name: np.asarray(getattr(result, name), dtype=dtype) for name, (dtype, _) in known.items()
    }
    report = np.array(json.dumps(result.report.as_dict()))
    with replacing(Path(path)) as temporary, temporary.open("wb") as file:
        np.savez(file, report=report, **arrays)


def read_saved(
    path: str | PathLike[str], what: str, known: dict[str, tuple[str, int]], kind: type[Any]
) -> tuple[dict[str, Any], Any]:
    """Return the arrays and the report that `write_saved` wrote."""
    with Path(path).open("rb") as file:
        try:
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise ValueError("found one array")
            arrays = {name: archive[name] for name in known}
            for name, (dtype, dimensions) in known.items():
                if arrays[name].dtype != dtype or arrays[name].ndim != dimensions:
                    raise ValueError(
                        f"found {name} of {arrays[name].dtype}, shape {arrays[name].shape}"
                    )
            report = kind(**json.loads(str(archive["report"])))
            types: dict[str, Any] = {"int": int, "float": (int, float), "str": str}
            for field in dataclasses.fields(kind):
                value = getattr(report, field.name)
                if not isinstance(value, types[str(field.type)]):
                    raise ValueError(f"found {value!r} as {field.name} of the report")
        except _UNREADABLE as error:
            raise ValueError(
                f"{path}: not saved {what}, expected the .npz that save writes ({error})"
            ) from error
    return arrays, report


def concatenated(parts: Sequence[Triplets]) -> Triplets:
    """Return the triplets of consecutive parts of one call as one."""
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS}
    return Triplets(**columns, report=_added([part.report for part in parts]))


def part_of(triplets: Triplets, entries: slice, report: MiningReport) -> Triplets:
    """Return some consecutive triplets, with a report of their own."""
    columns = {name: getattr(triplets, name)[entries] for name in _COLUMNS}
    return Triplets(**columns, report=report)


def write_parquet(path: str | PathLike[str], parts: Iterable[Triplets]) -> MiningReport:
    """Write consecutive parts, at least one, as one Parquet file, whole or not at all.

    Only one part is held at a time. Returns the report of them all, which is in the file too.
    """
    parquet = import_pyarrow("pyarrow.parquet")
    reports: list[MiningReport] = []
    with replacing(Path(path)) as temporary, ExitStack() as stack:
        for part in parts:
            table = part.to_arrow().replace_schema_metadata()
            if not reports:
                # Without Arrow's own copy of the schema, which would hide metadata added later.
                writer = stack.enter_context(
                    parquet.ParquetWriter(temporary, table.schema, store_schema=False)
                )
            writer.write_table(table)
            reports.append(part.report)
        report = _added(reports)
        writer.add_key_value_metadata({METADATA_KEY: json.dumps(report.as_dict())})
    return report


def _added(reports: Sequence[MiningReport]) -> MiningReport:
    fields = [report.as_dict() for report in reports]
    added: dict[str, Any] = {
        name: sum(report[name] for report in fields)
        for name in fields[0]
        if name not in ("zero_rows", "threads", "instruction_set", "plan")
    }
    return dataclasses.replace(reports[0], **added)
