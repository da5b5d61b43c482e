"""Text similarity end to end: what random, hard and semi-hard triplets teach, over five seeds.

Functions of NumPy, SciPy and scikit-learn are searched by their docstrings; a linear map of TF-IDF
vectors is trained with the triplet loss on half of them, and the other half says what was learned.
Prints the tables of docs/training.md and draws its picture. ``tripletmine demo --text`` does the
same with one seed; the steps are in tripletmine/_demo_text.py.

    pip install "tripletmine[demo]"
    python examples/text_similarity.py -o docs/text_similarity.png
"""

import argparse

from tripletmine import _demo_text

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("-o", "--output", default="text_similarity.png", help="the picture")
parser.add_argument("--seeds", type=int, default=5, help="runs, each with a split of its own")
arguments = parser.parse_args()
_demo_text.run(arguments.output, arguments.seeds)
