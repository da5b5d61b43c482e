"""The names that options take, and the checks of single option values.

Called by ``_arguments`` (for the API) and by ``cli`` (for its choices). Every message names the
argument, the value found and what was expected.
"""

from __future__ import annotations

import math
import operator
from typing import Any, Literal, get_args

import numpy as np

PosStrategy = Literal["easy", "hard", "semihard", "random", "all"]
NegStrategy = Literal["semihard", "hard", "easy", "random", "all"]
Metric = Literal["cosine", "dot", "euclidean", "sqeuclidean"]
TripletType = Literal["all", "hard", "semihard", "easy"]
Fallback = Literal["drop", "easy", "hard"]
PositiveScore = Literal["min", "max", "mean"]
RankAmong = Literal["survivors", "all"]
Sampling = Literal["top", "random"]
Reduction = Literal["mean", "sum", "none"]
Per = Literal["anchor", "class"]
SampleType = Literal["any", "all", "hard", "semihard", "easy"]
Weights = Literal["uniform", "distance"]

POS_STRATEGIES: tuple[str, ...] = get_args(PosStrategy)
NEG_STRATEGIES: tuple[str, ...] = get_args(NegStrategy)
METRICS: tuple[str, ...] = get_args(Metric)
TRIPLET_TYPES: tuple[str, ...] = get_args(TripletType)
FALLBACKS: tuple[str, ...] = get_args(Fallback)
POSITIVE_SCORES: tuple[str, ...] = get_args(PositiveScore)
RANK_AMONG: tuple[str, ...] = get_args(RankAmong)
SAMPLINGS: tuple[str, ...] = get_args(Sampling)
REDUCTIONS: tuple[str, ...] = get_args(Reduction)
PERS: tuple[str, ...] = get_args(Per)
SAMPLE_TYPES: tuple[str, ...] = get_args(SampleType)
WEIGHTS: tuple[str, ...] = get_args(Weights)

LARGEST_COUNT = 2**62  # sums of two counts still fit in 64 bits
MOST_THREADS = 4096


def choice(name: str, value: Any, known: tuple[str, ...]) -> str:
    """Return ``value`` if it is one of the known names."""
    if not isinstance(value, str):
        raise TypeError(
            f"{name}: found {value!r} ({type(value).__name__}), expected one of {_listed(known)}"
        )
    if value not in known:
        raise ValueError(f"{name}: found {value!r}, expected one of {_listed(known)}")
    return value


def integer(name: str, value: Any, low: int, high: int = LARGEST_COUNT) -> int:
    """Return ``value`` as an int between ``low`` and ``high``."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(
            f"{name}: found {value!r} ({type(value).__name__}), expected an integer"
        ) from None
    if not low <= number <= high:
        top = "not absurdly large" if high == LARGEST_COUNT else f"at most {high}"
        raise ValueError(f"{name}: found {number}, expected an integer of at least {low}, {top}")
    return number


def real(name: str, value: Any) -> float:
    """Return ``value`` as a float that is not NaN."""
    if isinstance(value, (bool, np.bool_, str, bytes)):
        raise TypeError(f"{name}: found {value!r} ({type(value).__name__}), expected a number")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(
            f"{name}: found {value!r} ({type(value).__name__}), expected a number"
        ) from None
    except OverflowError:
        raise ValueError(
            f"{name}: found an integer beyond float64, expected a number within it"
        ) from None
    if math.isnan(number):
        raise ValueError(f"{name}: found NaN, expected a number")
    return number


def margin(value: Any) -> float | None:
    """Return a margin: None, or a finite number of at least 0."""
    return None if value is None else loss_margin("margin", value, ", or None")


def loss_margin(name: str, value: Any, alternative: str = "") -> float:
    """Return a margin that has to be given: a finite number of at least 0."""
    number = real(name, value)
    if not 0.0 <= number < math.inf:
        raise ValueError(
            f"{name}: found {number}, expected a finite number of at least 0{alternative}"
        )
    return number


def finite(name: str, value: Any) -> float | None:
    """Return an optional number: None, or a finite one of either sign."""
    if value is None:
        return None
    number = real(name, value)
    if math.isinf(number):
        raise ValueError(f"{name}: found {number}, expected a finite number or None")
    return number


def flag(name: str, value: Any) -> bool:
    """Return ``value`` if it is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: found {value!r} ({type(value).__name__}), expected a bool")
    return bool(value)


def margins(value: Any) -> tuple[float, ...]:
    """Return margins: at least one finite number of at least 0; a number stands for itself."""
    if isinstance(value, (str, bytes)) or value is None:
        raise TypeError(
            f"margins: found {value!r} ({type(value).__name__}), expected a sequence of numbers"
        )
    try:
        entries = list(value)
    except TypeError:
        entries = [value]
    if not entries:
        raise ValueError("margins: found none, expected at least one")
    numbers = [real(f"margins[{i}]", entry) for i, entry in enumerate(entries)]
    for i, number in enumerate(numbers):
        if not 0.0 <= number < math.inf:
            raise ValueError(
                f"margins[{i}]: found {number}, expected a finite number of at least 0"
            )
    return tuple(numbers)


def distance_range(name: str, value: Any) -> tuple[float, float]:
    """Return an allowed range ``(low, high)`` of distances; None allows all."""
    if value is None:
        return (-math.inf, math.inf)
    is_array = hasattr(value, "__array__") and getattr(value, "ndim", 1) == 1
    is_sequence = isinstance(value, (tuple, list)) or is_array
    if not is_sequence or len(value) != 2:
        raise TypeError(f"{name}: found {value!r}, expected a pair (low, high) or None")
    low, high = real(f"{name}[0]", value[0]), real(f"{name}[1]", value[1])
    if low > high:
        raise ValueError(f"{name}: found ({low}, {high}), expected low <= high")
    return (low, high)


def threads(value: Any) -> int:
    """Return a number of threads; 0 stands for None, the number that OpenMP says."""
    return 0 if value is None else integer("n_threads", value, 1, MOST_THREADS)


def progress(value: Any) -> Any:
    """Return a progress callback or None."""
    if value is not None and not callable(value):
        raise TypeError(
            f"progress: found {value!r}, expected a function of (done, total) pairs, or None"
        )
    return value


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(repr(name) for name in names)
