"""``tripletmine demo --text``: text similarity end to end, from docstrings to a better search.

Why: to see what mined triplets are worth. The functions of NumPy, SciPy and scikit-learn are texts
(their docstrings) with a label (their module), on every machine that has scikit-learn. Texts become
TF-IDF vectors, a truncated SVD shortens them, and a linear map is trained with the triplet loss, on
triplets drawn at random or mined anew each epoch; held-out functions say what was learned.

Called by ``cli`` and by ``examples/``. scikit-learn, SciPy and matplotlib are imported when
it runs.
"""

from __future__ import annotations

import importlib
import inspect
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tripletmine
from tripletmine import _files
from tripletmine._summary import print_table

Floats = NDArray[np.floating[Any]]
Strings = NDArray[np.str_]

# One triplet an anchor and epoch for each, so that they differ in nothing but the choice.
STRATEGIES: dict[str, dict[str, Any]] = {
    "random": {"pos_strategy": "random", "neg_strategy": "random"},
    "hard": {"pos_strategy": "random", "neg_strategy": "hard"},
    "semi-hard": {"pos_strategy": "random", "neg_strategy": "semihard", "fallback": "hard"},
}
MARGINS = (0.1, 0.5)
EPOCHS = 15
DIMENSIONS = 200
FEWEST = 12  # functions of a module that is taken

_MODULES = {
    "numpy": "char fft linalg ma polynomial.polynomial random",
    "scipy": (
        "cluster.hierarchy fft integrate interpolate io linalg ndimage optimize signal "
        "signal.windows sparse sparse.csgraph sparse.linalg spatial.distance special stats "
        "stats.mstats"
    ),
    "sklearn": (
        "cluster datasets decomposition linear_model metrics metrics.pairwise model_selection "
        "preprocessing utils"
    ),
}
_SHORTEST = 120  # characters of a docstring that says something


@dataclass(frozen=True)
class Functions:
    """Documented functions: what they are called, what is said of them, and where they live."""

    names: Strings
    texts: Strings
    modules: Strings

    def __getitem__(self, rows: NDArray[np.intp]) -> Functions:
        """Return these functions."""
        return Functions(self.names[rows], self.texts[rows], self.modules[rows])

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.names)


@dataclass(frozen=True)
class Scores:
    """How well vectors find functions of the same module, on functions never trained on."""

    recall_at_1: float
    map_at_r: float
    nmi: float


@dataclass
class Run:
    """What one strategy did with one margin and seed."""

    strategy: str
    margin: float
    scores: Scores
    curve: list[float]  # MAP@R after each epoch, the untrained vectors' first
    vectors: Floats


@dataclass
class Split:
    """Functions to train on and functions held out, as vectors of one seed."""

    x: Floats
    modules: Strings
    held_out_x: Floats
    held_out: Functions


def run(output: str = "tripletmine-text.png", seeds: int = 1) -> None:
    """Train with each strategy and seed, print tables, and draw curves and maps to a PNG file."""
    try:
        import sklearn  # noqa: F401
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            'the demo needs scikit-learn and matplotlib: pip install "tripletmine[demo]"',
            name=error.name,
        ) from error
    _files.check_writable(output, known=(".png",))

    found = functions()
    print(f"{len(found):,} functions of {len(set(found.modules))} modules, half of them held out")
    untrained: list[Scores] = []
    runs: list[Run] = []
    for seed in range(seeds):
        split = split_of(found, seed)
        untrained.append(scores(split.held_out_x, split.held_out.modules, seed))
        runs += [compare(split, name, margin, seed) for margin in MARGINS for name in STRATEGIES]
    first = split_of(found, 0)
    rows = [("untrained", "", *_spread(untrained))]
    for margin in MARGINS:
        for name in STRATEGIES:
            own = [r.scores for r in runs if (r.strategy, r.margin) == (name, margin)]
            rows.append((f"{name} triplets", f"{margin}", *_spread(own)))
    print_table(
        f"held-out functions, mean of {seeds} seed(s) ± standard deviation",
        ("vectors", "margin", "recall@1", "MAP@R", "NMI of k-means"),
        rows,
    )
    best = next(r for r in runs if (r.strategy, r.margin) == ("semi-hard", MARGINS[0]))
    print_table(
        "the nearest held-out functions, before and after training on semi-hard triplets",
        ("function", "before", "after"),
        list(_searches(first, best.vectors)),
    )
    figure = Figure(figsize=(11, 9), facecolor="white", layout="constrained")
    _draw(figure, first, best.vectors, runs)
    with _files.replacing(output) as temporary:
        figure.savefig(temporary, format="png", dpi=80, pil_kwargs={"optimize": True})
    print(f"{output}: learning curves, and a map of the held-out functions before and after")


def functions() -> Functions:
    """Return the documented functions of NumPy, SciPy and scikit-learn that are installed."""
    names: list[str] = []
    texts: dict[str, str] = {}  # by text: what is there under two names is taken once
    modules = ["numpy"]
    modules += [f"{package}.{name}" for package, all_ in _MODULES.items() for name in all_.split()]
    for module in modules:
        for name, text in _documented(module):
            if text not in texts:
                texts[text] = module
                names.append(f"{module}.{name}")
    found = Functions(np.array(names), np.array(list(texts)), np.array(list(texts.values())))
    counts = Counter(found.modules.tolist())
    return found[np.flatnonzero([counts[module] >= FEWEST for module in found.modules.tolist()])]


def _documented(module: str) -> Iterator[tuple[str, str]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated names
        home = importlib.import_module(module)
        for name in getattr(home, "__all__", dir(home)):
            try:
                member = getattr(home, name)
            except (AttributeError, ImportError):  # announced, but not there
                continue
            if name.startswith("_") or inspect.isclass(member) or not callable(member):
                continue
            text = _without_giveaways(inspect.getdoc(member) or "")
            if hasattr(member, "__name__") and len(text) >= _SHORTEST:
                yield name, text


def _without_giveaways(docstring: str) -> str:
    """Leave out what names the module: examples, references and qualified names."""
    text = re.split(r"\n(?:Examples|References|See Also)\n-+", docstring)[0]
    return re.sub(r"\b(?:numpy|np|scipy|sklearn)\b(?:\.\w+)*", " ", text)


def split_of(found: Functions, seed: int) -> Split:
    """Return half of the functions for training and the other half held out, as unit vectors."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    order = np.random.default_rng(seed).permutation(len(found))
    train, held_out = found[order[: len(found) // 2]], found[order[len(found) // 2 :]]
    words = TfidfVectorizer(sublinear_tf=True, min_df=2, stop_words="english")
    shorten = TruncatedSVD(DIMENSIONS, random_state=seed)
    x = shorten.fit_transform(words.fit_transform(train.texts.tolist()))
    held_out_x = shorten.transform(words.transform(held_out.texts.tolist()))
    return Split(_unit(x), train.modules, _unit(held_out_x), held_out)


def compare(split: Split, strategy: str, margin: float, seed: int) -> Run:
    """Train on a split with one strategy, looking at the held-out functions after every epoch."""
    modules = split.held_out.modules
    curve = [map_at_r(split.held_out_x, modules)]

    def look(weights: Floats) -> None:
        curve.append(map_at_r(split.held_out_x @ weights, modules))

    weights = train(
        split.x, split.modules, STRATEGIES[strategy], margin=margin, seed=seed, look=look
    )
    vectors = _unit(split.held_out_x @ weights)
    return Run(strategy, margin, scores(vectors, modules, seed), curve, vectors)


def train(
    x: Floats,
    labels: Strings,
    strategy: dict[str, Any],
    *,
    margin: float,
    seed: int,
    epochs: int = EPOCHS,
    batch_size: int = 64,
    learning_rate: float = 0.003,
    look: Callable[[Floats], None] = lambda weights: None,
) -> Floats:
    """Return a linear map of the rows, trained on triplets that are mined anew each epoch."""
    weights: Floats = np.eye(x.shape[1])
    adam = Adam(learning_rate)
    rng = np.random.default_rng(seed)
    for epoch in range(epochs):
        triplets = tripletmine.mine(
            x @ weights, labels, metric="cosine", seed=1000 * seed + epoch, **strategy
        ).as_array()
        rng.shuffle(triplets)
        for start in range(0, len(triplets), batch_size):
            rows, batch = np.unique(triplets[start : start + batch_size], return_inverse=True)
            _, gradient = tripletmine.triplet_loss(
                x[rows] @ weights, batch.reshape(-1, 3), margin=margin, metric="cosine", grad=True
            )
            weights = adam.step(weights, x[rows].T @ gradient)
        look(weights)
    return weights


class Adam:
    """Steps against a gradient, each coordinate's over its usual size (Kingma and Ba, 2015)."""

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate = learning_rate
        self.steps = 0
        self.mean: Any = 0.0
        self.square: Any = 0.0

    def step(self, weights: Floats, gradient: Floats) -> Floats:
        """Return the weights after one more step."""
        self.steps += 1
        self.mean = 0.9 * self.mean + 0.1 * gradient
        self.square = 0.999 * self.square + 0.001 * gradient**2
        mean = self.mean / (1 - 0.9**self.steps)
        size = np.sqrt(self.square / (1 - 0.999**self.steps)) + 1e-8
        moved: Floats = weights - self.learning_rate * mean / size
        return moved


def scores(vectors: Floats, labels: Strings, seed: int) -> Scores:
    """Return how well these vectors find rows of the same label, and how well they cluster."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import normalized_mutual_info_score

    nearest, _ = tripletmine.nearest(vectors)
    clusters = KMeans(len(set(labels.tolist())), n_init=3, random_state=seed).fit_predict(
        _unit(vectors)
    )
    return Scores(
        recall_at_1=float((labels[nearest[:, 0]] == labels).mean()),
        map_at_r=map_at_r(vectors, labels),
        nmi=float(normalized_mutual_info_score(labels, clusters)),
    )


def map_at_r(vectors: Floats, labels: Strings) -> float:
    """Return the mean average precision at R, the number of other rows of the label.

    Musgrave, Belongie and Lim, "A Metric Learning Reality Check", 2020.
    """
    _, classes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    relevant = sizes[classes] - 1
    ranks = np.arange(1, relevant.max() + 1)
    nearest, _ = tripletmine.nearest(vectors, k=len(ranks))
    hits = (classes[nearest] == classes[:, None]) & (ranks <= relevant[:, None])
    precision = np.cumsum(hits, axis=1) / ranks
    own = relevant > 0
    return float(((precision * hits).sum(axis=1)[own] / relevant[own]).mean())


def _unit(vectors: Floats) -> Floats:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Floats = (vectors / np.where(norms == 0.0, 1.0, norms)).astype(np.float32)
    return unit


def _spread(every: Sequence[Scores]) -> Iterator[str]:
    """Yield each score's mean and standard deviation over seeds."""
    table = np.array([astuple(one) for one in every])
    for mean, deviation in zip(table.mean(axis=0), table.std(axis=0), strict=True):
        yield f"{mean:.3f}" + (f" ± {deviation:.3f}" if len(every) > 1 else "")


def _searches(split: Split, after: Floats) -> Iterator[tuple[str, str, str]]:
    """Yield the three queries that gained most, and the one that lost most, with what they find."""
    names, modules = split.held_out.names, split.held_out.modules
    found = [tripletmine.nearest(vectors, k=5)[0] for vectors in (split.held_out_x, after)]
    right = [(modules[nearest] == modules[:, None]).sum(axis=1) for nearest in found]
    order = np.argsort(right[0] - right[1], kind="stable")
    for query in (*order[:3], order[-1]):
        before, now = (nearest[query] for nearest in found)
        for rank in range(5):
            asked = str(names[query]) if rank == 0 else ""
            yield asked, str(names[before[rank]]), str(names[now[rank]])


def _draw(figure: Any, split: Split, after: Floats, runs: Sequence[Run]) -> None:
    """Draw learning curves for each margin, and maps before and after."""
    colours = dict(zip(STRATEGIES, ("tab:gray", "tab:red", "tab:blue"), strict=True))
    curves, maps = figure.subplots(2, 2, height_ratios=(1, 1.4))
    for axes, margin in zip(curves, MARGINS, strict=True):
        for name, colour in colours.items():
            own = np.array([r.curve for r in runs if (r.strategy, r.margin) == (name, margin)])
            mean, deviation = own.mean(axis=0), own.std(axis=0)
            epochs = np.arange(len(mean))
            axes.plot(epochs, mean, color=colour, label=f"{name} triplets")
            axes.fill_between(epochs, mean - deviation, mean + deviation, color=colour, alpha=0.2)
        axes.set(title=f"margin {margin}", xlabel="epoch", ylabel="MAP@R of held-out functions")
        axes.legend(loc="lower right")
    curves[1].sharey(curves[0])
    names = ("before", "after training on semi-hard triplets")
    for axes, vectors, name in zip(maps, (split.held_out_x, after), names, strict=True):
        _draw_map(axes, vectors, split.held_out.modules)
        axes.set(title=f"held-out functions, {name}", xticks=[], yticks=[])
    maps[1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, markerscale=2.5)


def _draw_map(axes: Any, vectors: Floats, modules: Strings) -> None:
    """Draw rows in two dimensions, the ten largest modules in colour."""
    from sklearn.manifold import TSNE

    flat = TSNE(metric="cosine", init="random", random_state=0).fit_transform(vectors)
    shown = [name for name, _ in Counter(modules.tolist()).most_common(10)]
    others = ~np.isin(modules, shown)
    axes.scatter(*flat[others].T, s=5, color="lightgray", label="other modules")
    for number, name in enumerate(shown):
        axes.scatter(*flat[modules == name].T, s=5, color=f"C{number}", label=name)
