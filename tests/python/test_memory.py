"""What counts as free memory."""

from pathlib import Path

from tripletmine import _memory


def fake(monkeypatch, files):
    def read_text(self):
        try:
            return files[str(self)]
        except KeyError:
            raise FileNotFoundError(str(self)) from None

    monkeypatch.setattr(Path, "read_text", read_text)


MEMINFO = "MemTotal:  1000 kB\nMemAvailable:   500 kB\n"
MAX, CURRENT = "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"


def test_the_smaller_of_machine_and_container(monkeypatch):
    fake(monkeypatch, {"/proc/meminfo": MEMINFO})
    assert _memory.available() == 512_000
    fake(monkeypatch, {"/proc/meminfo": MEMINFO, MAX: "max\n", CURRENT: "1\n"})
    assert _memory.available() == 512_000
    fake(monkeypatch, {"/proc/meminfo": MEMINFO, MAX: "300000\n", CURRENT: "100000\n"})
    assert _memory.available() == 200_000
    fake(monkeypatch, {"/proc/meminfo": MEMINFO, MAX: "1\n", CURRENT: "5\n"})
    assert _memory.available() == 0


def test_unknown_is_no_limit(monkeypatch):
    fake(monkeypatch, {})
    assert _memory.available() > 2**60
    fake(monkeypatch, {"/proc/meminfo": "MemTotal: 1 kB\n"})
    assert _memory.available() > 2**60


def test_here():
    assert 2**20 < _memory.available() < 2**50


def test_small_calls_do_not_ask(monkeypatch):
    monkeypatch.setattr(_memory, "available", None)
    assert _memory.packing_budget(1000, 1000) == _memory.SMALL


def test_large_calls_get_half(monkeypatch):
    monkeypatch.setattr(_memory, "available", lambda: 10**9)
    assert _memory.packing_budget(10**6, 1000) == 5 * 10**8
