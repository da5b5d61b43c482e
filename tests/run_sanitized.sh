#!/usr/bin/env bash
# Everything once more under AddressSanitizer and UndefinedBehaviorSanitizer: the C++ kernel tests,
# then the Python suite against a sanitized extension in a virtual environment of its own.
# Needs gcc (CXX chooses another one) and, for the environment, the package index.
#
#   tests/run_sanitized.sh [arguments for pytest ...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

compiler="${CXX:-g++}"
runtime() {
  local path
  path="$("$compiler" -print-file-name="$1")"
  # The compiler repeats the bare name of what it does not have.
  if [[ "$path" != /* ]]; then
    echo "run_sanitized.sh: $compiler has no $1; expected a gcc with its sanitizers (set CXX)" >&2
    exit 1
  fi
  printf '%s' "$path"
}
asan="$(runtime libasan.so)"
ubsan="$(runtime libubsan.so)"

# CPython itself leaks at exit. What is too large gets a null pointer, as it does without the
# sanitizer, not the end of the process: tests ask for it. And so little of what was freed is kept
# from use that tests of memory do not measure it.
asan_options=allocator_may_return_null=1:quarantine_size_mb=1:thread_local_quarantine_size_kb=64
export ASAN_OPTIONS="detect_leaks=0:$asan_options"
export UBSAN_OPTIONS=print_stacktrace=1

cmake -S . -B build/sanitized-tests \
  -DTRIPLETMINE_SANITIZE=ON -DTRIPLETMINE_TESTS=ON -DTRIPLETMINE_PYTHON=OFF
cmake --build build/sanitized-tests --parallel "$(nproc)"
# Everything is freed here, so leaks count.
ASAN_OPTIONS=detect_leaks=1 ctest --test-dir build/sanitized-tests --verbose

"${PYTHON:-python3}" -m venv --clear build/sanitized-venv
python=build/sanitized-venv/bin/python
"$python" -m pip install '.[test]' \
  -C cmake.define.TRIPLETMINE_SANITIZE=ON -C build-dir=build/sanitized
LD_PRELOAD="$asan $ubsan" "$python" -m pytest "$@"
