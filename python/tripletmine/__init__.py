"""tripletmine: the hard and semi-hard triplets of a whole embedding set, exactly, on CPUs.

The way of the data::

    your arrays ──> _arguments ──> _core (C++) ──────────────────> Triplets ──> arrays, Parquet, npz
                    every user     Dataset → Operand → Sweep →     _results
                    error ends     Selector → results
                    here

``mine`` selects triplets, ``mine_blocks`` as many as memory does not hold, ``mine_negatives``
negatives for known positives, ``sample`` triplets at random; ``census`` counts them. ``nearest``
and ``pairwise_distances`` are the building blocks, and ``reference`` answers the same calls in
plain NumPy: it is the definition that the core is tested against. Every answer equals the float64
definition in ``docs/semantics.md`` (sums of losses to 1e-6), for any number of threads and any
instruction set.
"""

from importlib.metadata import version as _version

from tripletmine import reference
from tripletmine._blocks import mine_blocks
from tripletmine._census import Census, census
from tripletmine._distances import nearest, pairwise_distances
from tripletmine._losses import batch_all_loss, contrastive_loss, triplet_loss
from tripletmine._mine import mine
from tripletmine._negatives import Negatives, NegativesReport, mine_negatives
from tripletmine._results import MiningReport, Triplets
from tripletmine._sample import sample
from tripletmine._versions import InstructionSet, instruction_sets, show_versions

__version__ = _version("tripletmine")

__all__ = [
    "Census",
    "InstructionSet",
    "MiningReport",
    "Negatives",
    "NegativesReport",
    "Triplets",
    "__version__",
    "batch_all_loss",
    "census",
    "contrastive_loss",
    "instruction_sets",
    "mine",
    "mine_blocks",
    "mine_negatives",
    "nearest",
    "pairwise_distances",
    "reference",
    "sample",
    "show_versions",
    "triplet_loss",
]
