"""The definition, in plain NumPy: slow, obvious, and the oracle of the tests.

The same calls as the package's, with the same arguments and errors, computed as
``docs/semantics.md`` says and in no cleverer way: every distance in float64 by the canonical sums,
every choice by sorting ``(d, index)``. Memory grows with n·m.

Examples
--------
>>> import numpy as np, tripletmine
>>> x = np.random.default_rng(0).normal(size=(40, 5))
>>> ours = tripletmine.mine(x, np.arange(40) % 4, pos_strategy="hard", neg_strategy="hard")
>>> truth = tripletmine.reference.mine(x, np.arange(40) % 4, pos_strategy="hard",
...                                    neg_strategy="hard")
>>> bool(np.array_equal(ours.as_array(), truth.as_array()))
True
"""

from tripletmine.reference._blocks import mine_blocks
from tripletmine.reference._census import census
from tripletmine.reference._distances import (
    distance_matrix,
    nearest,
    pairwise_distances,
    sum8,
)
from tripletmine.reference._losses import batch_all_loss, contrastive_loss, triplet_loss
from tripletmine.reference._mine import mine
from tripletmine.reference._negatives import mine_negatives
from tripletmine.reference._sample import sample

__all__ = [
    "batch_all_loss",
    "census",
    "contrastive_loss",
    "distance_matrix",
    "mine",
    "mine_blocks",
    "mine_negatives",
    "nearest",
    "pairwise_distances",
    "sample",
    "sum8",
    "triplet_loss",
]
