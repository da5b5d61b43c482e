"""How much memory is free. Called before large allocations."""

from __future__ import annotations

from pathlib import Path

# Below this size nothing is asked: a small batch must not pay for reading /proc.
SMALL = 64 * 2**20

_CGROUP = Path("/sys/fs/cgroup")


def available() -> int:
    """Return the bytes that can still be allocated: the machine's, or the container's if fewer."""
    free = [_meminfo("MemAvailable"), _cgroup()]
    known = [amount for amount in free if amount is not None]
    return min(known) if known else 2**62


def installed() -> int:
    """Return the bytes of memory that there are, free or not: the machine's or the container's."""
    known = [amount for amount in (_meminfo("MemTotal"), _cgroup_limit()) if amount is not None]
    return min(known) if known else 2**62


def packing_budget(rows: int, dim: int) -> int:
    """Return the bytes that the packed rows of a call may take."""
    return SMALL if rows * dim * 4 <= SMALL // 2 else available() // 2


def _meminfo(name: str) -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return None


def _cgroup_limit() -> int | None:
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
    except OSError:
        return None
    return None if limit == "max" else int(limit)


def _cgroup() -> int | None:
    limit = _cgroup_limit()
    try:
        used = int((_CGROUP / "memory.current").read_text())
    except OSError:
        return None
    return None if limit is None else max(0, limit - used)
