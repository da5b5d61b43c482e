"""Check that no instruction set leaks out of its kernel file.

A weak symbol in an object compiled with, say, -mavx512f may replace the same function of every
other object at link time; an old CPU would then run it. So each kernel object may define one
external symbol: its table. Inline functions show in a debug build only, where nothing is inlined::

    cmake -S . -B build/debug -DCMAKE_BUILD_TYPE=Debug -DTRIPLETMINE_PYTHON=OFF
    cmake --build build/debug
    python tests/check_symbols.py build/debug
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

REGISTRY = Path(__file__).resolve().parent.parent / "cpp" / "src" / "kernels" / "registry.inc"


def registered_names() -> list[str]:
    """Return the names of the registry, of all processors, best first."""
    return re.findall(r"^KERNEL_SET\((\w+),", REGISTRY.read_text(encoding="utf-8"), re.MULTILINE)


def cached(build: Path, variable: str) -> str:
    """Return a variable of the build's CMake cache, or an empty string."""
    cache = (build / "CMakeCache.txt").read_text(encoding="utf-8")
    found = re.search(rf"^{variable}:\w+=(.*)$", cache, re.MULTILINE)
    return found.group(1) if found else ""


def external_symbols(nm: str, path: Path) -> list[tuple[str, str]]:
    """Return (type, demangled name) of every external symbol that the object defines."""
    listing = subprocess.run(
        [nm, "-C", "--extern-only", "--defined-only", str(path)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    symbols = []
    for line in listing.splitlines():
        found = re.fullmatch(r"[0-9a-f]* *(\S) (.+)", line)
        if not found:
            raise ValueError(f"nm: found {line!r}, expected an address, a type and a name")
        symbols.append((found.group(1), found.group(2)))
    return symbols


def complaints(name: str, symbols: list[tuple[str, str]]) -> list[str]:
    """Return what is wrong with the external symbols of the kernel set `name`."""
    table = f"tripletmine::kernel_set_{name}"
    wrong = []
    if not any(symbol == table for _, symbol in symbols):
        wrong.append(f"does not define {table}")
    for kind, symbol in symbols:
        if kind in "WVuwv":
            wrong.append(f"defines the weak symbol {kind} {symbol}")
        elif symbol != table:
            wrong.append(f"defines the external symbol {kind} {symbol}")
    return wrong


def main() -> int:
    """Check the build directory named on the command line; 0 if all is well."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("build", type=Path, help="directory of a debug build")
    build: Path = parser.parse_args().build
    if not (build / "CMakeCache.txt").is_file():
        parser.error(f"build: found {build}, expected the directory of a CMake build")
    build_type = cached(build, "CMAKE_BUILD_TYPE")
    if build_type != "Debug":
        parser.error(f"build: found CMAKE_BUILD_TYPE {build_type!r}, expected 'Debug'")
    nm = cached(build, "CMAKE_NM") or "nm"

    checked = failures = 0
    for name in registered_names():
        objects = sorted(build.rglob(f"kernels/{name}.cpp.o"))
        if not objects:
            print(f"{name}: not compiled in this build")
        for path in objects:
            symbols = external_symbols(nm, path)
            wrong = complaints(name, symbols)
            checked += 1
            failures += bool(wrong)
            print(f"{name}: {path.relative_to(build)}: {len(symbols)} external symbols")
            for complaint in wrong:
                print(f"  FAILED  {complaint}")
    print(f"{checked - failures} kernel objects passed, {failures} failed")
    if checked == 0:
        print(f"FAILED  found no kernel object in {build}, expected one or more")
    return 0 if checked and not failures else 1


if __name__ == "__main__":
    sys.exit(main())
