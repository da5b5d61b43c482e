"""docs/coming-from.md, row by row: what peers select, and our calls beside it.

Live libraries where they are installed; of what cannot be installed the rule, written out in NumPy.
On rows of small integers equal distances are equal in every library, so ties and thresholds are
really hit; there the chosen distances are compared, since peers break ties as they please. On other
rows the indices are.
"""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest

import tripletmine
from tripletmine.reference import distance_matrix

pytestmark = pytest.mark.peers
PAGE = Path(__file__).parents[2] / "docs" / "coming-from.md"
STRATEGIES = ("easy", "hard", "semihard", "all")
PAIRS = [
    (positive, negative)
    for positive in STRATEGIES
    for negative in STRATEGIES
    if "semihard" not in (positive, negative) or "all" not in (positive, negative)
    if (positive, negative) != ("semihard", "semihard")
]
ROWS = set()


def row(name):
    """Register the row of the page that a test is about."""
    ROWS.add(name)
    return lambda test: test


def test_every_row_of_the_page_has_a_test():
    rows = re.findall(r"^\| (.*?) \| .* \| .* \|$", PAGE.read_text(), flags=re.MULTILINE)
    names = [found.replace("`", "") for found in rows if found != "there"]
    assert len(names) == len(set(names)) > 15
    assert set(names) == ROWS


def integers(seed, n=57, classes=7, d=3):
    """Rows whose distances are exact everywhere, with many ties, and labels (some alone)."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-3, 4, size=(n, d)).astype(np.float64)
    labels = rng.integers(0, classes, size=n)
    labels[:2] = classes, classes + 1  # without positives
    return x, labels


def reals(seed, n=57, classes=7, d=5):
    """Rows without ties."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.integers(0, classes, size=n)


def chosen(distances, triplets):
    """(anchor, d_ap, d_an) of every triplet, in order."""
    a, p, n = map(np.asarray, triplets)
    return sorted(zip(a.tolist(), distances[a, p].tolist(), distances[a, n].tolist(), strict=True))


def indices(triplets):
    return sorted(zip(*(np.asarray(column).tolist() for column in triplets), strict=True))


# ------------------------------------------------------------------------ pytorch-metric-learning


class Peer:
    """The miners of pytorch-metric-learning on NumPy arrays."""

    def __init__(self):
        reason = "compares with pytorch-metric-learning"
        self.torch = pytest.importorskip("torch", reason=reason)
        self.miners = pytest.importorskip("pytorch_metric_learning.miners", reason=reason)
        self.distances = pytest.importorskip("pytorch_metric_learning.distances", reason=reason)
        self.utils = pytest.importorskip(
            "pytorch_metric_learning.utils.loss_and_miner_utils", reason=reason
        )

    def distance(self, metric):
        return {
            "euclidean": lambda: self.distances.LpDistance(normalize_embeddings=False),
            "sqeuclidean": lambda: self.distances.LpDistance(normalize_embeddings=False, power=2),
            "dot": lambda: self.distances.DotProductSimilarity(normalize_embeddings=False),
            "cosine": lambda: self.distances.CosineSimilarity(),
        }[metric]()

    def mine(self, miner, x, labels, *references):
        tensors = [self.torch.from_numpy(np.array(array)) for array in (x, labels, *references)]
        triplets = self.utils.convert_to_triplets(miner(*tensors), tensors[1])
        return [column.numpy() for column in triplets]


@pytest.fixture
def peer():
    return Peer()


@row("BatchHardMiner()")
def test_batch_hard(peer):
    for seed in range(5):
        x, labels = reals(seed)
        options = {"pos_strategy": "hard", "neg_strategy": "hard"}
        theirs = indices(peer.mine(peer.miners.BatchHardMiner(), x, labels))
        # By default the Euclidean distance of rows of norm 1: the order of the cosine.
        assert indices(tripletmine.mine(x, labels, **options)) == theirs
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        assert indices(tripletmine.mine(unit, labels, metric="euclidean", **options)) == theirs


@row("BatchEasyHardMiner(pos, neg)")
@row("miner(x, y, ref_emb, ref_labels)")
@pytest.mark.parametrize("with_references", [False, True])
@pytest.mark.parametrize(("positive", "negative"), PAIRS)
def test_batch_easy_hard(peer, positive, negative, with_references):
    options = {"pos_strategy": positive, "neg_strategy": negative}
    for seed in range(5):
        for metric in ("euclidean", "dot"):
            miner = peer.miners.BatchEasyHardMiner(
                positive, negative, distance=peer.distance(metric)
            )
            x, labels = integers(seed)
            references = integers(seed + 100, n=43, classes=9) if with_references else ()
            ours = tripletmine.mine(x, labels, *references, metric=metric, **options)
            theirs = peer.mine(miner, x, labels, *references)
            distances = distance_matrix(x, references[0] if references else x, metric)
            assert chosen(distances, ours) == chosen(distances, theirs)
            assert len(ours) > 0
        for metric in ("euclidean", "sqeuclidean", "cosine"):
            miner = peer.miners.BatchEasyHardMiner(
                positive, negative, distance=peer.distance(metric)
            )
            x, labels = reals(seed)
            references = reals(seed + 100, n=43, classes=9) if with_references else ()
            ours = tripletmine.mine(x, labels, *references, metric=metric, **options)
            assert indices(ours) == indices(peer.mine(miner, x, labels, *references))


def test_the_defaults_are_its_defaults(peer):
    x, labels = reals(0)
    theirs = peer.mine(peer.miners.BatchEasyHardMiner(), x, labels)
    assert indices(tripletmine.mine(x, labels)) == indices(theirs)


@pytest.mark.parametrize(("positive", "negative"), [("all", "semihard"), ("semihard", "all")])
def test_what_it_refuses(peer, positive, negative):
    with pytest.raises(ValueError, match="semihard"):
        peer.miners.BatchEasyHardMiner(positive, negative)


@row("BatchEasyHardMiner(…, allowed_pos_range, allowed_neg_range)")
@pytest.mark.parametrize("metric", ["euclidean", "dot"])
@pytest.mark.parametrize(("positive", "negative"), PAIRS)
def test_allowed_ranges(peer, positive, negative, metric):
    found = 0
    for seed in range(12):
        x, labels = integers(seed)
        distances = distance_matrix(x, x, metric)
        rng = np.random.default_rng(seed)
        # Ends that are hit: square numbers, of which PyTorch's square root is exact.
        ends = distances[distances == np.round(distances)]
        ranges = {}
        for role in ("pos", "neg"):
            low, high = sorted(rng.choice(ends, 2).tolist())
            ranges[role] = (low, high) if rng.random() < 0.8 else None
        theirs = [
            (-found[1], -found[0]) if found and metric == "dot" else found
            for found in ranges.values()
        ]
        miner = peer.miners.BatchEasyHardMiner(
            positive, negative, *theirs, distance=peer.distance(metric)
        )
        ours = tripletmine.mine(
            x, labels, pos_strategy=positive, neg_strategy=negative, metric=metric,
            allowed_pos_range=None if positive == "all" else ranges["pos"],
            allowed_neg_range=None if negative == "all" else ranges["neg"],
        )  # fmt: skip
        assert chosen(distances, ours) == chosen(distances, peer.mine(miner, x, labels))
        found += len(ours)
    assert found > 0


@row("TripletMarginMiner(margin, type_of_triplets)")
@pytest.mark.parametrize("kind", ["all", "hard", "semihard", "easy"])
@pytest.mark.parametrize("metric", ["euclidean", "dot", "cosine"])
def test_triplet_margin(peer, metric, kind):
    data, margins = (reals, [0.1, 0.4]) if metric == "cosine" else (integers, [0.0, 1.0, 2.5])
    for seed in range(3):
        for margin in margins:  # integers: equality is hit
            miner = peer.miners.TripletMarginMiner(
                margin=margin, type_of_triplets=kind, distance=peer.distance(metric)
            )
            x, labels = data(seed)
            for references in ((), data(seed + 100, n=31)):
                ours = tripletmine.mine(
                    x, labels, *references, pos_strategy="all", neg_strategy="all", metric=metric,
                    margin=margin, type_of_triplets=kind,
                )  # fmt: skip
                theirs = peer.mine(miner, x, labels, *references)
                assert ours.as_array().tolist() == np.stack(theirs, axis=1).tolist()
                assert (len(ours) > 0) == (kind != "semihard" or margin > 0)


# ------------------------------------------------ semi-hard losses: Addons, sentence-transformers


def semihard_of_every_pair(distances, labels):
    """{(a, p): d_an}: the smallest distance beyond d_ap, or else the largest of a negative."""
    found = {}
    for a, p in zip(*np.nonzero(labels[:, None] == labels), strict=True):
        if a != p:
            negatives = distances[a, labels != labels[a]]
            beyond = negatives[negatives > distances[a, p]]
            found[int(a), int(p)] = float(beyond.min() if len(beyond) else negatives.max())
    return found


@row("triplet_semihard_loss")
@row("BatchSemiHardTripletLoss")
@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean", "cosine"])
def test_semihard_of_every_pair(metric):
    for seed in range(10):
        x, labels = integers(seed)
        ours = tripletmine.mine(
            x, labels, pos_strategy="all", neg_strategy="semihard", fallback="easy", metric=metric
        )
        pairs = zip(ours.anchors.tolist(), ours.positives.tolist(), strict=True)
        rule = semihard_of_every_pair(distance_matrix(x, x, metric), labels)
        assert dict(zip(pairs, ours.d_an.tolist(), strict=True)) == rule
        assert ours.fell_back.any()


def sentence_transformers_loss(name, margin, x, labels):
    reason = "compares with sentence-transformers"
    torch = pytest.importorskip("torch", reason=reason)
    module = pytest.importorskip("sentence_transformers.losses", reason=reason)
    loss = getattr(module, name)(model=None, margin=margin)
    rows = torch.from_numpy(x)
    return float(loss.compute_loss_from_embeddings([rows], torch.from_numpy(labels)))


def losses(triplets, margin):
    return np.maximum(0.0, triplets.d_ap - triplets.d_an + margin)


def test_sentence_transformers_semihard_loss():
    for seed in range(5):
        x, labels = integers(seed)
        ours = tripletmine.mine(
            x, labels, pos_strategy="all", neg_strategy="semihard", fallback="easy",
            metric="euclidean",
        )  # fmt: skip
        theirs = sentence_transformers_loss("BatchSemiHardTripletLoss", 1.5, x, labels)
        np.testing.assert_allclose(losses(ours, 1.5).mean(), theirs, rtol=1e-9)


@row("BatchHardTripletLoss, BatchHardSoftMarginTripletLoss")
def test_sentence_transformers_hard_loss():
    for seed in range(5):
        x, labels = reals(seed)
        ours = tripletmine.mine(
            x, labels, pos_strategy="hard", neg_strategy="hard", metric="euclidean"
        )
        assert len(ours) == len(x)
        theirs = sentence_transformers_loss("BatchHardTripletLoss", 1.5, x, labels)
        np.testing.assert_allclose(losses(ours, 1.5).mean(), theirs, rtol=1e-9)


@row("BatchAllTripletLoss")
def test_sentence_transformers_all_loss():
    for seed in range(5):
        x, labels = integers(seed)
        blocks = tripletmine.mine_blocks(
            x, labels, pos_strategy="all", neg_strategy="all", metric="euclidean", margin=1.0,
            block_triplets=1000,
        )  # fmt: skip
        ours = np.concatenate([losses(block, 1.0) for block in blocks])
        assert (ours == 0.0).any()  # at the margin
        theirs = sentence_transformers_loss("BatchAllTripletLoss", 1.0, x, labels)
        np.testing.assert_allclose(ours[ours > 0].mean(), theirs, rtol=1e-9)


# ------------------------------------------------------------------ hard: Addons, open-reid, OML


def hardest(distances, labels):
    """(anchor, d_ap, d_an) of the farthest positive and the nearest negative."""
    same = labels[:, None] == labels
    others = same & ~np.eye(len(labels), dtype=bool)
    return [
        (a, float(distances[a, others[a]].max()), float(distances[a, ~same[a]].min()))
        for a in range(len(labels))
        if others[a].any()
    ]


@row("triplet_hard_loss")
@row("open-reid TripletLoss")
@row("Open Metric Learning HardTripletsMiner")
@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean", "cosine"])
def test_hardest(metric):
    for seed in range(10):
        x, labels = integers(seed)
        distances = distance_matrix(x, x, metric)
        ours = tripletmine.mine(x, labels, pos_strategy="hard", neg_strategy="hard", metric=metric)
        assert chosen(distances, ours) == hardest(distances, labels)


@row("Open Metric Learning AllTripletsMiner")
def test_all_triplets():
    x, labels = integers(0, n=40)
    blocks = tripletmine.mine_blocks(
        x, labels, pos_strategy="all", neg_strategy="all", block_triplets=777
    )
    ours = np.concatenate([block.as_array() for block in blocks]).tolist()
    rule = [
        [a, p, n]
        for a in range(40)
        for p in np.flatnonzero(labels == labels[a]).tolist()
        for n in np.flatnonzero(labels != labels[a]).tolist()
        if a != p
    ]
    assert ours == rule


# ------------------------------------------------------------------------- TensorFlow Similarity


def similarity_rule(distances, labels, positive, negative):
    """(anchor, d_ap, d_an) that TripletLoss takes for every row with a positive."""
    found = []
    for a in range(len(labels)):
        positives = distances[a, (labels == labels[a]) & (np.arange(len(labels)) != a)]
        if not len(positives):
            continue
        negatives = distances[a, labels != labels[a]]
        d_ap = positives.max() if positive == "hard" else positives.min()
        if negative == "semi-hard":  # beyond the farthest positive, whichever was chosen
            beyond = negatives[negatives > positives.max()]
            d_an = beyond.min() if len(beyond) else negatives.max()
        else:
            d_an = negatives.min() if negative == "hard" else negatives.max()
        found.append((a, float(d_ap), float(d_an)))
    return found


@row('TripletLoss(positive_mining_strategy="hard", negative_mining_strategy="semi-hard")')
@row("TripletLoss(positive_mining_strategy=pos, negative_mining_strategy=neg), no semi-hard")
@pytest.mark.parametrize(
    ("positive", "negative"),
    [("hard", "semi-hard"), ("hard", "hard"), ("hard", "easy"), ("easy", "hard"), ("easy", "easy")],
)
def test_tensorflow_similarity(positive, negative):
    for seed in range(10):
        x, labels = integers(seed)
        distances = distance_matrix(x, x, "cosine")
        ours = tripletmine.mine(
            x, labels, pos_strategy=positive, neg_strategy=negative.replace("-", ""),
            fallback="easy",
        )  # fmt: skip
        assert chosen(distances, ours) == similarity_rule(distances, labels, positive, negative)


# ------------------------------------------------------------------------------- FaceNet's script


def facenet_candidates(squares, labels, alpha, semihard):
    """{(a, p): negatives that the script draws from}, a < p."""
    found = {}
    for a in range(len(labels)):
        for p in range(a + 1, len(labels)):
            if labels[a] == labels[p]:
                t = squares[a] - squares[a, p]
                wanted = (labels != labels[a]) & (t < alpha)
                if semihard:
                    wanted &= t > 0
                if wanted.any():
                    found[a, p] = np.flatnonzero(wanted).tolist()
    return found


@row('FaceNet\'s select_triplets, "FaceNet selection"')
@row('FaceNet\'s select_triplets, "VGG Face selection"')
@pytest.mark.parametrize("semihard", [True, False])
def test_facenet(semihard):
    alpha = 2.5  # between two possible differences of integers: < and <= agree
    for seed in range(5):
        x, labels = integers(seed)
        squares = distance_matrix(x, x, "sqeuclidean")
        rule = facenet_candidates(squares, labels, alpha, semihard)
        every = tripletmine.mine(
            x, labels, pos_strategy="all", neg_strategy="all", metric="sqeuclidean", margin=alpha,
            type_of_triplets="semihard" if semihard else "all",
        )  # fmt: skip
        ours = {}
        for a, p, n in every.as_array().tolist():
            if a < p:
                ours.setdefault((a, p), []).append(n)
        assert ours == rule
        if semihard:
            nearest = tripletmine.mine(
                x, labels, pos_strategy="all", neg_strategy="semihard", metric="sqeuclidean",
                margin=alpha, type_of_triplets="semihard",
            )  # fmt: skip
            first = {(a, p): n for a, p, n in nearest.as_array().tolist() if a < p}
            assert first.keys() == rule.keys()
            for (a, p), n in first.items():
                assert n == min(rule[a, p], key=lambda j, a=a: (squares[a, j], j))


# --------------------------------------------------------------------------- nearest neighbours


@row("faiss IndexFlatL2.search(x, k)")
@row("faiss IndexFlatIP.search(x, k)")
@pytest.mark.parametrize(
    ("index", "metric"), [("IndexFlatL2", "sqeuclidean"), ("IndexFlatIP", "dot")]
)
def test_faiss(index, metric):
    faiss = pytest.importorskip("faiss", reason="compares with faiss")
    x, y = (integers(seed, n)[0].astype(np.float32) for seed, n in ((0, 60), (1, 90)))
    found = (faiss.IndexFlatIP if metric == "dot" else faiss.IndexFlatL2)(y.shape[1])
    found.add(y)
    theirs, _ = found.search(x, 10)
    _, ours = tripletmine.nearest(x, y, 10, metric=metric)
    np.testing.assert_array_equal(ours, -theirs if metric == "dot" else theirs)


@row("scikit-learn NearestNeighbors(metric=…).kneighbors()")
@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean", "cosine"])
def test_scikit_learn(metric):
    neighbors = pytest.importorskip("sklearn.neighbors", reason="compares with scikit-learn")
    x, _ = reals(0)
    found = neighbors.NearestNeighbors(n_neighbors=8, metric=metric, algorithm="brute").fit(x)
    distances, order = found.kneighbors()
    ours = tripletmine.nearest(x, k=8, metric=metric)
    np.testing.assert_array_equal(ours[0], order)
    np.testing.assert_allclose(ours[1], distances, rtol=1e-9)


# -------------------------------------------------------------------------- negatives for queries


def retrieval(seed, queries=23, documents=80, d=4):
    """Queries, documents, the documents known to be relevant to each (one to three), the scores.

    Rows of small integers: many scores are equal.
    """
    rng = np.random.default_rng(seed)
    q, y = (rng.integers(-3, 4, size=(n, d)).astype(np.float64) for n in (queries, documents))
    positives = [rng.permutation(documents)[: rng.integers(1, 4)].tolist() for _ in range(queries)]
    return q, y, positives, -distance_matrix(q, y, "dot")


class Texts:
    """A model of sentence-transformers whose texts are the numbers of rows."""

    device = "cpu"

    def __init__(self, queries, documents):
        self.queries, self.documents = queries, documents

    def encode_query(self, texts, **_):
        return self.queries[[int(text.removeprefix("query ")) for text in texts]]

    def encode_document(self, texts, **_):
        return self.documents[[int(text.removeprefix("document ")) for text in texts]]

    def similarity(self, a, b):
        torch = pytest.importorskip("torch")
        return torch.as_tensor(a) @ torch.as_tensor(b).T

    def similarity_pairwise(self, a, b):
        torch = pytest.importorskip("torch")
        return (torch.as_tensor(a) * torch.as_tensor(b)).sum(dim=1)


@pytest.fixture(scope="module")
def mine_hard_negatives():
    """The function of sentence-transformers."""
    reason = "compares with sentence-transformers"
    datasets = pytest.importorskip("datasets", reason=reason)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("sentence_transformers", reason=reason)
        from sentence_transformers import util

    def mine(queries, documents, positives, **options):
        """Return {(query, positive): (negatives, from the best on)}."""
        pairs = [(i, j) for i, listed in enumerate(positives) for j in listed]
        mined = util.mine_hard_negatives(
            datasets.Dataset.from_dict(
                {
                    "query": [f"query {i}" for i, _ in pairs],
                    "answer": [f"document {j}" for _, j in pairs],
                }
            ),
            Texts(queries, documents),
            corpus=[f"document {j}" for j in range(len(documents))],
            output_scores=True,
            verbose=False,
            **options,
        )
        found = {}
        columns = (mined[name] for name in ("query", "answer", "negative"))
        for i, j, n in zip(*columns, strict=True):
            pair = int(i.removeprefix("query ")), int(j.removeprefix("document "))
            found.setdefault(pair, []).append(int(n.removeprefix("document ")))
        return found

    return mine


@row("sentence-transformers mine_hard_negatives")
@pytest.mark.parametrize(
    "options",
    [
        {"num_negatives": 5, "range_min": 3},
        {"max_score": 6.0, "min_score": -2.0},
        {"absolute_margin": 2.0, "range_min": 2, "num_negatives": 6},
        {"relative_margin": 0.5, "max_score": 9.0, "num_negatives": 40},
    ],
)
def test_sentence_transformers_hard_negatives(mine_hard_negatives, options):
    for seed in range(5):
        q, y, positives, scores = retrieval(seed)
        # It looks no further than range_max: here at every document.
        theirs = mine_hard_negatives(q, y, positives, range_max=len(y), **options)
        ours = tripletmine.mine_negatives(q, y, positives, metric="dot", **options)
        found = {}
        for i, j, n in ours.to_triplets()[0].tolist():
            found.setdefault((i, j), []).append(n)
        assert found.keys() == theirs.keys()
        for (i, j), rows in found.items():
            assert scores[i, rows].tolist() == scores[i, theirs[i, j]].tolist()
        assert ours.report.negatives > 0


def test_sentence_transformers_stops_where_we_go_on(mine_hard_negatives):
    q, y, positives, _ = retrieval(0, documents=400)
    options = {"max_score": -4.0}
    ours = tripletmine.mine_negatives(q, y, positives, metric="dot", **options)
    theirs = mine_hard_negatives(q, y, positives, **options)
    assert ours.report.short_queries == 0
    assert sum(map(len, theirs.values())) < len(ours.to_triplets()[0])


def flag_embedding_window(order, positives, first, last):
    """Return what the script draws from: ranks of all documents, then without the positives."""
    return [int(j) for j in order[first:last] if j not in positives]


@row('FlagEmbedding range_for_sampling="10-210"')
@pytest.mark.parametrize(("first", "last"), [(10, 210), (2, 40), (0, 7)])
def test_flag_embedding(first, last):
    seen = 0
    for seed in range(5):
        q, y, positives, scores = retrieval(seed, documents=300)
        order = np.argsort(-scores, axis=1, kind="stable")
        options = {"metric": "dot", "rank_among": "all", "range_max": last}
        whole = {**options, "range_min": first, "num_negatives": last - first}
        window = tripletmine.mine_negatives(q, y, positives, **whole).indices
        drawn = tripletmine.mine_negatives(
            q, y, positives, **whole | {"num_negatives": 5}, sampling="random", seed=seed
        ).indices
        # From the first rank on: where our window would have to begin for theirs.
        ranked = tripletmine.mine_negatives(q, y, positives, **options, num_negatives=last).indices
        for i, listed in enumerate(positives):
            theirs = flag_embedding_window(order[i], listed, first, last)
            before, within = (int(np.isin(order[i, :end], listed).sum()) for end in (first, last))
            # Each positive takes a rank there, and none here.
            assert ranked[i, first - before : last - within].tolist() == theirs
            if within == 0:
                assert window[i].tolist() == theirs
                assert set(drawn[i].tolist()) < set(theirs)
                seen += 1
            assert len(set(drawn[i].tolist())) == 5
    assert seen > 10


def nv_retriever(scores, positive, variant, value, count):
    """Return the best documents that the variant of TopK does not take for false negatives."""
    most = {
        "PercPos": scores[positive] * value,
        "MarginPos": scores[positive] - value,
        "Abs": value,
    }[variant]
    order = np.argsort(-scores, kind="stable")
    return [int(j) for j in order if j != positive and scores[j] <= most][:count]


@row("NV-Retriever TopK-PercPos, TopK-MarginPos, TopK-Abs")
@pytest.mark.parametrize(
    ("variant", "value", "option"),
    [
        ("PercPos", 0.95, {"relative_margin": 0.05}),
        ("MarginPos", 0.05, {"absolute_margin": 0.05}),
        ("Abs", 0.7, {"max_score": 0.7}),
    ],
)
def test_nv_retriever(variant, value, option):
    fewer = 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        topics = rng.normal(size=(12, 6))
        q = topics + 0.2 * rng.normal(size=topics.shape)
        y = np.concatenate([topics + 0.4 * rng.normal(size=topics.shape) for _ in range(10)])
        scores = 1.0 - distance_matrix(q, y, "cosine")
        positives = np.arange(12)
        assert (scores[positives, positives] > 0.0).all()
        ours = tripletmine.mine_negatives(q, y, positives, num_negatives=4, **option).indices
        for i in range(12):
            theirs = nv_retriever(scores[i], i, variant, value, 4)
            assert ours[i].tolist() == theirs
            fewer += theirs != nv_retriever(scores[i], i, "Abs", np.inf, 4)
    assert fewer > 10


def test_a_share_of_a_score_below_zero():
    """95 % of -1 is more than -1: there even a document nearer than the positive would pass."""
    scores = np.array([-1.0, -0.97, -1.02, -1.06])
    assert nv_retriever(scores, 0, "PercPos", 0.95, 3) == [1, 2, 3]
    ours = tripletmine.mine_negatives(
        [[1.0]], scores[:, None], [0], relative_margin=0.05, metric="dot"
    )
    assert ours.indices.tolist() == [[3, -1, -1]]
