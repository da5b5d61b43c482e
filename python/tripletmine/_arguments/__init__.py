"""The arguments of the public calls, checked once: every user error ends here.

Called by the modules of the calls and by ``reference``, so that the core and its oracle refuse the
same things with the same words. (NaN and infinite entries are found by the pass over the rows that
computes their norms, in the core.)
"""

from tripletmine._arguments._losses import (
    LossArguments,
    batch_all_arguments,
    loss_arguments,
    same,
    zero_gradient,
)
from tripletmine._arguments._mine import MineArguments, all_triplets, mine_arguments
from tripletmine._arguments._negatives import (
    NegativesArguments,
    negatives_arguments,
    rank_window,
)
from tripletmine._arguments._pairs import neighbours, output, pair_arguments
from tripletmine._arguments._sample import (
    CUTOFF,
    NONZERO_LOSS_CUTOFF,
    SampleArguments,
    sample_arguments,
)

__all__ = [
    "CUTOFF",
    "NONZERO_LOSS_CUTOFF",
    "LossArguments",
    "MineArguments",
    "NegativesArguments",
    "SampleArguments",
    "all_triplets",
    "batch_all_arguments",
    "loss_arguments",
    "mine_arguments",
    "negatives_arguments",
    "neighbours",
    "output",
    "pair_arguments",
    "rank_window",
    "same",
    "sample_arguments",
    "zero_gradient",
]
