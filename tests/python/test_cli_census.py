"""The commands `census` and `sample`, whose options are those of the calls."""

import argparse
import inspect
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

import tripletmine
from shell import assert_written, names, run
from tripletmine import cli


def test_census(data):
    done = run("census", "x.npy", "y.npy", "--margins", 0.1, 0.5, "-o", "c.json")
    assert (done.returncode, done.stderr) == (0, "")
    census = tripletmine.census(np.load("x.npy"), np.load("y.npy"), margins=[0.1, 0.5])
    table = done.stdout.split("triplets\n  margin")[1].splitlines()
    for m in (0, 1):
        counts = (census.hard[m], census.semihard[m], census.easy[m])
        assert table[1 + m].split()[1:4] == [f"{count:,}" for count in counts]
    written = json.loads((data / "c.json").read_text())
    assert written["triplets"] == census.records()
    assert written["report"]["triplets"] == census.triplets
    assert names(data) == ["c.json", "x.npy", "y.npy"]


def test_census_per_class(data):
    assert cli.main(["census", "x.npy", "y.npy", "--margins", "0.1", "--per", "class",
                     "--metric", "euclidean", "-o", "c.csv", "--anchors", "0:50"]) == 0  # fmt: skip
    census = tripletmine.census(
        np.load("x.npy"), np.load("y.npy"), margins=0.1, per="class", metric="euclidean",
        anchors=slice(0, 50),
    )  # fmt: skip
    lines = (data / "c.csv").read_text().splitlines()
    assert lines[0] == "class,margin,triplets,hard,semihard,easy,mean_loss,mean_active_loss"
    assert [line.split(",")[4] for line in lines[1:]] == [str(n) for n in census.semihard[0]]


def test_census_without_triplets_is_null(data):
    np.save("y.npy", np.zeros(60, int))
    assert cli.main(["census", "x.npy", "y.npy", "--margins", "0.1", "-o", "c.json"]) == 0
    assert json.loads((data / "c.json").read_text())["triplets"][0]["mean_loss"] is None


def test_census_plot(data, capsys):
    pytest.importorskip("matplotlib")
    assert cli.main(["census", "x.npy", "y.npy", "--margins", "0.3", "--plot", "c.png"]) == 0
    assert (data / "c.png").read_bytes().startswith(b"\x89PNG")
    shown = capsys.readouterr().out
    assert "c.png: share of each kind" in shown
    margins = [line.split()[0] for line in shown.split("triplets\n  margin")[1].splitlines()[1:]]
    assert margins == ["0.3", "c.png:"]


def test_census_writes_both_files_or_none(data, monkeypatch, capsys):
    pytest.importorskip("matplotlib")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cli._census._plot, "draw", full)
    arguments = ["--margins", "0.1", "-o", "c.csv", "--plot", "c.png"]
    assert cli.main(["census", "x.npy", "y.npy", *arguments]) == 1
    assert capsys.readouterr().err == "tripletmine: error: c.png: No space left on device\n"
    assert names(data) == ["x.npy", "y.npy"]


def test_sample(data):
    done = run("sample", "x.npy", "y.npy", "-n", 25, "-o", "t.npz", "--type-of-triplets",
               "semihard", "--margin", 0.2, "--seed", 7)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "25 triplets written to t.npz" in done.stdout
    drawn = tripletmine.sample(
        np.load("x.npy"), np.load("y.npy"), 25, type_of_triplets="semihard", margin=0.2, seed=7
    )
    assert_written("t.npz", drawn)
    assert cli.main(["sample", "x.npy", "y.npy", "-n", "9", "-o", "t.parquet"]) == 0
    assert pq.read_table("t.parquet").num_rows == 9


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["census", "x.npy", "y.npy"], 2, "--margins"),
        (["census", "x.npy", "y.npy", "--margins", "-1"], 1, "margins[0]: found -1.0"),
        (["census", "x.npy", "y.npy", "--margins", "1", "-o", "c.npz"], 1, "unknown extension"),
        (["census", "x.npy", "y.npy", "--margins", "1", "--plot", "c.pdf"], 1, "unknown extension"),
        (["census", "x.npy", "y.npy", "--margins", "1", "--plot", "c.png", "--per", "class"], 1,
         "--plot: found it with --per class"),
        (["sample", "x.npy", "y.npy", "-o", "t.npz"], 2, "-n"),
        (["sample", "x.npy", "y.npy", "-n", "0", "-o", "t.npz"], 1, "n: found 0"),
        (["sample", "x.npy", "y.npy", "-n", "5", "-o", "t.npz", "--type-of-triplets", "easy",
          "--margin", "9"], 1, "found no 'easy' triplets"),
    ],
)  # fmt: skip
def test_failures_of_census_and_sample(data, capsys, arguments, code, said):
    try:
        returned = cli.main(arguments)
    except SystemExit as left:
        returned = left.code
    assert returned == code
    assert said in capsys.readouterr().err
    assert names(data) == ["x.npy", "y.npy"]


@pytest.mark.parametrize("command", ["census", "sample"])
def test_options_of_census_and_sample_are_those_of_the_call(command):
    module, call = getattr(cli, f"_{command}"), getattr(tripletmine, command)
    parser = argparse.ArgumentParser()
    module.add_parser(parser.add_subparsers())
    required = {"census": ["--margins", "1"], "sample": ["-n", "1", "-o", "t.npz"]}[command]
    parsed = vars(parser.parse_args([command, "x.npy", "y.npy", *required]))
    for name, parameter in inspect.signature(call).parameters.items():
        if name == "progress":
            continue
        assert name in parsed
        if parameter.default is not inspect.Parameter.empty:
            assert parsed[name] == parameter.default
