"""The text demo: its data, its scores and its training, and that mined triplets teach more."""

import re
import sys

import numpy as np
import pytest

from tripletmine import _demo_text as text
from tripletmine import cli

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def found():
    return text.functions()


def some(found, modules):
    return found[np.flatnonzero(np.isin(found.modules, modules))]


def test_functions_are_documented_and_do_not_give_their_module_away(found):
    assert len(found) > 500
    assert len(set(found.texts)) == len(found)
    names, counts = np.unique(found.modules, return_counts=True)
    assert {"numpy", "scipy.stats", "sklearn.metrics"} <= set(names)
    assert counts.min() >= text.FEWEST
    for name, said, module in zip(found.names, found.texts, found.modules, strict=True):
        assert name.startswith(f"{module}.")
        assert not re.search(r"\b(numpy|scipy|sklearn)\b|^Examples$", said, flags=re.MULTILINE)


def test_split_holds_out_half(found):
    split = text.split_of(found, 0)
    assert len(split.x) + len(split.held_out) == len(found)
    assert len(split.held_out) == len(split.held_out_x)
    norms = np.linalg.norm(np.concatenate([split.x, split.held_out_x]), axis=1)
    assert np.all((np.abs(norms - 1.0) < 1e-5) | (norms == 0.0))


def test_map_at_r_by_hand():
    # Row 0 finds 1 (right) then 2 (wrong): 1/2 of R = 2. Row 1: 0 right, then 2 wrong: 1/2. Row 2
    # finds 3 (right); R = 1. Row 3 finds 2. Row 4 (class of 0) finds 3, 2: nothing.
    x = np.deg2rad([0.0, 10.0, 40.0, 45.0, 170.0])
    vectors = np.stack([np.cos(x), np.sin(x)], axis=1)
    labels = np.array(["a", "a", "b", "b", "a"])
    assert text.map_at_r(vectors, labels) == pytest.approx((0.5 + 0.5 + 1 + 1 + 0) / 5)
    alone = np.array(["a", "a", "a", "a", "b"])  # R = 0 is left out
    assert text.map_at_r(vectors, alone) == 1.0
    perfect = text.scores(vectors[[0, 1, 4, 4]], np.array(["a", "a", "b", "b"]), 0)
    assert (perfect.recall_at_1, perfect.map_at_r, perfect.nmi) == (1.0, 1.0, 1.0)


def test_mined_triplets_teach_more_than_random_ones(found):
    modules = ["scipy.linalg", "scipy.ndimage", "scipy.signal", "scipy.stats", "numpy.ma"]
    split = text.split_of(some(found, modules), 0)
    held_out = split.held_out.modules
    reached = {}
    for name, strategy in text.STRATEGIES.items():
        weights = text.train(split.x, split.modules, strategy, margin=0.1, seed=0, epochs=6)
        reached[name] = text.map_at_r(split.held_out_x @ weights, held_out)
    before = text.map_at_r(split.held_out_x, held_out)
    assert before + 0.05 < reached["random"] < min(reached["hard"], reached["semi-hard"])


def test_demo(found, tmp_path, monkeypatch, capsys):
    few = some(found, ["scipy.linalg", "scipy.ndimage", "numpy.char"])
    monkeypatch.setattr(text, "functions", lambda: few)
    monkeypatch.setitem(text.train.__kwdefaults__, "epochs", 1)
    monkeypatch.setattr(text, "DIMENSIONS", 40)
    path = tmp_path / "text.png"
    assert cli.main(["demo", "--text", "-o", str(path)]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "semi-hard triplets" in said.out
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [file.name for file in tmp_path.iterdir()] == ["text.png"]


def test_demo_without_its_libraries(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert cli.main(["demo", "--text", "-o", str(tmp_path / "text.png")]) == 1
    assert 'pip install "tripletmine[demo]"' in capsys.readouterr().err
