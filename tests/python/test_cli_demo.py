"""The command `demo`, on digits."""

import sys

from shell import names
from tripletmine import _demo, cli


def test_demo(tmp_path, capsys):
    import matplotlib as mpl
    from matplotlib.image import imread

    backend = mpl.get_backend(auto_select=False)
    path = tmp_path / "digits.png"
    assert cli.main(["demo", "-o", str(path)]) == 0
    assert mpl.get_backend(auto_select=False) == backend
    assert names(tmp_path) == ["digits.png"]
    height, width, _ = imread(path).shape
    assert min(height, width) > 500
    out = capsys.readouterr().out
    assert "1,797" in out
    assert out.rstrip().endswith(".")
    differences = [float(line.split()[-1]) for line in out.splitlines() if "(row" in line]
    assert len(differences) == _demo.SHOWN
    assert differences == sorted(differences)
    assert differences[-1] < 0


def test_demo_without_its_libraries(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert cli.main(["demo", "-o", str(tmp_path / "digits.png")]) == 1
    assert 'pip install "tripletmine[demo]"' in capsys.readouterr().err
    assert names(tmp_path) == []


def test_demo_checks_its_output_first(tmp_path, capsys):
    assert cli.main(["demo", "-o", str(tmp_path / "digits.jpg")]) == 1
    assert "expected .png" in capsys.readouterr().err
    assert names(tmp_path) == []
