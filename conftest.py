"""Doctests run where what they import is installed."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("datasets") else ["python/tripletmine/sentence_transformers.py"]
