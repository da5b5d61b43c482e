"""How calls behave among other code: threads, signals, forks, limits."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

import tripletmine
from oracle import assert_same

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 24)).astype(np.float32)
LABELS = RNG.integers(0, 9, size=400)
OPTIONS = {"pos_strategy": "hard", "neg_strategy": "hard"}


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=300,
        check=False,
    )


LONG_CALL = """
import os, signal, threading, time
import numpy as np
import tripletmine

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
x = np.random.default_rng(0).normal(size=(60_000, 256)).astype(np.float32)
labels = np.arange(60_000) % 2000
"""


@pytest.mark.parametrize("n_threads", [1, 2])
def test_ctrl_c_stops_a_call_at_once(n_threads):
    """Under a tenth of a second from signal to handler; the test allows for a busy machine."""
    done = run(
        LONG_CALL
        + f"""
calls = {{
    "mine": lambda: tripletmine.mine(x, labels, neg_strategy="hard", n_threads={n_threads}),
    "blocks": lambda: list(tripletmine.mine_blocks(x, labels, n_threads={n_threads})),
    "listing": lambda: [None for _ in tripletmine.mine_blocks(
        x[:6000], labels[:6000], pos_strategy="all", neg_strategy="all", n_threads={n_threads})],
    "nearest": lambda: tripletmine.nearest(x, n_threads={n_threads}),
    "pairwise": lambda: tripletmine.pairwise_distances(x, x[:4000], n_threads={n_threads}),
}}
for name, call in calls.items():
    sent = []
    def interrupt():
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)
    threading.Timer(0.6, interrupt).start()
    try:
        call()
        print(name, "was not interrupted")
    except KeyboardInterrupt:
        delay = time.perf_counter() - sent[0]
        print(name, "ok" if delay < 0.5 else delay)
""",
        TRIPLETMINE_ISA="portable",  # slow enough to be met at work
    )
    assert done.stderr == ""
    names = ["mine", "blocks", "listing", "nearest", "pairwise"]
    assert done.stdout.split() == [word for name in names for word in (name, "ok")]


def test_ctrl_c_stops_the_packing_of_wide_rows():
    done = run(
        LONG_CALL
        + """
x = np.random.default_rng(0).normal(size=(20, 60_000)).astype(np.float32)
x = np.tile(x, (50, 1)) + np.arange(1000, dtype=np.float32)[:, None]
for wait in (0.1, 0.3):
    sent = []
    def interrupt():
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)
    timer = threading.Timer(wait, interrupt)
    timer.start()
    try:
        tripletmine.nearest(x, n_threads=1)
        timer.cancel()
        timer.join()
        print("was not interrupted")
    except KeyboardInterrupt:
        delay = time.perf_counter() - sent[0]
        print("ok" if delay < 0.5 else delay)
""",
        TRIPLETMINE_ISA="portable",
    )
    assert (done.stdout.split(), done.stderr) == (["ok"] * 2, "")


@pytest.mark.parametrize("progress", [None, "lambda done, total: None"])
def test_a_call_of_a_daemon_thread_ends_with_the_process(progress):
    done = run(
        LONG_CALL
        + f"""
call = lambda: tripletmine.nearest(x, n_threads=2, progress={progress})
threading.Thread(target=call, daemon=True).start()
time.sleep(0.5)
print("end")
""",
        TRIPLETMINE_ISA="portable",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


# The process lives on for two seconds after Python has come to its end; a thread that is sent
# SIGHUP sleeps for one.
LONG_END = """
import ctypes

libc = ctypes.CDLL(None)
address = lambda function: ctypes.cast(function, ctypes.c_void_p)
getattr(libc, "__cxa_atexit")(address(libc.usleep), ctypes.c_void_p(2_000_000), None)
libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
libc.signal(signal.SIGHUP, address(libc.sleep))
"""


@pytest.mark.parametrize("progress", [None, "lambda done, total: None"])
def test_a_daemon_thread_may_look_for_signals_after_the_end_of_python(progress):
    done = run(
        LONG_CALL
        + LONG_END
        + f"""
call = lambda: tripletmine.nearest(x, n_threads=1, progress={progress})
thread = threading.Thread(target=call, daemon=True)
thread.start()
time.sleep(0.3)
signal.pthread_kill(thread.ident, signal.SIGHUP)
print("end")
""",
        TRIPLETMINE_ISA="portable",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


def test_a_daemon_thread_may_be_in_its_progress_at_the_end_of_python():
    done = run(
        LONG_CALL
        + LONG_END
        + """
reached = threading.Event()
def progress(done, total):
    reached.set()
    time.sleep(1)
call = lambda: tripletmine.nearest(x, n_threads=1, progress=progress)
threading.Thread(target=call, daemon=True).start()
reached.wait()
print("end")
""",
        TRIPLETMINE_ISA="portable",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


def test_a_slow_progress_takes_no_more_time_than_the_work():
    x = RNG.normal(size=(6000, 64)).astype(np.float32)
    took = []

    def progress(done, total):
        begin = time.perf_counter()
        time.sleep(0.06)
        took.append(time.perf_counter() - begin)

    begin = time.perf_counter()
    tripletmine.census(x, np.arange(6000) % 1200, margins=[0.0, 0.1], progress=progress)
    assert took
    assert sum(took) <= max(took) + 0.5 * (time.perf_counter() - begin)


def test_without_memory_for_threads_a_call_ends_in_order():
    """Where OpenMP would end the process."""
    done = run(
        """
        import resource
        import numpy as np
        import tripletmine

        x = np.random.default_rng(0).normal(size=(2000, 64)).astype(np.float32)
        alone = tripletmine.nearest(x, n_threads=1)
        with open("/proc/self/status") as status:
            (size,) = [line.split()[1] for line in status if line.startswith("VmSize")]
        resource.setrlimit(resource.RLIMIT_AS, (1024 * int(size) + 60 * 2**20,) * 2)
        try:
            together = tripletmine.nearest(x, n_threads=24)
        except MemoryError:
            together = alone
        print(all(np.array_equal(a, b) for a, b in zip(alone, together)))
        """
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


@pytest.mark.parametrize("changed", ["embeddings", "labels", "triplets"])
def test_what_is_changed_during_a_call_does_not_crash_it(changed):
    """The answer may be any, or an error."""
    done = run(
        f"""
        import threading, time
        import numpy as np
        import tripletmine

        rng = np.random.default_rng(0)
        embeddings, labels = rng.normal(size=(1500, 48)).astype(np.float32), np.arange(1500) % 30
        triplets = rng.integers(0, 1500, size=(100_000, 3))
        good, changed = {changed}.copy(), {changed}
        done = threading.Event()

        def change():
            while not done.is_set():
                time.sleep(0.003)
                changed[::7] = np.nan if changed.dtype.kind == "f" else 10**9
                time.sleep(0.001)
                changed[:] = good

        thread = threading.Thread(target=change)
        thread.start()
        answers = 0
        for _ in range(6):
            for call in (
                lambda: tripletmine.census(embeddings, labels, margins=0.1, metric="euclidean"),
                lambda: tripletmine.mine(embeddings, labels, pos_strategy="random",
                                         neg_strategy="random", num_negatives=3),
                lambda: tripletmine.mine(embeddings, labels, pos_strategy="all", fallback="easy"),
                lambda: tripletmine.batch_all_loss(embeddings, labels, grad=True),
                lambda: tripletmine.triplet_loss(embeddings, triplets),
            ):
                try:
                    call()
                    answers += 1
                except ValueError:
                    pass
        done.set()
        thread.join()
        print(answers > 0)
        """
    )
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_the_library_works_after_an_interrupted_call(monkeypatch):
    monkeypatch.setenv("TRIPLETMINE_ISA", "portable")

    def stop(done, total):
        raise RuntimeError("enough")

    large = np.random.default_rng(0).normal(size=(40_000, 256)).astype(np.float32)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="enough"):
            tripletmine.nearest(large, progress=stop, n_threads=2)
    assert_same(
        tripletmine.mine(X, LABELS, **OPTIONS), tripletmine.reference.mine(X, LABELS, **OPTIONS)
    )


def test_progress_grows_to_its_total_on_the_calling_thread(monkeypatch):
    monkeypatch.setenv("TRIPLETMINE_ISA", "portable")  # slow enough to be looked at twice
    seen = []
    large = np.random.default_rng(0).normal(size=(25_000, 256)).astype(np.float32)

    def progress(done, total):
        seen.append((done, total, threading.get_ident()))

    tripletmine.nearest(large, progress=progress)
    assert len(seen) >= 2
    assert {thread for _, _, thread in seen} == {threading.get_ident()}
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    assert all(0 <= done <= total for done, total, _ in seen)
    assert seen[-1][0] > seen[0][0]


def test_progress_expects_again_what_has_to_be_scored_again():
    """Rows so close to one another that only the closest scores tell them apart."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, 64))
    x = (centres[np.arange(6000) % 4] + 1e-4 * rng.normal(size=(6000, 64))).astype(np.float32)
    seen = []
    tripletmine.nearest(x, k=100, progress=lambda done, total: seen.append((done, total)))
    assert seen
    assert all(0 <= done <= total for done, total in seen)
    assert seen == sorted(seen)


@pytest.mark.parametrize("neg_strategy", ["semihard", "random"])
def test_progress_of_anchors_in_batches_is_that_of_all(neg_strategy):
    """Every positive of 12,000 rows is more than is chosen for at a time."""
    labels = np.arange(12_000) % 40
    x = np.random.default_rng(0).normal(size=(12_000, 128)).astype(np.float32)
    seen = []
    options = {"pos_strategy": "all", "neg_strategy": neg_strategy, "max_triplets": 10**7}
    tripletmine.mine(x, labels, progress=lambda *pairs: seen.append(pairs), **options)
    assert {total for _, total in seen} == {12_000 * 11_999}
    done = [done for done, _ in seen]
    assert done == sorted(done)
    assert 0 <= done[0] < 6_000 * 11_999
    assert done[-1] <= 12_000 * 11_999


def test_the_gil_is_released():
    """Another Python thread goes on counting while a call runs."""
    counted = 0
    running = threading.Event()

    def count():
        nonlocal counted
        while not running.is_set():
            counted += 1
            time.sleep(0.001)

    large = np.random.default_rng(0).normal(size=(20_000, 256)).astype(np.float32)
    thread = threading.Thread(target=count)
    thread.start()
    before = counted
    tripletmine.nearest(large, n_threads=1)
    during = counted - before
    running.set()
    thread.join()
    assert during > 20


def test_two_threads_may_call_at_once():
    truth = tripletmine.mine(X, LABELS, **OPTIONS)
    results = []

    def call():
        for _ in range(10):
            results.append(tripletmine.mine(X, LABELS, n_threads=2, **OPTIONS))

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 30
    for result in results:
        assert_same(result, truth)


def test_works_after_fork_on_one_thread():
    done = run(
        """
        import os, signal
        import numpy as np
        import tripletmine
        x = np.random.default_rng(0).normal(size=(500, 8))
        labels = np.arange(500) % 5
        before = tripletmine.mine(x, labels, n_threads=2)
        assert before.report.threads == 2, before.report
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            after = tripletmine.mine(x, labels, n_threads=2)
            same = after.as_array().tolist() == before.as_array().tolist()
            os._exit(0 if same and after.report.threads == 1 else 3)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """
    )
    assert done.stdout.strip() == "0", done.stderr


def test_follows_omp_num_threads():
    code = """
        import numpy as np
        import tripletmine
        x, labels = np.eye(1000, 64), np.arange(1000) % 2
        print(tripletmine.mine(x, labels).report.threads)
        print(tripletmine.mine(x, labels, n_threads=2).report.threads)
    """
    assert run(code, OMP_NUM_THREADS="3").stdout.split() == ["3", "2"]
    assert run(code, OMP_NUM_THREADS="1").stdout.split() == ["1", "2"]


def test_follows_threadpoolctl():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    x, labels = np.eye(1000, 64), np.arange(1000) % 2
    for limit in (1, 2, 3):
        with threadpoolctl.threadpool_limits(limits=limit):
            assert tripletmine.mine(x, labels).report.threads == limit


def test_a_batch_takes_one_thread_unless_told_otherwise():
    assert tripletmine.mine(X, LABELS).report.threads == 1
    assert tripletmine.mine(X, LABELS, n_threads=2).report.threads == 2


def test_changes_nothing_global():
    before = dict(os.environ)
    affinity = os.sched_getaffinity(0)
    default = tripletmine._core.default_threads()
    tripletmine.mine(X, LABELS, n_threads=5)
    assert dict(os.environ) == before
    assert os.sched_getaffinity(0) == affinity
    assert tripletmine._core.default_threads() == default


@pytest.mark.peers
def test_arithmetic_is_ieee_whatever_the_thread_is_set_to():
    """torch.set_flush_denormal and libraries built with -ffast-math turn subnormals off."""
    torch = pytest.importorskip("torch")
    x = (np.random.default_rng(0).integers(1, 100, size=(40, 3)) * 2.0**-1060).astype("f8")
    truth = tripletmine.reference.distance_matrix(x, x, "dot")
    y = np.full((1, 3), 2.0**1)
    truth = tripletmine.reference.nearest(y, x, 5, metric="dot")
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush subnormals")
    try:
        for n_threads in (1, 2):
            ours = tripletmine.nearest(y, x, 5, metric="dot", n_threads=n_threads)
            assert ours[1].tobytes() == truth[1].tobytes()
    finally:
        torch.set_flush_denormal(False)
    assert (truth[1] != 0.0).all()


def test_memory_does_not_grow_with_the_square():
    """60,000² float32 distances would be 14.4 GB; the call may add a hundredth of a percent."""
    done = run(
        """
        import re
        import numpy as np
        import tripletmine

        def peak_kib():
            with open("/proc/self/status") as status:
                return int(re.search(r"VmHWM:\\s+(\\d+) kB", status.read()).group(1))

        x = np.random.default_rng(0).normal(size=(60_000, 8)).astype(np.float32)
        labels = np.arange(60_000) % 3000
        before = peak_kib()
        mined = tripletmine.mine(x, labels, neg_strategy="hard", n_threads=2)
        print(len(mined), peak_kib() - before)
        """
    )
    assert done.stdout.startswith("60000 "), done.stderr
    assert int(done.stdout.split()[1]) < 30_000


def test_blocks_of_more_triplets_than_memory_holds():
    """1.6e11 triplets: refused whole, with their number, and no trouble in blocks."""
    done = run(
        """
        import re
        import numpy as np
        import tripletmine

        def peak_kib():
            with open("/proc/self/status") as status:
                return int(re.search(r"VmHWM:\\s+(\\d+) kB", status.read()).group(1))

        x = np.random.default_rng(0).normal(size=(20_000, 8)).astype(np.float32)
        labels = np.arange(20_000) % 50
        every = {"pos_strategy": "all", "neg_strategy": "all"}
        try:
            tripletmine.mine(x, labels, **every)
        except ValueError as error:
            print(re.search("found ([0-9]+)", str(error)).group(1), "mine_blocks" in str(error))
        before = peak_kib()
        for number, block in zip(range(40), tripletmine.mine_blocks(x, labels, **every)):
            assert len(block) == 2**21
        print(number, peak_kib() - before)
        """
    )
    assert done.stdout.startswith("156408000000 True\n39 "), done.stderr
    assert int(done.stdout.split()[-1]) < 400_000


def test_a_memory_mapped_file_is_read_without_a_copy(tmp_path):
    """A sparse file of 64 GB: only the anchors' own rows could ever be read."""
    path = tmp_path / "x.npy"
    x = np.lib.format.open_memmap(path, "w+", np.float32, (2**24, 1024))
    x[:8] = np.random.default_rng(0).normal(size=(8, 1024))
    del x
    x = np.load(path, mmap_mode="r")
    y = np.array(x[:8])
    mined = tripletmine.mine(
        x, np.zeros(2**24, np.int8), y, [0, 1] * 4, anchors=slice(0, 8), **OPTIONS
    )
    assert_same(mined, tripletmine.reference.mine(y, [0] * 8, y, [0, 1] * 4, **OPTIONS))


def test_interrupting_leaves_no_zombie_signal(capfd):
    """A signal that is handled without an exception does not disturb a call."""
    hits = []
    old = signal.signal(signal.SIGUSR1, lambda *_: hits.append(1))
    try:
        large = np.random.default_rng(0).normal(size=(20_000, 256)).astype(np.float32)
        timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1))
        timer.start()
        tripletmine.nearest(large)
        timer.join()
    finally:
        signal.signal(signal.SIGUSR1, old)
    assert hits == [1]
