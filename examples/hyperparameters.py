"""Margin, batch size and learning rate: a grid on the task of text_similarity.py.

Trains on semi-hard triplets with every combination, prints a table with the census of the untrained
vectors beside each margin (does it tell a good margin in advance?), and draws a heat map.

    pip install "tripletmine[demo]"
    python examples/hyperparameters.py -o docs/hyperparameters.png
"""

import argparse
from itertools import product
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import tripletmine
from tripletmine import _demo_text as text
from tripletmine._summary import print_table

MARGINS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
BATCH_SIZES = (16, 64, 256)
LEARNING_RATES = (0.001, 0.003, 0.01)


def main() -> None:
    """Train, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", default="hyperparameters.png", help="the picture")
    parser.add_argument("--seed", type=int, default=0, help="of the split and of mining")
    arguments = parser.parse_args()

    split = text.split_of(text.functions(), arguments.seed)
    grid = np.empty((len(MARGINS), len(BATCH_SIZES), len(LEARNING_RATES)))
    for place, (margin, batch_size, learning_rate) in zip(
        np.ndindex(grid.shape), product(MARGINS, BATCH_SIZES, LEARNING_RATES), strict=True
    ):
        weights = text.train(
            split.x,
            split.modules,
            text.STRATEGIES["semi-hard"],
            margin=margin,
            batch_size=batch_size,
            learning_rate=learning_rate,
            seed=arguments.seed,
        )
        grid[place] = text.map_at_r(split.held_out_x @ weights, split.held_out.modules)

    counted = tripletmine.census(split.x, split.modules, margins=MARGINS)
    rows = []
    for m, margin in enumerate(MARGINS):
        best = np.unravel_index(grid[m].argmax(), grid[m].shape)
        share = [f"{100 * kind[m] / counted.triplets:.1f} %" for kind in kinds(counted)]
        rows.append(
            (
                f"{margin}",
                *share,
                f"{grid[m].max():.3f}",
                f"{BATCH_SIZES[best[0]]}",
                f"{LEARNING_RATES[best[1]]}",
                f"{grid[m].min():.3f}",
            )
        )
    print_table(
        f"all {counted.triplets:,} triplets before training, and MAP@R of held-out functions after",
        ("margin", "hard", "semi-hard", "easy", "best", "batch size", "learning rate", "worst"),
        rows,
    )
    figure = Figure(figsize=(11, 4), facecolor="white", layout="constrained")
    draw(figure, grid)
    figure.savefig(arguments.output, dpi=80, pil_kwargs={"optimize": True})


def kinds(counted: tripletmine.Census) -> tuple[list[Any], ...]:
    """Return the numbers of hard, semi-hard and easy triplets, one for each margin."""
    return counted.hard, counted.semihard, counted.easy


def draw(figure: Figure, grid: np.ndarray) -> None:
    """Draw one map of margin and learning rate for each batch size."""
    panels = figure.subplots(1, len(BATCH_SIZES), sharey=True)
    for b, axes in enumerate(panels):
        image = axes.imshow(grid[:, b], vmin=grid.min(), vmax=grid.max(), aspect="auto")
        axes.set(title=f"batch size {BATCH_SIZES[b]}", xlabel="learning rate")
        axes.set_xticks(range(len(LEARNING_RATES)), map(str, LEARNING_RATES))
        axes.set_yticks(range(len(MARGINS)), map(str, MARGINS))
        for m, r in np.ndindex(grid[:, b].shape):
            bright = grid[m, b, r] > (grid.min() + grid.max()) / 2
            axes.text(r, m, f"{grid[m, b, r]:.3f}", ha="center", va="center",
                      color="black" if bright else "white")  # fmt: skip
    panels[0].set_ylabel("margin")
    figure.colorbar(image, ax=panels, label="MAP@R of held-out functions")


if __name__ == "__main__":
    main()
