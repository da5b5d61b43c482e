"""The command `negatives`."""

import inspect
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tripletmine
from shell import names, run
from tripletmine import cli, reference


def negatives(*arguments):
    return cli.main(["negatives", "x.npy", "x.npy", "--positives", "p.npy", *arguments])


@pytest.fixture
def positives(data):
    """Beside x.npy: p.npy, a positive for each row."""
    np.save("p.npy", np.arange(60)[::-1])
    return data


def test_negatives(positives):
    arguments = ["x.npy", "x.npy", "--positives", "p.npy", "-o", "out.npz", "--range-min", 1]
    done = run("negatives", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("180 negatives of 60 queries written to out.npz\n")
    x = np.load("x.npy")
    truth = tripletmine.mine_negatives(x, x, np.load("p.npy"), range_min=1)
    written = tripletmine.Negatives.load("out.npz")
    np.testing.assert_array_equal(written.indices, truth.indices)
    np.testing.assert_array_equal(written.scores, truth.scores)


@pytest.mark.parametrize("output_format", tripletmine._negatives.OUTPUT_FORMATS)
def test_negatives_as_rows(positives, output_format):
    assert negatives("-o", "out.parquet", "--output-format", output_format) == 0
    x = np.load("x.npy")
    truth = tripletmine.mine_negatives(x, x, np.load("p.npy")).to_arrow(output_format)
    written = pq.read_table("out.parquet")
    assert written.column_names == truth.column_names
    assert written["query"].equals(truth["query"])
    assert json.loads(written.schema.metadata[b"tripletmine"])["queries"] == 60


def test_negatives_with_lists_from_a_parquet_file(data):
    lists = [[i, (i + 1) % 60] for i in range(59)] + [[]]
    pq.write_table(pa.table({"own": lists, "not": np.arange(60)}), "lists.parquet")
    arguments = ["negatives", "x.npy", "x.npy", "-o", "out.npz", "--positives", "lists.parquet"]
    arguments += ["--positives-column", "own", "--exclude", "lists.parquet"]
    assert cli.main([*arguments, "--exclude-column", "not"]) == 0
    x = np.load("x.npy")
    truth = tripletmine.mine_negatives(x, x, lists, exclude=np.arange(60))
    written = tripletmine.Negatives.load("out.npz")
    np.testing.assert_array_equal(written.indices, truth.indices)
    np.testing.assert_array_equal(written.positive_indices, truth.positive_indices)


def test_every_option_of_negatives_arrives(positives, monkeypatch):
    seen = {}
    result = tripletmine.mine_negatives(np.eye(3), np.eye(3), None)

    def mine_negatives(**options):
        seen.update(options)
        return result

    monkeypatch.setattr(tripletmine, "mine_negatives", mine_negatives)
    assert negatives("-o", "out.npz") == 0
    parameters = inspect.signature(reference.mine_negatives).parameters
    assert seen.keys() == parameters.keys()
    for name in parameters.keys() - {"queries", "corpus", "positives"}:
        assert seen[name] == parameters[name].default, name
    given = """
        --num-negatives 4 --range-min 2 --range-max 9 --max-score 0.9 --min-score -0.5
        --absolute-margin 0.1 --relative-margin 0.05 --positive-score mean --rank-among all
        --sampling random --metric dot --seed 4 --n-threads 2 --exclude p.npy
    """
    assert negatives("-o", "out.npz", *given.split()) == 0
    for name in ("queries", "corpus", "positives", "exclude"):
        file = "x.npy" if name in ("queries", "corpus") else "p.npy"
        np.testing.assert_array_equal(seen.pop(name), np.load(file))
    assert seen == {
        "num_negatives": 4,
        "range_min": 2,
        "range_max": 9,
        "max_score": 0.9,
        "min_score": -0.5,
        "absolute_margin": 0.1,
        "relative_margin": 0.05,
        "positive_score": "mean",
        "rank_among": "all",
        "sampling": "random",
        "metric": "dot",
        "seed": 4,
        "n_threads": 2,
        "progress": None,
    }


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--num-negatives", "0", "-o", "o.npz"], 1, "num_negatives: found 0"),
        (["--positives", "y.npy", "--exclude", "no.npy", "-o", "o.npz"], 1, "no.npy: No such"),
        (["--positives", "x.npy", "-o", "o.npz"], 1, "positives: found an array of float32"),
        (["--output-format", "pairs", "-o", "o.npz"], 2, "triplet"),
        (["--relative-margin", "much", "-o", "o.npz"], 2, "relative-margin"),
    ],
)
def test_failures_of_negatives(positives, arguments, code, said):
    done = run("negatives", "x.npy", "x.npy", "--positives", "p.npy", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert names(positives) == ["p.npy", "x.npy", "y.npy"]
