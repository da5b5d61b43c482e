"""Which modules pytest can read here: adapters need the framework that they adapt to."""

from importlib.util import find_spec

ADAPTERS = ("torch", "keras")

collect_ignore = [f"python/tripletmine/{name}.py" for name in ADAPTERS if find_spec(name) is None]
