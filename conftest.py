"""What pytest does not look for doctests in: adapters whose framework is missing."""

from importlib.util import find_spec

import pytest

# Keras has no doctests, and importing it chooses a backend: test_keras.py does that.
collect_ignore = ["python/tripletmine/keras.py"]
if find_spec("torch") is None:
    collect_ignore.append("python/tripletmine/torch.py")
if find_spec("datasets") is None:
    collect_ignore.append("python/tripletmine/sentence_transformers.py")


@pytest.hookimpl(tryfirst=True)  # before pytest looks at marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the doctests that need PyTorch, like the tests that do."""
    for item in items:
        if item.path.name == "torch.py":
            item.add_marker("peers")
