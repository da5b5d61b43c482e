"""What the tests of the command line work on."""

import numpy as np
import pytest


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A working directory with x.npy and y.npy, 60 rows of 4 classes."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(5)
    np.save("x.npy", rng.standard_normal((60, 7), dtype=np.float32))
    np.save("y.npy", rng.integers(0, 4, 60))
    return tmp_path
