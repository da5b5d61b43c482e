"""``mine_hard_negatives``: the same datasets as from sentence-transformers, and what differs."""

import functools
import hashlib
import sys
import types
import warnings

import numpy as np
import pytest

import tripletmine
from tripletmine.sentence_transformers import mine_hard_negatives

datasets = pytest.importorskip("datasets", reason="the adapter returns a datasets.Dataset")

FORMATS = tripletmine._negatives.OUTPUT_FORMATS
DIM = 12


@pytest.fixture(scope="module")
def original():
    """The function of sentence-transformers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("sentence_transformers", reason="nothing to compare with")
        from sentence_transformers import util
    return util.mine_hard_negatives


@functools.cache
def vector(text):
    """A direction for each text: near that of others with the same first word."""
    digests = (hashlib.sha256(word.encode()).digest() for word in (text.split()[0], text))
    words = [int.from_bytes(digest[:8], "big") for digest in digests]
    topic, own = (np.random.default_rng(word).normal(size=DIM) for word in words)
    return topic + 0.7 * own


class Model:
    """Embeds deterministically, with the part of a SentenceTransformer's interface that is used."""

    device = "cpu"
    similarity_fn_name = "cosine"
    model_card_data = types.SimpleNamespace(base_model="fake")

    def __init__(self):
        self.encoded = []

    def encode(self, texts, *, normalize_embeddings, convert_to_numpy, prompt=None,
               prompt_name=None, pool=None, batch_size=32, show_progress_bar=None):  # fmt: skip
        assert normalize_embeddings
        assert convert_to_numpy
        self.encoded.append(len(texts))
        prefix = prompt or {None: "", "retrieve": "find: "}[prompt_name]
        rows = np.array([vector(prefix + text) for text in texts])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    encode_query = encode_document = encode

    def similarity(self, a, b):
        import torch

        return torch.as_tensor(a) @ torch.as_tensor(b).T

    def similarity_pairwise(self, a, b):
        import torch

        return (torch.as_tensor(a) * torch.as_tensor(b)).sum(dim=1)


class CrossEncoder:
    """Scores pairs of texts deterministically."""

    def predict(self, pairs, *, convert_to_tensor=False, convert_to_numpy=True, pool=None,
                batch_size=32, show_progress_bar=None):  # fmt: skip
        scores = [vector(query) @ vector(document) / DIM for query, document in pairs]
        scores = np.array(scores, dtype=np.float32)
        if not convert_to_tensor:
            return scores
        import torch

        return torch.from_numpy(scores)


def pairs(several=True):
    """Sixty pairs on five topics: queries with one positive or more, positives with one query or
    more, and one pair twice."""
    topics = ["wine", "tax", "rain", "rust", "goats"]
    rows = [(f"{topics[i % 5]} question {i}", f"{topics[i % 5]} answer {i}") for i in range(60)]
    if several:
        rows += [(rows[i][0], f"{topics[i % 5]} also {i}") for i in range(0, 60, 7)]
        rows += [(f"{topics[i % 5]} again {i}", rows[i][1]) for i in range(0, 60, 11)] + [rows[3]]
    queries, answers = zip(*rows, strict=True)
    return datasets.Dataset.from_dict({"q": list(queries), "a": list(answers)})


CORPUS = [f"{topic} note {i}" for topic in ("wine", "tax", "rain", "zinc") for i in range(100)]
CALLS = {
    "defaults": {},
    "corpus": {"corpus": CORPUS, "num_negatives": 5},
    "window": {"range_min": 3, "range_max": 20, "num_negatives": 4},
    "skipped": {"range_min": 10, "corpus": CORPUS},
    "relative": {"relative_margin": 0.05, "corpus": CORPUS, "range_max": 400},
    "absolute": {"absolute_margin": 0.1, "range_min": 2, "range_max": 30},
    "scores": {"max_score": 0.5, "min_score": 0.1, "range_max": 25, "num_negatives": 10},
    "everything": {
        "max_score": 0.6, "min_score": -0.2, "absolute_margin": 0.01, "relative_margin": 0.02,
        "range_min": 1, "range_max": 60, "num_negatives": 6, "corpus": CORPUS,
    },
    "short": {"relative_margin": 0.3, "num_negatives": 8, "range_max": 14},
    "more than there are": {"num_negatives": 80, "range_max": 90},
    "whole window": {"range_min": 4, "range_max": 9, "num_negatives": 5,
                     "sampling_strategy": "random"},
    "prompts": {"query_prompt_name": "retrieve", "corpus_prompt": "passage: "},
    "columns": {"anchor_column_name": "a", "positive_column_name": "q"},
    "rescored": {"cross_encoder": CrossEncoder(), "relative_margin": 0.1, "corpus": CORPUS},
    "rescored window": {"cross_encoder": CrossEncoder(), "min_score": 0.2, "range_min": 2},
    "not rescored": {"cross_encoder": CrossEncoder()},
    "positives": {"include_positives": True, "num_negatives": 6},
    "old names": {"as_triplets": False, "margin": 0.05, "range_max": 60},
}  # fmt: skip


def assert_equal(ours, theirs):
    assert ours.column_names == theirs.column_names
    assert len(ours) == len(theirs)
    for name in ours.column_names:
        a, b = ours[name][:], theirs[name][:]
        if name in ("score", "scores"):
            a, b = (np.concatenate([[], *map(np.ravel, rows)]) for rows in (a, b))
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)
        else:
            assert a == b, name


@pytest.mark.peers
@pytest.mark.parametrize("output_scores", [False, True], ids=["labels", "scores"])
@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("case", CALLS)
def test_equals_the_original(original, case, output_format, output_scores):
    options = {"output_format": output_format, "output_scores": output_scores, "verbose": False}
    dataset = pairs()
    theirs = original(dataset, Model(), **CALLS[case], **options)
    ours = mine_hard_negatives(dataset, Model(), **CALLS[case], **options)
    assert_equal(ours, theirs)
    assert len(ours) > 10 or output_format == "n-tuple"


@pytest.mark.peers
def test_equals_the_original_with_a_model_of_its_own(original):
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import BoW, Dense

    dataset = pairs()
    vocabulary = sorted(
        {word for text in dataset["q"][:] + dataset["a"][:] for word in text.split()}
    )
    torch.manual_seed(0)
    model = SentenceTransformer(modules=[BoW(vocabulary), Dense(len(vocabulary), 24)], device="cpu")
    options = {"relative_margin": 0.01, "range_max": 40, "verbose": False}
    assert_equal(
        mine_hard_negatives(dataset, model, **options), original(dataset, model, **options)
    )


def embeddings(texts):
    return np.array([vector(text) for text in texts])


@pytest.mark.parametrize("corpus", [None, CORPUS])
@pytest.mark.parametrize("output_format", FORMATS)
def test_embeddings_instead_of_a_model(corpus, output_format):
    dataset = pairs()
    options = {"corpus": corpus, "output_format": output_format, "verbose": False}
    given = {
        "query_embeddings": embeddings(dataset["q"]),
        "positive_embeddings": embeddings(dataset["a"]),
    }
    if corpus:
        given["corpus_embeddings"] = embeddings(corpus)
    ours = mine_hard_negatives(dataset, **given, **options)
    assert_equal(ours, mine_hard_negatives(dataset, Model(), **options))


def test_bfloat16_embeddings():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    dataset = pairs(several=False)
    narrow = {
        "query_embeddings": embeddings(dataset["q"]).astype(ml_dtypes.bfloat16),
        "positive_embeddings": embeddings(dataset["a"]).astype(ml_dtypes.bfloat16),
    }
    wide = {name: rows.astype(np.float64) for name, rows in narrow.items()}
    results = [mine_hard_negatives(dataset, verbose=False, **rows) for rows in (narrow, wide)]
    assert_equal(*results)


@pytest.mark.peers
def test_every_text_is_looked_at_without_range_max(original):
    """The nearest 50 texts of every query are refused: the original finds nothing beyond them."""
    dataset = pairs(several=False)
    corpus = [f"{topic} near {i}" for topic in ("wine", "tax", "rain", "rust", "goats")
              for i in range(60)]  # fmt: skip
    options = {"corpus": corpus, "max_score": 0.0, "output_scores": True, "verbose": False}
    ours = mine_hard_negatives(dataset, Model(), **options)
    assert len(ours) == 3 * 60
    assert len(original(dataset, Model(), **options)) < 3 * 60
    assert all(negative <= 0.0 for _, negative in ours["scores"])
    whole = original(dataset, Model(), **options, range_max=500)
    assert_equal(ours, whole)


def test_random_negatives_are_seeded():
    dataset = pairs(several=False)
    options = {"sampling_strategy": "random", "range_min": 2, "range_max": 12, "verbose": False}
    options |= {"max_score": 0.9, "output_format": "labeled-list"}
    mined = [mine_hard_negatives(dataset, Model(), seed=seed, **options) for seed in (1, 1, 2)]
    assert mined[0]["a"][:] == mined[1]["a"][:] != mined[2]["a"][:]
    options |= {"sampling_strategy": "top", "num_negatives": 10}
    window = mine_hard_negatives(dataset, Model(), **options)["a"]
    for row, whole in zip(mined[0]["a"], window, strict=True):
        assert len(row) == 4
        assert [text for text in whole if text in row] == row  # in order of rank


@pytest.mark.peers
def test_kept_embeddings_are_shared_with_the_original(original, tmp_path):
    dataset, model = pairs(), Model()
    options = {"cache_folder": str(tmp_path / "kept"), "verbose": False, "query_prompt": "find: "}
    first = mine_hard_negatives(dataset, model, **options)
    assert len(model.encoded) == 2
    assert_equal(mine_hard_negatives(dataset, model, **options), first)
    assert_equal(original(dataset, model, **options), first)
    assert len(model.encoded) == 2
    mine_hard_negatives(dataset, model, **options | {"query_prompt": "seek: "})
    assert len(model.encoded) == 3


def test_a_pool_of_processes_is_started_where_it_has_work_and_stopped(tmp_path):
    calls = []

    class Pooled(Model):
        def start_multi_process_pool(self, target_devices):
            calls.append(target_devices)
            return "pool"

        def stop_multi_process_pool(self, pool):
            calls.append(pool)

        def encode_query(self, texts, *, pool, **options):
            assert pool == "pool"
            return self.encode(texts, **options)

    dataset = pairs(several=False)
    mined = mine_hard_negatives(dataset, Pooled(), use_multi_process=["cpu"] * 2, verbose=False)
    assert calls == [["cpu", "cpu"], "pool"]
    assert_equal(mined, mine_hard_negatives(dataset, Model(), verbose=False))

    options = {"cache_folder": str(tmp_path), "use_multi_process": True, "verbose": False}
    mine_hard_negatives(dataset, Pooled(), **options)
    calls.clear()
    assert_equal(mine_hard_negatives(dataset, Pooled(), **options), mined)
    assert calls == []  # nothing is left to embed


def test_an_old_output_format():
    old = {"output_format": "n-tuple-scores", "verbose": False}
    new = {"output_format": "n-tuple", "verbose": False}
    for options in ({"output_scores": True}, {"include_positives": True}):
        assert_equal(mine_hard_negatives(pairs(), Model(), **options | old),
                     mine_hard_negatives(pairs(), Model(), **options | new))  # fmt: skip


def test_statistics(capsys):
    options = {"relative_margin": 0.4, "num_negatives": 50}
    mine_hard_negatives(pairs(), Model(), **options)
    out = capsys.readouterr().out
    assert "relative_margin=0.4 refused" in out
    assert "fewer negatives than asked for" in out
    assert out.splitlines()[1].split() == ["positive", "negative", "difference"]
    mine_hard_negatives(pairs(), Model(), max_score=-1.0, range_max=9)
    assert "count" in capsys.readouterr().out
    mine_hard_negatives(pairs(), Model(), verbose=False)
    assert capsys.readouterr().out == ""


WRONG = {
    "no model": ({}, r"query_embeddings: found None, expected embeddings, or a model"),
    "rows": ({"query_embeddings": np.ones((66, 2))}, r"query_embeddings: found 66 rows, exp.* 76"),
    "column": ({"anchor_column_name": "x"}, r"anchor_column_name: found 'x', expected .*'q', 'a'"),
    "format": ({"output_format": "pairs"}, r"output_format: found 'pairs'"),
    "sampling": ({"sampling_strategy": "best"}, r"sampling_strategy: found 'best'"),
    "window": ({"range_max": 2}, r"num_negatives: found 3, expected at most 2"),
    "seed": ({"seed": -1}, r"seed: found -1, expected"),
    "both": (
        {"model": Model(), "positive_embeddings": np.ones((76, 2))},
        r"positive_embeddings: found it beside a model, expected one or the other",
    ),
    "no corpus": (
        {"corpus_embeddings": np.ones((3, 2))},
        r"corpus_embeddings: found it without corpus, expected both or neither",
    ),
    "margin": ({"relative_margin": float("nan")}, r"relative_margin: found NaN"),
}


@pytest.mark.parametrize("case", WRONG)
def test_refuses(case):
    options, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        mine_hard_negatives(pairs(), **options)


def test_refuses_datasets_and_models():
    with pytest.raises(ValueError, match="dataset: found no rows"):
        mine_hard_negatives(pairs().select([]), Model())
    with pytest.raises(ValueError, match="dataset: found 1 column"):
        mine_hard_negatives(pairs().select_columns(["a"]), Model())
    with pytest.raises(TypeError, match="dataset: found dict, expected"):
        mine_hard_negatives({"q": ["a"], "a": ["b"]}, Model())
    with pytest.raises(TypeError, match="corpus: found 'abc', expected a list of strings"):
        mine_hard_negatives(pairs(), Model(), corpus="abc")
    with pytest.raises(TypeError, match="dataset: found IterableDataset, expected"):
        mine_hard_negatives(pairs().to_iterable_dataset(), Model())
    with pytest.raises(TypeError, match=r"corpus: found 2 \(int\) at entry 1, expected strings"):
        mine_hard_negatives(pairs(), Model(), corpus=["a", 2])
    nothing = pairs().map(lambda row, i: {"q": None if i == 3 else row["q"]}, with_indices=True)
    with pytest.raises(TypeError, match=r"dataset\['q'\]: found None \(NoneType\) at entry 3"):
        mine_hard_negatives(nothing, Model())
    rows = {"query_embeddings": np.ones((76, 2)), "positive_embeddings": np.ones((76, 2))}
    with pytest.raises(ValueError, match="corpus_embeddings: found rows of dimension 3, expected"):
        mine_hard_negatives(pairs(), corpus=["x"], corpus_embeddings=np.ones((1, 3)), **rows)
    model = Model()
    model.similarity_fn_name = "manhattan"
    with pytest.raises(ValueError, match="model: found similarity_fn_name 'manhattan', expected"):
        mine_hard_negatives(pairs(), model)


def test_without_datasets(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match=r"tripletmine\[sentence-transformers\]"):
        mine_hard_negatives(None, Model())
