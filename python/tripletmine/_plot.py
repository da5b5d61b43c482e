"""The picture of a census: the share of each kind and the mean loss, against the margin.

Why: a margin is chosen by looking at what it does. Called by ``cli``. matplotlib is imported only
when something is drawn, and its figure is used directly, so that no global backend is touched.
"""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np

from tripletmine import _files
from tripletmine._census import Census, Number

POINTS = 16  # of the curves
BEYOND = 1.25  # of the largest margin asked for: how far the curves go

_COLOURS = {"hard": "#c2410c", "semi-hard": "#f2b454", "easy": "#dbe4ea"}
_INK = "#263238"


def check(path: str | PathLike[str]) -> None:
    """Raise before any work what drawing to ``path`` would raise after it."""
    _figure()
    _files.check_writable(path, known=(".png",))


def margins(largest: float) -> list[float]:
    """Return the margins that the curves are drawn through, besides those asked for."""
    end = BEYOND * largest if largest > 0.0 else 1.0
    points: list[float] = np.linspace(0.0, end, POINTS + 1).tolist()
    return points


def draw(census: Census, marked: list[float], metric: str, path: str | PathLike[str]) -> None:
    """Draw a census of the whole set as a PNG file, and mark some of its margins."""
    order = np.argsort(census.margins, kind="stable")
    x = np.array(census.margins)[order]
    total = max(1, _whole(census.triplets))
    shares = {
        kind: np.array([100.0 * (_whole(counts[m]) / total) for m in order])
        for kind, counts in (
            ("hard", census.hard),
            ("semi-hard", census.semihard),
            ("easy", census.easy),
        )
    }
    figure = _figure()(figsize=(8, 6.4), facecolor="white", layout="constrained")
    figure.suptitle(
        f"{_whole(census.triplets):,} triplets by margin",
        color=_INK,
        fontsize=13,
        x=0.01,
        ha="left",
    )
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))

    above.stackplot(x, *shares.values(), colors=list(_COLOURS.values()), linewidth=0)
    above.set(ylim=(0, 100), ylabel="share of triplets, %")
    bottoms = np.cumsum([0.0, *(share[-1] for share in shares.values())])
    middles = (bottoms[:-1] + bottoms[1:]) / 2
    _name_at_the_right(above, dict(zip(shares, middles.tolist(), strict=True)))

    means = {"of those with a loss": census.mean_active_loss, "of all triplets": census.mean_loss}
    curves = {name: np.array([values[m] for m in order]) for name, values in means.items()}
    for (name, curve), style in zip(curves.items(), ("--", "-"), strict=True):
        below.plot(x, curve, style, color=_INK, linewidth=1.6, label=name)
    below.set(ylim=(0, None), ylabel="mean loss", xlabel=f"margin ({metric} distance)")
    _name_at_the_right(below, {name: float(curve[-1]) for name, curve in curves.items()})

    for axes in (above, below):
        axes.set_xlim(x[0], x[-1])
        for margin in marked:
            axes.axvline(margin, color=_INK, linewidth=0.8, linestyle=(0, (1, 3)))
        axes.tick_params(colors=_INK, labelcolor=_INK)
        axes.xaxis.label.set_color(_INK)
        axes.yaxis.label.set_color(_INK)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="png", dpi=150)


def _name_at_the_right(axes: Any, heights: dict[str, float]) -> None:
    """Write names beside the right end of what they name, one above the other."""
    low, high = axes.get_ylim()
    room = (high - low) / 12
    at = low - room / 2
    for name, height in sorted(heights.items(), key=lambda item: item[1]):
        if np.isnan(height):
            continue
        at = max(height, at + room)
        axes.annotate(
            name,
            (1.0, at),
            xycoords=("axes fraction", "data"),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=_INK,
        )


def _figure() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            'plots need matplotlib: pip install "tripletmine[plot]"', name=error.name
        ) from error
    return Figure


def _whole(count: Number) -> int:
    assert isinstance(count, int), "a census by anchor or class has no picture"
    return count
