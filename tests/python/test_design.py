"""The rules that docs/architecture.md states, read off the sources."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CPP = ROOT / "cpp"
SOURCES = sorted(path for path in CPP.rglob("*") if path.suffix in {".cpp", ".hpp", ".inl", ".inc"})
KERNEL_FREE = {"kernels/dispatch.cpp", "kernels/dispatch.hpp"}


def name(path: Path) -> str:
    within = CPP / "src"
    return path.relative_to(within).as_posix() if path.is_relative_to(within) else path.name


def includes(path: Path) -> list[str]:
    return re.findall(r'#include\s+[<"]([^>"]+)[>"]', path.read_text())


def instruction_set_files() -> list[Path]:
    kernels = CPP / "src" / "kernels"
    return [path for path in kernels.iterdir() if name(path) not in KERNEL_FREE]


def registered() -> list[str]:
    registry = (CPP / "src" / "kernels" / "registry.inc").read_text()
    return re.findall(r"^KERNEL_SET\((\w+),", registry, flags=re.MULTILINE)


def test_there_are_sources():
    assert len(SOURCES) > 15


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_only_the_bindings_know_python(path):
    if path.parent.name != "bindings":
        assert not [found for found in includes(path) if re.match(r"pybind11|Python", found)]


def test_the_bindings_know_only_the_public_headers():
    for path in (CPP / "bindings").iterdir():
        own = [found for found in includes(path) if found.endswith((".hpp", ".inl"))]
        shared = "tripletmine/tripletmine.hpp" if path.name == "convert.hpp" else "convert.hpp"
        assert own == [shared]


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_openmp_is_in_one_file(path):
    text = path.read_text()
    uses = "omp.h" in includes(path) or "#pragma omp" in text
    assert uses == (name(path) == "parallel.cpp")


@pytest.mark.parametrize("path", instruction_set_files(), ids=name)
def test_kernels_use_no_standard_library_code(path):
    allowed = {"cstddef", "cstdint", "immintrin.h", "arm_neon.h"}
    for found in includes(path):
        assert found in allowed or found.startswith("kernels/"), found
    code = re.sub(r"//.*", "", path.read_text())
    types = r"u?int(8|16|32|64)_t|ptrdiff_t|size_t"
    found = set(re.findall(r"std::(\w+)", code))
    assert not [name for name in found if not re.fullmatch(types, name)]
    assert not re.search(r"\b(throw|try|new|malloc)\b", code)


@pytest.mark.parametrize("path", sorted((CPP / "src" / "select").iterdir()), ids=name)
def test_selectors_know_no_threads_and_no_instruction_set(path):
    if path.suffix == ".hpp":
        found = includes(path)
        assert not {"atomic", "mutex", "thread", "parallel.hpp"} & set(found)
        assert not [header for header in found if header.startswith("kernels/")]


def test_the_registry_is_what_is_compiled_and_documented():
    names = registered()
    assert names[-1] == "portable"
    files = {path.stem for path in (CPP / "src" / "kernels").glob("*.cpp")} - {"dispatch"}
    cmake = (ROOT / "CMakeLists.txt").read_text()
    readme = (ROOT / "README.md").read_text()
    assert set(names) == files
    for found in names:
        assert re.search(rf"\bkernel_set\({found}\b", cmake)
        assert f"`{found}`" in readme


def test_nothing_global_is_set():
    forbidden = r"omp_set_|setenv|putenv|sched_setaffinity|-ffast-math|-march=native"
    for path in [*SOURCES, ROOT / "CMakeLists.txt"]:
        code = re.sub(r"(//|#).*", "", path.read_text())
        assert not re.search(forbidden, code), path


def test_every_test_file_has_what_it_mirrors():
    package = ROOT / "python" / "tripletmine"
    modules = {path.stem.strip("_") for path in package.iterdir()}
    modules |= {f"cli_{path.stem.strip('_')}" for path in (package / "cli").iterdir()}
    apart = {"coming_from", "design", "manners", "oracle"}
    for path in (ROOT / "tests" / "python").glob("test_*.py"):
        assert path.stem.removeprefix("test_") in modules | apart
