"""What is mined: embedding files, clustered and other synthetic sets, and small batches.

A case is a description, so that every process can make its rows for itself. Rows are normalised
to length 1 here, once for all: no contender has to pay for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

LARGEST_BATCH = 2048  # up to here a whole n×n matrix is what people would write
NOISE = 1.5  # length of the noise to that of a class centre: neighbouring classes overlap
# The mean cosine of two rows: of many encoders, and of one that is not trained or collapses.
COMMON = {"sharing": 0.8, "collapsed": 0.99999}


@dataclass(frozen=True)
class Case:
    """A set of rows: either of a file or synthetic, n rows of d numbers in so many classes."""

    name: str
    n: int = 0
    d: int = 0
    classes: int = 0
    embeddings: Path | None = None
    labels: Path | None = None
    prunable: bool = (
        True  # false: directions at random, no row is nearer to its class than to others
    )
    common: float = 0.0  # of each squared norm: the part that all rows share

    def load(self) -> tuple[Rows, Labels]:
        """Return float32 rows of length 1 and their labels; every class has two rows or more."""
        if self.embeddings is None or self.labels is None:
            rows, labels = _clustered(self.n, self.d, self.classes, 1 if self.prunable else 0)
            return (_sharing(rows, self.common) if self.common else rows), labels
        rows, labels = np.load(self.embeddings), np.load(self.labels)
        _, numbers, sizes = np.unique(labels, return_inverse=True, return_counts=True)
        kept = sizes[numbers] > 1
        return _normalised(rows[kept].astype(np.float32)), numbers[kept].astype(np.int64)

    @property
    def is_batch(self) -> bool:
        """Whether one call takes milliseconds."""
        return self.n <= LARGEST_BATCH

    @property
    def pairs(self) -> int:
        """How many (anchor, positive) there are; roughly, if classes differ in size."""
        return self.n * (self.n // self.classes - 1)

    def described(self) -> str:
        """Return name and sizes."""
        return f"{self.name}: {self.n:,} × {self.d}, {self.classes:,} classes"

    def as_dict(self) -> dict[str, Any]:
        """Return name and sizes, and no path."""
        return {"name": self.name, "n": self.n, "d": self.d, "classes": self.classes}


def of_files(embeddings: Path, labels: Path) -> Case:
    described = Case(embeddings.name, embeddings=embeddings, labels=labels)
    x, y = described.load()
    return Case(embeddings.name, len(x), x.shape[1], len(np.unique(y)), embeddings, labels)


def synthetic(size: str) -> Case:
    """Return the case of a size like ``60000x128x1000``: rows, dimensions, classes."""
    n, d, classes = map(int, size.split("x"))
    if n < 2 * classes:
        raise ValueError(f"size {size!r}: expected two rows or more of every class")
    kind = "batch" if n <= LARGEST_BATCH else "synthetic"
    return Case(f"{kind} {n}x{d}", n, d, classes)


def unprunable(size: str) -> Case:
    """Return the case of a size of which nothing is known but that bounds help little."""
    described = synthetic(size)
    name = f"directions {described.n}x{described.d}"
    return replace(described, name=name, prunable=False)


def close_together(size: str, kind: str) -> Case:
    """Return the case of a size whose rows lie close together; ``kind`` is one of ``COMMON``."""
    described = synthetic(size)
    return replace(described, name=f"{kind} {described.n}x{described.d}", common=COMMON[kind])


def _clustered(n: int, d: int, classes: int, spread: int) -> tuple[Rows, Labels]:
    """Return rows around random centres, in random order; classes of equal size, as peers like."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(n, dtype=np.int64) % classes)
    rows = rng.standard_normal((classes, d), dtype=np.float32)[labels]
    rows *= np.float32(spread)
    rows += np.float32(NOISE) * rng.standard_normal((n, d), dtype=np.float32)
    return _normalised(rows), labels


def _sharing(rows: Rows, common: float) -> Rows:
    """Return the rows with one direction added to all of them."""
    direction = np.random.default_rng(1).standard_normal(rows.shape[1], dtype=np.float32)
    direction *= np.float32(np.sqrt(common / (1 - common)) / np.linalg.norm(direction))
    return _normalised(rows + direction)


def _normalised(rows: Rows) -> Rows:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.ascontiguousarray(rows / np.where(norms > 0, norms, np.float32(1)))
