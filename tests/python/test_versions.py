"""Kernel sets: listed, chosen, forced; and the facts for a bug report."""

import numpy as np
import pytest

import tripletmine
from oracle import SUPPORTED


def test_the_portable_set_is_always_there_and_last():
    sets = tripletmine.instruction_sets()
    assert sets[-1].name == "portable"
    assert sets[-1].supported
    assert len({found.name for found in sets}) == len(sets)


def test_the_best_supported_set_is_used(monkeypatch):
    monkeypatch.delenv("TRIPLETMINE_ISA", raising=False)
    assert tripletmine.mine(np.eye(2), [0, 0]).report.instruction_set == SUPPORTED[0]


@pytest.mark.parametrize("name", SUPPORTED)
def test_forced(name, monkeypatch):
    monkeypatch.setenv("TRIPLETMINE_ISA", name)
    assert tripletmine.mine(np.eye(2), [0, 0]).report.instruction_set == name


def test_unknown_names_are_refused_with_the_known_ones(monkeypatch):
    monkeypatch.setenv("TRIPLETMINE_ISA", "sse9")
    known = ", ".join(SUPPORTED)
    for call in (
        lambda: tripletmine.mine(np.eye(2), [0, 0]),
        lambda: tripletmine.nearest(np.eye(2)),
        lambda: tripletmine.pairwise_distances(np.eye(2)),
    ):
        with pytest.raises(
            ValueError, match=f"TRIPLETMINE_ISA: found 'sse9', expected .*: {known}"
        ):
            call()


def test_show_versions(capsys, monkeypatch):
    monkeypatch.setenv("TRIPLETMINE_ISA", "portable")
    tripletmine.show_versions()
    shown = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert shown["tripletmine"] == tripletmine.__version__
    assert shown["numpy"] == np.__version__
    assert shown["TRIPLETMINE_ISA"] == "portable"
    lines = tripletmine.instruction_sets()
    for found in lines:
        assert found.name in shown["kernel"]
    assert "OpenMP" in shown["compiler"]
