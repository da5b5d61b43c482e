"""The picture of a census: what it shows, and what it refuses."""

import sys

import numpy as np
import pytest

import tripletmine
from tripletmine import _plot

pytest.importorskip("matplotlib")

X = np.random.default_rng(0).normal(size=(40, 3))
LABELS = np.arange(40) % 4


def test_margins_go_from_zero_beyond_the_largest():
    for largest in (0.0, 0.4, 1e6):
        margins = _plot.margins(largest)
        assert margins[0] == 0.0
        assert margins[-1] > largest
        assert margins == sorted(margins)


def drawn(monkeypatch, tmp_path, **options):
    """The figure that is drawn."""
    from matplotlib.figure import Figure

    figures = []
    save = Figure.savefig

    def keep(figure, *args, **keywords):
        figures.append(figure)
        save(figure, *args, **keywords)

    monkeypatch.setattr(Figure, "savefig", keep)
    marked = [0.3, 0.1]
    census = tripletmine.census(X, LABELS, margins=marked + _plot.margins(0.3), **options)
    _plot.draw(census, marked, "cosine", tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    return census, figures[0]


def test_areas_and_curves_are_the_census(monkeypatch, tmp_path):
    census, figure = drawn(monkeypatch, tmp_path)
    above, below = figure.axes
    order = np.argsort(census.margins)
    curves = {line.get_label(): line.get_ydata() for line in below.lines}
    np.testing.assert_array_equal(curves["of all triplets"], np.array(census.mean_loss)[order])
    top_of_hard = above.collections[0].get_paths()[0].vertices[:, 1].max()
    assert top_of_hard == pytest.approx(100 * census.hard[0] / census.triplets)
    assert [text.get_text() for text in above.texts] == ["hard", "semi-hard", "easy"]
    assert below.get_xlabel() == "margin (cosine distance)"


def test_a_set_without_triplets_has_a_picture(monkeypatch, tmp_path):
    drawn(monkeypatch, tmp_path, anchors=[])


def test_refused_before_any_work(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"unknown extension '\.svg'"):
        _plot.check(tmp_path / "c.svg")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "tripletmine\[plot\]"'):
        _plot.check(tmp_path / "c.png")
