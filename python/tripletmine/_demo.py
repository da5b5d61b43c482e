"""``tripletmine demo``: the hardest triplets of scikit-learn's handwritten digits, as a picture.

Why: hard triplets are best understood by looking at some. Called by ``cli``. scikit-learn and
matplotlib are imported when it runs; matplotlib's figure is used directly, so that no global
backend is touched.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import tripletmine
from tripletmine import _files
from tripletmine._summary import print_report, print_table

SHOWN = 10
ACROSS = 2  # triplets side by side in the picture


def run(output: str = "tripletmine-demo.png") -> None:
    """Mine the digits, print the hardest triplets and draw them to a PNG file."""
    try:
        from matplotlib.figure import Figure
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            'the demo needs scikit-learn and matplotlib: pip install "tripletmine[demo]"',
            name=error.name,
        ) from error
    _files.check_writable(output, known=(".png",))

    pixels, labels = load_digits(return_X_y=True)
    pixels = pixels.astype(np.float32)
    triplets = tripletmine.mine(
        pixels, labels, pos_strategy="hard", neg_strategy="hard", metric="euclidean"
    )
    print_report(triplets.report)

    hardest = np.argsort(triplets.d_an - triplets.d_ap, kind="stable")
    rows = [
        (
            *(f"{labels[i]} (row {i})" for i in _rows(triplets, t)),
            *(f"{d:.2f}" for d in (triplets.d_ap[t], triplets.d_an[t])),
            f"{triplets.d_an[t] - triplets.d_ap[t]:.2f}",
        )
        for t in hardest[:SHOWN]
    ]
    print_table(
        f"the {SHOWN} hardest triplets of {len(labels):,} handwritten digits",
        ("anchor", "positive", "negative", "d_ap", "d_an", "d_an - d_ap"),
        rows,
    )

    # One for each digit: the hardest of all are near copies of each other.
    _, first = np.unique(labels[triplets.anchors[hardest]], return_index=True)
    drawn = hardest[first]
    figure = Figure(figsize=(9, 9.6), facecolor="white", layout="constrained")
    figure.suptitle("The hardest triplet of each digit, with pixel distances from the anchor")
    halves: Any = figure.subfigures(1, ACROSS, wspace=0.1)
    for half, part in zip(halves, np.split(drawn, ACROSS), strict=True):
        _draw(half, pixels, labels, triplets, part)
    with _files.replacing(output) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    print(
        f"{output}: in each triplet the anchor lies nearer to a different digit (right) than to the"
        " farthest example of its own (middle), which is what makes the triplet hard."
    )


def _draw(
    figure: Any,  # Figure or SubFigure
    pixels: NDArray[np.float32],
    labels: NDArray[np.int64],
    triplets: tripletmine.Triplets,
    shown: NDArray[np.intp],
) -> None:
    """Draw one triplet a row: anchor, positive, negative."""
    colours = ("black", "tab:green", "tab:red")
    for axes, t in zip(figure.subplots(len(shown), 3), shown, strict=True):
        i, j, k = _rows(triplets, t)
        titles = (
            f"anchor {labels[i]}",
            f"positive {labels[j]}: {triplets.d_ap[t]:.1f}",
            f"negative {labels[k]}: {triplets.d_an[t]:.1f}",
        )
        for ax, row, title, colour in zip(axes, (i, j, k), titles, colours, strict=True):
            ax.imshow(pixels[row].reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
            ax.set_title(title, fontsize=10, color=colour)
            ax.set(xticks=[], yticks=[])
            for spine in ax.spines.values():
                spine.set_color(colour)


def _rows(triplets: tripletmine.Triplets, t: int) -> tuple[int, int, int]:
    return int(triplets.anchors[t]), int(triplets.positives[t]), int(triplets.negatives[t])
