"""What pytest does not look for doctests in: adapters whose framework is missing."""

from importlib.util import find_spec

# Keras has no doctests, and importing it chooses a backend: test_keras.py does that.
collect_ignore = ["python/tripletmine/keras.py"]
if find_spec("torch") is None:
    collect_ignore.append("python/tripletmine/torch.py")
if find_spec("datasets") is None:
    collect_ignore.append("python/tripletmine/sentence_transformers.py")
