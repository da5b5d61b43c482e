"""What runs here: kernel sets and versions, for bug reports and ``tripletmine info``."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tripletmine import _core

_OPTIONAL = ("pyarrow", "rich", "matplotlib", "scikit-learn", "ml_dtypes", "torch")
_OPENMP_RUNTIMES = ("libgomp", "libomp", "libiomp5")


@dataclass(frozen=True)
class InstructionSet:
    """A compiled kernel set.

    Attributes
    ----------
    name : str
        What the environment variable ``TRIPLETMINE_ISA`` takes.
    description : str
        What it needs.
    supported : bool
        Whether this machine (processor and operating system) runs it.
    """

    name: str
    description: str
    supported: bool


def instruction_sets() -> list[InstructionSet]:
    """Return the compiled kernel sets, best first; a call uses the first supported one.

    The environment variable ``TRIPLETMINE_ISA`` forces one by name. Results do not depend on it.

    Examples
    --------
    >>> import tripletmine
    >>> tripletmine.instruction_sets()[-1]
    InstructionSet(name='portable', description='any machine', supported=True)
    """
    return [InstructionSet(*found) for found in _core.instruction_sets()]


def show_versions() -> None:
    """Print versions, kernel sets, threads and loaded OpenMP runtimes, for a bug report."""
    build = _core.build_info()
    forced = os.environ.get("TRIPLETMINE_ISA")
    facts = {
        "tripletmine": version("tripletmine"),
        "compiler": f"{build['compiler']}, {build['build_type']}, OpenMP {build['openmp']}",
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "numpy": version("numpy"),
    }
    facts |= {name: _version_or_none(name) for name in _OPTIONAL}
    facts["kernel sets"] = ", ".join(
        found.name + ("" if found.supported else " (not supported here)")
        for found in instruction_sets()
    )
    facts["TRIPLETMINE_ISA"] = forced if forced else "not set"
    facts["threads by default"] = str(_core.default_threads())
    facts["OpenMP runtimes"] = ", ".join(_openmp_runtimes()) or "none found"
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:<{width}}  {value}")


def _version_or_none(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _openmp_runtimes() -> list[str]:
    """Return the files of the OpenMP runtimes in this process; two of them may oversubscribe."""
    try:
        maps = Path("/proc/self/maps").read_text()
    except OSError:
        return []
    files = {line.split(maxsplit=5)[5] for line in maps.splitlines() if line.count("/")}
    return sorted(file for file in files if Path(file).name.startswith(_OPENMP_RUNTIMES))
